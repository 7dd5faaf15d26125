"""Reduce an allocation problem to what contends: few links, and groups of demands instead of demands.

Only links that are in someone's way matter. Restricted to these *active* links, a path whose links include all of
another's is never needed, demands with a path over none of them are free, and demands whose remaining sets of links
are equal compete in the same way: they form one group. Its flows are handed back to its members afterwards.

Where delay counts (`by_delay`), a path is only given up for one that is no longer than it is, and only a demand whose
shortest path crosses none of the links is free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neto.controller.compressed import rows_places
from neto.controller.flows import Bools, Flows, Ints
from neto.controller.groups import Groups, make_groups
from neto.controller.needed import Asked, Hashes, needed_paths
from neto.jit import compiled
from neto.model.topology import Mbps

_NO_GROUP = -1


@dataclass(frozen=True, eq=False)
class Contention:
    """The groups of a problem over its active links, and the way back to the paths of each demand."""

    groups: Groups
    active: Ints  # (links of groups,) rows of the active links
    free_path: Ints  # (demands,) path that crosses no active link; -1: there is none
    kept_start: Ints  # (demands + 1,)
    kept: Ints  # paths of each demand that are needed, in the order of its group's paths


def contend(flows: Flows, active: Bools, *, by_delay: bool = False) -> Contention:
    """Group the demands (with a rate and a path) by how they cross the active links (links,)."""
    links = np.flatnonzero(active)
    row = np.where(active, np.cumsum(active) - 1, -1).astype(np.int32)
    code = np.random.default_rng(len(links)).integers(0, 2**64, len(links), dtype=np.uint64)
    needed = needed_paths(
        Asked(
            flows.demand_start,
            flows.path_start,
            flows.links,
            flows.delay_us,
            flows.demand_mbps > 0,
            row,
            code,
            by_delay=by_delay,
        )
    )
    group, example = _grouped(needed.kept_start, needed.demand_code)
    paths = rows_places(needed.kept_start, example)
    hops = np.diff(needed.hop_start)[paths]
    groups = make_groups(
        np.concatenate([[0], np.cumsum(np.diff(needed.kept_start)[example])]),
        np.concatenate([[0], np.cumsum(hops)]),
        needed.crossed[rows_places(needed.hop_start, paths)],
        group,
        flows.demand_mbps,
        flows.weight,
        flows.by_level,
        flows.capacity_mbps[links],
    )
    return Contention(groups, links, needed.free_path, needed.kept_start, needed.kept)


def hand_out(flows: Flows, contention: Contention, rate_mbps: Mbps, group_flow_mbps: Mbps) -> Mbps:
    """(paths,) Mbit/s: rate_mbps (demands,) on the paths whose groups carry group_flow_mbps, on few paths each.

    Members take their group's paths one after the other (the north-west corner rule), so that at most one member at
    each boundary splits. What flows exceed rates, or fall short of them, is levelled within the group.
    """
    flow = np.zeros(len(flows.demand_of))
    free = np.flatnonzero(contention.free_path >= 0)
    flow[contention.free_path[free]] = rate_mbps[free]
    groups = contention.groups
    _corner(
        groups.member_start, groups.member, groups.group_start, contention.kept_start, contention.kept,
        rate_mbps, group_flow_mbps, flow,
    )  # fmt: skip
    return flow


@compiled
def _grouped(kept_start: Ints, demand_code: Hashes) -> tuple[Ints, Ints]:
    """(demands,) group of each demand that needs paths, else -1, and (groups,) the first demand of each group.

    Groups are numbered in order of their first member.
    """
    demands = len(demand_code)
    size = 16
    while size < 2 * demands:
        size *= 2
    table = np.full(size, _NO_GROUP)
    group = np.full(demands, _NO_GROUP)
    example = np.empty(demands, np.int64)
    count = 0
    for demand in range(demands):
        if kept_start[demand] == kept_start[demand + 1]:
            continue
        code = demand_code[demand]
        place = np.int64((code ^ (code >> np.uint64(32))) & np.uint64(size - 1))
        while table[place] != _NO_GROUP and demand_code[example[table[place]]] != code:
            place = (place + 1) & (size - 1)
        if table[place] == _NO_GROUP:
            table[place] = count
            example[count] = demand
            count += 1
        group[demand] = table[place]
    return group, example[:count].copy()


@compiled
def _corner(
    member_start: Ints, member: Ints, group_start: Ints, kept_start: Ints, kept: Ints,
    rate: Mbps, group_flow: Mbps, flow: Mbps,
) -> None:  # fmt: skip
    for group in range(len(member_start) - 1):
        first, last = group_start[group], group_start[group + 1]
        wanted = 0.0
        for at in range(member_start[group], member_start[group + 1]):
            wanted += rate[member[at]]
        there = 0.0
        for path in range(first, last):
            there += group_flow[path]
        if there <= 0.0 or wanted <= 0.0:
            continue
        at_path = first
        left = group_flow[first] * wanted / there
        for at in range(member_start[group], member_start[group + 1]):
            demand = member[at]
            need = rate[demand]
            while need > 0:
                if left <= 0 and at_path + 1 < last:
                    at_path += 1
                    left = group_flow[at_path] * wanted / there
                    continue
                taken = need if at_path + 1 == last else min(need, left)
                flow[kept[kept_start[demand] + at_path - first]] += taken
                left -= taken
                need -= taken
