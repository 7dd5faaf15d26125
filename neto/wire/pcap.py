"""Captures -> UDP datagrams.

pcap (µs or ns, either byte order) and pcapng, over the link types that captures of exports have, IPv4 or IPv6. Only
what is needed to find the payloads: nothing is reassembled.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from neto.errors import WireError

# pcap's magic numbers as they stand in the file: byte order, fractions of a second.
_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"  # the section header block's type, the same in either byte order
_PCAPNG_ORDER = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_INTERFACE, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 3, 6  # block types
_TIME_RESOLUTION = 9  # option if_tsresol

_IPV4, _IPV6, _VLANS = 0x0800, 0x86DD, frozenset({0x8100, 0x88A8, 0x9100})  # EtherTypes
_UDP = 17
_EXTENSIONS = frozenset({0, 43, 60})  # hop-by-hop, routing, destination options (RFC 8200 §4)
_FRAGMENT = 44


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram."""

    time: float  # unix seconds at which it was captured
    src: str
    dst: str
    dst_port: int
    payload: bytes


@dataclass(slots=True)
class Capture:
    """A capture file, and after `datagrams` what in it was none and why."""

    data: bytes
    skipped: Counter[str] = field(default_factory=Counter)
    damage: str = ""  # where the file stops making sense

    def datagrams(self) -> Iterator[Datagram]:
        """Every whole UDP datagram, in the order of the file."""
        try:
            for time, link, frame in self._frames():
                try:
                    yield _datagram(time, _network(link, frame))
                except _SkippedError as reason:
                    self.skipped[str(reason)] += 1
        except (WireError, struct.error) as error:
            self.damage = str(error)

    def _frames(self) -> Iterator[tuple[float, int, memoryview]]:
        return _pcapng(memoryview(self.data)) if self.data[:4] == _PCAPNG else _pcap(memoryview(self.data))


def is_capture(data: bytes) -> bool:
    """Whether a file starts as a capture does; no flow export starts so."""
    return data[:4] in _PCAP or (data[:4] == _PCAPNG and data[8:12] in _PCAPNG_ORDER)


class _SkippedError(Exception):
    """A frame holds no whole UDP datagram."""


def _pcap(data: memoryview) -> Iterator[tuple[float, int, memoryview]]:
    order, fraction_s = _PCAP[bytes(data[:4])]
    (link,) = struct.unpack_from(order + "I", data, 20)
    at = 24
    while at < len(data):
        if len(data) - at < 16:  # noqa: PLR2004 a packet record's header
            raise WireError(f"packet header cut off at octet {at}")
        seconds, fraction, captured, _ = struct.unpack_from(order + "IIII", data, at)
        at += 16
        if captured > len(data) - at:
            raise WireError(f"packet at octet {at} says {captured} octets; {len(data) - at} are left")
        yield seconds + fraction * fraction_s, link & 0xFFFF, data[at : at + captured]
        at += captured


def _pcapng(data: memoryview) -> Iterator[tuple[float, int, memoryview]]:
    """Walk blocks (draft-ietf-opsawg-pcapng §4)."""
    order, at = ">", 0
    interfaces: list[tuple[int, float]] = []  # link type, seconds per tick
    while at < len(data):
        if data[at : at + 4] == _PCAPNG:
            order = _PCAPNG_ORDER.get(bytes(data[at + 8 : at + 12]), "")
            if not order:
                raise WireError(f"section header at octet {at} has no byte order")
            interfaces = []
        kind, length = struct.unpack_from(order + "II", data, at)
        if length < 12 or length % 4 or at + length > len(data):  # noqa: PLR2004 a block's frame
            raise WireError(f"block at octet {at} says {length} octets; {len(data) - at} are left")
        body = data[at + 8 : at + length - 4]
        if kind == _INTERFACE:
            interfaces.append((struct.unpack_from(order + "H", body)[0], _tick_s(body[8:], order)))
        elif kind == _ENHANCED_PACKET:
            interface, high, low, captured, _ = struct.unpack_from(order + "IIIII", body)
            if interface >= len(interfaces) or captured > len(body) - 20:
                raise WireError(f"packet block at octet {at} is of no interface, or longer than its block")
            link, tick_s = interfaces[interface]
            yield (high << 32 | low) * tick_s, link, body[20 : 20 + captured]
        elif kind == _SIMPLE_PACKET and interfaces:
            (original,) = struct.unpack_from(order + "I", body)
            yield 0.0, interfaces[0][0], body[4 : 4 + original]
        at += length


