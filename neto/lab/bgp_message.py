"""BGP messages as the lab's routers read and write them (RFC 4271 §4), with the NOTIFICATION each fault deserves."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

MARKER = b"\xff" * 16
HEADER_SIZE = 19
MAX_SIZE = 4096
MAX_EXTENDED_SIZE = 65535  # RFC 8654 §4
AS_TRANS = 23456  # RFC 6793 §9
MAX_TWO_OCTET_AS = 0xFFFF
VERSION = 4
CAPABILITIES = 2  # optional parameter (RFC 5492 §4)
UNSUPPORTED_VERSION, BAD_IDENTIFIER, UNSUPPORTED_PARAMETER, BAD_HOLD_TIME = 1, 3, 4, 6  # OPEN subcodes (RFC 4271 §6.2)
MALFORMED = 0

Family = tuple[int, int]  # (AFI, SAFI)
IPV4_UNICAST: Family = (1, 1)
LINK_STATE: Family = (16388, 71)


class Kind(IntEnum):
    """Message types (RFC 4271 §4.1)."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4


class Code(IntEnum):
    """NOTIFICATION error codes (RFC 4271 §4.5)."""

    HEADER = 1
    OPEN = 2
    UPDATE = 3
    HOLD_TIMER = 4
    FSM = 5
    CEASE = 6


class Capability(IntEnum):
    """Capability codes that the lab knows."""

    MULTIPROTOCOL = 1  # RFC 4760 §8
    EXTENDED_MESSAGE = 6  # RFC 8654
    GRACEFUL_RESTART = 64  # RFC 4724 §3
    FOUR_OCTET_AS = 65  # RFC 6793 §3


class NotificationError(Exception):
    """What the peer did wrong, as the NOTIFICATION that tells it."""

    def __init__(self, code: Code, subcode: int, data: bytes = b"") -> None:
        self.code, self.subcode, self.data = code, subcode, data
        super().__init__(f"{code.name.lower()}, subcode {subcode}")


@dataclass(frozen=True, slots=True)
class Graceful:
    """The graceful restart capability (RFC 4724 §3)."""

    restart_s: int
    restarting: bool = False
    preserved: frozenset[Family] = frozenset()  # families with the forwarding state bit
    families: frozenset[Family] = frozenset()


@dataclass(frozen=True, slots=True)
class Open:
    """An OPEN message with the capabilities the lab knows (RFC 4271 §4.2, RFC 5492)."""

    asn: int
    hold_time_s: int
    router_id: str
    families: frozenset[Family] = frozenset({IPV4_UNICAST})
    extended: bool = False  # RFC 8654
    graceful: Graceful | None = None


def message(kind: Kind, body: bytes = b"") -> bytes:
    """Return a whole message, header included."""
    return MARKER + struct.pack("!HB", HEADER_SIZE + len(body), kind) + body


def read_header(header: bytes, limit: int) -> tuple[Kind, int]:
    """Return the type and the length of the body that a 19-byte header promises.

    limit: the longest message accepted. Raises NotificationError (RFC 4271 §6.1).
    """
    length, number = struct.unpack("!HB", header[16:])
    if header[:16] != MARKER:
        raise NotificationError(Code.HEADER, 1)
    if number not in set(Kind):
        raise NotificationError(Code.HEADER, 3, bytes([number]))
    kind = Kind(number)
    shortest = {Kind.OPEN: 29, Kind.UPDATE: 23, Kind.NOTIFICATION: 21, Kind.KEEPALIVE: 19}[kind]
    longest = {Kind.OPEN: MAX_SIZE, Kind.KEEPALIVE: 19}.get(kind, limit)
    if not shortest <= length <= longest:
        raise NotificationError(Code.HEADER, 2, header[16:18])
    return kind, length - HEADER_SIZE


