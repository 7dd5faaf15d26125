"""What BGP-LS tells: nodes, links, prefixes. An id (the NLRI) says which one, its attributes say what is told of it.

Ids are equal when their NLRIs are, so they serve as keys. Missing is None, "" or (), as the type says. Rates are in
Mbit/s, times in µs, addresses are text as `ipaddress` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Network

Tlv = tuple[int, bytes]  # type, value


class Protocol(IntEnum):
    """Where an object was learned (RFC 9552 §5.2 table 2, RFC 9086 §4)."""

    ISIS_LEVEL_1 = 1
    ISIS_LEVEL_2 = 2
    OSPFV2 = 3
    DIRECT = 4
    STATIC = 5
    OSPFV3 = 6
    BGP = 7

    @property
    def is_isis(self) -> bool:
        """Tell whether this is a level of IS-IS."""
        return self in _ISIS

    @property
    def is_igp(self) -> bool:
        """Tell whether this is an IGP."""
        return self in _ISIS or self in _OSPF

    @property
    def is_ospf(self) -> bool:
        """Tell whether this is a version of OSPF."""
        return self in _OSPF


_ISIS = frozenset({Protocol.ISIS_LEVEL_1, Protocol.ISIS_LEVEL_2})
_OSPF = frozenset({Protocol.OSPFV2, Protocol.OSPFV3})
_SYSTEM_ID_SIZE = 6
_OSPF_ROUTER_ID_SIZE = 4


@dataclass(frozen=True, slots=True)
class NodeId:
    """Which node: the NLRI of a node, and each end of a link (RFC 9552 §5.2.1)."""

    protocol: Protocol
    instance: int  # tells apart routing universes and instances
    igp_router_id: bytes = b""  # IS-IS: system id (6) and pseudonode number (1); OSPF: router id (4), interface (4)
    asn: int | None = None
    bgp_ls_id: int | None = None
    area: int | None = None  # OSPF
    bgp_router_id: str = ""  # protocol BGP
    member_asn: int | None = None  # protocol BGP, confederations
    unknown: tuple[Tlv, ...] = ()

    @property
    def is_pseudonode(self) -> bool:
        """Tell whether this stands for a LAN (RFC 9552 §5.2.1.4)."""
        return self.protocol.is_igp and len(self.igp_router_id) > len(self.router)

    @property
    def router(self) -> bytes:
        """The IGP's id of the router: of the designated one, if this is a pseudonode."""
        return self.igp_router_id[: _SYSTEM_ID_SIZE if self.protocol.is_isis else _OSPF_ROUTER_ID_SIZE]

    def __str__(self) -> str:
        if not self.igp_router_id:
            return self.bgp_router_id
        rest = self.igp_router_id[len(self.router) :].hex()
        if len(self.router) == _OSPF_ROUTER_ID_SIZE:
            name = str(IPv4Address(self.router))
        else:
            digits = self.router.hex()
            name = ".".join(digits[at : at + 4] for at in range(0, len(digits), 4))
        return f"{name}-{rest}" if rest else name


@dataclass(frozen=True, slots=True)
class LinkId:
    """Which link, one direction of it (RFC 9552 §5.2.2)."""

    local: NodeId
    remote: NodeId
    local_id: int | None = None
    remote_id: int | None = None  # 0: not known to the local node
    local_addresses: tuple[str, ...] = ()  # IPv4 before IPv6
    remote_addresses: tuple[str, ...] = ()
    topologies: tuple[int, ...] = ()  # multi-topology ids; (): the default one
    unknown: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True)
class PrefixId:
    """Which prefix, as one node originates it (RFC 9552 §5.2.3)."""

    node: NodeId
    prefix: IPv4Network | IPv6Network
    topologies: tuple[int, ...] = ()
    ospf_route_type: int | None = None
    unknown: tuple[Tlv, ...] = ()


LsKey = NodeId | LinkId | PrefixId


@dataclass(frozen=True, slots=True)
class LabelRange:
    """A run of MPLS labels."""

    first: int
    size: int


@dataclass(frozen=True, slots=True)
class AdjacencySid:
    """A segment over one adjacency (RFC 9085 §2.2.1), or over that with one neighbour on a LAN (§2.2.2)."""

    value: int
    is_label: bool  # else an index
    is_local: bool  # means something to the advertising node only
    is_protected: bool  # traffic is rerouted when the adjacency fails
    is_set: bool  # stands for several adjacencies
    is_ipv6: bool
    weight: int
    flags: int
    neighbour: bytes = b""  # on a LAN: IS-IS system id or OSPF router id; else empty


class PeerSidKind(IntEnum):
    """What a BGP peering segment steers into, by its TLV (RFC 9086 §5)."""

    NODE = 1101  # the peer, over any link to it
    ADJACENCY = 1102  # the peer, over this link
    SET = 1103  # any peer of a set


