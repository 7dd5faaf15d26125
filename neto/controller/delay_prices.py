"""Prices of links at which the shortest priced paths carry fixed rates within capacity.

The least total delay of fixed rates is a linear program; its dual has one price y per link, in the unit of delay, and
says: each demand takes the path of least delay + price, and the prices are such that no link is over, and none that is
priced has room. Smoothed (Nesterov, Math. Programming 103, 2005): a demand shares among its paths by exp(-cost / soft)
instead of jumping to the best, so that what the dual loses,

    capacity @ y - sum of rate * softmin(delay + price of each path),

is convex and smooth, its gradient is room, and its Hessian, as large as the links that matter, is cheap to build: the
members of a contention group cross the same links, so only their 2..k paths and how they share count. Newton steps,
damped (Levenberg-Marquardt), kept at y >= 0, while `soft` shrinks in stages.

At the optimum the shares themselves are flows that fit, and how much longer they are than the best is known from the
same prices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neto.controller.compressed import longest_row
from neto.controller.flows import Floats, Ints
from neto.jit import compiled
from neto.model.topology import Mbps, Rows

_MOST_STEPS = 60  # in a stage
_NEGLIGIBLE = 25.0  # a path this many `soft` above the best gets nothing
_REACH = 10.0  # how far a price may move in a step, in `soft`, at first
_LEAST_REACH = 1e-6
_WORTH = 1e-3  # share of what the gradient promises that makes a step worth taking
_FAIR, _FINE = 0.2, 0.4  # it would be 1/2 where the Hessian tells all
_ROUNDING = 1e-13  # of the value: gains below it are noise, and a smaller gradient is what counts
_TINY = 1e-300


class Members(NamedTuple):
    """Groups of demands over the active links, with each member's own delays. In mean delays and Mbit/s."""

    group_start: Ints  # (groups + 1,)
    path_start: Ints  # (paths + 1,)
    links: Rows  # (hops,)
    member_start: Ints  # (groups + 1,)
    rate: Mbps  # (members,)
    delay: Floats  # (places,) of each member's paths, member after member
    place: Ints  # (groups + 1,) where each group's members begin in `delay`


Square = NDArray[np.float64]
Stages = tuple[tuple[float, float], ...]

_TOLERANCE = 1e-6  # relative, of loads against room
_EASE = 3e-6  # relative
# Soft, in mean delays, and the tolerance at which the next stage begins.
ROUGH: Stages = ((0.1, 0.2), (0.02, 0.1))  # tells which links are in the way
FINE: Stages = ((0.02, 0.1), (0.008, 0.03), (0.004, _TOLERANCE))
FINEST: Stages = ((0.0015, _TOLERANCE),)
_CAREFUL: Stages = ((0.3, 0.2), (0.1, 0.1), (0.04, 0.05), (0.015, 0.03), (0.008, 0.01), (0.004, _TOLERANCE))


class Settled(NamedTuple):
    """Where the prices ended."""

    price: Floats  # (links,)
    soft: float
    over: float  # most that a link is over its room, relative


def settle(members: Members, room: Mbps, price: Floats, stages: Stages = FINE) -> Settled:
    """Find the prices for this room (links,) from a first guess (links,).

    Where rates can be carried in one way only, prices have no end: they are then settled for rates that are a little
    lower, and the loads are over by that little.
    """
    found = _settle(members, room, price, stages)
    if stages is ROUGH or found.over <= _TOLERANCE:
        return found
    eased = members._replace(rate=members.rate * (1 - _EASE))
    again = _settle(eased, room, found.price, FINE)
    if again.over > _TOLERANCE:
        again = min(again, _settle(eased, room, np.zeros(len(price)), _CAREFUL), key=lambda each: each.over)
    return min(found, again._replace(over=again.over + _EASE), key=lambda each: each.over)


def _settle(members: Members, room: Mbps, price: Floats, stages: Stages) -> Settled:
    over = np.inf
    soft = stages[0][0]
    for soft, tolerance in stages:
        price, over = _newton(members, room, price, soft, tolerance)
    return Settled(price, soft, over)


def _newton(members: Members, room: Mbps, price: Floats, soft: float, tolerance: float) -> tuple[Floats, float]:
    """Return the prices, and how far the loads are off (relative).

    Where nobody is undecided the Hessian is nothing. A damping that goes with the gradient keeps prices from moving
    by more than `reach` (in `soft`), as in a trust region, and leaves the last steps alone.
    """
    reach = np.full(len(price), _REACH)
    value, load, curve = answer(members, price, soft)
    left, off = _off(load, room, price)
    for _ in range(_MOST_STEPS):
        if off <= tolerance or reach.max() < _LEAST_REACH:
            break
        free = np.flatnonzero((price > 0) | (left < 0))
        hessian = curve[np.ix_(free, free)] / np.outer(room[free], room[free])  # by price x room; so is the gradient
        damping = (
            np.maximum(np.abs(left[free]), 0.1 * off) / (reach[free] * soft * room[free])
            + 1e-9 * np.diagonal(hessian)
            + _TINY
        )
        step = np.zeros(len(price))
        step[free] = -np.linalg.solve(hessian + np.diag(damping), left[free]) / room[free]
        tried = np.maximum(price + step, 0.0)
        expected = float(left @ ((tried - price) * room))
        value_there, load_there, curve_there = answer(members, tried, soft)
        lost = float(room @ (tried - price)) - (value_there - value)
        left_there, off_there = _off(load_there, room, tried)
        good = lost / expected if expected < 0 else 0.0
        if abs(expected) < _ROUNDING * abs(value):
            good = 0.5 if off_there < off else 0.0
        turned = left * left_there < 0
        reach[~turned] *= 3.0 if good > _FINE else 1.0 if good > _FAIR else 0.6
        reach[turned] *= 1.0 if good > _FAIR else 0.25
        if good > _WORTH:
            price, value, load, curve, left, off = tried, value_there, load_there, curve_there, left_there, off_there
    return price, off


