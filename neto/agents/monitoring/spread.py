"""Octets over the life of their flows: what a record tells at its end, put where it was sent.

A record says how much passed between its start and its end; within that the rate is taken as even. Octets are integers
and none is made or lost: a window gets the difference of what had passed, rounded down, at its two ends.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neto.agents.monitoring.batch import Seconds
from neto.model.demand_window import Numbers


class Pieces(NamedTuple):
    """Records cut at the ends of windows, (pieces,) each."""

    record: Numbers | None  # the row that each piece is of; None: each record is one piece
    window: Numbers  # number of the window, counted from time 0
    octets: Numbers


def lifetimes(
    start: Seconds, end: Seconds, skew_s: Seconds | float, now: float, reach_s: float
) -> tuple[Seconds, Seconds]:
    """Starts and ends by our clock, neither later than now; what is not told is now, and no life ends before it begins.

    skew_s: by how much the exporter's clock is ahead of ours. reach_s: a life that ended longer ago is not believed,
    and taken for one that is not told.
    """
    last = np.fmin(end - skew_s, now)  # of a number and NaN, the number
    first = np.fmin(start - skew_s, last)
    if not (np.isfinite(first).all() and np.isfinite(last).all()):
        last = np.where(np.isfinite(last), last, now)
        first = np.where(np.isfinite(first), first, last)
    beyond = last < now - reach_s
    if beyond.any():
        first, last = np.where(beyond, now, first), np.where(beyond, now, last)
    return first, last


def spread(octets: Numbers, start: Seconds, end: Seconds, window_s: float, *, earliest: int) -> Pieces:
    """Cut records at the ends of windows.

    octets: below 2**53. start, end: unix seconds, finite, start <= end. What was sent before the window `earliest`
    began counts as sent in it.
    """
    first = np.maximum(_window(start, window_s), earliest)
    last = np.maximum(_window(end, window_s), earliest)
    longer = last > first
    if not longer.any():
        return Pieces(None, last, octets)
    counts = last - first + 1
    record = np.repeat(np.arange(len(octets)), counts)
    window = first[record] + np.arange(len(record)) - (np.cumsum(counts) - counts)[record]
    with np.errstate(divide="ignore", invalid="ignore"):
        passed = ((window + 1) * window_s - start[record]) / (end - start)[record]
    at_end = np.floor(octets[record] * np.clip(passed, 0.0, 1.0)).astype(
        np.int64
    )  # in its last window a flow has passed
    before = np.concatenate(([0], at_end[:-1]))
    before[window == first[record]] = 0
    return Pieces(record, window, at_end - before)


def _window(seconds: Seconds, window_s: float) -> Numbers:
    return np.floor(seconds / window_s).astype(np.int64)
