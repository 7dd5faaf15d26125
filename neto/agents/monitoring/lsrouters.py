"""The routers in what a BGP-LS speaker tells: one each, however many protocols, levels and areas it is seen through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

from neto.model.topology import Node
from neto.wire.bgpls import LabelRange, LsLink, LsNode, LsPrefix, NodeId, PrefixSid, Protocol

_BASE_IMPOSITION = 1  # MSD type: labels that can be imposed (RFC 8491 §5)
_IPV4_BITS = 32
_OSPF_ROUTER_ID_SIZE = 4
_NODE_FLAG = {  # N of the attribute flags: RFC 7794 §2.1, RFC 7684 §2.1, RFC 8362 §3.1
    Protocol.ISIS_LEVEL_1: 0x20,
    Protocol.ISIS_LEVEL_2: 0x20,
    Protocol.OSPFV2: 0x40,
    Protocol.OSPFV3: 0x20,
}
_RANK = (Protocol.ISIS_LEVEL_2, Protocol.ISIS_LEVEL_1, Protocol.OSPFV2, Protocol.OSPFV3)  # which view is preferred


def rank(protocol: Protocol) -> int:
    """Return the place of an IGP among those that tell the same; the lowest is preferred."""
    return _RANK.index(protocol)


def identity(node: NodeId) -> Hashable:
    """Return what a router has in common in all levels or areas of an IGP."""
    family = Protocol.ISIS_LEVEL_2 if node.protocol.is_isis else node.protocol
    return family, node.instance, node.asn, node.router


@dataclass(eq=False)
class _Router:
    """One router, or what claims to be one: identities that share a router-id."""

    identities: list[Hashable]
    views: list[LsNode]
    router_ids: list[str]  # preferred first

    @property
    def names(self) -> list[str]:
        return sorted({view.attributes.name for view in self.views} - {""})

    @property
    def name(self) -> str:
        """Its host name; without one its router-id; without one its id in the IGP."""
        return next(iter((*self.names, *self.router_ids)), str(self.views[0].key))

    @property
    def shared(self) -> str:
        """What is wrong when it is more than one router; "" when it is not."""
        if len(self.names) > 1:
            return f"router-id {' '.join(self.router_ids)} is used by {', '.join(self.names)}: all left out"
        igps = [identity[:-1] for identity in self.identities if isinstance(identity, tuple)]
        if len(set(igps)) < len(igps):
            claims = ", ".join(sorted({str(view.key) for view in self.views}))
            return f"router-id {' '.join(self.router_ids)} is used by {claims} ({self.name}): all left out"
        return ""


@dataclass(frozen=True)
class Routers:
    """All routers that are certain."""

    nodes: tuple[Node, ...]
    overloaded: frozenset[str]
    by_router_id: Mapping[str, str]  # -> name
    _names: Mapping[Hashable, str]  # by identity
    _refused: frozenset[Hashable]
    _srgb: Mapping[str, tuple[LabelRange, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, nodes: Sequence[LsNode], links: Sequence[LsLink], prefixes: Sequence[LsPrefix], problems: list[str]
    ) -> Routers:
        """Merge nodes; what is refused is added to `problems`."""
        merged = _merge([node for node in nodes if not node.key.is_pseudonode], links, _loopbacks(prefixes))
        kept = _unambiguous(merged, problems)
        names = {each: router.name for router in kept for each in router.identities}
        srgb = {router.name: _first(view.attributes.srgb for view in router.views) for router in kept}
        sids = _NodeSids(kept, names, srgb, prefixes, problems)
        described = _distinct([sids.node(router) for router in kept], problems)
        overloaded = {router.name for router in kept if any(view.attributes.is_overloaded for view in router.views)}
        problems += (f"{name} is overloaded: it asks not to be transited" for name in sorted(overloaded))
        everyone = {each for router in merged for each in router.identities}
        return cls(
            nodes=tuple(sorted(described, key=lambda node: node.name)),
            overloaded=frozenset(overloaded),
            by_router_id={router_id: router.name for router in kept for router_id in router.router_ids},
            _names=names,
            _refused=frozenset(everyone - names.keys()),
            _srgb=srgb,
        )

    def name(self, node: NodeId) -> str | None:
        """Return the name of the router that an end of a link stands for; None when there is no such router."""
        return self._names.get(identity(node))

    def is_refused(self, node: NodeId) -> bool:
        """Tell whether the router is known, and was refused."""
        return identity(node) in self._refused

    def own_label(self, router: str, index: int) -> int | None:
        """Return the label of an index in a router's own SRGB; None when there is none."""
        return label_at(self._srgb[router], index)


