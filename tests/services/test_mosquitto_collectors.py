"""Collectors over a real broker: whatever is killed or frozen, no window is lost and none counts twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from ipaddress import ip_network
from pathlib import Path

import aiomqtt
import numpy as np
import pytest

from neto.agents.monitoring import leaf as leaf_module
from neto.agents.monitoring.classify import cell_space
from neto.agents.monitoring.leaf import Recorder, Sender, window_topic
from neto.agents.monitoring.merger import Merger
from neto.agents.monitoring.receiver import Receiver, Upward
from neto.agents.monitoring.root import Root
from neto.agents.monitoring.spool import Spool
from neto.agents.mqtt import Broker
from neto.model.demand import ExporterHealth
from neto.model.demand_window import DemandWindow
from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Peering

pytestmark = [pytest.mark.service, pytest.mark.timeout(90)]

WINDOW_S = 0.1
INVENTORY = Inventory(
    (Site("s", "eu"),),
    tuple(
        Router(name, "s", "", "lab", "", exporters=(f"192.0.2.{n}",), prefixes=(ip_network(f"10.{n}.0.0/18"),))
        for n, name in enumerate(("fra1", "ams1", "lon1"))
    ),
)
INTENTS = Intents((TrafficClass("gold", frozenset({46})), TrafficClass("rest")))
SPACE = cell_space(INVENTORY, Peering(), INTENTS)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A frozen broker is found out in a second instead of ten."""
    monkeypatch.setattr(leaf_module, "TIMEOUT_S", 1.0)
    monkeypatch.setattr("neto.agents.mqtt.TIMEOUT_S", 1.0)
    monkeypatch.setattr("neto.agents.monitoring.receiver.TIMEOUT_S", 1.0)
    monkeypatch.setattr("neto.agents.mqtt._LONGEST_PAUSE_S", 0.5)


@contextlib.asynccontextmanager
async def running(**parts):
    """Run parts beside the body."""
    tasks = [asyncio.create_task(run, name=name) for name, run in parts.items()]
    try:
        yield
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(true, seconds=40):
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 what is waited for is told by numbers only
            await asyncio.sleep(0.02)


class Leaf:
    """One that makes windows up, and knows what it told."""

    def __init__(self, name, directory, broker):
        self.name, self.octets = name, 0
        self.spool = Spool(directory / f"{name}.db")
        self.sender = Sender(name, self.spool, broker, resend_s=1.0)
        health = ExporterHealth(name + "1", "192.0.2.1", "v9", 7, 100, 0, 0.0, 0, 0, 0, 0, 0, 0.0)
        epoch = self.spool.next_epoch(time.time())
        self.recorder = Recorder(name, epoch, WINDOW_S, self.spool, self.sender, health=lambda: [health])
        self._next = int(time.time() / WINDOW_S)

    async def run(self):
        async with asyncio.TaskGroup() as work:
            work.create_task(self.sender.run())
            work.create_task(self.recorder.run())

    def tell(self):
        """Close the windows that are over by now."""
        while (self._next + 1) * WINDOW_S <= time.time():
            cell, octets = random.randrange(SPACE.size), random.randrange(1, 1 << 40)
            begins = self._next * WINDOW_S
            window = DemandWindow(
                *(begins, begins + WINDOW_S, SPACE, np.array([cell]), np.array([octets])),
                unknown={"fra1": 1},
                heard=frozenset({self.name + "1"}),
            )
            self.recorder.closed(window)
            self.octets += window.total
            self._next += 1

    async def tell_for(self, seconds):
        for _ in range(int(seconds / WINDOW_S)):
            self.tell()
            await asyncio.sleep(WINDOW_S)

    @property
    def waits(self):
        return bool(self.recorder._closed or self.spool.waiting(1))


def root_at(directory, broker, leaves, term=1):
    return Root(
        leaves,
        *(INVENTORY, Peering(), INTENTS),
        *(broker, directory / "root.db"),
        window_s=WINDOW_S,
        smooth=100_000,
        late_s=0.5,
        term=term,
    )


def held(root):
    """Octets in all windows that the root holds."""
    return sum(window.total for window in root._ring.windows)


