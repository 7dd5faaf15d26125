"""A real border router, FRR's bgpd, announces its routes to the daemon's exabgp: all paths of a prefix (RFC 7911).

AS numbers have four octets, ours too. What is held is what the router shows; a route of ours there hides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from frr import Bgpd, needed

from neto.agents.exabgp import ExaBgp
from neto.agents.monitoring.exits import copy, route_table
from neto.agents.monitoring.ibgp import IbgpAgent, Teller
from neto.agents.monitoring.rib import Rib
from neto.model.peering import PeeringLink
from neto.model.sr import Route, RouteKey
from neto.wire.exabgp import ExaBgpConfig, Family, Neighbor, announce, communities, withdraw

PORT = 17985
ASN = 4200000000
BORDER, ISP_A, ISP_B = (f"127.0.9.{number}" for number in (41, 42, 43))
FAR_A, FAR_B = "10.9.0.42", "10.9.0.43"
A_ROUTES = ("10.1.0.0/16", "10.2.0.0/16")
B_ROUTES = ("10.2.0.0/16", "10.3.0.0/16")
EXITS = {"10.1.0.0/16": "a", "10.2.0.0/16": "ab", "10.3.0.0/16": "b"}
LINKS = [PeeringLink(name, "border", name, 1.0, peer_address=far) for name, far in (("a", FAR_A), ("b", FAR_B))]

pytestmark = pytest.mark.service


def configuration(name, asn, bgp_id, peers, lines, policy=""):
    """peers: AS number and address of both ends, by address."""
    sessions = "".join(
        f" neighbor {address} {line}\n"
        for address, (peer_as, own) in peers.items()
        for line in (
            *(f"remote-as {peer_as}", f"port {PORT}", "disable-connected-check", f"update-source {own}"),
            *("timers 3 9", "timers connect 1", *(["passive"] if address == "127.0.0.1" else [])),
        )
    )
    return f"""