def label_at(ranges: Iterable[LabelRange], index: int) -> int | None:
    """Return the label of an index; ranges are counted through in order (RFC 8667 §3.1)."""
    for each in ranges:
        if index < each.size:
            return each.first + index
        index -= each.size
    return None


def _merge(
    nodes: Sequence[LsNode], links: Sequence[LsLink], loopbacks: Mapping[Hashable, Sequence[str]]
) -> list[_Router]:
    """Put together the views of each router. What it calls its router-id counts first, then its loopback."""
    told_by_links: dict[Hashable, dict[str, None]] = {}
    for link in links:
        for end, addresses in (
            (link.key.local, link.attributes.local_router_ids),
            (link.key.remote, link.attributes.remote_router_ids),
        ):
            told_by_links.setdefault(identity(end), {}).update(dict.fromkeys(a for a in addresses if ":" not in a))
    views: dict[Hashable, list[LsNode]] = {}
    for node in sorted(nodes, key=lambda node: (rank(node.key.protocol), node.key.area or 0, node.key.router)):
        views.setdefault(identity(node.key), []).append(node)

    owner: dict[str, _Router] = {}  # by router-id
    merged: list[_Router] = []
    for each, seen in views.items():
        router_ids = list(dict.fromkeys(router_id for view in seen for router_id in view.attributes.router_ids))
        router_ids = router_ids or list(told_by_links.get(each, ())) or list(loopbacks.get(each, ()))
        router_ids = router_ids or _ospf_router_id(seen[0].key)
        router = _Router([each], seen, router_ids)
        for other in dict.fromkeys(owner[router_id] for router_id in router_ids if router_id in owner):
            router = _Router(
                other.identities + router.identities,
                other.views + router.views,
                list(dict.fromkeys(other.router_ids + router.router_ids)),
            )
            merged.remove(other)
        merged.append(router)
        owner |= dict.fromkeys(router.router_ids, router)
    return merged


def _loopbacks(prefixes: Sequence[LsPrefix]) -> dict[Hashable, tuple[str, ...]]:
    """Return the address of each router that tells exactly one as standing for it alone."""
    found: dict[Hashable, set[str]] = {}
    for prefix in prefixes:
        key, network = prefix.key, prefix.key.prefix
        is_host = isinstance(network, IPv4Network) and network.prefixlen == _IPV4_BITS
        if not (is_host and key.node.protocol.is_igp and in_default(key.topologies)):
            continue
        if _is_flagged(prefix) or any(sid.is_node and not sid.algorithm for sid in prefix.attributes.sids):
            found.setdefault(identity(key.node), set()).add(str(network.network_address))
    return {each: tuple(addresses) for each, addresses in found.items() if len(addresses) == 1}


def _ospf_router_id(node: NodeId) -> list[str]:
    is_one = node.protocol.is_ospf and len(node.router) == _OSPF_ROUTER_ID_SIZE and any(node.router)
    return [str(IPv4Address(node.router))] if is_one else []


def _unambiguous(merged: Sequence[_Router], problems: list[str]) -> list[_Router]:
    """Leave out whatever cannot be told from something else."""
    single = []
    for router in merged:
        if router.shared:
            problems.append(router.shared)
        else:
            single.append(router)
    by_name: dict[str, list[_Router]] = {}
    for router in single:
        by_name.setdefault(router.name, []).append(router)
    for name, same in by_name.items():
        if len(same) > 1:
            which = ", ".join(" ".join(router.router_ids) or str(router.views[0].key) for router in same)
            problems.append(f"name {name} is used by routers with router-ids {which}: all left out")
    return [same[0] for same in by_name.values() if len(same) == 1]


def _first(ranges: Iterable[tuple[LabelRange, ...]]) -> tuple[LabelRange, ...]:
    return next((each for each in ranges if each), ())


