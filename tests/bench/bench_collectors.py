"""What the root of a hierarchy costs: 100 leaves, each with 100 x 100 x 4 cells every 10 s, through a real mosquitto.

The root is a process of its own, with its spool on disk; what it takes of a core is what the kernel charges it with.
Afterwards it must hold exactly the octets that were sent. Target: less than 30 % of a core.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from ipaddress import ip_network
from pathlib import Path

import aiomqtt
import numpy as np
import pytest

from neto.agents.monitoring.leaf import window_topic
from neto.agents.mqtt import Broker
from neto.model.demand_window import CellSpace, DemandWindow
from neto.wire.demand_message import DemandMessage, Key, encode_window

sys.path.insert(0, str(Path(__file__).parents[1] / "services"))

from mosquitto import Mosquitto, needed

LEAVES, ROUTERS, CLASSES = 100, 100, 4
WINDOW_S = 10
WINDOWS = int(os.environ.get("NETO_BENCH_WINDOWS", "6"))
TARGET = 0.30

ROOT = f"""
import asyncio, json, resource, sys
from ipaddress import ip_network
from pathlib import Path
from neto import log
from neto.agents.monitoring.root import Root
from neto.agents.mqtt import Broker
from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Peering

routers = [
    Router(f"r{{n}}", "s", "", "lab", "", exporters=(f"e{{n}}",), prefixes=(ip_network((10 << 24 | n << 8, 24)),))
    for n in reversed(range({ROUTERS}))  # numbered otherwise than at the leaves
]
root = Root(
    [f"leaf{{n}}" for n in range({LEAVES})],
    Inventory((Site("s", "eu"),), tuple(routers)), Peering(), Intents(tuple(TrafficClass(c) for c in "abcd")),
    Broker("127.0.0.1", int(sys.argv[1])), Path(sys.argv[2]),
    window_s={WINDOW_S}, smooth=1000, late_s=5.0, term=1,
)

def say():
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({{
        "cpu_s": used.ru_utime + used.ru_stime, "rss_mb": used.ru_maxrss / 1024, "counters": root.counters,
        "octets": sum(window.total for window in root._ring.windows) if root._ring else 0,
    }}), flush=True)

async def main():
    log.configure("warning", "json")
    running = asyncio.create_task(root.run())
    while not running.done():
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            break
        root.demand(0.0)
        say()

asyncio.run(main())
"""


def space():
    names = tuple(f"r{n}" for n in range(ROUTERS))
    prefixes = (ip_network((10 << 24 | n << 8, 24)) for n in range(ROUTERS))
    return CellSpace(names, tuple(zip(names, prefixes, strict=True)), tuple("abcd"))


def messages(cells, number, chance):
    """One window of each leaf: (leaf, octets, message)."""
    for n in range(LEAVES):
        octets = chance.lognormal(16, 3, cells.size).astype(np.int64) + 1
        begins = float(number * WINDOW_S)
        window = DemandWindow(
            *(begins, begins + WINDOW_S, cells, np.arange(cells.size), octets), heard=frozenset(cells.sources)
        )
        leaf = f"leaf{n}"
        yield leaf, window.total, encode_window(DemandMessage(leaf, Key(1, number), float(WINDOW_S), window))


class RootProcess:
    """The root, which answers for itself."""

    def __init__(self, port, path):
        self._process = subprocess.Popen(
            [sys.executable, "-c", ROOT, str(port), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self):
        """CPU, memory, octets held and counters."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def until(self, true, seconds):
        """Ask until an answer will do; return the last."""
        ends = time.monotonic() + seconds
        while not true(answer := self.ask()) and time.monotonic() < ends:
            time.sleep(0.1)
        return answer

    def close(self):
        """End it."""
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@pytest.fixture
def tier(tmp_path):
    """A broker and a root that listens to it."""
    needed()
    broker = Mosquitto(tmp_path, "allow_anonymous true\nmax_queued_messages 10000")
    broker.start()
    root = RootProcess(broker.port, tmp_path / "root.db")
    yield broker, root
    root.close()
    broker.close()


@pytest.mark.bench
@pytest.mark.timeout(600)
async def test_what_the_root_takes_of_a_core(tier):
    broker, root = tier
    cells, chance, to = space(), np.random.default_rng(1), Broker("127.0.0.1", broker.port)
    root.until(lambda answer: answer["counters"].get("mqtt_connects"), 20)
    number = int(time.time() / WINDOW_S) + 1
    sent = size = began = 0
    before = {}
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        for window in range(WINDOWS + 1):  # the first is for warming up
            made = list(messages(cells, number + window, chance))
            await asyncio.sleep(max(0.0, (number + window + 1) * WINDOW_S - time.time()))
            if window == 1:
                began, before = time.monotonic(), root.ask()
            for leaf, octets, message in made:
                await client.publish(window_topic(to, leaf), message, qos=1)
                sent, size = sent + octets, size + len(message)
        await asyncio.sleep(max(0.0, began + WINDOWS * WINDOW_S - time.monotonic()))
    after = root.until(lambda answer: answer["octets"] >= sent, 20)
    lasted = time.monotonic() - began
    share = (after["cpu_s"] - before["cpu_s"]) / lasted
    print(
        f"\nroot of {LEAVES} leaves x {ROUTERS}x{ROUTERS}x{CLASSES} every {WINDOW_S} s, {WINDOWS} windows: "
        f"{share:.1%} of a core (target < {TARGET:.0%}), {LEAVES * cells.size * WINDOWS / lasted:,.0f} cells/s, "
        f"{size / LEAVES / (WINDOWS + 1) / 1000:.0f} kB a message, {after['rss_mb']:.0f} MB resident at most, "
        f"windows {after['counters']['windows']}, closed short {after['counters']['closed_short']}"
    )
    assert after["octets"] == sent
    assert after["counters"]["windows"] == LEAVES * (WINDOWS + 1)
    assert share < TARGET
