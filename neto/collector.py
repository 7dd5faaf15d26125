"""`neto collector` as a process: a leaf that listens to routers, or a mid-tier that merges what leaves tell.

Either way what it counts goes into a spool first, and from there up to the collector above until that one says that
it has counted it. Told to stop, a leaf closes its open windows as they are: the next start counts on in the same ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import structlog

from neto.agents.monitoring.classify import cell_space
from neto.agents.monitoring.leaf import Recorder, Sender
from neto.agents.monitoring.merger import Merger
from neto.agents.monitoring.netflow import NetflowAgent
from neto.agents.monitoring.receiver import Receiver, Upward
from neto.agents.monitoring.spool import Spool
from neto.agents.mqtt import Broker
from neto.errors import InputError, NetoError, StoreError
from neto.ha import systemd
from neto.ha.lock import try_acquire
from neto.model.demand_window import DemandWindow
from neto.settings.broker import broker
from neto.settings.collector import CollectorConfig, load_collector

SPOOL, LOCK, EXPORTERS = "collector.db", "collector.lock", "exporters.json"
_SAY_EVERY_S = 60.0

_log = structlog.get_logger("collector")


class CollectorProcess:
    """One collector. Inert until `run`."""

    def __init__(self, config: CollectorConfig) -> None:
        self._config = config
        self._broker = broker(config.settings.mqtt)
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()

    async def run(self) -> None:
        """Collect until SIGTERM or SIGINT. Raises StoreError when the spool cannot be used."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        settings = self._config.settings
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(settings.state_dir):
            most_octets = settings.collector.spool_mb << 20
            spool = await asyncio.to_thread(Spool, settings.state_dir / SPOOL, most_octets=most_octets)
            try:
                epoch = await asyncio.to_thread(spool.next_epoch, time.time())
                work = _MidTier if settings.collector.leaves else _Leaf
                await self._serve(work(self._config, spool, self._broker, epoch))
            finally:
                await asyncio.to_thread(spool.close)
        _log.info("collector.leaves")

    async def _serve(self, work: _Leaf | _MidTier) -> None:
        name = self._config.settings.collector.name
        async with asyncio.TaskGroup() as group:
            tasks = [
                *(group.create_task(run(), name=called) for called, run in work.parts().items()),
                group.create_task(self._obey_reloads(work), name="reloads"),
                group.create_task(_say(work), name="counters"),
                group.create_task(systemd.feed_watchdog(), name="watchdog"),
            ]
            systemd.notify(READY="1", STATUS=f"collects as {name}")
            await self._stop.wait()
            systemd.notify(STOPPING="1")
            for task in tasks:
                task.cancel()
        await work.finish()

    async def _obey_reloads(self, work: _Leaf | _MidTier) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            systemd.reloading()
            try:
                read = await asyncio.to_thread(load_collector, self._config.path)
            except InputError as error:
                for problem in error.problems:
                    _log.error("reload.refused", problem=str(problem))
            else:
                if read.settings != self._config.settings:
                    _log.warning("reload.needs_restart", what="the collector's settings changed; only a restart helps")
                await work.reload(read)
                _log.info("reload.done")
            systemd.notify(READY="1")


class _Leaf:
    """Listens to routers."""

    def __init__(self, config: CollectorConfig, spool: Spool, above: Broker, epoch: int) -> None:
        settings, netflow = config.settings.collector, config.settings.netflow
        self._sender = Sender(settings.name, spool, above, resend_s=settings.resend_s)
        self._recorder = Recorder(
            settings.name,
            epoch,
            netflow.window_s,
            spool,
            self._sender,
            health=lambda: self._agent.health,
            opened=self._opened,
        )
        self._agent = NetflowAgent(
            (netflow.listen.address, netflow.listen.port),
            netflow.window_s,
            config.inventory,
            config.peering,
            config.intents,
            smooth=1,
            active_timeout_s=netflow.active_timeout_s,
            max_loss=netflow.max_loss / 100,
            receive_buffer=netflow.receive_buffer_mb << 20,
            reuse_port=netflow.reuse_port,
            memory=config.settings.state_dir / EXPORTERS,
            closed=self._recorder.closed,
        )

    def _opened(self) -> list[DemandWindow]:
        return self._agent.opened()

    def parts(self) -> dict[str, _Run]:
        """What runs, by name."""
        return {"netflow": self._agent.run, "spool": self._recorder.run, "sender": self._sender.run}

    async def reload(self, config: CollectorConfig) -> None:
        """Listen for, and classify by, something else from here on."""
        await self._agent.reload(config.inventory, config.peering, config.intents)

    async def finish(self) -> None:
        """Put what was counted into the spool."""
        self._agent.flush(time.time())
        try:
            await self._recorder.record()
        except StoreError as error:
            _log.error("collector.loses_open_windows", error=str(error))

    @property
    def counters(self) -> dict[str, int]:
        """All that came in and what became of it, by name."""
        return self._agent.counters | dict(self._recorder.counters) | dict(self._sender.counters)


class _MidTier:
    """Merges what other collectors tell."""

    def __init__(self, config: CollectorConfig, spool: Spool, broker_: Broker, epoch: int) -> None:
        settings, window_s = config.settings.collector, config.settings.netflow.window_s
        space = cell_space(config.inventory, config.peering, config.intents)
        self._tick_s = min(1.0, window_s / 4)
        self._sender = Sender(settings.name, spool, broker_, resend_s=settings.resend_s)
        self._merger = Merger(settings.leaves, window_s, settings.late_s, space)
        self._upward = Upward(settings.name, epoch, window_s, spool, self._sender)
        self._receiver = Receiver(settings.name, settings.leaves, self._merger, spool, self._upward, broker_)
        self._upward.health = lambda: self._receiver.health

    def parts(self) -> dict[str, _Run]:
        """What runs, by name."""
        return {"receiver": lambda: self._receiver.run(self._tick_s), "sender": self._sender.run}

    async def reload(self, config: CollectorConfig) -> None:
        """Number cells by something else from here on."""
        numbered = config.inventory, config.peering, config.intents
        self._merger.space = await asyncio.to_thread(cell_space, *numbered)

    async def finish(self) -> None:
        """Do nothing: what is not written yet, the leaves have still."""

    @property
    def counters(self) -> dict[str, int]:
        """All that came in and what became of it, by name."""
        parts = (self._receiver, self._merger, self._upward, self._sender)
        return {name: count for part in parts for name, count in part.counters.items()}


_Run = Callable[[], Coroutine[None, None, None]]


async def _say(work: _Leaf | _MidTier) -> None:
    """Tell what happened since the last time."""
    before: dict[str, int] = {}
    while True:
        await asyncio.sleep(_SAY_EVERY_S)
        now = work.counters
        _log.info(
            "collector.counts", **{name: n - before.get(name, 0) for name, n in now.items() if n != before.get(name, 0)}
        )
        before = now


@contextlib.contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Hold the state directory's lock. Raises NetoError when another collector does."""
    lock = try_acquire(state_dir / LOCK)
    if lock is None:
        raise NetoError(f"{state_dir}: another collector runs on it")
    with lock:
        yield
