"""What was lost between an exporter and us, as its sequence numbers say.

v5 counts flows and IPFIX data records, each before this message (RFC 7011 §3.1); v9 counts packets (RFC 3954 §5.1).
softflowd's IPFIX counts this message's records too, and no options: the same line moved by a message, and no gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

_WRAP = 1 << 32
_FAR = 1 << 20  # a jump beyond this, either way, is another process's numbering and no loss
_ANOTHER = 3  # late messages that follow each other: the exporter counts anew from there


class Arrival(Enum):
    """How a message stands in its sequence."""

    IN_ORDER = 0
    GAP = 1
    LATE = 2  # overtaken on the way, or sent twice
    RESTART = 3


@dataclass(slots=True)
class Losses:
    """What became of a sequence since it was first heard. Units: flows (v5), data records (IPFIX), packets (v9)."""

    messages: int = 0
    units: int = 0  # that came, in messages that could be counted
    gaps: int = 0
    missing: int = 0  # units that were not there when their turn was
    recovered: int = 0  # units that came late: overtaken, not lost
    late: int = 0  # messages
    restarts: int = 0


class Sequence:
    """The sequence of one exporter and observation domain.

    counts_itself: tolerate numbers that include the message's own records.
    """

    __slots__ = ("_counts_itself", "_last", "_late", "_late_next", "_units", "losses")

    def __init__(self, *, counts_itself: bool = False) -> None:
        self.losses = Losses()
        self._counts_itself = counts_itself
        self._last: int | None = None
        self._units: tuple[int, ...] | None = None  # the last message's; None: it could not be told
        self._late = 0  # late messages in a row that follow each other
        self._late_next: int | None = None

    def arrived(self, number: int, units: tuple[int, ...] | None) -> tuple[Arrival, int]:
        """Judge a message that is numbered `number` and holds `units` of what its protocol counts.

        units: as the protocol wants it counted, then as some exporters do; None when a set could not be decoded.
        Returns how the message arrived, and how many units are missing before it.
        """
        arrival, missing = self._judge(number, units)
        losses = self.losses
        losses.messages += 1
        losses.units += units[0] if units else 0
        losses.gaps += arrival is Arrival.GAP
        losses.missing += missing
        losses.late += arrival is Arrival.LATE
        losses.recovered += units[0] if units and arrival is Arrival.LATE else 0
        losses.restarts += arrival is Arrival.RESTART
        return arrival, missing

    def _judge(self, number: int, units: tuple[int, ...] | None) -> tuple[Arrival, int]:
        last, before = self._last, self._units
        if last is None or before is None or units is None:
            return self._accept(number, units), 0
        step = _signed(number - last)
        if step in before or (self._counts_itself and step in units):
            return self._accept(number, units), 0
        gap = _signed(step - before[0])
        if abs(gap) > _FAR or (number == 0 and gap < 0):
            self._accept(number, units)
            return Arrival.RESTART, 0
        if gap > 0:
            self._accept(number, units)
            return Arrival.GAP, gap
        self._late = self._late + 1 if number == self._late_next else 1
        self._late_next = (number + units[0]) % _WRAP
        if self._late < _ANOTHER:
            return Arrival.LATE, 0
        self._accept(number, units)
        return Arrival.RESTART, 0

    def _accept(self, number: int, units: tuple[int, ...] | None) -> Arrival:
        self._last, self._units, self._late, self._late_next = number, units, 0, None
        return Arrival.IN_ORDER


def _signed(difference: int) -> int:
    """A difference of two 32-bit numbers that wrap."""
    return (difference + _WRAP // 2) % _WRAP - _WRAP // 2
