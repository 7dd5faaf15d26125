"""Octets of one window, as columns: what a collector counts, spools, sends and merges.

A cell is (source, destination, class); its number counts them row by row, so that one int64 column names cells and
a sum over windows is a sort. Octets are integers: what comes in is what comes out, however often it is merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_network
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from neto.model.peering import Prefix

Numbers = npt.NDArray[np.int64]
Cell = tuple[str, str, str, Prefix]  # source, target, class, prefix
NONE = -1  # the number of what is not there
_ENTRY = "|"  # in no name of anything
REST: Prefix = ip_network("::/0")  # stands for a target's prefixes that are not counted by themselves
_DENSE = 4  # numbers for each that is counted, up to which all are held

Name = TypeVar("Name")


def entry(router: str, peering_link: str) -> str:
    """Name what comes in at a router by one of its peering links: a source of its own."""
    return f"{router}{_ENTRY}{peering_link}"


@dataclass(frozen=True, eq=False)
class CellSpace:
    """What cells there can be, in an order that numbers them."""

    sources: tuple[str, ...]  # routers, and what comes in at them by their peering links
    destinations: tuple[tuple[str, Prefix], ...]  # target and prefix
    classes: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many cells there are."""
        return len(self.sources) * len(self.destinations) * len(self.classes)

    def cell(self, number: int) -> Cell:
        """What a cell's number stands for."""
        number, class_row = divmod(number, len(self.classes))
        source, destination = divmod(number, len(self.destinations))
        target, prefix = self.destinations[destination]
        return self.sources[source], target, self.classes[class_row], prefix

    def source_rows(self, cells: Numbers) -> Numbers:
        """Row of each cell's source, (cells,)."""
        return cells // max(1, len(self.destinations) * len(self.classes))

    @cached_property
    def routers(self) -> tuple[str, ...]:
        """Router that each source is, or is a part of."""
        return tuple(source.partition(_ENTRY)[0] for source in self.sources)

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """Peering link that each source is; "" for a router's other traffic."""
        return tuple(source.partition(_ENTRY)[2] for source in self.sources)

    @property
    def shape(self) -> tuple[int, int]:
        """How many destinations and classes there are."""
        return len(self.destinations), len(self.classes)

    def translation(self, of: CellSpace) -> Translation:
        """How to write the cells of another space as ours; of peering links that we do not know, their router's."""
        found = self._translations.get(of)
        if found is None:
            sources, destinations, classes = self.rows
            own = _found(sources, of.sources)
            found = self._translations[of] = Translation(
                self.shape,
                of.shape,
                np.where(own == NONE, _found(sources, of.routers), own),
                _found(destinations, of.destinations),
                _found(classes, of.classes),
            )
        return found

    @cached_property
    def _translations(self) -> WeakKeyDictionary[CellSpace, Translation]:
        return WeakKeyDictionary()

    @cached_property
    def rows(self) -> tuple[Mapping[str, int], Mapping[tuple[str, Prefix], int], Mapping[str, int]]:
        """Rows of sources, destinations and classes, by name."""
        return _rows(self.sources), _rows(self.destinations), _rows(self.classes)


class Translation(NamedTuple):
    """Rows of one space by the rows of another; NONE where there is no such name."""

    shape: tuple[int, int]  # destinations and classes of the space that is translated to
    from_shape: tuple[int, int]
    source: Numbers
    destination: Numbers
    class_: Numbers

    @property
    def changes_nothing(self) -> bool:
        """Whether the two number their cells alike."""
        rows = (self.source, self.destination, self.class_)
        return self.shape == self.from_shape and all((each == np.arange(len(each))).all() for each in rows)

    def cells(self, cells: Numbers) -> Numbers:
        """Number of each cell in the space that is translated to, (cells,); NONE where it has no such cell."""
        if not len(cells) or self.changes_nothing:
            return cells
        rest, class_row = np.divmod(cells, self.from_shape[1])
        source_row, destination_row = np.divmod(rest, self.from_shape[0])
        source, destination = self.source[source_row], self.destination[destination_row]
        class_ = self.class_[class_row]
        number = (source * self.shape[0] + destination) * self.shape[1] + class_
        return np.where((source < 0) | (destination < 0) | (class_ < 0), NONE, number)


def _found(rows: Mapping[Name, int], names: Iterable[Name]) -> Numbers:
    return np.array([rows.get(name, NONE) for name in names], np.int64)


def _rows(names: Iterable[Name]) -> Mapping[Name, int]:
    return {name: row for row, name in enumerate(names)}


@dataclass(frozen=True)
class TopPrefix:
    """A large destination of what matched nothing."""

    source: str
    prefix: Prefix
    octets: int  # at least


