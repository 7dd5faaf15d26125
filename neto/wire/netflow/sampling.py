"""How much an exporter left out, as its options records say: by sampler, interface, template, or for all of it.

Exporters announce samplers from another observation domain than the one that uses them (a line card's flows, the
route processor's options), so what a domain does not know is looked up in the exporter as a whole.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from neto.wire.netflow import elements as e
from neto.wire.netflow.records import Float, Records, Unsigned

MAX_SAMPLERS = 4096  # of one exporter; each that is announced takes two, its domain's and the whole exporter's
MAX_ANNOUNCED = 2048  # by one set

Key = tuple[int | None, str, int]  # domain (None: the whole exporter), what is sampled, its number


class Samplers:
    """What one exporter has announced; the least recently announced goes first when there is too much."""

    __slots__ = ("_intervals", "_known", "_numbered", "changes")

    def __init__(self) -> None:
        self.changes = 0  # of what is known
        self._known: OrderedDict[Key, float] = OrderedDict()
        self._numbered: dict[tuple[int | None, str], dict[int, float]] = {}  # the same, by number
        self._intervals: Counter[float] = Counter()  # of samplers

    def announced(self, domain: int, records: Records) -> None:
        """Take in options records."""
        intervals = records.interval()[:MAX_ANNOUNCED]
        told = np.flatnonzero(~np.isnan(intervals))
        if not told.size:
            return
        scopes = {
            "sampler": records.sampler(),
            "interface": records.unsigned(e.IN_IF[0]) if records.has(e.IN_IF[0]) else None,
            "template": records.unsigned(e.TEMPLATE_ID) if records.has(e.TEMPLATE_ID) else None,
        }
        numbers = {kind: column for kind, column in scopes.items() if column is not None}
        for row in told.tolist():
            interval = float(intervals[row])
            for kind, number in _said_of(numbers, row):
                for key in ((domain, kind, number), (None, kind, number)):
                    if self._known.get(key) != interval:
                        self._know(key, interval)
                    self._known.move_to_end(key)

    @property
    def known(self) -> Mapping[Key, float]:
        """Intervals by what they were announced for, the least recently announced first."""
        return self._known

    def restore(self, known: Iterable[tuple[Key, float]]) -> None:
        """Take in what was announced before, as `known` told it; what was announced since counts for more."""
        for key, interval in known:
            if key not in self._known:
                self._know(key, interval)

    def _know(self, key: Key, interval: float) -> None:
        """Remember an interval, in place of what its key had or, when there is too much, of the oldest."""
        self.changes += 1
        older = self._known.get(key)
        if older is not None:
            self._drop(key, older)
        elif len(self._known) >= MAX_SAMPLERS:
            self._drop(*self._known.popitem(last=False))
        self._known[key] = interval
        domain, kind, number = key
        self._numbered.setdefault((domain, kind), {})[number] = interval
        if kind == "sampler":
            self._intervals[interval] += 1

    def _drop(self, key: Key, interval: float) -> None:
        """Have a key that is forgotten, or is told of anew, stand nowhere else."""
        domain, kind, number = key
        numbered = self._numbered[domain, kind]
        del numbered[number]
        if not numbered:
            del self._numbered[domain, kind]
        if kind == "sampler":
            self._intervals[interval] -= 1
            if not self._intervals[interval]:
                del self._intervals[interval]

    @property
    def _only(self) -> float | None:
        """The interval of every sampler, when they agree."""
        return next(iter(self._intervals)) if len(self._intervals) == 1 else None

    def of(self, domain: int, template: int, records: Records) -> tuple[Float, npt.NDArray[np.bool_]]:
        """Interval of each data record, at least 1, and whether it was told: (records,) each.

        The record's own word counts first, then its sampler's, its interface's, its template's, its domain's.
        """
        told = records.interval()
        if self._known:
            sampler = records.sampler()
            if sampler is not None:
                self._look_up(told, domain, "sampler", sampler)
            if records.has(e.IN_IF[0]):
                self._look_up(told, domain, "interface", records.unsigned(e.IN_IF[0]))
            self._all(told, domain, "template", template)
            self._all(told, domain, "domain", 0)
            if sampler is None and self._only is not None:  # no choice of samplers, and the records name none
                told[np.isnan(told)] = self._only
        known = ~np.isnan(told)
        return np.where(known, told, 1.0), known

    def alike(self, domain: int, template: int, *, names_sampler: bool) -> float | None:
        """Interval of records that name no sampler or interface that is known; None where it was not told.

        names_sampler: they name one.
        """
        for kind, number in (("template", template), ("domain", 0)):
            interval = self._find(domain, kind, number)
            if interval is not None:
                return interval
        return None if names_sampler else self._only

    def numbered(self, domain: int, kind: str) -> tuple[Unsigned, Float]:
        """Numbers of a domain's samplers or interfaces, ascending, and their intervals."""
        found = self._numbered.get((None, kind), {}) | self._numbered.get((domain, kind), {})
        numbers = np.fromiter(found.keys(), np.uint64, len(found))
        order = np.argsort(numbers)
        return numbers[order], np.fromiter(found.values(), np.float64, len(found))[order]

    def _look_up(self, told: Float, domain: int, kind: str, numbers: Unsigned) -> None:
        """Fill in what is not told yet, by each record's number."""
        if not np.isnan(told).any():
            return
        for number in np.unique(numbers).tolist():
            interval = self._find(domain, kind, number)
            if interval is not None:
                told[np.isnan(told) & (numbers == number)] = interval

    def _all(self, told: Float, domain: int, kind: str, number: int) -> None:
        interval = self._find(domain, kind, number)
        if interval is not None:
            told[np.isnan(told)] = interval

    def _find(self, domain: int, kind: str, number: int) -> float | None:
        own = self._known.get((domain, kind, number))
        return self._known.get((None, kind, number)) if own is None else own


def _said_of(numbers: Mapping[str, Unsigned], row: int) -> Iterable[tuple[str, int]]:
    """What one options record is about; the whole domain when it names nothing."""
    return [(kind, int(column[row])) for kind, column in numbers.items()] or [("domain", 0)]
