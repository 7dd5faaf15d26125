"""The first octets of a sampled packet: where it goes, and its octets as NetFlow counts them, from the IP header on."""

from __future__ import annotations

from dataclasses import dataclass

IPV4, IPV6 = 4, 6  # what the first four bits of a packet say
_VLANS, _MPLS = frozenset({0x8100, 0x88A8, 0x9100}), frozenset({0x8847, 0x8848})
_ETHERTYPES = {0x0800: IPV4, 0x86DD: IPV6}
_IPV4_HEADER, _IPV6_HEADER = 20, 40


@dataclass(frozen=True, slots=True)
class Packet:
    """What is told of a sampled packet."""

    src: bytes  # 4 or 16 octets
    dst: bytes
    octets: int
    tos: int


def in_ethernet(header: memoryview, octets: int) -> Packet | None:
    """Read an Ethernet frame of so many octets; None when what it carries is not IP, or its header is cut off."""
    at, version = _past_ethernet(header)
    return in_ip(header[at:], max(octets - at, 0), version) if version else None


def in_ip(header: memoryview, octets: int, version: int = 0) -> Packet | None:
    """Read an IP packet. octets: for a header that does not say (a network card will cut it). version: 0: any."""
    told = header[0] >> 4 if len(header) else 0
    if version not in (0, told):
        return None
    if told == IPV4 and len(header) >= _IPV4_HEADER:
        size = int.from_bytes(header[2:4], "big")
        return Packet(bytes(header[12:16]), bytes(header[16:20]), size or octets, header[1])
    if told == IPV6 and len(header) >= _IPV6_HEADER:
        payload = int.from_bytes(header[4:6], "big")
        tos = int.from_bytes(header[:2], "big") >> 4 & 255
        size = payload + _IPV6_HEADER if payload else octets
        return Packet(bytes(header[8:24]), bytes(header[24:40]), size, tos)
    return None


def _past_ethernet(header: memoryview) -> tuple[int, int]:
    """Where the network layer begins, and its IP version; 0 when it is not IP."""
    at = 12
    kind = int.from_bytes(header[at : at + 2], "big")
    while kind in _VLANS:
        at += 4
        kind = int.from_bytes(header[at : at + 2], "big")
    at += 2
    if kind in _MPLS:
        while at + 4 < len(header) and not header[at + 2] & 1:  # down to the bottom of the stack
            at += 4
        at += 4
        version = header[at] >> 4 if at < len(header) else 0
        return at, version if version in (IPV4, IPV6) else 0
    return at, _ETHERTYPES.get(kind, 0)
