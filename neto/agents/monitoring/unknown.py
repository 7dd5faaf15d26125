"""Where traffic goes that no configured prefix holds: its largest destinations, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import numpy as np

from neto.agents.monitoring.counting import FAMILY, ROW
from neto.agents.monitoring.heavy import HeavyHitters
from neto.model.demand_window import Numbers, TopPrefix
from neto.model.peering import Prefix

_TOLD_APART = 1024  # prefixes
_NAMED = 20
_ROOM = 1 << 15


class UnknownPrefixes:
    """Octets by source and /24 or /48 of the destination. sources: by row; one row more is for whoever is none.

    numbers, octets: (room,) written from the front, numbers of prefixes and their sources as `counting` writes them;
    count: how many are.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._names = (*sources, "")
        self._heavy = HeavyHitters(_TOLD_APART)
        self.numbers: Numbers = np.empty(_ROOM, np.int64)
        self.octets: Numbers = np.empty(_ROOM, np.int64)
        self.count = 0

    def sum(self) -> None:
        """Sum what was written, and make room."""
        if self.count:
            self._heavy.add(self.numbers[: self.count], self.octets[: self.count])
            self.count = 0

    def take(self) -> tuple[TopPrefix, ...]:
        """Return the largest since this was last asked, largest first."""
        self.sum()
        largest, self._heavy = self._heavy.top(_NAMED), HeavyHitters(_TOLD_APART)
        return tuple(
            TopPrefix(self._names[(number & ~FAMILY) >> ROW], _prefix(number), octets) for number, octets in largest
        )


def _prefix(number: int) -> Prefix:
    bits = number & ((1 << ROW) - 1)
    return ip_network((bits << 80, 48)) if number & FAMILY else ip_network((bits << 8, 24))
