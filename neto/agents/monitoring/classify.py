"""What the operator says of sources, destinations and classes, as tables over columns of flow records.

A flow is counted at the router that exports it, as entering the WAN there. So that none is counted twice, a record
counts only where it came in from outside: not when it was exported at egress, nor when it came in over one of the
router's `core_interfaces`, which is another router's to tell.
"""

from __future__ import annotations

import numpy as np

from neto.agents.monitoring.counted import CountedPrefixes
from neto.agents.monitoring.counting import Classes
from neto.agents.monitoring.lookup import PrefixTable
from neto.model.demand_window import NONE, REST, CellSpace
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering

_DSCPS = 64
_MOST_COUNTED = 8192  # prefixes of groups that are counted by themselves


def cell_space(inventory: Inventory, peering: Peering, intents: Intents) -> CellSpace:
    """Return what demand there can be: from each router, toward each prefix, in each class.

    Where groups have more prefixes than are counted by themselves, each has a rest as well: those come last.
    """
    originated = [(router.name, prefix) for router in inventory.routers for prefix in router.prefixes]
    outside = [(group.name, prefix) for group in peering.groups for prefix in group.prefixes]
    rests = [(group.name, REST) for group in peering.groups] if len(outside) > _MOST_COUNTED else []
    return CellSpace(
        sources=tuple(router.name for router in inventory.routers),
        destinations=tuple(originated + outside + rests),
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
        self._row = {name: row for row, name in enumerate(self.space.sources)}
        own = np.array([self._row[router.name] for router in inventory.routers for _ in router.prefixes], np.int64)
        sizes = [len(group.prefixes) for group in peering.groups]
        listed = len(own) + sum(sizes)
        self.tables = PrefixTable([prefix for _, prefix in self.space.destinations[:listed]]).tables
        self._rest = np.arange(len(self.space.destinations), dtype=np.int32)
        if listed < len(self._rest):
            self._rest[len(own) : listed] = np.repeat(self._rest[listed:], sizes)
        else:
            self._rest = self._rest[:0]
        class_of_dscp = np.full(_DSCPS, len(intents.classes) - 1, np.int64)
        for row, traffic_class in reversed(list(enumerate(intents.classes))):
            class_of_dscp[sorted(traffic_class.dscp)] = row
        core = [sorted(router.core_interfaces) for router in inventory.routers]
        self.kernel = Classes(
            len(self.space.sources),
            len(self.space.destinations),
            len(self.space.classes),
            np.append(own, NONE),
            class_of_dscp,
            np.zeros(0, np.int8),
            np.cumsum([0, *map(len, core)]),
            np.array([number for numbers in core for number in numbers], np.uint64),
            np.zeros(len(core) + 1, np.int64),
            np.zeros(0, np.uint64),
            np.zeros(0, np.int64),
        )

    def counted(self) -> CountedPrefixes:
        """Begin to find out which prefixes to count by themselves."""
        return CountedPrefixes(self.space, self._rest, _MOST_COUNTED)

    def source_row(self, router: str) -> int:
        """Row of a source; after the last one for a router that is none."""
        return self._row.get(router, len(self.space.sources))
