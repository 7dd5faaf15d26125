"""Leadership on one host without a quorum: a lock elects, an epoch fences, a heartbeat tells the dead from the stuck.

Invariant: at no time do two processes both pass `Term.check`.

1. Whoever leads holds the flock, and began an epoch in the store after getting it. Every writing transaction checks
   the epoch, so a deposed leader can store nothing.
2. A leader beats in the store under its epoch. `check` passes for `lease_s` after the start of the last beat that
   succeeded, and no longer: one that was stopped and goes on later finds its lease run out before it can push.
3. The successor begins its epoch, which makes every later beat of the old leader fail. Then, if that process still
   runs without having resigned (somebody replaced the lock file under it), it lets `lease_s` pass before it acts.
4. A process that is stopped or stuck keeps the flock. The standby that has watched a beat not change for `stale_s`
   kills it: first the process ends, then its lock is free. lease_s < stale_s, so it was already powerless.

All times are CLOCK_BOOTTIME, which nobody sets and which counts suspension.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from neto.errors import LeaseLostError, StoreError
from neto.ha import process
from neto.ha.lock import LeaderLock, refuse_network, try_acquire
from neto.store.protocol import Leader, Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each patience lasts, seconds."""

    beat_s: float = 0.2
    lease_s: float = 0.8  # after its last good beat a leader may act for so long
    stale_s: float = 1.0  # after its last beat a leader that keeps the lock is taken for stuck
    look_s: float = 0.1  # how often a standby looks

    def __post_init__(self) -> None:
        if not 0 < self.beat_s < self.lease_s < self.stale_s or not 0 < self.look_s < self.stale_s:
            raise ValueError("accepted: beat < lease < stale, and look < stale")


DEFAULT = Timing()
_LOCK_PERIOD_S = 0.02  # how often a standby asks for the lock


@dataclass(slots=True)
class Term:
    """One process's time as leader."""

    epoch: int
    lease_s: float
    beaten_s: float  # when the last beat that succeeded was begun
    clock: Callable[[], float] = process.boottime_s
    lost: asyncio.Event = field(default_factory=asyncio.Event)  # set once, by whoever notices first

    def check(self) -> None:
        """Raise LeaseLostError unless this process leads now. To be called right before every push."""
        if self.lost.is_set():
            raise LeaseLostError(f"epoch {self.epoch} is over")
        age_s = self.clock() - self.beaten_s
        if age_s > self.lease_s:
            raise LeaseLostError(f"epoch {self.epoch}: no beat for {age_s:.1f} s")


class Watch:
    """A standby's judgement of the beats it sees. Sans-IO."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._seen: Leader | None = None
        self._since_s = 0.0
        self._looked_s = 0.0

    def stuck(self, leader: Leader, now_s: float) -> bool:
        """Whether the leader has not beaten for `stale_s`, all of it under our eyes.

        Time in which we did not look does not count: a host that was suspended wakes up with every beat stale, and
        it is a matter of luck who goes on first.
        """
        if leader != self._seen or now_s - self._looked_s > self._timing.stale_s / 2:
            self._seen, self._since_s = leader, now_s
        self._looked_s = now_s
        return leader.process.pid > 0 and now_s - self._since_s > self._timing.stale_s


@contextlib.asynccontextmanager
async def leadership(lock_file: Path, store: Store, timing: Timing = DEFAULT) -> AsyncIterator[Term]:
    """Wait until this process leads; the body is its term. Leaving resigns, and lets a standby take over at once.

    The body should end when `term.lost` is set. A beat that comes late does not end the term: `check` refuses until
    the next one succeeds.
    Raises StoreError when the lock cannot be taken where it lies, or the store cannot be written.
    """
    refuse_network(lock_file)
    with await _elected(lock_file, store, timing) as lock:
        before, term = await store.leader(), await _begin(store, timing)
        heart = asyncio.create_task(_beat(term, lock, store, timing), name="heartbeat")
        try:
            if term.epoch != before.epoch + 1 or process.runs_here(before.process):
                await asyncio.sleep(timing.lease_s)  # rule 3
            log.info("lease.taken", epoch=term.epoch, before=before.process.pid)
            yield term
        finally:
            heart.cancel()
            await asyncio.wait([heart])
            with contextlib.suppress(LeaseLostError, StoreError):
                await store.resign(term.epoch)
            if not heart.cancelled():
                heart.result()


async def _elected(lock_file: Path, store: Store, timing: Timing) -> LeaderLock:
    """Wait for the lock; end a leader that is stuck with it."""
    watch, look_at = Watch(timing), 0.0
    while (lock := try_acquire(lock_file)) is None:
        now_s = process.boottime_s()
        if now_s >= look_at:
            look_at = now_s + timing.look_s
            leader = await store.leader()
            if watch.stuck(leader, now_s):
                killed = process.kill(leader.process)
                log.warning("leader.stuck", epoch=leader.epoch, pid=leader.process.pid, killed=killed)
                watch = Watch(timing)
        await asyncio.sleep(_LOCK_PERIOD_S)
    return lock


async def _begin(store: Store, timing: Timing) -> Term:
    now_s = process.boottime_s()
    return Term(await store.take_lead(process.this_process(), now_s, time.time()), timing.lease_s, now_s)


async def _beat(term: Term, lock: LeaderLock, store: Store, timing: Timing) -> None:
    """Renew the lease until it is lost."""
    try:
        while True:
            await asyncio.sleep(timing.beat_s)
            if not lock.holds():
                raise LeaseLostError("the lock file was replaced")  # noqa: TRY301 - one place says why it was lost
            now_s = process.boottime_s()
            try:
                await store.beat(term.epoch, now_s)
            except StoreError as error:
                log.warning("beat.failed", epoch=term.epoch, error=str(error))
                if now_s - term.beaten_s > timing.stale_s:
                    raise LeaseLostError("the store takes no beats") from error
            else:
                term.beaten_s = now_s
    except LeaseLostError as error:
        log.error("lease.lost", epoch=term.epoch, error=str(error))  # noqa: TRY400 - a fact; the trace says no more
    finally:
        term.lost.set()
