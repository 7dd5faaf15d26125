"""The fluid model: where traffic goes, by what the routers have really been told and by nothing else.

A head-end looks its packet's prefix up. The daemon's route (the highest local preference there is) leads to its next
hop: along the weighted, valid segment lists of the policy that its colour names, or along the IGP where that policy
is missing or broken. Without such a route the router does what routers do: IGP to the router that originates the
prefix, or to the nearest border that has an exit for it. Equal-cost paths share equally at every hop.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from neto.lab.scenario import Cable, Router, Scenario
from neto.lab.state import LabPolicy, LabRoute, RouterState

Shares = dict[str, float]  # link name -> share of the traffic


@dataclass(slots=True)
class Way:
    """How traffic spreads: share per link, the worst delay of any part of it, and the share that arrives nowhere."""

    shares: Shares = field(default_factory=dict)
    delay_us: float = 0.0
    lost: float = 0.0
    steered: bool = False  # by a policy of the daemon's

    def then(self, onward: Way) -> Way:
        """Go on with all of it."""
        merged = dict(self.shares)
        for link, share in onward.shares.items():
            merged[link] = merged.get(link, 0.0) + share * (1 - self.lost)
        lost = self.lost + onward.lost * (1 - self.lost)
        return Way(merged, self.delay_us + onward.delay_us, lost, self.steered)


LOST = Way(lost=1.0)


class Forwarding:
    """The routers' view of the network while it does not change: links up as the IGP knows them."""

    def __init__(self, scenario: Scenario, up: frozenset[str]) -> None:
        self._scenario = scenario
        self._up = up
        self._by_node_label = {router.node_label: router.name for router in scenario.routers}
        self._by_local_label = {(cable.source, cable.label): cable for cable in scenario.cables}
        self._by_loopback = {router.loopback: router.name for router in scenario.routers}
        self._cable = {cable.name: cable for cable in scenario.cables}
        self._home = {prefix: router.name for router in scenario.routers for prefix in router.prefixes}
        self._group = {prefix: group for group, prefixes in scenario.groups.items() for prefix in prefixes}
        self._into: dict[str, list[Cable]] = defaultdict(list)
        self._from: dict[str, list[Cable]] = defaultdict(list)
        for cable in scenario.cables:
            if cable.name in up and cable.target:
                self._into[cable.target].append(cable)
                self._from[cable.source].append(cable)
        self._distances: dict[str, Mapping[str, int]] = {}
        self._ways: dict[tuple[str, str], Way | None] = {}

    def way(self, state: RouterState, prefix: IPv4Network, dscp: int) -> Way:
        """Return how a router sends traffic to a prefix of the scenario."""
        route = self._route(state, prefix)
        if route is None:
            return self._legacy(state.name, prefix)
        egress = self._by_loopback[route.next_hop]
        policy = self._policy(state, route, dscp)
        if policy is not None:
            lists = [(labels, weight) for labels, weight in policy.segment_lists if self.valid(state.name, labels)]
            total = sum(weight for _, weight in lists)
            if total:
                return self._spread([(self._stack(state.name, labels, prefix), w / total) for labels, w in lists])
        return self._between(state.name, egress).then(self._legacy(egress, prefix))

    def valid(self, headend: str, labels: tuple[int, ...]) -> bool:
        """Tell whether a head-end takes a label stack for usable: every label leads somewhere, as the IGP knows."""
        return self._walk(headend, labels) is not None

    def _route(self, state: RouterState, prefix: IPv4Network) -> LabRoute | None:
        """Return the longest route of the daemon's whose next hop can be reached."""
        best: LabRoute | None = None
        for known, route in state.routes.items():
            if prefix.subnet_of(known) and (best is None or known.prefixlen > best.prefix.prefixlen):
                egress = self._by_loopback.get(route.next_hop)
                if egress is not None and self._path(state.name, egress) is not None:
                    best = route
        return best

    @staticmethod
    def _policy(state: RouterState, route: LabRoute, dscp: int) -> LabPolicy | None:
        """Return the policy that a route's colour names, through the mapping of code points if it has one."""
        if route.colour is None:
            return None
        policy = state.policies.get((route.colour, route.next_hop))
        if policy is None or not policy.per_flow:
            return policy
        colours = dict(policy.per_flow)
        colour = colours.get(dscp, colours.get(-1))
        return None if colour is None else state.policies.get((colour, route.next_hop))

    @staticmethod
    def _spread(parts: list[tuple[Way, float]]) -> Way:
        spread = Way(steered=True)
        for way, weight in parts:
            for link, share in way.shares.items():
                spread.shares[link] = spread.shares.get(link, 0.0) + share * weight
            spread.lost += way.lost * weight
            spread.delay_us = max(spread.delay_us, way.delay_us)
        return spread

    def _stack(self, headend: str, labels: tuple[int, ...], prefix: IPv4Network) -> Way:
        """Follow a label stack, and then whatever the router at its end does with the bare packet."""
        walked = self._walk(headend, labels)
        if walked is None:
            return LOST
        way, end, way_out = walked
        if way_out is None:
            return way.then(self._legacy(end, prefix))
        delay_us = dict(self._scenario.exits.get(self._group.get(prefix, ""), ())).get(way_out)
        return way.then(LOST if delay_us is None else Way(delay_us=delay_us))  # that ISP does not carry it

    def _walk(self, headend: str, labels: tuple[int, ...]) -> tuple[Way, str, str | None] | None:
        """Follow labels from a router; return the way, where it ends, and the peering link that it left through."""
        way, here = Way(), headend
        for place, label in enumerate(labels):
            node = self._by_node_label.get(label)
            if node is not None:
                part = self._path(here, node)
                if part is None:
                    return None
                way, here = way.then(part), node
                continue
            cable = self._by_local_label.get((here, label))
            if cable is None or cable.name not in self._up:
                return None
            way = way.then(Way({cable.name: 1.0}, cable.delay_us))
            if not cable.target:
                return (way, here, cable.name) if place == len(labels) - 1 else None
            here = cable.target
        return way, here, None

    def _legacy(self, router: str, prefix: IPv4Network) -> Way:
        """Forward as a router does without us."""
        home = self._home.get(prefix)
        if home is not None:
            return self._between(router, home)
        found: tuple[int, str, float] | None = None
        for name, delay_us in self._scenario.exits.get(self._group.get(prefix, ""), ()):
            border = self._cable[name].source
            metric = 0 if border == router else self._distance(border).get(router)
            if name in self._up and metric is not None and (found is None or metric < found[0]):
                found = (metric, name, delay_us)
        if found is None:
            return LOST
        _, name, delay_us = found
        return self._between(router, self._cable[name].source).then(Way({name: 1.0}, delay_us))

    def _between(self, source: str, target: str) -> Way:
        return self._path(source, target) or LOST

    def _path(self, source: str, target: str) -> Way | None:
        """Return the IGP's way between two routers; None when there is none."""
        key = (source, target)
        if key not in self._ways:
            self._ways[key] = self._igp(source, target)
        return self._ways[key]

    def _igp(self, source: str, target: str) -> Way | None:
        distance = self._distance(target)
        if source not in distance:
            return None
        arriving: dict[str, float] = defaultdict(float, {source: 1.0})
        delay_us: dict[str, float] = defaultdict(float)
        way = Way()
        for here in sorted((node for node in distance), key=lambda node: -distance[node]):
            if here == target or not arriving[here]:
                continue
            onward = [c for c in self._from[here] if distance.get(c.target, 1 << 60) + c.metric == distance[here]]
            for cable in onward:
                share = arriving[here] / len(onward)
                way.shares[cable.name] = share
                arriving[cable.target] += share
                delay_us[cable.target] = max(delay_us[cable.target], delay_us[here] + cable.delay_us)
        way.delay_us = delay_us[target]
        return way

    def _distance(self, target: str) -> Mapping[str, int]:
        """Return the IGP metric from every router that can reach `target`."""
        if target not in self._distances:
            found: dict[str, int] = {}
            queue = [(0, target)]
            while queue:
                metric, node = heapq.heappop(queue)
                if node in found:
                    continue
                found[node] = metric
                for cable in self._into[node]:
                    heapq.heappush(queue, (metric + cable.metric, cable.source))
            self._distances[target] = found
        return self._distances[target]


def router_states(routers: tuple[Router, ...]) -> dict[str, RouterState]:
    """Return routers that have been told nothing."""
    return {router.name: RouterState(router.name, router.loopback) for router in routers}
