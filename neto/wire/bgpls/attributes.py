"""The BGP-LS attribute -> what is said of a node, a link or a prefix. The one place where its units change.

One attribute serves every NLRI of its message, and what a TLV means depends on what it is said of (and, for flags, on
the protocol), so it is taken apart once and read once for each such pair. A TLV that cannot be read is left out and
counted; the rest of the attribute stands (RFC 9552 §8.2.2 leaves the meaning of values to who uses them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from neto.errors import WireError
from neto.wire.bgpls import sids
from neto.wire.bgpls.objects import (
    AdjacencySid,
    LinkAttributes,
    NodeAttributes,
    PeerSid,
    PeerSidKind,
    PrefixAttributes,
    PrefixSid,
    Protocol,
    Tlv,
)
from neto.wire.bgpls.tlv import (
    address,
    address_v4,
    address_v6,
    number,
    rate_mbps,
    text,
    tlvs,
    topologies,
    words,
)

Read = Callable[[bytes, Protocol], Mapping[str, Any]]  # TLV value -> fields

_MICROSECONDS = 0xFFFFFF  # delays have 24 bits, below flags (RFC 8571 §2)
_LOSS_UNIT = 0.000003 / 100  # RFC 8571 §2.4: a unit is 0.000003 %
_PRIORITIES = 8
_SMALL_METRIC = 0x3F  # IS-IS small metrics have 6 bits (RFC 9552 §5.3.2.4)
_APPLICATION_SPECIFIC = 1122
_MASKS = 4  # where its masks begin
_SR_POLICY = 0x40  # in the first octet of the application mask (RFC 9479 §4.1)
_SEVERAL = frozenset(  # told by as many TLVs as it takes
    {
        *("areas", "router_ids", "router_ids_v6", "local_router_ids", "remote_router_ids"),
        *("srlgs", "sids", "adjacency_sids", "peer_sids"),
    }
)


class Findings:
    """TLVs that were not understood, by type."""

    def __init__(self) -> None:
        self.unknown: Counter[int] = Counter()
        self.malformed: Counter[int] = Counter()


def node_attributes(told: list[Tlv], protocol: Protocol, findings: Findings) -> NodeAttributes:
    """Read TLVs as said of a node."""
    fields, unknown = _read(told, protocol, _NODE, findings)
    return NodeAttributes(**fields, unknown=unknown)


def link_attributes(told: list[Tlv], protocol: Protocol, findings: Findings) -> LinkAttributes:
    """Read TLVs as said of a link."""
    plain = [tlv for tlv in told if tlv[0] != _APPLICATION_SPECIFIC]
    fields, unknown = _read(plain, protocol, _LINK, findings)
    for_all, for_sr = _application_specific(told, findings)
    for specific in (for_all, for_sr):
        fields |= _read(specific, protocol, _SPECIFIC, findings)[0]
    return LinkAttributes(**fields, unknown=unknown)


def prefix_attributes(told: list[Tlv], protocol: Protocol, findings: Findings) -> PrefixAttributes:
    """Read TLVs as said of a prefix."""
    fields, unknown = _read(told, protocol, _PREFIX, findings)
    return PrefixAttributes(**fields, unknown=unknown)


def _read(
    told: list[Tlv], protocol: Protocol, known: Mapping[int, Read], findings: Findings
) -> tuple[dict[str, Any], tuple[Tlv, ...]]:
    """Return fields by name, and the TLVs that are unknown. Of a value told twice the first one counts."""
    lists: dict[str, list[Any]] = {}
    fields: dict[str, Any] = {}
    unknown: list[Tlv] = []
    for kind, value in told:
        read = known.get(kind)
        if read is None:
            findings.unknown[kind] += 1
            unknown.append((kind, value))
            continue
        try:
            said = read(value, protocol)
        except WireError:
            findings.malformed[kind] += 1
            continue
        for name, content in said.items():
            if name in _SEVERAL:
                lists.setdefault(name, []).extend(content)
            else:
                fields.setdefault(name, content)
    return fields | {name: tuple(content) for name, content in lists.items()}, tuple(unknown)


def _application_specific(told: list[Tlv], findings: Findings) -> tuple[list[Tlv], list[Tlv]]:
    """Return the TLVs that hold for every application, and those for SR policies (RFC 9294 §2)."""
    for_all: list[Tlv] = []
    for_sr: list[Tlv] = []
    for kind, value in told:
        if kind != _APPLICATION_SPECIFIC:
            continue
        try:
            masks, inner = _masked(value)
        except WireError:
            findings.malformed[kind] += 1
            continue
        if not masks:
            for_all += inner
        elif value[0] and masks[0] & _SR_POLICY:
            for_sr += inner
    return for_all, for_sr


def _masked(value: bytes) -> tuple[bytes, list[Tlv]]:
    """Return both masks, standard applications first, and the TLVs behind them. Raises WireError."""
    masks = sum(value[:2])  # octets
    if len(value) < _MASKS + masks:
        raise WireError(f"{len(value)} octets; expected {_MASKS + masks} before the attributes")
    return value[_MASKS : _MASKS + masks], list(tlvs(value[_MASKS + masks :]))


def _one(name: str, read: Callable[[bytes], object]) -> Read:
    """A TLV that holds one value."""
    return lambda value, _: {name: read(value)}


def _each(name: str, read: Callable[[bytes], object]) -> Read:
    """A TLV that holds one of several values, and may come several times."""
    return lambda value, _: {name: (read(value),)}


def _number(name: str, *sizes: int) -> Read:
    return _one(name, lambda value: number(value, *sizes))


def _delay(value: bytes) -> int:
    return number(value, 4) & _MICROSECONDS


def _delay_range(value: bytes, _: Protocol) -> dict[str, int]:
    both = number(value, 8)
    return {"min_delay_us": both >> 32 & _MICROSECONDS, "max_delay_us": both & _MICROSECONDS}


def _link_ids(value: bytes, _: Protocol) -> dict[str, int]:
    both = number(value, 8)
    return {"local_id": both >> 32, "remote_id": both & 0xFFFFFFFF}


def _igp_metric(value: bytes) -> int:
    """One octet (IS-IS, small), two (OSPF) or three (IS-IS, wide)."""
    metric = number(value, 1, 2, 3)
    return metric & _SMALL_METRIC if len(value) == 1 else metric


def _te_metric(value: bytes) -> int:
    return number(value, 3, 4)  # three: as IS-IS has it (RFC 5305 §3.7)


def _unreserved(value: bytes) -> tuple[float, ...]:
    if len(value) != 4 * _PRIORITIES:
        raise WireError(f"{len(value)} octets; expected {4 * _PRIORITIES}")
    return tuple(rate_mbps(value[at : at + 4]) for at in range(0, len(value), 4))


def _msd(value: bytes) -> tuple[tuple[int, int], ...]:
    pairs = words(value, 2)
    return tuple(divmod(pair, 256) for pair in pairs)


def _extended_admin_group(value: bytes) -> int:
    """32 groups a word, the lowest in the first (RFC 9104 §2)."""
    return sum(word << 32 * place for place, word in enumerate(words(value, 4)))


def _prefix_sid(value: bytes, protocol: Protocol) -> dict[str, tuple[PrefixSid]]:
    return {"sids": (sids.prefix_sid(value, protocol),)}


def _adjacency_sid(value: bytes, protocol: Protocol) -> dict[str, tuple[AdjacencySid]]:
    return {"adjacency_sids": (sids.adjacency_sid(value, protocol),)}


def _lan_adjacency_sid(value: bytes, protocol: Protocol) -> dict[str, tuple[AdjacencySid]]:
    return {"adjacency_sids": (sids.lan_adjacency_sid(value, protocol),)}


def _peer_sid(kind: PeerSidKind, value: bytes, _: Protocol) -> dict[str, tuple[PeerSid]]:
    return {"peer_sids": (sids.peer_sid(kind, value),)}


_NODE: Mapping[int, Read] = {
    263: _one("topologies", topologies),
    266: _one("msd", _msd),  # RFC 8814 §3
    1024: _number("flags", 1),
    1026: _one("name", text),
    1027: _each("areas", bytes.hex),
    1028: _each("router_ids", address_v4),
    1029: _each("router_ids_v6", address_v6),
    1034: _one("srgb", sids.label_ranges),  # RFC 9085 §2.1.2
    1035: _one("algorithms", tuple),  # RFC 9085 §2.1.3
    1036: _one("srlb", sids.label_ranges),  # RFC 9085 §2.1.4
}

# What can be told by application (RFC 9294 §3).
_SPECIFIC: Mapping[int, Read] = {
    1088: _number("admin_group", 4),
    1092: _one("te_metric", _te_metric),
    1096: _one("srlgs", lambda value: words(value, 4)),
    1114: _one("delay_us", _delay),  # RFC 8571 §2.1
    1115: _delay_range,  # RFC 8571 §2.2
    1116: _one("delay_variation_us", _delay),  # RFC 8571 §2.3
    1117: _one("loss", lambda value: (number(value, 4) & _MICROSECONDS) * _LOSS_UNIT),
    1118: _one("residual_mbps", rate_mbps),  # RFC 8571 §2.5
    1119: _one("available_mbps", rate_mbps),  # RFC 8571 §2.6
    1120: _one("utilised_mbps", rate_mbps),  # RFC 8571 §2.7
    1173: _one("extended_admin_group", _extended_admin_group),  # RFC 9104 §2
}

_LINK: Mapping[int, Read] = {
    **_SPECIFIC,
    258: _link_ids,
    267: _one("msd", _msd),  # RFC 8814 §4
    1028: _each("local_router_ids", address_v4),
    1029: _each("local_router_ids", address_v6),
    1030: _each("remote_router_ids", address_v4),
    1031: _each("remote_router_ids", address_v6),
    1089: _one("max_mbps", rate_mbps),
    1090: _one("reservable_mbps", rate_mbps),
    1091: _one("unreserved_mbps", _unreserved),
    1095: _one("igp_metric", _igp_metric),
    1098: _one("name", text),
    1099: _adjacency_sid,
    1100: _lan_adjacency_sid,
    **{kind: partial(_peer_sid, kind) for kind in PeerSidKind},
}

_PREFIX: Mapping[int, Read] = {
    1152: _number("igp_flags", 1),
    1155: _number("metric", 4),
    1158: _prefix_sid,
    1170: _one("attribute_flags", lambda value: number(value[:1], 1)),  # RFC 9085 §2.3.2
    1171: _one("source_router_id", address),  # RFC 9085 §2.3.3
    1174: _one("source_router_id", address),  # RFC 9085 §2.3.4: the OSPF router's
}
