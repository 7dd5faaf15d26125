"""Which prefixes are steered: the portion of the measured traffic that may be ours, made of whole prefixes.

A prefix that is steered stays so while the portion does not fall, whatever its rate does. New ones are spread over
head-ends and targets: each pair gets its portion in whole prefixes, what that leaves goes to the pairs with the
largest remainders, and single exchanges bring the sum nearer.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from neto.model.peering import Prefix
from neto.model.sr import RouteKey

_EDGE = 1e-9  # rounding that may not cost a prefix its place


@dataclass(frozen=True, slots=True)
class Steerable:
    """One prefix at one head-end that could be steered."""

    target: str
    rate_mbps: float  # all classes


def choose(
    steerable: Mapping[RouteKey, Steerable],
    running: Collection[RouteKey],
    total_mbps: float,
    portion: float,
    tolerance: float,
) -> frozenset[RouteKey]:
    """Return the prefixes to steer, at most `portion` of total_mbps and as near to it as whole prefixes allow.

    running: those that are steered now. total_mbps: all measured traffic, steerable or not. tolerance: by how much
    the share of what runs may exceed the portion before something is given back, since rates move by themselves.
    At portion 1 everything steerable is steered, at 0 nothing.
    """
    if portion >= 1:
        return frozenset(steerable)
    if portion <= 0:
        return frozenset()
    budget = portion * total_mbps
    kept = sorted((key for key in steerable if key in running), key=lambda key: (steerable[key].rate_mbps, _order(key)))
    carried = sum(steerable[key].rate_mbps for key in kept)
    if carried > budget + tolerance * total_mbps:
        while kept and carried > budget * (1 + _EDGE):
            carried -= steerable[kept.pop()].rate_mbps
    chosen = set(kept)
    room = budget - carried
    for key in _in_turn(steerable, chosen, portion):
        rate_mbps = steerable[key].rate_mbps
        if rate_mbps <= room + _EDGE * budget:
            chosen.add(key)
            room -= rate_mbps
    _exchange(steerable, chosen, frozenset(kept), room)
    return frozenset(chosen)


def _exchange(
    steerable: Mapping[RouteKey, Steerable], chosen: set[RouteKey], kept: Collection[RouteKey], room: float
) -> None:
    """Swap a prefix that was just chosen for a larger one that was not, while that comes nearer to the portion."""
    outside = sorted((steerable[key].rate_mbps, _order(key), key) for key in steerable if key not in chosen)
    for key in sorted(chosen.difference(kept), key=lambda key: (-steerable[key].rate_mbps, _order(key))):
        rate_mbps = steerable[key].rate_mbps
        place = bisect_right(outside, rate_mbps + room, key=lambda each: each[0]) - 1
        if place >= 0 and outside[place][0] > rate_mbps:
            larger, _, other = outside.pop(place)
            insort(outside, (rate_mbps, _order(key), key))
            chosen.remove(key)
            chosen.add(other)
            room -= larger - rate_mbps


def _in_turn(steerable: Mapping[RouteKey, Steerable], chosen: Collection[RouteKey], portion: float) -> list[RouteKey]:
    """Return what is not chosen yet: first what fits the quota of its pair, then the rest by remainder of the pair."""
    quota: dict[tuple[str, str], float] = {}
    for key, each in steerable.items():
        pair = (key.headend, each.target)
        quota[pair] = quota.get(pair, 0.0) + each.rate_mbps * (portion - (key in chosen))
    waiting = sorted(
        (key for key in steerable if key not in chosen), key=lambda key: (-steerable[key].rate_mbps, _order(key))
    )
    first, rest = [], []
    for key in waiting:
        pair = (key.headend, steerable[key].target)
        if steerable[key].rate_mbps <= quota[pair] + _EDGE:
            quota[pair] -= steerable[key].rate_mbps
            first.append(key)
        else:
            rest.append(key)
    rest.sort(key=lambda key: -quota[key.headend, steerable[key].target])
    return first + rest


def _order(key: RouteKey) -> tuple[str, int, int, int]:
    prefix: Prefix = key.prefix
    return key.headend, prefix.version, int(prefix.network_address), prefix.prefixlen
