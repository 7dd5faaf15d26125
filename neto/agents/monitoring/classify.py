"""What the operator says of sources, destinations and classes, as tables over columns of flow records.

A flow is counted at the router that exports it, as entering the WAN there. So that none is counted twice, a record
counts only where it came in from outside: not when it was exported at egress, nor when it came in over one of the
router's `core_interfaces`, which is another router's to tell.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.counted import CountedPrefixes
from neto.agents.monitoring.counting import Classes
from neto.agents.monitoring.lookup import PrefixTable
from neto.model.demand_window import NONE, REST, CellSpace, entry
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering, Prefix

_DSCPS = 64
_V4 = 4
_HALF = (1 << 64) - 1  # of an IPv6 address
_MOST_COUNTED = 8192  # prefixes of groups that are counted by themselves


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Look for none while a million things are made: it would be most of the work, and there is none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def cell_space(inventory: Inventory, peering: Peering, intents: Intents) -> CellSpace:
    """Return what demand there can be: from each router, toward each prefix, in each class.

    Where groups have more prefixes than are counted by themselves, each has a rest as well: those come last.
    """
    with _no_garbage():
        originated = [(router.name, prefix) for router in inventory.routers for prefix in router.prefixes]
        outside = [(group.name, prefix) for group in peering.groups for prefix in group.prefixes]
    rests = [(group.name, REST) for group in peering.groups] if len(outside) > _MOST_COUNTED else []
    return CellSpace(
        sources=(
            *(router.name for router in inventory.routers),
            *(entry(*each) for each in _entries(inventory, peering)),
        ),
        destinations=tuple(originated + outside + rests),
        classes=tuple(traffic_class.name for traffic_class in intents.classes),
    )


def _entries(inventory: Inventory, peering: Peering) -> list[tuple[str, str]]:
    """Return routers and peering links by whose interface flow records tell what came in."""
    return [(x.node, x.name) for x in peering.links if x.interface is not None and x.node in inventory.router]


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
        core = [sorted(router.core_interfaces) for router in inventory.routers]
        marked: list[list[tuple[int, int]]] = [[] for _ in inventory.routers]
        for row, traffic_class in enumerate(intents.classes):
            for router, number in traffic_class.interfaces:
                if router in self._row:  # intents may be read anew before the inventory is
                    marked[self._row[router]].append((number, row))
        entering: list[list[tuple[int, int]]] = [[] for _ in inventory.routers]
        for link in peering.links:
            if link.interface is not None and link.node in inventory.router:
                entering[self._row[link.node]].append((link.interface, self._row[entry(link.node, link.name)]))
        self.kernel = Classes(
            len(self.space.sources),
            len(self.space.destinations),
            len(self.space.classes),
            np.append(own, NONE),
            class_of_dscp,
            _class_to(prefixes, intents),
            np.cumsum([0, *map(len, core)]),
            np.array([number for numbers in core for number in numbers], np.uint64),
            np.cumsum([0, *map(len, marked)]),
            np.array([number for those in marked for number, _ in those], np.uint64),
            np.array([row for those in marked for _, row in those], np.int64),
            np.cumsum([0, *map(len, entering)]),
            np.array([number for those in entering for number, _ in those], np.uint64),
            np.array([row for those in entering for _, row in those], np.int64),
        )

    def counted(self) -> CountedPrefixes:
        """Begin to find out which prefixes to count by themselves."""
        return CountedPrefixes(self.space, self._rest, _MOST_COUNTED)

    def source_row(self, router: str) -> int:
        """Row of a source; after the last one for a router that is none."""
        return self._row.get(router, len(self.space.sources))


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