def _tick_s(options: memoryview, order: str) -> float:
    """Seconds that an interface's timestamps count in; µs when it does not say."""
    at = 0
    while len(options) - at >= 4:  # noqa: PLR2004 an option's header
        code, length = struct.unpack_from(order + "HH", options, at)
        if code == _TIME_RESOLUTION and length == 1 and at + 4 < len(options):
            exponent = options[at + 4]
            return float(2.0 ** -(exponent & 0x7F)) if exponent & 0x80 else float(10.0**-exponent)
        at += 4 + length + -length % 4
    return 1e-6


def _ethernet(frame: memoryview) -> tuple[int, memoryview]:
    at = 12
    while int.from_bytes(frame[at : at + 2], "big") in _VLANS:
        at += 4
    return int.from_bytes(frame[at : at + 2], "big"), frame[at + 2 :]


def _loopback(frame: memoryview) -> tuple[int, memoryview]:
    """BSD loopback: the address family in either byte order; IPv6's number differs by system."""
    family = max(frame[0], frame[3]) if len(frame) >= 4 else 0  # noqa: PLR2004 its header
    return (_IPV4 if family == 2 else _IPV6), frame[4:]  # noqa: PLR2004 AF_INET everywhere


def _raw(frame: memoryview) -> tuple[int, memoryview]:
    return (_IPV6 if frame[:1] and frame[0] >> 4 == 6 else _IPV4), frame  # noqa: PLR2004 IPv6


_LINKS: dict[int, Callable[[memoryview], tuple[int, memoryview]]] = {
    0: _loopback,
    1: _ethernet,
    12: _raw,
    14: _raw,
    101: _raw,
    108: _loopback,
    113: lambda frame: (int.from_bytes(frame[14:16], "big"), frame[16:]),  # Linux cooked
    228: _raw,
    229: _raw,
    276: lambda frame: (int.from_bytes(frame[:2], "big"), frame[20:]),  # Linux cooked, version 2
}


def _network(link: int, frame: memoryview) -> tuple[int, memoryview]:
    """Take off the link layer: EtherType, and what it carries."""
    if link not in _LINKS:
        raise _SkippedError(f"link type {link}")
    return _LINKS[link](frame)


def _datagram(time: float, network: tuple[int, memoryview]) -> Datagram:
    ethertype, packet = network
    if ethertype == _IPV4:
        src, dst, transport = _ipv4(packet)
    elif ethertype == _IPV6:
        src, dst, transport = _ipv6(packet)
    else:
        raise _SkippedError("not IP")
    if len(transport) < 8:  # noqa: PLR2004 UDP's header
        raise _SkippedError("cut short")
    _, dst_port, length = struct.unpack_from("!HHH", transport)
    if not 8 <= length <= len(transport):  # noqa: PLR2004 UDP's header
        raise _SkippedError("cut short")
    return Datagram(time, src, dst, dst_port, bytes(transport[8:length]))


def _ipv4(packet: memoryview) -> tuple[str, str, memoryview]:
    if len(packet) < 20:  # noqa: PLR2004 the shortest header
        raise _SkippedError("cut short")
    header, total = (packet[0] & 0x0F) * 4, int.from_bytes(packet[2:4], "big")
    if packet[9] != _UDP:
        raise _SkippedError("not UDP")
    if int.from_bytes(packet[6:8], "big") & 0x3FFF:  # more fragments, or an offset
        raise _SkippedError("fragment")
    src, dst = (socket.inet_ntop(socket.AF_INET, packet[at : at + 4]) for at in (12, 16))
    return src, dst, packet[header : total or None]  # 0: the sender's card was to fill it in


def _ipv6(packet: memoryview) -> tuple[str, str, memoryview]:
    if len(packet) < 40:  # noqa: PLR2004 the header
        raise _SkippedError("cut short")
    kind, rest = packet[6], packet[40:]
    while kind in _EXTENSIONS and len(rest) >= 8:  # noqa: PLR2004 the shortest extension
        kind, rest = rest[0], rest[8 + rest[1] * 8 :]
    if kind != _UDP:
        raise _SkippedError("fragment" if kind == _FRAGMENT else "not UDP")
    src, dst = (socket.inet_ntop(socket.AF_INET6, packet[at : at + 16]) for at in (8, 24))
    return src, dst, rest
