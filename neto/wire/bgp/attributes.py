"""Path attributes of unicast routes (RFC 4271 §5, RFC 6793, RFC 1997, RFC 8092, RFC 4456).

Many routes share the same attributes, so they are read once: a reader remembers what the octets meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address

from neto.errors import WireError

_ORIGIN, _AS_PATH, _NEXT_HOP, _MED, _LOCAL_PREF = 1, 2, 3, 4, 5
_COMMUNITIES, _ORIGINATOR_ID, _CLUSTER_LIST = 8, 9, 10
MP_REACH, MP_UNREACH = 14, 15
_AS4_PATH, _LARGE_COMMUNITIES = 17, 32
_EXTENDED_LENGTH = 0x10
_WORD = 4
_HIGHEST_ORIGIN = 2
_NEXT_HOP_SIZES = (4, 16, 32)  # IPv4; IPv6; IPv6 with a link-local address (RFC 2545 §3)


class SegmentKind(IntEnum):
    """Kinds of AS_PATH segments (RFC 4271 §4.3, RFC 5065 §3)."""

    SET = 1
    SEQUENCE = 2
    CONFED_SEQUENCE = 3
    CONFED_SET = 4


Segment = tuple[SegmentKind, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Attributes:
    """What one or more routes have in common. Equal when they came as the same octets."""

    key: bytes  # the octets it was read from
    origin: int  # 0 IGP, 1 EGP, 2 incomplete
    as_path: tuple[Segment, ...]
    next_hop: str
    local_pref: int | None = None
    med: int | None = None
    communities: frozenset[int] = frozenset()  # high half ASN, low half value
    large_communities: frozenset[tuple[int, int, int]] = frozenset()
    originator_id: int | None = None
    cluster_list: tuple[int, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attributes) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @cached_property
    def path_length(self) -> int:
        """Length as route selection counts it: a set is one, confederations nothing (RFC 4271 §9.1.2.2, RFC 5065)."""
        return sum(
            len(numbers) if kind is SegmentKind.SEQUENCE else int(kind is SegmentKind.SET)
            for kind, numbers in self.as_path
        )

    @cached_property
    def neighbor_as(self) -> int:
        """AS that the route came from; 0 when the path does not say (RFC 4271 §9.1.2.2 c)."""
        for kind, numbers in self.as_path:
            if kind is SegmentKind.SEQUENCE:
                return numbers[0]
            if kind is SegmentKind.SET:
                return 0
        return 0

    @cached_property
    def origin_as(self) -> int:
        """AS that originated the route; 0 when that is ours or cannot be told (RFC 6811 §2)."""
        kind, numbers = next(reversed(self.as_path), (SegmentKind.SET, ()))
        return numbers[-1] if kind is SegmentKind.SEQUENCE else 0

    def without_first(self, asn: int) -> Attributes:
        """Return these attributes with a path that does not begin with this AS (once)."""
        kind, numbers = next(iter(self.as_path), (SegmentKind.SET, ()))
        if kind is not SegmentKind.SEQUENCE or numbers[0] != asn:
            return self
        rest = ((kind, numbers[1:]),) if len(numbers) > 1 else ()
        return replace(self, key=b"\xff%b%b" % (asn.to_bytes(4, "big"), self.key), as_path=rest + self.as_path[1:])

    @property
    def path_text(self) -> str:
        """The path as routers show it: "65001 65010 {65020,65030}"."""
        shapes = {
            SegmentKind.SEQUENCE: ("", " ", ""),
            SegmentKind.SET: ("{", ",", "}"),
            SegmentKind.CONFED_SEQUENCE: ("(", " ", ")"),
            SegmentKind.CONFED_SET: ("[", ",", "]"),
        }
        return " ".join(
            shapes[kind][0] + shapes[kind][1].join(map(str, numbers)) + shapes[kind][2]
            for kind, numbers in self.as_path
        )


def split_attributes(block: bytes) -> tuple[bytes, bytes | None, bytes | None]:
    """Set the multiprotocol attributes apart: all others as they came, MP_REACH_NLRI, MP_UNREACH_NLRI.

    Raises WireError when an attribute leads beyond the block or a multiprotocol one comes twice (RFC 7606 §3 g).
    """
    apart: dict[int, bytes] = {}
    others: list[bytes] = []
    for kind, begin, value, end in _walk(block):
        if kind in (MP_REACH, MP_UNREACH):
            if kind in apart:
                raise WireError(f"path attribute {kind} occurs twice")
            apart[kind] = block[value:end]
        else:
            others.append(block[begin:end])
    if not apart:
        return block, None, None
    return b"".join(others), apart.get(MP_REACH), apart.get(MP_UNREACH)


def _walk(block: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield type, and where the attribute, its value and what follows it begin."""
    at, end = 0, len(block)
    while at < end:
        begin = at
        if at + 3 > end:
            raise WireError(f"{end - at} octets where a path attribute should begin")
        if block[at] & _EXTENDED_LENGTH:
            value = at + 4
            length = int.from_bytes(block[at + 2 : value], "big")
        else:
            value = at + 3
            length = block[at + 2]
        at = value + length
        if at > end:
            raise WireError(f"path attribute {block[begin + 1]} at octet {begin} leads beyond the attributes")
        yield block[begin + 1], begin, value, at


