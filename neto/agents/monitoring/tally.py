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
        self.slots = _free(_FEWEST)  # a hash table with open addressing: key, NONE where a slot is free, and sum
        self.used = 0

    def add(self, keys: Numbers, octets: Numbers) -> None:
        """Count octets by number, at least 0, (n,) each."""
        self.grow(len(keys))
        self.used += _added(self.slots, keys, octets)

    def grow(self, more: int) -> None:
        """See that there is room for so many more numbers."""
        slots = len(self.slots)
        if self.used + more > most(slots):
            while self.used + more > most(slots):
                slots *= 2
            self._keep(self.slots[:, 0] != NONE, slots)

    def take(self, window: int) -> tuple[Numbers, Numbers]:
        """Take out everything up to the end of a window: numbers within their window, ascending, and sums."""
        end = (window + 1) * self.stride
        taken = self._sorted(0, end)
        held = self.slots[:, 0] >= end
        slots = len(self.slots)
        while slots > _FEWEST and max(int(np.count_nonzero(held)), len(taken[0])) * 8 < slots:
            slots //= 2
        self._keep(held, slots)
        return taken

    def peek(self, window: int) -> tuple[Numbers, Numbers]:
        """Return what is in one window, and leave it there."""
        return self._sorted(window * self.stride, (window + 1) * self.stride)

    def _sorted(self, begin: int, end: int) -> tuple[Numbers, Numbers]:
        keys = self.slots[:, 0]
        chosen = self.slots[(keys >= begin) & (keys < end)]
        chosen = chosen[np.argsort(chosen[:, 0])]
        return chosen[:, 0] % self.stride, np.ascontiguousarray(chosen[:, 1])

    def _keep(self, which: npt.NDArray[np.bool_], slots: int) -> None:
        kept = self.slots[which]
        self.slots = _free(slots)
        self.used = _added(self.slots, np.ascontiguousarray(kept[:, 0]), np.ascontiguousarray(kept[:, 1]))


@compiled
def most(slots: int) -> int:
    """How many slots may be used: a table of fewer lines of the cache is worth a longer search."""
    return slots * 5 // 8


@compiled
def put(slots: Numbers, keys: Numbers, octets: Numbers, slot: Numbers) -> int:
    """Count octets by number, (n,) each; there must be free slots. Returns how many were taken.

    slot: (n or more,) room to write on.
    """
    taken, mask, touched = 0, len(slots) - 1, 0
    for index in range(len(keys)):
        slot[index] = np.int64((np.uint64(keys[index]) * np.uint64(_MIX)) >> np.uint64(32)) & mask
    for index in range(len(keys)):  # so that all these loads are under way at once
        touched ^= slots[slot[index], 0]
    slot[0] ^= touched & 0  # and are not left out
    for index in range(len(keys)):
        key, at = keys[index], slot[index]
        while slots[at, 0] != key:
            if slots[at, 0] == NONE:
                slots[at, 0] = key
                taken += 1
                break
            at = (at + 1) & mask
        slots[at, 1] += octets[index]
    return taken


def _added(slots: Numbers, keys: Numbers, octets: Numbers) -> int:
    return int(put(slots, keys, octets, np.empty(len(keys), np.int64))) if len(keys) else 0


def _free(slots: int) -> Numbers:
    free = np.zeros((slots, 2), np.int64)
    free[:, 0] = NONE
    return free
