"""Telling processes apart, and ending the right one."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from neto.ha.process import boottime_s, kill, runs_here, this_process
from neto.store.protocol import Process


@pytest.fixture
def sleeper():
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def described(child):
    """The child as a leader would have described itself."""
    stat = Path(f"/proc/{child.pid}/stat").read_text()
    return Process(child.pid, int(stat.rsplit(")", 1)[1].split()[19]), this_process().host)


def test_we_run_here():
    me = this_process()
    assert me.pid == os.getpid()
    assert runs_here(me)
    # Oracle for clock and ticks: ps, which tells the age in seconds.
    age_s = boottime_s() - me.start_ticks / os.sysconf("SC_CLK_TCK")
    told = subprocess.run(["ps", "-o", "etimes=", "-p", str(me.pid)], capture_output=True, text=True, check=True)
    assert abs(age_s - float(told.stdout)) < 3


def test_a_stopped_process_runs_and_a_dead_one_does_not(sleeper):
    process = described(sleeper)
    sleeper.send_signal(signal.SIGSTOP)
    assert runs_here(process)
    sleeper.kill()
    for _ in range(500):
        if not runs_here(process):  # a zombie by now: nobody has waited for it
            break
        time.sleep(0.01)
    assert not runs_here(process)


def test_the_right_process_is_killed_even_when_stopped(sleeper):
    sleeper.send_signal(signal.SIGSTOP)
    assert kill(described(sleeper))
    assert sleeper.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize(
    "other",
    [
        lambda process: replace(process, start_ticks=process.start_ticks + 1),  # the number was given out again
        lambda process: replace(process, host="elsewhere"),  # or it is another host's, or another boot's
        lambda process: replace(process, pid=0),
    ],
)
def test_another_process_with_the_same_number_is_left_alone(sleeper, other):
    stranger = other(described(sleeper))
    assert not kill(stranger)
    assert not runs_here(stranger)
    assert sleeper.poll() is None