@dataclass(frozen=True, eq=False)
class DemandWindow:
    """What entered in [begins, ends), sampling applied.

    cells: (n,) growing numbers in `space`; octets: (n,) positive.
    """

    begins: float  # unix seconds
    ends: float
    space: CellSpace
    cells: Numbers
    octets: Numbers
    unknown: Mapping[str, int] = field(default_factory=dict)  # octets that no prefix holds, by source
    top: tuple[TopPrefix, ...] = ()  # of the unknown, largest first
    heard: frozenset[str] = frozenset()  # routers whose exports came
    doubtful: Mapping[str, str] = field(default_factory=dict)  # routers of whose exports some were lost, and how many
    missing_leaves: frozenset[str] = frozenset()  # collectors that should have told and did not

    @property
    def total(self) -> int:
        """Octets in all rows, the unknown ones too."""
        return int(self.octets.sum()) + sum(self.unknown.values())


def sum_cells(cells: Sequence[Numbers], octets: Sequence[Numbers], size: int | None = None) -> tuple[Numbers, Numbers]:
    """Sum octets by cell: growing cell numbers and their sums, exact as long as a sum fits 63 bits.

    size: cells lie below it; where it is told and not much more than there are of them, no sorting is needed.
    """
    numbers = np.concatenate(cells) if cells else np.zeros(0, np.int64)
    if not len(numbers):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    values = np.concatenate(octets)
    if size is not None and size <= _DENSE * len(numbers):
        sums = np.zeros(size, np.int64)
        np.add.at(sums, numbers, values)
        found = np.flatnonzero(sums)
        return found, sums[found]
    order = np.argsort(numbers)
    numbers = numbers[order]
    starts = np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1])))
    return numbers[starts], np.add.reduceat(values[order], starts)


def merge(
    windows: Iterable[DemandWindow], space: CellSpace, begins: float, ends: float, *, keep_top: int = 20
) -> DemandWindow:
    """Add up windows of other collectors, or parts of one; cells that `space` does not have become unknown."""
    cells: list[Numbers] = []
    octets: list[Numbers] = []
    unknown: dict[str, int] = {}
    top: dict[tuple[str, Prefix], int] = {}
    heard: set[str] = set()
    doubtful: dict[str, str] = {}
    missing: set[str] = set()
    for window in windows:
        known, values = _take(window, space, unknown)
        cells.append(known)
        octets.append(values)
        for source, count in window.unknown.items():
            unknown[source] = unknown.get(source, 0) + count
        for each in window.top:
            key = each.source, each.prefix
            top[key] = top.get(key, 0) + each.octets
        heard |= window.heard
        doubtful.update(window.doubtful)
        missing |= window.missing_leaves
    largest = sorted(top.items(), key=lambda item: -item[1])[:keep_top]
    numbers, sums = sum_cells(cells, octets, space.size)
    return DemandWindow(
        begins,
        ends,
        space,
        numbers,
        sums,
        unknown,
        tuple(TopPrefix(*key, count) for key, count in largest),
        frozenset(heard),
        doubtful,
        frozenset(missing),
    )


def _take(window: DemandWindow, space: CellSpace, unknown: dict[str, int]) -> tuple[Numbers, Numbers]:
    """Write a window's cells as `space` numbers them; what it does not have is added to `unknown`, by source."""
    if window.space is space:
        return window.cells, window.octets
    cells, octets = _crossing(window, space)
    numbers = space.translation(window.space).cells(cells)
    known = numbers != NONE
    if known.all():
        return numbers, octets
    rows = window.space.source_rows(cells[~known])
    lost = octets[~known]
    for row in np.unique(rows).tolist():
        source = window.space.routers[row]
        unknown[source] = unknown.get(source, 0) + int(lost[rows == row].sum())
    return numbers[known], octets[known]


def _crossing(window: DemandWindow, space: CellSpace) -> tuple[Numbers, Numbers]:
    """Leave out what came in by links that `space` does not know and stayed at its router: there it is no demand."""
    of = window.space
    links = zip(of.sources, of.entries, strict=True)
    folded = np.array([bool(link) and source not in space.rows[0] for source, link in links], np.bool_)
    if not folded.any():
        return window.cells, window.octets
    rows = of.source_rows(window.cells)
    to = window.cells // len(of.classes) % len(of.destinations)
    counts = np.ones(len(rows), np.bool_)
    for at in np.flatnonzero(folded[rows]).tolist():
        counts[at] = of.routers[rows[at]] != of.destinations[to[at]][0]
    return window.cells[counts], window.octets[counts]