@dataclass(frozen=True, slots=True)
class PeerSid:
    """A BGP peering segment (RFC 9086 §5)."""

    kind: PeerSidKind
    value: int
    is_label: bool
    is_local: bool
    weight: int
    flags: int


@dataclass(frozen=True, slots=True)
class PrefixSid:
    """A segment to a prefix (RFC 9085 §2.3.1)."""

    value: int
    is_label: bool
    is_local: bool
    is_node: bool | None  # IS-IS: the prefix is its node's alone; None: OSPF says that elsewhere
    algorithm: int  # 0: shortest path
    flags: int


@dataclass(frozen=True, slots=True)
class NodeAttributes:
    """What is told of a node (RFC 9552 §5.3.1, RFC 9085 §2.1, RFC 8814 §3)."""

    name: str = ""
    router_ids: tuple[str, ...] = ()  # IPv4
    router_ids_v6: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()  # IS-IS, hexadecimal
    flags: int = 0
    srgb: tuple[LabelRange, ...] = ()
    srlb: tuple[LabelRange, ...] = ()
    algorithms: tuple[int, ...] = ()
    msd: tuple[tuple[int, int], ...] = ()  # (type, depth)
    topologies: tuple[int, ...] = ()
    unknown: tuple[Tlv, ...] = ()

    @property
    def is_overloaded(self) -> bool:
        """Tell whether the node asks not to be transited (RFC 9552 §5.3.1.1)."""
        return bool(self.flags & 0x80)


@dataclass(frozen=True, slots=True)
class LinkAttributes:
    """What is told of a link (RFC 9552 §5.3.2, RFC 9085 §2.2, RFC 8571, RFC 8814 §4, RFC 9086 §5, RFC 9104).

    Where a value is told for SR policies (RFC 9294) it wins over that for all applications, and that over the plain.
    """

    name: str = ""
    local_id: int | None = None  # where the descriptors hold addresses instead (RFC 9552 §5.2.2)
    remote_id: int | None = None
    local_router_ids: tuple[str, ...] = ()  # IPv4 before IPv6
    remote_router_ids: tuple[str, ...] = ()
    igp_metric: int | None = None
    te_metric: int | None = None
    max_mbps: float | None = None
    reservable_mbps: float | None = None
    unreserved_mbps: tuple[float, ...] = ()  # by priority, 0 (highest) to 7
    residual_mbps: float | None = None
    available_mbps: float | None = None
    utilised_mbps: float | None = None
    delay_us: int | None = None  # unidirectional, average
    min_delay_us: int | None = None
    max_delay_us: int | None = None
    delay_variation_us: int | None = None
    loss: float | None = None  # share of packets, 0..1
    admin_group: int = 0  # bit n: group n, 0 to 31
    extended_admin_group: int = 0  # bit n: group n
    srlgs: tuple[int, ...] = ()
    adjacency_sids: tuple[AdjacencySid, ...] = ()
    peer_sids: tuple[PeerSid, ...] = ()
    msd: tuple[tuple[int, int], ...] = ()
    unknown: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True)
class PrefixAttributes:
    """What is told of a prefix (RFC 9552 §5.3.3, RFC 9085 §2.3)."""

    metric: int | None = None
    sids: tuple[PrefixSid, ...] = ()
    igp_flags: int | None = None
    attribute_flags: int | None = None  # RFC 9085 §2.3.2: as the protocol draws them
    source_router_id: str = ""
    unknown: tuple[Tlv, ...] = ()


@dataclass(frozen=True, slots=True)
class LsNode:
    """A node and what is told of it."""

    key: NodeId
    attributes: NodeAttributes = NodeAttributes()


@dataclass(frozen=True, slots=True)
class LsLink:
    """A link, one direction of it, and what is told of it."""

    key: LinkId
    attributes: LinkAttributes = LinkAttributes()


@dataclass(frozen=True, slots=True)
class LsPrefix:
    """A prefix and what is told of it."""

    key: PrefixId
    attributes: PrefixAttributes = PrefixAttributes()


LsObject = LsNode | LsLink | LsPrefix


@dataclass(frozen=True, slots=True)
class LsUpdate:
    """One UPDATE message. What it says of other address families is left out."""

    reached: tuple[LsObject, ...] = ()
    withdrawn: tuple[LsKey, ...] = ()
    end_of_rib: bool = False
    unknown_tlvs: Mapping[int, int] = field(default_factory=dict)  # how many of each type; kept in the objects
    malformed_tlvs: Mapping[int, int] = field(default_factory=dict)  # how many of each type; left out of the objects
    unknown_nlris: tuple[Tlv, ...] = ()  # (type, body) of NLRIs of other types, or learned from other protocols
    attribute_discarded: bool = False  # the BGP-LS attribute cannot be taken apart: the objects bear none
