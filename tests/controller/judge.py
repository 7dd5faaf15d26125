"""Replays plans one router at a time, on what routers forward alone. Shares nothing with the planner.

A plan is what is read off a network: the rate of every path after each step. In a step every demand that changes is
one act of its head-end: what rises on its paths rises first, then the rest falls, since packets that were sent before
are still under way. Loads are kept path by path; after every change the links of that path are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numba import njit

ROUNDING = 1e-6  # of a link's capacity or a demand's rate


@dataclass(frozen=True)
class Network:
    """What stays as it is. Paths belong to demands, demands to classes (0 = highest) and head-ends."""

    capacity: np.ndarray  # (links,) Mbit/s
    background: np.ndarray  # (classes, links) Mbit/s
    paths: tuple[tuple[int, ...], ...]  # links of each path
    demand_of: np.ndarray  # (paths,)
    class_of: np.ndarray  # (demands,)
    headend_of: np.ndarray  # (demands,)

    @property
    def demands(self):
        return len(self.class_of)

    def incidence(self):
        """(links, paths) 1 where the path crosses the link."""
        crossed = np.zeros((len(self.capacity), len(self.paths)))
        for path, links in enumerate(self.paths):
            crossed[list(links), path] = 1.0
        return crossed


@dataclass(frozen=True)
class Verdict:
    """What went wrong."""

    overloads: int  # changes of a path's rate after which a link carried more than it may
    starved: int  # changes after which a demand had less than before and after the plan
    worst: float  # highest load / capacity that any link came to

    @property
    def clean(self):
        return not self.overloads and not self.starved


def replay(network, states, orders, seed, *, at_once=False):
    """Replay a plan in some random orders, and for each link in the order that is worst for it.

    states: (steps + 1, paths) Mbit/s, before the plan and after each step. at_once: all paths of a demand change at
    the same instant, and nothing is under way on the old ones.
    """
    start = np.concatenate([[0], np.cumsum([len(links) for links in network.paths])])
    links = np.array([link for path in network.paths for link in path], dtype=np.int64)
    first = np.searchsorted(network.demand_of, np.arange(network.demands + 1))
    overloads, starved, worst = _replay(
        network.capacity, network.background, start, links, first, network.class_of, network.headend_of,
        np.asarray(states, dtype=np.float64), orders, np.random.default_rng(seed), at_once,
    )  # fmt: skip
    return Verdict(overloads, starved, worst)


@njit(cache=True)
def _replay(capacity, background, start, links, first, class_of, headend_of, states, orders, draw, at_once):
    demands = len(class_of)
    overloads, starved, worst = 0, 0, 0.0
    floor = np.empty(demands)
    for demand in range(demands):
        ends = states[:, first[demand] : first[demand + 1]]
        floor[demand] = min(ends[0].sum(), ends[-1].sum())
    for step in range(len(states) - 1):
        before, after = states[step], states[step + 1]
        load = _load(background, start, links, first, class_of, before)
        limit = np.maximum(capacity, load) + ROUNDING * capacity
        for order in range(orders + len(capacity)):
            if order >= orders:
                turn = _worst_for(order - orders, start, links, first, before, after)
            else:
                turn = _by_router(headend_of, draw) if order % 2 else draw.permutation(demands)
            now = load.copy()
            for demand in turn:
                mine = range(first[demand], first[demand + 1])
                bad, peak = _change(now, limit, capacity, start, links, class_of[demand], mine, before, after, at_once)
                overloads += bad
                worst = max(worst, peak)
                starved += after[mine.start : mine.stop].sum() < floor[demand] - ROUNDING * max(floor[demand], 1.0)
    return overloads, starved, worst


@njit(cache=True)
def _change(load, limit, capacity, start, links, level, mine, before, after, at_once):
    """Bring one demand's paths to their new rates; return how many changes overloaded a link, and the worst of all.

    load: (classes, links), changed in place.
    """
    overloads, worst = 0, 0.0
    for falls in (at_once, not at_once):
        for path in mine:
            change = after[path] - before[path]
            if change == 0.0 or (change < 0.0) != falls:
                continue
            over = False
            for hop in range(start[path], start[path + 1]):
                link = links[hop]
                load[level:, link] += change
                over |= (load[level:, link] > limit[level:, link]).any()
                worst = max(worst, load[-1, link] / capacity[link])
            overloads += over
    return overloads, worst


@njit(cache=True)
def _load(background, start, links, first, class_of, rates):
    """(classes, links) Mbit/s of the traffic down to each class."""
    load = np.zeros_like(background)
    for level in range(len(background)):
        for above in range(level + 1):
            load[level] += background[above]
    for demand in range(len(class_of)):
        for path in range(first[demand], first[demand + 1]):
            for hop in range(start[path], start[path + 1]):
                for level in range(class_of[demand], len(background)):
                    load[level, links[hop]] += rates[path]
    return load


@njit(cache=True)
def _by_router(headend_of, draw):
    """Demands in random order, but all of one router in a row."""
    routers = draw.permutation(headend_of.max() + 1)
    turn = draw.permutation(len(headend_of))
    return turn[np.argsort(routers[headend_of[turn]], kind="mergesort")]


@njit(cache=True)
def _worst_for(link, start, links, first, before, after):
    """Demands in the order of how much they bring to a link at once: those that only take from it come last."""
    brings = np.zeros(len(first) - 1)
    for demand in range(len(brings)):
        rises, falls = 0.0, 0.0
        for path in range(first[demand], first[demand + 1]):
            for hop in range(start[path], start[path + 1]):
                if links[hop] == link:
                    rises += max(after[path] - before[path], 0.0)
                    falls += max(before[path] - after[path], 0.0)
        brings[demand] = rises - falls
    return np.argsort(-brings, kind="mergesort")


def every_mixture(network, states):
    """Return (steps,) the highest load / capacity over all mixtures, and whether none of them does harm.

    Each demand is on its old paths, on the new ones, or its packets are on both: 3 ** demands mixtures for each step.
    """
    crossed = network.incidence()
    level = network.class_of[network.demand_of]
    down_to = np.cumsum(network.background, axis=0)
    worst, safe = [], True
    for before, after in pairwise(np.asarray(states)):
        moving = np.unique(network.demand_of[before != after])
        choice = np.array(list(product((0, 1, 2), repeat=len(moving))), dtype=np.int64).reshape(-1, len(moving))
        column = np.full(network.demands, -1)
        column[moving] = np.arange(len(moving))
        picked = np.where(column[network.demand_of] >= 0, choice[:, column[network.demand_of]], 0)
        ways = np.stack([before, np.maximum(before, after), after])
        rates = ways[picked, np.arange(len(network.paths))]  # (mixtures, paths)
        for row in range(len(network.background)):
            seen = np.where(level <= row, 1.0, 0.0)
            load = down_to[row] + (rates * seen) @ crossed.T
            limit = np.maximum(network.capacity, down_to[row] + crossed @ (before * seen))
            safe &= bool((load <= limit + ROUNDING * network.capacity).all())
        worst.append(float((load / network.capacity).max()))
    return np.array(worst), safe
