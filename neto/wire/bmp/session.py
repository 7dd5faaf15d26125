"""Messages of one BMP session, in order -> what they say (RFC 7854 §4, RFC 8671, RFC 9069)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from neto.errors import WireError
from neto.wire.bgp import AddPath, Family, Open, Update, UpdateReader, decode_open
from neto.wire.bmp.messages import (
    Initiation,
    Message,
    Peer,
    PeerDown,
    PeerKind,
    PeerUp,
    RouteMirroring,
    RouteMonitoring,
    Statistics,
    Termination,
    Unknown,
    View,
)

_PEER_HEADER = 42
_WHO = 34  # octets of it that say who and which table; the rest is a time
_IPV6, _POST_POLICY, _TWO_OCTET_AS, _ADJ_RIB_OUT = 0x80, 0x40, 0x20, 0x10
_BGP_HEADER = 19
_MARKER = b"\xff" * 16
_OPEN, _UPDATE = 1, 2
_ENDS = 20  # octets of addresses and ports in a Peer Up
_STRING, _DESCRIPTION, _NAME = 0, 1, 2  # information TLVs (RFC 7854 §4.4)
_REASON = 1  # in a Termination
_GAUGE_SIZES = (4, 8)
MOST_PEERS = 4096  # of one router; more is no router of ours


@dataclass(frozen=True, slots=True)
class _Who:
    """What a per-peer header says, apart from the time."""

    peer: Peer
    view: View
    as_octets: int


@dataclass(frozen=True, slots=True)
class _Negotiated:
    """Families whose prefixes have path identifiers, by direction (RFC 7911 §4)."""

    incoming: frozenset[Family]
    outgoing: frozenset[Family]


_NOTHING = _Negotiated(frozenset(), frozenset())


class BmpSession:
    """Reads the messages of one router.

    updates: reader of UPDATEs; sessions may share one.
    """

    def __init__(self, updates: UpdateReader | None = None) -> None:
        self._updates = updates or UpdateReader()
        self._heads: dict[bytes, _Who] = {}
        self._up: dict[tuple[PeerKind, int, str], _Negotiated] = {}
        self._is_frr = False
        self._readers: dict[int, Callable[[bytes], Message]] = {  # by type, RFC 7854 §4.1
            0: self._route_monitoring,
            1: self._statistics,
            2: self._peer_down,
            3: self._peer_up,
            4: self._initiation,
            5: _termination,
            6: self._route_mirroring,
        }

    def read(self, kind: int, body: bytes) -> Message:
        """Read one message as `BmpStream.feed` gives it.

        Raises WireError when it cannot be taken apart; the messages that follow can be read none the less.
        """
        read = self._readers.get(kind)
        return read(body) if read else Unknown(kind)

    def _initiation(self, body: bytes) -> Initiation:
        told = _initiation(body)
        self._is_frr = "FRRouting" in told.description
        return told

    def _statistics(self, body: bytes) -> Statistics:
        return Statistics(self._who(body).peer, dict(_statistics(body)))

    def _route_mirroring(self, body: bytes) -> RouteMirroring:
        told = list(_tlvs(body[_PEER_HEADER:]))
        information = (int.from_bytes(value, "big") for code, value in told if code == 1 and len(value) == 2)  # noqa: PLR2004 a word
        messages = tuple(value for code, value in told if code == 0)
        return RouteMirroring(self._who(body).peer, messages, tuple(information))

    def _who(self, body: bytes) -> _Who:
        """Read the per-peer header (RFC 7854 §4.2); the same octets always are the same peer."""
        raw = body[:_WHO]
        who = self._heads.get(raw)
        if who is None:
            if len(body) < _PEER_HEADER:
                raise WireError(f"per-peer header of {len(body)} octets; expected {_PEER_HEADER}")
            if len(self._heads) >= 4 * MOST_PEERS:
                raise WireError(f"more than {MOST_PEERS} peers")
            who = self._heads[raw] = _decode_who(raw)
        elif len(body) < _PEER_HEADER:
            raise WireError(f"per-peer header of {len(body)} octets; expected {_PEER_HEADER}")
        return who

    def _route_monitoring(self, body: bytes) -> RouteMonitoring:
        who = self._who(body)
        negotiated = self._up.get(_identity(who.peer))
        if negotiated is None and who.peer.kind is PeerKind.LOC_RIB:
            negotiated = _NOTHING  # older FRR tells its own table without saying first that it does (seen in 8.0)
        if negotiated is None:
            raise WireError(f"routes of {who.peer.address}, which is not up")
        outgoing = who.view in (View.OUT_PRE, View.OUT_POST)
        add_path = negotiated.outgoing if outgoing else negotiated.incoming
        update_body = _bgp(body[_PEER_HEADER:], _UPDATE)
        update = self._plain(update_body, who.as_octets) if add_path and self._is_frr else None
        if update is None:
            update = self._updates.read(update_body, as_octets=who.as_octets, add_path=add_path)
        return RouteMonitoring(who.peer, who.view, update)

    def _plain(self, body: bytes, as_octets: int) -> Update | None:
        """Read an UPDATE of FRR, whose BMP leaves path identifiers out (seen in 8.4) though peers agreed on them.

        It tells one prefix at a time. Where there is an identifier, which begins with a zero octet while it is below
        2^24, it reads as several prefixes or as none that can be: None then.
        """
        try:
            update = self._updates.read(body, as_octets=as_octets)
        except WireError:
            return None
        told = [*update.withdrawn, *(reach.routes for reach in update.reached)]
        return update if sum(len(routes.keys) for routes in told) <= 1 else None

    def _peer_up(self, body: bytes) -> PeerUp:
        """RFC 7854 §4.10: our end, then both OPENs."""
        who = self._who(body)
        opens = _PEER_HEADER + _ENDS
        if len(body) < opens:
            raise WireError(f"Peer Up of {len(body)} octets is cut off")
        after = opens + _length(body[opens:])
        end = after + _length(body[after:])
        sent, received = _open(body[opens:after]), _open(body[after:end])
        identity = _identity(who.peer)
        if identity not in self._up and len(self._up) >= MOST_PEERS:
            raise WireError(f"more than {MOST_PEERS} peers")
        self._up[identity] = _Negotiated(_both(received, sent), _both(sent, received))
        begin = _PEER_HEADER
        return PeerUp(
            peer=who.peer,
            at=_time(body),
            local_address=_address(body[begin : begin + 16], ipv6=bool(body[1] & _IPV6)),
            local_port=int.from_bytes(body[begin + 16 : begin + 18], "big"),
            remote_port=int.from_bytes(body[begin + 18 : begin + 20], "big"),
            sent=sent,
            received=received,
            text=tuple(_text(value) for code, value in _tlvs(body[end:]) if code == _STRING),
        )

    def _peer_down(self, body: bytes) -> PeerDown:
        who = self._who(body)
        if len(body) == _PEER_HEADER:
            raise WireError("Peer Down without a reason")
        was_up = self._up.pop(_identity(who.peer), None) is not None
        return PeerDown(who.peer, _time(body), body[_PEER_HEADER], was_up)


def _identity(peer: Peer) -> tuple[PeerKind, int, str]:
    """What tells peers of a router apart (RFC 7854 §4.2): not the AS number, nor the BGP identifier."""
    return peer.kind, peer.distinguisher, peer.address


def _decode_who(raw: bytes) -> _Who:
    kind, flags = raw[0], raw[1]
    if kind not in PeerKind.__members__.values():
        raise WireError(f"peer type {kind}; accepted: 0 to 3")
    peer = Peer(
        kind=PeerKind(kind),
        distinguisher=int.from_bytes(raw[2:10], "big"),
        address=_address(raw[10:26], ipv6=bool(flags & _IPV6) and kind != PeerKind.LOC_RIB),
        asn=int.from_bytes(raw[26:30], "big"),
        bgp_id=str(IPv4Address(raw[30:34])),
    )
    if kind == PeerKind.LOC_RIB:  # its flags are others (RFC 9069 §4.2), and AS numbers have four octets
        return _Who(peer, View.LOC, 4)
    post = bool(flags & _POST_POLICY)
    outgoing, incoming = (View.OUT_POST, View.IN_POST) if post else (View.OUT_PRE, View.IN_PRE)
    view = outgoing if flags & _ADJ_RIB_OUT else incoming
    return _Who(peer, view, 2 if flags & _TWO_OCTET_AS else 4)


def _open(message: bytes) -> Open | None:
    body = _bgp(message, _OPEN)
    return decode_open(body) if body else None


def _both(sends: Open | None, receives: Open | None) -> frozenset[Family]:
    """Families in which one sends several paths and the other takes them."""
    if sends is None or receives is None:
        return frozenset()
    return frozenset(
        family for family in Family if sends.can(family, AddPath.SEND) and receives.can(family, AddPath.RECEIVE)
    )


def _address(value: bytes, *, ipv6: bool) -> str:
    """An IPv4 address stands in the last four of sixteen octets."""
    return str(IPv6Address(value)) if ipv6 else str(IPv4Address(value[12:]))


def _time(body: bytes) -> float:
    seconds = int.from_bytes(body[_WHO : _WHO + 4], "big")
    return seconds + int.from_bytes(body[_WHO + 4 : _WHO + 8], "big") / 1e6


def _length(message: bytes) -> int:
    """Length of the BGP message that begins here."""
    if len(message) < _BGP_HEADER:
        raise WireError(f"{len(message)} octets where a BGP message should be")
    length = int.from_bytes(message[16:18], "big")
    if not _BGP_HEADER <= length <= len(message):
        raise WireError(f"BGP message says {length} octets and {len(message)} are there")
    return length


def _bgp(message: bytes, kind: int) -> bytes:
    """Return the body of a BGP message that has to be of this kind and fill its place."""
    if _length(message) != len(message) or message[:16] != _MARKER or message[18] != kind:
        raise WireError(f"{len(message)} octets are not one BGP message of type {kind}")
    return message[_BGP_HEADER:]


def _tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type, length, value (RFC 7854 §4.4)."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 4 + length
        if end > len(data):
            raise WireError(f"TLV at octet {at} leads to {end} of {len(data)}")
        yield int.from_bytes(data[at : at + 2], "big"), data[at + 4 : end]
        at = end


def _text(value: bytes) -> str:
    """Return text; what is not printable is written as an escape."""
    told = value.decode("utf-8", "backslashreplace")
    return told if told.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in told)


def _initiation(body: bytes) -> Initiation:
    told = list(_tlvs(body))
    first = {code: _text(value) for code, value in reversed(told)}
    text = tuple(_text(value) for code, value in told if code == _STRING)
    return Initiation(first.get(_NAME, ""), first.get(_DESCRIPTION, ""), text)


def _termination(body: bytes) -> Termination:
    told = list(_tlvs(body))
    reasons = [int.from_bytes(value, "big") for code, value in told if code == _REASON and len(value) == 2]  # noqa: PLR2004 a word
    text = tuple(_text(value) for code, value in told if code == _STRING)
    return Termination(reasons[0] if reasons else None, text)


def _statistics(body: bytes) -> Iterator[tuple[int, int]]:
    """RFC 7854 §4.8: a count, then TLVs. Per-family gauges and what is not known are left out."""
    for code, value in _tlvs(body[_PEER_HEADER + 4 :]):
        if len(value) in _GAUGE_SIZES:
            yield code, int.from_bytes(value, "big")
