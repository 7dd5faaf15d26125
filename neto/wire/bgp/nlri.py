"""Runs of prefixes as UPDATE messages carry them (RFC 4271 §4.3, RFC 4760 §5, RFC 7911 §3).

A full table comes as hundreds of thousands of prefixes, so each is one integer here, its key: the address, then eight
bits of length, and for IPv6 a bit above them all. Keys of different prefixes differ, and those of one family sort as
the prefixes do.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from neto.errors import WireError
from neto.model.peering import Prefix

_IPV6 = 1 << 136
_PATH_ID = 4


class Family(Enum):
    """Address families whose unicast routes (SAFI 1) are read; the value is the AFI."""

    IPV4 = 1
    IPV6 = 2

    @property
    def octets(self) -> int:
        """Octets of an address."""
        return 4 if self is Family.IPV4 else 16


def prefix_key(prefix: Prefix) -> int:
    """Return the key of a prefix."""
    key = int(prefix.network_address) << 8 | prefix.prefixlen
    return key if isinstance(prefix, IPv4Network) else key | _IPV6


def prefix_of(key: int) -> Prefix:
    """Return the prefix that has this key."""
    if key < _IPV6:
        return IPv4Network((key >> 8, key & 0xFF))
    return IPv6Network(((key ^ _IPV6) >> 8, key & 0xFF))


def covering_keys(prefix: Prefix) -> Iterator[int]:
    """Yield the key of a prefix and of every one around it, the longest first."""
    key, bits = prefix_key(prefix), prefix.max_prefixlen
    mark, address = key & _IPV6, (key & ~_IPV6) >> 8
    for length in range(prefix.prefixlen, -1, -1):
        host = bits - length
        yield address >> host << host << 8 | length | mark


def decode_prefixes(data: bytes, family: Family, *, add_path: bool) -> tuple[list[int], list[int]]:
    """Take a run of prefixes apart: their keys, and their path identifiers (none where there are none).

    Bits beyond the length are ignored (RFC 4271 §4.3). Raises WireError for a length that the family does not have or
    that leads beyond the end.
    """
    width = family.octets
    bits = width * 8
    mark = 0 if family is Family.IPV4 else _IPV6
    keys: list[int] = []
    path_ids: list[int] = []
    at, end = 0, len(data)
    while at < end:
        if add_path:
            path_ids.append(int.from_bytes(data[at : at + _PATH_ID], "big"))
            at += _PATH_ID
            if at >= end:
                raise WireError(f"{family.name} prefix {len(keys)} is cut off after its path identifier")
        length = data[at]
        begin = at + 1
        at = begin + (length + 7 >> 3)
        if length > bits or at > end:
            raise WireError(f"{family.name} prefix {len(keys)} of {length} bits in {end - begin} octets")
        address = int.from_bytes(data[begin:at], "big") << (bits - (at - begin) * 8)
        host = bits - length
        keys.append(address >> host << host << 8 | length | mark)
    return keys, path_ids
