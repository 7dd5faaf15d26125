"""Octets by window and cell, summed exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neto.jit import compiled
from neto.model.demand_window import NONE, Numbers

_FEWEST = 1 << 13  # slots
_MIX = 0x9E3779B97F4A7C15


class Tally:
    """Sums by number; numbers of one window are neighbours.

    stride: numbers a window has.
    """

    def __init__(self, stride: int) -> None:
        self.stride = stride
        self._slots = _free(_FEWEST)  # a hash table with open addressing: key, NONE where a slot is free, and sum
        self._used = 0

    def add(self, keys: Numbers, octets: Numbers) -> None:
        """Count octets by number, at least 0, (n,) each."""
        if self._used + len(keys) > len(self._slots) // 2:
            slots = len(self._slots)
            while self._used + len(keys) > slots // 4:
                slots *= 2
            self._keep(self._slots[:, 0] != NONE, slots)
        self._used += _put(self._slots, keys, octets)

    def take(self, window: int) -> tuple[Numbers, Numbers]:
        """Take out everything up to the end of a window: numbers within their window, ascending, and sums."""
        end = (window + 1) * self.stride
        taken = self._sorted(0, end)
        held = self._slots[:, 0] >= end
        slots = len(self._slots)
        while slots > _FEWEST and max(int(np.count_nonzero(held)), len(taken[0])) * 8 < slots:
            slots //= 2
        self._keep(held, slots)
        return taken

    def peek(self, window: int) -> tuple[Numbers, Numbers]:
        """Return what is in one window, and leave it there."""
        return self._sorted(window * self.stride, (window + 1) * self.stride)

    def _sorted(self, begin: int, end: int) -> tuple[Numbers, Numbers]:
        keys = self._slots[:, 0]
        chosen = self._slots[(keys >= begin) & (keys < end)]
        chosen = chosen[np.argsort(chosen[:, 0])]
        return chosen[:, 0] % self.stride, np.ascontiguousarray(chosen[:, 1])

    def _keep(self, which: npt.NDArray[np.bool_], slots: int) -> None:
        kept = self._slots[which]
        self._slots = _free(slots)
        self._used = _put(self._slots, np.ascontiguousarray(kept[:, 0]), np.ascontiguousarray(kept[:, 1]))


@compiled
def _put(slots: Numbers, keys: Numbers, octets: Numbers) -> int:
    """Count octets by number; there must be free slots. Returns how many were taken."""
    taken, mask = 0, len(slots) - 1
    for index in range(len(keys)):
        key = keys[index]
        slot = np.int64((np.uint64(key) * np.uint64(_MIX)) >> np.uint64(32)) & mask
        while slots[slot, 0] != key:
            if slots[slot, 0] == NONE:
                slots[slot, 0] = key
                taken += 1
                break
            slot = (slot + 1) & mask
        slots[slot, 1] += octets[index]
    return taken


def _free(slots: int) -> Numbers:
    free = np.zeros((slots, 2), np.int64)
    free[:, 0] = NONE
    return free
