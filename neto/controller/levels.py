"""Exact max-min fairness, level by level.

Raise the level of all groups together as far as the links allow (one linear program); groups whose price is then
positive cannot go higher in any optimum, so they stay at that level; raise the rest, until nobody is left
(Bertsekas and Gallager, Data Networks, §6.5.2; Nace and Pioro, IEEE Comm. Surveys 2008, for several paths). What a
group takes is concave in its level, so the program at the tangent never asks for too little: Newton steps from below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neto.controller.deadline import NEVER, Deadline
from neto.controller.flows import Bools, Floats, Ints
from neto.controller.groups import Groups, group_volumes
from neto.controller.solver import LinearProgram, Solution, Solver
from neto.model.topology import Mbps

_SLACK = 1e-9  # relative, granted to what earlier levels have fixed, so that rounding makes nothing infeasible
_MOST_SLACK = 1e-6  # more is granted, up to this, when it does
_PRICED = 1e-6  # share of the level's price from which on a group counts as held by it


@dataclass(frozen=True, eq=False)
class Levels:
    """A level for every group, and flows that carry it."""

    level: Floats  # (groups,) inf: satisfied
    flow_mbps: Mbps  # (paths,)
    complete: bool  # False: the solver stopped early; groups that were not fixed have a level that is too low
    programs: int


def max_min_levels(
    groups: Groups, floor: float = 0.0, *, most_programs: int = 100_000, deadline: Deadline = NEVER
) -> Levels:
    """Return the max-min fair level of every group. floor: a level that all are known to reach."""
    count = len(groups.group_start) - 1
    level = np.full(count, np.inf)
    fixed = np.zeros(count, dtype=bool)
    base = floor
    flow = np.zeros(len(groups.group_of))
    rows = _Rows.of(groups)
    solver = Solver()
    slack = _SLACK
    for programs in range(most_programs):
        now = np.where(fixed, level, base)
        volume, slope = group_volumes(groups, now)
        fixed |= slope <= 0
        level[slope <= 0] = np.inf
        slope = np.where(fixed, 0.0, slope)
        scale = float(np.median(rows.size[~fixed] / slope[~fixed])) if not fixed.all() else 1.0
        found = solver.solve(rows.program(volume * (1 - slack), slope * scale), deadline)
        if found is None and slack < _MOST_SLACK and not deadline.passed:
            slack *= 10
            continue
        if found is None:
            level[~fixed] = base
            return Levels(level, flow, complete=False, programs=programs + 1)
        flow = found.x[:-1] * rows.size[groups.group_of]
        if fixed.all():
            return Levels(level, flow, complete=True, programs=programs + 1)
        reached = base + float(found.x[-1]) * scale
        # The tangent is the curve itself when no member is satisfied on the way: then the prices hold.
        at_reached, _ = group_volumes(groups, np.where(fixed, level, reached))
        tangent = volume + slope * (reached - base)
        if (at_reached >= tangent * (1 - 1e-12)).all():
            held = _held(found, slope * scale / rows.size, count) & ~fixed
            level[held] = reached
            fixed |= held
        base = max(base, reached)
    level[~fixed] = base
    return Levels(level, flow, complete=False, programs=most_programs)


def _held(found: Solution, step: Floats, count: int) -> Bools:
    """(groups,) those whose price keeps the level from rising."""
    share = np.abs(found.row_dual[:count]) * step
    held: Bools = (share > _PRICED * share.sum()) & (share > 0)
    if not held.any():
        held = step > 0  # no price at all: nothing holds them but the end of the numbers
    return held


@dataclass(frozen=True, eq=False)
class _Rows:
    """The program's matrix. Columns: each path as a share of its group's size, then the step of the level."""

    groups: Groups
    size: Mbps  # (groups,) the most that a group could ever get
    row: Ints
    value: Floats
    column_start: Ints

    @classmethod
    def of(cls, groups: Groups) -> _Rows:
        count, paths = len(groups.group_start) - 1, len(groups.group_of)
        hops = np.diff(groups.path_start)
        bottleneck = np.full(paths, np.inf)
        np.minimum.at(bottleneck, np.repeat(np.arange(paths), hops), groups.capacity_mbps[groups.links])
        size = np.minimum(groups.total_mbps, np.bincount(groups.group_of, bottleneck, minlength=count))
        column_start = groups.path_start + np.arange(paths + 1)
        row = np.empty(column_start[-1], dtype=np.int64)
        value = np.empty(column_start[-1])
        first = np.zeros(len(row), dtype=bool)
        first[column_start[:-1]] = True
        row[first], value[first] = groups.group_of, 1.0
        row[~first] = groups.links + count
        value[~first] = np.repeat(size[groups.group_of], hops) / groups.capacity_mbps[groups.links]
        return cls(groups, size, row, value, column_start)

    def program(self, volume: Mbps, slope: Floats) -> LinearProgram:
        """Maximise the step u: flow of each group >= volume + slope * u, within capacity."""
        count, links = len(self.size), len(self.groups.capacity_mbps)
        cost = np.zeros(len(self.groups.group_of) + 1)
        cost[-1] = -1.0 if slope.any() else 0.0
        return LinearProgram(
            cost,
            np.append(self.column_start, self.column_start[-1] + count),
            np.concatenate([self.row, np.arange(count)]),
            np.concatenate([self.value, -slope / self.size]),
            np.concatenate([volume / self.size, np.full(links, -np.inf)]),
            np.concatenate([np.full(count, np.inf), np.ones(links)]),
        )
