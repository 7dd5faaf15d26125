"""What a router can say by BMP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from neto.wire.bgp import Open, Update


class PeerKind(IntEnum):
    """RFC 7854 §4.2, RFC 9069 §4.1."""

    GLOBAL = 0
    DISTINGUISHED = 1  # behind a route distinguisher
    LOCAL = 2
    LOC_RIB = 3


class View(StrEnum):
    """Which of the router's tables a route is in."""

    IN_PRE = "adj-rib-in pre-policy"
    IN_POST = "adj-rib-in post-policy"
    LOC = "loc-rib"
    OUT_PRE = "adj-rib-out pre-policy"
    OUT_POST = "adj-rib-out post-policy"


class Peer(NamedTuple):
    """Who the router has a BGP session with. For its own table (Loc-RIB) the address is unspecified."""

    kind: PeerKind
    distinguisher: int
    address: str
    asn: int
    bgp_id: str


@dataclass(frozen=True, slots=True)
class Initiation:
    """The first message of a session."""

    name: str
    description: str
    text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Termination:
    """The last message of a session."""

    reason: int | None
    text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A BGP session of the router is up. An OPEN is None where the router has lost it (FRR 8.4, after a collision)."""

    peer: Peer
    at: float  # unix seconds by the router's clock; 0 where it does not tell
    local_address: str
    local_port: int
    remote_port: int
    sent: Open | None
    received: Open | None
    text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerDown:
    """A BGP session of the router is over."""

    peer: Peer
    at: float
    reason: int  # RFC 7854 §4.9
    was_up: bool


class RouteMonitoring(NamedTuple):
    """Routes of a peer, as an UPDATE."""

    peer: Peer
    view: View
    update: Update


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters and gauges of a peer by their type (RFC 7854 §4.8); those that are not known numbers are left out."""

    peer: Peer
    values: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class RouteMirroring:
    """Messages of a peer word for word, and what became of them (RFC 7854 §4.7)."""

    peer: Peer
    messages: tuple[bytes, ...]
    information: tuple[int, ...]  # 0: a malformed UPDATE was treated as a withdrawal, 1: messages were lost


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type that is not known: to be ignored (RFC 7854 §4.1)."""

    kind: int


Message = Initiation | Termination | PeerUp | PeerDown | RouteMonitoring | Statistics | RouteMirroring | Unknown