def encode_open(opening: Open) -> bytes:
    """Return an OPEN message."""
    capabilities = [
        *(_pair(Capability.MULTIPROTOCOL, struct.pack("!HBB", afi, 0, safi)) for afi, safi in sorted(opening.families)),
        _pair(Capability.FOUR_OCTET_AS, struct.pack("!I", opening.asn)),
    ]
    if opening.extended:
        capabilities.append(_pair(Capability.EXTENDED_MESSAGE, b""))
    if opening.graceful:
        capabilities.append(_pair(Capability.GRACEFUL_RESTART, _encode_graceful(opening.graceful)))
    parameters = _pair(CAPABILITIES, b"".join(capabilities))
    asn = opening.asn if opening.asn <= MAX_TWO_OCTET_AS else AS_TRANS
    body = struct.pack("!BHH", VERSION, asn, opening.hold_time_s) + IPv4Address(opening.router_id).packed
    return message(Kind.OPEN, body + bytes([len(parameters)]) + parameters)


def decode_open(body: bytes) -> Open:
    """Read an OPEN's body. Raises NotificationError (RFC 4271 §6.2)."""
    version, asn, hold_time_s, router_id, size = struct.unpack("!BHH4sB", body[:10])
    if version != VERSION:
        raise NotificationError(Code.OPEN, UNSUPPORTED_VERSION, struct.pack("!H", VERSION))
    if hold_time_s in {1, 2}:
        raise NotificationError(Code.OPEN, BAD_HOLD_TIME)
    if router_id == bytes(4):  # RFC 6286 §2.2
        raise NotificationError(Code.OPEN, BAD_IDENTIFIER)
    if size != len(body) - 10:
        raise NotificationError(Code.OPEN, MALFORMED)
    families, extended, graceful = set(), False, None
    for kind, value in _capabilities(body[10:]):
        match kind:
            case Capability.MULTIPROTOCOL:
                afi, _reserved, safi = _unpack("!HBB", value)
                families.add((afi, safi))
            case Capability.FOUR_OCTET_AS:
                (asn,) = _unpack("!I", value)
            case Capability.EXTENDED_MESSAGE:
                extended = True
            case Capability.GRACEFUL_RESTART:
                graceful = _decode_graceful(value)
    address = str(IPv4Address(router_id))
    return Open(asn, hold_time_s, address, frozenset(families or {IPV4_UNICAST}), extended, graceful)


def encode_notification(error: NotificationError) -> bytes:
    """Return a NOTIFICATION message."""
    return message(Kind.NOTIFICATION, bytes([error.code, error.subcode]) + error.data)


def _pair(kind: int, value: bytes) -> bytes:
    return bytes([kind, len(value)]) + value


def _pairs(field: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of one-octet types and lengths."""
    at = 0
    while at < len(field):
        value = field[at + 2 : at + 2 + field[at + 1]] if at + 1 < len(field) else b""
        if at + 1 >= len(field) or len(value) < field[at + 1]:
            raise NotificationError(Code.OPEN, MALFORMED)
        yield field[at], value
        at += 2 + len(value)


def _capabilities(parameters: bytes) -> Iterator[tuple[int, bytes]]:
    for kind, value in _pairs(parameters):
        if kind != CAPABILITIES:
            raise NotificationError(Code.OPEN, UNSUPPORTED_PARAMETER)
        yield from _pairs(value)


def _unpack(layout: str, value: bytes) -> tuple[int, ...]:
    if len(value) != struct.calcsize(layout):
        raise NotificationError(Code.OPEN, MALFORMED)
    return struct.unpack(layout, value)


def _encode_graceful(graceful: Graceful) -> bytes:
    head = struct.pack("!H", (0x8000 if graceful.restarting else 0) | graceful.restart_s)
    return head + b"".join(
        struct.pack("!HBB", afi, safi, 0x80 if (afi, safi) in graceful.preserved else 0)
        for afi, safi in sorted(graceful.families)
    )


def _decode_graceful(value: bytes) -> Graceful:
    (head,) = _unpack("!H", value[:2])
    rows = [_unpack("!HBB", value[at : at + 4]) for at in range(2, len(value), 4)]
    return Graceful(
        head & 0x0FFF,
        bool(head & 0x8000),
        frozenset((afi, safi) for afi, safi, flags in rows if flags & 0x80),
        frozenset((afi, safi) for afi, safi, _flags in rows),
    )
