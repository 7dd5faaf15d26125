"""Flow records -> demand: who sends how much to which prefix in which class, window by window. Sans-IO.

Windows are aligned to multiples of their length, so that those of several collectors can be added up. Octets count in
the windows in which they were sent (`spread`), by clocks that are set right (`clocks`). A window is closed once nearly
all of its octets can have been told (`lag`): at once where exporters report every second, after their active timeout
where they report every minute. What comes later counts in the oldest window that is open, and is counted as late.

At first octets count as they arrive, and windows are closed at their end: part of what is told was sent before we
listened, but as much of what is sent now will be told later. Once all that is told can have been sent since we listen,
octets begin to count when they were sent. What was sent before that moment has been stood in for: it is left out, and
counted as such. By arrival a window has what happened to come in it, the more or the less by chance, so nobody is said
to have been heard in it: there is no demand to act on before octets count when they were sent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.batch import columns_of
from neto.agents.monitoring.classify import Classifier
from neto.agents.monitoring.clocks import Clocks
from neto.agents.monitoring.counting import (
    ACCOUNTS,
    AT,
    BEFORE,
    IGNORED,
    LATE,
    LATEST,
    LOCAL,
    MATCHED,
    MOST_OCTETS,
    OF_UNKNOWN,
    PIECES,
    RECEIVED,
    STATE,
    UNKNOWN,
    USED,
    Sums,
    Times,
    count,
    scratch,
)
from neto.agents.monitoring.lag import Lag
from neto.agents.monitoring.matrix import demand_matrix
from neto.agents.monitoring.tally import Tally
from neto.agents.monitoring.unknown import UnknownPrefixes
from neto.model.demand import DemandMatrix
from neto.model.demand_window import CellSpace, DemandWindow, Numbers, merge
from neto.wire.netflow import Flows
from neto.wire.netflow.kernel import Columns

ACTIVE_TIMEOUT_S = 60.0  # what most exporters are set to
_MOST_OPEN = 1 << 62  # in all open windows: sums stay exact
_SETTLED_S = 0.25  # after which what kernels have summed is taken over


@dataclass(slots=True)
class Account:
    """Where octets went, sampling applied: `received` is the sum of all others but `late`."""

    received: int = 0
    matched: int = 0
    unknown: int = 0  # no prefix holds the destination
    ignored: int = 0  # another router's to tell
    local: int = 0  # never crosses the WAN
    implausible: int = 0  # more than a record can measure
    before: int = 0  # sent before octets began to count when they were sent
    late: int = 0  # of matched and unknown: counted in a later window than they were sent in


class FlowAggregator:
    """Sums octets of flow records into windows.

    smooth: closed windows that `demand` averages over. active_timeout_s: the longest that exporters wait before they
    tell of a flow that goes on, and so the longest that a window waits for what was sent in it. closed: called with
    each window that is closed. doubts: routers of whose exports too many were lost since it was last asked, and why.
    """

    def __init__(
        self,
        classifier: Classifier,
        window_s: float,
        smooth: int = 3,
        *,
        active_timeout_s: float = ACTIVE_TIMEOUT_S,
        closed: Callable[[DemandWindow], None] | None = None,
        doubts: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.records_sampling_unknown = 0
        self._account = Account()
        self.closed: deque[DemandWindow] = deque(maxlen=smooth)
        self.clocks = Clocks()
        self._classifier = classifier
        self._window_s = window_s
        self._lag = Lag(window_s, active_timeout_s)
        self._reach = int(active_timeout_s // window_s) + 2  # windows back that a record is cut into
        self._closings = 0
        self._told: tuple[tuple[int, Classifier], DemandMatrix] | None = None  # the last demand, and what it is of
        self._on_closed = closed
        self._doubts = doubts
        self._tally = self._new_tally()
        self._unknown = UnknownPrefixes(classifier.space.sources)
        self._counted = classifier.counted()
        self._base = 0  # number of the window that the tally counts from
        self._oldest: int | None = None  # number of the oldest open window
        self._latest = 0  # of the latest that something was counted in
        self._begins = 0.0  # of the oldest open window: the first begins when we do
        self._learns = active_timeout_s > 0
        self._by_arrival = True
        self._began = 0.0  # when we began to count by arrival
        self._sent_from = 0  # number of the window from which octets count when they were sent
        self._open_octets = 0
        self._scratch = scratch()
        self._octets: Numbers = np.zeros(ACCOUNTS, np.int64)  # since it was last settled
        self._implausible = np.zeros(1)
        self._by_age: Numbers = np.zeros(self._reach, np.int64)
        self._state: Numbers = np.zeros(STATE, np.int64)
        self._sums = self._new_sums()
        self._counts_since = self._last_counted = 0.0  # when the first and the last that is not settled came
        self._heard: dict[str, float] = {}  # when each router's exports last came
        self._tell_sampling: set[str] = set()  # routers that ever told it
        self._untold: Counter[str] = Counter()  # their records that do not, since a window was closed

    @property
    def lag_s(self) -> float:
        """How long after its end a window is closed now."""
        return 0.0 if self._by_arrival else self._lag.seconds

    @property
    def space(self) -> CellSpace:
        """What there is to count in."""
        return self._classifier.space

    def reload(self, classifier: Classifier) -> None:
        """Classify by something else from here on; what is counted stays counted, what has no cell now is unknown."""
        self._settle()
        opened = self._take_open()
        self._classifier = classifier
        self._tally = self._new_tally()
        self._unknown = UnknownPrefixes(classifier.space.sources)
        self._counted = classifier.counted()
        self._sums = self._new_sums()
        for window, counted in opened:
            self._put(window, counted)

    def heard(self, router: str, now: float) -> None:
        """Note that a router exports, whatever it says."""
        self.roll(now)
        self.note_heard(router, now)

    def note_heard(self, router: str, at: float) -> None:
        """Note when a router's exports last came, before windows are closed that this tells of."""
        self._heard[router] = at

    def window_of(self, at: float) -> int:
        """Return the number of the window that a time is in."""
        return int(at // self._window_s)

    def add(self, flows: Flows, router: str, now: float) -> None:
        """Count the flow records that `router` exported and that came at `now` (unix seconds)."""
        self.heard(router, now)
        told = int(np.count_nonzero(flows.sampling_told))
        self.note_sampling(router, told, len(flows) - told)
        skew_s = self.clocks.told((flows.exporter, flows.version, flows.domain), flows.clock.export_s, now)
        self.count(columns_of(flows), np.array([self.source_row(router)]), np.array([skew_s]), now)

    def source_row(self, router: str) -> int:
        """Row of a router among the sources that `count` takes."""
        return self._classifier.source_row(router)

    def count(self, columns: Columns, sources: Numbers, skews_s: npt.NDArray[np.float64], now: float) -> None:
        """Count flow records of any routers that were `heard`.

        sources: (peers,) row of the router that each peer is. skews_s: (domains,) by how much the clock of each is
        ahead of ours.
        """
        assert self._oldest is not None  # noqa: S101 heard() opened it
        counted_in = self.window_of(self._last_counted)
        if self.window_of(now) != counted_in or not 0 <= now - self._counts_since < _SETTLED_S:
            self._settle()
            self._counts_since = now
        self._last_counted = now
        times = Times(
            *(now, self._window_s, self._reach, self._reach * self._window_s, self._by_arrival),
            *(self._base, self._tally.stride, self._oldest, self._sent_from),
        )
        records = len(columns.octets)
        opened = self._open_octets + int(self._octets[MATCHED]) + int(self._octets[UNKNOWN])
        most = MOST_OCTETS if opened + records * int(MOST_OCTETS) <= _MOST_OPEN else -1.0
        tails = int(self._counted.looks())
        tally, unknown, state = self._tally, self._unknown, self._state
        state[AT] = 0
        while True:
            state[USED], state[OF_UNKNOWN], state[LATEST] = tally.used, unknown.count, self._latest
            count(
                *(columns, sources, skews_s, self._classifier.tables, self._classifier.kernel, times),
                *(most, tails, self._sums, self._scratch, tally.slots, state),
            )
            at, tally.used, unknown.count, self._latest = state.tolist()
            if at == records:
                break
            unknown.sum()
            tally.grow(PIECES)

    def roll(self, now: float) -> None:
        """Close the windows that are due at `now` (unix seconds)."""
        newest = self.window_of(now)
        if newest != self.window_of(self._last_counted):
            self._settle()
        if self._oldest is None:
            begun = now - newest * self._window_s
            self._base = self._oldest = self._latest = newest + (begun >= self._window_s / 2)
            self._begins = self._began = now
        elif newest < self._oldest - 1:
            self._set_back(newest)
        due = int((now - self.lag_s) // self._window_s)
        if self._oldest < due:
            self._close_until(due)
            if self._by_arrival and self._learns and now >= self._began + self._lag.seconds + self._window_s:
                self._by_arrival, self._sent_from = False, self._oldest

    def _close_until(self, due: int) -> None:
        assert self._oldest is not None  # noqa: S101 roll() opened it
        while self._oldest < due:
            silent = due - self._oldest - (self.closed.maxlen or 0)
            if self._oldest > self._latest and silent > 0:
                self._oldest += silent
                self._begins = self._oldest * self._window_s
            self._close(self._oldest)

    def demand(self, now: float) -> DemandMatrix | None:
        """Mean over the last `smooth` closed windows; None before the first has closed that has all sent in it."""
        self.roll(now)
        if not self.closed or (self._learns and (self._by_arrival or self._oldest == self._sent_from)):
            return None
        state = (self._closings, self._classifier)
        if self._told is None or self._told[0] != state:  # it takes a while where cells are many
            self._told = state, demand_matrix(self.closed, self._classifier.space, self._classifier.expected)
        return self._told[1]

    def opened(self) -> list[DemandWindow]:
        """What has been counted so far in windows that are not closed yet."""
        if self._oldest is None:
            return []
        windows = []
        for window in range(self._oldest, self._latest + 1):
            begins = self._begins if window == self._oldest else window * self._window_s
            numbers = self._tally.peek(window - self._base)
            counted = self._window(begins, (window + 1) * self._window_s, *numbers)
            windows.append(replace(counted, heard=self._heard_since(begins)))
        return [window for window in windows if window.total]

    def flush(self, now: float) -> None:
        """Close every window as it is: there will be no more."""
        self.roll(now)
        while self._oldest is not None and self._oldest <= self._latest:
            self._close(self._oldest)

    @property
    def account(self) -> Account:
        """Where octets went so far."""
        self._settle()
        return self._account

    def _settle(self) -> None:
        """Take over what the kernel has summed."""
        octets, account = self._octets.tolist(), self._account
        beyond = int(self._implausible[0])
        account.implausible += beyond
        account.received += octets[RECEIVED] + beyond
        account.ignored += octets[IGNORED]
        account.local += octets[LOCAL]
        account.matched += octets[MATCHED]
        account.unknown += octets[UNKNOWN]
        account.before += octets[BEFORE]
        account.late += octets[LATE]
        self._open_octets += octets[MATCHED] + octets[UNKNOWN]
        ages = np.flatnonzero(self._by_age)  # those at the end of our reach are not waited for
        ended = (self.window_of(self._last_counted) - ages + 1) * self._window_s
        self._lag.told(self._last_counted - ended, self._by_age[ages])
        self._octets[:], self._by_age[:], self._implausible[:] = 0, 0, 0.0

    def _new_tally(self) -> Tally:
        return Tally(_stride(self._classifier.space))

    def _new_sums(self) -> Sums:
        counted, unknown = self._counted, self._unknown
        return Sums(
            *(self._octets, self._implausible, self._by_age, counted.folded, counted.tail),
            *(unknown.numbers, unknown.octets),
        )

    def _close(self, window: int) -> None:
        self._settle()
        ends = (window + 1) * self._window_s
        counted = self._cut(window, self._begins, ends)
        lag_s = self.lag_s
        heard = self._heard_since(min(self._begins, ends + lag_s - max(self._window_s, lag_s)))
        closed = DemandWindow(
            *(counted.begins, ends, counted.space, counted.cells, counted.octets, counted.unknown),
            top=self._unknown.take(),
            heard=heard,
            doubtful=self._doubted(),
        )
        self._open_octets -= closed.total
        self._oldest, self._begins = window + 1, ends
        self._lag.forget()
        self._counted.learn(closed)
        self.closed.append(closed)
        self._closings += 1
        if self._on_closed:
            self._on_closed(closed)

    def _heard_since(self, at: float) -> frozenset[str]:
        """Routers of whose traffic a window that is closed now has all, as far as their exports came since then."""
        if self._by_arrival and self._learns:
            return frozenset()
        return frozenset(router for router, last in self._heard.items() if last >= at)

    def note_sampling(self, router: str, told: int, untold: int) -> None:
        """Remember how many of a router's records told how they were sampled, and how many did not."""
        self.records_sampling_unknown += untold
        if told:
            self._tell_sampling.add(router)
        elif router in self._tell_sampling:
            self._untold[router] += untold

    def _doubted(self) -> dict[str, str]:
        """Routers that told too little since a window was last closed, and why we know."""
        sampled = {router: f"sampling of {count} flow records was not told" for router, count in self._untold.items()}
        self._untold.clear()
        return {**sampled, **self._doubts()}

    def _cut(self, window: int, begins: float, ends: float) -> DemandWindow:
        """Take what was counted up to the end of a window."""
        return self._window(begins, ends, *self._tally.take(window - self._base))

    def _window(self, begins: float, ends: float, keys: Numbers, octets: Numbers) -> DemandWindow:
        space = self._classifier.space
        known, counted = keys < space.size, octets > 0
        names = (*space.sources, "")
        unknown = {
            names[key]: count
            for key, count in zip((keys[~known] - space.size).tolist(), octets[~known].tolist(), strict=True)
            if count
        }
        kept = known & counted
        return DemandWindow(begins, ends, space, keys[kept], octets[kept], unknown)

    def _take_open(self) -> list[tuple[int, DemandWindow]]:
        """Take everything that was counted in open windows."""
        if self._oldest is None:
            return []
        return [(window, self._cut(window, 0.0, 0.0)) for window in range(self._oldest, self._latest + 1)]

    def _put(self, window: int, counted: DemandWindow) -> None:
        """Count in a window what was counted before."""
        space = self._classifier.space
        ours = merge([counted], space, 0.0, 0.0)
        rows = [space.size + self._classifier.source_row(source) for source in ours.unknown]
        keys = np.concatenate([ours.cells, np.array(rows, np.int64)])
        octets = np.concatenate([ours.octets, np.array(list(ours.unknown.values()), np.int64)])
        self._tally.add((window - self._base) * self._tally.stride + keys, octets)

    def _set_back(self, newest: int) -> None:
        """Go on from an earlier time: what is open counts there; what was closed is of a future that is not."""
        opened = self._take_open()
        self._base = self._oldest = self._latest = newest
        self._begins = newest * self._window_s
        self._by_arrival, self._began = True, self._begins
        self._tally = self._new_tally()
        self.closed.clear()
        self._heard = dict.fromkeys(self._heard, self._begins)
        for _, counted in opened:
            self._put(newest, counted)


def _stride(space: CellSpace) -> int:
    """Numbers that a window has: its cells, and an unknown row for each source and for whoever is none."""
    return space.size + len(space.sources) + 1
