"""Longest prefix match for whole columns of addresses.

Nested prefixes are flattened into intervals. IPv4's are written into a trie of 16, 8 and 8 bits, which is one to three
loads for an address and as large as there are prefixes; IPv6's are searched.
"""

from __future__ import annotations

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
_ROOT = 1 << 16
_BRANCH = 1 << 8
_HALF = (1 << 64) - 1  # of an IPv6 address


class Tables(NamedTuple):
    """Rows by address, as kernels read them.

    root: (65536,) by the first 16 bits of an IPv4 address, a row, NONE, or -2 - the branch that tells more. branches:
    (branches, 256) likewise, by the next eight bits. high, low: (intervals,) first address of each IPv6 interval, in
    halves. rows: (intervals,) the row of each.
    """

    root: Int32s
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
        root, branches = _trie(low, row)
        self.tables = Tables(root, np.array(branches), *_intervals(prefixes, _V6))

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
def find4(root: Int32s, branches: Int32s, address: int) -> int:
    """Row of an IPv4 address; NONE where no prefix holds it."""
    found = root[address >> 16]
    if found < NONE:
        found = branches[-2 - found, (address >> 8) & 255]
        if found < NONE:
            found = branches[-2 - found, address & 255]
    return int(found)


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
    root, branches, highs, lows, rows = tables.root, tables.branches, tables.high, tables.low, tables.rows
    for index in range(len(family)):
        found = NONE
        if family[index] == _V4:
            found = find4(root, branches, int(np.int64(dst4[index])))
        elif family[index] == _V6:
            found = find6(highs, lows, rows, dst6[index, 0], dst6[index, 1])
        to[index] = found


def _intervals(prefixes: Sequence[Prefix], version: int) -> tuple[Words, Words, Int32s]:
    """First addresses, in halves, and rows of intervals that cover everything, ascending."""
    chosen = [(row, prefix) for row, prefix in enumerate(prefixes) if prefix.version == version]
    row = np.array([row for row, _ in chosen], np.int32)
    length = np.array([prefix.prefixlen for _, prefix in chosen], np.int64)
    begins = [int(prefix.network_address) for _, prefix in chosen]
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


@compiled
def _trie(begin: Words, row: Int32s) -> tuple[Int32s, Int32s]:
    """Write IPv4 intervals that cover everything as `Tables.root` and `Tables.branches`."""
    root = np.full(_ROOT, NONE, np.int32)
    branches = np.full((16, _BRANCH), NONE, np.int32)
    used = 0
    for index in range(len(row)):
        at = np.int64(begin[index])
        end = np.int64(begin[index + 1]) if index + 1 < len(row) else np.int64(1 << 32)
        while at < end:
            if at & 0xFFFF == 0 and end - at >= _ROOT:
                root[at >> 16] = row[index]
                at += _ROOT
                continue
            if used + 2 > len(branches):
                longer = np.full((2 * len(branches), _BRANCH), NONE, np.int32)
                longer[:used] = branches[:used]
                branches = longer
            if root[at >> 16] >= NONE:  # what holds it has been told up to here, and is told again in the branch
                branches[used, :] = root[at >> 16]
                root[at >> 16] = -2 - used
                used += 1
            branch = -2 - root[at >> 16]
            middle = (at >> 8) & 255
            if at & 0xFF == 0 and end - at >= _BRANCH:
                branches[branch, middle] = row[index]
                at += _BRANCH
                continue
            if branches[branch, middle] >= NONE:
                branches[used, :] = branches[branch, middle]
                branches[branch, middle] = -2 - used
                used += 1
            branches[-2 - branches[branch, middle], at & 255] = row[index]
            at += 1
    return root, branches[:used].copy()
