"""Reduce an allocation problem to what contends: few links, and groups of demands instead of demands.

Only links that are in someone's way matter. Restricted to these *active* links, a path whose links include all of
another's is never needed, demands with a path over none of them are free, and demands whose remaining sets of links
are equal compete in the same way: they form one group. Its flows are handed back to its members afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neto.controller.flows import Bools, Flows, Ints
from neto.controller.groups import Groups, make_groups
from neto.controller.jit import compiled
from neto.model.topology import Mbps, Rows

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Contention:
    """The groups of a problem over its active links, and the way back to the paths of each demand."""

    groups: Groups
    active: Ints  # (links of groups,) rows of the active links
    free_path: Ints  # (demands,) path that crosses no active link; -1: there is none
    kept_start: Ints  # (demands + 1,)
    kept: Ints  # paths of each demand that are needed, in the order of its group's paths


def contend(flows: Flows, active: Bools) -> Contention:
    """Group the demands (with a rate and a path) by how they cross the active links (links,)."""
    links = np.flatnonzero(active)
    row = np.where(active, np.cumsum(active) - 1, -1).astype(np.int32)
    path_start, crossed = restrict(flows.path_start, flows.links, row)
    # Equal sets have equal sums of these: two that differ agree by chance once in 2**64.
    code = np.random.default_rng(len(links)).integers(0, 2**64, len(links), dtype=np.uint64)
    wants = (flows.demand_mbps > 0) & (np.diff(flows.demand_start) > 0)
    kept_start, kept, free_path, demand_code = _needed(flows.demand_start, path_start, crossed, code, wants)
    contends = wants & (free_path < 0)
    members = np.flatnonzero(contends)
    _, first, which = np.unique(demand_code[members], return_index=True, return_inverse=True)
    order = np.argsort(first)  # groups in order of their first member
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    group = np.full(len(wants), -1, dtype=np.int64)
    group[members] = rank[which]
    example = members[first[order]]
    paths = kept[_rows(kept_start, example)]
    hops = np.diff(path_start)[paths]
    groups = make_groups(
        np.concatenate([[0], np.cumsum(np.diff(kept_start)[example])]),
        np.concatenate([[0], np.cumsum(hops)]),
        crossed[_rows(path_start, paths)],
        group,
        flows.demand_mbps,
        flows.weight,
        flows.capacity_mbps[links],
    )
    return Contention(groups, links, free_path, kept_start, kept)


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


def _rows(start: Ints, chosen: Ints) -> Ints:
    """All places of the chosen compressed rows, row after row."""
    counts = np.diff(start)[chosen]
    ends = np.cumsum(counts)
    places: Ints = np.arange(ends[-1] if len(ends) else 0) + np.repeat(start[chosen] - (ends - counts), counts)
    return places


@compiled
def restrict(path_start: Ints, links: Rows, row: Rows) -> tuple[Ints, Rows]:
    """Paths over the active links alone (row >= 0), renumbered, each in ascending order."""
    start = np.zeros(len(path_start), np.int64)
    crossed = np.empty(len(links), np.int32)
    used = 0
    for path in range(len(path_start) - 1):
        for hop in range(path_start[path], path_start[path + 1]):
            link = row[links[hop]]
            if link >= 0:
                place = used
                while place > start[path] and crossed[place - 1] > link:
                    crossed[place] = crossed[place - 1]
                    place -= 1
                crossed[place] = link
                used += 1
        start[path + 1] = used
    return start, crossed[:used].copy()


@compiled
def _within(small: Rows, large: Rows) -> bool:
    """Whether an ascending list is part of another."""
    at = 0
    for link in small:
        while at < len(large) and large[at] < link:
            at += 1
        if at == len(large) or large[at] != link:
            return False
    return True


@compiled
def _is_needed(path: int, first: int, last: int, path_start: Ints, crossed: Rows) -> bool:
    """Whether no other path first..last - 1 crosses a part of what this one crosses (of equals, the first)."""
    mine = crossed[path_start[path] : path_start[path + 1]]
    for other in range(first, last):
        theirs = crossed[path_start[other] : path_start[other + 1]]
        better = len(theirs) < len(mine) or (len(theirs) == len(mine) and other < path)
        if other != path and better and _within(theirs, mine):
            return False
    return True


@compiled
def _set_code(path: int, path_start: Ints, crossed: Rows, code: Hashes) -> np.uint64:
    """Code of a set of links."""
    total = np.uint64(1)
    for hop in range(path_start[path], path_start[path + 1]):
        total += code[crossed[hop]]
    return total


@compiled
def _needed(
    demand_start: Ints, path_start: Ints, crossed: Rows, code: Hashes, wants: Bools
) -> tuple[Ints, Ints, Ints, Hashes]:
    """The needed paths of each demand in order of their codes, its free path, and the code of all its sets."""
    demands = len(demand_start) - 1
    kept_start = np.zeros(demands + 1, np.int64)
    kept = np.empty(len(path_start) - 1, np.int64)
    codes = np.empty(len(path_start) - 1, np.uint64)
    free_path = np.full(demands, -1)
    demand_code = np.zeros(demands, np.uint64)
    used = 0
    for demand in range(demands):
        first, last = demand_start[demand], demand_start[demand + 1]
        if wants[demand]:
            for path in range(first, last):
                if path_start[path] == path_start[path + 1]:
                    free_path[demand] = path
                    break
        if wants[demand] and free_path[demand] < 0:
            for path in range(first, last):
                if _is_needed(path, first, last, path_start, crossed):
                    mark = _set_code(path, path_start, crossed, code)
                    place = used
                    while place > kept_start[demand] and codes[place - 1] > mark:
                        codes[place] = codes[place - 1]
                        kept[place] = kept[place - 1]
                        place -= 1
                    codes[place] = mark
                    kept[place] = path
                    used += 1
            for place in range(kept_start[demand], used):
                mixed = demand_code[demand] ^ codes[place]
                mixed *= np.uint64(0x9E3779B97F4A7C15)
                demand_code[demand] = mixed ^ (mixed >> np.uint64(29))
        kept_start[demand + 1] = used
    return kept_start, kept[:used].copy(), free_path, demand_code


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
