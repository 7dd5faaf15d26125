"""The iBGP agent: border routers that announce what their peers tell them in the session that exabgp opens to them.

A border whose best route for a prefix is one of ours announces no other, unless it sends several (RFC 7911): a
session in which it does not is not listened to, except where the operator says that the border announces its best
external route none the less. What it sends waits in a queue and is read in slices, so that a full table holds up
nothing else; who fills the queue waits for `room`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from neto.agents.monitoring.rib import Rib
from neto.agents.monitoring.rib_clock import keep_time
from neto.errors import WireError
from neto.wire.bgp import AddPath, Family, Open, UpdateReader, decode_open
from neto.wire.bmp import Peer, PeerKind
from neto.wire.exabgp import Event, PeerDown, PeerUp, RawOpen, RawUpdate

_SLICE_S = 0.005  # of reading, then everybody else has a turn
_MOST_BEHIND = 32 << 20  # octets that wait to be read

_log = structlog.get_logger("ibgp")


@dataclass(frozen=True, slots=True)
class Teller:
    """A border that tells its routes. single: it may send one route for a prefix only."""

    name: str
    single: bool = False


@dataclass(eq=False, slots=True)
class _Session:
    """What is known of the session to a border."""

    teller: Teller
    said: Open | None = None  # its OPEN
    peer: Peer | None = None  # while we listen to it
    add_path: frozenset[Family] = frozenset()
    unread: deque[bytes] = field(default_factory=deque)
    problem: str = ""


class IbgpAgent:
    """Keeps what borders announce to us in a `Rib`.

    asn: ours and theirs. tellers: by the address of their session. on_change: called when a session comes or goes,
    and when a border has told everything.
    """

    def __init__(self, asn: int, tellers: Mapping[str, Teller], rib: Rib, on_change: Callable[[], None]) -> None:
        self.rib = rib
        self._asn = asn
        self._sessions = {address: _Session(teller) for address, teller in tellers.items()}
        self._on_change = on_change
        self._updates = UpdateReader()
        self._behind = 0  # octets
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        names = ("sessions_up", "sessions_down", "updates", "octets", "wire_errors", "not_listened_to")
        self.counters: Counter[str] = Counter(dict.fromkeys(names, 0))

    @property
    def up(self) -> frozenset[str]:
        """Border routers that are listened to."""
        return frozenset(session.teller.name for session in self._sessions.values() if session.peer)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it should be."""
        return tuple(f"{each.teller.name}: {each.problem}" for each in self._sessions.values() if each.problem)

    async def room(self) -> None:
        """Wait until there is room for more."""
        await self._room.wait()

    def take(self, event: Event) -> None:
        """Take what happened in a session; those that are not of a border's are passed over."""
        session = self._sessions.get(event.address)
        if session is None:
            return
        match event:
            case RawOpen(_, body):
                session.said = self._open(session, body)
            case PeerUp():
                self._begin(event.address, session)
            case PeerDown():
                self._end(session, event.reason)
            case RawUpdate(_, body) if session.peer is not None:
                session.unread.append(body)
                self._behind += len(body)
                self._work.set()
                if self._behind > _MOST_BEHIND:
                    self._room.clear()
            case RawUpdate():
                self.counters["not_listened_to"] += 1

    async def run(self) -> None:
        """Read what comes, until cancelled."""
        async with asyncio.TaskGroup() as work:
            work.create_task(keep_time(self.rib, self._on_change), name="ibgp clock")
            while True:
                await self._work.wait()
                self._work.clear()
                while self._behind:
                    self._read(time.monotonic() + _SLICE_S)
                    await asyncio.sleep(0)

    def _open(self, session: _Session, body: bytes) -> Open | None:
        try:
            return decode_open(body)
        except WireError as error:
            self.counters["wire_errors"] += 1
            _log.warning("ibgp.malformed", border=session.teller.name, error=str(error))
            return None

    def _begin(self, address: str, session: _Session) -> None:
        said, name = session.said, session.teller.name
        several = said is not None and said.can(Family.IPV4, AddPath.SEND)
        self.counters["sessions_up"] += 1
        if said is None or not (several or session.teller.single):
            session.problem = "does not send several routes for a prefix (RFC 7911): its routes are not listened to"
            _log.warning("ibgp.no_add_path", border=name)
            return
        session.problem = ""
        session.add_path = frozenset([Family.IPV4] if several else [])
        session.peer = Peer(PeerKind.GLOBAL, 0, address, self._asn, said.bgp_id)
        _log.info("ibgp.up", border=name, add_path=several)
        self.rib.session_up(name, time.monotonic())

    def _end(self, session: _Session, why: str) -> None:
        self.counters["sessions_down"] += 1
        self._read_no_more(session)
        listened, session.peer, session.said, session.problem = session.peer, None, None, ""
        if listened is not None:
            self.rib.session_down(session.teller.name, time.monotonic())
            _log.warning("ibgp.down", border=session.teller.name, why=why)
            self._on_change()

    def _read_no_more(self, session: _Session) -> None:
        self._behind -= sum(map(len, session.unread))
        session.unread.clear()
        self._room.set()

    def _read(self, until: float) -> None:
        """Read what waits, an UPDATE of each border in turn, until then (time.monotonic)."""
        while self._behind and time.monotonic() < until:
            for session in self._sessions.values():
                if session.unread:
                    body = session.unread.popleft()
                    self._behind -= len(body)
                    self._update(session, body)
        if self._behind <= _MOST_BEHIND // 2:
            self._room.set()

    def _update(self, session: _Session, body: bytes) -> None:
        peer, said = session.peer, session.said
        if peer is None or said is None:
            raise AssertionError("an UPDATE of a session that is not listened to waited to be read")
        self.counters["updates"] += 1
        self.counters["octets"] += len(body)
        as_octets = 4 if said.four_octet_as else 2  # exabgp always can (RFC 6793 §4.1)
        try:
            update = self._updates.read(body, as_octets=as_octets, add_path=session.add_path)
        except WireError as error:
            self.counters["wire_errors"] += 1
            session.problem = f"messages could not be read, at last: {error}: its routes may be out of date"
            _log.warning("ibgp.malformed", border=session.teller.name, error=str(error))
            return
        self.rib.update(session.teller.name, peer, None, update, time.monotonic())
        if update.ends:
            self._on_change()
