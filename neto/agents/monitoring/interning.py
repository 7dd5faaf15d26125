"""Rows for values that many routes share: a table of routes then holds small numbers only."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value", bound=Hashable)


class Interned(Generic[Value]):
    """Gives each value a row while somebody uses it, and the row to another value after that.

    weigh: what a value counts for in `weight`, which is the sum over all values that are used.
    """

    def __init__(self, weigh: Callable[[Value], int]) -> None:
        self.weight = 0
        self._weigh = weigh
        self.values: list[Value | None] = []  # by row; None where the row is free
        self._row: dict[Value, int] = {}
        self._uses = array("q")
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._row)

    def find(self, value: Value) -> int | None:
        """Return the row of a value that is used; None when it is not."""
        return self._row.get(value)

    def take(self, value: Value, times: int = 1) -> int:
        """Use a value (again, `times` times) and return its row."""
        row = self._row.get(value)
        if row is None:
            if self._free:
                row = self._free.pop()
                self.values[row] = value
            else:
                row = len(self.values)
                self.values.append(value)
                self._uses.append(0)
            self._row[value] = row
            self.weight += self._weigh(value)
        self._uses[row] += times
        return row

    def release(self, row: int) -> None:
        """Use a row once less."""
        uses = self._uses[row] = self._uses[row] - 1
        if not uses:
            value = self.values[row]
            if value is None:
                raise AssertionError(f"row {row} is released and nobody used it")
            del self._row[value]
            self.weight -= self._weigh(value)
            self.values[row] = None
            self._free.append(row)
