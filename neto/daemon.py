"""The composition root: builds every part, owns the task groups, answers signals, tells the service manager.

Until it has the lease the process is a standby that only waits. A leader builds the parts, reads every router back,
and runs them until it is told to stop (withdraw everything, then leave), loses the lease (leave everything to the
successor, at once), or a part fails that should not (the process ends; sessions drop; the standby takes over).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from neto.agents.exabgp import ExaBgp
from neto.agents.monitoring.bgpls import BgpLsAgent
from neto.agents.monitoring.netflow import NetflowAgent
from neto.agents.monitoring.root import Root
from neto.agents.updating.bgp import RouteAgent
from neto.agents.updating.device import DeviceAgents, SshSettings
from neto.errors import DeviceError, InputError, LeaseLostError
from neto.ha import systemd
from neto.ha.leader import Term, leadership
from neto.model.peering import Prefix
from neto.operation.borders import Borders, Sources
from neto.operation.loop import ControlLoop, Parts
from neto.operation.records import Records
from neto.scheduler.allow import listed
from neto.scheduler.constraints import Constraints
from neto.scheduler.progress import Patience
from neto.scheduler.runner import Runner
from neto.settings.broker import broker
from neto.settings.load import Config, load_config
from neto.store.protocol import Store
from neto.store.sqlite import open_store
from neto.wire.exabgp import Event, ExaBgpConfig, Family, Neighbor, PeerDown, PeerUp, RawOpen, RawUpdate

GOODBYE_S = 10.0  # for routers to take the withdrawals when we are told to stop
DATABASE = "neto.db"
DEMAND = "demand.db"
EXPORTERS = "exporters.json"
LOCK = "leader.lock"

_log = structlog.get_logger("daemon")


class Daemon:
    """One process, one loop. Inert until `run`."""

    def __init__(self, config: Config, *, observe: bool = False) -> None:
        self._config = config
        self._observe = observe
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._leads = False

    async def run(self) -> bool:
        """Serve until SIGTERM or SIGINT; return False when it ended because another daemon leads in our place."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        serving = asyncio.create_task(self._serve(), name="serve")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        watchdog = asyncio.create_task(systemd.feed_watchdog(), name="watchdog")
        deposed = False
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not self._leads:
                serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
        except* LeaseLostError as lost:
            deposed = True
            _log.error("daemon.deposed", why=str(lost.exceptions[0]))
        finally:
            stopping.cancel()
            watchdog.cancel()
            systemd.notify(STOPPING="1")
        _log.info("daemon.leaves")
        return not deposed

    async def _serve(self) -> None:
        """Wait for the lease, then lead."""
        state = self._config.settings.state_dir
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = await open_store(state / DATABASE, keep_cycles=self._config.settings.retention.cycles)
        try:
            systemd.notify(READY="1", STATUS="standby: waits for the lease")
            _log.info("daemon.waits_for_lease", state_dir=str(state))
            async with leadership(state / LOCK, store) as term:
                self._leads = True
                systemd.notify(STATUS=f"leads at epoch {term.epoch}")
                await Leader(self._config, store, term, observe=self._observe).lead(self._stop, self._reload)
        finally:
            await store.close()


