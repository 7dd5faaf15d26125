"""Windows of octets -> the demand that the controller works with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from neto.model.demand import DemandMatrix, InboundRate, PrefixDemand, UnknownDemand, UnknownPrefix
from neto.model.demand_window import NONE, CellSpace, DemandWindow, Numbers, merge, sum_cells

_BITS_PER_MBIT = 1e6
_MOST_UNKNOWN = 20  # prefixes that are named


def demand_matrix(windows: Sequence[DemandWindow], space: CellSpace, expected: frozenset[str]) -> DemandMatrix:
    """Mean over windows, oldest first; at least one.

    A router's mean is over the windows that heard it. missing_exporters: those of `expected` that the last window did
    not hear; they have no rates here, for what earlier windows heard of them is less than they carry.
    """
    missing = expected - windows[-1].heard
    seconds = {
        router: sum(window.ends - window.begins for window in windows if router in window.heard)
        for router in dict.fromkeys(space.routers)
        if router not in missing
    }
    whole = merge(map(_of_the_heard, windows), space, windows[0].begins, windows[-1].ends, keep_top=_MOST_UNKNOWN)
    lasted = np.array([seconds.get(router, 0.0) for router in space.routers])
    rows = space.source_rows(whole.cells)
    told = lasted[rows] > 0 if len(rows) else np.zeros(0, np.bool_)
    cells, octets = _at_routers(space, whole.cells[told], whole.octets[told])
    rates = octets * (8 / _BITS_PER_MBIT) / lasted[space.source_rows(cells)]
    over_all = sum(window.ends - window.begins for window in windows)
    unknown = [
        UnknownDemand(source, _mbps(octets, seconds.get(source) or over_all))
        for source, octets in whole.unknown.items()
        if octets
    ]
    return DemandMatrix(
        begins=whole.begins,
        ends=whole.ends,
        rates=tuple(_rates(space, cells, rates)),
        inbound=tuple(_inbound(space, whole.cells[told], whole.octets[told], lasted)),
        unknown_mbps=sum(each.rate_mbps for each in unknown),
        missing_exporters=missing,
        missing_leaves=whole.missing_leaves,
        unknown=tuple(sorted(unknown, key=lambda each: (-each.rate_mbps, each.source))),
        unknown_prefixes=tuple(
            UnknownPrefix(each.source, each.prefix, _mbps(each.octets, seconds.get(each.source) or over_all))
            for each in whole.top
        ),
        doubtful=whole.doubtful,
    )


def _rates(space: CellSpace, cells: Numbers, mbps: npt.NDArray[np.float64]) -> Iterator[PrefixDemand]:
    rest, class_row = np.divmod(cells, max(1, len(space.classes)))
    source_row, destination_row = np.divmod(rest, max(1, len(space.destinations)))
    sources, destinations, classes = space.sources, space.destinations, space.classes
    columns = (source_row.tolist(), destination_row.tolist(), class_row.tolist(), mbps.tolist())
    for source, destination, class_, rate in zip(*columns, strict=True):
        target, prefix = destinations[destination]
        yield PrefixDemand(sources[source], target, classes[class_], prefix, rate)


def _at_routers(space: CellSpace, cells: Numbers, octets: Numbers) -> tuple[Numbers, Numbers]:
    """Sum what comes in by peering links with what else enters at their routers; what stays there is no demand."""
    if not any(space.entries):
        return cells, octets
    router_row = {source: row for row, source in enumerate(space.sources)}
    rest, class_row = np.divmod(cells, len(space.classes))
    source_row, destination_row = np.divmod(rest, len(space.destinations))
    source_row = np.array([router_row.get(router, NONE) for router in space.routers], np.int64)[source_row]
    found, places = np.unique(destination_row, return_inverse=True)
    target_row = np.array([router_row.get(space.destinations[row][0], NONE) for row in found.tolist()], np.int64)[
        places
    ]
    crosses = (source_row != target_row) & (source_row != NONE)
    numbers = (source_row * len(space.destinations) + destination_row) * len(space.classes) + class_row
    return sum_cells([numbers[crosses]], [octets[crosses]], space.size)


def _inbound(
    space: CellSpace, cells: Numbers, octets: Numbers, lasted_s: npt.NDArray[np.float64]
) -> Iterator[InboundRate]:
    """What came in by each peering link toward each prefix."""
    if not any(space.entries):
        return
    by_link = np.array([bool(link) for link in space.entries], np.bool_)[space.source_rows(cells)]
    numbers, sums = sum_cells([cells[by_link] // len(space.classes)], [octets[by_link]])
    for number, octets_of in zip(numbers.tolist(), sums.tolist(), strict=True):
        source, destination = divmod(number, len(space.destinations))
        target, prefix = space.destinations[destination]
        yield InboundRate(space.entries[source], target, prefix, _mbps(octets_of, lasted_s[source]))


def _of_the_heard(window: DemandWindow) -> DemandWindow:
    """Leave out sources that a window did not hear: it has but a part of what entered there."""
    heard = np.array([router in window.heard for router in window.space.routers], np.bool_)
    if heard.all():
        return window
    kept = heard[window.space.source_rows(window.cells)] if len(window.cells) else np.zeros(0, np.bool_)
    left_out = {source for source, there in zip(window.space.sources, heard.tolist(), strict=True) if not there}
    return replace(
        window,
        cells=window.cells[kept],
        octets=window.octets[kept],
        unknown={source: octets for source, octets in window.unknown.items() if source not in left_out},
        top=tuple(each for each in window.top if each.source not in left_out),
    )


def _mbps(octets: int, seconds: float) -> float:
    return octets * 8 / _BITS_PER_MBIT / seconds
