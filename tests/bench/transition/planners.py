"""What plans a transition: NetO, and what it is measured beside. Each takes a change and returns states.

States are (steps, strands) Mbit/s, one row after each step; what only finds how many steps it takes is in `programs`.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from neto.controller.transition import find_way


def neto(change):
    """NetO's plan."""
    return np.array(find_way(change.shifts).states)


def one_shot(change):
    """Everything at once."""
    return change.shifts.after[None]


def interpolation(change):
    """Equal parts, as few as are safe: what every link has room for, going and coming back.

    In each of K equal steps a link carries at most its load plus 1/K of all that rises on it (zUpdate's and SWAN's
    argument that slack s allows 1/s - 1 steps, link by link: Liu et al. and Hong et al., SIGCOMM 2013).
    """
    shifts = change.shifts
    hops = np.repeat(np.arange(len(shifts.before)), np.diff(shifts.strand_start))
    moved = shifts.after - shifts.before
    ends = [
        shifts.background.sum(axis=0) + np.bincount(shifts.links, rates[hops], len(shifts.capacity))
        for rates in (shifts.before, shifts.after)
    ]
    rises, falls = (
        np.bincount(shifts.links, np.maximum(way, 0.0)[hops], len(shifts.capacity)) for way in (moved, -moved)
    )
    least = 1e-9 * shifts.capacity
    parts = [
        np.where(moves > least, np.ceil(moves / np.maximum(shifts.capacity - load, least) - 1e-6), 1)
        for moves, load in zip((rises, falls), ends, strict=True)
    ]
    count = max(1, int(np.max(parts)))
    return np.array([shifts.after if k == count else shifts.before + moved * k / count for k in range(1, count + 1)])


def worst(change, states):
    """Return the highest load / capacity over steps, links and orders: every path at the larger of its two rates.

    Computed here anew, from the paths alone.
    """
    shifts = change.shifts
    hops = np.repeat(np.arange(len(shifts.before)), np.diff(shifts.strand_start))
    background = shifts.background.sum(axis=0)
    at, found = shifts.before, 0.0
    for rates in states:
        load = background + np.bincount(shifts.links, np.maximum(at, rates)[hops], len(shifts.capacity))
        found = max(found, float((load / shifts.capacity).max()))
        at = rates
    return found


def starved(change, states):
    """Return by how much, in Mbit/s, a demand falls below the lower of its rates before and after; 0 when none does."""
    first = change.shifts.shift_start[:-1]
    some = np.diff(change.shifts.shift_start) > 0
    totals = np.array([np.add.reduceat(rates, first[some]) for rates in (change.shifts.before, *states)])
    return float(np.maximum(np.minimum(totals[0], totals[-1]) - totals, 0.0).max(initial=0.0))


def touches(change, states):
    """Return how often a demand changes in a step."""
    demand = np.repeat(np.arange(change.demands), np.diff(change.shifts.shift_start))
    ways = np.array([change.shifts.before, *states])
    return sum(len(np.unique(demand[old != new])) for old, new in pairwise(ways))
