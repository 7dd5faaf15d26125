"""A real border router, FRR's bgpd with its BMP module, tells its routes; what is held is what it shows itself.

FRR writes routes of eBGP peers as it would send them on: its own AS first, no local preference. The first is undone;
the second cannot be, so no import policy here sets one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from pathlib import Path

import pytest
from frr import Bgpd, needed

from neto.agents.monitoring.bmp import BmpAgent
from neto.agents.monitoring.exits import copy, route_table
from neto.agents.monitoring.rib import Rib
from neto.model.peering import PeeringLink

PORT, BMP_PORT = 17970, 17975
BORDER, ISP_A, ISP_B, INSIDE = (f"127.0.9.{number}" for number in (31, 32, 33, 34))
FAMILIES = ("ipv4", "ipv6")
A_ROUTES = ("10.1.0.0/16", "10.2.0.0/16", "10.66.0.0/16", "2001:db8:1::/48", "2001:db8:2::/48")
B_ROUTES = ("10.2.0.0/16", "10.3.0.0/16", "10.66.0.0/16", "2001:db8:2::/48", "2001:db8:3::/48")
INSIDE_ROUTES = ("10.1.0.0/16", "10.3.0.0/16", "10.4.0.0/16")
OURS = "10.1.0.0/16"  # of the router inside, with our community

POLICY = """
ip prefix-list not-wanted permit 10.66.0.0/16
route-map in-a deny 5
 match ip address prefix-list not-wanted
route-map in-a permit 10
 set community 65000:77 64501:1
route-map nothing deny 10
"""
PREPEND = """
ip prefix-list three permit 10.3.0.0/16
route-map out permit 10
 match ip address prefix-list three
 set as-path prepend 64999 64998
 set metric 7
 set ip next-hop 10.9.0.33
"""
INJECT = f"""
ip prefix-list ours permit {OURS}
route-map out permit 10
 match ip address prefix-list ours
 set local-preference 1000
 set community 65000:900 no-export
 set ip next-hop 10.9.0.34
"""

pytestmark = pytest.mark.service


def neighbor(address, asn, own_address):
    lines = (
        *(f"remote-as {asn}", f"port {PORT}", "disable-connected-check", f"update-source {own_address}"),
        *("timers 3 9", "timers connect 1"),
    )
    return "".join(f" neighbor {address} {line}\n" for line in lines)


def configuration(name, asn, bgp_id, policy, neighbors, families, more=""):
    """families: lines in each address family."""
    inside = "".join(
        f" address-family {family} unicast\n" + "".join(f"  {line}\n" for line in lines) + " exit-address-family\n"
        for family, lines in families.items()
    )
    return f"""