@dataclass
class Leader:
    """The parts of a leading daemon."""

    config: Config
    store: Store
    term: Term
    observe: bool

    def __post_init__(self) -> None:
        config, settings = self.config, self.config.settings
        self._headends = frozenset(router.bgp_address for router in config.inventory.routers)
        self._speakers = tuple(speaker.address for speaker in settings.bgpls.speaker)
        self._topology = BgpLsAgent(
            self._speakers,
            settings.bgpls.stale_ttl_s,
            lambda: self._nudge("topology"),
            quiet_s=settings.bgpls.quiet_s,
        )
        self._netflow = demand_source(config, self.term.epoch)
        self._borders = borders(config, lambda: self._nudge("borders and probes"))
        community = f"{settings.bgp.asn}:{settings.bgp.community}"
        self._devices = DeviceAgents(config.inventory.routers, ssh_settings(config), community)
        self._exabgp = ExaBgp(
            exabgp_config(config),
            settings.state_dir / "exabgp",
            self._on_event,
            room=self._borders.room if self._borders else None,
        )
        self._routes = RouteAgent(
            self._exabgp,
            config.inventory.routers,
            listed_prefixes(config),
            community,
            self._check_or_later,
            graceful_restart=settings.bgp.graceful_restart_s > 0,
        )
        self._records = Records(self.store, self.term)
        self._loop = ControlLoop(
            config,
            Parts(
                topology=self._topology,
                demand=self._netflow,
                devices=self._devices,
                routes=self._routes,
                runner=self._runner(),
                peers=self._peers,
                outside=self._borders,
            ),
            self._records,
            self.term,
            observe=self.observe,
        )

    async def lead(self, stop: asyncio.Event, reload: asyncio.Event) -> None:
        """Run every part until told to stop, or until the lease is lost."""
        async with asyncio.TaskGroup() as work:
            loop = work.create_task(self._control(), name="control loop")
            others = [
                work.create_task(self._exabgp.run(), name="exabgp"),
                work.create_task(self._routes.run(), name="routes"),
                work.create_task(self._netflow.run(), name="netflow"),
                work.create_task(self._topology.run(), name="topology"),
                *([work.create_task(self._borders.run(), name="borders")] if self._borders else []),
                work.create_task(self._obey_reloads(reload), name="reloads"),
            ]
            try:
                lost = await _first(stop, self.term.lost)
                await _cancelled(loop)
                if lost is self.term.lost:
                    await self._exabgp.stop(notify=False)
                    raise LeaseLostError(f"epoch {self.term.epoch} is over: another daemon leads")
                await self._withdraw()
            finally:
                for task in (loop, *others):
                    task.cancel()
                await self._devices.close()

    async def _control(self) -> None:
        """Read routers back, take over what they have of ours, then cycle."""
        running = await self._loop.resume(await self._records.stood())
        await self._routes.resume(running.routes)
        _log.info("daemon.resumed", policies=len(running.policies), routes=len(running.routes))
        await self._loop.run()

    async def _withdraw(self) -> None:
        """Leave the network on legacy forwarding: step by step while there is time, and then at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._loop.leave()
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._routes.withdraw_all(self.term.check)
        except (DeviceError, TimeoutError) as error:
            _log.warning("daemon.withdraws_by_hanging_up", why=str(error) or "too slow")
        await self._exabgp.stop(notify=True)

    async def _obey_reloads(self, asked: asyncio.Event) -> None:
        while True:
            await asked.wait()
            asked.clear()
            systemd.reloading()
            await self._reread()
            systemd.notify(READY="1")

    async def _reread(self) -> None:
        """Read the operator's files anew; any error keeps what runs."""
        try:
            read = await asyncio.to_thread(load_config, self.config.path)
        except InputError as error:
            for problem in error.problems:
                _log.error("reload.refused", problem=str(problem))
            return
        if (read.settings, read.inventory) != (self.config.settings, self.config.inventory):
            _log.warning("reload.needs_restart", what="neto.toml or the inventory changed; only a restart takes that")
        fresh = replace(read, settings=self.config.settings, inventory=self.config.inventory)
        try:
            await self._loop.reload(fresh)
        except Exception as error:  # noqa: BLE001 whatever a decision on it raises: the old one goes on
            _log.error("reload.refused", problem=repr(error))
            return
        await self._netflow.reload(fresh.inventory, fresh.peering, fresh.intents)
        self._routes.allow(listed_prefixes(fresh))
        self.config = fresh
        _log.info("reload.done", classes=len(fresh.intents.classes), groups=len(fresh.peering.groups))

    def _check_or_later(self) -> None:
        """Refuse to act now when a beat is late: a matter of trying again; only a lost lease is the end."""
        try:
            self.term.check()
        except LeaseLostError as error:
            if self.term.lost.is_set():
                raise
            raise DeviceError("lease", str(error)) from error

    def _runner(self) -> Runner:
        scheduler, safety = self.config.settings.scheduler, self.config.settings.safety
        return Runner(
            self._devices,
            self._routes,
            self.store,
            self.term,
            lambda: Constraints(
                self.config.inventory,
                self.config.intents,
                concurrency=scheduler.concurrency,
                per_site=scheduler.per_site,
                vet=listed(self.config.inventory, self.config.peering, self.config.settings.bgp.asn),
                max_moves=safety.max_moves,
            ),
            deadline_s=scheduler.deadline_s,
            patience=Patience(reads=scheduler.readback_attempts),
        )

    def _on_event(self, event: Event) -> None:
        """Pass what exabgp says to whom it concerns: a router can be a speaker as well."""
        now = time.monotonic()
        speaks = event.address in self._speakers
        if self._borders is not None:
            self._borders.session(event)
        match event:
            case PeerUp():
                if speaks:
                    self._topology.peer_up(event.address, now)
                self._routes.peer_up(event.address)
            case PeerDown():
                if speaks:
                    self._topology.peer_down(event.address, now)
                self._routes.peer_down(event.address, event.reason)
            case RawUpdate():
                if speaks:
                    self._topology.raw_update(event.address, event.body, now)
                return
            case RawOpen():
                return
        if event.address in self._headends:  # a speaker's session alone changes nothing until the topology does
            self._nudge(f"session {event.address}")

    def _nudge(self, reason: str) -> None:
        self._loop.nudge(reason)

    def _peers(self) -> list[dict[str, object]]:
        """Every session, for people."""
        rows: list[dict[str, object]] = []
        for router in self.config.inventory.routers:
            state = "up" if router.name in self._routes.up else "down"
            rows.append({"peer": router.name, "kind": "bgp", "address": router.bgp_address, "state": state})
        for address in self._speakers:
            state = "up" if address in self._exabgp.up else "down"
            active = " (active)" if address == self._topology.active else ""
            rows.append({"peer": address, "kind": "bgp-ls", "address": address, "state": state + active})
        return rows + (self._borders.peers if self._borders else [])