class AttributeReader:
    """Reads path attributes, and remembers the last ones.

    remember: how many octets of them; beyond that all are forgotten, which costs time and nothing else.
    """

    def __init__(self, remember: int = 16 << 20) -> None:
        self._remember = remember
        self._octets = 0
        self._known: dict[bytes, Attributes] = {}

    def read(self, block: bytes, next_hop: bytes, as_octets: int) -> Attributes:
        """Read attributes without the multiprotocol ones.

        next_hop: that of MP_REACH_NLRI; empty where NEXT_HOP among the attributes counts. as_octets: 2 or 4, the size
        of AS numbers in AS_PATH. Raises WireError for what makes the routes unusable (RFC 7606: treat as withdrawn).
        """
        key = b"%c%c%b%b" % (as_octets, len(next_hop), next_hop, block)
        known = self._known.get(key)
        if known is None:
            known = _read(key, block, next_hop, as_octets)
            self._octets += len(key)
            if self._octets > self._remember:
                self._known.clear()
                self._octets = len(key)
            self._known[key] = known
        return known


def _read(key: bytes, block: bytes, next_hop: bytes, as_octets: int) -> Attributes:
    found: dict[int, bytes] = {}
    for kind, _, value, end in _walk(block):
        found.setdefault(kind, block[value:end])  # of one that comes twice the first counts (RFC 7606 §3 g)
    hop = next_hop or found.get(_NEXT_HOP, b"")
    for kind, name in ((_ORIGIN, "ORIGIN"), (_AS_PATH, "AS_PATH")):
        if kind not in found:
            raise WireError(f"{name} is missing")
    if not hop:
        raise WireError("NEXT_HOP is missing")
    origin = _number(found[_ORIGIN], "ORIGIN", 1)
    if origin > _HIGHEST_ORIGIN:
        raise WireError(f"ORIGIN {origin}; accepted: 0, 1, 2")
    path = _segments(found[_AS_PATH], as_octets)
    if as_octets == 2 and _AS4_PATH in found:  # noqa: PLR2004 old speakers' AS numbers
        path = _reconstructed(path, found[_AS4_PATH])
    large = _words(found.get(_LARGE_COMMUNITIES, b""), "LARGE_COMMUNITY", 3)
    return Attributes(
        key=key,
        origin=origin,
        as_path=path,
        next_hop=_address(hop),
        local_pref=_number(found[_LOCAL_PREF], "LOCAL_PREF", _WORD) if _LOCAL_PREF in found else None,
        med=_number(found[_MED], "MULTI_EXIT_DISC", _WORD) if _MED in found else None,
        communities=frozenset(_words(found.get(_COMMUNITIES, b""), "COMMUNITIES")),
        large_communities=frozenset(zip(large[::3], large[1::3], large[2::3], strict=True)),
        originator_id=_number(found[_ORIGINATOR_ID], "ORIGINATOR_ID", _WORD) if _ORIGINATOR_ID in found else None,
        cluster_list=_words(found.get(_CLUSTER_LIST, b""), "CLUSTER_LIST"),
    )


