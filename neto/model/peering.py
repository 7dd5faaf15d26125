"""ISPs, the links to them, and which prefixes can leave through which link."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

Prefix = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Isp:
    """A neighbouring network that carries our traffic toward its prefixes."""

    name: str
    asn: int


@dataclass(frozen=True, slots=True)
class PeeringLink:
    """A link from a border router of ours to an ISP; one capacity shared by every group that leaves through it."""

    name: str
    node: str  # border router
    isp: str
    capacity_mbps: float
    local_address: str = ""  # our side; "" when not known
    peer_address: str = ""  # the ISP's side
    peer_adjacency_sid: int | None = None  # label that pins this exit at the border (RFC 9086); None: not signalled
    interface: int | None = None  # ifIndex at the border, by which flow records tell what came in here; None: not known
    inbound_limit_mbps: float | None = None  # that should come in at most; None: the capacity
    lower_community: str = ""  # by which the ISP prefers the link less for what is announced with it; "": none
    announced: tuple[Prefix, ...] | None = None  # prefixes of ours; None: all that routers originate
    announces_learned: bool = False  # the border tells them as it learned them inside, and does not originate them


@dataclass(frozen=True, slots=True)
class PrefixGroup:
    """Destinations that are decided together."""

    name: str
    prefixes: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class Egress:
    """One way out for a prefix group, and how far it then is."""

    prefix_group: str
    peering_link: str
    delay_us: float
    loss: float = 0.0  # share of packets lost beyond the link, 0..1


@dataclass(frozen=True, slots=True)
class Peering:
    """All that is known of the outside, in the operator's order (earlier egresses win ties)."""

    isps: tuple[Isp, ...] = ()
    links: tuple[PeeringLink, ...] = ()
    groups: tuple[PrefixGroup, ...] = ()
    egresses: tuple[Egress, ...] = ()