def _distinct(nodes: Sequence[Node], problems: list[str]) -> list[Node]:
    """Take away labels that would lead to two routers: one told as such, the other as an index."""
    uses = Counter(node.node_sid for node in nodes)
    shared = {label for label, count in uses.items() if label is not None and count > 1}
    problems += (
        f"{node.name}: label {node.node_sid} is also another router's: not used"
        for node in nodes
        if node.node_sid in shared
    )
    return [replace(node, node_sid=None) if node.node_sid in shared else node for node in nodes]


class _NodeSids:
    """Which label leads to which router, from anywhere.

    Each router on the way turns an index into a label of its own range, so a label is the same everywhere only
    where all ranges agree about it; and two prefixes that share a SID share what is sent to either (RFC 8660 §2.5).
    """

    def __init__(
        self,
        routers: Sequence[_Router],
        names: Mapping[Hashable, str],
        srgb: Mapping[str, tuple[LabelRange, ...]],
        prefixes: Sequence[LsPrefix],
        problems: list[str],
    ) -> None:
        self._problems = problems
        self._ranges = sorted(set(srgb.values()) - {()}, key=str)
        self._prefixes_of: dict[tuple[int, bool], set[str]] = {}  # (value, is a label) -> prefixes
        self._sids: dict[tuple[str, str], list[PrefixSid]] = {}  # (router, its router-id) -> SIDs
        own = {
            (router.name, f"{router_id}/{_IPV4_BITS}"): router_id
            for router in routers
            for router_id in router.router_ids
        }
        for prefix in prefixes:
            if not (prefix.attributes.sids and prefix.key.node.protocol.is_igp and in_default(prefix.key.topologies)):
                continue
            text = str(prefix.key.prefix)
            name = names.get(identity(prefix.key.node))
            router_id = own.get((name, text)) if name and isinstance(prefix.key.prefix, IPv4Network) else None
            for sid in prefix.attributes.sids:
                if sid.algorithm or sid.is_local:
                    continue
                self._prefixes_of.setdefault((sid.value, sid.is_label), set()).add(text)
                if name and router_id and _is_of_node(sid, prefix):
                    self._sids.setdefault((name, router_id), []).append(sid)

    def node(self, router: _Router) -> Node:
        """Describe a router."""
        name = router.name
        router_id = next((r for r in router.router_ids if (name, r) in self._sids), next(iter(router.router_ids), ""))
        depths = [depth for view in router.views for kind, depth in view.attributes.msd if kind == _BASE_IMPOSITION]
        node = Node(name, router_id=router_id, node_sid=self._label(name, router_id))
        return replace(node, max_sid_depth=min(depths)) if depths else node

    def _label(self, name: str, router_id: str) -> int | None:
        sids = self._sids.get((name, router_id), [])
        told = {(sid.value, sid.is_label) for sid in sids}
        if not told:
            return None
        if len(told) > 1:
            self._problems.append(f"{name}: several node SIDs for {router_id}: none is used")
            return None
        ((value, is_label),) = told
        others = self._prefixes_of[value, is_label]
        if len(others) > 1:
            self._problems.append(f"{name}: SID {value} is of {', '.join(sorted(others))}: not used")
            return None
        if is_label:
            return value
        labels = {label_at(ranges, value) for ranges in self._ranges}
        label = labels.pop() if len(labels) == 1 else None
        if label is None:
            self._problems.append(f"{name}: SID index {value} is not the same label on all routers: not used")
        return label


def in_default(topologies: Sequence[int]) -> bool:
    """Tell whether something is in the default topology, which carries IPv4 (RFC 5120 §7.5)."""
    return not topologies or 0 in topologies


def _is_of_node(sid: PrefixSid, prefix: LsPrefix) -> bool:
    """Tell whether the prefix stands for its node alone, not for several (anycast)."""
    flagged = _is_flagged(prefix)
    if sid.is_node is not None:
        return sid.is_node or flagged
    return flagged or prefix.attributes.attribute_flags is None  # OSPF may not tell


def _is_flagged(prefix: LsPrefix) -> bool:
    """Tell whether the flags of the prefix say that it stands for its node."""
    return bool((prefix.attributes.attribute_flags or 0) & _NODE_FLAG[prefix.key.node.protocol])
