"""Demands that compete for the same links in the same ways, taken together.

Max-min fairness gives every demand of a group the same level (rate / weight) unless it is satisfied below it, so a
group needs one unknown, its level, and one known curve: what its demands take in all at that level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neto.controller.flows import Floats, Ints
from neto.jit import compiled
from neto.model.topology import Mbps, Rows


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of demands, and the paths that each can take over the links that matter."""

    group_start: Ints  # (groups + 1,) paths of each group
    path_start: Ints  # (paths + 1,)
    links: Rows  # (hops,)
    group_of: Ints  # (paths,)
    member_start: Ints  # (groups + 1,)
    member: Ints  # (members,) demands of each group, in order of `satisfied_at`
    satisfied_at: Floats  # (members,) demand / weight
    rising: Ints  # (members,) places of all members in order of `satisfied_at`
    taken_below: Mbps  # (members + groups,) what the members before take, satisfied; one more place per group
    weight_from: Floats  # (members + groups,) weight of the member and those after
    capacity_mbps: Mbps  # (links,) > 0

    @property
    def total_mbps(self) -> Mbps:
        """(groups,) what each group asks for."""
        last: Mbps = self.taken_below[self.member_start[1:] + np.arange(len(self.member_start) - 1)]
        return last

    def sums(self, value: Floats) -> Floats:
        """(groups,) sum of value (paths,) over each group's paths."""
        total: Floats = np.bincount(self.group_of, value, minlength=len(self.group_start) - 1).astype(np.float64)
        return total


def make_groups(
    group_start: Ints,
    path_start: Ints,
    links: Rows,
    group_of_demand: Ints,
    demand_mbps: Mbps,
    weight: Floats,
    by_level: Ints,
    capacity_mbps: Mbps,
) -> Groups:
    """Sort the members of each group.

    group_of_demand: (demands,), -1 for a demand that is in none. by_level: (demands,) rows in order of demand / weight.
    """
    count = len(group_start) - 1
    member_start, member, rising = _members(count, group_of_demand, by_level)
    below, above = _running_sums(member_start, demand_mbps[member], weight[member])
    return Groups(
        group_start,
        path_start,
        links,
        np.repeat(np.arange(count), np.diff(group_start)),
        member_start,
        member,
        demand_mbps[member] / weight[member],
        rising,
        below,
        above,
        capacity_mbps,
    )


@compiled
def _members(count: int, group_of_demand: Ints, by_level: Ints) -> tuple[Ints, Ints, Ints]:
    """(groups + 1,) where members start, (members,) the members, and (members,) their places in rising order."""
    start = np.zeros(count + 1, np.int64)
    for group in group_of_demand:
        if group >= 0:
            start[group + 1] += 1
    for group in range(count):
        start[group + 1] += start[group]
    at = start[:-1].copy()
    member = np.empty(start[count], np.int64)
    rising = np.empty(start[count], np.int64)
    seen = 0
    for demand in by_level:
        group = group_of_demand[demand]
        if group >= 0:
            member[at[group]] = demand
            rising[seen] = at[group]
            at[group] += 1
            seen += 1
    return start, member, rising


@compiled
def _running_sums(member_start: Ints, demand_mbps: Mbps, weight: Floats) -> tuple[Mbps, Floats]:
    """Sums within each group alone, so that a small group keeps its digits beside a large one."""
    groups = len(member_start) - 1
    below = np.zeros(len(demand_mbps) + groups)
    above = np.zeros(len(demand_mbps) + groups)
    for group in range(groups):
        for at in range(member_start[group], member_start[group + 1]):
            below[at + group + 1] = below[at + group] + demand_mbps[at]
        for at in range(member_start[group + 1] - 1, member_start[group] - 1, -1):
            above[at + group] = above[at + group + 1] + weight[at]
    return below, above


@compiled
def volumes(
    member_start: Ints, satisfied_at: Floats, taken_below: Mbps, weight_from: Floats, level: Floats
) -> tuple[Mbps, Floats]:
    """What each group takes at its level (groups,), and how fast that grows with the level: both (groups,)."""
    groups = len(member_start) - 1
    volume = np.empty(groups)
    slope = np.empty(groups)
    for group in range(groups):
        low, high = member_start[group], member_start[group + 1]
        while low < high:  # first member that is not satisfied at this level
            middle = (low + high) // 2
            if satisfied_at[middle] <= level[group]:
                low = middle + 1
            else:
                high = middle
        slope[group] = weight_from[low + group]
        volume[group] = taken_below[low + group]
        if slope[group] > 0:
            volume[group] += slope[group] * level[group]
    return volume, slope


def group_volumes(groups: Groups, level: Floats) -> tuple[Mbps, Floats]:
    """(groups,) Mbit/s that each group takes at its level, and (groups,) how fast that grows with the level."""
    return volumes(groups.member_start, groups.satisfied_at, groups.taken_below, groups.weight_from, level)


def member_rates(groups: Groups, level: Floats, demand_mbps: Mbps, weight: Floats) -> Mbps:
    """(demands,) Mbit/s at the levels (groups,); 0 for demands in no group."""
    rate = np.zeros(len(demand_mbps))
    level_of = np.repeat(level, np.diff(groups.member_start))
    rate[groups.member] = np.minimum(demand_mbps[groups.member], weight[groups.member] * level_of)
    return rate


@compiled
def levels_at(member_start: Ints, satisfied_at: Floats, taken_below: Mbps, weight_from: Floats, volume: Mbps) -> Floats:
    """(groups,) level at which each group takes its volume; the level that satisfies all where that is no more."""
    groups = len(member_start) - 1
    level = np.empty(groups)
    for group in range(groups):
        low, high = member_start[group], member_start[group + 1]
        while low < high:  # first member that is not satisfied with this volume
            middle = (low + high) // 2
            if taken_below[middle + group] + weight_from[middle + group] * satisfied_at[middle] <= volume[group]:
                low = middle + 1
            else:
                high = middle
        if low == member_start[group + 1]:
            level[group] = satisfied_at[low - 1]
        else:
            level[group] = (volume[group] - taken_below[low + group]) / weight_from[low + group]
    return level


def group_levels(groups: Groups, volume: Mbps) -> Floats:
    """(groups,) level at which each group takes its volume (groups,)."""
    return levels_at(groups.member_start, groups.satisfied_at, groups.taken_below, groups.weight_from, volume)
