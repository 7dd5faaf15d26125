"""Type, length, value (RFC 9552 §5.1), and the plain values that many of them hold."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from neto.errors import WireError

_HEADER = struct.Struct("!HH")
_FLOAT = struct.Struct("!f")
_TOPOLOGY_MASK = 0x0FFF  # the upper bits of a multi-topology id are reserved


def tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take a run of TLVs apart. Raises WireError when a length leads beyond the end."""
    at = 0
    while at < len(data):
        if at + _HEADER.size > len(data):
            raise WireError(f"{len(data) - at} octets where a TLV should begin")
        kind, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        if at + length > len(data):
            raise WireError(f"TLV {kind} says {length} octets and {len(data) - at} are there")
        yield kind, data[at : at + length]
        at += length


def number(value: bytes, *sizes: int) -> int:
    """Return an unsigned number of one of the sizes, in octets. Raises WireError."""
    if len(value) not in sizes:
        raise WireError(f"{len(value)} octets; expected {' or '.join(map(str, sizes))}")
    return int.from_bytes(value, "big")


def address(value: bytes) -> str:
    """Return an IPv4 (4 octets) or IPv6 (16 octets) address as text. Raises WireError."""
    number(value, 4, 16)
    return str(IPv4Address(value) if len(value) == 4 else IPv6Address(value))  # noqa: PLR2004 the size of IPv4


def address_v4(value: bytes) -> str:
    """Return an IPv4 address as text. Raises WireError."""
    return str(IPv4Address(number(value, 4)))


def address_v6(value: bytes) -> str:
    """Return an IPv6 address as text. Raises WireError."""
    return str(IPv6Address(number(value, 16)))


def text(value: bytes) -> str:
    """Return a name. Whatever is not printable is written as an escape."""
    told = value.decode("utf-8", "backslashreplace")
    return told if told.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in told)


def rate_mbps(value: bytes) -> float:
    """Return a rate in Mbit/s.

    The wire carries octets per second as a float32 (RFC 5305 §3.4). Raises WireError for what is no rate.
    """
    number(value, 4)
    rate = float(_FLOAT.unpack(value)[0])
    if not (math.isfinite(rate) and rate >= 0):
        raise WireError(f"a rate of {rate} octets per second")
    return rate * 8 / 1e6


def words(value: bytes, size: int) -> tuple[int, ...]:
    """Return a run of unsigned numbers of `size` octets each. Raises WireError."""
    if len(value) % size:
        raise WireError(f"{len(value)} octets; expected a multiple of {size}")
    return tuple(int.from_bytes(value[at : at + size], "big") for at in range(0, len(value), size))


def topologies(value: bytes) -> tuple[int, ...]:
    """Return multi-topology ids (RFC 9552 §5.2.2.1). Raises WireError."""
    return tuple(word & _TOPOLOGY_MASK for word in words(value, 2))
