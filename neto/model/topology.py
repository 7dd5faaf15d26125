"""One immutable snapshot of the network: nodes, directed links, and their arrays.

Names are used outside `controller/`, integer rows inside; only `Topology` maps one to the other. Row order is
fixed inside one snapshot and means nothing across snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
Rows = NDArray[np.int32]
Mbps = NDArray[np.float64]
Microseconds = NDArray[np.float64]


class NodeKind(StrEnum):
    """What a node stands for in the joint graph."""

    ROUTER = "router"
    ISP = "isp"  # where peering links end; nothing transits it


@dataclass(frozen=True, slots=True)
class Node:
    """A router, or an ISP in the joint graph."""

    name: str
    kind: NodeKind = NodeKind.ROUTER
    router_id: str = ""  # IPv4 loopback (RFC 9552 TLV 1028); "" when unknown
    node_sid: int | None = None  # MPLS label that leads here from anywhere (SRGB base + index); None: no node SID
    max_sid_depth: int = 10  # labels the node can impose (RFC 8491); ours when it says nothing


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of an adjacency, or a peering link toward an ISP."""

    id: str
    source: str
    target: str
    capacity_mbps: float
    delay_us: float = 0.0
    igp_metric: int = 1
    srlgs: frozenset[int] = frozenset()
    adjacency_sid: int | None = None  # MPLS label that pins this link (for a peering link: its peer adjacency SID)
    local_address: str = ""
    remote_address: str = ""


@dataclass(frozen=True)
class Topology:
    """An immutable network. Arrays are read-only and aligned to `nodes` and `links`."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]

    @cached_property
    def node_row(self) -> Mapping[str, int]:
        """Row of each node, by name."""
        return MappingProxyType({node.name: row for row, node in enumerate(self.nodes)})

    @cached_property
    def link_row(self) -> Mapping[str, int]:
        """Row of each link, by id."""
        return MappingProxyType({link.id: row for row, link in enumerate(self.links)})

    @cached_property
    def source(self) -> Rows:
        """(links,) int32, node row where each link starts."""
        return self._frozen([self.node_row[link.source] for link in self.links], np.int32)

    @cached_property
    def target(self) -> Rows:
        """(links,) int32, node row where each link ends."""
        return self._frozen([self.node_row[link.target] for link in self.links], np.int32)

    @cached_property
    def capacity_mbps(self) -> Mbps:
        """(links,) float64, Mbit/s."""
        return self._frozen([link.capacity_mbps for link in self.links], np.float64)

    @cached_property
    def delay_us(self) -> Microseconds:
        """(links,) float64, µs."""
        return self._frozen([link.delay_us for link in self.links], np.float64)

    @cached_property
    def igp_metric(self) -> NDArray[np.int64]:
        """(links,) int64; peering links are in no IGP and carry 0 here."""
        return self._frozen([link.igp_metric for link in self.links], np.int64)

    @staticmethod
    def _frozen(values: Sequence[float], dtype: type[Scalar]) -> NDArray[Scalar]:
        array = np.array(values, dtype=dtype)
        array.flags.writeable = False
        return array
