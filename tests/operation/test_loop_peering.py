"""The loop decides on the peering that borders bear out, and tells what it doubts of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from neto.model.demand import InboundRate
from neto.model.peering import Egress, Isp, Peering, PeeringLink
from tests.operation.test_loop import World, start

__all__ = ["start"]  # a fixture


class Outside:
    doubts = ("l1: its BGP session is down",)
    heard = None

    async def hear(self, listed, now):
        assert now > 1e9
        self.heard = listed

    def usable(self, listed):
        assert listed is self.heard
        return replace(listed, isps=(Isp("told", 64500),))

    def documents(self):
        return {"routes": {"links": []}}


async def test_the_peering_that_is_decided_on_is_the_one_that_borders_bear_out(start):
    loop = await start(World())
    loop._parts = replace(loop._parts, outside=Outside())
    await loop._cycle()
    assert loop._snapshot(loop._config, portion=1.0).peering.isps == (Isp("told", 64500),)
    assert "l1: its BGP session is down" in loop._doubts()
    assert (await loop.store.document("routes")).json() == {"links": []}
    assert "l1: its BGP session is down" in (await loop.store.document("status")).json()["alarms"]


class Busy(World):
    """Twice too much comes in by l1, half of it toward each of two prefixes of b."""

    def demand(self, now):
        rates = (InboundRate("l1", "b", ip_network(f"10.2.{third}.0/18"), 100.0) for third in (0, 64))
        return replace(super().demand(now), inbound=tuple(rates))


class Cut(Outside):
    """What comes and goes is l2."""

    gone = True

    def usable(self, listed):
        return replace(listed, egresses=listed.egresses[: 1 if self.gone else 2])


async def test_advice_for_what_comes_in_is_stored_each_cycle_and_counts_on_no_link_that_is_closed(start):
    loop = await start(Busy())
    links = tuple(PeeringLink(f"l{n}", "ac"[n - 1], "i", 100.0, interface=n) for n in (1, 2))
    listed = Peering((Isp("i", 64500),), links, egresses=tuple(Egress("g", each.name, 1.0) for each in links))
    beyond = Cut()
    loop._parts = replace(loop._parts, outside=beyond)
    loop._config = replace(loop._config, peering=listed)
    told = []
    for beyond.gone in (True, False):
        await loop._records.inputs(loop._heard())
        told.append((await loop.store.document("ingress")).json())
    assert [row["inbound_mbps"] for row in told[0]["links"]] == [200.0, 0.0]
    assert (told[0]["proposals"], told[0]["closed"]) == ([], ["l2"])
    assert [(each["peering_link"], each["change"]) for each in told[1]["proposals"]] == [("l1", "med")]
