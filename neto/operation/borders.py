"""The agents that tell what lies beyond the borders, and what of the operator's peering they bear out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from neto.agents.monitoring.bmp import BmpAgent
from neto.agents.monitoring.exits import RibCopy, RouteTable, copy, route_table
from neto.agents.monitoring.ibgp import IbgpAgent, Teller
from neto.agents.monitoring.latency import LatencyRules, LatencySamples, LatencyTable
from neto.agents.monitoring.probes import Probes
from neto.agents.monitoring.prometheus import Prometheus
from neto.agents.monitoring.rib import Rib
from neto.agents.mqtt import Broker
from neto.controller.latency_moves import LatencyPolicy
from neto.model.latency import LatencyEstimate
from neto.model.peering import Egress, Peering, PeeringLink
from neto.operation import outside
from neto.operation.damping import Damping, DampingRules
from neto.settings import prometheus
from neto.settings.latency import Latency
from neto.settings.main import Bgp, Bmp, Ibgp
from neto.settings.main import Damping as DampingSettings
from neto.wire.exabgp import Event

_SHOWN_GROUPS = 50


@dataclass(frozen=True)
class Sources:
    """Where routes and samples come from; None: not from there."""

    bgp: Bgp
    bmp: Bmp | None
    latency: Latency | None
    broker: Broker | None  # for samples by MQTT
    ibgp: Ibgp | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)  # of routers' BGP sessions, by name
    damping: DampingSettings = field(default_factory=DampingSettings)


class Borders:
    """Listens to borders and probes. Inert until `run`.

    on_change: called when a border or a probe says something that should be decided on soon.
    """

    def __init__(self, sources: Sources, listed: Peering, on_change: Callable[[], None]) -> None:
        self._sources = sources
        bmp, ibgp, latency = sources.bmp, sources.ibgp, sources.latency or Latency()
        trust, damping = bmp or Bmp(), sources.damping
        rules = DampingRules(damping.hold_s, damping.longest_s, damping.memory_s)
        self._rib: Rib | None = None
        self._bmp: BmpAgent | None = None
        self._ibgp: IbgpAgent | None = None
        if bmp is not None or ibgp is not None:
            self._rib = rib = Rib(
                sources.bgp.asn,
                sources.bgp.community,
                stale_ttl_s=trust.stale_ttl_s,
                quiet_s=trust.quiet_s,
                settle_s=trust.settle_s,
            )
            if bmp is not None and (bmp.router or ibgp is None):
                routers = {router.address: router.name for router in bmp.router}
                self._bmp = BmpAgent((bmp.listen.address, bmp.listen.port), routers, rib, on_change)
            if ibgp is not None:
                tellers = {sources.addresses[each.name]: Teller(each.name, each.single) for each in ibgp.router}
                self._ibgp = IbgpAgent(sources.bgp.asn, tellers, rib, on_change)
        by_bgp = ibgp.router if ibgp is not None else ()
        self._exits = outside.Exits(
            frozenset([*(router.name for router in trust.router), *(router.name for router in by_bgp)]),
            outside.RouteTrust(trust.max_loss / 100, trust.stale_ttl_s, trust.settle_s + trust.quiet_s),
            time.monotonic(),
            rules,
        )
        self._latency = outside.Latency(
            LatencyPolicy(
                min_gain_ms=latency.min_gain_ms,
                min_gain=latency.min_gain,
                more_loss=latency.more_loss / 100,
                confirm=latency.confirm,
                hold_s=latency.hold_s,
                longest_hold_s=latency.longest_hold_s,
                probation_s=latency.probation_s,
            )
        )
        self._samples = LatencyTable(
            listed,
            LatencyRules(latency.max_age_s, latency.min_samples, latency.closing_loss / 100, latency.closing_samples),
            on_change,
        )
        self._probes = Probes(self._samples)
        self._asked = [Prometheus(prometheus.source(each), self._samples) for each in latency.prometheus]
        self._listed = listed
        self._decided: tuple[int, tuple[PeeringLink, ...]] | None = None  # what the table was made of
        self._table: RouteTable | None = None
        self._told: RibCopy | None = None
        self._largest: list[dict[str, object]] = []
        self._egresses: Mapping[tuple[str, str], Egress] | None = None
        self._estimates: list[LatencyEstimate] = []
        self._failing: Mapping[tuple[str, str], float] = {}
        self._held: frozenset[tuple[str, str]] = frozenset()
        self._damping: Damping[tuple[str, str]] = Damping(rules)

    async def run(self) -> None:
        """Listen until cancelled. Raises OSError when an address cannot be bound."""
        latency = self._sources.latency
        async with asyncio.TaskGroup() as work:
            if self._bmp is not None:
                work.create_task(self._bmp.run(), name="bmp")
            if self._ibgp is not None:
                work.create_task(self._ibgp.run(), name="ibgp")
            if latency is not None and latency.listen is not None:
                token = await asyncio.to_thread(_token, latency)
                address = (latency.listen.address, latency.listen.port)
                work.create_task(self._probes.listen(address, token), name="latency by HTTP")
            if latency is not None and latency.csv is not None:
                work.create_task(self._probes.follow(latency.csv, latency.csv_period_s), name="latency from a file")
            if latency is not None and self._sources.broker is not None:
                work.create_task(self._probes.subscribe(self._sources.broker, "neto-latency"), name="latency by MQTT")
            for source in self._asked:
                work.create_task(source.run(), name="latency from a Prometheus")

    def session(self, event: Event) -> None:
        """Take what happened in a BGP session."""
        if self._ibgp is not None:
            self._ibgp.take(event)

    async def room(self) -> None:
        """Wait until there is room for more of what happens in BGP sessions."""
        if self._ibgp is not None:
            await self._ibgp.room()

    async def hear(self, listed: Peering, now: float) -> None:
        """Take what was told until now (unix seconds), for the peering that the operator lists."""
        if listed is not self._listed:
            self._listed = listed
            self._samples.reload(listed)
        told = self._told = copy(self._rib, self._told) if self._rib is not None else None
        await asyncio.to_thread(self._decide, listed, told, self._samples.copy(), now)

    def _decide(self, listed: Peering, told: RibCopy | None, samples: LatencySamples, now: float) -> None:
        """Work out what may be used: all of it in one thread at a time, since `hear` is awaited."""
        if told is not None and self._decided != (told.changes, listed.links):
            self._table = route_table(told, listed.links)
            self._largest = self._table.largest_groups(_SHOWN_GROUPS)
            self._decided = (told.changes, listed.links)
        self._exits.hear(listed.links, told, self._table, time.monotonic())
        self._estimates, self._failing = samples.estimates(now), samples.failing(now)
        self._held = self._damping.hear(self._failing, time.monotonic())
        found = outside.outside(listed, self._exits, self._latency, self._estimates, self._failing, now, self._held)
        self._egresses = {(each.prefix_group, each.peering_link): each for each in found.egresses}

    def usable(self, listed: Peering) -> Peering:
        """Return the part of a peering that is borne out, with delays as they are. All of it before `hear`."""
        if self._egresses is None:
            return listed
        known = {(each.prefix_group, each.peering_link) for each in self._listed.egresses}
        found = [
            self._egresses.get(pair) if pair in known else egress
            for egress in listed.egresses
            for pair in [(egress.prefix_group, egress.peering_link)]
        ]
        return Peering(
            listed.isps, listed.links, listed.groups, tuple(egress for egress in found if egress is not None)
        )

    @property
    def doubts(self) -> Sequence[str]:
        """What is not as it should be."""
        lost = (f"{group} through {link}: {_lost(share)}" for (link, group), share in sorted(self._failing.items()))
        held = (f"{group} through {link}: probes were lost too often" for link, group in sorted(self._held))
        silent = self._ibgp.problems if self._ibgp is not None else ()
        asked = (source.doubt for source in self._asked if source.doubt)
        return (*self._exits.doubts, *silent, *lost, *held, *asked)

    @property
    def peers(self) -> list[dict[str, object]]:
        """Every session in which a border tells its routes, for people."""
        rows: list[tuple[str, str, str, bool]] = []
        if self._bmp is not None and self._sources.bmp is not None:
            up = self._bmp.up
            rows += [(router.name, "bmp", router.address, router.name in up) for router in self._sources.bmp.router]
        if self._ibgp is not None and self._sources.ibgp is not None:
            names, addresses, up = [r.name for r in self._sources.ibgp.router], self._sources.addresses, self._ibgp.up
            rows += [(name, "routes by ibgp", addresses[name], name in up) for name in names]
        return [
            {"peer": name, "kind": kind, "address": address, "state": "up" if is_up else "down"}
            for name, kind, address, is_up in rows
        ]

    def documents(self) -> dict[str, object]:
        """What people see of it."""
        return {
            "routes": {
                **routes_document(self._listed, self._table, self._egresses or {}),
                "found": self._largest,
                "counters": self._counters(),
            },
            "latency": latency_document(self._estimates, self._latency, dict(self._samples.counters)),
        }

    def _counters(self) -> dict[str, int]:
        told = self._bmp.counters if self._bmp is not None else {}
        if self._rib is not None and self._ibgp is not None:
            told |= {f"rib_{name}": count for name, count in self._rib.counters.items()}
            told |= {f"ibgp_{name}": count for name, count in self._ibgp.counters.items()}
        return {**told, "tables_refused": self._exits.refused}


def routes_document(
    listed: Peering, table: RouteTable | None, egresses: Mapping[tuple[str, str], Egress]
) -> dict[str, object]:
    """Links with what they announce, and listed groups with their open exits."""
    links = [
        {
            "peering_link": link.name,
            "border": link.node,
            "isp": link.isp,
            "told": table is not None and link.name in table.told,
            "prefixes": int(table.exits[:, table.links.index(link.name)].sum())
            if table is not None and link.name in table.links
            else None,
        }
        for link in listed.links
    ]
    groups = [
        {
            "prefix_group": group.name,
            "open": [link.name for link in listed.links if (group.name, link.name) in egresses],
            "closed": [
                each.peering_link
                for each in listed.egresses
                if each.prefix_group == group.name and (group.name, each.peering_link) not in egresses
            ],
        }
        for group in listed.groups
    ]
    return {"links": links, "groups": groups}


def latency_document(
    estimates: Sequence[LatencyEstimate], latency: outside.Latency, counters: Mapping[str, int]
) -> dict[str, object]:
    """Estimates, and where they have groups leave."""
    standings = latency.standings
    return {
        "estimates": [
            {
                "prefix_group": each.prefix_group,
                "peering_link": each.peering_link,
                "rtt_ms": each.rtt_ms,
                "low_ms": each.low_ms,
                "high_ms": each.high_ms,
                "loss": each.loss,
                "samples": each.samples,
                "age_s": each.age_s,
                "in_use": each.prefix_group in standings and standings[each.prefix_group].exit == each.peering_link,
            }
            for each in sorted(estimates, key=lambda each: (each.prefix_group, each.rtt_ms))
        ],
        "moved": [
            {"prefix_group": group, "exit": standing.exit, "candidate": standing.candidate, "reverts": standing.reverts}
            for group, standing in sorted(standings.items())
            if standing.moved or standing.candidate or standing.reverts
        ],
        "counters": dict(counters),
    }


def _lost(share: float) -> str:
    """Say which share of a group's prefixes is lost."""
    return "probes are lost" if share == 1 else f"probes to {share:.0%} of its prefixes are lost"


def _token(latency: Latency) -> str:
    return latency.token_file.read_text().split("\n")[0].strip() if latency.token_file else ""
