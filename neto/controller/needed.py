"""Which of its paths each demand needs, when only some links matter. Compiled kernels.

Restricted to those links, paths become sets of links. Demand after demand, the sets are laid out in a sketch of one
demand, and those that are needed are appended to the result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neto.controller.compressed import grown, longest_row
from neto.controller.flows import Bools, Floats, Ints
from neto.jit import compiled
from neto.model.topology import Rows

Hashes = NDArray[np.uint64]

_FREE = -1
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Asked(NamedTuple):
    """The problem. `code`: equal sets have equal sums of these; two that differ agree by chance once in 2**64."""

    demand_start: Ints
    path_start: Ints
    links: Rows
    delay: Floats  # (paths,)
    wants: Bools  # (demands,) whether the demand takes part
    row: Rows  # (links,) row among the links that matter, else -1
    code: Hashes  # (links that matter,)
    by_delay: bool  # a path is given up only for one that is no longer


class Needed(NamedTuple):
    """The paths that demands need, as sets of links that matter, each demand's in order of their codes."""

    kept_start: Ints  # (demands + 1,)
    kept: Ints  # (needed,) rows of the paths
    hop_start: Ints  # (needed + 1,)
    crossed: Rows  # (hops,) each path's links, ascending
    free_path: Ints  # (demands,) path that crosses none of the links; -1: there is none
    demand_code: Hashes  # (demands,) of all the demand's sets


class _Sketch(NamedTuple):
    """The sets of one demand."""

    start: Ints  # (paths of a demand + 1,)
    links: Rows
    code: Hashes  # (paths of a demand,) of those that are needed, ascending
    which: Ints  # (paths of a demand,) the path of each of these


@compiled
def needed_paths(asked: Asked) -> Needed:
    """Restrict the paths of each demand that wants something, and keep what it needs.

    What a free demand's further paths cross is not looked at: most demands are free, and shortest paths come first.
    """
    demands = len(asked.demand_start) - 1
    most = longest_row(asked.demand_start)
    longest = 1
    for demand in range(demands):
        first, last = asked.demand_start[demand], asked.demand_start[demand + 1]
        longest = max(longest, asked.path_start[last] - asked.path_start[first])
    sketch = _Sketch(
        np.zeros(most + 1, np.int64), np.empty(longest, np.int32), np.empty(most, np.uint64), np.empty(most, np.int64)
    )  # fmt: skip
    kept_start = np.zeros(demands + 1, np.int64)
    kept = np.empty(demands + most, np.int64)
    hop_start = np.zeros(demands + most + 1, np.int64)
    crossed = np.empty(16 * demands + longest, np.int32)
    free_path = np.full(demands, _FREE)
    demand_code = np.zeros(demands, np.uint64)
    used = 0
    for demand in range(demands):
        if asked.wants[demand]:
            seen, free_path[demand] = _lay_out(demand, asked, sketch)
            if free_path[demand] == _FREE and seen > 0:
                kept = grown(kept, used, used + most)
                hop_start = grown(hop_start, used + 1, used + most + 1)
                crossed = grown(crossed, hop_start[used], hop_start[used] + longest)
                count = _choose(demand, seen, asked, sketch)
                demand_code[demand] = _append(asked.demand_start[demand], count, used, kept, hop_start, crossed, sketch)
                used += count
        kept_start[demand + 1] = used
    return Needed(
        kept_start, kept[:used].copy(), hop_start[: used + 1].copy(), crossed[: hop_start[used]].copy(), free_path,
        demand_code,
    )  # fmt: skip


@compiled
def _lay_out(demand: int, asked: Asked, sketch: _Sketch) -> tuple[int, int]:
    """Fill the sketch with the sets of the demand's paths; return how many there are, and the path that is free.

    The rest is not looked at once a path crosses nothing: no longer one is needed.
    """
    first, last = asked.demand_start[demand], asked.demand_start[demand + 1]
    end = 0
    for path in range(first, last):
        begin = end
        for hop in range(asked.path_start[path], asked.path_start[path + 1]):
            link = asked.row[asked.links[hop]]
            if link >= 0:
                place = end
                while place > begin and sketch.links[place - 1] > link:
                    sketch.links[place] = sketch.links[place - 1]
                    place -= 1
                sketch.links[place] = link
                end += 1
        sketch.start[path - first + 1] = end
        if end == begin:
            return path - first + 1, path if path == first or not asked.by_delay else _FREE
    return last - first, _FREE


@compiled
def _choose(demand: int, seen: int, asked: Asked, sketch: _Sketch) -> int:
    """List those of the sets that are needed, in order of their codes; return how many they are."""
    count = 0
    first = asked.demand_start[demand]
    for one in range(seen):
        needed = True
        for other in range(seen):
            shorter = not asked.by_delay or asked.delay[first + other] <= asked.delay[first + one]
            if other != one and shorter and _replaces(other, one, sketch):
                needed = False
                break
        if needed:
            mark = np.uint64(1)
            for hop in range(sketch.start[one], sketch.start[one + 1]):
                mark += asked.code[sketch.links[hop]]
            place = count
            while place > 0 and sketch.code[place - 1] > mark:
                sketch.code[place] = sketch.code[place - 1]
                sketch.which[place] = sketch.which[place - 1]
                place -= 1
            sketch.code[place] = mark
            sketch.which[place] = one
            count += 1
    return count


@compiled
def _replaces(other: int, one: int, sketch: _Sketch) -> bool:
    """Whether a set is part of another one; of equals, the first replaces the others."""
    at, end = sketch.start[other], sketch.start[other + 1]
    against, until = sketch.start[one], sketch.start[one + 1]
    if end - at > until - against or (end - at == until - against and other > one):
        return False
    while at < end:
        while against < until and sketch.links[against] < sketch.links[at]:
            against += 1
        if against == until or sketch.links[against] != sketch.links[at]:
            return False
        at += 1
    return True


@compiled
def _append(
    first: int, count: int, used: int, kept: Ints, hop_start: Ints, crossed: Rows, sketch: _Sketch
) -> np.uint64:
    """Append the chosen sets to the result from place `used` on; return the code of all of them."""
    total = np.uint64(count)
    for chosen in range(count):
        one = sketch.which[chosen]
        kept[used + chosen] = first + one
        begin, size = hop_start[used + chosen], sketch.start[one + 1] - sketch.start[one]
        crossed[begin : begin + size] = sketch.links[sketch.start[one] : sketch.start[one + 1]]
        hop_start[used + chosen + 1] = begin + size
        mixed = (total ^ sketch.code[chosen]) * _MIX
        total = mixed ^ (mixed >> np.uint64(29))
    return total