def _number(value: bytes, name: str, size: int) -> int:
    if len(value) != size:
        raise WireError(f"{name} of {len(value)} octets; expected {size}")
    return int.from_bytes(value, "big")


def _words(value: bytes, name: str, together: int = 1) -> tuple[int, ...]:
    if len(value) % (_WORD * together):
        raise WireError(f"{name} of {len(value)} octets; expected a multiple of {_WORD * together}")
    return tuple(int.from_bytes(value[at : at + _WORD], "big") for at in range(0, len(value), _WORD))


def _address(value: bytes) -> str:
    """Return the global address of a next hop."""
    if len(value) not in _NEXT_HOP_SIZES:
        raise WireError(f"next hop of {len(value)} octets; expected 4, 16 or 32")
    return str(IPv4Address(value) if len(value) == _WORD else IPv6Address(value[:16]))


def _segments(value: bytes, as_octets: int) -> tuple[Segment, ...]:
    """Take an AS_PATH apart (RFC 4271 §4.3 b). Raises WireError for what is no list of segments."""
    segments: list[Segment] = []
    at = 0
    while at < len(value):
        if at + 2 > len(value):
            raise WireError("AS_PATH ends inside a segment")
        kind, count = value[at], value[at + 1]
        begin = at + 2
        at = begin + count * as_octets
        if at > len(value) or not count or kind not in SegmentKind.__members__.values():
            raise WireError(f"AS_PATH segment {kind} of {count} AS numbers in {len(value) - begin} octets")
        numbers = tuple(int.from_bytes(value[x : x + as_octets], "big") for x in range(begin, at, as_octets))
        if 0 in numbers:
            raise WireError("AS 0 in AS_PATH (RFC 7607)")
        if segments and segments[-1][0] == kind == SegmentKind.SEQUENCE:  # a path of more than 255 continues
            numbers = segments.pop()[1] + numbers
        segments.append((SegmentKind(kind), numbers))
    return tuple(segments)


def _reconstructed(path: tuple[Segment, ...], as4_path: bytes) -> tuple[Segment, ...]:
    """Put AS4_PATH in place of the end of AS_PATH that it stands for (RFC 6793 §4.2.3); a malformed one is ignored."""
    try:
        tail = _segments(as4_path, 4)
    except WireError:
        return path
    tail = tuple(segment for segment in tail if segment[0] in (SegmentKind.SET, SegmentKind.SEQUENCE))
    missing = _count(path) - _count(tail)
    if missing < 0 or not tail:
        return path
    head: list[Segment] = []
    for kind, numbers in path:
        if missing <= 0:
            break
        if kind is SegmentKind.SEQUENCE:
            numbers = numbers[:missing]  # noqa: PLW2901 the part that AS4_PATH does not know
            missing -= len(numbers)
        elif kind is SegmentKind.SET:
            missing -= 1
        head.append((kind, numbers))
    if head and head[-1][0] is tail[0][0] is SegmentKind.SEQUENCE:
        return (*head[:-1], (SegmentKind.SEQUENCE, head[-1][1] + tail[0][1]), *tail[1:])
    return (*head, *tail)


def _count(path: tuple[Segment, ...]) -> int:
    return sum(len(numbers) if kind is SegmentKind.SEQUENCE else int(kind is SegmentKind.SET) for kind, numbers in path)
