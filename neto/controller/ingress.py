"""Which announcements to make less attractive, so that what comes in through an overloaded link comes in elsewhere.

Advice: other networks decide where traffic enters, so a prediction is a range. Nothing is ever withdrawn: a prefix that
is made less attractive on one link stays announced there, and on another link that has room for all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neto.model.announcement import Change

Mbps = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
_SLACK = 1e-9  # of a limit, by which rounding may exceed it


@dataclass(frozen=True, slots=True)
class Proposal:
    """One change of one prefix set on one link."""

    link: int
    prefix: int
    change: Change
    rate_mbps: float  # that moves, if all of it does


@dataclass(frozen=True, eq=False)
class Advice:
    """Changes in the order to try them, and the load of each link, (links,) Mbit/s."""

    proposals: tuple[Proposal, ...]
    before_mbps: Mbps
    after_mbps: Mbps  # if all traffic follows, to the links with most room
    least_mbps: Mbps  # if as much as can leaves, and nothing comes
    most_mbps: Mbps  # if nothing leaves, and all that can comes
    over: tuple[int, ...]  # links that stay over their limit


def advise(
    rate_mbps: Mbps, announced: Mask, limit_mbps: Mbps, isp: Rows, community: Mask, kept: Mask | None = None
) -> Advice:
    """Bring links under their limits, one prefix set at a time, the fullest link first.

    rate_mbps: (links, prefixes) measured inbound. announced: (links, prefixes). limit_mbps: (links,) positive.
    isp: (links,) its row. community: (links,) whether its ISP offers one that lowers preference.
    kept: (links, prefixes) what is not to be changed; traffic may come there all the same. None: nothing.
    Raises ValueError for rates or limits that are no finite numbers of the accepted range.
    """
    if not (np.isfinite(rate_mbps) & (rate_mbps >= 0)).all():
        raise ValueError("rates are finite and at least 0")
    if not (np.isfinite(limit_mbps) & (limit_mbps > 0)).all():
        raise ValueError("limits are finite and positive")
    rates = rate_mbps.astype(np.float64)  # what comes in where, as changes are made
    before = rates.sum(axis=1)
    least, most = before.copy(), before.copy()
    proposals: list[Proposal] = []
    touched = np.zeros(rates.shape[1], np.bool_)  # one change a prefix set: its next one wants a new measurement
    over: list[int] = []
    while len(fullest := _over(rates.sum(axis=1), limit_mbps, over)):
        link = int(fullest[0])
        own = rates[link] if kept is None else np.where(kept[link], 0.0, rates[link])
        found = _smallest(link, rates, own, announced & ~touched, limit_mbps)
        if found is None:
            over.append(link)
            continue
        prefix, to = found
        moved = float(rates[link, prefix])
        change = _change(link, to, isp, community)
        candidates = announced[:, prefix] & (np.arange(len(isp)) != link)
        if change is Change.MED:
            candidates &= isp == isp[link]
        proposals.append(Proposal(link, prefix, change, moved))
        touched[prefix] = True
        rates[link, prefix] = 0.0
        rates[to, prefix] += moved
        least[link] -= moved
        most[candidates] += moved
    return Advice(tuple(proposals), before, rates.sum(axis=1), least, most, tuple(over))


def _over(load: Mbps, limit: Mbps, given_up: list[int]) -> Rows:
    """Links over their limits that something may still be done about, fullest first."""
    excess = load / limit
    excess[given_up] = 0.0
    order = np.argsort(-excess, kind="stable")
    return order[excess[order] > 1 + _SLACK]


def _smallest(link: int, rates: Mbps, own: Mbps, movable: Mask, limit: Mbps) -> tuple[int, int] | None:
    """Find the smallest prefix that is enough, else the largest, and the link with most room for all of it.

    own: (prefixes,) what may be moved of what comes in by the link.
    """
    load = rates.sum(axis=1)
    room = limit - load
    excess = load[link] - limit[link]
    enough = own >= excess
    order = np.lexsort((np.where(enough, own, -own), ~enough))
    for prefix in order.tolist():
        if own[prefix] <= 0 or not movable[link, prefix]:
            continue
        others = np.where(movable[:, prefix], room, -np.inf)
        others[link] = -np.inf
        to = int(np.argmax(others))
        if others[to] >= own[prefix]:
            return prefix, to
    return None


def _change(link: int, to: int, isp: Rows, community: Mask) -> Change:
    if community[link]:
        return Change.COMMUNITY
    return Change.MED if isp[link] == isp[to] else Change.PREPEND
