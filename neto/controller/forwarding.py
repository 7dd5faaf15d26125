"""What the network does with traffic, given what is on the routers: label stacks walked through the IGP.

A route that we announced sends a prefix toward its next hop, into the policy (head-end, colour, next hop). A per-flow
policy picks another colour by DSCP (RFC 9256 §8.6). Traffic splits over a policy's valid segment lists by weight; a
policy without one, or a missing policy, leaves its traffic on the IGP path to the next hop. A list is valid when all
of it can be followed now. Where a list ends, plain forwarding goes on; a peer segment hands the traffic to the ISP.
Routers in between see labels only, so what steers at a head-end is its own routes and nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from neto.controller.igp import Split, igp_of
from neto.controller.legacy import legacy_split
from neto.controller.peering import whole
from neto.model.demand import PrefixDemand
from neto.model.intent import TrafficClass
from neto.model.inventory import Inventory
from neto.model.peering import Peering
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey, Segment, SidKind, SrPolicy
from neto.model.topology import Mbps, NodeKind, Topology


class Forwarding:
    """One network, in which any forwarding state can be tried. Remembers what it has walked."""

    def __init__(
        self, joint: Topology, peering: Peering, inventory: Inventory, classes: Sequence[TrafficClass]
    ) -> None:
        self.joint = joint
        self._peering = peering
        self._router = {node.router_id: row for row, node in enumerate(joint.nodes) if node.router_id}
        self._router |= {
            router.router_id: joint.node_row[router.name]
            for router in inventory.routers
            if router.name in joint.node_row
        }
        self.most_policies: Mapping[str, int] = {
            router.name: router.max_policies for router in inventory.routers if router.max_policies is not None
        }
        self.class_row: Mapping[str, int] = {each.name: row for row, each in enumerate(classes)}
        named = [min(each.dscp, default=-1) for each in classes[:-1]]
        self._dscp = [*named, -1]  # a code point that tells the class; the last takes all that nobody names
        self._node_sids = {node.node_sid: row for row, node in enumerate(joint.nodes) if node.node_sid is not None}
        self._adjacency = {
            (int(joint.source[row]), link.adjacency_sid): row
            for row, link in enumerate(joint.links)
            if link.adjacency_sid is not None
        }
        self._walked: dict[tuple[int, tuple[int, ...]], tuple[Split, int] | None] = {}
        self._lists: dict[tuple[str, tuple[int, ...], str], Split | None] = {}
        self._legacy: dict[tuple[int, str], Split | None] = {}

    def loads(self, state: ForwardingState, demand: Iterable[PrefixDemand]) -> Mbps:
        """(classes, links) Mbit/s that the demand puts on each link of the joint graph.

        Traffic from unknown routers, and traffic that has no way, puts nothing anywhere.
        """
        load = np.zeros((len(self.class_row), len(self.joint.links)))
        for row in demand:
            split = self.split(state, row)
            if split is not None:
                load[self.row_of(row.traffic_class), split[0]] += split[1] * row.rate_mbps
        return load

    def loads_by_link(self, state: ForwardingState, demand: Iterable[PrefixDemand]) -> dict[tuple[int, int], float]:
        """Mbit/s by class and link row, as `loads`, for few rows of demand: only links that carry something."""
        load: dict[tuple[int, int], float] = {}
        for row in demand:
            split = self.split(state, row)
            if split is not None:
                level = self.row_of(row.traffic_class)
                for link, share in zip(split[0].tolist(), split[1].tolist(), strict=True):
                    load[level, link] = load.get((level, link), 0.0) + share * row.rate_mbps
        return load

    def row_of(self, traffic_class: str) -> int:
        """Row of a class; an unknown one is served with the lowest."""
        return self.class_row.get(traffic_class, len(self.class_row) - 1)

    def split(self, state: ForwardingState, demand: PrefixDemand) -> Split | None:
        """Return how one row of demand spreads over links; None when it has no way."""
        headend = self.joint.node_row.get(demand.source)
        if headend is None:
            return None
        route = state.routes.get(RouteKey(demand.source, demand.prefix))
        if route is None or not self.usable(route):
            return self._plain(headend, demand.target)
        key = self.policy_key(state, route, self.row_of(demand.traffic_class))
        policy = state.policies.get(key)
        split = None if policy is None else self.policy_split(policy, demand.target)
        return self.toward(headend, route.next_hop, demand.target) if split is None else split

    def usable(self, route: Route) -> bool:
        """Whether the head-end can resolve the route's next hop; else BGP does not use the route."""
        headend, egress = self.joint.node_row.get(route.key.headend), self._router.get(route.next_hop)
        return headend is not None and egress is not None and igp_of(self.joint).split(headend, egress) is not None

    def policy_key(self, state: ForwardingState, route: Route, traffic_class: int) -> PolicyKey:
        """Key of the policy into which a route sends a class, be it there or not."""
        key = PolicyKey(route.key.headend, route.colour, route.next_hop)
        policy = state.policies.get(key)
        if policy is None or not policy.per_flow:
            return key
        colours = dict(policy.per_flow)
        colour = colours.get(self._dscp[traffic_class], colours.get(-1))
        return PolicyKey(key.headend, -1 if colour is None else colour, key.endpoint)

    def policy_split(self, policy: SrPolicy, target: str) -> Split | None:
        """Return how traffic of the policy spreads over links; None when none of its lists is valid."""
        parts = [
            (split, float(one.weight))
            for one in policy.segment_lists
            if one.weight > 0 and (split := self.list_split(policy.key.headend, one.segments, target)) is not None
        ]
        return merged(parts) if parts else None

    def list_split(self, headend: str, segments: Sequence[Segment], target: str) -> Split | None:
        """Return how traffic on one segment list spreads over links; None when the list is not valid."""
        key = (headend, tuple(segment.label for segment in segments), target)
        if key not in self._lists:
            self._lists[key] = self._list_split(*key)
        return self._lists[key]

    def _list_split(self, headend: str, labels: tuple[int, ...], target: str) -> Split | None:
        source = self.joint.node_row.get(headend)
        walked = None if source is None else self._walk(source, labels)
        if walked is None:
            return None
        split, end = walked
        if self.joint.nodes[end].kind is NodeKind.ISP:
            return split
        onward = self._plain(end, target)
        return None if onward is None else added([(split, 1.0), (onward, 1.0)])

    def plain_segments(self, headend: str, target: str) -> tuple[Segment, ...] | None:
        """Return a segment list that sends traffic just where plain forwarding does; None when there is none."""
        source = self.joint.node_row.get(headend)
        plain = None if source is None else self._plain(source, target)
        if plain is None:
            return None
        exits = [row for row in plain[0].tolist() if self.joint.nodes[self.joint.target[row]].kind is NodeKind.ISP]
        end = int(self.joint.source[exits[0]]) if exits else self.joint.node_row[target]
        sid = self.joint.nodes[end].node_sid
        inside = () if end == source else (Segment(sid or 0, SidKind.NODE, self.joint.nodes[end].name),)
        peers = tuple(
            Segment(label, SidKind.PEER, self.joint.links[row].id)
            for row in exits
            if (label := self.joint.links[row].adjacency_sid) is not None
        )
        told = self.list_split(headend, inside + peers, target)
        same = told is not None and np.array_equal(told[0], plain[0]) and np.allclose(told[1], plain[1])
        return inside + peers if same else None

    def toward(self, headend: int, next_hop: str, target: str) -> Split | None:
        """Return the IGP path to the next hop, and on from there as that router forwards plainly."""
        egress = self._router.get(next_hop)
        inside = None if egress is None else igp_of(self.joint).split(headend, egress)
        onward = None if egress is None else self._plain(egress, target)
        if inside is None or onward is None:
            return None
        return added([(inside, 1.0), (onward, 1.0)])

    def _plain(self, node: int, target: str) -> Split | None:
        if (node, target) not in self._legacy:
            self._legacy[node, target] = legacy_split(self.joint, self._peering, node, whole(target))
        return self._legacy[node, target]

    def _walk(self, source: int, labels: tuple[int, ...]) -> tuple[Split, int] | None:
        """Return where a label stack leads; None when it is empty or a label means nothing where it is looked up."""
        if (source, labels) not in self._walked:
            self._walked[source, labels] = self._follow(source, labels)
        return self._walked[source, labels]

    def _follow(self, source: int, labels: tuple[int, ...]) -> tuple[Split, int] | None:
        at = source
        parts: list[tuple[Split, float]] = []
        for label in labels:
            link = self._adjacency.get((at, label))
            if link is not None:
                parts.append(((np.array([link], dtype=np.int32), np.ones(1)), 1.0))
                at = int(self.joint.target[link])
                continue
            node = self._node_sids.get(label)
            split = None if node is None else igp_of(self.joint).split(at, node)
            if node is None or split is None:
                return None
            parts.append((split, 1.0))
            at = node
        return (added(parts), at) if parts else None


def added(parts: Sequence[tuple[Split, float]]) -> Split:
    """Return the sum of splits times factors, links ascending and each once."""
    share: dict[int, float] = {}
    for split, factor in parts:
        for link, part in zip(split[0].tolist(), split[1].tolist(), strict=True):
            share[link] = share.get(link, 0.0) + part * factor
    links = sorted(share)
    return np.array(links, dtype=np.int32), np.array([share[link] for link in links], dtype=np.float64)


def merged(parts: Sequence[tuple[Split, float]]) -> Split:
    """Return splits weighted by factors that need not sum to 1."""
    total = sum(factor for _, factor in parts)
    return added([(split, factor / total) for split, factor in parts])
