"""Octets over the life of their flows: what a record tells at its end, put where it was sent.

A record says how much passed between its start and its end; within that the rate is taken as even. Octets are integers
and none is made or lost: a window gets the difference of what had passed, rounded down, at its two ends.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neto.jit import compiled
from neto.model.demand_window import Numbers

Floats = npt.NDArray[np.float64]
_FAR_S = 1e12  # what is further back is no time


@compiled
def spread(
    domain: npt.NDArray[np.int32],
    start: Floats,
    end: Floats,
    skews_s: Floats,
    now: float,
    window_s: float,
    reach: int,
    window: Numbers,
    last: Numbers,
    begun: Floats,
    lasted: Floats,
) -> None:
    """Find the life of each record by our clock, and the windows in which it begins and ends.

    start, end: (records,) unix seconds by the exporter's clock, NaN where not told: no life ends after `now`, nor
    before it begins, and what is not told is now. skews_s: (domains,) by how much each clock is ahead of ours. A life
    that ended more than `reach` windows ago is not believed, and taken for one that is not told. window, last, begun,
    lasted: (records,) written; no window is earlier than `reach` ago.
    """
    earliest, believed = int(np.floor(now / window_s)) - reach, now - reach * window_s
    for index in range(len(start)):
        skew_s = skews_s[domain[index]]
        ended, first = end[index] - skew_s, start[index] - skew_s
        ended = ended if ended < now else now  # noqa: FURB136  now where it is NaN, which min() does not promise
        ended = ended if ended > -_FAR_S else now
        first = first if first < ended else ended  # noqa: FURB136  the same
        first = first if first > -_FAR_S else ended
        old = ended < believed
        ended = now if old else ended
        first = now if old else first
        window[index] = max(int(np.floor(first / window_s)), earliest)
        last[index] = max(int(np.floor(ended / window_s)), earliest)
        begun[index], lasted[index] = first, ended - first
