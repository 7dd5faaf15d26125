"""UPDATE messages of the lab: IPv4 routes read, BGP-LS written (RFC 4271 §4.3, RFC 4760, RFC 9552)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network

from neto.lab.bgp_message import IPV4_UNICAST, LINK_STATE, Code, Family, Kind, NotificationError, message


class Attribute(IntEnum):
    """Path attributes that the lab knows."""

    ORIGIN = 1
    AS_PATH = 2
    NEXT_HOP = 3
    MULTI_EXIT_DISC = 4
    LOCAL_PREF = 5
    ATOMIC_AGGREGATE = 6
    COMMUNITIES = 8
    MP_REACH_NLRI = 14
    MP_UNREACH_NLRI = 15
    EXTENDED_COMMUNITIES = 16
    BGP_LS = 29


class Fault(IntEnum):
    """UPDATE message error subcodes (RFC 4271 §6.3)."""

    ATTRIBUTE_LIST = 1
    UNRECOGNISED_WELL_KNOWN = 2
    MISSING_WELL_KNOWN = 3
    FLAGS = 4
    LENGTH = 5
    ORIGIN = 6
    NEXT_HOP = 8
    OPTIONAL_ATTRIBUTE = 9
    NETWORK_FIELD = 10
    AS_PATH = 11

    def error(self, data: bytes = b"") -> NotificationError:
        """Return what to raise, with what the standard wants shown to the peer."""
        return NotificationError(Code.UPDATE, self, data)


OPTIONAL, TRANSITIVE, EXTENDED_LENGTH = 0x80, 0x40, 0x10
COLOUR = 0x030B  # extended community type and sub-type (RFC 9012 §4.3)
INCOMPLETE = 2  # the last of the ORIGINs
SEGMENT_TYPES = range(1, 5)  # of AS_PATH: set, sequence, and those of confederations (RFC 5065 §3)
ADDRESS_BITS = 32
FAMILY_SIZE = 3  # AFI and SAFI
SHORT_LENGTH = 0xFF
THIS_NETWORK = IPv4Network("0.0.0.0/8")

# What must be said of each: its flags, and its length where that is fixed (RFC 4271 §4.3, §5).
EXPECTED: dict[int, tuple[int, int | None]] = {
    Attribute.ORIGIN: (TRANSITIVE, 1),
    Attribute.AS_PATH: (TRANSITIVE, None),
    Attribute.NEXT_HOP: (TRANSITIVE, 4),
    Attribute.MULTI_EXIT_DISC: (OPTIONAL, 4),
    Attribute.LOCAL_PREF: (TRANSITIVE, 4),
    Attribute.ATOMIC_AGGREGATE: (TRANSITIVE, 0),
    Attribute.COMMUNITIES: (OPTIONAL | TRANSITIVE, None),
    Attribute.MP_REACH_NLRI: (OPTIONAL, None),
    Attribute.MP_UNREACH_NLRI: (OPTIONAL, None),
    Attribute.EXTENDED_COMMUNITIES: (OPTIONAL | TRANSITIVE, None),
}
GRAIN: dict[int, int] = {Attribute.COMMUNITIES: 4, Attribute.EXTENDED_COMMUNITIES: 8}  # octets of one member
MANDATORY = (Attribute.ORIGIN, Attribute.AS_PATH, Attribute.NEXT_HOP, Attribute.LOCAL_PREF)  # on iBGP (RFC 4271 §5.1.5)


@dataclass(frozen=True, slots=True)
class Attributes:
    """The path attributes of an IPv4 route that the lab looks at."""

    next_hop: str
    local_preference: int
    communities: tuple[int, ...] = ()
    colours: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """An UPDATE for IPv4 unicast. Nothing at all in it is the End-of-RIB marker (RFC 4724 §2)."""

    withdrawn: tuple[IPv4Network, ...] = ()
    announced: tuple[IPv4Network, ...] = ()
    attributes: Attributes | None = None
    end_of_rib: frozenset[Family] = frozenset()


def decode_update(body: bytes) -> Update:
    """Read an UPDATE's body. Raises NotificationError (RFC 4271 §6.3)."""
    withdrawn_field, rest = _counted(body)
    attribute_field, nlri_field = _counted(rest)
    if not withdrawn_field and not nlri_field:
        family = _end_of_rib(attribute_field)
        if family is not None:
            return Update(end_of_rib=frozenset({family}))
    withdrawn, announced = _prefixes(withdrawn_field), _prefixes(nlri_field)
    found = _attributes(attribute_field)
    return Update(withdrawn, announced, _route_attributes(found) if announced else None)


def encode_ls_reach(next_hop: str, nlri: bytes, attribute: bytes) -> bytes:
    """Return an UPDATE message that announces one BGP-LS NLRI over iBGP (RFC 9552 §5.2, RFC 4760 §3)."""
    afi, safi = LINK_STATE
    reach = struct.pack("!HBB", afi, safi, 4) + IPv4Address(next_hop).packed + b"\x00" + nlri
    return _update(
        _attribute(Attribute.ORIGIN, TRANSITIVE, b"\x00"),
        _attribute(Attribute.AS_PATH, TRANSITIVE, b""),
        _attribute(Attribute.LOCAL_PREF, TRANSITIVE, struct.pack("!I", 100)),
        _attribute(Attribute.MP_REACH_NLRI, OPTIONAL, reach),
        _attribute(Attribute.BGP_LS, OPTIONAL, attribute) if attribute else b"",
    )


