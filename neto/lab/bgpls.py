"""What the emulated routers say of themselves, as BGP-LS objects: nodes, links, prefixes and peering links.

An encoder only, written from the RFCs and apart from the daemon's decoder: each is the other's oracle. IS-IS level 2
(Protocol-ID 2) for the WAN, BGP (Protocol-ID 7) for egress peer engineering.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network

LsObject = tuple[bytes, bytes]  # (NLRI, BGP-LS attribute value)


class Protocol(IntEnum):
    """Where an object was learned (RFC 9552 §5.2, RFC 9086 §4)."""

    ISIS_LEVEL_2 = 2
    BGP = 7


class Nlri(IntEnum):
    """NLRI types (RFC 9552 §5.2)."""

    NODE = 1
    LINK = 2
    IPV4_PREFIX = 3


class PeerSid(IntEnum):
    """Which peer segment, by its TLV (RFC 9086 §5)."""

    NODE = 1101
    ADJACENCY = 1102


@dataclass(frozen=True, slots=True)
class LsNodeSpec:
    """A router."""

    name: str
    router_id: str  # IPv4 loopback
    igp_router_id: str  # IS-IS system id, "0000.0000.0001"
    asn: int = 65000
    srgb: tuple[int, int] | None = (16000, 8000)  # first label, how many
    srlb: tuple[int, int] | None = None
    msd: int | None = 10  # labels it can impose; None: not advertised
    algorithms: tuple[int, ...] = (0,)
    area: str = "49.0001"


@dataclass(frozen=True, slots=True)
class LsLinkSpec:
    """One direction of an adjacency, from `local` to `remote`."""

    local: LsNodeSpec
    remote: LsNodeSpec
    local_address: str
    remote_address: str
    capacity_mbps: float
    igp_metric: int = 10
    te_metric: int | None = None
    delay_us: int | None = None
    srlgs: tuple[int, ...] = ()
    adjacency_sid: int | None = None  # a label
    name: str = ""


@dataclass(frozen=True, slots=True)
class LsPrefixSpec:
    """A prefix that a router originates into the IGP."""

    node: LsNodeSpec
    prefix: IPv4Network
    sid_index: int | None = None  # into the SRGB
    metric: int = 0


@dataclass(frozen=True, slots=True)
class EpeLinkSpec:
    """A peering link of a border router, and the label that sends traffic into it."""

    border: LsNodeSpec
    peer_asn: int
    peer_router_id: str
    local_address: str
    peer_address: str
    label: int
    kind: PeerSid = PeerSid.NODE
    link_ids: tuple[int, int] = (0, 0)  # (local, remote); told for an adjacency only, remote 0 when unknown


LsSpec = LsNodeSpec | LsLinkSpec | LsPrefixSpec | EpeLinkSpec


def encode(spec: LsSpec) -> LsObject:
    """Return the NLRI of an object and the value of its BGP-LS attribute (type 29)."""
    match spec:
        case LsNodeSpec():
            return _node(spec)
        case LsLinkSpec():
            return _link(spec)
        case LsPrefixSpec():
            return _prefix(spec)
        case EpeLinkSpec():
            return _epe_link(spec)


def objects(specs: Iterable[LsSpec]) -> dict[bytes, bytes]:
    """Return everything that is said: NLRI -> attribute value."""
    return dict(map(encode, specs))


def _node(spec: LsNodeSpec) -> LsObject:
    attributes = [
        tlv(1026, spec.name.encode()),  # RFC 9552 §5.3.1.3
        tlv(1027, bytes.fromhex(spec.area.replace(".", ""))),  # §5.3.1.2
        tlv(1028, address(spec.router_id)),  # §5.3.1.4
    ]
    if spec.srgb:
        attributes.append(tlv(1034, b"\x80\x00" + _label_range(*spec.srgb)))  # RFC 9085 §2.1.2; I: MPLS IPv4
        attributes.append(tlv(1035, bytes(spec.algorithms)))  # §2.1.3
    if spec.srlb:
        attributes.append(tlv(1036, b"\x00\x00" + _label_range(*spec.srlb)))  # §2.1.4
    if spec.msd is not None:
        attributes.append(tlv(266, bytes([1, spec.msd])))  # RFC 8814 §3; type 1: base MPLS imposition
    return nlri(Nlri.NODE, Protocol.ISIS_LEVEL_2, _igp_node(256, spec)), _sorted(attributes)


def _link(spec: LsLinkSpec) -> LsObject:
    descriptors = tlv(259, address(spec.local_address)) + tlv(260, address(spec.remote_address))  # RFC 9552 §5.2.2
    bandwidth = struct.pack("!f", spec.capacity_mbps * 1e6 / 8)  # bytes per second (RFC 5305 §3.4)
    attributes = [
        tlv(1028, address(spec.local.router_id)),
        tlv(1030, address(spec.remote.router_id)),
        tlv(1089, bandwidth),
        tlv(1090, bandwidth),
        tlv(1091, bandwidth * 8),
        tlv(1095, spec.igp_metric.to_bytes(3, "big")),  # §5.3.2.4: three octets, IS-IS wide metric
    ]
    if spec.te_metric is not None:
        attributes.append(tlv(1092, struct.pack("!I", spec.te_metric)))
    if spec.srlgs:
        attributes.append(tlv(1096, struct.pack(f"!{len(spec.srlgs)}I", *spec.srlgs)))
    if spec.name:
        attributes.append(tlv(1098, spec.name.encode()))
    if spec.adjacency_sid is not None:
        attributes.append(tlv(1099, b"\x30\x00\x00\x00" + _label(spec.adjacency_sid)))  # RFC 9085 §2.2.1; V, L
    if spec.delay_us is not None:
        attributes.append(tlv(1114, struct.pack("!I", spec.delay_us & 0xFFFFFF)))  # RFC 8571 §2.1; A clear, 24 bits
    ends = _igp_node(256, spec.local) + _igp_node(257, spec.remote)
    return nlri(Nlri.LINK, Protocol.ISIS_LEVEL_2, ends + descriptors), _sorted(attributes)


def _prefix(spec: LsPrefixSpec) -> LsObject:
    octets = (spec.prefix.prefixlen + 7) // 8
    reachability = bytes([spec.prefix.prefixlen]) + spec.prefix.network_address.packed[:octets]  # RFC 9552 §5.2.3.2
    attributes = [tlv(1155, struct.pack("!I", spec.metric))]
    if spec.sid_index is not None:
        attributes.append(tlv(1158, b"\x40\x00\x00\x00" + struct.pack("!I", spec.sid_index)))  # RFC 9085 §2.3.1; N
    descriptors = _igp_node(256, spec.node) + tlv(265, reachability)
    return nlri(Nlri.IPV4_PREFIX, Protocol.ISIS_LEVEL_2, descriptors), _sorted(attributes)


def _epe_link(spec: EpeLinkSpec) -> LsObject:
    link = tlv(259, address(spec.local_address)) + tlv(260, address(spec.peer_address))
    if spec.kind is PeerSid.ADJACENCY:
        link = tlv(258, struct.pack("!II", *spec.link_ids)) + link  # RFC 9086 §5.2: must be there
    ends = _bgp_node(256, spec.border.asn, spec.border.router_id) + _bgp_node(257, spec.peer_asn, spec.peer_router_id)
    sid = tlv(spec.kind, b"\xc0\x00\x00\x00" + _label(spec.label))  # §5; V, L: a label of this router's own
    return nlri(Nlri.LINK, Protocol.BGP, ends + link), sid


def nlri(kind: Nlri, protocol: Protocol, descriptors: bytes) -> bytes:
    """Return a BGP-LS NLRI of instance 0 (RFC 9552 §5.2)."""
    body = struct.pack("!BQ", protocol, 0) + descriptors
    return struct.pack("!HH", kind, len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    """Return a TLV (RFC 9552 §5.1)."""
    return struct.pack("!HH", kind, len(value)) + value


def address(dotted: str) -> bytes:
    """Return an IPv4 address as it goes on the wire."""
    return IPv4Address(dotted).packed


def _sorted(attributes: list[bytes]) -> bytes:
    """Join TLVs in ascending order of type (RFC 9552 §5.3); no two here share one."""
    return b"".join(sorted(attributes))


def _igp_node(kind: int, node: LsNodeSpec) -> bytes:
    """Local (256) or remote (257) node descriptors of an IGP router (RFC 9552 §5.2.1.4)."""
    system_id = bytes.fromhex(node.igp_router_id.replace(".", ""))
    return tlv(kind, tlv(512, struct.pack("!I", node.asn)) + tlv(515, system_id))


def _bgp_node(kind: int, asn: int, router_id: str) -> bytes:
    """Local (256) or remote (257) node descriptors of a BGP router (RFC 9086 §4.1)."""
    return tlv(kind, tlv(512, struct.pack("!I", asn)) + tlv(516, address(router_id)))


def _label(label: int) -> bytes:
    """Three octets, the label in the rightmost 20 bits (RFC 9085 §2.1.1)."""
    return label.to_bytes(3, "big")


def _label_range(first: int, size: int) -> bytes:
    return size.to_bytes(3, "big") + tlv(1161, _label(first))