def _off(load: Mbps, room: Mbps, price: Floats) -> tuple[Floats, float]:
    """Return the room that is left (links,), and the most that a link is over, or has left though it is priced.

    Both relative.
    """
    left = 1.0 - load / room
    return left, float(np.abs(np.where((price <= 0) & (left >= 0), 0.0, left)).max(initial=0.0))


def answer(members: Members, price: Floats, soft: float) -> tuple[float, Mbps, Square]:
    """Return what all pay in the softened sense, the load (links,), and how load answers prices, (links, links)."""
    load = np.zeros(len(price))
    curve = np.zeros((len(price), len(price)))
    value = _answer(members, price, soft, load, curve)
    return value, load, curve


@compiled
def _answer(members: Members, price: Floats, soft: float, load: Mbps, curve: Square) -> float:
    value = 0.0
    most = longest_row(members.group_start)
    toll = np.empty(most)
    share = np.empty(most)
    total = np.empty(most)
    both = np.empty((most, most))
    for group in range(len(members.group_start) - 1):
        first = members.group_start[group]
        count = members.group_start[group + 1] - first
        _tolls(members, group, price, toll)
        total[:count] = 0.0
        both[:count, :count] = 0.0
        undecided = False
        place = members.place[group]
        for member in range(members.member_start[group], members.member_start[group + 1]):
            rate = members.rate[member]
            paid, alone = _shares(members.delay, place, count, toll, soft, share)
            value += rate * paid
            undecided = undecided or not alone
            _add(rate, share, count, total, both)
            place += count
        for path in range(count):
            for hop in range(members.path_start[first + path], members.path_start[first + path + 1]):
                load[members.links[hop]] += total[path]
        if undecided:
            _bend(members, first, count, total, both, soft, curve)
    for link in range(len(price)):
        for other in range(link):
            both_ways = curve[link, other] + curve[other, link]
            curve[link, other] = both_ways
            curve[other, link] = both_ways
    return value


@compiled
def _tolls(members: Members, group: int, price: Floats, toll: Floats) -> None:
    """Write the sum of prices along each of the group's paths."""
    first = members.group_start[group]
    for path in range(members.group_start[group + 1] - first):
        toll[path] = 0.0
        for hop in range(members.path_start[first + path], members.path_start[first + path + 1]):
            toll[path] += price[members.links[hop]]


@compiled
def _shares(delay: Floats, place: int, count: int, toll: Floats, soft: float, share: Floats) -> tuple[float, bool]:
    """Write the shares of a member's paths; return what it pays in the softened sense, and whether one takes all."""
    low = np.inf
    for path in range(count):
        share[path] = delay[place + path] + toll[path]
        low = min(low, share[path])
    all_shares = 0.0
    for path in range(count):
        above = (share[path] - low) / soft
        share[path] = np.exp(-above) if above < _NEGLIGIBLE else 0.0
        all_shares += share[path]
    if all_shares == 1.0:
        return low, True
    for path in range(count):
        share[path] /= all_shares
    return low - soft * np.log(all_shares), False


@compiled
def _add(rate: float, share: Floats, count: int, total: Mbps, both: Square) -> None:
    """Add a member's rate to what the paths carry, and to what they carry together."""
    for path in range(count):
        sent = rate * share[path]
        if sent > 0:
            total[path] += sent
            for other in range(path + 1):
                both[path, other] += sent * share[other]


@compiled
def _bend(
    members: Members, first: int, count: int, total: Floats, both: Square, soft: float,
    curve: Square,
) -> None:  # fmt: skip
    """Add a group's part to the curve; what two links share stands on either side of the diagonal, in halves."""
    for path in range(count):
        for other in range(path + 1):
            bend = (-both[path, other] if other < path else total[path] - both[path, path]) / soft
            if abs(bend) < 1e-14 * total[path] / soft:
                continue
            for hop in range(members.path_start[first + path], members.path_start[first + path + 1]):
                link = members.links[hop]
                for along in range(members.path_start[first + other], members.path_start[first + other + 1]):
                    if other == path:
                        if members.links[along] <= link:
                            curve[link, members.links[along]] += bend
                    elif members.links[along] == link:
                        curve[link, link] += 2 * bend
                    else:
                        curve[link, members.links[along]] += bend


@compiled
def shared(members: Members, price: Floats, soft: float) -> Mbps:
    """(places,) Mbit/s of each member on each of its paths at these prices."""
    flow = np.zeros(len(members.delay))
    most = longest_row(members.group_start)
    toll = np.empty(most)
    share = np.empty(most)
    for group in range(len(members.group_start) - 1):
        count = members.group_start[group + 1] - members.group_start[group]
        _tolls(members, group, price, toll)
        place = members.place[group]
        for member in range(members.member_start[group], members.member_start[group + 1]):
            _shares(members.delay, place, count, toll, soft, share)
            for path in range(count):
                flow[place + path] = members.rate[member] * share[path]
            place += count
    return flow
