"""What the emulated WAN is made of: the operator's inventory and peering, and a scenario of links and demands."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import cast, get_args

from neto.errors import InputError, Problem
from neto.lab.export import Format
from neto.lab.toml import Table

KM_PER_MS = 200.0  # light in fibre
PREFIX_SHARES = (0.4, 0.3, 0.2, 0.1)  # how a demand spreads over the first prefixes of its target; repeated as needed
NODE_LABELS, ADJACENCY_LABELS, PEER_LABELS = 16000, 24000, 25000  # the latter two count at each router by itself
MOST_PREFIXES = 1 << 20  # of a full table
MOST_SAMPLING = (1 << 14) - 1  # what a v5 header can say
INSIDE = 1  # ifIndex at which all enters that comes in by no peering link


@dataclass(frozen=True, slots=True)
class Router:
    """An emulated router; its number gives its labels."""

    name: str
    number: int  # 1..
    loopback: str
    bgp: tuple[str, int]
    ssh: tuple[str, int]
    prefixes: tuple[IPv4Network, ...]
    netflow: Format

    @property
    def node_label(self) -> int:
        """Label of its node SID."""
        return NODE_LABELS + self.number


@dataclass(frozen=True, slots=True)
class Cable:
    """One direction of a link, or a peering link (target "")."""

    name: str
    source: str
    target: str
    capacity_mbps: float
    delay_us: float
    metric: int
    label: int  # adjacency SID, or peer SID; means something at `source` only
    local_address: str
    remote_address: str
    srlgs: tuple[int, ...] = ()
    isp: str = ""


@dataclass(frozen=True, slots=True)
class BmpBorder:
    """A border that tells its routes, and the address that it connects from."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class WayIn:
    """A peering link that other networks can send to us by."""

    link: str
    border: str
    isp: str
    interface: int  # ifIndex at the border
    peer: str  # address of the ISP's side; "": not told
    capacity_mbps: float
    share: float = 0.0  # of what enters at the border toward prefixes of other routers
    announced: tuple[IPv4Network, ...] | None = None  # None: all that routers originate
    lower_community: str = ""  # by which the ISP prefers the link less


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traffic from one router to one prefix with one code point."""

    source: str
    prefix: IPv4Network
    dscp: int
    mbps: float


@dataclass(frozen=True)
class Scenario:
    """An emulated WAN, whole."""

    asn: int
    speakers: tuple[tuple[str, int], ...]
    collector: tuple[str, int]
    bmp_collector: tuple[str, int]
    bmp: tuple[BmpBorder, ...]
    full_table: int  # prefixes that every ISP announces beside those of the groups
    routers: tuple[Router, ...]
    cables: tuple[Cable, ...]  # WAN links in both directions, then peering links
    exits: Mapping[str, tuple[tuple[str, float], ...]]  # prefix group -> (peering link, delay_us) in order
    groups: Mapping[str, tuple[IPv4Network, ...]]
    isp_asn: Mapping[str, int]
    traffic: tuple[Traffic, ...]
    ways_in: tuple[WayIn, ...]
    delay_bound_us: Mapping[int, float]  # by code point, as the intents say it; inf for all others
    class_of: Mapping[int, str]  # by code point; every other: the last class
    classes: tuple[str, ...]  # highest first
    tick_s: float
    convergence_s: float
    export_s: float
    probe_s: float  # how often borders probe what lies beyond their peering links
    sampling: int

    def class_row(self, dscp: int) -> int:
        """Row of the class that a code point tells; 0 is the highest."""
        return self.classes.index(self.class_of.get(dscp, self.classes[-1]))

    def spread(self, to: str) -> dict[IPv4Network, float]:
        """Return how traffic spreads over the prefixes of a router or of a prefix group; `to` may be one prefix.

        Raises KeyError when there is no such target.
        """
        targets = {router.name: router.prefixes for router in self.routers} | dict(self.groups)
        if to in targets:
            return spread(targets[to])
        for prefixes in targets.values():
            for prefix in prefixes:
                if str(prefix) == to:
                    return {prefix: 1.0}
        raise KeyError(f"router, prefix group or prefix {to}")


def spread(prefixes: Collection[IPv4Network]) -> dict[IPv4Network, float]:
    """Return the share of each prefix, the first ones larger."""
    weights = [PREFIX_SHARES[place % len(PREFIX_SHARES)] for place in range(len(prefixes))]
    return {prefix: weight / sum(weights) for prefix, weight in zip(prefixes, weights, strict=True)}


def load_scenario(config: Path, port_offset: int = 0) -> Scenario:
    """Read neto.toml and the files that it names.

    port_offset: added to every port that the lab listens on or sends to.
    Raises InputError with every problem found.
    """
    problems: list[Problem] = []
    main = Table.read(config, problems)
    names = [
        main.text("inventory", "config/inventory.toml"),
        main.text("peering", ""),
        main.text("intents", "config/intents.toml"),
        main.text("lab"),
    ]
    if problems:
        raise InputError(problems)
    base = config.absolute().parent
    tables = [Table.read(base / name, problems) if name else main.table("peering") for name in names]
    scenario = _build(main, *tables, offset=port_offset)
    if problems:
        raise InputError(problems)
    return scenario


def _build(main: Table, inventory: Table, peering: Table, intents: Table, lab: Table, *, offset: int) -> Scenario:
    lab.only(
        "tick_s",
        "igp_convergence_s",
        "export_s",
        "probe_s",
        "full_table",
        "sampling",
        "netflow",
        "link",
        "demand",
        "inbound",
    )
    routers = tuple(_routers(inventory, lab.table("netflow"), offset))
    groups = {row.text("name"): row.prefixes("prefixes") for row in peering.tables("prefix_group")}
    names = tuple(router.name for router in routers)
    targets = {router.name: router.prefixes for router in routers} | groups
    classes = [(row.text("name"), row.integers("dscp"), _bound_us(row)) for row in intents.tables("class")]
    if not classes:
        intents.wrong("class", "is missing")
    isp_asn = {row.text("name"): row.integer("asn", least=1) for row in peering.tables("isp")}
    cables = (*_links(lab, names), *_peering_links(peering, names, isp_asn))
    for name, count in Counter(cable.name for cable in cables).items():
        if count > 1:
            lab.wrong("link", f"{name!r} names {count} links; accepted: a name of its own for each, peering links too")
    return Scenario(
        asn=main.table("bgp").integer("asn", least=1),
        speakers=tuple(
            (row.address("address"), row.port("port", 179, offset=offset))
            for row in main.table("bgpls").tables("speaker")
        ),
        collector=main.table("netflow").endpoint("listen", "127.0.0.1:2055", offset=offset),
        bmp_collector=main.table("bmp").endpoint("listen", "127.0.0.1:11019", offset=offset),
        bmp=tuple(
            BmpBorder(row.one_of("name", names), row.address("address"))
            for row in (main.table("bmp").tables("router") if "full_table" in lab else ())
        ),
        full_table=lab.integer("full_table", 0, most=MOST_PREFIXES),
        routers=routers,
        cables=cables,
        exits=_exits(peering, groups, tuple(cable.name for cable in cables if not cable.target)),
        groups=groups,
        isp_asn=isp_asn,
        ways_in=tuple(_ways_in(peering, cables, _inbound(lab, peering))),
        traffic=tuple(_traffic(lab, names, {name: each for name, each in targets.items() if each})),
        delay_bound_us={dscp: bound_us for _, dscps, bound_us in classes for dscp in dscps},
        class_of={dscp: name for name, dscps, _ in classes for dscp in dscps},
        classes=tuple(name for name, _, _ in classes),
        tick_s=lab.number("tick_s", 0.2, above=0),
        convergence_s=lab.number("igp_convergence_s", 0.3),
        export_s=lab.number("export_s", 0.5, above=0),
        probe_s=lab.number("probe_s", 1.0, above=0),
        sampling=lab.integer("sampling", 1000, least=1, most=MOST_SAMPLING),
    )


def _routers(inventory: Table, formats: Table, offset: int) -> Iterator[Router]:
    rows = inventory.tables("router")
    if not rows:
        inventory.wrong("router", "is missing")
    formats.only(*(row.text("name") for row in rows))
    for number, row in enumerate(rows, start=1):
        name = row.text("name")
        yield Router(
            name=name,
            number=number,
            loopback=row.address("router_id"),
            bgp=row.endpoint("bgp", offset=offset),
            ssh=row.endpoint("ssh", offset=offset),
            prefixes=row.prefixes("prefixes"),
            netflow=cast(Format, formats.one_of(name, get_args(Format), "ipfix")),
        )


def _bound_us(row: Table) -> float:
    return row.number("max_delay_ms", above=0) * 1000 if "max_delay_ms" in row else math.inf


def _links(lab: Table, routers: Collection[str]) -> Iterator[Cable]:
    at: Counter[str] = Counter()  # adjacency SIDs given out
    seen: set[str] = set()
    for number, row in enumerate(lab.tables("link"), start=1):
        row.only("name", "a", "b", "distance_km", "capacity_mbps", "igp_metric", "srlgs")
        a, b = row.one_of("a", routers), row.one_of("b", routers)
        name = row.text("name", f"{a}-{b}")
        if a == b:
            row.wrong("b", f"{b!r} is both ends; accepted: two routers")
        if name in seen:
            row.wrong("name", f"{name!r} is already the name of a link")
        seen.add(name)
        subnet = IPv4Network((int(IPv4Network("10.254.0.0/16").network_address) + 4 * number, 30))
        ends = [str(host) for host in subnet.hosts()]
        capacity_mbps = row.number("capacity_mbps", above=0)
        delay_us = round(row.number("distance_km") / KM_PER_MS * 1000)
        metric = row.integer("igp_metric", least=1, most=(1 << 24) - 2)  # IS-IS wide; the largest means: not for use
        srlgs = row.integers("srlgs")
        for direction, (source, target) in enumerate(((a, b), (b, a))):
            at[source] += 1
            yield Cable(
                name=f"{source}-{target}" if name == f"{a}-{b}" else f"{name}:{source}",
                source=source,
                target=target,
                capacity_mbps=capacity_mbps,
                delay_us=delay_us,
                metric=metric,
                label=ADJACENCY_LABELS + at[source],
                local_address=ends[direction],
                remote_address=ends[1 - direction],
                srlgs=srlgs,
            )


def _peering_links(peering: Table, routers: Collection[str], isps: Collection[str]) -> Iterator[Cable]:
    at: Counter[str] = Counter()  # peer SIDs given out
    for row in peering.tables("peering_link"):
        border = row.one_of("node", routers)
        at[border] += 1
        yield Cable(
            name=row.text("name"),
            source=border,
            target="",
            capacity_mbps=row.number("capacity_mbps", above=0),
            delay_us=0.0,
            metric=0,
            label=PEER_LABELS + at[border],
            local_address=row.address("local_address", ""),
            remote_address=row.address("peer_address", ""),
            isp=row.one_of("isp", isps),
        )


def _exits(peering: Table, groups: Collection[str], links: Collection[str]) -> dict[str, tuple[tuple[str, float], ...]]:
    exits: dict[str, tuple[tuple[str, float], ...]] = dict.fromkeys(groups, ())
    for row in peering.tables("egress"):
        group = row.one_of("prefix_group", groups)
        link, delay_us = row.one_of("peering_link", links), row.number("delay_us")
        exits[group] = (*exits.get(group, ()), (link, delay_us))
    return exits


def _inbound(lab: Table, peering: Table) -> dict[str, float]:
    """Read which share of what enters at its border comes in by a peering link."""
    links = {row.text("name"): row for row in peering.tables("peering_link")}
    shares: dict[str, float] = {}
    at: dict[str, float] = defaultdict(float)
    for row in lab.tables("inbound"):
        row.only("peering_link", "share")
        name, share = row.one_of("peering_link", links), row.number("share")
        if name not in links:
            continue
        if "interface" not in links[name]:
            row.wrong("peering_link", f"{name!r} has no interface in the peering file; accepted: a link that has one")
            continue
        if name in shares:
            row.wrong("peering_link", f"{name!r} is already given")
        shares[name] = share
        border = links[name].text("node")
        at[border] += share
        if at[border] > 1:
            row.wrong("share", f"makes more than all that enters at {border}; accepted: shares that sum to at most 1")
    return shares


def _ways_in(peering: Table, cables: Iterable[Cable], shares: Mapping[str, float]) -> Iterator[WayIn]:
    leads_out = {cable.name: cable for cable in cables if not cable.target}
    for row in peering.tables("peering_link"):
        cable = leads_out.get(row.text("name", ""))
        if cable is None or "interface" not in row:
            continue
        yield WayIn(
            *(cable.name, cable.source, cable.isp, row.integer("interface", least=1)),
            *(cable.remote_address, cable.capacity_mbps),
            share=shares.get(cable.name, 0.0),
            announced=row.prefixes("announced") if "announced" in row else None,
            lower_community=row.text("lower_community", ""),
        )


def _traffic(lab: Table, routers: Collection[str], targets: Mapping[str, tuple[IPv4Network, ...]]) -> Iterator[Traffic]:
    seen: set[tuple[str, str]] = set()
    for row in lab.tables("demand"):
        row.only("source", "to", "mbps")
        source, target = row.one_of("source", routers), row.one_of("to", targets)
        if (source, target) in seen:
            row.wrong("to", f"demand from {source} to {target} is already given")
        seen.add((source, target))
        rates = row.table("mbps")
        for code_point in rates:
            if not (code_point.isascii() and code_point.isdigit() and int(code_point) <= 63):  # noqa: PLR2004 six bits
                rates.wrong(code_point, "is no code point; accepted: 0 to 63")
                continue
            mbps = rates.number(code_point)
            for prefix, share in spread(targets.get(target, ())).items():
                yield Traffic(source, prefix, int(code_point), mbps * share)
