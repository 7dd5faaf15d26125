"""What the operator says of sources, destinations and classes, as tables over columns of flow records.

A flow is counted at the router that exports it, as entering the WAN there. So that none is counted twice, a record
counts only where it came in from outside: not when it was exported at egress, nor when it came in over one of the
router's `core_interfaces`, which is another router's to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.counted import CountedPrefixes
from neto.agents.monitoring.counting import Classes, Interfaces
from neto.agents.monitoring.garbage import none_sought
from neto.agents.monitoring.lookup import PrefixTable
from neto.model.demand_window import NONE, REST, CellSpace, entry
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering, PeeringLink, Prefix

_DSCPS = 64
_V4 = 4
_HALF = (1 << 64) - 1  # of an IPv6 address
_MOST_COUNTED = 8192  # prefixes of groups that are counted by themselves


def cell_space(inventory: Inventory, peering: Peering, intents: Intents) -> CellSpace:
    """Return what demand there can be: from each router, toward each prefix, in each class.

    Where groups have more prefixes than are counted by themselves, each has a rest as well: those come last.
    """
    with none_sought():
        originated = [(router.name, prefix) for router in inventory.routers for prefix in router.prefixes]
        outside = [(group.name, prefix) for group in peering.groups for prefix in group.prefixes]
    rests = [(group.name, REST) for group in peering.groups] if len(outside) > _MOST_COUNTED else []
    return CellSpace(
        sources=(
            *(router.name for router in inventory.routers),
            *(entry(link.node, link.name) for link in _entries(inventory, peering)),
        ),
        destinations=tuple(originated + outside + rests),
        classes=tuple(traffic_class.name for traffic_class in intents.classes),
    )


def _entries(inventory: Inventory, peering: Peering) -> list[PeeringLink]:
    """Return the peering links by whose interface flow records tell what came in."""
    return [link for link in peering.links if link.interface is not None and link.node in inventory.router]


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
        prefixes = [prefix for _, prefix in self.space.destinations[:listed]]
        self.tables = PrefixTable(prefixes).tables
        self._rest = np.arange(len(self.space.destinations), dtype=np.int32)
        if listed < len(self._rest):
            self._rest[len(own) : listed] = np.repeat(self._rest[listed:], sizes)
        else:
            self._rest = self._rest[:0]
        class_of_dscp = np.full(_DSCPS, len(intents.classes) - 1, np.int64)
        for row, traffic_class in reversed(list(enumerate(intents.classes))):
            class_of_dscp[sorted(traffic_class.dscp)] = row
        core = [(router.name, number, 0) for router in inventory.routers for number in sorted(router.core_interfaces)]
        marked = [
            (router, number, row)
            for row, traffic_class in enumerate(intents.classes)
            for router, number in traffic_class.interfaces
        ]
        entering = [
            (link.node, link.interface or 0, self._row[entry(link.node, link.name)])
            for link in _entries(inventory, peering)
        ]
        self.kernel = Classes(
            len(self.space.sources),
            len(self.space.destinations),
            len(self.space.classes),
            np.append(own, NONE),
            class_of_dscp,
            _class_to(prefixes, intents),
            _by_router(inventory, core),
            _by_router(inventory, marked),
            _by_router(inventory, entering),
        )

    def counted(self) -> CountedPrefixes:
        """Begin to find out which prefixes to count by themselves."""
        return CountedPrefixes(self.space, self._rest, _MOST_COUNTED)

    def source_row(self, router: str) -> int:
        """Row of a source; after the last one for a router that is none."""
        return self._row.get(router, len(self.space.sources))


def _by_router(inventory: Inventory, interfaces: Iterable[tuple[str, int, int]]) -> Interfaces:
    """Write (router, number, row) as kernels read them.

    Those of a router that is none are left out: intents may be read anew before the inventory is.
    """
    of: dict[str, list[tuple[int, int]]] = {router.name: [] for router in inventory.routers}
    for router, number, row in interfaces:
        if router in of:
            of[router].append((number, row))
    told = [each for those in of.values() for each in those]
    return Interfaces(
        np.cumsum([0, *map(len, of.values())]),
        np.array([number for number, _ in told], np.uint64),
        np.array([row for _, row in told], np.int64),
    )


def _class_to(prefixes: Sequence[Prefix], intents: Intents) -> npt.NDArray[np.int8]:
    """Class of all that goes to each destination, by the longest prefix that a class names; (0,): none names any."""
    named = [(prefix, row) for row, each in enumerate(intents.classes) for prefix in each.prefixes]
    if not named:
        return np.zeros(0, np.int8)
    holding = PrefixTable([prefix for prefix, _ in named])
    begins = [int(prefix.network_address) for prefix in prefixes]
    four = np.array([prefix.version == _V4 for prefix in prefixes], np.bool_)
    halves = np.array([(begin >> 64, begin & _HALF) for begin in begins], np.uint64).reshape(-1, 2)
    found = np.where(four, holding.find4(halves[:, 1].astype(np.uint32)), holding.find6(halves))
    classes = np.array([*(row for _, row in named), NONE], np.int8)
    lengths = np.array([*(prefix.prefixlen for prefix, _ in named), 0])
    whole = lengths[found] <= np.array([prefix.prefixlen for prefix in prefixes])
    return np.where((found != NONE) & whole, classes[found], NONE).astype(np.int8)
