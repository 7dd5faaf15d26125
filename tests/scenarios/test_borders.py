"""A border that tells its routes by BMP, as far as the daemon as a process is concerned."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.scenarios.test_loop import run_to_full
from tests.wire.bgp.octets import attributes, bmp, monitoring, nlri, peer, peer_up, sequence, tlv, update

pytestmark = pytest.mark.timeout(240)

FRA = "127.0.7.61"
ISP_B = peer("100.64.4.2", asn=64501, bgp_id="100.64.4.2", flags=0x40)  # the far end of fra-b-1
PREFIXES = [f"198.51.100.{at}/26" for at in range(0, 256, 64)] + [
    f"198.{18 + at // 2}.{at % 2 * 128}.0/17" for at in range(4)
]
PERIOD_S = 2.0


def test_an_isp_link_whose_session_goes_down_is_left_and_no_other_link_is_overloaded(site):
    port = 11019 + site.offset
    table = f'\n[bmp]\nlisten = "127.0.0.1:{port}"\n[[bmp.router]]\nname = "fra1"\naddress = "{FRA}"\n'
    site.config.write_text(site.config.read_text() + table)
    site.ask("scale", factor=0.75)  # so that the other links can take it all
    run_to_full(site)
    assert "l fra-b-1" not in site.show("alarms")
    border = socket.create_connection(("127.0.0.1", port), source_address=(FRA, 0))
    with contextlib.closing(border):
        routes = b"".join(nlri(prefix) for prefix in PREFIXES)
        border.sendall(bmp(4, tlv(2, b"fra1") + tlv(1, b"")) + bmp(3, peer_up(ISP_B)))
        border.sendall(bmp(0, monitoring(update(attributes(sequence(64501, 64700)), routes), ISP_B)))
        border.sendall(bmp(0, monitoring(update(), ISP_B)))
        site.until("fra-b-1 tells its routes", lambda: told(site, "fra-b-1") == (True, len(PREFIXES)), 20)
        assert load(site, "fra-b-1") > 0
        assert {"peer": "fra1", "kind": "bmp", "address": FRA, "state": "up"} in site.show("peers")
        assert "64700" in site.neto("show", "routes").stdout

        site.ask("mark", name="down")
        border.sendall(bmp(2, ISP_B + b"\x04"))
        site.until("nothing is sent to fra-b-1", lambda: carried(site, "fra-b-1") == 0, 30)
        site.until("it is an alarm", lambda: "fra-b-1: its BGP session is down" in site.show("alarms"), 10)
        assert load(site, "fra-b-1") == 0
        assert site.ask("since", name="down")["over_seconds"] == {}


def told(site, link):
    (row,) = (row for row in site.show("routes")["links"] if row["peering_link"] == link)
    return row["told"], row["prefixes"]


def load(site, link):
    """As the daemon predicts it."""
    (row,) = (row for row in site.show("peering")["links"] if row["name"] == link)
    return row["load_mbps"]


def carried(site, link):
    """By the lab's own account."""
    (row,) = (row for row in site.ask("status")["links"] if row["link"] == link)
    return row["utilisation"]
