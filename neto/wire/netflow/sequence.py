"""What was lost between an exporter and us, as its sequence numbers say.

v5 counts flows and IPFIX data records, each before this message (RFC 7011 §3.1); v9 counts packets (RFC 3954 §5.1).
softflowd's IPFIX counts this message's records too, and no options: the same line moved by a message, and no gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

NOT_TOLD = -1  # units of a message in which a set could not be decoded
_WRAP = 1 << 32
_HALF = 1 << 31
_FAR = 1 << 20  # a jump beyond this, either way, is another process's numbering and no loss
_ANOTHER = 3  # late messages that follow each other: the exporter counts anew from there


class Arrival(Enum):
    """How a message stands in its sequence."""

    IN_ORDER = 0
    GAP = 1
    LATE = 2  # overtaken on the way, or sent twice
    RESTART = 3


_IN_ORDER, _GAP, _LATE, _RESTART = (arrival.value for arrival in Arrival)


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
    samples: int = 0  # of packets, that came by sFlow; those of each data source have numbers of their own
    samples_missing: int = 0
    samples_recovered: int = 0
    samples_dropped: int = 0  # by agents that were short of something


# A sequence's state, so that a kernel can keep many of them in rows: what was last accepted, then the losses.
LAST, UNITS, OTHERS, TOLD, LATE, LATE_NEXT, COUNTS_ITSELF = range(7)  # TOLD: 0 nothing, 1 a number, 2 its units too
MESSAGES, CAME, GAPS, MISSING, RECOVERED, LATES, RESTARTS = range(7, 14)
SAMPLES, SAMPLES_MISSING, SAMPLES_RECOVERED, SAMPLES_DROPPED = range(14, 18)
STATE = 18


class Sequence:
    """The sequence of one exporter and observation domain.

    counts_itself: tolerate numbers that include the message's own records.
    """

    __slots__ = ("state",)

    def __init__(self, *, counts_itself: bool = False) -> None:
        self.state: npt.NDArray[np.int64] = np.zeros(STATE, np.int64)
        self.state[COUNTS_ITSELF] = counts_itself

    @property
    def losses(self) -> Losses:
        """What became of it."""
        return Losses(*self.state[MESSAGES:].tolist())

    def arrived(self, number: int, units: tuple[int, ...] | None) -> tuple[Arrival, int]:
        """Judge a message that is numbered `number` and holds `units` of what its protocol counts.

        units: as the protocol wants it counted, then as some exporters do; None when a set could not be decoded.
        Returns how the message arrived, and how many units are missing before it.
        """
        count, other = (units[0], units[-1]) if units else (NOT_TOLD, NOT_TOLD)
        state = self.state.tolist()  # Python is quicker with its own numbers
        arrival, missing = judge(state, number, count, other)
        self.state[:] = state
        return Arrival(arrival), missing


def judge(state: npt.NDArray[np.int64] | list[int], number: int, units: int, others: int) -> tuple[int, int]:
    """Judge a message, as `Sequence.arrived` tells it, and change its sequence's state: (STATE,).

    units, others: as the protocol wants it counted, and as some exporters do; NOT_TOLD both or none.
    Returns the arrival's value, and how many units are missing before it.
    """
    arrival, missing, accepted = _IN_ORDER, 0, True
    if state[TOLD] == 2 and units != NOT_TOLD:  # noqa: PLR2004 see above
        step = (number - state[LAST] + _HALF) % _WRAP - _HALF  # of numbers that wrap
        includes = state[COUNTS_ITSELF] and step in (units, others)
        if not (includes or step in (state[UNITS], state[OTHERS])):
            gap = (step - state[UNITS] + _HALF) % _WRAP - _HALF
            if abs(gap) > _FAR or (number == 0 and gap < 0):
                arrival = _RESTART
            elif gap > 0:
                arrival, missing = _GAP, gap
            else:
                state[LATE] = state[LATE] + 1 if number == state[LATE_NEXT] else 1
                state[LATE_NEXT] = (number + units) % _WRAP
                accepted = state[LATE] >= _ANOTHER
                arrival = _RESTART if accepted else _LATE
    if accepted:
        state[LAST], state[UNITS], state[OTHERS] = number, units, others
        state[TOLD] = 1 if units == NOT_TOLD else 2
        state[LATE], state[LATE_NEXT] = 0, NOT_TOLD
    came = max(units, 0)
    state[MESSAGES] += 1
    state[CAME] += came
    state[GAPS] += arrival == _GAP
    state[MISSING] += missing
    state[RECOVERED] += came if arrival == _LATE else 0
    state[LATES] += arrival == _LATE
    state[RESTARTS] += arrival == _RESTART
    return arrival, int(missing)
