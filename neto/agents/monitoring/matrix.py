"""Windows of octets -> the demand that the controller works with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from neto.model.demand import DemandMatrix, PrefixDemand, UnknownDemand, UnknownPrefix
from neto.model.demand_window import CellSpace, DemandWindow, Numbers, merge

_BITS_PER_MBIT = 1e6
_MOST_UNKNOWN = 20  # prefixes that are named


def demand_matrix(windows: Sequence[DemandWindow], space: CellSpace, expected: frozenset[str]) -> DemandMatrix:
    """Mean over windows, oldest first; at least one.

    A router's mean is over the windows that heard it. missing_exporters: those of `expected` that the last window did
    not hear; they have no rates here, for what earlier windows heard of them is less than they carry.
    """
    missing = expected - windows[-1].heard
    seconds = {
        source: sum(window.ends - window.begins for window in windows if source in window.heard)
        for source in space.sources
        if source not in missing
    }
    whole = merge(map(_of_the_heard, windows), space, windows[0].begins, windows[-1].ends, keep_top=_MOST_UNKNOWN)
    lasted = np.array([seconds.get(source, 0.0) for source in space.sources])
    rows = space.source_rows(whole.cells)
    told = lasted[rows] > 0 if len(rows) else np.zeros(0, np.bool_)
    rates = whole.octets[told] * (8 / _BITS_PER_MBIT) / lasted[rows[told]]
    over_all = sum(window.ends - window.begins for window in windows)
    unknown = [
        UnknownDemand(source, _mbps(octets, seconds.get(source) or over_all))
        for source, octets in whole.unknown.items()
        if octets
    ]
    return DemandMatrix(
        begins=whole.begins,
        ends=whole.ends,
        rates=tuple(_rates(space, whole.cells[told], rates)),
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


def _of_the_heard(window: DemandWindow) -> DemandWindow:
    """Leave out sources that a window did not hear: it has but a part of what entered there."""
    heard = np.array([source in window.heard for source in window.space.sources], np.bool_)
    if heard.all():
        return window
    kept = heard[window.space.source_rows(window.cells)] if len(window.cells) else np.zeros(0, np.bool_)
    return replace(window, cells=window.cells[kept], octets=window.octets[kept])


def _mbps(octets: int, seconds: float) -> float:
    return octets * 8 / _BITS_PER_MBIT / seconds
