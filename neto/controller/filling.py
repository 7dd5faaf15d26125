"""Tier 0: progressive filling in order of delay. Milliseconds, never fails, and within capacity by construction.

Every demand grows at the pace of its weight on the shortest path that has no saturated link; when a link saturates,
those who fill it go on to their next path, and a demand without one stops (the filling of B4: Jain et al., SIGCOMM
2013, §4.3.1). Event by event: the next link to saturate, or the next demand to be satisfied.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neto.controller.flows import Bools, Floats, Flows, Ints, taken_paths
from neto.controller.heap import drop_first, push
from neto.jit import compiled
from neto.model.topology import Mbps, Rows

_NONE = -1
_SATISFIED = 1e-9  # relative shortfall that nobody would notice
_FULL = 1e-9  # share of a link that is not worth filling


class _Paths(NamedTuple):
    """What the demands may use."""

    demand_start: Ints
    path_start: Ints
    links: Rows
    demand_of: Ints
    crossing_start: Ints  # (links + 1,)
    crossing: Ints  # (hops,) paths over each link


class _State(NamedTuple):
    """Where the filling stands. Rates grow linearly in time: weight x time."""

    current: Ints  # (demands,) path that grows now
    since: Floats  # (demands,) when it began to
    rate: Mbps  # (paths,)
    growth: Floats  # (links,) sum of weights that fill the link
    room: Mbps  # (links,) what was left at time `seen`
    seen: Floats  # (links,)
    full: Bools  # (links,)


def fill(flows: Flows, begins: Floats | None = None) -> Mbps:
    """(paths,) Mbit/s: each demand as much as filling in step gives it, on short paths first.

    begins: (demands,) level that each demand has already, and at which it begins to grow; None: nothing. Capacity is
    net of that, demand_mbps is not.
    """
    crossing_start, crossing = paths_over(flows.path_start, flows.links, len(flows.capacity_mbps))
    paths = _Paths(flows.demand_start, flows.path_start, flows.links, flows.demand_of, crossing_start, crossing)
    ends = flows.demand_mbps / flows.weight
    event_at = np.concatenate([np.zeros(len(ends)) if begins is None else np.minimum(begins, ends), ends])
    return _fill(paths, event_at, flows.weight, flows.capacity_mbps.copy(), np.argsort(event_at, kind="stable"))


def top_up(flows: Flows, given_mbps: Mbps) -> Mbps:
    """(paths,) what is given (paths,), and what room that leaves: those who have least gain first."""
    given = flows.rates(given_mbps)
    room = np.maximum(flows.capacity_mbps - flows.loads(given_mbps), 0.0)
    short = given < flows.demand_mbps * (1 - _SATISFIED)
    grows = _growing(flows.demand_start, flows.path_start, flows.links, short, room > _FULL * flows.capacity_mbps)
    if not len(grows):
        return given_mbps
    demand, row = np.unique(flows.demand_of[grows], return_inverse=True)
    start, links = taken_paths(flows.path_start, flows.links, grows)
    rest = Flows(
        np.concatenate([[0], np.cumsum(np.bincount(row))]), start, links, row, flows.demand_mbps[demand],
        flows.weight[demand], flows.delay_us[grows], room,
    )  # fmt: skip
    more = given_mbps.copy()
    more[grows] += fill(rest, given[demand] / flows.weight[demand])
    return more


@compiled
def _growing(demand_start: Ints, path_start: Ints, links: Rows, short: Bools, has_room: Bools) -> Ints:
    """Rows of the paths with room on every link, of demands that are short."""
    rows = np.empty(len(path_start) - 1, np.int64)
    count = 0
    for demand in range(len(short)):
        if short[demand]:
            for path in range(demand_start[demand], demand_start[demand + 1]):
                rows[count] = path
                count += 1
                for hop in range(path_start[path], path_start[path + 1]):
                    if not has_room[links[hop]]:
                        count -= 1
                        break
    return rows[:count].copy()


@compiled
def paths_over(path_start: Ints, links: Rows, count: int) -> tuple[Ints, Ints]:
    """Turn paths -> links into links -> paths, in compressed rows."""
    start = np.zeros(count + 1, np.int64)
    for link in links:
        start[link + 1] += 1
    for link in range(count):
        start[link + 1] += start[link]
    at = start[:-1].copy()
    paths = np.empty(len(links), np.int64)
    for path in range(len(path_start) - 1):
        for hop in range(path_start[path], path_start[path + 1]):
            paths[at[links[hop]]] = path
            at[links[hop]] += 1
    return start, paths


@compiled
def _open_path(demand: int, first: int, paths: _Paths, full: Bools) -> int:
    """First path of the demand, from `first` on, without a full link; _NONE when there is none."""
    for path in range(first, paths.demand_start[demand + 1]):
        is_open = True
        for hop in range(paths.path_start[path], paths.path_start[path + 1]):
            if full[paths.links[hop]]:
                is_open = False
                break
        if is_open:
            return path
    return _NONE


@compiled
def _leave(demand: int, now: float, weight: Floats, paths: _Paths, state: _State) -> None:
    """Book what the demand's path has gained, and let it grow no more."""
    path = state.current[demand]
    state.rate[path] += weight[demand] * (now - state.since[demand])
    for hop in range(paths.path_start[path], paths.path_start[path + 1]):
        link = paths.links[hop]
        state.room[link] -= state.growth[link] * (now - state.seen[link])
        state.seen[link] = now
        state.growth[link] -= weight[demand]
    state.current[demand] = _NONE