async def survives(mosquitto, tmp_path, trouble, seconds):
    """Two leaves tell the root for a while, with trouble in between; then all that they told is there, once."""
    broker = Broker("127.0.0.1", mosquitto.port, keepalive_s=5)
    leaves = [Leaf(name, tmp_path, broker) for name in ("fra", "ams")]
    root = root_at(tmp_path, broker, ["fra", "ams"])
    async with running(root=root.run(), fra=leaves[0].run(), ams=leaves[1].run()):
        await asyncio.gather(trouble(), *(leaf.tell_for(seconds) for leaf in leaves))
        await until(lambda: not any(leaf.waits for leaf in leaves))
        assert held(root) == sum(leaf.octets for leaf in leaves)
        counters = root.counters
        assert counters["octets_committed"] == held(root)
        assert counters["windows_malformed"] == counters["windows_refused"] == counters["octets_too_late"] == 0
    for leaf in leaves:
        leaf.spool.close()
        counters["mqtt_failures"] += leaf.sender.counters["mqtt_failures"]
    return counters


async def test_a_quiet_day(mosquitto, tmp_path):
    counters = await survives(mosquitto, tmp_path, lambda: asyncio.sleep(0), 2)
    assert counters["windows"] >= 36
    assert counters["windows_again"] == 0


async def test_a_broker_that_is_killed_with_all_it_holds(mosquitto, tmp_path):
    async def trouble():
        for _ in range(2):
            await asyncio.sleep(0.7)
            mosquitto.kill()
            await asyncio.sleep(0.3)
            mosquitto.start()

    assert (await survives(mosquitto, tmp_path, trouble, 3))["mqtt_failures"] >= 2


async def test_a_broker_that_freezes_and_goes_on(mosquitto, tmp_path):
    async def trouble():
        await asyncio.sleep(0.5)
        mosquitto.signal(signal.SIGSTOP)
        await asyncio.sleep(2.5)
        mosquitto.signal(signal.SIGCONT)

    assert (await survives(mosquitto, tmp_path, trouble, 3))["mqtt_failures"] >= 1


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_minutes_of_trouble_of_every_kind(mosquitto, tmp_path):
    async def trouble():
        for _ in range(30):
            await asyncio.sleep(random.uniform(0, 3))
            if random.random() < 0.5:
                mosquitto.kill()
                await asyncio.sleep(random.uniform(0, 3))
                mosquitto.start()
            else:
                mosquitto.signal(signal.SIGSTOP)
                await asyncio.sleep(random.uniform(0, 5))
                mosquitto.signal(signal.SIGCONT)

    await survives(mosquitto, tmp_path, trouble, 120)


async def test_a_root_that_is_away_for_a_while_and_knows_what_it_had(mosquitto, tmp_path):
    broker = Broker("127.0.0.1", mosquitto.port, keepalive_s=5)
    leaf = Leaf("fra", tmp_path, broker)
    async with running(leaf=leaf.run()):
        for term in (1, 2, 3):
            async with running(root=root_at(tmp_path, broker, ["fra"], term).run()):
                await leaf.tell_for(0.7)
            await leaf.tell_for(0.3)
        root = root_at(tmp_path, broker, ["fra"], 4)
        async with running(root=root.run()):
            await until(lambda: not leaf.waits)
            assert held(root) == leaf.octets
    leaf.spool.close()


ROOT = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_mosquitto_collectors as t
from neto import log

async def main():
    log.configure("warning", "json")
    broker = t.Broker("127.0.0.1", int(sys.argv[2]), keepalive_s=5)
    root = t.root_at(Path(sys.argv[3]), broker, ["fra", "ams"], int(sys.argv[4]))
    running = asyncio.create_task(root.run())
    while not running.done():
        await asyncio.sleep(0.05)
        print(t.held(root) if root._ring else 0, flush=True)
    await running

