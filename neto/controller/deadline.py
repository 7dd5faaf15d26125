"""How long a decision may take: asked between rounds, so that what comes next can be a quicker way."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time (time.perf_counter)."""

    at: float = math.inf

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that is so many seconds from now."""
        return cls(time.perf_counter() + seconds)

    @property
    def left_s(self) -> float:
        """Seconds that are left, not less than none."""
        return max(self.at - time.perf_counter(), 0.0)

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return time.perf_counter() >= self.at


NEVER = Deadline()
