"""Where traffic goes that no configured prefix holds: its largest destinations, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.batch import Batch, Bools
from neto.agents.monitoring.heavy import HeavyHitters
from neto.model.demand_window import Numbers, TopPrefix
from neto.model.peering import Prefix

_TOLD_APART = 1024  # prefixes
_NAMED = 20
_FAMILY, _ROW = 1 << 62, 48  # of a prefix's number: IPv6, and where its source's row stands


class UnknownPrefixes:
    """Octets by source and /24 or /48 of the destination. sources: by row; one row more is for whoever is none."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._names = (*sources, "")
        self._heavy = HeavyHitters(_TOLD_APART)

    def add(self, batch: Batch, which: Bools, octets: Numbers) -> None:
        """Count some of the records of a batch: those of `which`, (records,)."""
        self._heavy.add(_numbers(batch)[which], octets[which])

    def take(self) -> tuple[TopPrefix, ...]:
        """Return the largest since this was last asked, largest first."""
        largest, self._heavy = self._heavy.top(_NAMED), HeavyHitters(_TOLD_APART)
        return tuple(
            TopPrefix(self._names[(number & ~_FAMILY) >> _ROW], _prefix(number), octets) for number, octets in largest
        )


def _numbers(batch: Batch) -> Numbers:
    """Number of each destination's prefix, with its source's row, (records,)."""
    numbers = np.zeros(len(batch), np.int64)
    if batch.dst4 is not None:
        numbers = np.where(batch.family == 4, batch.dst4.astype(np.int64) >> 8, numbers)  # noqa: PLR2004 IPv4
    if batch.dst6 is not None:
        numbers = np.where(batch.family == 6, _first48(batch.dst6) | _FAMILY, numbers)  # noqa: PLR2004 IPv6
    return numbers | np.left_shift(batch.source, _ROW)


def _first48(addresses: npt.NDArray[np.bytes_]) -> Numbers:
    octets = addresses.astype("S16").view(np.uint8).reshape(-1, 16)[:, :6].astype(np.int64)
    return octets @ (np.int64(1) << np.arange(40, -1, -8, dtype=np.int64))


def _prefix(number: int) -> Prefix:
    bits = number & ((1 << _ROW) - 1)
    return ip_network((bits << 80, 48)) if number & _FAMILY else ip_network((bits << 8, 24))
