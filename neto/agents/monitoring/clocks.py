"""How far exporters' clocks are from ours, as their messages tell."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

_PERIOD_S = 60.0  # the latest of this and of the last period count
_EARLY_S, _LATE_S = 0.5, 2.0  # less ahead, or behind, is what networks and whole seconds in headers do
_MOST = 16_384  # exporters and domains that are remembered


@dataclass(slots=True)
class _Clock:
    since: float
    ahead_s: float  # the most in this period
    before_s: float  # the most in the last one


class Clocks:
    """Estimates each exporter's clock skew.

    A message can be late for many reasons and early for one alone, so the least late of the last minute or two
    tells the clocks apart.
    """

    def __init__(self) -> None:
        self._clocks: OrderedDict[Hashable, _Clock] = OrderedDict()

    def told(self, exporter: Hashable, export_s: float, now: float) -> float:
        """Take in a message that left at `export_s` by the exporter's clock and came at `now`; return its skew.

        Seconds by which its clock is ahead of ours; 0 where that is no more than a network explains.
        """
        ahead_s = export_s - now
        clock = self._clocks.get(exporter)
        if clock is None:
            clock = self._clocks[exporter] = _Clock(now, ahead_s, ahead_s)
            while len(self._clocks) > _MOST:
                self._clocks.popitem(last=False)
        elif not 0 <= now - clock.since < _PERIOD_S:
            clock.since, clock.before_s, clock.ahead_s = now, clock.ahead_s, ahead_s
        else:
            clock.ahead_s = max(clock.ahead_s, ahead_s)
        self._clocks.move_to_end(exporter)
        return _beyond(max(clock.ahead_s, clock.before_s))

    def skew_s(self, exporter: Hashable) -> float:
        """Return the skew that was last estimated; 0 for an exporter that told nothing."""
        clock = self._clocks.get(exporter)
        return _beyond(max(clock.ahead_s, clock.before_s)) if clock else 0.0


def _beyond(ahead_s: float) -> float:
    return 0.0 if -_LATE_S <= ahead_s <= _EARLY_S else ahead_s
