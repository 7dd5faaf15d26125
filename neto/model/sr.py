"""Segment routing as the field names it (RFC 8402, RFC 9256), and the BGP routes that steer into it.

Installation is kept apart from steering: a policy on a head-end is inert until a coloured route, whose next hop is
the policy's endpoint, points traffic at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from neto.model.announcement import Adjustment, AnnouncementKey
from neto.model.peering import Prefix


class SidKind(StrEnum):
    """What a segment pins."""

    NODE = "node"  # prefix SID of a router's loopback: the IGP's shortest path to it, ECMP included
    ADJACENCY = "adjacency"  # one link
    PEER = "peer"  # one peering link (EPE, RFC 9086)


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One instruction. Two are the same when their labels are: a router tells only those back."""

    label: int
    kind: SidKind | None = field(default=None, compare=False)  # None: read from a router, meaning not looked up
    name: str = field(default="", compare=False)  # node name, link id or peering link name


@dataclass(frozen=True, slots=True)
class SegmentList:
    """An explicit path with its share of the traffic: weight / sum of weights of the valid lists."""

    segments: tuple[Segment, ...]
    weight: int = 1


@dataclass(frozen=True, slots=True, order=True)
class PolicyKey:
    """What identifies an SR policy (RFC 9256 §2.1)."""

    headend: str  # router name
    colour: int
    endpoint: str  # IPv4 address


@dataclass(frozen=True, slots=True)
class SrPolicy:
    """An explicit candidate path of one or more weighted segment lists.

    Or, with `per_flow`, the mapping from DSCP to the colour of another policy to the same endpoint (per-flow
    steering, RFC 9256 §8.6); it then has no segment lists. DSCP -1 stands for every code point not named.
    """

    key: PolicyKey
    segment_lists: tuple[SegmentList, ...] = ()
    per_flow: tuple[tuple[int, int], ...] = ()  # (dscp, colour), sorted


@dataclass(frozen=True, slots=True, order=True)
class RouteKey:
    """Where a steering route acts: one prefix on one head-end."""

    headend: str
    prefix: Prefix


@dataclass(frozen=True, slots=True)
class Route:
    """A route that the daemon announces to one head-end: next hop = egress, colour = which policy."""

    key: RouteKey
    next_hop: str  # IPv4 address: the endpoint of the policy that the colour names
    colour: int
    local_preference: int = 1000


@dataclass(frozen=True, slots=True)
class ForwardingState:
    """What is, or should be, on the routers of ours. Legacy forwarding is the empty state."""

    policies: Mapping[PolicyKey, SrPolicy] = field(default_factory=dict)
    routes: Mapping[RouteKey, Route] = field(default_factory=dict)
    announcements: Mapping[AnnouncementKey, Adjustment] = field(default_factory=dict)
