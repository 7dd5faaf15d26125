"""Real processes that lead, die, hang and lose their lock file; the judge is the socket that all of them push into."""

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from neto.errors import LeaseLostError
from neto.ha.leader import Term, Timing, Watch, leadership
from neto.store.protocol import Leader, Process
from neto.store.sqlite import open_store

CONTENDER = Path(__file__).with_name("contender.py")
PATIENCE_S = 30.0  # only how long a failing test takes


class Judge:
    """Everything that contenders say, in the order in which it came."""

    def __init__(self, directory):
        self.directory = directory
        self.said = []
        self._processes = []
        self._in = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._in.bind(str(directory / "judge"))
        self._in.settimeout(0.02)

    def start(self, beat_s=0.2):
        command = [sys.executable, CONTENDER, self.directory, self.directory / "judge", str(beat_s)]
        process = subprocess.Popen(command)
        self._processes.append(process)
        return process

    def listen(self):
        """Take in the next thing that is said, if it comes soon."""
        with contextlib.suppress(TimeoutError):
            what, pid, epoch = self._in.recv(100).decode().split()
            self.said.append((what, int(pid), int(epoch)))

    def drain(self):
        """Take in all that was said, when nobody says anything any more."""
        before = -1
        while before < len(self.said):
            before = len(self.said)
            self.listen()

    def until(self, what, process, *, times=1, after=0):
        """Wait until this process has said this so often since the place `after`; return where that is."""
        deadline = time.monotonic() + PATIENCE_S
        place = after
        while time.monotonic() < deadline:
            for said, pid, _ in self.said[place:]:
                place += 1
                times -= (said, pid) == (what, process.pid)
                if times == 0:
                    return place - 1
            self.listen()
        pytest.fail(f"{process.pid} never {what}: {Counter(self.said)}")

    def pushes(self, process):
        return [epoch for what, pid, epoch in self.said if (what, pid) == ("pushes", process.pid)]

    def epochs(self):
        return [epoch for what, _, epoch in self.said if what == "pushes"]

    def close(self):
        for process in self._processes:
            process.kill()
            process.wait()
        self._in.close()


@pytest.fixture
def judge(tmp_path):
    judge = Judge(tmp_path)
    yield judge
    judge.close()


@pytest.fixture
def rivals(judge):
    """A leader that pushes and a standby that waits."""
    leader = judge.start()
    judge.until("pushes", leader)
    standby = judge.start()
    judge.until("stands", standby)
    return leader, standby


def test_one_leads_and_the_other_waits(judge, rivals):
    leader, standby = rivals
    judge.until("pushes", leader, times=50, after=len(judge.said))
    assert judge.pushes(standby) == []
    assert set(judge.pushes(leader)) == {1}


def test_after_a_kill_the_other_leads_with_the_next_epoch(judge, rivals):
    leader, standby = rivals
    leader.kill()
    judge.until("pushes", standby, times=5)
    assert set(judge.pushes(standby)) == {2}
    assert judge.epochs() == sorted(judge.epochs())


def test_a_stopped_leader_is_killed_and_pushes_nothing_any_more(judge, rivals):
    leader, standby = rivals
    leader.send_signal(signal.SIGSTOP)
    judge.until("pushes", standby, times=5)
    with contextlib.suppress(ProcessLookupError):
        leader.send_signal(signal.SIGCONT)
    assert leader.wait(PATIENCE_S) == -signal.SIGKILL
    judge.until("pushes", standby, times=20)
    assert judge.epochs() == sorted(judge.epochs())


def test_a_leader_that_was_stopped_for_long_pushes_nothing_until_it_has_beaten_again(judge):
    leader = judge.start()
    judge.until("pushes", leader)
    leader.send_signal(signal.SIGSTOP)
    time.sleep(1.2)  # longer than its lease
    judge.drain()
    before = len(judge.said)
    leader.send_signal(signal.SIGCONT)
    renewed = judge.until("pushes", leader, after=before)
    assert {what for what, _, _ in judge.said[before:renewed]} == {"refuses"}
    assert set(judge.pushes(leader)) == {1}  # nobody else led, so its epoch goes on


