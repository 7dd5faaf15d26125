"""Longest prefix match for whole columns of addresses.

Nested prefixes are flattened into intervals. IPv4's are written into a table by the first 24 bits, with branches where
the last eight tell more (DIR-24-8: Gupta, Lin, McKeown, INFOCOM 1998): one load for nearly every address. IPv6's are
searched.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neto.jit import compiled
from neto.model.peering import Prefix

Rows = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Int32s = npt.NDArray[np.int32]
NONE = -1  # the row of an address that no prefix holds

_V4, _V6 = 4, 6
_DIRECT = 1 << 24
_BRANCH = 1 << 8
_MANY = 1 << 14  # prefixes, from which on the table is better kept in large pages
_HALF = (1 << 64) - 1  # of an IPv6 address


class Tables(NamedTuple):
    """Rows by address, as kernels read them.

    direct: (2^24,) by the first 24 bits of an IPv4 address: a row + 1, 0 for none, or -1 - the branch that tells more;
    what no prefix touches takes no memory. branches: (branches, 256) likewise, by the last eight bits. high, low:
    (intervals,) first address of each IPv6 interval, in halves. rows: (intervals,) the row of each.
    """

    direct: Int32s
    branches: Int32s
    high: Words
    low: Words
    rows: Int32s


class PrefixTable:
    """Row of the longest prefix that holds an address; of equal prefixes the first row counts.

    Built once and never changed: a reload builds another and swaps it in.
    """

    def __init__(self, prefixes: Sequence[Prefix]) -> None:
        _, low, row = _intervals(prefixes, _V4)
        direct = _untouched(large_pages=len(row) > _MANY)
        branches = _write(direct, low, row)
        self.tables = Tables(direct, branches, *_intervals(prefixes, _V6))

    def find4(self, addresses: npt.NDArray[np.uint32]) -> Rows:
        """Rows of IPv4 addresses, host order, (n,); NONE where no prefix holds one."""
        return self._find(_V4, addresses, np.zeros((len(addresses), 2), np.uint64))

    def find6(self, addresses: Words) -> Rows:
        """Rows of IPv6 addresses, (n, 2) halves in host order; NONE where no prefix holds one."""
        return self._find(_V6, np.zeros(len(addresses), np.uint32), addresses)

    def _find(self, version: int, dst4: npt.NDArray[np.uint32], dst6: Words) -> Rows:
        rows = np.empty(len(dst4), np.int64)
        find_all(self.tables, np.full(len(dst4), version, np.uint8), dst4, dst6, rows)
        return rows


@compiled
def find6(highs: Words, lows: Words, rows: Int32s, high: np.uint64, low: np.uint64) -> int:
    """Row of an IPv6 address; NONE where no prefix holds it."""
    begin, end = 0, len(highs)  # the last interval that begins at the address or before is in between
    while end - begin > 1:
        middle = (begin + end) // 2
        before = highs[middle] < high or (highs[middle] == high and lows[middle] <= low)
        if before:
            begin = middle
        else:
            end = middle
    return int(rows[begin])


@compiled
def find_all(
    tables: Tables, family: npt.NDArray[np.uint8], dst4: npt.NDArray[np.uint32], dst6: Words, to: Rows
) -> None:
    """Write the row of each address, IPv4's or IPv6's as its family says, into `to`: (n,)."""
    direct, branches = tables.direct, tables.branches
    for index in range(len(family)):
        to[index] = direct[dst4[index] >> np.uint32(8)]  # by themselves: then many loads are under way at once
    six = 0
    for index in range(len(family)):
        if family[index] == _V4:
            found = to[index]
            to[index] = (found if found >= 0 else branches[-1 - found, dst4[index] & np.uint32(255)]) - 1
        else:
            six += family[index] == _V6
            to[index] = NONE
    if six:
        _find_six(tables, family, dst6, to, six)


@compiled
def _find_six(tables: Tables, family: npt.NDArray[np.uint8], dst6: Words, to: Rows, six: int) -> None:
    """Write the rows of so many IPv6 addresses: each step of the search for all, so that many loads are under way."""
    highs, lows, rows = tables.high, tables.low, tables.rows
    which, begin = np.empty(six, np.int32), np.zeros(six, np.int32)
    count = 0
    for index in range(len(family)):
        if family[index] == _V6:
            which[count] = index
            count += 1
    left = len(highs)
    while left > 1:  # the last interval that begins in the address's upper half, or before, is among so many
        half = left // 2
        for place in range(six):
            middle = begin[place] + half
            begin[place] = middle if highs[middle] <= dst6[which[place], 0] else begin[place]
        left -= half
    for place in range(six):
        found, high, low = begin[place], dst6[which[place], 0], dst6[which[place], 1]
        told = highs[found] < high or (highs[found] == high and lows[found] <= low)
        to[which[place]] = rows[found] if told else find6(highs, lows, rows, high, low)


def _intervals(prefixes: Sequence[Prefix], version: int) -> tuple[Words, Words, Int32s]:
    """First addresses, in halves, and rows of intervals that cover everything, ascending."""
    row = np.array([row for row, prefix in enumerate(prefixes) if prefix.version == version], np.int32)
    chosen = [prefix for prefix in prefixes if prefix.version == version]
    length = np.array([prefix.prefixlen for prefix in chosen], np.int64)
    begins = [int(prefix.network_address) for prefix in chosen]
    high = np.array([begin >> 64 for begin in begins], np.uint64)
    low = np.array([begin & _HALF for begin in begins], np.uint64)
    bits = 32 if version == _V4 else 128
    hosts = [(1 << (bits - each)) - 1 for each in range(bits + 1)]  # by a prefix's length
    last_high = high | np.array([host >> 64 for host in hosts], np.uint64)[length]
    last_low = low | np.array([host & _HALF for host in hosts], np.uint64)[length]
    order = np.lexsort((row, length, low, high))
    return _flatten(high[order], low[order], last_high[order], last_low[order], row[order])


@compiled
def _flatten(high: Words, low: Words, last_high: Words, last_low: Words, row: Int32s) -> tuple[Words, Words, Int32s]:
    """Turn prefixes into intervals that cover everything: first addresses and rows.

    Prefixes come by first address, shorter ones first, and nest or are apart: a stack of those that are open says what
    holds each stretch.
    """
    count = 0
    to_high = np.zeros(2 * len(row) + 1, np.uint64)
    to_low = np.zeros(2 * len(row) + 1, np.uint64)
    to_row = np.full(2 * len(row) + 1, NONE, np.int32)
    count = 1  # from address 0 on: none
    stack = np.empty(len(row) + 1, np.int64)
    depth = 0
    for index in range(len(row) + 1):
        at_end = index == len(row)
        while depth and (
            at_end
            or last_high[stack[depth - 1]] < high[index]
            or (last_high[stack[depth - 1]] == high[index] and last_low[stack[depth - 1]] < low[index])
        ):
            depth -= 1
            ended = stack[depth]
            next_low = last_low[ended] + np.uint64(1)
            next_high = last_high[ended] + np.uint64(next_low == 0)
            if next_high == 0 and next_low == 0:
                continue  # it ends where everything does
            if next_high == to_high[count - 1] and next_low == to_low[count - 1]:
                count -= 1
            to_high[count], to_low[count] = next_high, next_low
            to_row[count] = row[stack[depth - 1]] if depth else NONE
            count += 1
        if at_end:
            break
        again = index > 0 and high[index] == high[index - 1] and low[index] == low[index - 1]
        if again and last_high[index] == last_high[index - 1] and last_low[index] == last_low[index - 1]:
            continue
        if high[index] == to_high[count - 1] and low[index] == to_low[count - 1]:
            count -= 1
        to_high[count], to_low[count], to_row[count] = high[index], low[index], row[index]
        count += 1
        stack[depth] = index
        depth += 1
    return to_high[:count].copy(), to_low[:count].copy(), to_row[:count].copy()


def _untouched(*, large_pages: bool) -> Int32s:
    """Return zeros, (2^24,), that take memory where they are written to."""
    memory = mmap.mmap(-1, 4 * _DIRECT)
    if large_pages and hasattr(mmap, "MADV_HUGEPAGE"):  # Linux: else most of the time goes into finding small ones
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.int32)


@compiled
def _write(direct: Int32s, begin: Words, row: Int32s) -> Int32s:
    """Write IPv4 intervals that cover everything as `Tables.direct`; return `Tables.branches`."""
    branches = np.zeros((16, _BRANCH), np.int32)
    used = 0
    for index in range(len(row)):
        at = np.int64(begin[index])
        end = np.int64(begin[index + 1]) if index + 1 < len(row) else np.int64(1 << 32)
        told = row[index] + 1
        while at < end:
            if at & 0xFF == 0 and end - at >= _BRANCH:
                whole = (end >> 8) - (at >> 8)
                if told:
                    direct[at >> 8 : (at >> 8) + whole] = told
                at += whole << 8
                continue
            if direct[at >> 8] >= 0:
                if used == len(branches):
                    longer = np.zeros((2 * len(branches), _BRANCH), np.int32)
                    longer[:used] = branches
                    branches = longer
                direct[at >> 8] = -1 - used
                used += 1
            upto = min(end, (at | 0xFF) + 1)
            branches[-1 - direct[at >> 8], at & 0xFF : (at & 0xFF) + upto - at] = told
            at = upto
    return branches[:used].copy()
