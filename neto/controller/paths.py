"""Candidate paths: the k shortest loop-free ones of every demand, by delay.

A demand toward a prefix group takes its paths over all the group's exits: WAN path to the border, then the peering
link, and the egress delay counts. What its class finds too long takes no place of what it does not. ISPs are never
transited, nor are nodes that the caller closes to transit.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neto.controller.compressed import places, starts, take_demands
from neto.controller.diverse import diversified
from neto.controller.flows import sum_over_paths, taken_paths
from neto.controller.path_cache import PathCache
from neto.controller.yen import FAR, Arcs, paths_toward
from neto.model.allocation import PathSet
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from neto.model.peering import Egress
from neto.model.topology import Microseconds, NodeKind, Rows, Topology

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Value = TypeVar("Value", bound=Hashable)


def candidate_paths(
    joint: Topology,
    demands: Sequence[Demand],
    classes: Sequence[TrafficClass],
    egresses: Sequence[Egress],
    k: int,
    usable: Bools | None = None,
    *,
    transit: Bools | None = None,
    cache: PathCache | None = None,
    diverse: bool = False,
    by_metric: bool = False,
) -> PathSet:
    """Return up to k paths for each demand, in order of delay, then of hops.

    usable: (links,) bool, links that may be used; None: all. transit: (nodes,) bool, nodes that paths may pass
    through rather than only begin or end at; None: all routers. A path longer than its class's delay bound or stretch
    is left out. A prefix group with several exits keeps the best path to at least half of k of them. A demand that has
    no path has no rows; one whose target is its source has one path without links. cache: keeps paths for the next
    call, of which only what changes of links touch is then searched; of equally good paths the known ones stay.
    diverse: where no path avoids all links and shared risks of the shortest, the one that shares least is among them.
    by_metric: shortest by IGP metric, as plain forwarding would have it; still in order of delay.
    """
    router = np.array([node.kind is NodeKind.ROUTER for node in joint.nodes], dtype=bool)
    inside = router[joint.source] & router[joint.target]
    passable = router if transit is None else router & transit
    open_links = np.ones(len(joint.links), dtype=bool) if usable is None else usable
    asked = [(demand.source, demand.target) for demand in demands]
    ends, end_of = _distinct(asked)
    exits = _open_exits(joint, egresses, open_links)
    to_router = [(joint.node_row[s], joint.node_row[t]) for s, t in ends if t in joint.node_row]
    to_border = [
        (joint.node_row[s], int(joint.source[link]))
        for s, t in ends
        if t not in joint.node_row
        for link, _ in exits.get(t, ())
    ]
    pairs, pair_of = _distinct(to_router + to_border)

    within = open_links & inside
    weight = joint.igp_metric.astype(np.float64) if by_metric else joint.delay_us

    def search(some: Sequence[tuple[int, int]]) -> PathSet:
        shortest = k_shortest(joint, weight, some, k, usable=within, transit=passable)
        if diverse:
            shortest = diversified(shortest, joint, weight, some, k, within, passable)
        return _by_delay(shortest, joint.delay_us) if by_metric else shortest

    found = search(pairs) if cache is None else cache.shortest(joint, weight, pairs, k, within, passable, search)
    is_router = np.array([t in joint.node_row for _, t in ends], dtype=bool)
    if is_router.all() and len(pairs) == len(ends):
        return _bounded(take_demands(found, end_of), demands, classes)
    whole = take_demands(_merge(found, pair_of, ends, is_router, exits, k), end_of)
    near = _bounded(whole, demands, classes)
    # Where some of k paths are too long, others may come in their place. Elsewhere bounds change no choice of exits:
    # those beyond them come last.
    before, after = np.diff(whole.demand_start), np.diff(near.demand_start)
    again = np.flatnonzero((before == k) & (after > 0) & (after < before) & ~is_router[end_of])
    if not len(again):
        return near
    bounds = {each.name: (each.max_delay_us, each.max_stretch) for each in classes}
    bounded, bounded_of = _distinct([(asked[row], bounds[demands[row].traffic_class]) for row in again.tolist()])
    row_of = {pair: row for row, pair in enumerate(pairs)}
    ways = [row_of[joint.node_row[s], int(joint.source[link])] for (s, t), _ in bounded for link, _ in exits[t]]
    ends, no_router = [end for end, _ in bounded], np.zeros(len(bounded), dtype=bool)
    chosen = _merge(found, np.array(ways, dtype=np.int64), ends, no_router, exits, k, [each for _, each in bounded])
    return _replaced(near, again, chosen, bounded_of)


def k_shortest(
    topology: Topology,
    weight: ArrayLike,
    pairs: Sequence[tuple[int, int]],
    k: int,
    *,
    usable: Bools | None = None,
    transit: Bools | None = None,
) -> PathSet:
    """Return the k shortest loop-free paths of each (source row, target row), by weight, then by hops.

    weight: (links,) non-negative; what remains of ties is decided by the order of the links, always the same way.
    The result has a row of demands for each pair, and its `delay_us` is the sum of the weights. A pair of equal
    nodes has one path without links.
    """
    cost = np.asarray(weight, dtype=np.float64)
    if k < 1:
        raise ValueError(f"k is {k}; at least one path is wanted")
    if not (np.isfinite(cost).all() and (cost >= 0).all()):
        raise ValueError("a weight is negative or not a number")
    arcs = _arcs(topology, cost, usable, transit)
    pair = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    order = np.lexsort((pair[:, 0], pair[:, 1]))
    found = np.zeros(len(pair), dtype=np.int64)
    hops: list[Ints] = []
    rows: list[Rows] = []
    for members in np.split(order, np.flatnonzero(np.diff(pair[order, 1])) + 1) if len(order) else ():
        count, length, row = paths_toward(int(pair[members[0], 1]), np.ascontiguousarray(pair[members, 0]), k, arcs)
        found[members] = count
        hops.append(length)
        rows.append(row)
    path_start = starts(np.concatenate([np.zeros(0, dtype=np.int64), *hops]))
    links = np.concatenate([np.zeros(0, dtype=np.int32), *rows])
    sorted_paths = PathSet(starts(found[order]), path_start, links, sum_over_paths(path_start, links, cost))
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return take_demands(sorted_paths, back)


def _by_delay(paths: PathSet, delay_us: Microseconds) -> PathSet:
    """Return the same paths of each demand in order of their delay; equals stay as they are."""
    delay = sum_over_paths(paths.path_start, paths.links, delay_us)
    order = np.lexsort((delay, paths.demand_of))
    path_start, links = taken_paths(paths.path_start, paths.links, order)
    return PathSet(paths.demand_start, path_start, links, delay[order])


def take_paths(paths: PathSet, keep: Bools) -> PathSet:
    """Return the same demands with only the paths that `keep` (paths,) marks."""
    lengths = np.diff(paths.path_start)
    kept = np.bincount(paths.demand_of[keep], minlength=len(paths.demand_start) - 1)
    return PathSet(starts(kept), starts(lengths[keep]), paths.links[np.repeat(keep, lengths)], paths.delay_us[keep])


def _arcs(topology: Topology, cost: Microseconds, usable: Bools | None, transit: Bools | None) -> Arcs:
    """Lay the usable links out for the search, with weights as integers that count a hop where delays are equal."""
    nodes = len(topology.nodes)
    rows = np.flatnonzero(np.ones(len(topology.links), dtype=bool) if usable is None else usable)
    source, target = topology.source[rows].astype(np.int64), topology.target[rows].astype(np.int64)
    hop = 1 << max(nodes, 1).bit_length()
    longest = float(np.sort(cost[rows])[::-1][: max(nodes - 1, 1)].sum())
    # The finest power of two for which the longest path still weighs less than FAR / 4: integral weights stay exact.
    exponent = math.floor(math.log2(FAR / 8 / hop / longest)) if longest > 0 else 0
    weight = np.rint(np.ldexp(cost[rows], exponent)).astype(np.int64) * hop + 1
    leaving = np.lexsort((rows, source))
    entering = np.lexsort((rows, target))
    return Arcs(
        start=starts(np.bincount(source, minlength=nodes)),
        head=target[leaving],
        tail=source[leaving],
        weight=weight[leaving],
        row=rows[leaving].astype(np.int64),
        into_start=starts(np.bincount(target, minlength=nodes)),
        into_tail=source[entering],
        into_weight=weight[entering],
        transit=np.ones(nodes, dtype=bool) if transit is None else transit,
    )


def _open_exits(
    joint: Topology, egresses: Sequence[Egress], usable: Bools
) -> Mapping[str, tuple[tuple[int, float], ...]]:
    """(link row, egress delay) of each prefix group's exits that may be used, in the operator's order."""
    exits: dict[str, tuple[tuple[int, float], ...]] = {}
    for egress in egresses:
        row = joint.link_row.get(egress.peering_link)
        if row is not None and usable[row]:
            exits[egress.prefix_group] = (*exits.get(egress.prefix_group, ()), (row, egress.delay_us))
    return exits


def _merge(
    found: PathSet,
    pair_of: Ints,
    ends: Sequence[tuple[str, str]],
    is_router: Bools,
    exits: Mapping[str, tuple[tuple[int, float], ...]],
    k: int,
    bounds: Sequence[tuple[float, float]] | None = None,
) -> PathSet:
    """One row of paths per (source, target): as found for a router, chosen among all exits for a prefix group.

    bounds: delay and stretch that each row accepts; what is longer is not chosen. None: whatever there is.
    """
    group_ends = [end for end, router in enumerate(is_router) if not router]
    ways = [(end, link, delay) for end in group_ends for link, delay in exits.get(ends[end][1], ())]
    routers = int(is_router.sum())
    end_of_way = np.concatenate([np.flatnonzero(is_router), np.array([way[0] for way in ways], dtype=np.int64)])
    last_link = np.concatenate([np.full(routers, -1), np.array([way[1] for way in ways], dtype=np.int64)])
    beyond = np.concatenate([np.zeros(routers), np.array([way[2] for way in ways], dtype=np.float64)])

    all_ways = take_demands(found, pair_of)
    way = all_ways.demand_of
    end = end_of_way[way]
    delay = all_ways.delay_us + beyond[way]
    hops = np.diff(all_ways.path_start) + (last_link[way] >= 0)
    # A way's rank is that of its best path among the ways of the same end; the best path of each of the first
    # (k + 1) // 2 ways goes before everything else.
    near = np.ones(len(way), dtype=bool) if bounds is None else delay <= _longest(end, delay, bounds)[end]
    best = np.arange(len(way)) - all_ways.demand_start[way] == 0
    rank = np.zeros(len(all_ways.demand_start) - 1, dtype=np.int64)
    first = np.flatnonzero(best)
    in_order = first[np.lexsort((way[first], hops[first], delay[first], end[first]))]
    rank[way[in_order]] = _place(end[in_order])
    kept_first = best & (rank[way] < (k + 1) // 2)
    rows = np.flatnonzero(near)
    chosen = rows[np.lexsort((way[rows], hops[rows], delay[rows], ~kept_first[rows], end[rows]))]
    chosen = chosen[_place(end[chosen]) < k]
    chosen = chosen[np.lexsort((way[chosen], hops[chosen], delay[chosen], end[chosen]))]

    lengths = np.diff(all_ways.path_start)[chosen]
    peering = last_link[way[chosen]]
    path_start = starts(hops[chosen])
    links = np.empty(path_start[-1], dtype=np.int32)
    is_last = np.zeros(path_start[-1], dtype=bool)
    is_last[path_start[1:][peering >= 0] - 1] = True
    links[is_last] = peering[peering >= 0]
    links[~is_last] = all_ways.links[places(all_ways.path_start[chosen], lengths)]
    return PathSet(starts(np.bincount(end[chosen], minlength=len(ends))), path_start, links, delay[chosen])


def _bounded(paths: PathSet, demands: Sequence[Demand], classes: Sequence[TrafficClass]) -> PathSet:
    """Leave out the paths that are longer than the demand's class accepts."""
    bounds = {each.name: (each.max_delay_us, each.max_stretch) for each in classes}
    if all(math.isinf(delay_us) and math.isinf(stretch) for delay_us, stretch in bounds.values()):
        return paths
    longest = _longest(paths.demand_of, paths.delay_us, [bounds[demand.traffic_class] for demand in demands])
    return take_paths(paths, paths.delay_us <= longest[paths.demand_of])


