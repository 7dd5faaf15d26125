"""peering.toml -> Peering, and the demands that such a file may carry offline."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from neto.errors import InputError, Problem
from neto.model.demand import Demand
from neto.model.inventory import Inventory
from neto.model.peering import Egress, Isp, Peering, PeeringLink, Prefix, PrefixGroup
from neto.settings.inventory import PrefixText
from neto.settings.schema import Ipv4, Name, NonNegative, Positive, Section, check, duplicates, unknown
from neto.settings.toml import TomlFile, read_toml


def _community(text: str) -> str:
    parts = text.split(":")
    if len(parts) == _PARTS and all(part.isdecimal() and int(part) <= _MOST for part in parts):
        return text
    raise ValueError("is no community; accepted: two numbers of 0 to 65535, as in 64500:80 (RFC 1997)")


_PARTS, _MOST = 2, 65535
Community = Annotated[str, AfterValidator(_community)]


class _Isp(Section):
    name: Name
    asn: Annotated[int, Field(ge=1, le=4294967294)]


class _Link(Section):
    name: Name
    node: str
    isp: str
    capacity_mbps: Positive
    local_address: Ipv4 = ""
    peer_address: Ipv4 = ""
    interface: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] | None = None
    inbound_limit_mbps: Positive | None = None
    lower_community: Community = ""
    announced: Annotated[tuple[PrefixText, ...], Field(strict=False)] | None = None
    announces_learned: bool = False


class _Group(Section):
    name: Name
    prefixes: tuple[PrefixText, ...] = Field(min_length=1, strict=False)


class _Egress(Section):
    prefix_group: str
    peering_link: str
    delay_us: NonNegative
    loss: Annotated[float, Field(ge=0, le=1)] = 0.0


class _Demand(Section):
    id: Name
    traffic_class: Name = Field(alias="class")
    source: str
    prefix_group: str
    rate_mbps: NonNegative


class _File(Section):
    isp: tuple[_Isp, ...] = Field(default=(), strict=False)
    peering_link: tuple[_Link, ...] = Field(default=(), strict=False)
    prefix_group: tuple[_Group, ...] = Field(default=(), strict=False)
    egress: tuple[_Egress, ...] = Field(default=(), strict=False)
    demand: tuple[_Demand, ...] = Field(default=(), strict=False)


def load_peering(path: Path, nodes: Collection[str]) -> Peering:
    """Read and check a peering file against the nodes there are; demands in it are refused: they are measured.

    Raises InputError with every problem found.
    """
    file = read_toml(path)
    read = _checked(file, nodes)
    if read.demand:
        message = "is accepted offline only (neto solve); the daemon measures demand"
        raise InputError([file.problem(("demand", 0), message)])
    return _peering(read)


def load_offline(path: Path, nodes: Collection[str]) -> tuple[Peering, tuple[Demand, ...]]:
    """Read a peering file with its demands, in file order.

    Raises InputError with every problem found.
    """
    read = _checked(read_toml(path), nodes)
    demands = tuple(Demand(d.id, d.traffic_class, d.source, d.prefix_group, d.rate_mbps) for d in read.demand)
    return _peering(read), demands


def _checked(file: TomlFile, nodes: Collection[str]) -> _File:
    read, problems = check(_File, file)
    if read is None:
        raise InputError(problems)
    problems += _references(file, read, list(nodes))
    if problems:
        raise InputError(sorted(problems, key=lambda problem: problem.line))
    return read


def _peering(read: _File) -> Peering:
    return Peering(
        isps=tuple(Isp(isp.name, isp.asn) for isp in read.isp),
        links=tuple(
            PeeringLink(
                *(x.name, x.node, x.isp, x.capacity_mbps, x.local_address, x.peer_address),
                interface=x.interface,
                inbound_limit_mbps=x.inbound_limit_mbps,
                lower_community=x.lower_community,
                announced=x.announced,
                announces_learned=x.announces_learned,
            )
            for x in read.peering_link
        ),
        groups=tuple(PrefixGroup(group.name, group.prefixes) for group in read.prefix_group),
        egresses=tuple(Egress(e.prefix_group, e.peering_link, e.delay_us, e.loss) for e in read.egress),
    )


def misplaced(path: Path, inventory: Inventory, peering: Peering) -> list[Problem]:
    """Find what peering links say of prefixes and interfaces that the inventory has otherwise."""
    file, problems = read_toml(path), []
    ours = [str(prefix) for router in inventory.routers for prefix in router.prefixes]
    for row, link in enumerate(peering.links):
        strange = [str(prefix) for prefix in link.announced or () if str(prefix) not in ours]
        problems += [
            file.problem(("peering_link", row, "announced"), unknown("prefix of a router", prefix, ours))
            for prefix in strange
        ]
        if link.interface is not None and link.interface in inventory.router[link.node].core_interfaces:
            message = f"{link.interface} is one of {link.node}'s core_interfaces; accepted: one that leads out"
            problems.append(file.problem(("peering_link", row, "interface"), message))
    return problems


def _references(file: TomlFile, read: _File, nodes: list[str]) -> list[Problem]:
    isps, links, groups = ([each.name for each in table] for table in (read.isp, read.peering_link, read.prefix_group))
    problems = [
        problem
        for table, names in (("isp", isps), ("peering_link", links), ("prefix_group", groups))
        for problem in duplicates(file, table, "name", names)
    ]
    problems += duplicates(file, "demand", "id", [f"{demand.traffic_class}/{demand.id}" for demand in read.demand])
    references = [
        *(("peering_link", row, "node", "node", link.node, nodes) for row, link in enumerate(read.peering_link)),
        *(("peering_link", row, "isp", "ISP", link.isp, isps) for row, link in enumerate(read.peering_link)),
        *(("egress", row, "prefix_group", "prefix group", e.prefix_group, groups) for row, e in enumerate(read.egress)),
        *(("egress", row, "peering_link", "peering link", e.peering_link, links) for row, e in enumerate(read.egress)),
        *(("demand", row, "source", "node", demand.source, nodes) for row, demand in enumerate(read.demand)),
        *(("demand", row, "prefix_group", "prefix group", d.prefix_group, groups) for row, d in enumerate(read.demand)),
    ]
    problems += [
        file.problem((table, row, key), unknown(what, value, accepted))
        for table, row, key, what, value, accepted in references
        if value not in accepted
    ]
    problems += [
        file.problem((table, row, "name"), f"{name!r} is also the name of a node")
        for table, names in (("isp", isps), ("prefix_group", groups))
        for row, name in enumerate(names)
        if name in nodes
    ]
    return problems + _repeats(file, read)


def _repeats(file: TomlFile, read: _File) -> list[Problem]:
    """Find an exit given twice for a group, a prefix that two groups hold, and an interface that two links have."""
    problems = []
    at: dict[tuple[str, int], str] = {}
    for row, link in enumerate(read.peering_link):
        if link.interface is not None:
            first = at.setdefault((link.node, link.interface), link.name)
            if first != link.name:
                message = f"{link.interface} of {link.node} already is {first}'s"
                problems.append(file.problem(("peering_link", row, "interface"), message))
    pairs: set[tuple[str, str]] = set()
    for row, egress in enumerate(read.egress):
        pair = (egress.prefix_group, egress.peering_link)
        if pair in pairs:
            problems.append(file.problem(("egress", row), f"{pair[0]} through {pair[1]} is already given"))
        pairs.add(pair)
    owner: dict[Prefix, str] = {}
    for row, group in enumerate(read.prefix_group):
        for prefix in group.prefixes:
            first = owner.setdefault(prefix, group.name)
            if first != group.name:
                problems.append(
                    file.problem(("prefix_group", row, "prefixes"), f"{prefix} is already in group {first}")
                )
    return problems
