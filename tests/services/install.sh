#!/usr/bin/env bash
# Install the real services that tests marked `service` run against, where that is possible (root on Debian).
# Without them those tests are skipped, loudly; with NETO_REQUIRE_SERVICES=1 a missing one is a failure.
set -u
missing=()
[ -x /usr/lib/frr/bgpd ] || missing+=(frr)
[ -x /usr/sbin/mosquitto ] || missing+=(mosquitto)
[ -x /usr/sbin/softflowd ] || missing+=(softflowd)
[ -x /usr/bin/prometheus ] || missing+=(prometheus)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "services: installing ${missing[*]} ..."
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    if { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        rm -f "$log"
        exit 0
    fi
    tail -n 20 "$log" >&2
fi
echo "services: MISSING: ${missing[*]} (tests that need them will be skipped; install them as root with apt-get)" >&2
[ -z "${NETO_REQUIRE_SERVICES:-}" ]
