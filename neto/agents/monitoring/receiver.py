"""The upper end of the line between two collectors: windows come in, are merged, written, and only then committed.

What was merged and the names of what it was merged from are one transaction of the spool; the answer to the leaves
comes after it. So whatever is killed, a window is counted once: before the transaction its leaf sends it again, after
it a repeat is known.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import aiomqtt
import structlog

from neto.agents.monitoring.leaf import Sender, commit_topic, window_topic
from neto.agents.monitoring.merger import Merged, Merger
from neto.agents.monitoring.spool import Spool, Told
from neto.agents.mqtt import TIMEOUT_S, Broker, sessions
from neto.errors import StoreError, WireError
from neto.model.demand import ExporterHealth
from neto.wire.demand_message import (
    DemandMessage,
    Key,
    decode_window,
    encode_commits,
    encode_window,
)

KEEP_S = 7 * 86_400.0  # a window older than this is nobody's any more; until then repeats are known
_AT_ONCE = 32  # messages that are merged in one go
_MOST_UNWRITTEN = 256  # merged windows that wait for a disk that refuses them
_PRUNE_EVERY_S = 3600.0

Answers = Mapping[str, Sequence[Key]]  # by leaf: what is committed

_log = structlog.get_logger("receiver")


class Sink(Protocol):
    """Where merged windows go: in one transaction with the names of what they hold."""

    def write(self, merged: Sequence[Merged], told: Iterable[Told], at: float) -> None:
        """Write them. Raises StoreError when the disk refuses: then nothing of it is written."""


class Receiver:
    """Takes the windows of `leaves` over MQTT. clock: unix seconds."""

    def __init__(
        self,
        name: str,
        leaves: Collection[str],
        merger: Merger,
        spool: Spool,
        sink: Sink,
        broker: Broker,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.counters: Counter[str] = Counter(
            dict.fromkeys(
                (
                    *("windows_malformed", "windows_again", "windows_expired", "windows_put_off"),
                    *("octets_committed", "spool_failures", "mqtt_connects", "mqtt_failures"),
                ),
                0,
            )
        )
        self.heard: dict[str, float] = {}  # when each leaf last told a window, unix seconds
        self._health: dict[str, tuple[ExporterHealth, ...]] = {}  # as each leaf last told it
        self._name = name
        self._leaves = tuple(leaves)
        self._merger = merger
        self._spool = spool
        self._sink = sink
        self._broker = broker
        self._clock = clock
        self._came: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(maxsize=_AT_ONCE)
        self._answers: asyncio.Queue[Answers] = asyncio.Queue(maxsize=_AT_ONCE)
        self._unwritten: list[Merged] = []
        self._pruned = float("-inf")

    @property
    def health(self) -> list[ExporterHealth]:
        """How well exporters are heard, as the leaves last told it."""
        told = [(leaf, each) for leaf, rows in sorted(self._health.items()) for each in rows]
        return [replace(each, collector=f"{leaf}/{each.collector}" if each.collector else leaf) for leaf, each in told]

    async def run(self, tick_s: float) -> None:
        """Receive until cancelled; look for windows that are due every `tick_s`.

        Raises LeaseLostError when another process writes the spool.
        """
        async with asyncio.TaskGroup() as work:
            work.create_task(self._merge(tick_s), name="merge windows")
            work.create_task(
                sessions(self._broker, f"neto-{self._name}-down", self._session, self.counters), name="collectors"
            )

    async def _merge(self, tick_s: float) -> None:
        while True:
            batch: list[tuple[str, bytes]] = []
            try:
                async with asyncio.timeout(tick_s):
                    batch.append(await self._came.get())
            except TimeoutError:
                pass
            while len(batch) < _AT_ONCE and not self._came.empty():
                batch.append(self._came.get_nowait())
            try:
                answers = await asyncio.to_thread(self.work, batch, self._clock())
            except StoreError as error:  # what was not taken, its leaf has still
                self._refused(error)
                continue
            if answers:
                if self._answers.full():  # nobody is connected: who sends again is answered again
                    self._answers.get_nowait()
                self._answers.put_nowait(answers)

    async def _session(self, client: aiomqtt.Client) -> None:
        for leaf in self._leaves:
            await client.subscribe(window_topic(self._broker, leaf), qos=1)
        async with asyncio.TaskGroup() as work:
            work.create_task(self._hear(client), name="windows")
            work.create_task(self._answer(client), name="answers")

    async def _hear(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            await self._came.put((str(message.topic).rpartition("/")[2], payload))

    async def _answer(self, client: aiomqtt.Client) -> None:
        for leaf in self._leaves:  # say that we are there
            await self._tell(client, leaf, encode_commits(()))
        while True:
            for leaf, keys in (await self._answers.get()).items():
                await self._tell(client, leaf, encode_commits(keys))

    async def _tell(self, client: aiomqtt.Client, leaf: str, answers: Iterable[bytes]) -> None:
        for answer in answers:
            await client.publish(commit_topic(self._broker, leaf), answer, qos=1, timeout=TIMEOUT_S)

    def work(self, batch: Iterable[tuple[str, bytes]], now: float) -> Answers:
        """Take in messages, merge and write what is due; return what is committed. Meant for a thread.

        batch: (leaf that the topic names, payload).
        """
        answers: dict[str, list[Key]] = defaultdict(list)
        for leaf, payload in batch:
            message = self._read(leaf, payload)
            if message is not None and self._is_over(message, now):
                answers[leaf].append(message.key)
            elif message is not None:
                self._take(message, now)
        self._unwritten += self._merger.due(now)
        told = [told for merged in self._unwritten for told in merged.told]
        try:
            if told:
                self._sink.write(self._unwritten, told, now)
            if now - self._pruned >= _PRUNE_EVERY_S:
                self._spool.forget_committed(now - KEEP_S)
                self._pruned = now
        except StoreError as error:
            self._refused(error)
            return answers
        self.counters["octets_committed"] += sum(merged.demand.total for merged in self._unwritten)
        self._unwritten = []
        for leaf, key in told:
            answers[leaf].append(key)
        return answers

    def _refused(self, error: StoreError) -> None:
        self.counters["spool_failures"] += 1
        _log.error("receiver.spool_refuses", error=str(error), waiting=len(self._unwritten))

    def _read(self, leaf: str, payload: bytes) -> DemandMessage | None:
        try:
            message = decode_window(payload)
        except WireError as error:
            self.counters["windows_malformed"] += 1
            _log.warning("receiver.window_malformed", leaf=leaf, error=str(error))
            return None
        if message.leaf != leaf:
            self.counters["windows_malformed"] += 1
            _log.warning("receiver.window_malformed", leaf=leaf, error=f"it says that it is of {message.leaf}")
            return None
        return message

    def _take(self, message: DemandMessage, now: float) -> None:
        """Let a message be merged, unless it is merged already and only waits for the disk."""
        if any((message.leaf, message.key) in merged.told for merged in self._unwritten):
            self.counters["windows_again"] += 1
        elif len(self._unwritten) >= _MOST_UNWRITTEN:  # its leaf has it still
            self.counters["windows_put_off"] += 1
        elif refused := self._merger.take(message, now):
            _log.warning("receiver.window_refused", leaf=message.leaf, why=refused)
        else:
            self.heard[message.leaf] = now
            self._health[message.leaf] = message.health

    def _is_over(self, message: DemandMessage, now: float) -> bool:
        """Whether there is nothing more to do for a message than to say so."""
        if self._spool.is_committed((message.leaf, message.key)):
            self.counters["windows_again"] += 1
            return True
        if message.demand.ends < now - KEEP_S:
            self.counters["windows_expired"] += 1
            return True
        return False


class Upward:
    """The sink of a mid-tier: what it merged is its own to send on."""

    def __init__(self, name: str, epoch: int, window_s: float, spool: Spool, sender: Sender) -> None:
        self.counters: Counter[str] = Counter(windows_given_up=0)
        self._name = name
        self._epoch = epoch
        self._window_s = window_s
        self._spool = spool
        self._sender = sender
        self._loop = asyncio.get_running_loop()
        self.health: Callable[[], Sequence[ExporterHealth]] = tuple  # of those that are heard below

    def write(self, merged: Sequence[Merged], told: Iterable[Told], at: float) -> None:
        """Put them into the outbox."""
        outbox = []
        health = tuple(self.health())
        for each in merged:
            key = Key(self._epoch, each.window, each.part)
            message = DemandMessage(self._name, key, self._window_s, each.demand, health)
            outbox.append((key, encode_window(message)))
        self.counters["windows_given_up"] += self._spool.commit(told, at, outbox=outbox)
        self._loop.call_soon_threadsafe(self._sender.wake)
