"""Octets over the life of their flows: what a record tells at its end, put where it was sent.

A record says how much passed between its start and its end; within that the rate is taken as even. Octets are integers
and none is made or lost: a window gets the difference of what had passed, rounded down, at its two ends.
"""

from __future__ import annotations

import numpy as np

from neto.jit import compiled


@compiled
def lifetime(start: float, end: float, skew_s: float, now: float, reach_s: float) -> tuple[float, float]:
    """Start and end by our clock, neither later than now; what is not told is now, and no life ends before it begins.

    start, end: unix seconds by the exporter's clock, NaN where not told. skew_s: by how much that clock is ahead of
    ours. reach_s: a life that ended longer ago is not believed, and taken for one that is not told.
    """
    last, first = end - skew_s, start - skew_s
    if not (np.isfinite(last) and last < now):
        last = now
    if not (np.isfinite(first) and first < last):
        first = last
    return (now, now) if last < now - reach_s else (first, last)


@compiled
def passed(octets: int, window: int, first: float, last: float, window_s: float) -> int:
    """Octets that have passed by the end of a window, of a life that ends later. octets: below 2**53."""
    share = ((window + 1) * window_s - first) / (last - first)
    return int(np.floor(octets * min(max(share, 0.0), 1.0)))
