"""Policies and announcements on routers: push moves by command line, read back what is there.

One thread at most works on a router, and a bounded number at all. A thread cannot be cancelled, so giving up cuts its
connection; what the router was last told may then still take effect, and only a read-back tells.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from neto.agents.updating.session import Session, SshSettings
from neto.errors import DeviceError, DeviceTimeoutError, LeaseLostError, WireError
from neto.model.inventory import Router
from neto.model.plan import AnnouncementMove, PolicyMove
from neto.model.sr import ForwardingState
from neto.wire.dialects import dialect
from neto.wire.dialects.base import Dialect, Reading

__all__ = ["DeviceAgents", "SshSettings"]

Result = TypeVar("Result")
Check = Callable[[], None]  # raises LeaseLostError; called from a worker thread


class DeviceAgents:
    """All routers' command lines. Inert until the first call; `close` when done."""

    def __init__(self, routers: Iterable[Router], ssh: SshSettings, community: str) -> None:
        """Build it.

        community: what routes of ours carry, as in "65000:900".
        """
        self._workers = {router.name: _Worker(router, ssh, community) for router in routers}
        self._pool = ThreadPoolExecutor(ssh.workers, thread_name_prefix="ssh")
        self.counters: Counter[str] = Counter()

    async def apply(self, headend: str, moves: Sequence[PolicyMove | AnnouncementMove], check: Check) -> None:
        """Bring policies, or announcements, of one router to where the moves want them, all in one commit or none.

        Repeating it does no harm. `check` runs in a worker thread, before anything is sent and again before each
        window of lines and the commit; what it raises passes through, and nothing stays staged.
        Raises DeviceTimeoutError when the outcome is not known, DeviceError with the router's own words when it
        refused, and with ours when a move would touch what is not ours or cannot be said.
        """
        worker = self._workers[headend]
        await self._run(worker, "pushes", lambda: worker.push(moves, check))

    async def read(self, headend: str) -> ForwardingState:
        """Policies, coloured routes and adjustments of ours, as the router itself shows them.

        Raises DeviceTimeoutError or DeviceError when it does not answer, or says what its dialect does not know.
        """
        worker = self._workers[headend]
        return await self._run(worker, "reads", worker.read)

    async def close(self) -> None:
        """Drop every login; what runs fails at once."""
        for worker in self._workers.values():
            worker.session.cut()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
        for worker in self._workers.values():
            worker.session.close()

    async def _run(self, worker: _Worker, what: str, work: Callable[[], Result]) -> Result:
        async with worker.turn:
            self.counters[what] += 1
            job = self._pool.submit(worker.alone, work)
            try:
                return await asyncio.wrap_future(job)
            except asyncio.CancelledError:
                if not job.cancelled():
                    worker.session.cut()
                    await asyncio.wait([asyncio.wrap_future(job)])  # not long: its connection is gone
                raise
            except DeviceTimeoutError:
                self.counters["timeouts"] += 1
                raise
            except DeviceError:
                self.counters["errors"] += 1
                raise


class _Worker:
    """What is done to one router, in a thread."""

    def __init__(self, router: Router, ssh: SshSettings, community: str) -> None:
        self.router = router
        self.dialect: Dialect = dialect(router.dialect)
        self.session = Session(router, self.dialect, ssh)
        self.turn = asyncio.Lock()
        self._community = community
        self._thread = threading.Lock()

    def alone(self, work: Callable[[], Result]) -> Result:
        """Do it as the only thread on this router, and keep no login that is out of step."""
        with self._thread:
            try:
                return work()
            except (DeviceTimeoutError, LeaseLostError):
                self.session.close()  # also forgets what is staged
                raise

    def read(self) -> ForwardingState:
        """Policies and routes of ours."""
        self.session.ready()
        return self._reading((*self.dialect.show_policies, *self.dialect.show_routes)).state

    def push(self, moves: Sequence[PolicyMove | AnnouncementMove], check: Check) -> None:
        """Read what is there, say the difference, commit."""
        check()
        self.session.ready()
        running = self._reading(self.dialect.show_policies)
        policies = [move for move in moves if isinstance(move, PolicyMove)]
        announcements = [move for move in moves if isinstance(move, AnnouncementMove)]
        for move in policies:
            if move.key in running.foreign:
                raise self._error(f"policy {move.key.colour} {move.key.endpoint} is not ours; left alone")
        try:
            lines = self.dialect.render(policies, running) if policies else ()
            adjusting = self.dialect.adjust(announcements, running) if announcements else ()
        except ValueError as error:
            raise self._error(str(error)) from error
        if lines:
            self._change((*self.dialect.enter, *lines), check)
        if adjusting:
            self._change((*self.dialect.enter_adjusting, *adjusting), check)

    def _change(self, staged: Sequence[str], check: Check) -> None:
        """Stage, commit; on any complaint leave nothing staged."""
        window = self.dialect.window
        try:
            for start in range(0, len(staged), window):
                check()
                self.session.exchange(staged[start : start + window])
            check()
            self.session.exchange(self.dialect.commit)
            self.session.exchange(self.dialect.leave)
        except (DeviceTimeoutError, LeaseLostError):
            raise  # the login is dropped, and what it staged with it
        except DeviceError:
            self._abandon()
            raise
        except BaseException:
            self.session.close()
            raise

    def _abandon(self) -> None:
        try:
            self.session.exchange(self.dialect.abandon)
        except DeviceError:
            self.session.close()

    def _reading(self, commands: Sequence[str]) -> Reading:
        try:
            return self.dialect.parse(self.session.exchange(commands), self.router.name, self._community)
        except WireError as error:
            raise self._error(f"its answer is not understood: {error}") from error

    def _error(self, message: str) -> DeviceError:
        return DeviceError(self.router.name, message)