def _longest(row: Ints, delay_us: Microseconds, bounds: Sequence[tuple[float, float]]) -> Microseconds:
    """Return how long paths may be, (rows,) µs. row, delay_us: of each path. bounds: delay and stretch of each row."""
    longest, stretch = np.array(bounds, dtype=np.float64).reshape(-1, 2).T.copy()
    shortest = np.full(len(bounds), np.inf)
    np.minimum.at(shortest, row, delay_us)
    finite = np.isfinite(stretch) & np.isfinite(shortest)
    longest[finite] = np.minimum(longest[finite], shortest[finite] * stretch[finite] * (1 + 1e-12))
    return longest


def _replaced(paths: PathSet, rows: Ints, others: PathSet, other_of: Ints) -> PathSet:
    """Return the paths with those of these demands (rows) taken from others: from its rows other_of."""
    both = PathSet(
        np.concatenate([paths.demand_start, paths.demand_start[-1] + others.demand_start[1:]]),
        np.concatenate([paths.path_start, paths.path_start[-1] + others.path_start[1:]]),
        np.concatenate([paths.links, others.links]),
        np.concatenate([paths.delay_us, others.delay_us]),
    )
    taken = np.arange(len(paths.demand_start) - 1)
    taken[rows] = len(taken) + other_of
    return take_demands(both, taken)


def _distinct(values: Sequence[Value]) -> tuple[list[Value], Ints]:
    """Return the distinct values in order of appearance, and the row among them of each value."""
    row: dict[Value, int] = {}
    rows = np.array([row.setdefault(value, len(row)) for value in values], dtype=np.int64)
    return list(row), rows


def _place(sorted_keys: Ints) -> Ints:
    """Return each element's place among those with the same key; equal keys stand together."""
    at = np.arange(len(sorted_keys))
    begins = np.ones(len(sorted_keys), dtype=bool)
    begins[1:] = sorted_keys[1:] != sorted_keys[:-1]
    return at - np.maximum.accumulate(np.where(begins, at, 0))
