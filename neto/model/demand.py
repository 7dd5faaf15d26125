"""How much traffic wants to go where."""

from __future__ import annotations

from dataclasses import dataclass

from neto.model.peering import Prefix


@dataclass(frozen=True, slots=True)
class PrefixDemand:
    """Measured traffic that enters at a router toward one prefix, in one class: the atom that routes can steer."""

    source: str  # router where it enters the WAN
    target: str  # router that originates the prefix, or the prefix group that holds it
    traffic_class: str
    prefix: Prefix
    rate_mbps: float


@dataclass(frozen=True, slots=True)
class Demand:
    """Traffic that is allocated as one."""

    id: str
    traffic_class: str
    source: str  # node
    target: str  # node or prefix group
    rate_mbps: float


@dataclass(frozen=True, slots=True)
class DemandMatrix:
    """Demand over one window, and what could not be told."""

    begins: float  # unix seconds
    ends: float
    rates: tuple[PrefixDemand, ...]
    unknown_mbps: float = 0.0  # measured traffic whose source, destination or class nothing matches
    missing_exporters: frozenset[str] = frozenset()  # routers that should have told and did not
