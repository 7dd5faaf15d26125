"""The joint graph: the WAN, and the ISPs behind its borders.

A prefix group leaves through any of its egresses; each ISP is a node where peering links end and nothing goes on.
Without our routes a router leaves by the border that is nearest to it in the IGP (hot potato).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from neto.controller.igp import igp_of
from neto.model.inventory import Inventory
from neto.model.peering import Peering
from neto.model.topology import Link, Node, NodeKind, Topology

_FIRST_COLOUR = 1000
_COLOURS_PER_TARGET = 100
_VIA = " via "


def join(topology: Topology, peering: Peering, peer_sids: Mapping[tuple[str, str], int] | None = None) -> Topology:
    """Return the topology with ISPs as nodes and peering links as links behind the routers and links it has.

    peer_sids: label of a peering link by (border router, peer address), as BGP-LS tells it; wins over what the
    peering link itself says. Left out: peering links whose border is not in the topology, and those that bear
    the name of something else in it (`left_out` lists both).
    """
    told = peer_sids or {}
    absent = set(left_out(topology, peering))
    links = [link for link in peering.links if link.name not in absent]
    isps = dict.fromkeys(link.isp for link in links)
    return Topology(
        nodes=topology.nodes + tuple(Node(name=isp, kind=NodeKind.ISP) for isp in isps),
        links=topology.links
        + tuple(
            Link(
                id=link.name,
                source=link.node,
                target=link.isp,
                capacity_mbps=link.capacity_mbps,
                igp_metric=0,
                adjacency_sid=told.get((link.node, link.peer_address), link.peer_adjacency_sid),
                local_address=link.local_address,
                remote_address=link.peer_address,
            )
            for link in links
        ),
    )


def left_out(topology: Topology, peering: Peering) -> Mapping[str, str]:
    """Return the peering links that cannot be in the joint graph, each with the reason."""
    reasons = {}
    for link in peering.links:
        if link.node not in topology.node_row:
            reasons[link.name] = f"its border router {link.node} is not in the topology"
        elif link.name in topology.link_row:
            reasons[link.name] = "a link of the WAN bears the same name"
        elif link.isp in topology.node_row:
            reasons[link.name] = f"a router bears the name of its ISP {link.isp}"
    return reasons


def legacy_exit(joint: Topology, peering: Peering, router: int, group: str) -> int | None:
    """Return the peering link through which a router sends a prefix group without us; None when there is none.

    router: node row. The nearest border wins, then the order of the egresses.
    """
    distance = igp_of(joint).distance[router]
    exits = [
        joint.link_row[egress.peering_link]
        for egress in peering.egresses
        if egress.prefix_group == group and egress.peering_link in joint.link_row
    ]
    reachable = [link for link in exits if np.isfinite(distance[joint.source[link]])]
    return min(reachable, key=lambda link: float(distance[joint.source[link]]), default=None)


def part_name(group: str, exit_: str) -> str:
    """Name, as a target, of the prefixes of a group that leave by one exit. No name of an operator's has spaces."""
    return f"{group}{_VIA}{exit_}"


def whole(target: str) -> str:
    """Return the group that a part is of; any other target itself."""
    return target.partition(_VIA)[0]


def exit_of(target: str) -> str:
    """Return the exit of a part; "" for any other target."""
    return target.partition(_VIA)[2]


@dataclass(frozen=True)
class Targets:
    """What traffic can be bound for, numbered: routers in the order of the inventory, then prefix groups.

    Behind them come the parts of each group, one for each peering link there is, whether it is open or not.

    Colours follow from the number, so every head-end names a target alike: base = 1000 + 100 * number steers, and
    base + 1 + c is the policy of class c (0 = highest).
    """

    names: tuple[str, ...]
    exits: tuple[str, ...] = ()
    groups: int = 0  # that have parts: the last of the names

    @classmethod
    def of(cls, inventory: Inventory, peering: Peering, *, parts: bool = False) -> Targets:
        """Number the routers and the prefix groups, and their parts if there are to be any."""
        names = tuple(router.name for router in inventory.routers) + tuple(group.name for group in peering.groups)
        return cls(names, tuple(link.name for link in peering.links), len(peering.groups)) if parts else cls(names)

    @cached_property
    def _exit_row(self) -> Mapping[str, int]:
        return {name: row for row, name in enumerate(self.exits)}

    def _number_of(self, target: str) -> int:
        exit_ = exit_of(target)
        number = self.number[whole(target)]
        if not exit_:
            return number
        group = number - (len(self.names) - self.groups)
        return len(self.names) + group * len(self.exits) + self._exit_row[exit_]

    @cached_property
    def number(self) -> Mapping[str, int]:
        """Number of each target, by name."""
        return MappingProxyType({name: number for number, name in enumerate(self.names)})

    def steering_colour(self, target: str) -> int:
        """Colour of the routes toward the target, and of the policy that tells its classes apart."""
        return _FIRST_COLOUR + _COLOURS_PER_TARGET * self._number_of(target)

    def class_colour(self, target: str, traffic_class: int) -> int:
        """Colour of the policy that carries one class (0 = highest) toward the target."""
        return self.steering_colour(target) + 1 + traffic_class

    def meaning(self, colour: int) -> tuple[str, int | None] | None:
        """Return target and class (None: the steering colour) of one of our colours; None when it is not ours."""
        number, offset = divmod(colour - _FIRST_COLOUR, _COLOURS_PER_TARGET)
        if not 0 <= number < len(self.names) + self.groups * len(self.exits):
            return None
        if number < len(self.names):
            return self.names[number], offset - 1 if offset else None
        group, exit_ = divmod(number - len(self.names), len(self.exits))
        target = part_name(self.names[len(self.names) - self.groups + group], self.exits[exit_])
        return target, offset - 1 if offset else None
