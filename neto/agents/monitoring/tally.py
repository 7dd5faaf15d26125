"""Octets by window and cell, summed in sorted columns."""

from __future__ import annotations

import numpy as np

from neto.model.demand_window import Numbers, sum_cells

_WAITING = 1 << 17  # pieces that wait before they are summed


class Tally:
    """Sums by number, exactly; numbers of one window are neighbours, so that a window is a slice.

    stride: numbers a window has.
    """

    def __init__(self, stride: int) -> None:
        self.stride = stride
        self._keys: Numbers = np.zeros(0, np.int64)
        self._sums: Numbers = np.zeros(0, np.int64)
        self._waiting: list[tuple[Numbers, Numbers]] = []
        self._pieces = 0

    def add(self, keys: Numbers, octets: Numbers) -> None:
        """Count octets by number, (n,) each."""
        self._waiting.append((keys, octets))
        self._pieces += len(keys)
        if self._pieces >= max(_WAITING, len(self._keys)):
            self._settle()

    def take(self, window: int) -> tuple[Numbers, Numbers]:
        """Take out everything up to the end of a window: numbers within their window, and sums."""
        self._settle()
        end = int(np.searchsorted(self._keys, (window + 1) * self.stride))
        keys, sums = self._keys[:end] % self.stride, self._sums[:end]
        self._keys, self._sums = self._keys[end:], self._sums[end:]
        return keys, sums

    def peek(self, window: int) -> tuple[Numbers, Numbers]:
        """Return what is in one window, and leave it there."""
        self._settle()
        begin, end = np.searchsorted(self._keys, (window * self.stride, (window + 1) * self.stride))
        return self._keys[begin:end] % self.stride, self._sums[begin:end]

    def _settle(self) -> None:
        if self._waiting:
            counted = [(keys, octets) for keys, octets in [(self._keys, self._sums), *self._waiting] if len(keys)]
            least = min((int(keys.min()) for keys, _ in counted), default=0)
            most = max((int(keys.max()) for keys, _ in counted), default=0)
            numbers, octets = [keys - least for keys, _ in counted], [octets for _, octets in counted]
            keys, self._sums = sum_cells(numbers, octets, most - least + 1)
            self._keys = keys + least
            self._waiting.clear()
            self._pieces = 0
