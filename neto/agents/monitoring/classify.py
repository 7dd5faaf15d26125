"""What the operator says of sources, destinations and classes, as tables over columns of flow records.

A flow is counted at the router that exports it, as entering the WAN there. So that none is counted twice, a record
counts only where it came in from outside: not when it was exported at egress, nor when it came in over one of the
router's `core_interfaces`, which is another router's to tell.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.lookup import NONE, PrefixTable
from neto.model.demand_window import CellSpace, Numbers
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering
from neto.wire.netflow import Flows

_DSCPS = 64


def cell_space(inventory: Inventory, peering: Peering, intents: Intents) -> CellSpace:
    """Return what demand there can be: from each router, toward each prefix, in each class."""
    originated = [(router.name, prefix) for router in inventory.routers for prefix in router.prefixes]
    outside = [(group.name, prefix) for group in peering.groups for prefix in group.prefixes]
    return CellSpace(
        sources=tuple(router.name for router in inventory.routers),
        destinations=tuple(originated + outside),
        classes=tuple(traffic_class.name for traffic_class in intents.classes),
    )


def expected_exporters(inventory: Inventory) -> frozenset[str]:
    """Return the routers that should tell."""
    return frozenset(router.name for router in inventory.routers if router.exporters)


class Classifier:
    """Cells of flow records, by the longest prefix that holds the destination and the class of the code point."""

    def __init__(self, inventory: Inventory, peering: Peering, intents: Intents) -> None:
        self.expected = expected_exporters(inventory)
        self.space = cell_space(inventory, peering, intents)
        self._row = self.space.rows[0]
        self._own = np.array([self._row.get(target, NONE) for target, _ in self.space.destinations], np.int64)
        self._table = PrefixTable([prefix for _, prefix in self.space.destinations])
        self._class_of_dscp = np.full(_DSCPS, len(intents.classes) - 1, np.int64)
        for row, traffic_class in reversed(list(enumerate(intents.classes))):
            self._class_of_dscp[sorted(traffic_class.dscp)] = row
        self._core = {
            router.name: np.array(sorted(router.core_interfaces), np.uint64)
            for router in inventory.routers
            if router.core_interfaces
        }

    def source_row(self, router: str) -> int:
        """Row of a source; after the last one for a router that is none."""
        return self._row.get(router, len(self.space.sources))

    def cells(self, flows: Flows, source: str) -> Numbers:
        """Number of each record's cell, (records,); NONE where nothing matches."""
        row = self._row.get(source)
        if row is None or not self.space.size:
            return np.full(len(flows), NONE)
        destination = self._destination(flows)
        class_row = self._class_of_dscp[(flows.tos >> np.uint64(2)).astype(np.int64) % _DSCPS]
        cell = (row * len(self.space.destinations) + destination) * len(self.space.classes) + class_row
        return np.where(destination == NONE, NONE, cell)

    def ignored(self, flows: Flows, source: str) -> npt.NDArray[np.bool_]:
        """Whether a record is another router's to tell: seen at egress, or from an interface inside the WAN."""
        core = self._core.get(source)
        if core is None:
            return flows.egress
        return flows.egress | np.isin(flows.in_if, core)

    def local(self, cells: Numbers, source: str) -> npt.NDArray[np.bool_]:
        """Whether a cell's destination is behind its source."""
        row = self._row.get(source, NONE - 1)
        matched = cells != NONE
        local = np.zeros(len(cells), np.bool_)
        local[matched] = self._own[cells[matched] // len(self.space.classes) % len(self.space.destinations)] == row
        return local

    def _destination(self, flows: Flows) -> Numbers:
        family, dst4, dst6 = flows.family, flows.dst4, flows.dst6
        rows = np.full(len(flows), NONE)
        if dst4 is not None:
            rows = np.where(family == 4, self._table.find4(dst4), rows)  # noqa: PLR2004 IPv4
        if dst6 is not None:
            rows = np.where(family == 6, self._table.find6(dst6), rows)  # noqa: PLR2004 IPv6
        return rows
