"""What groups of demands send at prices of links, and how that changes with the prices. Compiled kernels.

At prices of links, x of a path is the sum along it. Instead of its cheapest path, a group pays the power mean
p = (sum of x ** -r) ** (-1 / r) of them all, which comes to the cheapest as r grows, is concave, and has the shares
s = (x / p) ** -(r + 1) as its gradient; and it takes what its members want at the level p ** (-1 / alpha).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neto.controller.compressed import longest_row
from neto.controller.flows import Floats, Ints
from neto.controller.groups import Groups
from neto.jit import compiled
from neto.model.topology import Mbps, Rows

Square = NDArray[np.float64]

_LEAST = 1e-290  # price of a path over links that cost nothing
_NO_SHARE = 1e-9  # a path with less bends nothing


class Bids(NamedTuple):
    """Groups as the kernels take them."""

    group_start: Ints
    path_start: Ints
    links: Rows
    member_start: Ints
    satisfied_at: Floats
    taken_below: Mbps
    weight_from: Floats
    capacity: Mbps


class Market(NamedTuple):
    """At which fairness groups bid, and how strictly they keep to their cheapest paths."""

    alpha: float
    power: float
    unit: float  # level that costs 1, Mbit/s


def bids_of(groups: Groups) -> Bids:
    """Return the arrays of the groups."""
    return Bids(
        groups.group_start,
        groups.path_start,
        groups.links,
        groups.member_start,
        groups.satisfied_at,
        groups.taken_below,
        groups.weight_from,
        groups.capacity_mbps,
    )


def answer(bids: Bids, price: Floats, market: Market) -> tuple[Floats, Square]:
    """(links,) load / capacity at these prices, and how fast that falls with each price's log, (links, links)."""
    load = np.zeros(len(price))
    curve = np.zeros((len(price), len(price)))
    _answer(bids, price, market, load, curve)
    return load / bids.capacity, curve * price[None, :] / bids.capacity[:, None]


@compiled
def flows_at(bids: Bids, price: Floats, market: Market) -> Mbps:
    """(paths,) Mbit/s that groups send at these prices, each all that it takes."""
    flow = np.empty(len(bids.path_start) - 1)
    most = longest_row(bids.group_start)
    cost = np.empty(most)
    share = np.empty(most)
    for group in range(len(bids.group_start) - 1):
        first, count = bids.group_start[group], bids.group_start[group + 1] - bids.group_start[group]
        paid = _pay(bids, first, count, price, market.power, cost, share)
        volume, _ = _wanted(bids, group, market.unit * paid ** (-1.0 / market.alpha))
        total = 0.0
        for path in range(count):
            total += share[path]
        for path in range(count):
            flow[first + path] = volume * share[path] / total
    return flow


@compiled
def _answer(bids: Bids, price: Floats, market: Market, load: Mbps, curve: Square) -> None:
    most = longest_row(bids.group_start)
    cost = np.empty(most)
    share = np.empty(most)
    gradient = np.zeros(len(price))
    crossed = np.empty(len(price), np.int64)
    for group in range(len(bids.group_start) - 1):
        first, count = bids.group_start[group], bids.group_start[group + 1] - bids.group_start[group]
        paid = _pay(bids, first, count, price, market.power, cost, share)
        level = market.unit * paid ** (-1.0 / market.alpha)
        volume, slope = _wanted(bids, group, level)
        apart = volume * (market.power + 1.0)
        crossings = 0
        for path in range(count):
            begin, end = bids.path_start[first + path], bids.path_start[first + path + 1]
            for hop in range(begin, end):
                link = bids.links[hop]
                load[link] += volume * share[path]
                if gradient[link] == 0.0:
                    crossed[crossings] = link
                    crossings += 1
                gradient[link] += max(share[path], _LEAST)
                if share[path] > _NO_SHARE:
                    bend = apart * share[path] / cost[path]
                    for onward in range(begin, end):
                        curve[link, bids.links[onward]] += bend
        _join(crossed[:crossings], slope * level / (market.alpha * paid) - apart / paid, gradient, curve)


@compiled
def _join(crossed: Ints, along: float, gradient: Floats, curve: Square) -> None:
    """Add what the group's links do to each other through what it pays, and clear the gradient."""
    for link in crossed:
        slant = along * gradient[link]
        for other in crossed:
            curve[link, other] += slant * gradient[other]
    for link in crossed:
        gradient[link] = 0.0


@compiled
def _pay(bids: Bids, first: int, count: int, price: Floats, power: float, cost: Floats, share: Floats) -> float:
    """Write cost and share of each of a group's paths; return what the group pays for a unit."""
    low = np.inf
    for path in range(count):
        cost[path] = _LEAST
        for hop in range(bids.path_start[first + path], bids.path_start[first + path + 1]):
            cost[path] += price[bids.links[hop]]
        low = min(low, cost[path])
    total = 0.0
    for path in range(count):
        share[path] = (cost[path] / low) ** (-power)
        total += share[path]
    paid = float(low * total ** (-1.0 / power))
    for path in range(count):
        share[path] *= paid / (total * cost[path])
    return paid


@compiled
def _wanted(bids: Bids, group: int, level: float) -> tuple[float, float]:
    """Return what a group takes at a level, and how fast that grows with the level."""
    low, high = bids.member_start[group], bids.member_start[group + 1]
    while low < high:  # first member that is not satisfied at this level
        middle = (low + high) // 2
        if bids.satisfied_at[middle] <= level:
            low = middle + 1
        else:
            high = middle
    slope = bids.weight_from[low + group]
    volume = bids.taken_below[low + group]
    return (volume + slope * level if slope > 0 else volume), slope
