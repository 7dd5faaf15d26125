"""How much traffic wants to go where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
class UnknownDemand:
    """Measured traffic that enters at a router toward what no configured prefix holds."""

    source: str
    rate_mbps: float


@dataclass(frozen=True, slots=True)
class UnknownPrefix:
    """One of the largest destinations of unknown traffic."""

    source: str
    prefix: Prefix  # a /24 or a /48: nobody configured it
    rate_mbps: float  # at least: the share of what is kept in bounded memory


@dataclass(frozen=True, slots=True)
class ExporterHealth:
    """How well one observation domain of one exporter is heard, since it was first heard."""

    router: str
    exporter: str  # address
    version: str  # v5, v9, ipfix or sflow
    domain: int
    messages: int
    lost: int  # packets (v9, sFlow) or flows (the others) that never came, by their sequence numbers
    lost_share: float  # of what was sent
    gaps: int
    late: int  # messages that were overtaken
    restarts: int  # of the sequence
    waiting_sets: int  # of the exporter, whose template may still come
    undecoded_sets: int  # given up for want of one
    clock_ahead_s: float
    collector: str = ""  # that hears it; "": the daemon itself
    lost_samples: int = 0  # of packets (sFlow), by the numbers that each of its sources gives them
    dropped_samples: int = 0  # by the exporter itself, which was short of something


@dataclass(frozen=True, slots=True)
class Demand:
    """Traffic that is allocated as one."""

    id: str
    traffic_class: str
    source: str  # node
    target: str  # node or prefix group
    rate_mbps: float


@dataclass(frozen=True, slots=True)
class InboundRate:
    """Measured traffic that came in by a peering link toward one prefix, in all classes."""

    peering_link: str
    target: str  # router that originates the prefix, or the prefix group that holds it: transit
    prefix: Prefix
    rate_mbps: float


@dataclass(frozen=True, slots=True)
class DemandMatrix:
    """Demand over one window, and what could not be told."""

    begins: float  # unix seconds
    ends: float
    rates: tuple[PrefixDemand, ...]
    unknown_mbps: float = 0.0  # measured traffic whose source, destination or class nothing matches
    missing_exporters: frozenset[str] = frozenset()  # routers that should have told and did not
    missing_leaves: frozenset[str] = frozenset()  # collectors that should have told and did not
    unknown: tuple[UnknownDemand, ...] = ()  # by source, largest first; the sum is unknown_mbps
    unknown_prefixes: tuple[UnknownPrefix, ...] = ()  # largest first
    doubtful: Mapping[str, str] = field(default_factory=dict)  # routers that told too little, and why we know
    inbound: tuple[InboundRate, ...] = ()  # of peering links whose interface is known; a part of the rates above
