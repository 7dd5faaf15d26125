"""Prices of contended links, at which demand and capacity meet: how each group should split over its paths.

Alpha-fair allocation (Mo and Walrand, IEEE/ACM ToN 2000) maximises the sum of utilities U(rate) with
U'(rate) = level ** -alpha, level = rate / weight, within capacity. Its dual has one price y per link, and at given
prices every group answers on its own: the price p of a group is that of its cheapest path, its level is
p ** (-1 / alpha), and what its members take at that level is its volume. The larger alpha, the closer to max-min
fairness.

At the optimum every link with a price is full. So: raise the price of a link where the answer overloads it, lower it
where there is room, in proportion to log(load / capacity) and over-relaxed, as one scales rows and columns of a
matrix (Sinkhorn). Two things make this settle in some tens of rounds. Groups do not jump to the cheapest path but
share among their paths by price ** (-1 / soft), and `soft` shrinks in stages. And prices carry over from one alpha to
the next by y ** (alpha' / alpha), since at a single bottleneck y = level ** -alpha.

A round costs a pass over the paths of the groups; demands do not appear. For max-min fairness only the splits are
used: `waterfill` turns them into rates that are fair and within capacity whatever the prices are worth. Where a class
asks for a finite alpha, the answer at the prices is the allocation, but for trimming.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neto.controller.flows import Floats, Ints
from neto.controller.groups import Groups
from neto.controller.jit import compiled
from neto.model.topology import Mbps, Rows

_RELAX = 1.9  # over-relaxation; at 2 and above prices swing
_FLOOR = 1e-3  # a link's price is at least this share of the least price that a path over it pays, to come back soon
_BOUND = 1e150  # prices stay within 1 / _BOUND.._BOUND
_STAGES = (  # alpha, soft, most rounds, tolerance
    (1.0, 0.5, 20, 0.05),
    (2.0, 0.2, 20, 0.05),
    (4.0, 0.1, 40, 0.02),
    (4.0, 0.05, 40, 0.01),
)
_FINE = ((4.0, 0.02, 200, 0.01),)  # once more where a round costs little
_CHEAP = 50_000  # hops of all groups' paths up to which it does
_SETTLED = ((math.inf, 0.05, 100, 0.005), (math.inf, 0.03, 200, 0.002))  # where the prices themselves are the answer


class _Arrays(NamedTuple):
    """Groups as kernels take them."""

    group_start: Ints
    path_start: Ints
    links: Rows
    member_start: Ints
    satisfied_at: Floats
    taken_below: Mbps
    weight_from: Floats
    capacity: Mbps


def price_splits(groups: Groups) -> Floats:
    """(paths,) share of its group's volume that each path should carry, nearly max-min fair."""
    flow = _priced(groups, (*_STAGES, *_FINE) if len(groups.links) <= _CHEAP else _STAGES, math.inf)
    return flow / groups.sums(flow)[groups.group_of]


def alpha_fair(groups: Groups, alpha: float) -> Mbps:
    """(paths,) Mbit/s, nearly alpha-fair, and nearly within capacity; 0 < alpha <= 4, beyond prices do not settle."""
    return _priced(groups, (*_STAGES[:-1], *_SETTLED), alpha)


def _priced(groups: Groups, stages: Sequence[tuple[float, float, int, float]], most_alpha: float) -> Mbps:
    """(paths,) Mbit/s where the prices stand after these stages, with alpha capped."""
    arrays = _Arrays(
        groups.group_start,
        groups.path_start,
        groups.links,
        groups.member_start,
        groups.satisfied_at,
        groups.taken_below,
        groups.weight_from,
        groups.capacity_mbps,
    )
    unit = float(np.median(groups.satisfied_at))  # the level whose price is 1
    price = np.ones(len(groups.capacity_mbps))
    flow = np.empty(len(groups.group_of))
    before = 1.0
    for stage_alpha, soft, most_rounds, tolerance in stages:
        alpha = min(stage_alpha, most_alpha)
        price = np.clip(np.exp(np.log(price) * (alpha / before)), 1 / _BOUND, _BOUND)
        before = alpha
        _settle_prices(arrays, price, alpha, soft, unit, most_rounds, tolerance, flow)
    return flow


@compiled
def _settle_prices(
    arrays: _Arrays,
    price: Floats,
    alpha: float,
    soft: float,
    unit: float,
    most_rounds: int,
    tolerance: float,
    flow: Mbps,
) -> int:
    """Move the prices until loads fit them; return the rounds it took. Writes price (links,) and flow (paths,)."""
    links = len(price)
    load = np.empty(links)
    cheapest = np.empty(links)
    step = _RELAX / (1.0 / alpha + 1.0 / soft)  # a link's load answers its price with at most this elasticity
    for rounds in range(most_rounds):
        _answer(arrays, price, alpha, soft, unit, flow, load, cheapest)
        worst = 0.0
        paid = 0.0
        off = 0.0
        for link in range(links):
            full = load[link] / arrays.capacity[link]
            worst = max(worst, full)
            paid += price[link] * arrays.capacity[link]
            off += price[link] * arrays.capacity[link] * abs(full - 1.0)
            moved = price[link] * min(max(full, 0.2), 5.0) ** step
            price[link] = min(max(moved, _FLOOR * min(cheapest[link], _BOUND), 1 / _BOUND), _BOUND)
        if worst < 1.0 + tolerance and off < tolerance * paid:
            return rounds + 1
    return most_rounds


@compiled
def _answer(
    arrays: _Arrays, price: Floats, alpha: float, soft: float, unit: float, flow: Mbps, load: Mbps, cheapest: Floats
) -> None:
    """What groups send at these prices: flow (paths,), load (links,), and the least path price over each link."""
    load[:] = 0.0
    cheapest[:] = np.inf
    for group in range(len(arrays.group_start) - 1):
        first, last = arrays.group_start[group], arrays.group_start[group + 1]
        low = np.inf
        for path in range(first, last):
            along = 0.0
            for hop in range(arrays.path_start[path], arrays.path_start[path + 1]):
                along += price[arrays.links[hop]]
            flow[path] = along
            low = min(low, along)
        shares = 0.0
        for path in range(first, last):
            if flow[path] > low:
                flow[path] = np.exp(np.log(low / flow[path]) / soft)
            else:
                flow[path] = 1.0
            shares += flow[path]
        scale = _volume(arrays, group, unit * low ** (-1.0 / alpha)) / shares
        for path in range(first, last):
            flow[path] *= scale
            for hop in range(arrays.path_start[path], arrays.path_start[path + 1]):
                load[arrays.links[hop]] += flow[path]
                cheapest[arrays.links[hop]] = min(cheapest[arrays.links[hop]], low)


@compiled
def _volume(arrays: _Arrays, group: int, level: float) -> float:
    """What the group takes at this level."""
    low, high = arrays.member_start[group], arrays.member_start[group + 1]
    if arrays.satisfied_at[high - 1] <= level:
        return float(arrays.taken_below[high + group])
    while low < high:  # first member that is not satisfied at this level
        middle = (low + high) // 2
        if arrays.satisfied_at[middle] <= level:
            low = middle + 1
        else:
            high = middle
    return float(arrays.taken_below[low + group] + arrays.weight_from[low + group] * level)
