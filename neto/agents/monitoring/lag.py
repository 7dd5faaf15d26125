"""How long after its end a window has been told.

Exporters tell of a long flow when its active timeout is over, and of a short one when it has been idle for a while. So
how late octets come is measured, and a window waits until nearly all of its octets can have come; but no longer than
the operator allows. Octets that come later still are not lost: the caller counts them in the oldest window that is
open, which is what every collector does that counts by arrival.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_STEPS = 4  # of one window
_TOLD = 0.99  # share of the octets that a window waits for
_KEPT = 0.8  # of what was measured, from one window to the next


class Lag:
    """Learns how late octets come. most_s: the longest that a window may wait."""

    def __init__(self, window_s: float, most_s: float) -> None:
        self._step_s = window_s / _STEPS
        self._most_s = most_s
        self._octets = np.zeros(math.ceil(most_s / self._step_s) + 2)

    def told(self, late_s: npt.NDArray[np.floating], octets: npt.NDArray[np.number]) -> None:
        """Take in how late octets came, seconds after the end of their window, (n,) each."""
        steps = np.ceil(np.maximum(late_s, 0.0) / self._step_s).astype(np.int64)
        np.add.at(self._octets, np.minimum(steps, len(self._octets) - 1), octets)

    def forget(self) -> None:
        """Let a window's worth of time pass: what was measured lately counts for more."""
        self._octets *= _KEPT

    @property
    def seconds(self) -> float:
        """How long after its end a window is closed."""
        total = np.cumsum(self._octets)
        if not total[-1]:
            return 0.0
        step = int(np.searchsorted(total, _TOLD * total[-1]))
        return min(step * self._step_s, self._most_s)