def test_a_replaced_lock_file_does_not_give_two_leaders(judge):
    leader = judge.start(beat_s=0.7)  # it will be late to notice
    judge.until("pushes", leader)
    standby = judge.start()
    judge.until("stands", standby)
    lock = judge.directory / "leader.lock"
    lock.unlink()
    lock.touch()
    judge.until("pushes", standby, times=20)
    judge.until("resigns", leader)
    assert judge.epochs() == sorted(judge.epochs())
    assert leader.wait(PATIENCE_S) == 0


def test_a_leader_whose_epoch_is_over_resigns_and_is_followed(judge, rivals):
    leader, standby = rivals
    with contextlib.closing(sqlite3.connect(judge.directory / "neto.db", timeout=10)) as db:
        db.execute("UPDATE leader SET epoch = epoch + 1")  # as if another had begun its epoch
        db.commit()
    judge.until("resigns", leader)
    judge.until("pushes", standby)
    assert set(judge.pushes(standby)) == {3}


async def test_the_store_knows_who_leads_and_that_nobody_does(tmp_path):
    async with await open_store(tmp_path / "neto.db") as store:
        async with leadership(tmp_path / "leader.lock", store) as term:
            term.check()
            leader = await store.leader()
            assert (leader.epoch, leader.process.pid) == (term.epoch, os.getpid())
        assert (await store.leader()).process.pid == 0
        with pytest.raises(LeaseLostError):
            term.check()
        async with leadership(tmp_path / "leader.lock", store) as again:
            assert again.epoch == term.epoch + 1


async def test_a_standby_can_be_cancelled_and_leaves_the_lock_free(tmp_path):
    lock = tmp_path / "leader.lock"
    async with await open_store(tmp_path / "neto.db") as store:

        async def stand():
            async with leadership(lock, store):
                pytest.fail("another leads")

        async with leadership(lock, store):
            standby = asyncio.create_task(stand())
            await asyncio.sleep(0.1)
            standby.cancel()
            await asyncio.wait([standby])
            assert standby.cancelled()
        async with asyncio.timeout(PATIENCE_S), leadership(lock, store) as term:
            assert term.epoch == 2


async def test_an_error_in_the_term_comes_out_as_it_is(tmp_path):
    async with await open_store(tmp_path / "neto.db") as store:
        with pytest.raises(ZeroDivisionError):
            async with leadership(tmp_path / "leader.lock", store):
                raise ZeroDivisionError


def test_a_lease_runs_from_the_last_good_beat():
    now = 100.0
    term = Term(1, lease_s=0.8, beaten_s=100.0, clock=lambda: now)
    now = 100.7
    term.check()
    now = 100.9
    with pytest.raises(LeaseLostError, match=r"no beat for 0\.9 s"):
        term.check()
    term.beaten_s = 100.5
    term.check()
    term.lost.set()
    with pytest.raises(LeaseLostError, match="over"):
        term.check()


HELD = Process(7, 70, "here")


def looks(watch, beats, *, step=0.1):
    """What a standby that looks every `step` seconds concludes."""
    return [watch.stuck(Leader(1, HELD, beat), number * step) for number, beat in enumerate(beats)]


def test_a_leader_that_beats_is_never_stuck():
    assert not any(looks(Watch(Timing()), [number // 9 for number in range(200)]))


def test_a_leader_is_stuck_once_no_beat_was_seen_for_long_enough():
    verdicts = looks(Watch(Timing()), [5.0] * 20)
    assert verdicts.index(True) == 11  # the first look after more than 1.0 s


def test_time_in_which_nobody_looked_does_not_count():
    watch = Watch(Timing())
    assert not watch.stuck(Leader(1, HELD, 5.0), 0.0)
    assert not watch.stuck(Leader(1, HELD, 5.0), 3600.0)  # the host slept for an hour
    assert not watch.stuck(Leader(1, HELD, 5.0), 3600.1)


def test_nobody_is_never_stuck():
    watch = Watch(Timing())
    assert not any(watch.stuck(Leader(1, Process(0), 5.0), number / 10) for number in range(50))


def test_a_lease_that_outlasts_the_patience_of_a_standby_is_refused():
    with pytest.raises(ValueError, match="beat < lease < stale"):
        Timing(lease_s=2.0)
