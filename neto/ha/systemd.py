"""What we tell the service manager (sd_notify(3)); silent where there is none."""

from __future__ import annotations

import asyncio
import os
import socket
import time


def notify(**state: str) -> None:
    """Tell the manager a state change: READY="1", STATUS="standby"; see sd_notify(3) for the names.

    A service manager that does not listen is no reason to stop: what cannot be sent is dropped.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    message = "\n".join(f"{key}={value}" for key, value in state.items()).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.setblocking(False)
        try:
            out.sendto(message, "\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            return


def reloading() -> None:
    """Say that a reload begins; `notify(READY="1")` ends it."""
    notify(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))


async def feed_watchdog() -> None:
    """Say that we are alive, as often as the manager wants it; return at once when it does not watch."""
    period_s = watchdog_period_s()
    while period_s is not None:
        notify(WATCHDOG="1")
        await asyncio.sleep(period_s)


def watchdog_period_s() -> float | None:
    """Return how often to notify(WATCHDOG="1"): half of what the manager grants; None when it does not watch."""
    pid, usec = os.environ.get("WATCHDOG_PID"), os.environ.get("WATCHDOG_USEC", "")
    if not usec.isdigit() or (pid is not None and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000
