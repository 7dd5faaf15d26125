"""A WAN with ISPs: sites and destinations lie on a plane, and what is near on it is quick to reach."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, replace

import numpy as np

from neto.controller.paths import candidate_paths
from neto.controller.peering import join
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from neto.model.peering import Egress, Isp, Peering, PeeringLink, PrefixGroup
from neto.model.topology import Link, Node, Topology

CLASSES = (TrafficClass("gold"), TrafficClass("silver"), TrafficClass("bronze"))
_SHARE = (0.2, 0.3, 0.5)  # of the traffic, by class
_US_PER_UNIT = 20_000.0  # one way across the plane


@dataclass(frozen=True, eq=False)
class Instance:
    """The joint problem."""

    joint: Topology
    peering: Peering
    demands: tuple[Demand, ...]

    def paths(self, k):
        return candidate_paths(self.joint, self.demands, CLASSES, self.peering.egresses, k)

    @property
    def rate(self):
        return np.array([demand.rate_mbps for demand in self.demands])


def instance(*, sites=60, links=40, groups=10_000, sources=3, exits=4, load=0.9, thin=0.5, seed=1):
    """Make a seeded instance.

    sources: sites that have traffic toward each group, in every class. exits: peering links of each group, about.
    load: total demand over what the peering links can take together. Links are made for half to twice of what shortest
    paths alone would put on them, so neither the WAN nor the exits decide alone; thin: instead of half, in the WAN.
    """
    chance = random.Random(seed)
    at = [(chance.random(), chance.random()) for _ in range(sites)]
    wan = _wan(at)
    borders = sorted(chance.sample(range(sites), max(2, sites // 4)))
    isps = tuple(Isp(f"isp{number}", 64500 + number) for number in range(max(2, links // 5)))
    detour = {isp.name: chance.uniform(1.0, 1.5) for isp in isps}
    ends = [(borders[n % len(borders)], isps[n * 7 % len(isps)].name) for n in range(links)]
    made, egresses, demands = [], [], []
    for number in range(groups):
        name = f"g{number}"
        made.append(PrefixGroup(name, ()))
        place = (chance.random(), chance.random())
        for link in sorted(chance.sample(range(links), min(links, chance.randint(2, 2 * exits - 2)))):
            border, isp = ends[link]
            delay = math.dist(at[border], place) * _US_PER_UNIT * detour[isp] * chance.uniform(1.0, 1.2)
            egresses.append(Egress(name, f"l{link}", delay))
        volume = chance.paretovariate(1.2)
        for site in chance.sample(range(sites), sources):
            for each, share in zip(CLASSES, _SHARE, strict=True):
                demands.append(Demand(f"{name}/{site}/{each.name}", each.name, f"s{site}", name, volume * share))
    peering = Peering(
        isps=isps,
        links=tuple(PeeringLink(f"l{n}", f"s{border}", isp, 1.0) for n, (border, isp) in enumerate(ends)),
        groups=tuple(made),
        egresses=tuple(egresses),
    )
    return _sized(wan, peering, tuple(demands), load, thin, chance)


def _wan(at):
    """Each site with its three nearest ones, and a tree that joins them all; capacities come later."""
    near = {
        (min(a, b), max(a, b))
        for a in range(len(at))
        for b in heapq.nsmallest(4, range(len(at)), key=lambda other: math.dist(at[a], at[other]))
        if a != b
    }
    joined = {0}
    while len(joined) < len(at):
        a, b = min(
            ((a, b) for a in joined for b in range(len(at)) if b not in joined),
            key=lambda e: math.dist(at[e[0]], at[e[1]]),
        )
        joined.add(b)
        near.add((min(a, b), max(a, b)))
    links = []
    for a, b in sorted(near):
        delay = max(50.0, math.dist(at[a], at[b]) * _US_PER_UNIT)
        for source, target in ((a, b), (b, a)):
            links.append(
                Link(f"s{source}-s{target}", f"s{source}", f"s{target}", 1.0, igp_metric=int(delay), delay_us=delay)
            )
    return Topology(tuple(Node(f"s{site}") for site in range(len(at))), tuple(links))


def _sized(wan, peering, demands, load, thin, chance):
    """Give every link half (thin) to twice of what shortest paths put on it, at least a twentieth of the most."""
    joint = join(wan, peering)
    paths = candidate_paths(joint, demands, CLASSES, peering.egresses, 1)
    rate = np.array([demand.rate_mbps for demand in demands])
    shortest = paths.loads(rate[paths.demand_of], len(joint.links))
    inside = len(wan.links)
    factor = [chance.uniform(thin if row < inside else 0.5, 2.0) for row in range(len(shortest))]
    capacity = np.array(factor) * shortest
    capacity[:inside] = np.maximum(capacity[:inside], 0.05 * capacity[:inside].max())
    capacity[inside:] = np.maximum(capacity[inside:], 0.05 * capacity[inside:].max())
    capacity[inside:] *= rate.sum() / load / capacity[inside:].sum()
    links = zip(wan.links, capacity[:inside].tolist(), strict=True)
    exits = zip(peering.links, capacity[inside:].tolist(), strict=True)
    wan = Topology(wan.nodes, tuple(replace(link, capacity_mbps=mbps) for link, mbps in links))
    peering = replace(peering, links=tuple(replace(link, capacity_mbps=mbps) for link, mbps in exits))
    return Instance(join(wan, peering), peering, demands)
