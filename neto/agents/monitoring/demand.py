"""Flow records -> demand: who sends how much to which prefix in which class, window by window. Sans-IO.

A flow is counted at the router that exports it, as entering the WAN there: routers must export ingress flows of their
outer interfaces only. What is exported at egress, from an interface that is to be ignored, or toward a prefix of the
exporting router itself (it does not cross the WAN) is left out and counted.

Octets count in the window in which their record arrives, whole: they are not spread over the flow's life, so an
exporter's active timeout should not be much longer than `smooth` windows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.lookup import NONE, PrefixTable
from neto.model.demand import DemandMatrix, PrefixDemand
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering, Prefix
from neto.wire.netflow import Flows

Cell = tuple[str, str, str, Prefix]  # source, target, class, prefix

_BITS_PER_MBIT = 1e6
_MOST_OCTETS = 1 << 50  # in one record, sampling applied; more is no measurement (a petabyte)
_COMPACT = 1 << 16  # records that wait before they are summed
_DSCPS = 64


class Classifier:
    """What the operator says of sources, destinations and classes, as tables over columns."""

    def __init__(
        self,
        inventory: Inventory,
        peering: Peering,
        intents: Intents,
        ignored_in_if: Mapping[str, frozenset[int]] | None = None,
    ) -> None:
        self.sources = tuple(router.name for router in inventory.routers)
        self.expected = frozenset(router.name for router in inventory.routers if router.exporters)
        self.classes = tuple(traffic_class.name for traffic_class in intents.classes)
        originated = [(router.name, prefix) for router in inventory.routers for prefix in router.prefixes]
        outside = [(group.name, prefix) for group in peering.groups for prefix in group.prefixes]
        self.destinations = tuple(originated + outside)
        self._pairs = frozenset(self.destinations)
        self._row = {name: row for row, name in enumerate(self.sources)}
        self._own = np.array([self._row.get(target, NONE) for target, _ in self.destinations], np.int64)
        self._table = PrefixTable([prefix for _, prefix in self.destinations])
        self._class_of_dscp = np.full(_DSCPS, len(self.classes) - 1, np.int64)
        for row, traffic_class in reversed(list(enumerate(intents.classes))):
            self._class_of_dscp[sorted(traffic_class.dscp)] = row
        self._ignored = {name: np.array(sorted(numbers)) for name, numbers in (ignored_in_if or {}).items()}

    def cells(self, flows: Flows, source: str) -> npt.NDArray[np.int64]:
        """Number of each record's cell, (records,); NONE where nothing matches."""
        destination = self._destination(flows)
        class_row = self._class_of_dscp[(flows.tos >> np.uint64(2)).astype(np.int64) % _DSCPS]
        row = self._row.get(source)
        if row is None or not self.classes or not self.destinations:
            return np.full(len(flows), NONE)
        cell = (row * len(self.destinations) + destination) * len(self.classes) + class_row
        return np.where(destination == NONE, NONE, cell)

    def ignored(self, flows: Flows, source: str) -> npt.NDArray[np.bool_]:
        """Whether a record is another router's to tell: seen at egress, or from an interface inside the WAN."""
        inside = self._ignored.get(source)
        if inside is None:
            return flows.egress
        return flows.egress | np.isin(flows.in_if, inside)

    def local(self, cells: npt.NDArray[np.int64], source: str) -> npt.NDArray[np.bool_]:
        """Whether a cell's destination is behind its source."""
        row = self._row.get(source, NONE - 1)
        matched = cells != NONE
        local = np.zeros(len(cells), np.bool_)
        local[matched] = self._own[cells[matched] // len(self.classes) % len(self.destinations)] == row
        return local

    def cell(self, number: int) -> Cell:
        """What a cell's number stands for."""
        number, class_row = divmod(number, len(self.classes))
        source, destination = divmod(number, len(self.destinations))
        target, prefix = self.destinations[destination]
        return self.sources[source], target, self.classes[class_row], prefix

    def knows(self, cell: Cell) -> bool:
        """Whether a cell could still be told: its router, target, prefix and class are configured."""
        source, target, traffic_class, prefix = cell
        return source in self._row and traffic_class in self.classes and (target, prefix) in self._pairs

    def _destination(self, flows: Flows) -> npt.NDArray[np.int64]:
        family, dst4, dst6 = flows.family, flows.dst4, flows.dst6
        rows = np.full(len(flows), NONE)
        if dst4 is not None:
            rows = np.where(family == 4, self._table.find4(dst4), rows)  # noqa: PLR2004 IPv4
        if dst6 is not None:
            rows = np.where(family == 6, self._table.find6(dst6), rows)  # noqa: PLR2004 IPv6
        return rows


@dataclass(slots=True)
class Account:
    """Where octets went, sampling applied: `received` is the sum of all others."""

    received: float = 0.0
    matched: float = 0.0
    unknown: float = 0.0  # no prefix holds the destination
    ignored: float = 0.0  # another router's to tell
    local: float = 0.0  # never crosses the WAN
    implausible: float = 0.0  # more than a record can measure


@dataclass(slots=True)
class Window:
    """One window: [begins, ends) by arrival, unix seconds."""

    begins: float
    ends: float
    octets: dict[Cell, float] = field(default_factory=dict)
    unknown_octets: float = 0.0
    heard: frozenset[str] = frozenset()  # routers whose exports came


class FlowAggregator:
    """Sums octets of flow records into windows.

    smooth: closed windows that `demand` averages over.
    """

    def __init__(self, classifier: Classifier, window_s: float, smooth: int = 3) -> None:
        self.account = Account()
        self.records_sampling_unknown = 0
        self.closed: deque[Window] = deque(maxlen=smooth)
        self._classifier = classifier
        self._window_s = window_s
        self._begins: float | None = None
        self._pending: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]] = []
        self._pending_records = 0
        self._octets: dict[Cell, float] = {}
        self._unknown = 0.0
        self._heard: set[str] = set()

    def reload(self, classifier: Classifier) -> None:
        """Classify by something else from here on; what is already counted stays counted."""
        self._settle()
        self._classifier = classifier

    def heard(self, router: str, now: float) -> None:
        """Note that a router exports, whatever it says."""
        self.roll(now)
        self._heard.add(router)

    def add(self, flows: Flows, router: str, now: float) -> None:
        """Count the flow records that `router` exported and that came at `now` (unix seconds)."""
        self.heard(router, now)
        octets = flows.octets * flows.sampling
        plausible = octets <= _MOST_OCTETS
        ignored = plausible & self._classifier.ignored(flows, router)
        rest = plausible & ~ignored
        cells = self._classifier.cells(flows, router)
        local = rest & self._classifier.local(cells, router)
        rest &= ~local
        unknown, matched = rest & (cells == NONE), rest & (cells != NONE)
        account = self.account
        account.received += float(octets.sum())
        account.implausible += float(octets[~plausible].sum())
        account.ignored += float(octets[ignored].sum())
        account.local += float(octets[local].sum())
        account.unknown += float(octets[unknown].sum())
        account.matched += float(octets[matched].sum())
        self._unknown += float(octets[unknown].sum())
        self.records_sampling_unknown += int((~flows.sampling_told).sum())
        self._pending.append((cells[matched], octets[matched]))
        self._pending_records += len(flows)
        if self._pending_records >= _COMPACT:
            self._settle()

    def roll(self, now: float) -> None:
        """Close the windows that have ended by `now`."""
        begins = self._begins
        if begins is None or now < begins - self._window_s:  # the first call, or the clock was set back
            self._begins = now
            return
        over = int((now - begins) // self._window_s)
        if over <= 0:
            return
        self._settle()
        self.closed.append(Window(begins, begins + self._window_s, self._octets, self._unknown, frozenset(self._heard)))
        self._octets, self._unknown, self._heard = {}, 0.0, set()
        for silent in range(max(1, over - (self.closed.maxlen or 0)), over):
            at = begins + silent * self._window_s
            self.closed.append(Window(at, at + self._window_s))
        self._begins = begins + over * self._window_s

    def demand(self, now: float) -> DemandMatrix | None:
        """Mean over the last `smooth` closed windows; None before the first has closed.

        missing_exporters: routers with exporters in the inventory that the last closed window did not hear. They have
        no rates here: what earlier windows heard of them is less than they carry.
        """
        self.roll(now)
        if not self.closed:
            return None
        octets: dict[Cell, float] = {}
        unknown = 0.0
        missing = self._classifier.expected - self.closed[-1].heard
        knows = {cell: self._classifier.knows(cell) for window in self.closed for cell in window.octets}
        for window in self.closed:
            unknown += window.unknown_octets
            for cell, count in window.octets.items():
                if not knows[cell]:
                    unknown += count
                elif cell[0] not in missing:
                    octets[cell] = octets.get(cell, 0.0) + count
        per_octet = 8 / _BITS_PER_MBIT / (len(self.closed) * self._window_s)
        return DemandMatrix(
            begins=self.closed[0].begins,
            ends=self.closed[-1].ends,
            rates=tuple(
                PrefixDemand(*cell, rate_mbps=count * per_octet) for cell, count in sorted(octets.items(), key=_order)
            ),
            unknown_mbps=unknown * per_octet,
            missing_exporters=missing,
        )

    def _settle(self) -> None:
        """Sum what waits into the open window."""
        if self._pending:
            cells, inverse = np.unique(np.concatenate([cells for cells, _ in self._pending]), return_inverse=True)
            sums = np.bincount(inverse, np.concatenate([octets for _, octets in self._pending]), len(cells))
            for number, octets in zip(cells.tolist(), sums.tolist(), strict=True):
                cell = self._classifier.cell(number)
                self._octets[cell] = self._octets.get(cell, 0.0) + octets
        self._pending.clear()
        self._pending_records = 0


def _order(item: tuple[Cell, float]) -> tuple[str, str, str, str]:
    source, target, traffic_class, prefix = item[0]
    return source, target, traffic_class, str(prefix)
