"""One BGP session of a lab router, without I/O: bytes and the time go in, events and bytes come out.

The part of RFC 4271 §8 that an accepted TCP connection goes through: OpenSent, OpenConfirm, Established.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from neto.lab.bgp_message import (
    HEADER_SIZE,
    MAX_EXTENDED_SIZE,
    MAX_SIZE,
    Code,
    Kind,
    NotificationError,
    Open,
    decode_open,
    encode_notification,
    encode_open,
    message,
    read_header,
)
from neto.lab.bgp_update import Update, decode_update

OPEN_WAIT_S = 240.0  # hold timer until the peer has said its own (RFC 4271 §8.2.2: "4 minutes is suggested")


class State(IntEnum):
    """Where the session is. The number is the subcode of an FSM error in that state (RFC 6608 §3)."""

    CLOSED = 0
    OPEN_SENT = 1
    OPEN_CONFIRM = 2
    ESTABLISHED = 3


@dataclass(frozen=True, slots=True)
class Established:
    """The session is up."""

    peer: Open


@dataclass(frozen=True, slots=True)
class Received:
    """The peer sent an UPDATE."""

    update: Update


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over."""

    reason: str
    notified: bool  # one side sent a NOTIFICATION; a bare TCP close is False
    peer: Open | None = None  # what the peer had opened with, when it was up


Event = Established | Received | Closed


class Session:
    """The router's side of an iBGP session, from the moment its TCP connection is accepted."""

    def __init__(self, local: Open, now: float) -> None:
        self.local = local
        self.peer: Open | None = None
        self.state = State.OPEN_SENT
        self._in = bytearray()
        self._out = bytearray(encode_open(local))
        self._hold_time_s = OPEN_WAIT_S
        self._heard = now
        self._said: float | None = None  # None: no KEEPALIVE is due yet

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the peer. Whatever is wrong with them ends in a NOTIFICATION and Closed."""
        self._in += data
        events: list[Event] = []
        try:
            while self.state is not State.CLOSED and (whole := self._next_message()):
                events += self._handle(*whole, now)
        except NotificationError as error:
            events += self._fail(error)
        return events

    def tick(self, now: float) -> list[Event]:
        """Do what is due: a KEEPALIVE, or the end of a peer that has been silent too long."""
        if self.state is State.CLOSED or not self._hold_time_s:
            return []
        if now >= self._heard + self._hold_time_s:
            return self._fail(NotificationError(Code.HOLD_TIMER, 0))
        if self._said is not None and now >= self._said + self._hold_time_s / 3:
            self._say(message(Kind.KEEPALIVE), now)
        return []

    def next_tick(self) -> float | None:
        """When tick() has something to do; None: never."""
        if self.state is State.CLOSED or not self._hold_time_s:
            return None
        due = self._heard + self._hold_time_s
        return due if self._said is None else min(due, self._said + self._hold_time_s / 3)

    def send(self, data: bytes, now: float) -> None:
        """Send messages of the caller's. Only an established session does."""
        if self.state is State.ESTABLISHED:
            self._say(data, now)

    def stop(self, subcode: int) -> list[Event]:
        """Cease (RFC 4486): 2 administrative shutdown, 4 administrative reset, 7 collision."""
        return [] if self.state is State.CLOSED else self._fail(NotificationError(Code.CEASE, subcode))

    def lost(self) -> list[Event]:
        """The TCP connection is gone."""
        return [] if self.state is State.CLOSED else self._close("connection closed", notified=False)

    def data_to_send(self) -> bytes:
        """Take the bytes that are waiting to go out."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def _next_message(self) -> tuple[Kind, bytes] | None:
        if len(self._in) < HEADER_SIZE:
            return None
        extended = self.local.extended and self.peer is not None and self.peer.extended
        kind, size = read_header(bytes(self._in[:HEADER_SIZE]), MAX_EXTENDED_SIZE if extended else MAX_SIZE)
        if len(self._in) < HEADER_SIZE + size:
            return None
        body = bytes(self._in[HEADER_SIZE : HEADER_SIZE + size])
        del self._in[: HEADER_SIZE + size]
        return kind, body

    def _handle(self, kind: Kind, body: bytes, now: float) -> list[Event]:
        self._heard = now
        match self.state, kind:
            case _, Kind.NOTIFICATION:
                return self._close(f"notification received ({body[0]},{body[1]})", notified=True)
            case State.OPEN_SENT, Kind.OPEN:
                self._agree(decode_open(body), now)
            case State.OPEN_CONFIRM, Kind.KEEPALIVE if self.peer:
                self.state = State.ESTABLISHED
                return [Established(self.peer)]
            case State.ESTABLISHED, Kind.UPDATE:
                return [Received(decode_update(body))]
            case State.ESTABLISHED, Kind.KEEPALIVE:
                pass
            case _:
                raise NotificationError(Code.FSM, self.state)
        return []

    def _agree(self, peer: Open, now: float) -> None:
        """Judge the peer's OPEN and answer it (RFC 4271 §6.2, §4.2)."""
        if peer.asn != self.local.asn:
            raise NotificationError(Code.OPEN, 2)
        if peer.router_id == self.local.router_id:  # RFC 6286 §2.3
            raise NotificationError(Code.OPEN, 3)
        if not peer.families & self.local.families:
            raise NotificationError(Code.OPEN, 7)  # RFC 5492 §5
        self.peer = peer
        self._hold_time_s = min(peer.hold_time_s, self.local.hold_time_s)
        self.state = State.OPEN_CONFIRM
        self._say(message(Kind.KEEPALIVE), now)

    def _say(self, data: bytes, now: float) -> None:
        self._out += data
        self._said = now

    def _fail(self, error: NotificationError) -> list[Event]:
        self._out += encode_notification(error)
        return self._close(f"notification sent ({error.code},{error.subcode})", notified=True)

    def _close(self, reason: str, *, notified: bool) -> list[Event]:
        was_up = self.state is State.ESTABLISHED
        self.state = State.CLOSED
        self._in.clear()
        return [Closed(reason, notified, self.peer if was_up else None)]
