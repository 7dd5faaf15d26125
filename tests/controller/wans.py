"""Random small WANs with everything a cycle needs, and a judge that forwards packets by what routers have been told."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from ipaddress import IPv4Network

import networkx as nx

from neto.model.demand import DemandMatrix, PrefixDemand
from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Egress, Isp, Peering, PeeringLink, PrefixGroup
from neto.model.plan import Move
from neto.model.snapshot import Snapshot
from neto.model.sr import ForwardingState, PolicyKey, RouteKey, SrPolicy
from neto.model.topology import Topology
from tests.controller.graphs import both_ways, forward_labels, igp_graph, igp_split, topology

CLASSES = (
    TrafficClass("gold", frozenset({46, 40}), max_stretch=4.0),
    TrafficClass("silver", frozenset({18})),
    TrafficClass("bronze"),
)
DSCP = {"gold": 40, "silver": 18, "bronze": 0}


def snapshot(
    rng: random.Random, *, nodes: int = 6, busiest: float = 0.8, portion: float = 1.0, prefixes: int = 2
) -> Snapshot:
    """A WAN whose busiest link would carry `busiest` of its capacity if all went by the shortest path."""
    names = [f"r{row}" for row in range(nodes)]
    ring = [(names[row], names[(row + 1) % nodes], rng.randint(1, 4)) for row in range(nodes)]
    chords = [pair for pair in [(a, b) for a in names for b in names if a < b] if rng.random() < 0.25]
    known = {frozenset(link[:2]) for link in ring}
    links = ring + [(a, b, rng.randint(1, 4)) for a, b in chords if frozenset((a, b)) not in known]
    wan = topology(both_ways(links), capacity_mbps=1000.0)
    routers = tuple(
        Router(
            name,
            "site",
            f"10.0.0.{row + 1}",
            "lab",
            "127.0.0.1",
            prefixes=tuple(IPv4Network(f"10.{row + 1}.{part}.0/24") for part in range(prefixes)),
        )
        for row, name in enumerate(names)
    )
    wan = Topology(
        tuple(
            replace(node, router_id=f"10.0.0.{names.index(node.name) + 1}", node_sid=16001 + names.index(node.name))
            for node in wan.nodes
        ),
        wan.links,
    )
    borders = rng.sample(names, 3)
    groups = tuple(
        PrefixGroup(
            f"group{row}", tuple(IPv4Network(f"192.0.{prefixes * row + part}.0/24") for part in range(prefixes))
        )
        for row in range(2)
    )
    peering = Peering(
        isps=(Isp("isp-a", 64500), Isp("isp-b", 64501)),
        links=tuple(
            PeeringLink(
                f"exit{row}",
                border,
                "isp-a" if row % 2 else "isp-b",
                600.0,
                peer_adjacency_sid=25000 + row if rng.random() < 0.9 else None,
            )
            for row, border in enumerate([*borders, borders[0]])
        ),
        groups=groups,
        egresses=tuple(
            Egress(group.name, f"exit{row}", float(rng.randint(1, 9)) * 1000)
            for group in groups
            for row in rng.sample(range(4), rng.randint(2, 4))
        ),
    )
    plain = Snapshot(
        wan,
        DemandMatrix(0.0, 30.0, ()),
        Inventory((Site("site", "region"),), routers),
        peering,
        Intents(CLASSES),
        ForwardingState(),
        portion,
    )
    return with_demand(plain, rng, busiest)


def with_demand(plain: Snapshot, rng: random.Random, busiest: float) -> Snapshot:
    """The same network with other demand."""
    rates = []
    for router in plain.inventory.routers:
        for target, prefixes in (
            *((other.name, other.prefixes) for other in plain.inventory.routers if other != router),
            *((group.name, group.prefixes) for group in plain.peering.groups),
        ):
            for prefix in prefixes:
                rates += [
                    PrefixDemand(router.name, target, each.name, prefix, rng.lognormvariate(0.0, 1.0))
                    for each in rng.sample(plain.intents.classes, rng.randint(0, 3))
                ]
    load = judged(replace(plain, running=ForwardingState(), demand=DemandMatrix(0.0, 30.0, tuple(rates))))
    capacity = capacities(plain)
    worst = max(sum(each.values()) / capacity[link] for link, each in load.items())
    factor = busiest / worst
    scaled = tuple(replace(row, rate_mbps=row.rate_mbps * factor) for row in rates)
    return replace(plain, demand=DemandMatrix(0.0, 30.0, scaled))


def capacities(now: Snapshot) -> dict[str, float]:
    return {link.id: link.capacity_mbps for link in now.topology.links} | {
        link.name: link.capacity_mbps for link in now.peering.links
    }


class Judge:
    """Forwards by labels, routes and policies alone, in fractions. Shares nothing with the code under test."""

    def __init__(self, now: Snapshot) -> None:
        self.now = now
        self.address = {router.router_id: router.name for router in now.inventory.routers}
        self.distance = dict(nx.all_pairs_dijkstra_path_length(igp_graph(now.topology)))
        self.peers = {
            (link.node, link.peer_adjacency_sid): link.name
            for link in now.peering.links
            if link.peer_adjacency_sid is not None
        }
        self.plain_memory: dict[tuple[str, str], Mapping[str, Fraction] | None] = {}
        self.spread_memory: dict[tuple[str, str, str, SrPolicy | None], Mapping[str, Fraction] | None] = {}
        self.float_memory: dict[int, list[tuple[str, float]]] = {}
        self.list_memory: dict[tuple[str, str, tuple[int, ...]], Mapping[str, Fraction] | None] = {}

    def plain(self, router: str, target: str) -> Mapping[str, Fraction] | None:
        if (router, target) not in self.plain_memory:
            self.plain_memory[router, target] = self._plain(router, target)
        return self.plain_memory[router, target]

    def _plain(self, router: str, target: str) -> Mapping[str, Fraction] | None:
        if target in self.now.inventory.router:
            return igp_split(self.now.topology, router, target) if router in self.distance else None
        node = {link.name: link.node for link in self.now.peering.links}
        exits = [each.peering_link for each in self.now.peering.egresses if each.prefix_group == target]
        near = [
            (self.distance[router][node[name]], row)
            for row, name in enumerate(exits)
            if node[name] in self.distance.get(router, {})
        ]
        if not near:
            return None
        name = exits[min(near)[1]]
        return {**(igp_split(self.now.topology, router, node[name]) or {}), name: Fraction(1)}

    def follow(self, headend: str, target: str, labels: tuple[int, ...]) -> Mapping[str, Fraction] | None:
        key = (headend, target, labels)
        if key not in self.list_memory:
            self.list_memory[key] = self._follow(*key)
        return self.list_memory[key]

    def _follow(self, headend: str, target: str, labels: tuple[int, ...]) -> Mapping[str, Fraction] | None:
        if not labels:
            return None
        for inside in (len(labels) - 1, len(labels)):
            sent = forward_labels(self.now.topology, headend, labels[:inside])
            if sent is None:
                continue
            shares, end = sent
            if inside == len(labels):
                return plus(shares, self.plain(end, target))
            if (end, labels[-1]) in self.peers:
                return plus(shares, {self.peers[end, labels[-1]]: Fraction(1)})
        return None

    def spread(self, state: ForwardingState, row: PrefixDemand) -> Mapping[str, Fraction] | None:
        route = state.routes.get(RouteKey(row.source, row.prefix))
        egress = self.address.get(route.next_hop) if route else None
        if route is None or egress is None or egress not in self.distance.get(row.source, {}):
            return self.plain(row.source, row.target)
        policy = state.policies.get(PolicyKey(row.source, route.colour, route.next_hop))
        if policy is not None and policy.per_flow:
            table = dict(policy.per_flow)
            colour = table.get(DSCP[row.traffic_class], table[-1])
            policy = state.policies.get(PolicyKey(row.source, colour, route.next_hop))
        key = (row.source, row.target, egress, policy)
        if key not in self.spread_memory:
            self.spread_memory[key] = self._spread(*key)
        return self.spread_memory[key]

    def _spread(self, headend: str, target: str, egress: str, policy: SrPolicy | None) -> Mapping[str, Fraction] | None:
        ways = [
            (way, one.weight)
            for one in (policy.segment_lists if policy else ())
            if (way := self.follow(headend, target, tuple(each.label for each in one.segments))) is not None
        ]
        if not ways:
            return plus(igp_split(self.now.topology, headend, egress) or {}, self.plain(egress, target))
        total = sum(weight for _, weight in ways)
        spread: dict[str, Fraction] = {}
        for way, weight in ways:
            for link, share in way.items():
                spread[link] = spread.get(link, Fraction(0)) + share * Fraction(weight, total)
        return spread

    def loads(self, state: ForwardingState) -> dict[str, dict[str, float]]:
        """Mbit/s by link and class."""
        loads: dict[str, dict[str, float]] = {}
        for row in self.now.demand.rates:
            spread = self.spread(state, row)
            if spread is None:
                continue
            if id(spread) not in self.float_memory:
                self.float_memory[id(spread)] = [(link, float(share)) for link, share in spread.items()]
            for link, share in self.float_memory[id(spread)]:
                on_link = loads.setdefault(link, {})
                on_link[row.traffic_class] = on_link.get(row.traffic_class, 0.0) + share * row.rate_mbps
        return loads


def plus(one: Mapping[str, Fraction], other: Mapping[str, Fraction] | None) -> Mapping[str, Fraction] | None:
    if other is None:
        return None
    return {link: one.get(link, Fraction(0)) + other.get(link, Fraction(0)) for link in {*one, *other}}


def judged(now: Snapshot) -> dict[str, dict[str, float]]:
    return Judge(now).loads(now.running)


def moved(state: ForwardingState, moves: Sequence[Move]) -> ForwardingState:
    """Carry moves out on the routers."""
    policies: dict[PolicyKey, SrPolicy] = dict(state.policies)
    routes = dict(state.routes)
    for move in moves:
        if isinstance(move.key, RouteKey):
            routes[move.key] = move.route
        else:
            policies[move.key] = move.policy
    return ForwardingState(
        {key: policy for key, policy in policies.items() if policy is not None},
        {key: route for key, route in routes.items() if route is not None},
    )