def listed_prefixes(config: Config) -> Iterable[Prefix]:
    """Return the prefixes that may be steered at all: exactly those that operators listed."""
    yield from (prefix for router in config.inventory.routers for prefix in router.prefixes)
    yield from (prefix for group in config.peering.groups for prefix in group.prefixes)


def demand_source(config: Config, term: int) -> NetflowAgent | Root:
    """Listen to routers, or to the collectors that do."""
    netflow, mqtt = config.settings.netflow, config.settings.mqtt
    network = (config.inventory, config.peering, config.intents)
    if netflow.leaves and mqtt:
        return Root(
            netflow.leaves,
            *network,
            broker(mqtt),
            config.settings.state_dir / DEMAND,
            window_s=netflow.window_s,
            smooth=netflow.smooth,
            late_s=netflow.late_s,
            term=term,
        )
    return NetflowAgent(
        (netflow.listen.address, netflow.listen.port),
        netflow.window_s,
        *network,
        smooth=netflow.smooth,
        active_timeout_s=netflow.active_timeout_s,
        max_loss=netflow.max_loss / 100,
        receive_buffer=netflow.receive_buffer_mb << 20,
        reuse_port=netflow.reuse_port,
        memory=config.settings.state_dir / EXPORTERS,
    )


def borders(config: Config, on_change: Callable[[], None]) -> Borders | None:
    """Listen to border routers and probes; None where there are none."""
    settings = config.settings
    if settings.bmp is None and settings.ibgp is None and settings.latency is None:
        return None
    addresses = {router.name: router.bgp_address for router in config.inventory.routers}
    by_mqtt = settings.mqtt if settings.latency and settings.latency.mqtt else None
    mqtt = broker(by_mqtt) if by_mqtt else None
    sources = Sources(settings.bgp, settings.bmp, settings.latency, mqtt, settings.ibgp, addresses, settings.damping)
    return Borders(sources, config.peering, on_change)


def ssh_settings(config: Config) -> SshSettings:
    """How to log in to routers."""
    ssh = config.settings.ssh
    return SshSettings(
        username=ssh.username,
        key_file=ssh.key_file,
        known_hosts=ssh.known_hosts,
        connect_timeout_s=ssh.connect_timeout_s,
        read_timeout_s=ssh.read_timeout_s,
        workers=config.settings.scheduler.concurrency,
    )


def exabgp_config(config: Config) -> ExaBgpConfig:
    """Sessions to every router and speaker; one that is both has one session with both families."""
    bgp = config.settings.bgp
    families: dict[tuple[str, int], set[Family]] = {}
    for router in config.inventory.routers:
        families.setdefault((router.bgp_address, router.bgp_port), set()).add(Family.IPV4_UNICAST)
    for speaker in config.settings.bgpls.speaker:
        families.setdefault((speaker.address, speaker.port), set()).add(Family.LINK_STATE)
    names = {router.name for router in config.settings.ibgp.router} if config.settings.ibgp else set()
    tellers = {router.bgp_address for router in config.inventory.routers if router.name in names}
    return ExaBgpConfig(
        asn=bgp.asn,
        router_id=bgp.router_id,
        local_address=bgp.local_address,
        neighbors=tuple(
            Neighbor(address, port, frozenset(told), add_path=address in tellers)
            for (address, port), told in families.items()
        ),
        hold_time_s=bgp.hold_time_s,
        graceful_restart_s=bgp.graceful_restart_s,
    )


async def _first(*events: asyncio.Event) -> asyncio.Event:
    """Wait until one of them is set; return it."""
    waits = {asyncio.create_task(event.wait()): event for event in events}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return waits[done.pop()]
    finally:
        for wait in waits:
            wait.cancel()


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it is over."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
