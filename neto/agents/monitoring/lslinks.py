"""The links between routers in what a BGP-LS speaker tells.

A link is told in halves, one from each end, each perhaps through several levels or areas. A half counts when the
other is there (the IGP's two-way check). A LAN becomes a link between each two of its members.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import permutations

from neto.agents.monitoring.lsrouters import Routers, in_default, rank
from neto.model.topology import Link
from neto.wire.bgpls import AdjacencySid, LinkAttributes, LsLink, NodeId

_UNUSED_METRIC = 0xFFFFFF  # IS-IS leaves such a link out of its shortest paths (RFC 5305 §3)
_OVERLOADED = 1 << 24  # above every metric of an IGP
_MOST_MEMBERS = 32  # of a LAN: it makes a link between each two


@dataclass(eq=False, slots=True)
class _Half:
    """One direction of an adjacency between two routers."""

    source: str
    target: str
    attributes: LinkAttributes
    local_addresses: tuple[str, ...]
    remote_addresses: tuple[str, ...]
    local_id: int | None
    remote_id: int | None  # None: not known
    preference: int  # of its protocol
    neighbours: frozenset[bytes] = frozenset()  # IGP ids of the target, where it is a neighbour on a LAN
    share: float = 1.0  # of the interface's capacity that is this link's
    name: str = ""  # unique among all halves, once given

    @property
    def local_address(self) -> str:
        return next(iter(self.local_addresses), "")

    @property
    def place(self) -> tuple[object, ...]:
        """What the views of one and the same half have in common."""
        if self.local_addresses:
            return self.source, self.target, self.local_address
        return self.source, self.target, self.local_id, self.remote_id

    @property
    def label(self) -> str:
        """What to call it where nothing better is known."""
        where = self.local_address or ("" if self.local_id is None else str(self.local_id))
        return f"{self.source}>{self.target}@{where}" if where else f"{self.source}>{self.target}"

    def belongs_to(self, other: _Half) -> bool:
        """Tell whether this and the other, in the other direction, name each other."""
        if set(self.remote_addresses) & set(other.local_addresses) or (
            set(self.local_addresses) & set(other.remote_addresses)
        ):
            return True
        return self.local_id is not None and (self.local_id, self.remote_id) == (other.remote_id, other.local_id)

    def may_belong_to(self, other: _Half) -> bool:
        """Tell whether nothing that either says speaks against their belonging together."""
        return not (
            (self.remote_addresses and other.local_addresses)
            or (self.local_addresses and other.remote_addresses)
            or _differ(self.local_id, other.remote_id)
            or _differ(self.remote_id, other.local_id)
        )


@dataclass
class _Lan:
    """A pseudonode: which routers it says are on it, and what they say of it."""

    members: set[str] = field(default_factory=set)
    links: dict[str, LsLink] = field(default_factory=dict)  # by the router that tells it
    ids: dict[str, set[bytes]] = field(default_factory=dict)  # IGP ids of each router


def links_between(routers: Routers, told: Sequence[LsLink], problems: list[str]) -> tuple[Link, ...]:
    """Return the usable links, in order of their ids; what is refused is added to `problems`."""
    direct, lans = _sort_out(routers, told, problems)
    on_lans = _merge(half for pseudonode, lan in lans.items() for half in _across(pseudonode, lan, problems))
    links = []
    halves = [*direct, *on_lans]
    _name(halves)
    for half in _two_way(halves, problems):
        fault = _fault(half.attributes)
        if fault:
            problems.append(f"link {half.name}: {fault}")
        else:
            links.append(_link(half, is_overloaded=half.source in routers.overloaded))
    return tuple(sorted(links, key=lambda link: link.id))


def _sort_out(routers: Routers, told: Sequence[LsLink], problems: list[str]) -> tuple[list[_Half], dict[NodeId, _Lan]]:
    """Tell links between routers from those of LANs, and drop those of routers that are not certain."""
    halves: list[_Half] = []
    lans: dict[NodeId, _Lan] = {}
    for link in told:
        local, remote = link.key.local, link.key.remote
        if not in_default(link.key.topologies) or (local.is_pseudonode and remote.is_pseudonode):
            continue
        ends = [None if end.is_pseudonode else routers.name(end) for end in (local, remote)]
        for end, name in zip((local, remote), ends, strict=True):
            if name is None and not end.is_pseudonode and not routers.is_refused(end):
                problems.append(f"link {local} > {remote}: nothing is told of {end}")
        source, target = ends
        if source and target and source != target:
            halves.append(_half(link, source, target))
        elif source and remote.is_pseudonode:
            lan = lans.setdefault(remote, _Lan())
            lan.links[source] = link
            lan.ids.setdefault(source, set()).add(local.router)
        elif target and local.is_pseudonode:
            lans.setdefault(local, _Lan()).members.add(target)
    return _merge(halves), lans


def _half(link: LsLink, source: str, target: str) -> _Half:
    key, told = link.key, link.attributes
    return _Half(
        source,
        target,
        told,
        key.local_addresses,
        key.remote_addresses,
        told.local_id if key.local_id is None else key.local_id,
        (told.remote_id if key.remote_id is None else key.remote_id) or None,
        rank(key.local.protocol),
    )


def _across(pseudonode: NodeId, lan: _Lan, problems: list[str]) -> Iterable[_Half]:
    """Yield a half between each two members that say they are on the LAN and of which it says so.

    Each takes an equal share of its source's capacity, so that together they cannot ask more of the interface.
    """
    members = sorted(lan.members & lan.links.keys())
    if len(members) > _MOST_MEMBERS:
        problems.append(f"LAN {pseudonode}: {len(members)} routers; accepted: at most {_MOST_MEMBERS}")
        return
    for source, target in permutations(members, 2):
        half = _half(lan.links[source], source, target)
        yield replace(
            half,
            remote_addresses=lan.links[target].key.local_addresses,
            remote_id=lan.links[target].key.local_id,
            neighbours=frozenset(lan.ids[target]),
            share=1 / (len(members) - 1),
        )


def _merge(halves: Iterable[_Half]) -> list[_Half]:
    """Make one half of all views of it: of the preferred protocol, completed from the others."""
    views: dict[tuple[object, ...], list[_Half]] = {}
    for half in halves:
        views.setdefault(half.place, []).append(half)
    merged = []
    for place in sorted(views, key=str):
        first, *others = sorted(views[place], key=lambda half: (bool(_fault(half.attributes)), half.preference))
        if others:
            neighbours = first.neighbours.union(*(other.neighbours for other in others))
            attributes = _completed([view.attributes for view in (first, *others)])
            first = replace(first, attributes=attributes, neighbours=neighbours)
        merged.append(first)
    return merged


def _completed(views: Sequence[LinkAttributes]) -> LinkAttributes:
    """Take each field from the first view that tells it."""
    names = [each.name for each in fields(LinkAttributes) if each.name != "unknown"]
    told = {
        name: next((value for view in views if (value := getattr(view, name)) not in {None, "", ()}), None)
        for name in names
    }
    return replace(views[0], **{name: value for name, value in told.items() if value is not None})


def _name(halves: Sequence[_Half]) -> None:
    """Name each half: by its link name if that is nobody else's, else by its ends and its local address."""
    labels = Counter(half.label for half in halves)
    given = Counter(half.attributes.name for half in halves)
    seen: Counter[str] = Counter()
    for half in halves:
        half.name = half.attributes.name
        if not half.name or given[half.name] > 1 or half.name in labels:
            label = half.label
            seen[label] += 1
            half.name = label if seen[label] == 1 else f"{label}#{seen[label]}"