def encode_ls_unreach(nlris: Iterable[bytes]) -> bytes:
    """Return an UPDATE message that withdraws BGP-LS NLRIs; with none of them it is the End-of-RIB marker."""
    return _update(_attribute(Attribute.MP_UNREACH_NLRI, OPTIONAL, struct.pack("!HB", *LINK_STATE) + b"".join(nlris)))


def _update(*attributes: bytes) -> bytes:
    field_ = b"".join(attributes)
    return message(Kind.UPDATE, struct.pack("!HH", 0, len(field_)) + field_)


def _attribute(kind: Attribute, flags: int, value: bytes) -> bytes:
    if len(value) > SHORT_LENGTH:
        return struct.pack("!BBH", flags | EXTENDED_LENGTH, kind, len(value)) + value
    return bytes([flags, kind, len(value)]) + value


def _counted(body: bytes) -> tuple[bytes, bytes]:
    """Split off a field that its two-octet length precedes."""
    size = int.from_bytes(body[:2], "big")
    if 2 + size > len(body):
        raise Fault.ATTRIBUTE_LIST.error()
    return body[2 : 2 + size], body[2 + size :]


def _end_of_rib(attributes: bytes) -> Family | None:
    if not attributes:
        return IPV4_UNICAST
    found = _attributes(attributes)
    family = found.get(Attribute.MP_UNREACH_NLRI, b"")
    if len(found) == 1 and len(family) == FAMILY_SIZE:
        return int.from_bytes(family[:2], "big"), family[2]
    return None


def _prefixes(field_: bytes) -> tuple[IPv4Network, ...]:
    prefixes, at = [], 0
    while at < len(field_):
        length = field_[at]
        octets = (length + 7) // 8
        if length > ADDRESS_BITS or at + 1 + octets > len(field_):
            raise Fault.NETWORK_FIELD.error()
        address = field_[at + 1 : at + 1 + octets].ljust(4, b"\x00")
        prefixes.append(IPv4Network((address, length), strict=False))  # trailing bits are irrelevant (§4.3)
        at += 1 + octets
    return tuple(prefixes)


def _attributes(field_: bytes) -> dict[int, bytes]:
    """Return the value of each attribute, checked as far as its own octets go."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(field_):
        head = 4 if field_[at] & EXTENDED_LENGTH else 3
        size = int.from_bytes(field_[at + 2 : at + head], "big")
        whole = field_[at : at + head + size]
        if at + head > len(field_) or len(whole) < head + size or whole[1] in found:
            raise Fault.ATTRIBUTE_LIST.error()
        _check_attribute(whole, size)
        found[whole[1]] = whole[head:]
        at += head + size
    return found


def _check_attribute(whole: bytes, size: int) -> None:
    flags, kind = whole[:2]
    if kind not in EXPECTED:
        if not flags & OPTIONAL:
            raise Fault.UNRECOGNISED_WELL_KNOWN.error(whole)
        return
    expected_flags, expected_size = EXPECTED[kind]
    if flags & (OPTIONAL | TRANSITIVE) != expected_flags:
        raise Fault.FLAGS.error(whole)
    if expected_size is not None and size != expected_size:
        raise Fault.LENGTH.error(whole)
    if size % GRAIN.get(kind, 1):
        raise Fault.OPTIONAL_ATTRIBUTE.error(whole)


def _route_attributes(found: dict[int, bytes]) -> Attributes:
    """Judge the attributes of an announcement from inside the AS."""
    for mandatory in MANDATORY:
        if mandatory not in found:
            raise Fault.MISSING_WELL_KNOWN.error(bytes([mandatory]))
    if found[Attribute.ORIGIN][0] > INCOMPLETE:
        raise Fault.ORIGIN.error(_attribute(Attribute.ORIGIN, TRANSITIVE, found[Attribute.ORIGIN]))
    _check_as_path(found[Attribute.AS_PATH])
    next_hop = IPv4Address(found[Attribute.NEXT_HOP])
    if not is_host(next_hop):
        raise Fault.NEXT_HOP.error(_attribute(Attribute.NEXT_HOP, TRANSITIVE, found[Attribute.NEXT_HOP]))
    extended = struct.iter_unpack("!HHI", found.get(Attribute.EXTENDED_COMMUNITIES, b""))
    return Attributes(
        str(next_hop),
        int.from_bytes(found[Attribute.LOCAL_PREF], "big"),
        tuple(number for (number,) in struct.iter_unpack("!I", found.get(Attribute.COMMUNITIES, b""))),
        tuple(colour for kind, _flags, colour in extended if kind == COLOUR),
    )


def is_host(address: IPv4Address) -> bool:
    """Whether an address can be a next hop: FRR takes no 0/8, 127/8, 224/4 or 240/4 either."""
    return not (address.is_loopback or address.is_multicast or address.is_reserved or address in THIS_NETWORK)


def _check_as_path(path: bytes) -> None:
    at = 0
    while at < len(path):
        count = path[at + 1] if at + 1 < len(path) else 0
        if path[at] not in SEGMENT_TYPES or not count:
            raise Fault.AS_PATH.error()
        at += 2 + 4 * count  # four octets each (RFC 6793 §4.1)
    if at != len(path):
        raise Fault.AS_PATH.error()
