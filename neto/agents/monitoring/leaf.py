"""The lower end of the line between two collectors: windows go up until the one above says that it has counted them.

A broker that took a message has not counted it: it may die with it. So a window stays in the spool until its commit
comes, and is sent again when that takes too long. Repeats do no harm, for every message has its key.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

import aiomqtt
import structlog

from neto.agents.monitoring.spool import Spool
from neto.agents.mqtt import TIMEOUT_S, Broker, sessions
from neto.errors import StoreError, WireError
from neto.model.demand import ExporterHealth
from neto.model.demand_window import DemandWindow
from neto.wire.demand_message import DemandMessage, Key, decode_commits, encode_window

IN_FLIGHT = 16  # windows that are sent and not committed yet
_MOST_UNSPOOLED = 64  # windows that wait for a disk that refuses them
_RETRY_S = 5.0  # until such a disk is tried again

_log = structlog.get_logger("leaf")


def window_topic(broker: Broker, leaf: str) -> str:
    """Where a leaf's windows are published."""
    return f"{broker.topic}/window/{leaf}"


def commit_topic(broker: Broker, leaf: str) -> str:
    """Where it is told which of them are committed."""
    return f"{broker.topic}/commit/{leaf}"


class Sender:
    """Sends what waits in a spool. resend_s: how long a commit may take before a window is sent again."""

    def __init__(self, name: str, spool: Spool, broker: Broker, *, resend_s: float) -> None:
        self.counters: Counter[str] = Counter(
            dict.fromkeys(
                (
                    *("windows_sent", "windows_resent", "windows_committed", "answers_malformed"),
                    *("mqtt_connects", "mqtt_failures", "spool_failures"),
                ),
                0,
            )
        )
        self._name = name
        self._spool = spool
        self._broker = broker
        self._resend_s = resend_s
        self._sent: dict[Key, float] = {}  # by time.monotonic
        self._known: set[Key] = set()  # sent in any session
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look into the spool: there is something new."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        await sessions(self._broker, f"neto-{self._name}-up", self._session, self.counters)

    async def _session(self, client: aiomqtt.Client) -> None:
        self._sent.clear()
        await client.subscribe(commit_topic(self._broker, self._name), qos=1)
        try:
            async with asyncio.TaskGroup() as work:
                work.create_task(self._hear(client), name="commits")
                work.create_task(self._send(client), name="windows")
        except* StoreError as errors:
            self.counters["spool_failures"] += 1
            _log.error("leaf.spool_refuses", error=str(errors.exceptions[0]))
            await asyncio.sleep(_RETRY_S)

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            self._wake.clear()
            waiting = await asyncio.to_thread(self._spool.waiting, IN_FLIGHT)
            self._sent = {key: at for key, at in self._sent.items() if key in waiting}
            self._known.intersection_update(waiting)
            for key in waiting:
                if time.monotonic() - self._sent.get(key, -self._resend_s) >= self._resend_s:
                    await self._publish(client, key)
            try:
                async with asyncio.timeout(self._until_next()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _until_next(self) -> float | None:
        """Seconds until the first that was sent is to be sent again; None when nothing is."""
        oldest = min(self._sent.values(), default=None)
        return None if oldest is None else max(0.0, oldest + self._resend_s - time.monotonic())

    async def _publish(self, client: aiomqtt.Client, key: Key) -> None:
        body = await asyncio.to_thread(self._spool.body, key)
        if body is None:
            return
        await client.publish(window_topic(self._broker, self._name), body, qos=1, timeout=TIMEOUT_S)
        self.counters["windows_resent" if key in self._known else "windows_sent"] += 1
        self._known.add(key)
        self._sent[key] = time.monotonic()

    async def _hear(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            try:
                keys = decode_commits(message.payload if isinstance(message.payload, bytes) else b"")
            except WireError as error:
                self.counters["answers_malformed"] += 1
                _log.warning("leaf.answer_malformed", error=str(error))
                continue
            if not keys:  # the one above has just come: what it missed, it does not have
                self._sent.clear()
            self.counters["windows_committed"] += await asyncio.to_thread(self._spool.forget, keys)
            self.wake()


class Recorder:
    """Puts closed windows into a spool, in order, as one leaf's; keeps them while the disk refuses.

    health: how well its exporters are heard now. opened: what has been counted in windows that are not closed yet, so
    that a leaf that is killed loses no more than what came since it last closed one.
    """

    def __init__(
        self,
        name: str,
        epoch: int,
        window_s: float,
        spool: Spool,
        sender: Sender,
        *,
        health: Callable[[], Sequence[ExporterHealth]] = tuple,
        opened: Callable[[], Sequence[DemandWindow]] = tuple,
    ) -> None:
        self.counters: Counter[str] = Counter(
            dict.fromkeys(
                ("windows_spooled", "windows_given_up", "octets_spooled", "octets_lost", "windows_refused_by_disk"), 0
            )
        )
        self._name = name
        self._epoch = epoch
        self._window_s = window_s
        self._spool = spool
        self._sender = sender
        self._health = health
        self._opened = opened
        self._closed: deque[DemandWindow] = deque()
        self._fresh = asyncio.Event()

    def closed(self, window: DemandWindow) -> None:
        """Take a window that is closed."""
        self._closed.append(window)
        while len(self._closed) > _MOST_UNSPOOLED:
            lost = self._closed.popleft()
            self.counters["windows_given_up"] += 1
            self.counters["octets_lost"] += lost.total
        self._fresh.set()

    async def run(self) -> None:
        """Record until cancelled."""
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            while self._closed:
                try:
                    await self.record()
                except StoreError as error:
                    self.counters["windows_refused_by_disk"] += 1
                    _log.error("leaf.spool_refuses", error=str(error), waiting=len(self._closed))
                    await asyncio.sleep(_RETRY_S)

    async def record(self) -> None:
        """Write down what waits, and what is open. Raises StoreError when the disk refuses; it waits on then."""
        while self._closed:
            windows = tuple(self._closed)
            given_up = await asyncio.to_thread(self._write, windows, tuple(self._opened()), tuple(self._health()))
            for window in windows:
                if self._closed and self._closed[0] is window:
                    self._closed.popleft()
                self.counters["windows_spooled"] += 1
                self.counters["octets_spooled"] += window.total
            self.counters["windows_given_up"] += given_up
            if given_up:
                _log.error("leaf.spool_full", given_up=given_up)
            self._sender.wake()

    def _write(
        self, windows: Iterable[DemandWindow], opened: Iterable[DemandWindow], health: tuple[ExporterHealth, ...]
    ) -> int:
        return self._spool.put(
            [self._entry(window, health) for window in windows], [self._entry(window, health) for window in opened]
        )

    def _entry(self, window: DemandWindow, health: tuple[ExporterHealth, ...]) -> tuple[Key, bytes]:
        key = Key(self._epoch, round(window.ends / self._window_s) - 1)
        return key, encode_window(DemandMessage(self._name, key, self._window_s, window, health))
