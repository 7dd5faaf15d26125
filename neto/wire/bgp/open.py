"""OPEN messages (RFC 4271 §4.2) and the capabilities in them (RFC 5492, RFC 9072)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address

from neto.errors import WireError
from neto.wire.bgp.nlri import Family

_FIXED = 10  # version, AS, hold time, identifier, length of the parameters
_CAPABILITIES = 2  # the one parameter that is in use
_MULTIPROTOCOL, _FOUR_OCTET_AS, _ADD_PATH = 1, 65, 69
_EXTENDED = 255  # RFC 9072 §2
_UNICAST = 1


class AddPath(IntFlag):
    """What a speaker can do with several paths for a prefix (RFC 7911 §4)."""

    RECEIVE = 1
    SEND = 2


@dataclass(frozen=True, slots=True)
class Open:
    """What a speaker said when the session began."""

    asn: int
    hold_time_s: int
    bgp_id: str
    families: frozenset[Family] = frozenset()
    four_octet_as: bool = False
    add_path: tuple[tuple[Family, AddPath], ...] = ()

    def can(self, family: Family, what: AddPath) -> bool:
        """Whether it offered to send or receive several paths of a family."""
        return any(each is family and what in flags for each, flags in self.add_path)


def decode_open(body: bytes) -> Open:
    """Decode an OPEN message without its 19-octet header. Capabilities that are not known are passed over.

    Raises WireError when it cannot be taken apart.
    """
    if len(body) < _FIXED:
        raise WireError(f"OPEN of {len(body)} octets is cut off")
    asn = int.from_bytes(body[1:3], "big")
    families: set[Family] = set()
    add_path: list[tuple[Family, AddPath]] = []
    four_octet_as = False
    for code, value in _capabilities(body):
        if code == _MULTIPROTOCOL and len(value) == 4:  # noqa: PLR2004 AFI, reserved, SAFI
            family = _family(value[:2], value[3])
            families |= {family} if family else set()
        elif code == _FOUR_OCTET_AS and len(value) == 4:  # noqa: PLR2004 an AS number
            asn, four_octet_as = int.from_bytes(value, "big"), True
        elif code == _ADD_PATH:
            for at in range(0, len(value) - 3, 4):
                family = _family(value[at : at + 2], value[at + 2])
                if family:
                    add_path.append((family, AddPath(value[at + 3] & 3)))
    hold_time_s = int.from_bytes(body[3:5], "big")
    bgp_id = str(IPv4Address(body[5:9]))
    return Open(asn, hold_time_s, bgp_id, frozenset(families), four_octet_as, tuple(add_path))


def _family(afi: bytes, safi: int) -> Family | None:
    number = int.from_bytes(afi, "big")
    return Family(number) if safi == _UNICAST and number in (1, 2) else None


def _capabilities(body: bytes) -> Iterator[tuple[int, bytes]]:
    at, size, end = _FIXED, 1, _FIXED + body[9]
    if body[9] == _EXTENDED and len(body) > _FIXED and body[10] == _EXTENDED:
        at, size, end = _FIXED + 3, 2, _FIXED + 3 + int.from_bytes(body[11:13], "big")
    if end > len(body):
        raise WireError(f"optional parameters of an OPEN end at octet {end} of {len(body)}")
    for kind, value in _values(body[at:end], size):
        if kind == _CAPABILITIES:
            yield from _values(value, 1)


def _values(data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """Take type, length (of `size` octets), value apart."""
    at = 0
    while at < len(data):
        begin = at + 1 + size
        end = begin + int.from_bytes(data[at + 1 : begin], "big")
        if begin > len(data) or end > len(data):
            raise WireError(f"{data[at]} in an OPEN leads beyond its end")
        yield data[at], data[begin:end]
        at = end
