"""Segment identifiers in the BGP-LS attribute (RFC 9085, RFC 9086). Each protocol draws its own flags."""

from __future__ import annotations

from neto.errors import WireError
from neto.wire.bgpls.objects import AdjacencySid, LabelRange, PeerSid, PeerSidKind, PrefixSid, Protocol
from neto.wire.bgpls.tlv import number

_LABEL_SIZE = 3
_LABEL_MASK = 0xFFFFF
_LABELS = 1 << 20
_RANGE_HEADER = 7  # size (3), and the header of a SID/Label TLV
_SID_LABEL = 1161


def _value(octets: bytes, *, is_value: bool) -> tuple[int, bool]:
    """Return a SID, and whether it is a label: three octets, or four with the V flag; else an index."""
    value = number(octets, 3, 4)
    if len(octets) == _LABEL_SIZE:
        return value & _LABEL_MASK, True
    if is_value and value >= _LABELS:
        raise WireError(f"label {value}")
    return value, is_value


def label_ranges(value: bytes) -> tuple[LabelRange, ...]:
    """SRGB or SRLB: flags, reserved, then ranges (RFC 9085 §2.1.2, §2.1.4). Raises WireError."""
    ranges = []
    at = 2
    while at < len(value):
        size = int.from_bytes(value[at : at + 3], "big")
        kind, length = (int.from_bytes(value[at + place : at + place + 2], "big") for place in (3, 5))
        first = value[at + _RANGE_HEADER : at + _RANGE_HEADER + length]
        if kind != _SID_LABEL or len(first) < length:
            raise WireError(f"label range {value[at:].hex()}")
        label = number(first, 3, 4) & (_LABEL_MASK if length == _LABEL_SIZE else 0xFFFFFFFF)
        if not size or label + size > _LABELS:
            raise WireError(f"{size} labels from {label}")
        ranges.append(LabelRange(label, size))
        at += _RANGE_HEADER + length
    if not ranges:
        raise WireError(f"no label range in {len(value)} octets")
    return tuple(ranges)


def prefix_sid(value: bytes, protocol: Protocol) -> PrefixSid:
    """Flags, algorithm, reserved (2), SID (RFC 9085 §2.3.1). Raises WireError."""
    flags, algorithm = _octets(value)
    is_value, is_local = bool(flags & 0x08), bool(flags & 0x04)  # IS-IS (RFC 8667 §2.1.1) and OSPF (RFC 8665 §5) agree
    sid, is_label = _value(value[4:], is_value=is_value)
    is_node = bool(flags & 0x40) if protocol.is_isis else None
    return PrefixSid(sid, is_label, is_local, is_node, algorithm, flags)


def adjacency_sid(value: bytes, protocol: Protocol) -> AdjacencySid:
    """Flags, weight, reserved (2), SID (RFC 9085 §2.2.1). Raises WireError."""
    return _adjacency_sid(value, protocol, neighbour_size=0)


def lan_adjacency_sid(value: bytes, protocol: Protocol) -> AdjacencySid:
    """As above, with the neighbour's IGP id before the SID (RFC 9085 §2.2.2). Raises WireError."""
    return _adjacency_sid(value, protocol, neighbour_size=6 if protocol.is_isis else 4)


def _adjacency_sid(value: bytes, protocol: Protocol, neighbour_size: int) -> AdjacencySid:
    flags, weight = _octets(value)
    if protocol.is_isis:  # F, B, V, L, S, P (RFC 8667 §2.2.1)
        is_ipv6, drawn = bool(flags & 0x80), flags << 1
    else:  # B, V, L, G, P (RFC 8665 §6.1, RFC 8666 §7.1)
        is_ipv6, drawn = protocol is Protocol.OSPFV3, flags
    sid, is_label = _value(value[4 + neighbour_size :], is_value=bool(drawn & 0x40))
    return AdjacencySid(
        sid,
        is_label,
        is_local=bool(drawn & 0x20),
        is_protected=bool(drawn & 0x80),
        is_set=bool(drawn & 0x10),
        is_ipv6=is_ipv6,
        weight=weight,
        flags=flags,
        neighbour=value[4 : 4 + neighbour_size],
    )


def peer_sid(kind: PeerSidKind, value: bytes) -> PeerSid:
    """Flags V, L, B, P, then weight, reserved (2), SID (RFC 9086 §5). Raises WireError."""
    flags, weight = _octets(value)
    sid, is_label = _value(value[4:], is_value=bool(flags & 0x80))
    return PeerSid(kind, sid, is_label, bool(flags & 0x40), weight, flags)


def _octets(value: bytes) -> tuple[int, int]:
    """Return the first two of four octets that come before a SID."""
    if len(value) < 4:  # noqa: PLR2004 as it says
        raise WireError(f"{len(value)} octets; expected four and a SID")
    return value[0], value[1]
