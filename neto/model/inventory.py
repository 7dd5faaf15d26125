"""What the operator says of the devices: where they are, how to reach them, what they originate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from neto.model.peering import Prefix


@dataclass(frozen=True, slots=True)
class Router:
    """One router under management."""

    name: str  # as in BGP-LS (node name, TLV 1026)
    site: str
    router_id: str  # IPv4 loopback; the endpoint of SR policies that end here
    dialect: str  # file in wire/dialects/
    bgp_address: str  # where the daemon's iBGP session goes
    bgp_port: int = 179
    ssh_address: str = ""
    ssh_port: int = 22
    exporters: tuple[str, ...] = ()  # source addresses its flow exports come from
    core_interfaces: frozenset[int] = frozenset()  # ifIndex of those inside the WAN: what came in there is not counted
    prefixes: tuple[Prefix, ...] = ()  # what it originates into the WAN: the data centre behind it
    frozen: bool = False  # the operator forbids any change here
    max_policies: int | None = None  # SR policies that it can hold; None: as many as it takes


@dataclass(frozen=True, slots=True)
class Site:
    """A place: a data centre or a point of presence."""

    name: str
    region: str


@dataclass(frozen=True)
class Inventory:
    """Every site and router, in the operator's order."""

    sites: tuple[Site, ...]
    routers: tuple[Router, ...]

    @cached_property
    def router(self) -> Mapping[str, Router]:
        """Routers by name."""
        return MappingProxyType({router.name: router for router in self.routers})
