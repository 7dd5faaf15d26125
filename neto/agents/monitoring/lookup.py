"""Longest prefix match for whole columns of addresses: nested prefixes flattened into sorted intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network

import numpy as np
import numpy.typing as npt

from neto.model.peering import Prefix

Rows = npt.NDArray[np.int64]
NONE = -1  # the row of an address that no prefix holds


class PrefixTable:
    """Row of the longest prefix that holds an address; of equal prefixes the first row counts.

    Built once and never changed: a reload builds another and swaps it in.
    """

    def __init__(self, prefixes: Sequence[Prefix]) -> None:
        rows = list(enumerate(prefixes))
        v4 = _flatten((p.prefixlen, int(p.network_address), _end(p), row) for row, p in rows if p.version == 4)  # noqa: PLR2004 IPv4
        v6 = _flatten((p.prefixlen, int(p.network_address), _end(p), row) for row, p in rows if p.version == 6)  # noqa: PLR2004 IPv6
        self._begins4 = np.array([begin for begin, _ in v4], np.uint64)
        self._rows4 = np.array([row for _, row in v4], np.int64)
        self._begins6 = np.array([begin.to_bytes(16, "big") for begin, _ in v6], "S16")
        self._rows6 = np.array([row for _, row in v6], np.int64)

    def find4(self, addresses: npt.NDArray[np.uint32]) -> Rows:
        """Rows of IPv4 addresses, host order, (n,); NONE where no prefix holds one."""
        return self._rows4[np.searchsorted(self._begins4, addresses.astype(np.uint64), side="right") - 1]

    def find6(self, addresses: npt.NDArray[np.bytes_]) -> Rows:
        """Rows of IPv6 addresses, S16 in network order, (n,); NONE where no prefix holds one."""
        return self._rows6[np.searchsorted(self._begins6, addresses, side="right") - 1]


def _end(prefix: IPv4Network | IPv6Network) -> int:
    """First address after the prefix."""
    return int(prefix.network_address) + prefix.num_addresses


def _flatten(prefixes: Iterable[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """Turn (length, begin, end, row) into (begin, row) intervals that cover everything, in order of begin.

    Prefixes nest or are apart, so a stack of those that are open says what holds each stretch.
    """
    intervals: list[tuple[int, int]] = [(0, NONE)]
    open_: list[tuple[int, int]] = []  # (end, row), the longest prefix last

    def mark(begin: int, row: int) -> None:
        if intervals[-1][0] == begin:
            intervals.pop()
        intervals.append((begin, row))

    def close(until: int) -> None:
        while open_ and open_[-1][0] <= until:
            end, _ = open_.pop()
            mark(end, open_[-1][1] if open_ else NONE)

    last: tuple[int, int] | None = None
    for length, begin, end, row in sorted(prefixes, key=lambda p: (p[1], p[0], p[3])):
        if (length, begin) == last:
            continue
        last = (length, begin)
        close(begin)
        mark(begin, row)
        open_.append((end, row))
    close(1 << 129)
    return [(begin, row) for begin, row in intervals if begin < 1 << 128]
