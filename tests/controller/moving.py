"""Random networks whose demands move, at any slack, with any number of classes: problems for the planner."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from neto.controller.shifts import Shift, Strand
from neto.controller.transition import plan_transition
from tests.controller.judge import Network


@dataclass(frozen=True)
class Case:
    """Paths in a network, and their rates before and after."""

    network: Network
    before: np.ndarray  # (paths,) Mbit/s
    after: np.ndarray  # (paths,) Mbit/s

    def shifts(self):
        first = np.searchsorted(self.network.demand_of, np.arange(self.network.demands + 1))
        return [
            Shift(
                str(demand),
                tuple(
                    Strand(
                        np.array(self.network.paths[path], dtype=np.int32),
                        np.ones(len(self.network.paths[path])),
                        float(self.before[path]),
                        float(self.after[path]),
                        int(self.network.class_of[demand]),
                    )
                    for path in range(first[demand], first[demand + 1])
                ),
            )
            for demand in range(self.network.demands)
        ]

    def plan(self, **options):
        return plan_transition(self.shifts(), self.network.background, self.network.capacity, **options)

    def states(self, planned):
        """(steps + 1, paths) Mbit/s, read off the steps of a plan."""
        first = np.searchsorted(self.network.demand_of, np.arange(self.network.demands + 1))
        states = [self.before]
        for step in planned.steps:
            rates = states[-1].copy()
            for demand, mine in step.rates_mbps.items():
                rates[first[demand] : first[demand + 1]] = mine
            states.append(rates)
        return np.array(states)


def moving(seed, *, demands=(6, 18), nodes=(5, 9), slack=None, classes=None):
    """Return a case; the same seed gives the same one."""
    rng = random.Random(seed)
    size = rng.randint(*nodes)
    links = _links(rng, size)
    capacity = np.array([rng.choice((100.0, 100.0, 200.0, 400.0)) for _ in links])
    leaving = {node: [row for row, (source, _) in enumerate(links) if source == node] for node in range(size)}
    paths, demand_of, headend_of = [], [], []
    before, after = [], []
    for demand in range(rng.randint(*demands)):
        source, target = rng.sample(range(size), 2)
        ways = sorted({_walk(rng, links, leaving, source, target) for _ in range(rng.randint(2, 5))})
        paths += ways
        demand_of += [demand] * len(ways)
        headend_of.append(source)
        rate = rng.lognormvariate(0, 1)
        grown = rate * rng.choice((1.0, 1.0, rng.uniform(0.5, 2.0)))
        before += list(rate * _split(rng, len(ways)))
        after += list(grown * _split(rng, len(ways))) if rng.random() < 0.8 else before[-len(ways) :]
    count = classes or rng.choice((1, 1, 2, 3))
    class_of = np.array([rng.randrange(count) for _ in headend_of])
    legacy = rng.choice((0.0, 0.0, 0.3))
    background = np.array([[rng.random() * legacy * limit / count for limit in capacity] for _ in range(count)])
    network = Network(capacity, background, tuple(paths), np.array(demand_of), class_of, np.array(headend_of))
    left = slack if slack is not None else rng.choice((0.0, 0.02, 0.05, 0.1, 0.2))
    ends = np.array([before, after])
    used = (ends @ network.incidence().T) / (capacity - background.sum(axis=0))
    scale = np.maximum(used.max(axis=1), 1e-9)
    ends *= (1 - left) / (scale.max() if rng.random() < 0.5 else scale[:, None])
    if rng.random() < 0.1:
        ends[0] *= 1.3  # overloaded before anything moves
    return Case(network, ends[0], ends[1])


def _links(rng, size):
    pairs = [(node, (node + 1) % size) for node in range(size)]
    pairs += [(a, b) for a in range(size) for b in range(a + 2, size) if rng.random() < 0.3 and (a, b) != (0, size - 1)]
    return [way for a, b in pairs for way in ((a, b), (b, a))]


def _walk(rng, links, leaving, source, target):
    """Return a random path without loops, as link rows."""
    while True:
        at, seen, path = source, {source}, []
        while at != target:
            onward = [link for link in leaving[at] if links[link][1] not in seen]
            if not onward:
                break
            path.append(rng.choice(onward))
            at = links[path[-1]][1]
            seen.add(at)
        if at == target:
            return tuple(path)


def _split(rng, count):
    """Return shares that sum to 1; often all on one path."""
    shares = np.array([rng.choice((0.0, 0.0, 1.0, rng.random())) for _ in range(count)])
    shares[rng.randrange(count)] += 0.5
    return shares / shares.sum()
