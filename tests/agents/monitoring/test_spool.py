"""The spool keeps what it was told to keep, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from neto.agents.monitoring.spool import Spool
from neto.errors import LeaseLostError, StoreError
from neto.wire.demand_message import Key


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "spool.db")
    yield made
    made.close()


def test_windows_wait_in_order_until_they_are_forgotten(spool):
    keys = [Key(1, window) for window in (9, 3, 7)]
    for key in keys:
        spool.put([(key, bytes(key.window))])
    assert spool.waiting(2) == keys[:2]
    assert spool.body(Key(1, 3)) == bytes(3)
    assert spool.forget([Key(1, 3), Key(1, 4)]) == 1
    assert spool.waiting(10) == [Key(1, 9), Key(1, 7)]
    assert spool.body(Key(1, 3)) is None


def test_what_is_too_much_goes_oldest_first_and_is_counted(tmp_path):
    spool = Spool(tmp_path / "spool.db", most_octets=100)
    assert [spool.put([(Key(1, window), bytes(40))]) for window in range(4)] == [0, 0, 1, 1]
    assert spool.waiting(10) == [Key(1, 2), Key(1, 3)]
    spool.close()
    again = Spool(tmp_path / "spool.db", most_octets=100)
    assert again.put([(Key(1, 9), bytes(40))]) == 1
    again.close()


def test_epochs_grow_over_restarts_and_clocks_that_went_back(tmp_path):
    epochs = []
    for now in (1000.0, 5.0, 5.0, 2000.0):
        spool = Spool(tmp_path / "spool.db")
        epochs.append(spool.next_epoch(now))
        spool.close()
    assert epochs == [1000, 1001, 1002, 2000]


def test_what_is_committed_is_known_and_what_it_became_is_there(spool):
    told = ("fra", Key(1, 5))
    assert not spool.is_committed(told)
    spool.commit([told], 100.0, outbox=[(Key(2, 5), b"up")], merged=[(5, b"whole")], keep_merged=3)
    assert spool.is_committed(told)
    assert not spool.is_committed(("ams", Key(1, 5)))
    assert spool.waiting(5) == [Key(2, 5)]
    assert spool.merged() == [(5, b"whole")]
    spool.forget_committed(101.0)
    assert not spool.is_committed(told)


def test_only_the_newest_merged_windows_are_kept(spool):
    for number in range(6):
        spool.commit([("fra", Key(1, number))], 0.0, merged=[(number, b"%d" % number)], keep_merged=3)
    assert spool.merged() == [(3, b"3"), (4, b"4"), (5, b"5")]
    spool.commit([("fra", Key(1, 9))], 0.0, merged=[(4, b"four")], keep_merged=3)
    assert spool.merged()[1] == (4, b"four")


def test_a_commit_that_fails_leaves_nothing(spool):
    spool.commit([("fra", Key(1, 5))], 0.0)
    with pytest.raises(StoreError):
        spool.commit([("ams", Key(1, 5)), ("fra", Key(1, 5))], 0.0, outbox=[(Key(2, 5), b"x")], merged=[(5, b"y")])
    assert not spool.is_committed(("ams", Key(1, 5)))
    assert spool.waiting(5) == []
    assert spool.merged() == []


def test_who_led_before_writes_no_more(tmp_path):
    old, new = Spool(tmp_path / "spool.db"), Spool(tmp_path / "spool.db")
    old.begin_term(4)
    old.commit([("fra", Key(1, 1))], 0.0)
    new.begin_term(5)
    with pytest.raises(LeaseLostError):
        old.commit([("fra", Key(1, 2))], 0.0)
    new.commit([("fra", Key(1, 2))], 0.0)
    old.close()
    new.close()


def test_another_programs_file_and_a_newer_one_are_refused(tmp_path):
    (tmp_path / "junk.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match=r"junk\.db"):
        Spool(tmp_path / "junk.db")
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreError, match="newer release"):
        Spool(tmp_path / "newer.db")


WRITER = """
import sys
from pathlib import Path
from neto.agents.monitoring.spool import Spool
from neto.wire.demand_message import Key
spool = Spool(Path(sys.argv[1]))
for window in range(10**6):
    told = [("fra", Key(1, window))]
    spool.commit(told, 0.0, outbox=[(Key(2, window), b"x")], merged=[(window, b"y")], keep_merged=2)
    print(window, flush=True)
"""


def test_a_writer_killed_at_any_time_has_written_all_it_said_and_each_thing_whole(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "spool.db"], stdout=subprocess.PIPE, text=True)
    said = [int(writer.stdout.readline()) for _ in range(20)]
    os.kill(writer.pid, signal.SIGKILL)
    said += [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    writer.stdout.close()
    spool = Spool(tmp_path / "spool.db")
    waiting = [key.window for key in spool.waiting(10**6)]
    assert waiting == list(range(len(waiting)))
    assert len(waiting) >= len(said)
    assert all(spool.is_committed(("fra", Key(1, window))) for window in waiting)
    assert not spool.is_committed(("fra", Key(1, len(waiting))))
    assert spool.merged()[-1][0] == waiting[-1]
    spool.close()


def test_what_was_counted_in_open_windows_is_sent_by_the_next_epoch_under_the_old_one(tmp_path):
    spool = Spool(tmp_path / "spool.db")
    epoch = spool.next_epoch(1000.0)
    spool.put([(Key(epoch, 1), b"one")], [(Key(epoch, 2), b"two"), (Key(epoch, 3), b"three")])
    spool.put([(Key(epoch, 2), b"two and more")], [(Key(epoch, 3), b"three and more")])
    spool.close()
    again = Spool(tmp_path / "spool.db")
    again.next_epoch(2000.0)
    assert again.waiting(9) == [Key(epoch, 1), Key(epoch, 2), Key(epoch, 3)]
    assert again.body(Key(epoch, 3)) == b"three and more"
    again.put([(Key(2000, 3), b"the rest")])
    assert len(again.waiting(9)) == 4
    again.close()
