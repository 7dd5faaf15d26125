"""Processes on this host: telling one from another that got its number, and ending one that does not answer."""

from __future__ import annotations

import os
import platform
import signal
import time
from pathlib import Path

from neto.store.protocol import Process


def boottime_s() -> float:
    """Return seconds since boot, suspended ones included: a clock that nobody sets and all processes share."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def this_host() -> str:
    """Return the name of this host and the id of its present boot: process ids mean nothing beyond it."""
    return f"{platform.node()}/{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"


def this_process() -> Process:
    """Return who we are."""
    pid = os.getpid()
    start_ticks = _start_ticks(pid)
    assert start_ticks is not None  # noqa: S101 - we run
    return Process(pid, start_ticks, this_host())


def runs_here(process: Process) -> bool:
    """Whether this very process still runs on this host; stopped counts as running, a zombie does not."""
    return process.pid > 0 and process.host == this_host() and _start_ticks(process.pid) == process.start_ticks


def kill(process: Process) -> bool:
    """End a process of this host at once; return whether it was there and was ours to end.

    The descriptor is taken before the start time is read: if the time is right, so is the process behind it, and
    no other one can be hit however late the signal is sent.
    """
    if process.pid <= 0 or process.host != this_host():
        return False
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if _start_ticks(process.pid) != process.start_ticks:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it does not run (proc(5), stat)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may itself hold spaces and brackets
    state, start_ticks = fields[0], int(fields[19])
    return None if state in {"Z", "X"} else start_ticks