hostname {name}
{policy}
router bgp {asn}
 bgp router-id {bgp_id}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
{sessions} address-family ipv4 unicast
{"".join(f"  {line}{chr(10)}" for line in lines)} exit-address-family
"""


def border(add_path):
    peers = {ISP_A: (64501, BORDER), ISP_B: (4200000002, BORDER), "127.0.0.1": (ASN, BORDER)}
    lines = [f"neighbor {each} activate" for each in peers]
    lines += [f"neighbor {each} route-map nothing out" for each in (ISP_A, ISP_B)]
    lines += ["neighbor 127.0.0.1 addpath-tx-all-paths"] * add_path
    return configuration("border", ASN, "10.255.0.1", peers, lines, "route-map nothing deny 10\n")


def isp(name, asn, own, far, routes):
    policy = f"route-map out permit 10\n set ip next-hop {far}\n"
    lines = [f"neighbor {BORDER} activate", f"neighbor {BORDER} route-map out out"]
    return configuration(
        name, asn, far, {BORDER: (ASN, own)}, [*lines, *(f"network {route}" for route in routes)], policy
    )


class Router(Bgpd):
    """A bgpd, and what it shows."""

    def paths(self):
        """All paths that are not ours: prefix, AS path, next hop."""
        said = json.loads(self.vtysh("show bgp ipv4 unicast json detail") or "{}").get("routes", {})
        return {
            (prefix, path["aspath"]["string"], hop["ip"])
            for prefix, paths in said.items()
            for path in (paths if isinstance(paths, list) else paths["paths"])
            for hop in path.get("nexthops", [])
            if path["peer"]["type"] == "external"
        }

    def best_is_ours(self, prefix):
        paths = json.loads(self.vtysh(f"show bgp ipv4 unicast {prefix} json") or "{}").get("paths", [])
        return any(path.get("bestpath", {}).get("overall") and path.get("locPrf") == 1000 for path in paths)


class World:
    """A border with two ISPs, exabgp, and the agent that hears the border."""

    def __init__(self, directory, *, add_path, single=False):
        self.rib = Rib(ASN, 900, quiet_s=2.0)
        self.nudges = 0
        self.agent = IbgpAgent(ASN, {BORDER: Teller("border", single)}, self.rib, self.nudge)
        neighbor = Neighbor(BORDER, PORT, frozenset({Family.IPV4_UNICAST}), add_path=True)
        config = ExaBgpConfig(ASN, "10.0.0.9", "127.0.0.1", (neighbor,))
        self.exabgp = ExaBgp(config, directory / "exabgp", self.agent.take, room=self.agent.room)
        self.border = Router(directory / "border", BORDER, PORT, border(add_path))
        self.a = Router(directory / "a", ISP_A, PORT, isp("a", 64501, ISP_A, FAR_A, A_ROUTES))
        self.b = Router(directory / "b", ISP_B, PORT, isp("b", 4200000002, ISP_B, FAR_B, B_ROUTES))

    def nudge(self):
        self.nudges += 1

    def table(self):
        return route_table(copy(self.rib), LINKS)

    def exits(self):
        table = self.table()
        return {
            str(table.prefix(row)): "".join(name for name, there in zip(table.links, exits, strict=True) if there)
            for row, exits in enumerate(table.exits)
        }

    def held(self):
        """All paths: prefix, AS path, next hop."""
        table, told = self.table(), copy(self.rib)
        return {
            (str(table.prefix(at)), told.attributes[rows[told.keys.index(key)]].path_text, hop)
            for border in told.borders.values()
            for rows in border.candidates
            for at, key in enumerate(table.keys)
            if rows[told.keys.index(key)] >= 0
            for hop in [told.attributes[rows[told.keys.index(key)]].next_hop]
        }

    async def until(self, holds, seconds=40):
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(holds):  # noqa: ASYNC110 what is watched has no event
                await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def running(**how):
    needed()
    with tempfile.TemporaryDirectory(prefix="neto-frr-") as directory:  # a vty socket's path must be short
        world = World(Path(directory), **how)
        tasks = [asyncio.create_task(each.run()) for each in (world.exabgp, world.agent)]
        try:
            yield world
        finally:
            await world.exabgp.stop(notify=False)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for daemon in (world.border, world.a, world.b):
                daemon.stop()


async def test_every_path_is_an_exit_and_a_route_of_ours_hides_none_until_an_isp_or_the_border_is_gone():
    async with running(add_path=True) as world:
        await world.until(lambda: world.exits() == EXITS)
        assert world.held() == world.border.paths()
        assert len(world.held()) == 4
        assert [asn for asn in world.table().origin.tolist() if asn] == [64501, 4200000002]

        key = RouteKey("border", IPv4Network("10.2.0.0/16"))
        line = announce(BORDER, Route(key, FAR_B, 1100), communities(f"{ASN}:900"))
        await world.exabgp.command([line], lambda: None)
        await world.until(lambda: world.border.best_is_ours("10.2.0.0/16"))
        world.b.vtysh("configure terminal", "router bgp 4200000002", "address-family ipv4", "network 10.4.0.0/16")
        await world.until(lambda: "10.4.0.0/16" in world.exits())  # so what came before has been read
        assert world.exits() == {**EXITS, "10.4.0.0/16": "b"}
        await world.exabgp.command([withdraw(BORDER, key)], lambda: None)

        world.a.vtysh("configure terminal", "router bgp 64501", "address-family ipv4", "no network 10.2.0.0/16")
        await world.until(lambda: world.exits()["10.2.0.0/16"] == "b")
        world.a.stop()
        await world.until(lambda: "10.1.0.0/16" not in world.exits())
        assert world.table().told == {"b"}

        nudges = world.nudges
        world.border.stop()
        await world.until(lambda: not world.agent.up)
        assert world.nudges > nudges
        assert world.exits() == {"10.2.0.0/16": "b", "10.3.0.0/16": "b", "10.4.0.0/16": "b"}  # stale, and still counts
        assert not copy(world.rib).borders["border"].up
        assert world.agent.counters["wire_errors"] == 0


async def test_a_border_that_sends_one_path_only_is_listened_to_where_the_operator_says_so():
    async with running(add_path=False) as world:
        await world.until(lambda: world.agent.problems and world.agent.counters["not_listened_to"])
        assert "RFC 7911" in world.agent.problems[0]
        assert not world.agent.up
        assert world.exits() == {}
    async with running(add_path=False, single=True) as world:
        one = dict.fromkeys(EXITS, 1)
        await world.until(lambda: {prefix: len(exits) for prefix, exits in world.exits().items()} == one)
        assert world.agent.problems == ()
