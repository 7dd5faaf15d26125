"""Packets of a network, written octet by octet, as exporters sample them."""

from __future__ import annotations

import struct
from ipaddress import ip_address

SRC4, DST4 = ip_address("10.1.0.1").packed, ip_address("10.2.0.9").packed
SRC6, DST6 = ip_address("2001:db8::1").packed, ip_address("2001:db8:2::9").packed
MACS = bytes(range(12))
VLAN = struct.pack("!HH", 0x8100, 5)
LABELS = struct.pack("!II", 16 << 12 | 64, 17 << 12 | 1 << 8 | 64)


def ipv4(total=1400, tos=184, src=SRC4, dst=DST4):
    return struct.pack("!BBHIBBH", 0x45, tos, total, 0, 64, 17, 0) + src + dst + struct.pack("!HHHH", 1, 2, 8, 0)


def ipv6(payload=1000, tos=72):
    return struct.pack("!IHBB", 6 << 28 | tos << 20, payload, 17, 64) + SRC6 + DST6 + struct.pack("!HHHH", 1, 2, 8, 0)


def ethernet(kind, content, between=b""):
    return MACS + between + struct.pack("!H", kind) + content
