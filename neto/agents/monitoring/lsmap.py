"""From what a BGP-LS speaker tells to a Topology.

Only what is certain gets in. The rest is refused and named, and traffic of ours does not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from neto.agents.monitoring.lslinks import links_between
from neto.agents.monitoring.lsrouters import Routers
from neto.model.topology import Topology
from neto.wire.bgpls import LsLink, LsNode, LsObject, LsPrefix, PeerSidKind, Protocol

_PREFERENCE = {PeerSidKind.ADJACENCY: 0, PeerSidKind.NODE: 1}  # the narrower first; sets lead to many peers


@dataclass(frozen=True)
class LsMap:
    """What link-state objects amount to."""

    topology: Topology
    peer_sids: Mapping[tuple[str, str], int]  # (border router, peer address) -> MPLS label
    overloaded: frozenset[str]  # routers that ask not to be transited
    problems: tuple[str, ...]  # what was refused, and why


def draw(objects: Iterable[LsObject]) -> LsMap:
    """Return the routers and links that objects of any protocols, levels and areas amount to.

    Nodes and links are in order of their names. Links out of an overloaded router cost 2**24 more in the IGP, so
    that nothing passes through it that can go elsewhere, as is so in the network (ISO/IEC 10589 §7.2.8.1).
    """
    nodes: list[LsNode] = []
    links: list[LsLink] = []
    prefixes: list[LsPrefix] = []
    for each in objects:
        if isinstance(each, LsNode):
            nodes.append(each)
        elif isinstance(each, LsLink):
            links.append(each)
        else:
            prefixes.append(each)
    problems: list[str] = []
    igp_links = [link for link in links if link.key.local.protocol.is_igp]
    routers = Routers.of([node for node in nodes if node.key.protocol.is_igp], igp_links, prefixes, problems)
    topology = Topology(routers.nodes, links_between(routers, igp_links, problems))
    peering = [link for link in links if link.key.local.protocol is Protocol.BGP]
    return LsMap(topology, _peer_sids(routers, peering, problems), routers.overloaded, tuple(problems))


def _peer_sids(routers: Routers, links: list[LsLink], problems: list[str]) -> dict[tuple[str, str], int]:
    """Read egress peer engineering (RFC 9086): the border is known by its BGP router-id, a peering link by its peer."""
    told: dict[tuple[str, str], tuple[int, int]] = {}  # (preference, label)
    for link in links:
        border = routers.by_router_id.get(link.key.local.bgp_router_id)
        if border is None:
            problems.append(f"peering link of {link.key.local}: no router has this router-id")
            continue
        for sid in link.attributes.peer_sids:
            label = sid.value if sid.is_label else routers.own_label(border, sid.value)
            if sid.kind not in _PREFERENCE or label is None:
                continue
            for address in link.key.remote_addresses:
                key, candidate = (border, address), (_PREFERENCE[sid.kind], label)
                told[key] = min(candidate, told.get(key, candidate))
    return {key: label for key, (_, label) in sorted(told.items())}
