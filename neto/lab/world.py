"""The emulated WAN, alive: routers behind BGP and SSH, two BGP-LS speakers, flow exports, and the fluid model.

Every change of what forwards (a route, a commit, a cable, a demand) is put through the model at once, not at the next
tick: the ledger sees each state that the network is in, however short.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import structlog

from neto.lab.accounting import OVER, Ledger, State
from neto.lab.bgp import LsSpeaker, RouterBgp
from neto.lab.export import Exporter, Flow
from neto.lab.forwarding import Forwarding, router_states
from neto.lab.keys import make_keys
from neto.lab.router import OtherRoute, Validity
from neto.lab.scenario import Scenario, Traffic
from neto.lab.ssh import RouterServer, serve_router
from neto.lab.state import RouterState
from neto.lab.topology import objects_of
from neto.lab.way import HERE, Way

SUMMARY_S = 10.0
TEMPLATES_S = 5.0  # a collector that starts later than we is blind for so long
PACKET_OCTETS = 1000
FLOWS_PER_TRAFFIC = 2  # five-tuples that one demand is exported as

_log = structlog.get_logger("lab")


@dataclass(slots=True)
class _Stream:
    """Traffic with where it goes now."""

    traffic: Traffic
    mbps: float
    way: Way
    class_row: int


class World:
    """One emulated WAN. Inert until `start`."""

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        self.scenario = scenario
        self.states: dict[str, RouterState] = router_states(scenario.routers)
        self.bgp: dict[str, RouterBgp] = {}
        self.ssh: dict[str, RouterServer] = {}
        self.scale = 1.0
        self._directory = directory
        self._cable = {cable.name: cable for cable in scenario.cables}
        self._down: set[str] = set()  # physically
        self._known_down: set[str] = set()  # as the IGP knows
        self._igp_timer: asyncio.TimerHandle | None = None
        self._speakers = [LsSpeaker(address, port, scenario.asn) for address, port in scenario.speakers]
        self._streams: list[_Stream] = []
        self._by_router: dict[str, list[_Stream]] = defaultdict(list)
        self._stale: set[str] = set()  # routers whose streams may go elsewhere now
        self._forwarding = Forwarding(scenario, frozenset(self._cable))
        self.ledger = Ledger({c.name: c.capacity_mbps for c in scenario.cables}, scenario.classes, time.monotonic())
        self._exporters = {
            r.name: Exporter(r.netflow, r.number, sampling=scenario.sampling, template_every_s=TEMPLATES_S)
            for r in scenario.routers
        }
        self.legacy = asyncio.Event()  # no router has a route of the daemon's
        self._told_over: frozenset[str] = frozenset()

    # Life

    async def start(self) -> None:
        """Listen everywhere. Raises OSError when a port is taken."""
        scenario = self.scenario
        keys = make_keys(self._directory, {router.name: router.ssh for router in scenario.routers})
        last = len(scenario.classes) - 1
        rows = {name: row for row, name in enumerate(scenario.classes)}
        for traffic in scenario.traffic:
            row = rows[scenario.class_of.get(traffic.dscp, scenario.classes[last])]
            stream = _Stream(traffic, traffic.mbps, HERE, row)
            self._streams.append(stream)
            self._by_router[traffic.source].append(stream)
        for router in scenario.routers:
            name, state = router.name, self.states[router.name]
            self.bgp[name] = RouterBgp(state, *router.bgp, scenario.asn, on_change=self._changer(name, "routes"))
            await self.bgp[name].start()
            self.ssh[name] = await serve_router(
                state,
                *router.ssh,
                keys.host_key(name),
                keys.authorized_keys,
                validity=self._validity(name),
                other_routes=self._other_routes,
            )
            self.ssh[name].router.committed = self._changer(name, "policies")
        for speaker in self._speakers:
            await speaker.start()
        self._tell_topology()
        self._all_changed()

    async def run(self) -> None:
        """Export flows and tell how things stand, until cancelled."""
        async with asyncio.TaskGroup() as work:
            work.create_task(self._export(), name="flow exports")
            work.create_task(self._summarise(), name="summary")

    async def stop(self) -> None:
        """Stop listening."""
        for server in self.ssh.values():
            server.close()
        for listener in (*self.bgp.values(), *self._speakers):
            await listener.stop()

    # What can be done to it

    def cut(self, name: str) -> None:
        """Cut a link, both directions; traffic on it is lost until the IGP knows. Raises KeyError for no such link."""
        self._change_cables(self._down | self._pair(name), "link.cut", name)

    def restore(self, name: str) -> None:
        """Mend a link. Raises KeyError for no such link."""
        self._change_cables(self._down - self._pair(name), "link.restored", name)

    def scale_demand(self, factor: float) -> None:
        """Multiply every demand of the scenario by a factor."""
        self.scale = factor
        for stream in self._streams:
            stream.mbps = stream.traffic.mbps * factor
        _log.info("demand.scaled", factor=factor)
        self._enter()

    def drop_session(self, name: str) -> None:
        """End a router's BGP session without a word."""
        self.bgp[name].drop()

    # What it says

    @property
    def steered_share(self) -> float:
        """Share of the offered traffic that follows a policy of the daemon's."""
        state = self.ledger.state
        return state.steered_mbps / state.offered_mbps if state.offered_mbps else 0.0

    @property
    def coloured_routes(self) -> int:
        """Routes of the daemon's on all routers."""
        return sum(len(state.routes) for state in self.states.values())

    def overloaded(self) -> list[str]:
        """Links over capacity now."""
        return sorted(link for link, share in self.ledger.utilisation().items() if share > OVER)

    @property
    def links_down(self) -> frozenset[str]:
        """Cables that are cut."""
        return frozenset(self._down)

    # Cables and the IGP

    def _pair(self, name: str) -> set[str]:
        """Both directions of a link."""
        cable = self._cable[name]
        return {
            other.name
            for other in self.scenario.cables
            if other.name == name or (other.local_address == cable.remote_address and other.target == cable.source)
        }

    def _change_cables(self, down: set[str], event: str, name: str) -> None:
        if down == self._down:
            return
        self._down = down
        _log.warning(event, link=name, igp_knows_in_s=self.scenario.convergence_s)
        self._enter()
        if self._igp_timer:
            self._igp_timer.cancel()
        loop = asyncio.get_running_loop()
        self._igp_timer = loop.call_later(self.scenario.convergence_s, self._converge)

    def _converge(self) -> None:
        """Let every router know which links are up."""
        self._known_down = set(self._down)
        self._forwarding = Forwarding(self.scenario, frozenset(self._cable.keys() - self._known_down))
        self._tell_topology()
        self._all_changed()
        _log.info("igp.converged", down=sorted(self._known_down))

    def _tell_topology(self) -> None:
        told = objects_of(self.scenario, self._known_down)
        for speaker in self._speakers:
            speaker.set(told)

    def _validity(self, name: str) -> Validity:
        return lambda labels: self._forwarding.valid(name, labels)

    def _other_routes(self) -> Iterable[OtherRoute]:
        """What every router knows without us: the routers' own prefixes."""
        return tuple(OtherRoute(prefix, r.loopback) for r in self.scenario.routers for prefix in r.prefixes)

    # The fluid model

    def _changer(self, name: str, what: str) -> Callable[[], None]:
        def changed() -> None:
            self._stale.add(name)
            self._enter()
            _log.debug("router.changed", router=name, what=what)

        return changed

    def _all_changed(self) -> None:
        self._stale.update(self.states)
        self._enter()

    def _enter(self) -> None:
        """Put the present state of everything through the model and into the ledger."""
        for name in self._stale:
            state = self.states[name]
            for stream in self._by_router[name]:
                stream.way = self._forwarding.way(state, stream.traffic.prefix, stream.traffic.dscp)
        self._stale.clear()
        classes = len(self.scenario.classes)
        load: dict[str, list[float]] = {cable: [0.0] * classes for cable in self._cable}
        astray = steered = offered = 0.0
        delays = [0.0] * classes
        late: list[str] = []
        for stream in self._streams:
            way, mbps, row = stream.way, stream.mbps, stream.class_row
            if mbps <= 0:
                continue
            offered += mbps
            steered += mbps if way.steered else 0.0
            astray += mbps * way.lost
            for link, share in way.shares.items():
                if link in self._down:
                    astray += mbps * share
                else:
                    load[link][row] += mbps * share
            delays[row] = max(delays[row], way.delay_us)
            if way.delay_us > self.scenario.delay_bound_us.get(stream.traffic.dscp, float("inf")):
                late.append(f"{stream.traffic.source} to {stream.traffic.prefix}: {way.delay_us / 1000:.1f} ms")
        (self.legacy.clear if self.coloured_routes else self.legacy.set)()
        self.ledger.enter(State(load, astray, delays, late, steered, offered), time.monotonic())
        self._tell()

    def _tell(self) -> None:
        """Log what changed for people: links that fill up or clear, and how much is steered."""
        over = frozenset(self.overloaded())
        utilisation = self.ledger.utilisation()
        for link in sorted(over - self._told_over):
            _log.warning("link.over_capacity", link=link, full=f"{utilisation[link]:.0%}")
        for link in sorted(self._told_over - over):
            _log.info("link.clear", link=link, full=f"{utilisation[link]:.0%}")
        self._told_over = over

    async def _summarise(self) -> None:
        while True:
            await asyncio.sleep(SUMMARY_S)
            utilisation = self.ledger.utilisation()
            worst = max(utilisation, key=lambda link: utilisation[link])
            account = self.ledger.since("start", time.monotonic())
            _log.info(
                "lab.stands",
                steered=f"{self.steered_share:.0%}",
                routes=self.coloured_routes,
                over_capacity=len(self._told_over),
                worst=f"{worst} {utilisation[worst]:.0%}",
                lost_gbit=round(sum(account.lost_mbit.values()) / 1000, 1),
            )

    # Flow exports

    async def _export(self) -> None:
        """Send what each router saw enter, from its own address, every `export_s`."""
        sockets = {router.name: _socket(router.bgp[0]) for router in self.scenario.routers}
        last = time.time()
        try:
            while True:
                await asyncio.sleep(self.scenario.export_s)
                now = time.time()
                for name, out in sockets.items():
                    flows = [flow for stream in self._by_router[name] for flow in _flows(stream, last, now, self._home)]
                    for packet in self._exporters[name].packets(flows, now):
                        _send(out, packet, self.scenario.collector)
                last = now
        finally:
            for out in sockets.values():
                out.close()

    @property
    def _home(self) -> Mapping[str, IPv4Network]:
        """A prefix of each router, for the sources of its flows."""
        return {router.name: router.prefixes[0] for router in self.scenario.routers if router.prefixes}


def _flows(stream: _Stream, begins: float, ends: float, home: Mapping[str, IPv4Network]) -> Iterable[Flow]:
    octets = int(stream.mbps * 1e6 / 8 * (ends - begins) / FLOWS_PER_TRAFFIC)
    if octets <= 0:
        return
    source = home.get(stream.traffic.source, IPv4Network("192.0.2.0/32"))
    for number in range(FLOWS_PER_TRAFFIC):
        yield Flow(
            src=IPv4Address(int(source.network_address) + (1 + number) % source.num_addresses),
            dst=IPv4Address(
                int(stream.traffic.prefix.network_address) + (1 + number) % stream.traffic.prefix.num_addresses
            ),
            octets=octets,
            packets=max(1, octets // PACKET_OCTETS),
            tos=stream.traffic.dscp << 2,
            in_if=1,
            out_if=2,
            start=begins,
            end=ends,
        )


def _socket(address: str) -> socket.socket:
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.setblocking(False)
    out.bind((address, 0))
    return out


def _send(out: socket.socket, packet: bytes, to: tuple[str, int]) -> None:
    """Send a datagram; with no collector there it goes nowhere, as flow exports do."""
    try:
        out.sendto(packet, to)
    except OSError:
        return
