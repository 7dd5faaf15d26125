#!/usr/bin/env bash
# Install the collectors that `make bench-netflow` measures NetO's beside, where that is possible (root on Debian).
# Those that are missing are left out of the benchmark, loudly.
set -u
missing=()
command -v nfcapd >/dev/null || missing+=(nfdump)
PATH=$PATH:/usr/sbin command -v nfacctd >/dev/null || missing+=(pmacct)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "bench-netflow: installing ${missing[*]} ..."
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    if { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        rm -f "$log"
        exit 0
    fi
    tail -n 20 "$log" >&2
fi
echo "bench-netflow: MISSING: ${missing[*]} (install them as root with apt-get; the rest is measured without them)" >&2
exit 0
