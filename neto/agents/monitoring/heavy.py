"""The largest of many, in bounded memory.

A Misra-Gries summary, whose counters are those of Space-Saving less a common term, kept in columns so that a batch is
one merge: Agarwal et al., Mergeable Summaries, PODS 2012, §3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neto.model.demand_window import Numbers, sum_cells


class HeavyHitters:
    """Octets by key, for the keys that have most.

    most: keys kept. What is told of a key is at most its sum, and less than that by no more than total / (most + 1).
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: Numbers = np.zeros(0, np.int64)
        self._octets: Numbers = np.zeros(0, np.int64)

    def add(self, keys: Numbers, octets: npt.NDArray[np.int64]) -> None:
        """Count octets by key, (n,) each."""
        self._keys, self._octets = sum_cells([self._keys, keys], [self._octets, octets])
        if len(self._keys) > self._most:
            cut = np.partition(self._octets, -self._most - 1)[-self._most - 1]
            kept = self._octets > cut
            self._keys, self._octets = self._keys[kept], self._octets[kept] - cut

    def top(self, count: int) -> list[tuple[int, int]]:
        """Return the largest: (key, octets)."""
        order = np.argsort(-self._octets, kind="stable")[:count]
        return list(zip(self._keys[order].tolist(), self._octets[order].tolist(), strict=True))
