"""The garbage collector while a full table is told: hundreds of thousands of objects come, and none of them is garbage.

A pass over all objects looks at every one, in vain, and holds the loop up for half a second. So there is none while
tables are told; when they are, what is there is taken out of later passes. It is still freed when nobody uses it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEVER = 1 << 30  # passes over the younger objects between two over all


class Garbage:
    """Spares tables the collector's passes. One to a process."""

    def __init__(self) -> None:
        self._usual: tuple[int, int, int] | None = None  # thresholds, while they are not in force

    def tick(self, *, telling: bool) -> None:
        """Take whether tables are being told."""
        if telling and self._usual is None:
            self._usual = gc.get_threshold()
            gc.set_threshold(self._usual[0], self._usual[1], _NEVER)
        elif not telling and self._usual is not None:
            gc.set_threshold(*self._usual)
            self._usual = None
            gc.freeze()


@contextmanager
def none_sought() -> Iterator[None]:
    """Look for none while a million things are made: it would be most of the work, and there is none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
