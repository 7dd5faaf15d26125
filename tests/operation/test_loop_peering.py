"""The loop decides on the peering that borders bear out, and tells what it doubts of it."""

from __future__ import annotations

from dataclasses import replace

from neto.model.peering import Isp
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
