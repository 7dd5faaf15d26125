"""What the operator says of sources, destinations and classes, as tables over columns of flow records.

A flow is counted at the router that exports it, as entering the WAN there. So that none is counted twice, a record
counts only where it came in from outside: not when it was exported at egress, nor when it came in over one of the
router's `core_interfaces`, which is another router's to tell.
"""

from __future__ import annotations

import numpy as np

from neto.agents.monitoring.counting import Classes
from neto.agents.monitoring.lookup import PrefixTable
from neto.model.demand_window import CellSpace
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
    """How records become cells: by the longest prefix that holds the destination, and the class of the code point."""

    def __init__(self, inventory: Inventory, peering: Peering, intents: Intents) -> None:
        self.expected = expected_exporters(inventory)
        self.space = cell_space(inventory, peering, intents)
        self._row = self.space.rows[0]
        own = np.array([self._row[router.name] for router in inventory.routers for _ in router.prefixes], np.int64)
        self.tables = PrefixTable([prefix for _, prefix in self.space.destinations]).tables
        class_of_dscp = np.full(_DSCPS, len(intents.classes) - 1, np.int64)
        for row, traffic_class in reversed(list(enumerate(intents.classes))):
            class_of_dscp[sorted(traffic_class.dscp)] = row
        core = [sorted(router.core_interfaces) for router in inventory.routers]
        self.kernel = Classes(
            len(self.space.sources),
            len(self.space.destinations),
            len(self.space.classes),
            own,
            class_of_dscp,
            np.cumsum([0, *map(len, core)]),
            np.array([number for numbers in core for number in numbers], np.uint64),
        )

    def source_row(self, router: str) -> int:
        """Row of a source; after the last one for a router that is none."""
        return self._row.get(router, len(self.space.sources))