def _two_way(halves: Iterable[_Half], problems: list[str]) -> Iterable[_Half]:
    """Yield the halves whose other half is there too, with what only the other one tells of their addresses."""
    between: dict[tuple[str, str], list[_Half]] = {}
    for half in halves:
        if half.neighbours:
            yield half  # a LAN has been checked
        else:
            between.setdefault((half.source, half.target), []).append(half)
    for (source, target), there in between.items():
        back = between.get((target, source), [])
        if back and source > target:
            continue  # seen from the other end
        left = {half.name: half for half in (*there, *back)}
        for one, other in _pair(there, back):
            del left[one.name], left[other.name]
            for half, facing in ((one, other), (other, one)):
                half.remote_addresses = half.remote_addresses or facing.local_addresses
                yield half
        problems += (f"link {name}: its other direction is not told" for name in left)


def _pair(there: Sequence[_Half], back: Sequence[_Half]) -> list[tuple[_Half, _Half]]:
    """Pair halves of parallel links: those that name each other, then the rest in order."""
    waiting, left = list(there), list(back)
    pairs: list[tuple[_Half, _Half]] = []
    for fits in (_Half.belongs_to, _Half.may_belong_to):
        alone = []
        for half in waiting:
            place = next((place for place, other in enumerate(left) if fits(half, other)), None)
            if place is None:
                alone.append(half)
            else:
                pairs.append((half, left.pop(place)))
        waiting = alone
    return pairs


def _fault(attributes: LinkAttributes) -> str:
    """Say what makes a link unusable; "" when nothing does."""
    if not attributes.max_mbps:
        return "its bandwidth is not told" if attributes.max_mbps is None else "its bandwidth is 0"
    if not attributes.igp_metric:
        return "its IGP metric is not told" if attributes.igp_metric is None else "its IGP metric is 0"
    if attributes.igp_metric == _UNUSED_METRIC:
        return f"its IGP metric {_UNUSED_METRIC} keeps it out of shortest paths"
    return ""


def _link(half: _Half, *, is_overloaded: bool) -> Link:
    """Describe a link that has no fault. Its delay is the average one, else the least."""
    told = half.attributes
    delay_us = told.min_delay_us if told.delay_us is None else told.delay_us
    return Link(
        id=half.name,
        source=half.source,
        target=half.target,
        capacity_mbps=(told.max_mbps or 0.0) * half.share,
        delay_us=float(delay_us or 0),
        igp_metric=(told.igp_metric or 0) + (_OVERLOADED if is_overloaded else 0),
        srlgs=frozenset(told.srlgs),
        adjacency_sid=_adjacency_label(half),
        local_address=half.local_address,
        remote_address=next(iter(half.remote_addresses), ""),
    )


def _adjacency_label(half: _Half) -> int | None:
    """Return the label that pins this link: of it alone, for IPv4, best one that is not rerouted when it fails."""
    fitting = [sid for sid in half.attributes.adjacency_sids if _pins(sid, half)]
    best = min(fitting, key=lambda sid: (sid.is_protected, sid.value), default=None)
    return None if best is None else best.value


def _pins(sid: AdjacencySid, half: _Half) -> bool:
    if not sid.is_label or sid.is_set or sid.is_ipv6:
        return False
    return sid.neighbour in half.neighbours if half.neighbours else not sid.neighbour


def _differ(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one != other
