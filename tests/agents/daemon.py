"""A process with exabgp and a RouteAgent in it, for tests to kill: daemon.py DIRECTORY PORT GRACEFUL_RESTART_S.

Announces one route to the router at 127.0.9.1 and prints the process ids of exabgp and of its helper.
"""

from __future__ import annotations

import asyncio
import sys
from ipaddress import IPv4Network
from pathlib import Path

from neto.agents.exabgp import ExaBgp
from neto.agents.updating.bgp import RouteAgent
from neto.model.inventory import Router
from neto.model.plan import RouteMove
from neto.model.sr import Route, RouteKey
from neto.wire.exabgp import Event, ExaBgpConfig, Family, Neighbor, PeerUp

KEY = RouteKey("nyc1", IPv4Network("10.5.0.0/18"))


def descendants(pid: int) -> str:
    return f"{pid} {Path(f'/proc/{pid}/task/{pid}/children').read_text()}".strip()


async def main(directory: Path, port: int, graceful_restart_s: int) -> None:
    neighbor = Neighbor("127.0.9.1", port, frozenset({Family.IPV4_UNICAST}))
    up = asyncio.Event()

    def note(event: Event) -> None:
        if isinstance(event, PeerUp):
            agent.peer_up(event.address)
            up.set()

    config = ExaBgpConfig(
        65000, "10.0.0.9", "127.0.0.1", (neighbor,), hold_time_s=9, graceful_restart_s=graceful_restart_s
    )
    exabgp = ExaBgp(config, directory, note)
    router = Router("nyc1", "nyc", "10.255.0.1", "lab", "127.0.9.1", port)
    agent = RouteAgent(exabgp, [router], [KEY.prefix], "65000:900", lambda: None)
    async with asyncio.TaskGroup() as work:
        work.create_task(exabgp.run(), name="exabgp")
        await up.wait()
        await agent.apply([RouteMove(KEY, Route(KEY, "10.255.0.2", 1100))], lambda: None)
        sys.stdout.write(f"pids {descendants(exabgp._child.pid)}\n")
        sys.stdout.flush()


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
