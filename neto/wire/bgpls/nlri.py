"""NLRI -> which node, link or prefix it is about (RFC 9552 §5.2, RFC 9086 §4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from neto.errors import WireError
from neto.wire.bgpls.objects import LinkId, LsKey, NodeId, PrefixId, Protocol, Tlv
from neto.wire.bgpls.tlv import address_v4, address_v6, number, tlvs, topologies

_NODE, _LINK, _PREFIX_V4, _PREFIX_V6 = 1, 2, 3, 4
_PROTOCOLS = frozenset(Protocol)
_IDENTITY_SIZE = 9  # protocol and instance
_SYSTEM_ID_SIZE = 6
_IGP_ROUTER_ID_SIZES = {  # octets of a router's, then of a pseudonode's (RFC 9552 §5.2.1.4)
    Protocol.ISIS_LEVEL_1: (6, 7),
    Protocol.ISIS_LEVEL_2: (6, 7),
    Protocol.OSPFV2: (4, 8),
    Protocol.OSPFV3: (4, 8),
}


def split_nlris(data: bytes) -> Iterator[Tlv]:
    """Take a run of NLRIs apart: (type, body). They are laid out as TLVs are. Raises WireError."""
    return tlvs(data)


def decode_nlri(kind: int, body: bytes, unknown: Counter[int]) -> LsKey | None:
    """Return what an NLRI is about; None when its type or protocol is not one that we know.

    unknown: takes the types of TLVs that we do not know. Raises WireError.
    """
    if kind not in {_NODE, _LINK, _PREFIX_V4, _PREFIX_V6}:
        return None
    if len(body) < _IDENTITY_SIZE:
        raise WireError(f"NLRI of type {kind} with {len(body)} octets")
    if body[0] not in _PROTOCOLS:
        return None
    protocol, instance = Protocol(body[0]), int.from_bytes(body[1:_IDENTITY_SIZE], "big")
    told = _Descriptors(body[_IDENTITY_SIZE:])
    local = _node(protocol, instance, told.need(256), unknown)
    key: LsKey
    if kind == _NODE:
        rest = told.rest()
        key = replace(local, unknown=local.unknown + rest) if rest else local
    else:
        key = _link(local, told, unknown) if kind == _LINK else _prefix(local, kind, told)
        rest = key.unknown
    unknown.update(kind for kind, _ in rest)
    return key


class _Descriptors:
    """TLVs of an NLRI; each is taken once, what is left over is unknown."""

    def __init__(self, data: bytes) -> None:
        self._left: dict[int, list[bytes]] = {}
        for kind, value in tlvs(data):
            self._left.setdefault(kind, []).append(value)

    def all(self, kind: int) -> list[bytes]:
        return self._left.pop(kind, [])

    def one(self, kind: int) -> bytes | None:
        values = self.all(kind)
        if len(values) > 1:
            raise WireError(f"TLV {kind} occurs {len(values)} times")
        return values[0] if values else None

    def need(self, kind: int) -> bytes:
        value = self.one(kind)
        if value is None:
            raise WireError(f"TLV {kind} is missing")
        return value

    def rest(self) -> tuple[Tlv, ...]:
        return tuple((kind, value) for kind in sorted(self._left) for value in self._left[kind])


def _number(value: bytes | None, size: int) -> int | None:
    return None if value is None else number(value, size)


def _node(protocol: Protocol, instance: int, data: bytes, unknown: Counter[int]) -> NodeId:
    """Node descriptors (RFC 9552 §5.2.1.4, RFC 9086 §4.1)."""
    told = _Descriptors(data)
    bgp_router_id = told.one(516)
    node = NodeId(
        protocol,
        instance,
        igp_router_id=_igp_router_id(protocol, told.one(515)),
        asn=_number(told.one(512), 4),
        bgp_ls_id=_number(told.one(513), 4),
        area=_number(told.one(514), 4),
        bgp_router_id="" if bgp_router_id is None else address_v4(bgp_router_id),
        member_asn=_number(told.one(517), 4),
        unknown=told.rest(),
    )
    if not (node.igp_router_id or (node.bgp_router_id and not protocol.is_igp)):
        raise WireError("node descriptors without a router id")
    unknown.update(kind for kind, _ in node.unknown)
    return node


def _igp_router_id(protocol: Protocol, value: bytes | None) -> bytes:
    if value is None:
        return b""
    sizes = _IGP_ROUTER_ID_SIZES.get(protocol)
    if sizes and len(value) not in sizes:
        raise WireError(f"{protocol.name} router id of {len(value)} octets; expected {sizes[0]} or {sizes[1]}")
    if protocol.is_isis and value[_SYSTEM_ID_SIZE:] == b"\0":
        return value[:_SYSTEM_ID_SIZE]  # pseudonode number 0: the router itself
    return value


def _link(local: NodeId, told: _Descriptors, unknown: Counter[int]) -> LinkId:
    """Link descriptors (RFC 9552 §5.2.2)."""
    remote = _node(local.protocol, local.instance, told.need(257), unknown)
    ids = told.one(258)
    both = None if ids is None else number(ids, 8)
    multi = told.one(263)
    return LinkId(
        local,
        remote,
        local_id=None if both is None else both >> 32,
        remote_id=None if both is None else both & 0xFFFFFFFF,
        local_addresses=(*map(address_v4, told.all(259)), *map(address_v6, told.all(261))),
        remote_addresses=(*map(address_v4, told.all(260)), *map(address_v6, told.all(262))),
        topologies=() if multi is None else topologies(multi),
        unknown=told.rest(),
    )


def _prefix(node: NodeId, kind: int, told: _Descriptors) -> PrefixId:
    """Prefix descriptors (RFC 9552 §5.2.3)."""
    reachability, multi = told.need(265), told.one(263)
    return PrefixId(
        node,
        _network(reachability, 32 if kind == _PREFIX_V4 else 128),
        topologies=() if multi is None else topologies(multi),
        ospf_route_type=_number(told.one(264), 1),
        unknown=told.rest(),
    )


def _network(value: bytes, bits: int) -> IPv4Network | IPv6Network:
    """IP reachability: a length, and as many octets as it needs (RFC 9552 §5.2.3.2)."""
    length = value[0] if value else bits + 1
    if length > bits or len(value) - 1 != (length + 7) // 8:
        raise WireError(f"prefix {value.hex()}")
    padded = value[1:].ljust(bits // 8, b"\0")
    masked = int.from_bytes(padded, "big") >> (bits - length) << (bits - length)
    octets = masked.to_bytes(bits // 8, "big")
    return IPv4Network((octets, length)) if bits == 32 else IPv6Network((octets, length))  # noqa: PLR2004 of IPv4