asyncio.run(main())
"""


class RootProcess:
    """A root that says what it holds, until it is killed."""

    def __init__(self, directory, port, term):
        here = Path(__file__).parent
        self._process = subprocess.Popen(
            [sys.executable, "-c", ROOT, here, str(port), directory, str(term)], stdout=subprocess.PIPE, text=True
        )
        self.held = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self.held = int(line)

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


async def test_a_root_that_is_killed_again_and_again(mosquitto, tmp_path):
    broker = Broker("127.0.0.1", mosquitto.port, keepalive_s=5)
    leaves = [Leaf(name, tmp_path, broker) for name in ("fra", "ams")]
    async with running(fra=leaves[0].run(), ams=leaves[1].run()):
        for term in (1, 2, 3):
            root = RootProcess(tmp_path, mosquitto.port, term)
            try:
                await asyncio.gather(*(leaf.tell_for(0.3) for leaf in leaves))
                await until(lambda root=root: root.held)
                await asyncio.gather(*(leaf.tell_for(random.uniform(0.3, 1)) for leaf in leaves))
            finally:
                root.kill()
        root = RootProcess(tmp_path, mosquitto.port, 4)
        try:
            told = sum(leaf.octets for leaf in leaves)
            await until(lambda: not any(leaf.waits for leaf in leaves) and root.held >= told)
            await asyncio.sleep(1.2)  # what is sent again comes by now
            assert root.held == told
        finally:
            root.kill()
    for leaf in leaves:
        leaf.spool.close()


async def test_commits_that_get_lost_are_said_again_and_the_window_counts_once(mosquitto, tmp_path, monkeypatch):
    lost = []

    async def forgetful(self, client, leaf, answers):
        if len(lost) < 10:
            lost.append(leaf)
        else:
            await told(self, client, leaf, answers)

    told = Receiver._tell
    monkeypatch.setattr(Receiver, "_tell", forgetful)
    counters = await survives(mosquitto, tmp_path, lambda: asyncio.sleep(0), 2)
    assert len(lost) == 10
    assert counters["windows_again"] > 0


async def test_a_tier_between_passes_everything_on_once(mosquitto, tmp_path):
    broker = Broker("127.0.0.1", mosquitto.port, keepalive_s=5)
    leaves = [Leaf(name, tmp_path, broker) for name in ("fra", "ams")]
    spool = Spool(tmp_path / "mid.db")
    sender = Sender("mid", spool, broker, resend_s=1.0)
    merger = Merger(["fra", "ams"], WINDOW_S, 0.5, SPACE)
    upward = Upward("mid", spool.next_epoch(time.time()), WINDOW_S, spool, sender)
    receiver = Receiver("mid", ["fra", "ams"], merger, spool, upward, broker)
    upward.health = lambda: receiver.health
    root = root_at(tmp_path, broker, ["mid"])
    parts = {"mid": receiver.run(0.05), "sender": sender.run(), "root": root.run()}
    async with running(**parts, fra=leaves[0].run(), ams=leaves[1].run()):
        telling = asyncio.gather(*(leaf.tell_for(2) for leaf in leaves))
        await asyncio.sleep(1)
        mosquitto.kill()
        await asyncio.sleep(0.3)
        mosquitto.start()
        await telling
        await until(lambda: not any(leaf.waits for leaf in leaves) and not spool.waiting(1))
        assert held(root) == sum(leaf.octets for leaf in leaves)
        assert any({"fra1", "ams1"} <= window.heard for window in root._ring.windows)
        assert [(row.collector, row.router) for row in root.health] == [("mid/ams", "ams1"), ("mid/fra", "fra1")]
    for each in (spool, *(leaf.spool for leaf in leaves)):
        each.close()


async def test_a_demand_without_a_leaf_says_so_and_names_its_routers(mosquitto, tmp_path):
    broker = Broker("127.0.0.1", mosquitto.port, keepalive_s=5)
    leaf = Leaf("fra", tmp_path, broker)
    root = root_at(tmp_path, broker, ["fra", "ams"])
    async with running(root=root.run(), leaf=leaf.run()):
        await leaf.tell_for(1.5)
        await until(lambda: root.demand(0.0) is not None)
        demand = root.demand(0.0)
        assert demand.missing_leaves == {"ams"}
        assert demand.missing_exporters == {"ams1", "lon1"}
    leaf.spool.close()


async def test_junk_and_windows_of_others_are_counted_and_stop_nothing(mosquitto, tmp_path):
    broker = Broker("127.0.0.1", mosquitto.port, keepalive_s=5)
    leaf = Leaf("fra", tmp_path, broker)
    root = root_at(tmp_path, broker, ["fra", "ams"])
    async with running(root=root.run(), leaf=leaf.run()):
        await until(lambda: root._receiver and root._receiver.counters["mqtt_connects"])
        await asyncio.sleep(0.2)
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
            for junk in (b"", b"NetOd\x01junk", bytes(100_000)):
                await client.publish(window_topic(broker, "ams"), junk, qos=1)
            leaf.tell()
            await until(lambda: leaf.spool.waiting(1) or leaf.sender.counters["windows_committed"])
            await leaf.tell_for(1)
        await until(lambda: not leaf.waits)
        assert root.counters["windows_malformed"] == 3
        assert held(root) == leaf.octets
    leaf.spool.close()
