"""What the operator says of sources, destinations and classes, as tables over columns of flow records.

A flow is counted at the router that exports it, as entering the WAN there. So that none is counted twice, a record
counts only where it came in from outside: not when it was exported at egress, nor when it came in over one of the
router's `core_interfaces`, which is another router's to tell.
"""

from __future__ import annotations

import numpy as np

from neto.agents.monitoring.batch import Batch, Bools
from neto.agents.monitoring.lookup import NONE, PrefixTable
from neto.model.demand_window import CellSpace, Numbers
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering

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
        core = [row << 32 | number for row, r in enumerate(inventory.routers) for number in sorted(r.core_interfaces)]
        self._core = np.array(core, np.int64)  # growing: router and interface in one

    def source_row(self, router: str) -> int:
        """Row of a source; after the last one for a router that is none."""
        return self._row.get(router, len(self.space.sources))

    def classify(self, batch: Batch) -> tuple[Numbers, Bools]:
        """Number of each record's cell, NONE where nothing matches; and whether it is behind its own source.

        (records,) each.
        """
        destinations, classes = self.space.shape
        if not self.space.size:
            return np.full(len(batch), NONE), np.zeros(len(batch), np.bool_)
        destination = self._destination(batch)
        cell = (batch.source * destinations + destination) * classes + self._class_of_dscp[batch.dscp % _DSCPS]
        known = (destination != NONE) & np.less(batch.source, len(self.space.sources))
        local = known & (self._own[destination] == batch.source)
        return np.where(known, cell, NONE), local

    def ignored(self, batch: Batch) -> Bools:
        """Whether a record is another router's to tell: seen at egress, or from an interface inside the WAN."""
        if not len(self._core):
            return batch.egress
        key = np.left_shift(batch.source, 32) | batch.in_if.astype(np.int64)
        found = np.minimum(np.searchsorted(self._core, key), len(self._core) - 1)
        from_core: Bools = self._core[found] == key
        return batch.egress | from_core

    def _destination(self, batch: Batch) -> Numbers:
        rows = np.full(len(batch), NONE)
        if batch.dst4 is not None:
            rows = np.where(batch.family == 4, self._table.find4(batch.dst4), rows)  # noqa: PLR2004 IPv4
        if batch.dst6 is not None:
            rows = np.where(batch.family == 6, self._table.find6(batch.dst6), rows)  # noqa: PLR2004 IPv6
        return rows
