"""Exits that open and close again and again: held down, the longer the more often they closed.

The first time that an exit closes and opens again it is used again at once: that is a maintenance, or an accident. The
second time within `memory_s` it is held down for `hold_s` after it is back, and twice as long with each further time.
The idea is that of route flap damping (RFC 2439), with a count in place of a penalty that decays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_COUNTED = 16  # closings of one exit that are remembered


@dataclass(frozen=True, slots=True)
class DampingRules:
    """How long exits are held down."""

    hold_s: float = 60.0
    longest_s: float = 900.0
    memory_s: float = 1800.0


@dataclass(slots=True)
class _Past:
    closings_s: deque[float] = field(default_factory=lambda: deque(maxlen=_COUNTED))
    closed: bool = False
    closed_until_s: float = float("-inf")


class Damping(Generic[Key]):
    """Remembers when exits closed. Times are seconds of a clock that only goes forward."""

    def __init__(self, rules: DampingRules | None = None) -> None:
        self._rules = rules or DampingRules()
        self._past: dict[Key, _Past] = {}

    def hear(self, closed: Iterable[Key], now: float) -> frozenset[Key]:
        """Take which exits are closed now; return those that are not and should be left alone all the same."""
        shut = frozenset(closed)
        for key in shut:
            past = self._past.setdefault(key, _Past())
            if not past.closed:
                past.closings_s.append(now)
            past.closed, past.closed_until_s = True, now
        held = set()
        for key in self._past.keys() - shut:
            past = self._past[key]
            past.closed = False
            while past.closings_s and now - past.closings_s[0] > self._rules.memory_s:
                past.closings_s.popleft()
            if now - past.closed_until_s < self._hold_s(len(past.closings_s)):
                held.add(key)
            elif not past.closings_s:
                del self._past[key]
        return frozenset(held)

    def _hold_s(self, times: int) -> float:
        return min(self._rules.hold_s * 2.0 ** (times - 2), self._rules.longest_s) if times > 1 else 0.0
