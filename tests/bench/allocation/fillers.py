"""What others do without a solver, in numpy: progressive filling and the adaptive waterfiller.

The same arguments and answers as in `peers`. Neither has a Python loop over demands or paths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .linear import Deadline

_FULL = 1e-9  # share of a link's capacity that counts as nothing left
_SPLIT_BASE = 0.9  # each further path starts with 0.9 times the split of the one before (Soroush's setting)


def progressive_filling(capacity_mbps, demand_mbps, paths, *, limit_s):
    """B4's filling: all rates rise alike, each on its most preferred path that has no full link.

    Jain et al., B4: Experience with a Globally-Deployed Software Defined WAN, SIGCOMM 2013, §5.3 (tunnel group
    generation), with one linear bandwidth function for all. What was placed on a path stays there when it is left.
    """
    deadline = Deadline(limit_s)
    links, count = len(capacity_mbps), len(paths.delay_us)
    crossing_start, crossing = _crossing(paths, links)
    is_open = np.ones(count, dtype=bool)
    flow = np.zeros(count)
    left = capacity_mbps.astype(np.float64).copy()
    full = left <= 0
    is_open[_members(crossing_start, crossing, np.flatnonzero(full))] = False
    current = _first_open(paths, is_open, np.flatnonzero(demand_mbps > 0), np.full(len(demand_mbps), -1))
    level = 0.0
    rising = np.flatnonzero(current >= 0)
    while len(rising):
        deadline.left()
        hops, _ = _hops(paths, current[rising])
        pull = np.bincount(hops, minlength=links)
        # While nobody stops, no link fills before this; who reaches its demand on the way stops there.
        rise = np.divide(np.maximum(left, 0.0), pull, out=np.full(links, np.inf), where=pull > 0)
        step = min(float(rise.min()), float(demand_mbps[rising].max()) - level)
        gain = np.minimum(demand_mbps[rising] - level, step)
        flow[current[rising]] += gain
        left -= np.bincount(hops, np.repeat(gain, _lengths(paths, current[rising])), minlength=links)
        level += step
        stays = demand_mbps[rising] > level * (1 + 1e-12)
        rising = rising[stays]
        now_full = (pull > 0) & (left <= _FULL * capacity_mbps) & ~full
        if now_full.any():
            full |= now_full
            is_open[_members(crossing_start, crossing, np.flatnonzero(now_full))] = False
            moving = rising[~is_open[current[rising]]]
            current = _first_open(paths, is_open, moving, current)
            rising = rising[current[rising] >= 0]
    return flow


def adaptive_waterfiller(capacity_mbps, demand_mbps, paths, *, limit_s, iterations=10):
    """The adaptive waterfiller: one pass over links and demands, each waterfilled once; then again with those splits.

    Namyar et al. (Soroush), NSDI 2024, §3.2, as in their code: rows in order of their first fair share, rates only
    fall, and the splits that came true are the weights of the next iteration. Demands between two links in that order
    share no path, so they are waterfilled together: same answer as one by one.
    """
    deadline = Deadline(limit_s)
    table = _Table.of(paths)
    split = np.where(table.exists, _SPLIT_BASE ** np.arange(table.width), 0.0).ravel()
    rate = np.zeros(len(split))
    for _ in range(iterations):
        total = split.reshape(-1, table.width).sum(axis=1)
        split = np.divide(split, np.repeat(total, table.width), out=np.zeros_like(split), where=split > 0)
        rate = _one_pass(capacity_mbps, demand_mbps, table, split, deadline)
        carried = rate.reshape(-1, table.width).sum(axis=1)
        if (carried >= demand_mbps * (1 - 1e-9)).all():
            break
        # A demand that got nothing keeps its splits.
        split = np.where(np.repeat(carried, table.width) > 0, rate, split)
    return rate[table.slot]


@dataclass(frozen=True)
class _Table:
    """Paths in slots, as many for each demand as the one with the most has: rows of one width."""

    width: int
    slot: np.ndarray  # (paths,)
    exists: np.ndarray  # (demands, width)
    hop_link: np.ndarray  # (hops,), in order of link
    hop_slot: np.ndarray  # (hops,)

    @classmethod
    def of(cls, paths):
        counts = np.diff(paths.demand_start)
        width = max(int(counts.max(initial=0)), 1)
        slot = paths.demand_of * width + np.arange(len(paths.demand_of)) - paths.demand_start[paths.demand_of]
        order = np.argsort(paths.links, kind="stable")
        hop_slot = np.repeat(slot, np.diff(paths.path_start))[order]
        return cls(width, slot, np.arange(width) < counts[:, None], paths.links[order], hop_slot)


def _one_pass(capacity_mbps, demand_mbps, table, split, deadline):
    """(slots,) rates after every link and every demand was waterfilled once, the scarcest first."""
    deadline.left()
    links = len(capacity_mbps)
    active = split[table.hop_slot] > 0
    hop_link, hop_slot = table.hop_link[active], table.hop_slot[active]
    weight = np.bincount(hop_link, split[hop_slot], minlength=links)
    used = np.flatnonzero(weight > 0)
    share = capacity_mbps[used] / weight[used]
    used, share = used[np.argsort(share, kind="stable")], np.sort(share)
    start = np.searchsorted(hop_link, np.arange(links + 1))
    # A demand's weights sum to one, so its fair share is the demand.
    in_order = np.argsort(demand_mbps, kind="stable")
    until = np.searchsorted(demand_mbps[in_order], share, side="right")
    top = 2.0 * max(float(capacity_mbps.max(initial=0.0)), float(demand_mbps.max(initial=0.0)))
    rate = np.where(split > 0, top, 0.0)
    done = 0
    for link, upto in zip(used, until, strict=True):
        _fill_demands(rate, split, demand_mbps, in_order[done:upto], table.width)
        done = max(done, upto)
        _fill_link(rate, split, capacity_mbps[link], hop_slot[start[link] : start[link + 1]])
    _fill_demands(rate, split, demand_mbps, in_order[done:], table.width)
    return rate


def _fill_link(rate, split, capacity, slots):
    """Lower the rates in these slots to their weighted fair share of the link, in place, if they overload it."""
    wanted = rate[slots]
    if wanted.sum() <= capacity:
        return
    weight = split[slots]
    while len(slots):
        fair = capacity / weight.sum() * weight
        below = wanted < fair
        if not below.any():
            rate[slots] = fair
            return
        capacity -= wanted[below].sum()
        slots, wanted, weight = slots[~below], wanted[~below], weight[~below]


def _fill_demands(rate, split, demand_mbps, which, width):
    """Lower the rates of these demands to what they ask for, in place: every demand is a link of its own."""
    if not len(which):
        return
    slots = which[:, None] * width + np.arange(width)
    wanted = rate[slots]
    over = wanted.sum(axis=1) > demand_mbps[which]
    slots, wanted = slots[over], wanted[over]
    weight, left, rest = split[slots], demand_mbps[which][over], np.ones(slots.shape, dtype=bool)
    for _ in range(width):
        total = np.where(rest, weight, 0.0).sum(axis=1)
        fair = np.divide(left, total, out=np.zeros_like(left), where=total > 0)[:, None] * weight
        below = rest & (wanted < fair)
        if not below.any():
            break
        left = left - np.where(below, wanted, 0.0).sum(axis=1)
        rest &= ~below
    rate[slots] = np.where(rest, fair, wanted)


def _lengths(paths, rows):
    return paths.path_start[rows + 1] - paths.path_start[rows]


def _hops(paths, rows):
    """Links of these paths, one after the other, and where each path's begin."""
    lengths = _lengths(paths, rows)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    at = np.repeat(paths.path_start[rows] - starts[:-1], lengths) + np.arange(starts[-1])
    return paths.links[at], starts


def _crossing(paths, links):
    """Paths over each link, in compressed rows."""
    order = np.argsort(paths.links, kind="stable")
    path = np.repeat(np.arange(len(paths.delay_us)), np.diff(paths.path_start))[order]
    return np.searchsorted(paths.links[order], np.arange(links + 1)), path


def _members(start, member, rows):
    """All members of these rows."""
    return np.concatenate([member[:0], *(member[start[row] : start[row + 1]] for row in rows)])


def _first_open(paths, is_open, demands, current):
    """Give these demands their first open path (-1: none); the others keep their own."""
    chosen = current.copy()
    chosen[demands] = -1
    waiting = demands
    at = paths.demand_start[:-1].copy()
    while len(waiting):
        waiting = waiting[at[waiting] < paths.demand_start[waiting + 1]]
        found = is_open[at[waiting]]
        chosen[waiting[found]] = at[waiting[found]]
        waiting = waiting[~found]
        at[waiting] += 1
    return chosen
