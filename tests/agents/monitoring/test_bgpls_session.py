"""The agent behind the real exabgp, with two of the lab's speakers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import time

from neto.agents.exabgp import ExaBgp
from neto.agents.monitoring.bgpls import BgpLsAgent
from neto.lab.bgp import LsSpeaker
from neto.lab.bgpls import LsLinkSpec, LsNodeSpec, objects
from neto.wire.exabgp import ExaBgpConfig, Family, Neighbor, PeerDown, PeerUp

MAIN, SPARE, PORT = "127.0.9.111", "127.0.9.112", 17911
NYC, LON = (LsNodeSpec(name, f"10.255.0.{n}", f"0000.0000.000{n}") for n, name in ((1, "nyc1"), (2, "lon1")))
SRLGS = tuple(range(500))  # an attribute of more than 255 octets
CABLE = [
    LsLinkSpec(NYC, LON, "10.1.2.1", "10.1.2.2", 100_000, srlgs=SRLGS),
    LsLinkSpec(LON, NYC, "10.1.2.2", "10.1.2.1", 100_000),
]


async def until(holds):
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  what it waits for happens in another process
            await asyncio.sleep(0.01)


async def test_two_speakers_take_turns(tmp_path):
    main, spare = LsSpeaker(MAIN, PORT, 65000), LsSpeaker(SPARE, PORT, 65000, end_of_rib=False)
    changes = []
    agent = BgpLsAgent((MAIN, SPARE), 300.0, lambda: changes.append(agent.active), quiet_s=0.3)

    def pass_on(event):
        now = time.monotonic()
        match event:
            case PeerUp():
                agent.peer_up(event.address, now)
            case PeerDown():
                agent.peer_down(event.address, now)
            case _:
                agent.raw_update(event.address, event.body, now)

    neighbors = tuple(Neighbor(address, PORT, frozenset({Family.LINK_STATE})) for address in (MAIN, SPARE))
    exabgp = ExaBgp(ExaBgpConfig(65000, "10.0.0.9", "127.0.0.1", neighbors), tmp_path / "exabgp", pass_on)

    def links(address, count):
        return lambda: agent.active == address and len(agent.topology().links) == count

    async with contextlib.AsyncExitStack() as stack:
        for speaker in (main, spare):
            speaker.set(objects([NYC, LON, *CABLE]))
            await speaker.start()
            stack.push_async_callback(speaker.stop)
        running = [asyncio.create_task(part.run(), name=f"{part}") for part in (exabgp, agent)]
        stack.push_async_callback(asyncio.gather, *running, return_exceptions=True)
        stack.callback(running[1].cancel)
        stack.push_async_callback(exabgp.stop, notify=False)

        await until(links(MAIN, 2))
        assert {len(link.srlgs) for link in agent.topology().links} == {0, len(SRLGS)}
        await until(lambda: agent._speakers[SPARE].is_complete)
        await main.stop()
        await until(links(SPARE, 2))
        spare.set(objects([NYC, LON]))
        await until(links(SPARE, 0))
        await main.start()
        await until(links(MAIN, 2))
        assert changes == [MAIN, SPARE, *[SPARE] * (len(changes) - 3), MAIN]
        assert agent.counters["quiet_ends"] >= 1
        assert agent.counters["wire_errors"] == agent.counters["unknown_tlvs"] == 0
