"""Octets by window and cell, summed exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neto.jit import compiled
from neto.model.demand_window import NONE, Numbers

_FEWEST = 1 << 13  # slots
_MIX = 0x9E3779B97F4A7C15


class Slots(NamedTuple):
    """A hash table with open addressing: keys, NONE where a slot is free, and sums, (slots,) each; used: (1,)."""

    keys: Numbers
    sums: Numbers
    used: Numbers


class Tally:
    """Sums by number; numbers of one window are neighbours.

    stride: numbers a window has.
    """

    def __init__(self, stride: int) -> None:
        self.stride = stride
        self.slots = _free(_FEWEST)

    def add(self, keys: Numbers, octets: Numbers) -> None:
        """Count octets by number, at least 0, (n,) each."""
        while self.slots.used[0] + len(keys) > len(self.slots.keys) // 2:
            self.grow()
        _put_all(self.slots.keys, self.slots.sums, self.slots.used, keys, octets)

    def grow(self) -> None:
        """Make room for as much again."""
        self._keep(self.slots.keys != NONE, 2 * len(self.slots.keys))

    def take(self, window: int) -> tuple[Numbers, Numbers]:
        """Take out everything up to the end of a window: numbers within their window, ascending, and sums."""
        end = (window + 1) * self.stride
        taken = self._sorted(0, end)
        held = self.slots.keys >= end
        slots = len(self.slots.keys)
        while slots > _FEWEST and np.count_nonzero(held) * 8 < slots and len(taken[0]) * 8 < slots:
            slots //= 2
        self._keep(held, slots)
        return taken

    def peek(self, window: int) -> tuple[Numbers, Numbers]:
        """Return what is in one window, and leave it there."""
        return self._sorted(window * self.stride, (window + 1) * self.stride)

    def _sorted(self, begin: int, end: int) -> tuple[Numbers, Numbers]:
        chosen = np.flatnonzero((self.slots.keys >= begin) & (self.slots.keys < end))
        keys = self.slots.keys[chosen]
        order = np.argsort(keys)
        return keys[order] % self.stride, self.slots.sums[chosen[order]]

    def _keep(self, which: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], slots: int) -> None:
        keys, sums = self.slots.keys[which], self.slots.sums[which]
        self.slots = _free(slots)
        _put_all(self.slots.keys, self.slots.sums, self.slots.used, keys, sums)


@compiled
def put(keys: Numbers, sums: Numbers, used: Numbers, key: int, octets: int) -> None:
    """Count octets by a number; there must be a free slot."""
    mask = len(keys) - 1
    slot = np.int64((np.uint64(key) * np.uint64(_MIX)) >> np.uint64(32)) & mask
    while keys[slot] != key:
        if keys[slot] == NONE:
            keys[slot] = key
            sums[slot] = 0
            used[0] += 1
            break
        slot = (slot + 1) & mask
    sums[slot] += octets


@compiled
def _put_all(keys: Numbers, sums: Numbers, used: Numbers, more: Numbers, octets: Numbers) -> None:
    for index in range(len(more)):
        put(keys, sums, used, more[index], octets[index])


def _free(slots: int) -> Slots:
    return Slots(np.full(slots, NONE, np.int64), np.zeros(slots, np.int64), np.zeros(1, np.int64))
