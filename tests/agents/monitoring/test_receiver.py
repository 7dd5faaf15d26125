"""What is received is written before it is answered, and counts once even when the disk refuses for a while."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import numpy as np
import pytest

from neto.agents.monitoring.leaf import Recorder, Sender
from neto.agents.monitoring.merger import Merger
from neto.agents.monitoring.receiver import KEEP_S, Receiver
from neto.agents.monitoring.root import Ring
from neto.agents.monitoring.spool import Spool
from neto.agents.mqtt import Broker
from neto.errors import StoreError
from neto.model.demand_window import CellSpace, DemandWindow
from neto.wire.demand_message import DemandMessage, Key, encode_window

SPACE = CellSpace(("a", "b"), (("x", ip_network("10.0.0.0/8")),), ("gold",))
FIRST = 180_000_000
BROKER = Broker("127.0.0.1", 9)  # nobody is asked


def window(number, octets):
    return DemandWindow(number * 10.0, number * 10.0 + 10, SPACE, np.array([0]), np.array([octets]))


def told(leaf, number, octets, part=0):
    return leaf, encode_window(DemandMessage(leaf, Key(1, number, part), 10.0, window(number, octets)))


class Tier:
    """A receiver with a ring on disk, fed by hand."""

    def __init__(self, path):
        self.spool = Spool(path)
        self.ring = Ring(10.0, 3, self.spool)
        self.merger = Merger(["fra", "ams"], 10.0, 5.0, SPACE)
        if self.ring.newest is not None:
            self.merger.closed_before(self.ring.newest)
        self.receiver = Receiver("root", ["fra", "ams"], self.merger, self.spool, self.ring, BROKER)

    def work(self, *batch, now=FIRST * 10.0 + 10):
        answers = self.receiver.work(batch, now)
        return {leaf: [key.window - FIRST for key in keys] for leaf, keys in answers.items()}

    @property
    def held(self):
        return sum(each.total for each in self.ring.windows)


@pytest.fixture
def tier(tmp_path):
    made = Tier(tmp_path / "root.db")
    yield made
    made.spool.close()


def test_nothing_is_answered_before_its_window_is_written(tier):
    assert tier.work(told("fra", FIRST, 3)) == {}
    assert tier.work(told("ams", FIRST, 4)) == {"fra": [0], "ams": [0]}
    assert tier.held == 7
    assert tier.work(told("ams", FIRST, 4)) == {"ams": [0]}
    assert tier.held == 7
    assert tier.receiver.counters["windows_again"] == 1


def test_while_the_disk_refuses_nothing_is_answered_and_repeats_do_not_count(tier, monkeypatch):
    commit = tier.spool.commit

    def refuses(*_, **__):
        raise StoreError("disk full")

    monkeypatch.setattr(tier.spool, "commit", refuses)
    batch = (told("fra", FIRST, 3), told("ams", FIRST, 4))
    for _ in range(3):
        assert tier.work(*batch) == {}
    assert (tier.held, tier.receiver.counters["spool_failures"]) == (0, 3)
    assert tier.work(told("ams", FIRST, 9, part=1)) == {}
    monkeypatch.setattr(tier.spool, "commit", commit)
    assert tier.work() == {"fra": [0], "ams": [0, 0]}
    assert tier.held == 16
    assert tier.receiver.counters["octets_committed"] == 16


def test_what_waits_for_the_disk_is_bounded_and_what_is_put_off_comes_again(tier, monkeypatch):
    monkeypatch.setattr("neto.agents.monitoring.receiver._MOST_UNWRITTEN", 2)
    commit = tier.spool.commit

    def refuses(*_, **__):
        raise StoreError("disk full")

    monkeypatch.setattr(tier.spool, "commit", refuses)
    pairs = [(told("fra", FIRST + n, 1), told("ams", FIRST + n, 1)) for n in range(4)]
    for pair in pairs:
        assert tier.work(*pair, now=FIRST * 10.0 + 60) == {}
    assert tier.receiver.counters["windows_put_off"] == 4
    monkeypatch.setattr(tier.spool, "commit", commit)
    tier.work(now=FIRST * 10.0 + 61)
    for pair in pairs:
        tier.work(*pair, now=FIRST * 10.0 + 62)
    assert tier.receiver.counters["octets_committed"] == 8


def test_a_late_part_is_added_to_its_window_and_its_leaf_is_missing_no_more(tier):
    tier.work(told("fra", FIRST, 3))
    tier.work(now=FIRST * 10.0 + 15)
    assert tier.ring.windows[-1].missing_leaves == {"ams"}
    assert tier.work(told("ams", FIRST, 4), now=FIRST * 10.0 + 16) == {"ams": [0]}
    (whole,) = tier.ring.windows
    assert (whole.total, whole.missing_leaves) == (7, frozenset())


def test_another_process_goes_on_from_what_is_on_disk(tmp_path):
    first = Tier(tmp_path / "root.db")
    first.work(told("fra", FIRST, 3), told("ams", FIRST, 4))
    first.spool.close()
    second = Tier(tmp_path / "root.db")
    assert second.held == 7
    assert second.work(told("fra", FIRST, 3)) == {"fra": [0]}
    assert second.work(told("fra", FIRST, 5, part=1)) == {"fra": [0]}
    assert second.held == 12
    second.spool.close()


def test_what_is_older_than_the_ring_is_counted_and_answered_and_what_nobody_remembers_only_answered(tier):
    tier.work(told("fra", FIRST, 1), told("ams", FIRST, 1))
    assert tier.work(told("fra", FIRST - 50, 8)) == {"fra": [-50]}
    assert (tier.held, tier.ring.counters["octets_too_late"]) == (2, 8)
    old = FIRST - int(KEEP_S / 10) - 5
    assert tier.work(told("fra", old, 8)) == {"fra": [old - FIRST]}
    assert tier.receiver.counters["windows_expired"] == 1
    assert tier.receiver.counters["octets_committed"] == 10


def test_a_window_under_another_leafs_topic_is_refused(tier):
    assert tier.work(("ams", told("fra", FIRST, 3)[1]), ("ams", b"junk")) == {}
    assert tier.receiver.counters["windows_malformed"] == 2


async def test_a_leaf_keeps_its_windows_while_the_disk_refuses_and_counts_what_it_gives_up(tmp_path, monkeypatch):
    monkeypatch.setattr("neto.agents.monitoring.leaf._RETRY_S", 0.01)
    spool = Spool(tmp_path / "leaf.db")
    recorder = Recorder("fra", 1, 10.0, spool, Sender("fra", spool, BROKER, resend_s=1.0))
    put = spool.put

    def refuses(*_):
        raise StoreError("disk full")

    monkeypatch.setattr(spool, "put", refuses)
    running = asyncio.create_task(recorder.run())
    for number in range(70):
        recorder.closed(window(FIRST + number, 1 + number))
    async with asyncio.timeout(20):
        while recorder.counters["windows_refused_by_disk"] < 2:  # noqa: ASYNC110 told by a number only
            await asyncio.sleep(0.01)
        monkeypatch.setattr(spool, "put", put)
        while len(spool.waiting(100)) < 64:  # noqa: ASYNC110 told by a number only
            await asyncio.sleep(0.01)
    running.cancel()
    assert (recorder.counters["windows_given_up"], recorder.counters["octets_lost"]) == (6, 1 + 2 + 3 + 4 + 5 + 6)
    assert [key.window - FIRST for key in spool.waiting(100)] == list(range(6, 70))
    spool.close()
