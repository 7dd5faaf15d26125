"""A real border router, FRR's bgpd, tells its ISP what the lines that adjust announcements claim, and nothing else.

The same lines as NetO types, and the same reading of `show running-config`. Only the commit is the emulated WAN's.
"""

from __future__ import annotations

import json
import tempfile
import time
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from frr import Bgpd, needed

from neto.model.announcement import Adjustment, AnnouncementKey
from neto.model.plan import AnnouncementMove
from neto.wire import route_map
from neto.wire.dialects import dialect

PORT = 17986
BORDER, ISP = "127.0.9.51", "127.0.9.52"
MAP = f"NETO-OUT-{ISP}"
FIRST, SECOND, DENIED = (IPv4Network(prefix) for prefix in ("10.1.0.0/18", "10.1.64.0/18", "10.9.0.0/16"))
OPERATORS = "65000:1"  # what the operator's own policy adds to everything
PLAIN = ("65000", 0, {OPERATORS})  # path, MED, communities

pytestmark = pytest.mark.service


def session(name, asn, own, other, other_asn, lines, policy):
    return f"""
hostname {name}
bgp route-map delay-timer 1
{policy}
router bgp {asn}
 bgp router-id 10.255.0.{own[-1]}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor {other} remote-as {other_asn}
 neighbor {other} port {PORT}
 neighbor {other} disable-connected-check
 neighbor {other} update-source {own}
 neighbor {other} timers connect 1
 address-family ipv4 unicast
  neighbor {other} activate
{"".join(f"  {line}{chr(10)}" for line in lines)} exit-address-family
"""


# The operator's own: what may be announced, and with what. 127.0.0.0/8 is no next hop that FRR would take.
POLICY = f"""
ip prefix-list ALLOW seq 5 permit 10.1.0.0/16 le 24
route-map OPERATOR permit 10
 match ip address prefix-list ALLOW
 set community {OPERATORS} additive
 set ip next-hop 10.9.0.51
 call {MAP}
exit
route-map {MAP} permit 65535
exit
"""
NETWORKS = [f"network {prefix}" for prefix in (FIRST, SECOND, DENIED)]


class Border:
    """A border, and the ISP that hears it."""

    def __init__(self, directory: Path) -> None:
        lines = [*NETWORKS, f"neighbor {ISP} route-map OPERATOR out"]
        text = session("border", 65000, BORDER, ISP, 64501, lines, POLICY)
        nothing = session("isp", 64501, ISP, BORDER, 65000, [f"neighbor {BORDER} route-map nothing out"], "")
        self.border = Bgpd(directory / "border", BORDER, PORT, text)
        self.isp = Bgpd(directory / "isp", ISP, PORT, f"route-map nothing deny 10\n{nothing}")

    def heard(self):
        """What the ISP has: path, MED and communities, by prefix."""
        said = json.loads(self.isp.vtysh("show bgp ipv4 unicast json detail") or "{}").get("routes", {})
        routes = {}
        for prefix, paths in said.items():
            for path in paths if isinstance(paths, list) else paths["paths"]:
                if "aspath" in path:
                    communities = set(path.get("community", {}).get("list", ()))
                    routes[prefix] = path["aspath"]["string"], path.get("metric", 0), communities
        return routes

    def reading(self):
        return route_map.read(self.border.vtysh("show running-config"), "border")

    def push(self, *moves):
        lines = route_map.lines(moves, self.reading())
        assert all(dialect("lab").allowed(line) for line in lines)
        said = self.border.vtysh("configure terminal", *lines)
        assert not said.strip(), said

    def until(self, wanted):
        until = time.monotonic() + 40
        while self.heard() != wanted:
            assert time.monotonic() < until, self.heard()
            time.sleep(0.2)


@pytest.fixture
def border():
    needed()
    with tempfile.TemporaryDirectory(prefix="neto-frr-") as directory:  # a vty socket's path must be short
        border = Border(Path(directory))
        yield border
        border.border.stop()
        border.isp.stop()


def adjust(prefix, **what):
    key = AnnouncementKey("border", ISP, prefix)
    return AnnouncementMove(key, Adjustment(key, **what) if what else None)


def test_each_change_reaches_the_isp_for_its_prefix_alone_and_what_the_operator_has_stays(border):
    plain = {str(FIRST): PLAIN, str(SECOND): PLAIN}
    border.until(plain)
    assert border.reading().trouble == {ISP: ""}
    for what, heard in (
        ({"prepend": (65000, 65000)}, ("65000 65000 65000", 0, {OPERATORS})),
        ({"med": 100}, ("65000", 100, {OPERATORS})),
        ({"community": "64501:80"}, ("65000", 0, {OPERATORS, "64501:80"})),
    ):
        move = adjust(FIRST, **what)
        border.push(move)
        border.until({**plain, str(FIRST): heard})
        assert border.reading().adjustments == {move.key: move.adjustment}
    more = [adjust(SECOND, med=7), adjust(DENIED, med=7)]  # what the operator does not announce stays unannounced
    border.push(*more)
    border.until({**plain, str(FIRST): ("65000", 0, {OPERATORS, "64501:80"}), str(SECOND): ("65000", 7, {OPERATORS})})
    assert border.reading().adjustments.keys() == {each.key for each in (move, *more)}
    border.push(adjust(FIRST), adjust(SECOND), adjust(DENIED))
    border.until(plain)
    running = border.border.vtysh("show running-config")
    assert route_map.read(running, "border") == route_map.OutPolicies(
        taken={ISP: frozenset({65535})}, trouble={ISP: ""}
    )
    assert "NETO-TO-" not in running


def test_no_line_on_the_way_withdraws_anything(border):
    """Each line is left alone for longer than bgpd waits before it puts changed maps to use."""
    plain = {str(FIRST): PLAIN, str(SECOND): PLAIN}
    border.until(plain)
    changed = {**plain, str(FIRST): ("65000 65000", 0, {OPERATORS})}
    for move, wanted in ((adjust(FIRST, prepend=(65000,)), changed), (adjust(FIRST), plain)):
        typed: list[str] = []
        for line in route_map.lines([move], border.reading()):
            typed = [line] if line.startswith(("ip ", "no ")) else [*typed, line]  # within the entry it belongs to
            border.border.vtysh("configure terminal", *typed)
            time.sleep(1.5)
            heard = border.heard()
            assert heard.keys() == plain.keys(), line
            assert heard[str(SECOND)] == PLAIN, line
            assert heard[str(FIRST)] in (PLAIN, changed[str(FIRST)]), line
        border.until(wanted)
