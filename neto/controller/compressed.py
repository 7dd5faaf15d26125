"""Compressed rows: start[i]:start[i + 1] are the places of row i. What many kernels and arrays here do with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neto.controller.flows import Ints, taken_paths
from neto.jit import compiled
from neto.model.allocation import PathSet


def starts(counts: Ints) -> Ints:
    """Return where each row starts in compressed rows of these lengths, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def places(first: Ints, counts: Ints) -> Ints:
    """Return all of first[i] + 0..counts[i]-1, row after row."""
    ends = np.cumsum(counts)
    every: Ints = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - counts), counts)
    return every


def rows_places(start: Ints, chosen: Ints) -> Ints:
    """Return all places of the chosen rows, row after row."""
    return places(start[chosen], np.diff(start)[chosen])


def take_demands(paths: PathSet, rows: Ints) -> PathSet:
    """Return a set whose demand i has the paths of demand rows[i]; the same set where these are all, in order."""
    if len(rows) == len(paths.demand_start) - 1 and bool((rows == np.arange(len(rows))).all()):
        return paths
    path = rows_places(paths.demand_start, rows)
    path_start, links = taken_paths(paths.path_start, paths.links, path)
    return PathSet(starts(np.diff(paths.demand_start)[rows]), path_start, links, paths.delay_us[path])


@compiled
def longest_row(start: Ints) -> int:
    """Return the length of the longest row, at least 1."""
    most = 1
    for row in range(len(start) - 1):
        most = max(most, start[row + 1] - start[row])
    return most


@compiled
def grown(array: NDArray[Any], used: int, wanted: int) -> NDArray[Any]:
    """Return the array, or a longer copy of its first `used` places when it has fewer than `wanted`."""
    if wanted <= len(array):
        return array
    longer = np.empty(max(wanted, 2 * len(array)), array.dtype)
    longer[:used] = array[:used]
    return longer
