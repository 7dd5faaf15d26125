"""Max-min fairness when every group's split over its paths is fixed: raise all levels together.

A path takes its share of what its group takes at the common level; when a link is full, the paths over it stay as they
are and the rest goes on (Bertsekas and Gallager, Data Networks, §6.5.2, with paths for sessions). Fair for the
splits given, and within capacity by construction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neto.controller.filling import paths_over
from neto.controller.flows import Bools, Floats, Ints
from neto.controller.groups import Groups
from neto.controller.heap import drop_first, push
from neto.jit import compiled
from neto.model.topology import Mbps, Rows

_DUST = 1e-12  # relative growth that is left over from rounding


class _Paths(NamedTuple):
    group_start: Ints
    path_start: Ints
    links: Rows
    group_of: Ints
    crossing_start: Ints  # (links + 1,)
    crossing: Ints  # (hops,) paths over each link
    share: Floats  # (paths,)


class _State(NamedTuple):
    """Where the level stands, link by link."""

    growth: Floats  # (links,) load per level
    first_growth: Floats  # (links,)
    room: Mbps  # (links,) what was left at level `seen`
    seen: Floats  # (links,)
    grows: Bools  # (paths,)
    flow: Mbps  # (paths,) of those that have stopped
    weight: Floats  # (groups,) of the members that are not satisfied
    taken: Mbps  # (groups,) by members that are


def waterfill(groups: Groups, share: Floats) -> Mbps:
    """(paths,) Mbit/s at max-min fair levels. share: (paths,) of its group's volume, summing to 1 in each group."""
    crossing_start, crossing = paths_over(groups.path_start, groups.links, len(groups.capacity_mbps))
    paths = _Paths(
        groups.group_start, groups.path_start, groups.links, groups.group_of, crossing_start, crossing, share
    )
    group = np.repeat(np.arange(len(groups.member_start) - 1), np.diff(groups.member_start))
    order = groups.rising
    places = np.arange(len(group)) + group
    weight = groups.weight_from[places] - groups.weight_from[places + 1]
    demand = groups.taken_below[places + 1] - groups.taken_below[places]
    first = groups.weight_from[groups.member_start[:-1] + np.arange(len(groups.member_start) - 1)]
    return _waterfill(
        paths, first, groups.capacity_mbps, groups.satisfied_at[order], group[order], weight[order], demand[order]
    )


@compiled
def _full_at(link: int, state: _State) -> float:
    """Level at which the link is full if nothing changes."""
    at = np.inf
    if state.growth[link] > _DUST * state.first_growth[link]:
        at = float(state.seen[link] + max(state.room[link], 0.0) / state.growth[link])
    return at


@compiled
def _slow(path: int, by: float, level: float, paths: _Paths, state: _State) -> None:
    """Let the path load its links by so much less per level from here on."""
    for hop in range(paths.path_start[path], paths.path_start[path + 1]):
        link = paths.links[hop]
        state.room[link] -= state.growth[link] * (level - state.seen[link])
        state.seen[link] = level
        state.growth[link] -= by


@compiled
def _stop_over(link: int, level: float, paths: _Paths, state: _State) -> None:
    """Stop every path over a link that is full."""
    for at in range(paths.crossing_start[link], paths.crossing_start[link + 1]):
        path = paths.crossing[at]
        if state.grows[path]:
            group = paths.group_of[path]
            state.grows[path] = False
            state.flow[path] = paths.share[path] * (state.taken[group] + state.weight[group] * level)
            _slow(path, paths.share[path] * state.weight[group], level, paths, state)


@compiled
def _fill_up_to(bound: float, keys: Floats, items: Ints, size: int, paths: _Paths, state: _State) -> int:
    """Stop what crosses the links that are full before the level `bound`; return the size of the heap.

    Growth only shrinks, so the heap's keys are too early or right.
    """
    while size > 0 and keys[0] <= bound:
        level, link = keys[0], items[0]
        size = drop_first(keys, items, size)
        at = _full_at(link, state)
        if at <= level * (1 + _DUST):
            _stop_over(link, level, paths, state)
        elif at < np.inf:
            size = push(keys, items, size, at, link)
    return size


@compiled
def _waterfill(
    paths: _Paths, weight: Floats, capacity: Mbps, event_at: Floats, event_group: Ints, event_weight: Floats,
    event_demand: Mbps,
) -> Mbps:  # fmt: skip
    """Events: members in the order of the levels that satisfy them."""
    growth = np.zeros(len(capacity))
    for path in range(len(paths.share)):
        for hop in range(paths.path_start[path], paths.path_start[path + 1]):
            growth[paths.links[hop]] += paths.share[path] * weight[paths.group_of[path]]
    state = _State(
        growth, growth.copy(), capacity.copy(), np.zeros(len(capacity)), paths.share > 0, np.zeros(len(paths.share)),
        weight.copy(), np.zeros(len(weight)),
    )  # fmt: skip
    keys = np.empty(len(capacity) + 1)
    items = np.empty(len(capacity) + 1, np.int64)
    size = 0
    for link in range(len(capacity)):
        size = push(keys, items, size, _full_at(link, state), link)
    for event in range(len(event_at)):
        size = _fill_up_to(event_at[event], keys, items, size, paths, state)
        group = event_group[event]
        state.weight[group] -= event_weight[event]
        state.taken[group] += event_demand[event]
        for path in range(paths.group_start[group], paths.group_start[group + 1]):
            if state.grows[path]:
                _slow(path, paths.share[path] * event_weight[event], event_at[event], paths, state)
    for path in range(len(paths.share)):
        if state.grows[path]:
            state.flow[path] = paths.share[path] * state.taken[paths.group_of[path]]
    return state.flow