@compiled
def _enter(demand: int, path: int, now: float, weight: Floats, paths: _Paths, state: _State) -> None:
    """Let the demand grow on this path from now on."""
    state.current[demand] = path
    state.since[demand] = now
    for hop in range(paths.path_start[path], paths.path_start[path + 1]):
        link = paths.links[hop]
        state.room[link] -= state.growth[link] * (now - state.seen[link])
        state.seen[link] = now
        state.growth[link] += weight[demand]


@compiled
def _saturates_at(link: int, state: _State) -> float:
    """Time at which the link is full if nothing changes."""
    at = np.inf
    if state.growth[link] > 0 and not state.full[link]:
        at = float(state.seen[link] + max(state.room[link], 0.0) / state.growth[link])
    return at


@compiled
def _lay_out(keys: Floats, items: Ints, state: _State) -> int:
    """Put every link that will saturate into the heap; return its size."""
    size = 0
    for link in range(len(state.room)):
        at = _saturates_at(link, state)
        if at < np.inf:
            size = push(keys, items, size, at, link)
    return size


@compiled
def _settle(keys: Floats, items: Ints, size: int, before: float, state: _State) -> int:
    """Make the heap's first key true if it is under `before`; return the size. Keys are too early or right."""
    while size > 0 and keys[0] < before:
        link = items[0]
        at = _saturates_at(link, state)
        if at <= keys[0]:
            break
        size = drop_first(keys, items, size)
        if at < np.inf:
            size = push(keys, items, size, at, link)
    return size


@compiled
def _fill(paths: _Paths, event_at: Floats, weight: Floats, room: Mbps, events: Ints) -> Mbps:
    """Fill `room` (links,). event_at: when each demand begins to grow, then when each is satisfied."""
    demands, links = len(weight), len(room)
    state = _State(
        np.full(demands, _NONE), np.zeros(demands), np.zeros(len(paths.demand_of)),
        np.zeros(links), room, np.zeros(links), room <= 0,
    )  # fmt: skip
    keys = np.empty(2 * links + 1)
    items = np.empty(2 * links + 1, np.int64)
    size = 0
    for event in events:
        demand, now = event % demands, event_at[event]
        begins = event < demands
        if event_at[demand] >= event_at[demand + demands] or (not begins and state.current[demand] == _NONE):
            continue
        size = _settle(keys, items, size, now, state)
        while size > 0 and keys[0] < now:
            state.full[items[0]] = True
            _reroute(items[0], keys[0], weight, paths, state)
            size = _lay_out(keys, items, state)  # growth has risen on some links
            size = _settle(keys, items, size, now, state)
        if not begins and state.current[demand] != _NONE:
            _leave(demand, now, weight, paths, state)
        if begins:
            path = _open_path(demand, paths.demand_start[demand], paths, state.full)
            if path != _NONE:
                _enter(demand, path, now, weight, paths, state)
                size = _note(demand, keys, items, size, paths, state)
    return state.rate


@compiled
def _note(demand: int, keys: Floats, items: Ints, size: int, paths: _Paths, state: _State) -> int:
    """Put the links that the demand now fills into the heap, or lay it out anew when it is full; return its size."""
    path = state.current[demand]
    first, last = paths.path_start[path], paths.path_start[path + 1]
    if size + last - first > len(keys):
        return _lay_out(keys, items, state)
    for hop in range(first, last):
        size = push(keys, items, size, _saturates_at(paths.links[hop], state), paths.links[hop])
    return size


@compiled
def _reroute(link: int, now: float, weight: Floats, paths: _Paths, state: _State) -> None:
    """Move every demand that fills the link to its next open path."""
    for at in range(paths.crossing_start[link], paths.crossing_start[link + 1]):
        path = paths.crossing[at]
        demand = paths.demand_of[path]
        if state.current[demand] == path:
            _leave(demand, now, weight, paths, state)
            onward = _open_path(demand, path + 1, paths, state.full)
            if onward != _NONE:
                _enter(demand, onward, now, weight, paths, state)
