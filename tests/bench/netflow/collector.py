"""NetO's NetFlow agent in a process of its own, which answers for itself: TABLE PORT RECEIVE_BUFFER.

Each line that comes in is answered by one line of JSON; "ticks" begins to measure how late the loop is.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from neto import log
from neto.agents.monitoring.netflow import NetflowAgent
from tests.bench.netflow.table import load, nouns

TICK_S = 0.005
WINDOW_S = 10.0


class Ticker:
    """How late the loop does what is due every 5 ms; a long stall makes every tick late that was due in it."""

    def __init__(self) -> None:
        self.late_s: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + TICK_S
        self._next = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        while self._due <= now:
            self.late_s.append(now - self._due)
            self._due += TICK_S
        self._next = self._loop.call_at(self._due, self._tick)

    def close(self) -> None:
        self._next.cancel()


async def main() -> None:
    log.configure("warning", "json")
    counted = 0

    def closed(window) -> None:
        nonlocal counted
        counted += window.total

    inventory, peering, intents = nouns(load(Path(sys.argv[1])))
    options = {"receive_buffer": int(sys.argv[3])} if int(sys.argv[3]) else {}
    began = time.perf_counter()
    agent = NetflowAgent(
        ("127.0.0.1", int(sys.argv[2])), WINDOW_S, inventory, peering, intents, closed=closed, **options
    )
    built_s = time.perf_counter() - began
    running = asyncio.create_task(agent.run())
    ticker = None
    print(json.dumps({"built_s": built_s}), flush=True)
    while not running.done():
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            break
        told = {"counters": agent.counters}
        if line == "ticks\n":
            ticker = Ticker()
        elif ticker is not None:
            told["late_s"] = ticker.late_s
            ticker.close()
            ticker = None
        if line == "matrix\n":
            told["counted"] = counted + sum(window.total for window in agent.opened())
            told["gaps"] = sum(each.lost + each.gaps + each.late + each.restarts for each in agent.health)
        print(json.dumps(told), flush=True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


asyncio.run(main())
