"""The emulated WAN, alive: routers behind BGP and SSH, two BGP-LS speakers, flow exports, and the fluid model.

Every change of what forwards (a route, a commit, a cable, a demand) is put through the model when it happens, not at
the next tick: the ledger sees each state that the network is in, however short. What one turn of the event loop
changes together, one UPDATE or one commit, is one state.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

import structlog

from neto.lab.accounting import Ledger, State
from neto.lab.beyond import SAMPLES, Beyond, probe
from neto.lab.bgp import Listener, LsSpeaker, RouterBgp
from neto.lab.bmp import SLIPS, BmpSpeaker
from neto.lab.exports import FlowExports, Key, Meter
from neto.lab.fluid import Fluid, Stream
from neto.lab.forwarding import Forwarding, router_states
from neto.lab.inbound import Inbound, by_link
from neto.lab.keys import make_keys
from neto.lab.narrator import Narrator
from neto.lab.router import OtherRoute, Validity
from neto.lab.scenario import Scenario, WayIn
from neto.lab.ssh import RouterServer, serve_router
from neto.lab.state import RouterState
from neto.lab.told import OutPolicies, Told, bordering
from neto.lab.topology import objects_of
from neto.lab.way import HERE, Way

SUMMARY_S = 10.0
GOODBYE_S = 2.0  # how long clients may take to see that a router is gone

_log = structlog.get_logger("lab")


@dataclass(slots=True)
class Demand:
    """Traffic of one code point from a router to a prefix, and where it goes now."""

    source: str
    prefix: IPv4Network
    dscp: int
    class_row: int  # 0 = highest
    base_mbps: float  # before `scale`, and while announcements differ nowhere
    way: Way = HERE
    delivered_mbps: float = 0.0

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.source, self.prefix, self.dscp


class World:
    """One emulated WAN. Inert until `start`."""

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        """directory: where keys are kept."""
        self.scenario = scenario
        self.states: dict[str, RouterState] = router_states(scenario.routers)
        self.bgp: dict[str, RouterBgp] = {}
        self.ssh: dict[str, RouterServer] = {}
        self.speakers = {address: LsSpeaker(address, port, scenario.asn) for address, port in scenario.speakers}
        self.demands: dict[Key, Demand] = {}
        self.scale = 1.0
        self.beyond = Beyond(scenario)
        self.bmp = [BmpSpeaker(scenario, border) for border in scenario.bmp]
        self.sessions_down: frozenset[str] = frozenset()  # with ISPs, by peering link
        self._flaps: dict[str, asyncio.TimerHandle] = {}
        self.legacy = asyncio.Event()  # no router has a route of the daemon's
        self._epoch = time.time() - time.monotonic()
        self._directory = directory
        self._cable = {cable.name: cable for cable in scenario.cables}
        self._down: frozenset[str] = frozenset()  # physically
        self._known_down: frozenset[str] = frozenset()  # as the IGP knows
        self._igp_timer: asyncio.TimerHandle | None = None
        self._of_router: dict[str, list[Demand]] = defaultdict(list)
        self._stale: set[str] = set()  # routers whose traffic may go elsewhere now
        self._settling: asyncio.Handle | None = None
        self._forwarding = Forwarding(scenario, frozenset(self._cable))
        capacity_mbps = {cable.name: cable.capacity_mbps for cable in scenario.cables}
        self._fluid = Fluid(capacity_mbps, scenario.classes)
        self.ledger = Ledger(capacity_mbps, scenario.classes, self.clock())
        self._narrator = Narrator(self.states, self.ledger)
        self._meter = Meter(scenario)
        self._inbound = Inbound(scenario)
        self._diverted: dict[Key, dict[int, float]] = {}  # base Mbit/s by ifIndex, where announcements changed it
        self._out = {router.name: _set_up(scenario, router.name) for router in scenario.routers}
        for traffic in scenario.traffic:
            self._add(traffic.source, traffic.prefix, traffic.dscp, traffic.mbps)

    def clock(self) -> float:
        """Unix seconds that no change of the system's clock disturbs."""
        return self._epoch + time.monotonic()

    # Life

    async def start(self) -> None:
        """Listen everywhere. Raises OSError when an address is taken."""
        scenario = self.scenario
        keys = make_keys(self._directory, {router.name: router.ssh for router in scenario.routers})
        for router in scenario.routers:
            name, state = router.name, self.states[router.name]
            changed = self._changer(name)
            self.bgp[name] = RouterBgp(state, *router.bgp, scenario.asn, on_change=changed)
            await self.bgp[name].start()
            self.ssh[name] = await serve_router(
                state,
                *router.ssh,
                keys.host_key(name),
                keys.authorized_keys,
                validity=self._validity(name),
                other_routes=self._other_routes,
            )
            self.ssh[name].router.running.out = self._out[name]
            self.ssh[name].router.committed = self._committer(name)
        for speaker in self.speakers.values():
            await speaker.start()
        self._tell_topology()
        self._stale.update(self.states)
        self.settle()

    async def run(self) -> None:
        """Export flows and tell how things stand, until cancelled."""
        async with asyncio.TaskGroup() as work:
            work.create_task(FlowExports(self.scenario, self._meter, self.clock).run(), name="flow exports")
            work.create_task(self._tick(), name="ticks")
            for speaker in self.bmp:
                work.create_task(speaker.run(), name="bmp")
            file = self._directory / SAMPLES
            work.create_task(probe(self.beyond, file, self.scenario.probe_s, self.clock), name="probes")

    async def stop(self) -> None:
        """Stop listening; every session ends."""
        for timer in (self._igp_timer, self._settling, *self._flaps.values()):
            if timer:
                timer.cancel()
        for server in self.ssh.values():
            server.close()
        await asyncio.gather(*(listener.stop() for listener in (*self.bgp.values(), *self.speakers.values())))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await asyncio.gather(*(server.wait_closed() for server in self.ssh.values()))

    async def _tick(self) -> None:
        summary = self.clock() + SUMMARY_S
        while True:
            await asyncio.sleep(self.scenario.tick_s)
            now = self.clock()
            self.ledger.tick(now)
            self._narrator.tick()
            if now >= summary:
                summary = now + SUMMARY_S
                self._narrator.summary(now)

    # What can be done to it

    def cut(self, name: str) -> None:
        """Cut a link, both directions; traffic on it is lost until the IGP knows. Raises KeyError for no such link."""
        self._change_cables(self._down | self._pair(name), "link.cut", name)

    def restore(self, name: str) -> None:
        """Mend a link. Raises KeyError for no such link."""
        self._change_cables(self._down - self._pair(name), "link.restored", name)

    def delay(self, link: str, more_ms: float) -> None:
        """Make everything beyond a peering link so much further, one way. Raises KeyError, ValueError."""
        self.beyond.delay(link, more_ms)
        _log.warning("peering.delayed", link=link, more_ms=more_ms)
        self._reroute()

    def blackhole(self, isp: str, group: str | None = None, *, heals: bool = False) -> None:
        """Have an ISP lose all that it is sent toward a prefix group, None for all of them; or deliver again.

        Its sessions stay up. Raises KeyError for no such ISP or group.
        """
        self.beyond.blackhole(isp, group, heals=heals)
        _log.warning("isp.delivers" if heals else "isp.blackholes", isp=isp, group=group)
        self.settle()

    def flap(self, link: str, times: int, period_s: float) -> None:
        """Let the session with an ISP go down and come back so often, each for so long.

        Nothing is sent through a link whose session is down. Raises KeyError for no such peering link, ValueError for
        what is no number of times or period.
        """
        if link not in self._cable or self._cable[link].target:
            raise KeyError(f"peering link {link}; there are {', '.join(c.name for c in self.scenario.cables if c.isp)}")
        if times < 1 or not (math.isfinite(period_s) and period_s > 0):
            raise ValueError(f"{times} times, {period_s} s; accepted: at least once, and more than 0 s")
        if link in self._flaps:
            self._flaps.pop(link).cancel()
        self._turn(link, 2 * times - 1, period_s)

    def slip(self, link: str, what: str) -> None:
        """Have the border of a peering link tell by BMP what it should not (`bmp.SLIPS`); traffic goes on as it went.

        Raises KeyError for no such peering link, ValueError for anything else to say.
        """
        if link not in self._cable or self._cable[link].target:
            raise KeyError(f"peering link {link}; there are {', '.join(c.name for c in self.scenario.cables if c.isp)}")
        if what not in SLIPS:
            raise ValueError(f"{what!r}; accepted: {', '.join(SLIPS)}")
        _log.warning("peering.slip", link=link, what=what)
        for speaker in self.bmp:
            speaker.slip(link, what)

    def _turn(self, link: str, left: int, period_s: float) -> None:
        """Put a session down when an odd number of turns is left, or up, and do the next turn later."""
        down = left % 2 == 1
        self.sessions_down = self.sessions_down | {link} if down else self.sessions_down - {link}
        _log.warning("peering.session_down" if down else "peering.session_up", link=link)
        for speaker in self.bmp:
            speaker.sessions(self.sessions_down)
        self._reroute()
        if left:
            loop = asyncio.get_running_loop()
            self._flaps[link] = loop.call_later(period_s, self._turn, link, left - 1, period_s)
        else:
            self._flaps.pop(link, None)

    def scale_demand(self, factor: float) -> None:
        """Multiply every demand by a factor. Raises ValueError for what is no factor."""
        if not (math.isfinite(factor) and factor >= 0):
            raise ValueError(f"{factor} is no factor; accepted: 0 or more")
        self.scale = factor
        _log.info("demand.scaled", factor=factor)
        self._rates_changed(self.demands.values())

    def set_demand(self, source: str, to: str, dscp: int, mbps: float) -> None:
        """Set the traffic of one code point toward a router, a prefix group or one prefix; new or old, as it is now.

        Raises KeyError for a source or target that there is not, ValueError for what is no code point or rate.
        """
        shares = self.scenario.spread(to)
        if source not in self.states:
            raise KeyError(f"router {source}")
        if not (0 <= dscp <= 63 and math.isfinite(mbps) and mbps >= 0):  # noqa: PLR2004 six bits
            raise ValueError(f"dscp {dscp}, {mbps} Mbit/s; accepted: a code point 0 to 63 and a rate of 0 or more")
        changed = [
            self._add(source, prefix, dscp, mbps * share / (self.scale or 1)) for prefix, share in shares.items()
        ]
        _log.info("demand.set", source=source, to=to, dscp=dscp, mbps=mbps)
        self._stale.add(source)
        self._divert()
        self._rates_changed(changed)

    def drop_session(self, name: str) -> None:
        """End the BGP session of a router or of a speaker's address without a word. Raises KeyError."""
        listener: Listener = self.bgp[name] if name in self.bgp else self.speakers[name]
        listener.drop()

    # What it says

    @property
    def steered_share(self) -> float:
        """Share of the offered traffic that follows a policy of the daemon's."""
        return self._narrator.steered_share

    @property
    def coloured_routes(self) -> int:
        """Routes of the daemon's on all routers."""
        return sum(len(state.routes) for state in self.states.values())

    def overloaded(self) -> list[str]:
        """Links over capacity now."""
        return self.ledger.overloaded()

    @property
    def links_down(self) -> frozenset[str]:
        """Cables that are cut."""
        return self._down

    def mbps(self, demand: Demand) -> float:
        """Rate of a demand now."""
        diverted = self._diverted.get(demand.key)
        return (demand.base_mbps if diverted is None else sum(diverted.values())) * self.scale

    def inbound(self) -> dict[str, float]:
        """Mbit/s that come in by each peering link now."""
        return by_link(self.scenario.ways_in, ((key[0], self._entering(each)) for key, each in self.demands.items()))

    def told(self) -> list[tuple[WayIn, IPv4Network, Told | None]]:
        """Return what borders tell through peering links otherwise than plainly; None: nothing."""
        return [
            (way, prefix, told)
            for way in self.scenario.ways_in
            for router in self.scenario.routers
            for prefix in (router.prefixes if way.announced is None else way.announced)
            if prefix in router.prefixes and (told := self._tells(way, prefix)) != Told()
        ]

    # Cables and the IGP

    def _pair(self, name: str) -> set[str]:
        """Both directions of a link."""
        cable = self._cable[name]
        return {
            other.name
            for other in self.scenario.cables
            if other.name == name or (other.local_address == cable.remote_address and other.target == cable.source)
        }

    def _change_cables(self, down: frozenset[str], event: str, name: str) -> None:
        if down == self._down:
            return
        self._down = down
        _log.warning(event, link=name, igp_knows_in_s=self.scenario.convergence_s)
        self.settle()
        if self._igp_timer:
            self._igp_timer.cancel()
        loop = asyncio.get_running_loop()
        self._igp_timer = loop.call_later(self.scenario.convergence_s, self._converge)

    def _converge(self) -> None:
        """Let every router know which links are up."""
        self._known_down = self._down
        self._tell_topology()
        self._reroute()
        _log.info("igp.converged", down=" ".join(sorted(self._known_down)))

    def _reroute(self) -> None:
        """Let every router forward as it must by all that is known now."""
        known = replace(self.scenario, exits=self.beyond.exits)
        self._forwarding = Forwarding(known, frozenset(self._cable.keys() - self._known_down - self.sessions_down))
        self._stale.update(self.states)
        self.settle()

    def _tell_topology(self) -> None:
        told = objects_of(self.scenario, self._known_down)
        for speaker in self.speakers.values():
            speaker.set(told)

    def _validity(self, name: str) -> Validity:
        return lambda labels: self._forwarding.valid(name, labels)

    def _other_routes(self) -> Iterable[OtherRoute]:
        """What every router knows without us: the routers' own prefixes."""
        return tuple(OtherRoute(prefix, r.loopback) for r in self.scenario.routers for prefix in r.prefixes)

    # What borders tell, and where others therefore send

    def _tells(self, way: WayIn, prefix: IPv4Network) -> Told | None:
        """Return what a border tells of a prefix; a neighbour without an address is told plainly."""
        return self._out[way.border].told(way.peer, prefix) if way.peer else Told()

    def _divert(self) -> None:
        """Let others send where they now must by what they are told."""
        before = self._diverted
        rates = {key: demand.base_mbps for key, demand in self.demands.items()}
        self._diverted = self._inbound.diverted(rates, self._tells)
        for key in self._diverted.keys() - self.demands.keys():
            self._add(*key, 0.0)
        both = before.keys() | self._diverted.keys()
        changed = [each for key, each in self.demands.items() if key in both]
        if changed:
            self._stale.update(each.source for each in changed)
            self._rates_changed(changed)

    def _entering(self, demand: Demand) -> dict[int, float]:
        """Return Mbit/s now by the ifIndex at which it enters."""
        base = self._diverted.get(demand.key) or self._inbound.usual(demand.key, demand.base_mbps)
        return {interface: mbps * self.scale for interface, mbps in base.items()}

    # Demand and the fluid model

    def _add(self, source: str, prefix: IPv4Network, dscp: int, base_mbps: float) -> Demand:
        demand = Demand(source, prefix, dscp, self.scenario.class_row(dscp), base_mbps)
        known = self.demands.setdefault(demand.key, demand)
        known.base_mbps = base_mbps
        if known is demand:
            self._of_router[source].append(demand)
        self._meter.rate(known.key, self._entering(known), self.clock())
        return known

    def _rates_changed(self, demands: Iterable[Demand]) -> None:
        now = self.clock()
        for demand in demands:
            self._meter.rate(demand.key, self._entering(demand), now)
        self.settle()

    def _changer(self, name: str) -> Callable[[], None]:
        def changed() -> None:
            self._stale.add(name)
            self._narrator.touch(name)
            if self._settling is None:
                self._settling = asyncio.get_running_loop().call_soon(self.settle)

        return changed

    def _committer(self, name: str) -> Callable[[], None]:
        changed = self._changer(name)

        def committed() -> None:
            out = self.ssh[name].router.running.out
            if out != self._out[name]:
                self._out[name] = out
                self._divert()
            changed()

        return committed

    def settle(self) -> None:
        """Put the present state of everything through the model and into the ledger."""
        if self._settling:
            self._settling.cancel()
            self._settling = None
        for name in self._stale:
            demands = self._of_router[name]
            ways = self._forwarding.ways(self.states[name], [(each.prefix, each.dscp) for each in demands])
            for demand, way in zip(demands, ways, strict=True):
                demand.way = way
        self._stale.clear()
        (self.legacy.clear if self.coloured_routes else self.legacy.set)()
        self._narrator.episodes(self.ledger.enter(self._state(), self.clock()))

    def _state(self) -> State:
        demands = list(self.demands.values())
        rates = [self.mbps(demand) for demand in demands]
        groups = self.scenario.groups.items() if self.beyond.dark else ()
        dark = {prefix: self.beyond.dark_links(group) for group, prefixes in groups for prefix in prefixes}
        streams = [
            Stream(demand.way, demand.class_row, mbps, dark.get(demand.prefix, frozenset()))
            for demand, mbps in zip(demands, rates, strict=True)
        ]
        outcome = self._fluid.flow(streams, self._down)
        classes = len(self.scenario.classes)
        offered, delivered, delays = [0.0] * classes, [0.0] * classes, [0.0] * classes
        steered, late = 0.0, []
        for demand, mbps, arriving in zip(demands, rates, outcome.delivered_mbps.tolist(), strict=True):
            demand.delivered_mbps = arriving
            if mbps <= 0:
                continue
            row, delay_us = demand.class_row, demand.way.delay_us
            offered[row] += mbps
            delivered[row] += arriving
            steered += mbps if demand.way.steered else 0.0
            delays[row] = max(delays[row], delay_us)
            if delay_us > self.scenario.delay_bound_us.get(demand.dscp, math.inf):
                late.append(f"{demand.source} to {demand.prefix}: {delay_us / 1000:.1f} ms")
        return State(outcome.load_mbps, outcome.lost_mbps, offered, delivered, steered, delays, late)


def _set_up(scenario: Scenario, router: str) -> OutPolicies:
    links = (cable for cable in scenario.cables if not cable.target and cable.source == router)
    return bordering(scenario.asn, {c.remote_address: scenario.isp_asn[c.isp] for c in links if c.remote_address})