hostname {name}
{policy}
router bgp {asn}
 bgp router-id {bgp_id}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp bestpath compare-routerid
{neighbors}{inside}{more}"""


def border():
    lines = [f"neighbor {each} activate" for each in (ISP_A, ISP_B, INSIDE)]
    lines += [f"neighbor {each} soft-reconfiguration inbound" for each in (ISP_A, ISP_B, INSIDE)]
    lines += [f"neighbor {ISP_A} route-map in-a in"]
    lines += [f"neighbor {each} route-map nothing out" for each in (ISP_A, ISP_B, INSIDE)]
    asns = {ISP_A: 64501, ISP_B: 4200000002, INSIDE: 65000}
    monitor = [f"  bmp monitor {family} unicast {when}-policy" for family in FAMILIES for when in ("pre", "post")]
    connect = f" bmp targets neto\n  bmp connect 127.0.0.1 port {BMP_PORT} min-retry 500 max-retry 1000\n"
    return configuration(
        "border", 65000, "10.255.0.1", POLICY,
        "".join(neighbor(each, asn, BORDER) for each, asn in asns.items()),
        dict.fromkeys(FAMILIES, lines),
        connect + "\n".join(monitor) + "\n exit\n",
    )  # fmt: skip


def speaker(name, asn, own_address, routes, policy=""):
    number = own_address.rsplit(".", 1)[1]
    out = f"route-map out permit 90\n set ip next-hop 10.9.0.{number}\n set ipv6 next-hop global 2001:db8:9::{number}\n"
    lines = [f"neighbor {BORDER} activate", f"neighbor {BORDER} route-map out out"]
    lines += [f"neighbor {BORDER} addpath-tx-all-paths"] * (asn == 65000)
    families = {
        family: lines + [f"network {route}" for route in routes if (":" in route) == (family == "ipv6")]
        for family in FAMILIES
    }
    return configuration(name, asn, f"10.9.0.{number}", policy + out, neighbor(BORDER, 65000, own_address), families)


class Router(Bgpd):
    """A bgpd, and what it shows."""

    def best(self):
        """AS path, next hop, local preference, MED, origin and communities of the best path, by prefix."""
        told = {}
        for family in FAMILIES:
            said = json.loads(self.vtysh(f"show bgp {family} unicast json detail") or "{}")
            for prefix, paths in said.get("routes", {}).items():
                for path in paths if isinstance(paths, list) else paths["paths"]:
                    if path.get("bestpath", {}).get("overall"):
                        told[prefix] = as_told(path)
        return told


def as_told(path):
    path_text = path["aspath"]["string"].replace("Local", "")
    hop = next(hop["ip"] for hop in path["nexthops"] if hop.get("scope", "global") == "global")
    communities = frozenset(path.get("community", {}).get("list", []))
    return path_text, hop, path.get("locPrf", 100), path.get("metric", 0), path["origin"], communities


def as_held(attributes):
    a = attributes
    communities = frozenset("noExport" if c == 0xFFFFFF01 else f"{c >> 16}:{c & 0xFFFF}" for c in a.communities)
    preference = 100 if a.local_pref is None else a.local_pref
    return a.path_text, a.next_hop, preference, a.med or 0, ("IGP", "EGP", "incomplete")[a.origin], communities


class World:
    """A border with two ISPs and a router inside, and the agent that it tells."""

    def __init__(self, agent, directory):
        self.agent, self.rib = agent, agent.rib
        self.border = Router(directory / "border", BORDER, PORT, border(), "bmp")
        self.a = Router(directory / "a", ISP_A, PORT, speaker("a", 64501, ISP_A, A_ROUTES), "bmp")
        self.b = Router(directory / "b", ISP_B, PORT, speaker("b", 4200000002, ISP_B, B_ROUTES, PREPEND), "bmp")
        self.inside = Router(
            directory / "inside", INSIDE, PORT, speaker("inside", 65000, INSIDE, INSIDE_ROUTES, INJECT), "bmp"
        )

    def table(self):
        links = [PeeringLink(name, "border", name, 1.0, peer_address=x) for name, x in (("a", ISP_A), ("b", ISP_B))]
        return route_table(copy(self.rib), links)

    def held(self):
        """Best paths as `Bgpd.best` tells them."""
        table = self.table()
        best = table.best.get("border", [])
        return {str(table.prefix(row)): as_held(table.attributes[x]) for row, x in enumerate(best) if x >= 0}

    def exits(self):
        table = self.table()
        return {
            str(table.prefix(row)): "".join(name for name, there in zip(table.links, exits, strict=True) if there)
            for row, exits in enumerate(table.exits)
        }

    async def until(self, holds, seconds=40):
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(holds):  # noqa: ASYNC110 what is watched has no event
                await asyncio.sleep(0.2)


@pytest.fixture
def _frr():
    needed()


@pytest.fixture
async def world(_frr):
    rib = Rib(65000, 900, quiet_s=2.0)
    agent = BmpAgent(("127.0.0.1", BMP_PORT), {"127.0.0.1": "border"}, rib, lambda: None)
    task = asyncio.create_task(agent.run())
    with tempfile.TemporaryDirectory(prefix="neto-frr-") as directory:  # a vty socket's path must be short
        world = World(agent, Path(directory))
        yield world
        for daemon in (world.border, world.a, world.b, world.inside):
            daemon.stop()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


EXITS = {
    "10.1.0.0/16": "a", "10.2.0.0/16": "ab", "10.3.0.0/16": "b", "10.4.0.0/16": "", "10.66.0.0/16": "b",
    "2001:db8:1::/48": "a", "2001:db8:2::/48": "ab", "2001:db8:3::/48": "b",
}  # fmt: skip


async def test_what_is_held_is_what_the_router_shows_but_for_our_own_routes(world):
    await world.until(lambda: world.exits() == EXITS and "10.4.0.0/16" in world.held())
    shown, held = world.border.best(), world.held()
    assert shown.pop(OURS)[2] == 1000
    assert held.pop(OURS) == ("64501", "10.9.0.32", 100, 0, "IGP", frozenset(["65000:77", "64501:1"]))
    assert len(held) == 7
    assert held == shown
    assert world.agent.counters["rib_own"] >= 1
    assert world.agent.counters["wire_errors"] == 0


async def test_an_isp_that_dies_and_a_prefix_that_is_withdrawn_are_told(world):
    await world.until(lambda: world.exits() == EXITS)
    world.b.vtysh(
        "configure terminal", "router bgp 4200000002", "address-family ipv4 unicast", "no network 10.2.0.0/16"
    )
    await world.until(lambda: world.exits()["10.2.0.0/16"] == "a")
    world.a.stop()
    await world.until(lambda: "a" not in "".join(world.exits().values()))
    assert {prefix for prefix, exits in world.exits().items() if exits} == {
        "10.3.0.0/16", "10.66.0.0/16", "2001:db8:2::/48", "2001:db8:3::/48",
    }  # fmt: skip
    await world.until(lambda: world.held() == {p: told for p, told in world.border.best().items() if p != OURS})
