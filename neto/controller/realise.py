"""Turn an allocation into what routers are told: policies per class, per-flow policies, routes for steered prefixes.

Shares become integer weights that sum to a grain. Paths that a head-end cannot express (no labels, or more of them
than it can impose) are taken out before allocation, so that everything allocated can be realised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neto.controller.forwarding import Forwarding
from neto.controller.peering import Targets
from neto.controller.segments import pin_path
from neto.model.allocation import PathSet
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from neto.model.sr import PolicyKey, Segment, SegmentList, SrPolicy
from neto.model.topology import Mbps, Topology

Segments = tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Quanta:
    """What weights can say."""

    grain: int = 100  # weights of a policy sum to this
    most_paths: int = 4  # segment lists a policy may have


def expressible(forwarding: Forwarding, demands: Sequence[Demand], paths: PathSet) -> tuple[PathSet, list[Segments]]:
    """Return the paths that their head-ends can express, in the same order, and the segment list of each.

    An exit without a SID cannot be pinned: it stays only where it is the one that its border takes by itself.
    """
    joint = forwarding.joint
    keep: list[int] = []
    told: list[Segments] = []
    demand_start = [0]
    for row, demand in enumerate(demands):
        depth = joint.nodes[joint.node_row[demand.source]].max_sid_depth
        for path in range(int(paths.demand_start[row]), int(paths.demand_start[row + 1])):
            segments = pin_path(joint, paths.path(path), require_labels=True)
            if not segments or len(segments) > depth:
                continue
            split = forwarding.list_split(demand.source, segments, demand.target)
            if split is not None and split[0].tolist() == sorted(paths.path(path)):
                keep.append(path)
                told.append(segments)
        demand_start.append(len(keep))
    return _selected(paths, keep, demand_start), told


def filled_in(
    paths: PathSet, told: Sequence[Segments], rows: Sequence[int], others: PathSet, told_others: Sequence[Segments]
) -> tuple[PathSet, list[Segments]]:
    """Return the paths with those of some demands (rows) taken from others, which has one demand for each of them."""
    at = {row: place for place, row in enumerate(rows)}
    demand_start, links, delay_us, labels = [0], [], [], []
    for row in range(len(paths.demand_start) - 1):
        source, of, names = (others, at[row], told_others) if row in at else (paths, row, told)
        for path in range(int(source.demand_start[of]), int(source.demand_start[of + 1])):
            links.append(source.path(path))
            delay_us.append(float(source.delay_us[path]))
            labels.append(names[path])
        demand_start.append(len(links))
    return _path_set(demand_start, links, delay_us), labels


def of_demands(paths: PathSet, told: Sequence[Segments], rows: Sequence[int]) -> tuple[PathSet, list[Segments]]:
    """Return the paths of these demands only, in this order, and the segment list of each."""
    spans = [range(int(paths.demand_start[row]), int(paths.demand_start[row + 1])) for row in rows]
    keep = [path for span in spans for path in span]
    return _selected(paths, keep, np.cumsum([0, *map(len, spans)]).tolist()), [told[path] for path in keep]


def weights(
    joint: Topology, paths: PathSet, rate_mbps: Mbps, requested_mbps: Mbps, room_mbps: Mbps, quanta: Quanta
) -> NDArray[np.int64]:
    """(paths,) integer weights, per demand summing to the grain, nearest to the shares of rate_mbps (paths,).

    requested_mbps: (demands,) what each demand carries. Units that rounding leaves over go where room_mbps (links,),
    the room that the whole allocation may use, has space for them.
    """
    given = np.zeros(len(rate_mbps), dtype=np.int64)
    owed: list[tuple[float, int, list[int], int]] = []
    for row, requested in enumerate(requested_mbps):
        span = range(int(paths.demand_start[row]), int(paths.demand_start[row + 1]))
        ranked = sorted((path for path in span if rate_mbps[path] > 0), key=lambda path: (-rate_mbps[path], path))
        ranked = sorted(ranked[: quanta.most_paths]) or list(span[:1])
        if not ranked:
            continue
        total = float(rate_mbps[ranked].sum())
        exact = rate_mbps[ranked] / total * quanta.grain if total > 0 else np.array([float(quanta.grain)])
        given[ranked] = np.floor(exact + 1e-9)
        by_remainder = sorted(range(len(ranked)), key=lambda i: (-(exact[i] - np.floor(exact[i] + 1e-9)), i))
        owed.append((float(requested), row, [ranked[i] for i in by_remainder], quanta.grain - int(given[ranked].sum())))
    unit = requested_mbps / quanta.grain
    room = room_mbps - paths.loads(given * unit[paths.demand_of], len(joint.links))
    for _, row, ranked, units in sorted(owed, key=lambda each: (-each[0], each[1])):
        for _ in range(units):
            roomy = [path for path in ranked if (room[list(paths.path(path))] >= unit[row]).all()]
            path = (roomy or ranked)[0]
            ranked.remove(path)
            given[path] += 1
            room[list(paths.path(path))] -= unit[row]
            if not ranked:
                break
    return given


def with_excess(
    joint: Topology, paths: PathSet, rate_mbps: Mbps, requested_mbps: Mbps, base_mbps: Mbps, over_now: NDArray[np.bool_]
) -> Mbps:
    """(paths,) the rates, plus what each demand (demands,) asks beyond them: nothing polices it, it flows somewhere.

    It goes where it overloads least that is not overloaded now (over_now, by link), then least at all, then nearest.
    base_mbps: (links,) what else is on the links.
    """
    full = rate_mbps.astype(np.float64)
    capacity = joint.capacity_mbps
    load = base_mbps + paths.loads(full, len(joint.links))
    given = np.bincount(paths.demand_of, full, minlength=len(requested_mbps))
    for row in np.flatnonzero(given < requested_mbps * (1 - 1e-9)).tolist():
        excess = float(requested_mbps[row] - given[row])
        span = range(int(paths.demand_start[row]), int(paths.demand_start[row + 1]))
        harm = []
        for path in span:
            links = list(paths.path(path))
            over = np.maximum(load[links] + excess - np.maximum(capacity[links], load[links]), 0.0)
            fresh = float(over[~over_now[links]].sum())
            harm.append((round(fresh, 6), round(float(over.sum()), 6), path))
        if harm:
            path = min(harm)[2]
            full[path] += excess
            load[list(paths.path(path))] += excess
    return full


def segment_lists(segments: Sequence[Segments], weight: NDArray[np.int64]) -> tuple[SegmentList, ...]:
    """Return the lists that carry something, in order of their labels: the same content always looks the same."""
    lists = [SegmentList(each, int(share)) for each, share in zip(segments, weight, strict=True) if share > 0]
    return tuple(sorted(lists, key=lambda one: [segment.label for segment in one.segments]))


def per_flow_policy(
    targets: Targets, headend: str, target: str, endpoint: str, classes: Sequence[TrafficClass]
) -> SrPolicy:
    """Return the policy that tells classes apart by DSCP and hands each to its own."""
    pairs = [(dscp, targets.class_colour(target, row)) for row, each in enumerate(classes[:-1]) for dscp in each.dscp]
    pairs.append((-1, targets.class_colour(target, len(classes) - 1)))
    return SrPolicy(PolicyKey(headend, targets.steering_colour(target), endpoint), per_flow=tuple(sorted(pairs)))


def _selected(paths: PathSet, keep: Sequence[int], demand_start: Sequence[int]) -> PathSet:
    return _path_set(demand_start, [paths.path(path) for path in keep], [float(paths.delay_us[path]) for path in keep])


def _path_set(demand_start: Sequence[int], links: Sequence[tuple[int, ...]], delay_us: Sequence[float]) -> PathSet:
    return PathSet(
        demand_start=np.array(demand_start, dtype=np.int64),
        path_start=np.cumsum([0, *map(len, links)]).astype(np.int64),
        links=np.array([link for path in links for link in path], dtype=np.int32),
        delay_us=np.array(delay_us, dtype=np.float64),
    )
