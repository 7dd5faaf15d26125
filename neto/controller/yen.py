"""K shortest loop-free paths toward one node: Yen's search, as compiled kernels.

Yen (Management Science 17, 1971) with Lawler's rule (search only from where the last path left its parent), so every
candidate is new. Each spur search is A* with the exact distance to the target as its estimate: one reverse Dijkstra
run serves every source. A spur search is cut off at the cost of the last candidate that is still needed.

Weights are integers, so ties are real ties, and the order in which arcs are stored decides them: always the same way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neto.controller.compressed import grown
from neto.controller.heap import drop_first, push
from neto.jit import compiled
from neto.model.topology import Rows

Ints = NDArray[np.int64]
FAR = 2**62  # more than any path weighs


class Arcs(NamedTuple):
    """A graph in compressed rows: arcs by the node they leave, and again by the node they enter."""

    start: Ints  # (nodes + 1,)
    head: Ints  # (arcs,)
    tail: Ints  # (arcs,)
    weight: Ints  # (arcs,) non-negative
    row: Ints  # (arcs,) the link that each arc stands for
    into_start: Ints  # (nodes + 1,)
    into_tail: Ints  # (arcs,)
    into_weight: Ints  # (arcs,)
    transit: NDArray[np.bool_]  # (nodes,) whether paths may pass through the node


class Scratch(NamedTuple):
    """Working arrays of the searches. A place counts only when it holds the mark of the search under way."""

    keys: Ints  # heap
    items: Ints
    best: Ints  # (nodes,) least cost so far
    via: Ints  # (nodes,) arc by which the node is entered
    seen: Ints  # (nodes,) mark
    closed: Ints  # (nodes,) mark: on the part that the new path shares with its parent
    barred: Ints  # (arcs,) mark: leads to a path that is already known
    mark: Ints  # (1,) last mark given


class Paths(NamedTuple):
    """Paths of one source, in slots. `order` lists candidates, cheapest first, then free slots, then accepted ones."""

    arc: Ints  # (slots, nodes)
    hops: Ints  # (slots,)
    cost: Ints  # (slots,)
    left_at: Ints  # (slots,) hop at which the path leaves its parent
    order: Ints  # (slots,)
    accepted: Ints  # (k,) slots, shortest path first


@compiled
def distances_to(target: int, arcs: Arcs, scratch: Scratch) -> Ints:
    """(nodes,) least weight from every node to `target`, FAR where there is no path."""
    keys, items = scratch.keys, scratch.items
    distance = np.full(len(arcs.start) - 1, FAR)
    distance[target] = 0
    size = push(keys, items, 0, 0, target)
    while size > 0:
        key, node = keys[0], items[0]
        size = drop_first(keys, items, size)
        if key > distance[node] or (node != target and not arcs.transit[node]):
            continue
        for arc in range(arcs.into_start[node], arcs.into_start[node + 1]):
            through = key + arcs.into_weight[arc]
            tail = arcs.into_tail[arc]
            if through < distance[tail]:
                distance[tail] = through
                size = push(keys, items, size, through, tail)
    return distance


@compiled
def spur(
    source: int, target: int, spent: int, bound: int, estimate: Ints, arcs: Arcs, scratch: Scratch, barring: int,
    closing: int,
) -> int:  # fmt: skip
    """Cost of the shortest way on from `source`, reached at cost `spent`, to `target`; FAR if not below `bound`.

    estimate: (nodes,) distances to the target. Closed nodes (mark `closing`) are left out, and so are, out of
    `source`, barred arcs (mark `barring`). The way is then in scratch.via.
    """
    keys, items, best, seen = scratch.keys, scratch.items, scratch.best, scratch.seen
    best[source] = spent
    seen[source] = barring
    size = push(keys, items, 0, spent + estimate[source], source)
    while size > 0:
        key, node = keys[0], items[0]
        size = drop_first(keys, items, size)
        if node == target:
            break
        if key > best[node] + estimate[node]:
            continue
        for arc in range(arcs.start[node], arcs.start[node + 1]):
            onto = arcs.head[arc]
            if estimate[onto] >= FAR or scratch.closed[onto] == closing or (onto != target and not arcs.transit[onto]):
                continue
            if node == source and scratch.barred[arc] == barring:
                continue
            cost = best[node] + arcs.weight[arc]
            if (seen[onto] != barring or cost < best[onto]) and cost + estimate[onto] < bound:
                best[onto] = cost
                seen[onto] = barring
                scratch.via[onto] = arc
                size = push(keys, items, size, cost + estimate[onto], onto)
    else:
        return FAR
    return int(best[target])


@compiled
def has_way(
    node: int, onward: int, spent: int, bound: int, estimate: Ints, arcs: Arcs, scratch: Scratch, closing: int
) -> bool:
    """Whether any arc but `onward` leads on from the node, perhaps at less than `bound`: in chains, none does."""
    for arc in range(arcs.start[node], arcs.start[node + 1]):
        onto = arcs.head[arc]
        if arc != onward and scratch.closed[onto] != closing and spent + arcs.weight[arc] + estimate[onto] < bound:
            return True
    return False


@compiled
def bar_known(last: int, at: int, count: int, paths: Paths, scratch: Scratch, barring: int) -> None:
    """Bar the arcs by which accepted paths that begin like `last`, up to hop `at`, go on."""
    for earlier in range(count):
        other = paths.accepted[earlier]
        if paths.hops[other] <= at:
            continue
        same = True
        for hop in range(at):
            if paths.arc[other, hop] != paths.arc[last, hop]:
                same = False
                break
        if same:
            scratch.barred[paths.arc[other, at]] = barring


@compiled
def insert(
    cost: int, last: int, at: int, node: int, target: int, candidates: int, needed: int,
    paths: Paths, arcs: Arcs, scratch: Scratch,
) -> int:  # fmt: skip
    """Keep the path that follows `last` up to `node` (hop `at`) and then scratch.via; return how many there are."""
    if candidates < needed:
        candidates += 1
    place = candidates - 1
    slot = paths.order[place]  # a free one, or that of the candidate which is no longer needed
    while place > 0 and paths.cost[paths.order[place - 1]] > cost:
        paths.order[place] = paths.order[place - 1]
        place -= 1
    paths.order[place] = slot
    hops = at
    back = target
    while back != node:
        hops += 1
        back = arcs.tail[scratch.via[back]]
    paths.hops[slot] = hops
    paths.cost[slot] = cost
    paths.left_at[slot] = at
    for hop in range(at):
        paths.arc[slot, hop] = paths.arc[last, hop]
    back = target
    while back != node:
        hops -= 1
        paths.arc[slot, hops] = scratch.via[back]
        back = arcs.tail[scratch.via[back]]
    return candidates


@compiled
def branch(
    source: int, target: int, count: int, candidates: int, estimate: Ints, paths: Paths, arcs: Arcs, scratch: Scratch
) -> int:
    """Add the best path that leaves the last accepted one at each of its later nodes; return the candidates there are.

    Nodes stay closed from hop to hop; arcs are barred for one.
    """
    last = paths.accepted[count - 1]
    needed = len(paths.accepted) - count
    node = source
    spent = 0
    scratch.mark[0] += 1
    closing = scratch.mark[0]
    for at in range(paths.hops[last]):
        scratch.closed[node] = closing
        bound = paths.cost[paths.order[needed - 1]] if candidates >= needed else FAR
        if at >= paths.left_at[last] and has_way(
            node, paths.arc[last, at], spent, bound, estimate, arcs, scratch, closing
        ):
            scratch.mark[0] += 1
            barring = scratch.mark[0]
            bar_known(last, at, count, paths, scratch, barring)
            cost = spur(node, target, spent, bound, estimate, arcs, scratch, barring, closing)
            if cost < FAR:
                candidates = insert(
                    cost, last, at, node, target, candidates, needed, paths, arcs, scratch
                )  # fmt: skip
        arc = paths.arc[last, at]
        spent += arcs.weight[arc]
        node = arcs.head[arc]
    return candidates


@compiled
def shortest_paths(source: int, target: int, estimate: Ints, paths: Paths, arcs: Arcs, scratch: Scratch) -> int:
    """Find up to k paths from `source`, shortest first, into paths.accepted; return how many there are."""
    if estimate[source] >= FAR:
        return 0
    k = len(paths.accepted)
    slots = len(paths.order)
    for slot in range(slots):
        paths.order[slot] = slot
    scratch.mark[0] += 1
    cost = spur(source, target, 0, FAR, estimate, arcs, scratch, scratch.mark[0], scratch.mark[0])
    if cost >= FAR:
        return 0
    candidates = insert(cost, 0, 0, source, target, 0, k, paths, arcs, scratch)
    count = 0
    while candidates > 0:
        slot = paths.order[0]
        candidates -= 1
        for place in range(slots - 1):
            paths.order[place] = paths.order[place + 1]
        paths.order[slots - 1] = slot  # taken until the next source
        paths.accepted[count] = slot
        count += 1
        if count == k:
            break
        candidates = branch(source, target, count, candidates, estimate, paths, arcs, scratch)
    return count


@compiled
def paths_toward(target: int, sources: Ints, k: int, arcs: Arcs) -> tuple[Ints, Ints, Rows]:
    """Up to k shortest loop-free paths from each source to `target`.

    Returns (sources,) paths found, (paths,) hops, (hops,) link rows. From the target itself: one path of no hops.
    """
    nodes = len(arcs.start) - 1
    room = len(arcs.head) + 2
    scratch = Scratch(
        np.empty(room, np.int64), np.empty(room, np.int64), np.empty(nodes, np.int64), np.empty(nodes, np.int64),
        np.zeros(nodes, np.int64), np.zeros(nodes, np.int64), np.zeros(room, np.int64), np.zeros(1, np.int64),
    )  # fmt: skip
    slots = k + 1
    paths = Paths(
        np.empty((slots, nodes), np.int64), np.empty(slots, np.int64), np.empty(slots, np.int64),
        np.empty(slots, np.int64), np.empty(slots, np.int64), np.empty(k, np.int64),
    )  # fmt: skip
    estimate = distances_to(target, arcs, scratch)
    found = np.zeros(len(sources), np.int64)
    hops = np.empty(len(sources) * k, np.int64)
    rows = np.empty(max(16, 8 * len(sources) * k), np.int32)
    total = 0
    used = 0
    for which in range(len(sources)):
        count = shortest_paths(sources[which], target, estimate, paths, arcs, scratch)
        found[which] = count
        for slot in paths.accepted[:count]:
            length = paths.hops[slot]
            rows = grown(rows, used, used + length)
            for hop in range(length):
                rows[used + hop] = arcs.row[paths.arc[slot, hop]]
            used += length
            hops[total] = length
            total += 1
    return found, hops[:total].copy(), rows[:used].copy()
