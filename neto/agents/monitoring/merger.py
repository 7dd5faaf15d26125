"""Windows of several collectors -> one, by event time. Sans-IO.

A window is closed once every collector that is there has told it, or a while after the first did. What comes later is
a further part of it: nothing is refused for being late. Who counts a message, and that none counts twice, is for the
caller: each closed part says which messages it holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from neto.model.demand_window import CellSpace, DemandWindow, merge
from neto.wire.demand_message import DemandMessage, Key

_AHEAD_S = 60.0  # of our clock, at most: a window further ahead tells of a clock that is wrong
_MOST_OCTETS = 1 << 54  # of one message (18 petabytes): so that sums of any number of collectors stay exact
_SUMMED = 16  # messages of a window that wait to be summed


@dataclass(frozen=True, eq=False)
class Merged:
    """A window, or a late part of one (part > 0), with the messages that it holds."""

    window: int
    part: int
    demand: DemandWindow
    told: tuple[tuple[str, Key], ...]


@dataclass
class _Open:
    """A window that waits for more."""

    since: float  # when the first message of it came
    told: dict[tuple[str, Key], None] = field(default_factory=dict)
    waiting: list[DemandWindow] = field(default_factory=list)


class Merger:
    """Merges the windows of `leaves`. late_s: how long a window waits for the others once the first has told it."""

    def __init__(self, leaves: Iterable[str], window_s: float, late_s: float, space: CellSpace) -> None:
        self.counters: Counter[str] = Counter(
            dict.fromkeys(("windows", "windows_late", "windows_repeated", "windows_refused", "closed_short"), 0)
        )
        self.space = space
        self._leaves = frozenset(leaves)
        self._window_s = window_s
        self._late_s = late_s
        self.absent_s = late_s + 2 * window_s  # after which a leaf that tells nothing is not waited for
        self._open: dict[int, _Open] = {}
        self._late: dict[int, _Open] = {}
        self._parts = 0  # late ones, of whichever window: each has a number of its own
        self._closed_until = -1  # number of the last window that was closed
        self._last: dict[str, float] = {}  # when each leaf was last heard

    def closed_before(self, window: int) -> None:
        """Take windows up to this one for closed: an earlier process closed them."""
        self._closed_until = max(self._closed_until, window)

    def take(self, message: DemandMessage, now: float) -> str:
        """Take in a message that has not been counted before; return why it is refused, "" when it is not.

        A repeat of one that is being merged is not needed, and nothing is said of it.
        """
        key = message.leaf, message.key
        window = message.key.window
        refused = self._refused(message, now)
        if refused:
            self.counters["windows_refused"] += 1
            return refused
        self._note(message.leaf, now)
        late = window <= self._closed_until
        opened = (self._late if late else self._open).setdefault(window, _Open(now))
        if key in opened.told:
            self.counters["windows_repeated"] += 1
            return ""
        self.counters["windows"] += 1
        self.counters["windows_late"] += late
        opened.told[key] = None
        opened.waiting.append(message.demand)
        if len(opened.waiting) >= _SUMMED:
            opened.waiting = [self._sum(opened)]
        return ""

    def _refused(self, message: DemandMessage, now: float) -> str:
        if message.leaf not in self._leaves:
            return f"{message.leaf} is not one of our collectors"
        if message.window_s != self._window_s:
            return f"its windows are of {message.window_s} s and ours of {self._window_s} s"
        if message.demand.ends > now + self._window_s + _AHEAD_S:
            return f"its window ends {message.demand.ends - now:.0f} s from now: one of the clocks is wrong"
        if message.demand.total > _MOST_OCTETS:
            return f"its window holds {message.demand.total} octets (accepted: {_MOST_OCTETS})"
        return ""

    def due(self, now: float) -> list[Merged]:
        """Close what is due, oldest first: late parts at once, windows in the order of their time."""
        closed = [self._close(window, opened, late=True) for window, opened in sorted(self._late.items())]
        self._late.clear()
        for window in sorted(self._open):
            opened = self._open[window]
            if now < (window + 1) * self._window_s or not (self._complete(opened, now) or self._overdue(opened, now)):
                break
            del self._open[window]
            closed.append(self._close(window, opened, late=False))
        return closed

    def _note(self, leaf: str, now: float) -> None:
        """Note that a leaf is there; and all of them when it is the first after a silence: the line was broken."""
        if all(now - at >= self.absent_s for at in self._last.values()):
            self._last = dict.fromkeys(self._leaves, now)
        self._last[leaf] = now

    def _complete(self, opened: _Open, now: float) -> bool:
        """Whether all those have told it that told anything of late."""
        there = {leaf for leaf, at in self._last.items() if now - at < self.absent_s}
        return (there & self._leaves) <= {leaf for leaf, _ in opened.told}

    def _overdue(self, opened: _Open, now: float) -> bool:
        return now - opened.since >= self._late_s

    def _close(self, window: int, opened: _Open, *, late: bool) -> Merged:
        self._parts += late
        self._closed_until = max(self._closed_until, window)
        demand = self._sum(opened)
        missing = self._leaves - {leaf for leaf, _ in opened.told}
        if not late:
            self.counters["closed_short"] += bool(missing)
            demand = replace(demand, missing_leaves=demand.missing_leaves | missing)
        return Merged(window, self._parts if late else 0, demand, tuple(opened.told))

    def _sum(self, opened: _Open) -> DemandWindow:
        begins = min(each.begins for each in opened.waiting)
        return merge(opened.waiting, self.space, begins, opened.waiting[0].ends)
