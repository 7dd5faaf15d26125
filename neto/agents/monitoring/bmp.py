"""The BMP agent: border routers connect and tell what their peers announce (RFC 7854).

Only routers that are listed may connect; of two sessions of one router the newer counts. A session is read a piece at
a time, and no further piece before that one is dealt with: TCP slows a router down that tells faster than we read.

Routers should tell their Adj-RIB-In after policy. FRR leaves out the local preference that its import policy gives to
routes of eBGP peers (it writes them as it would send them on): there the best path is told without it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from ipaddress import IPv6Address, ip_address

import structlog

from neto.agents.monitoring.rib import Rib
from neto.agents.monitoring.rib_clock import keep_time
from neto.errors import WireError
from neto.wire.bgp import UpdateReader
from neto.wire.bmp import (
    BmpSession,
    BmpStream,
    Initiation,
    Message,
    PeerDown,
    PeerUp,
    RouteMonitoring,
    Termination,
)

_PIECE = 1 << 16  # octets read at once
_SLICE_S = 0.004  # of reading, then everybody else has a turn
_FEW = 16  # messages between two looks at how long it has taken
_MOST_MALFORMED = 100  # messages of a session, then it ends: the router tells everything anew
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # BMP has none of its own
_QUIET_S = 60.0  # between two lines of the log about one stranger
_MOST_QUIETED = 1024
_NOBODY = ("::", 0)  # one that was gone before we looked

_Arrival = tuple[str, asyncio.StreamReader, asyncio.StreamWriter]

_log = structlog.get_logger("bmp")


class BmpAgent:
    """Listens for border routers and keeps what they tell in a `Rib`.

    listen: address and port. routers: name of each border router by the address it connects from. on_change: called
    when a session or a peer comes or goes, and when a border has told everything. first_s: within which a router must
    have begun to speak, and a message that has begun must end.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        routers: Mapping[str, str],
        rib: Rib,
        on_change: Callable[[], None],
        *,
        first_s: float = 30.0,
    ) -> None:
        self.bound: tuple[str, int] | None = None  # where it listens, while it does
        self.rib = rib
        self._listen = listen
        self._routers = {_plain(address): name for address, name in routers.items()}
        self._on_change = on_change
        self._first_s = first_s
        self._updates = UpdateReader()
        self._sessions: dict[str, asyncio.Task[None]] = {}
        self._quieted: dict[str, float] = {}
        names = ("sessions_up", "sessions_down", "strangers", "messages", "octets", "wire_errors", "deadlines")
        self._counters: Counter[str] = Counter(dict.fromkeys((*names, "peers_up", "peers_down", "passed_over"), 0))

    @property
    def up(self) -> frozenset[str]:
        """Border routers that are connected."""
        return frozenset(self._sessions)

    @property
    def counters(self) -> dict[str, int]:
        """All that came in and what became of it, by name."""
        return {**self._counters, **{f"rib_{name}": count for name, count in self.rib.counters.items()}}

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError when the address cannot be bound."""
        arrived: asyncio.Queue[_Arrival] = asyncio.Queue(maxsize=64)
        server = await asyncio.start_server(
            lambda reader, writer: self._arrive(arrived, reader, writer), *self._listen, limit=_PIECE
        )
        address, port = server.sockets[0].getsockname()[:2]
        self.bound = (address, port)
        _log.info("bmp.listening", address=address, port=port)
        try:
            async with server, asyncio.TaskGroup() as work:
                work.create_task(keep_time(self.rib, self._on_change), name="bmp clock")
                while True:
                    self._admit(work, *await arrived.get())
        finally:
            self.bound = None

    def _arrive(
        self, arrived: asyncio.Queue[_Arrival], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Turn strangers away, before anything is read."""
        peer = _plain((writer.get_extra_info("peername") or _NOBODY)[0])
        border = self._routers.get(peer)
        if border is None or arrived.full():
            self._counters["strangers"] += 1
            self._say("bmp.stranger", peer)
            writer.transport.abort()
        else:
            arrived.put_nowait((border, reader, writer))

    def _admit(
        self, work: asyncio.TaskGroup, border: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Begin a session, and end an older one of the same router."""
        before = self._sessions.pop(border, None)
        if before is not None:
            before.cancel()
        self._sessions[border] = work.create_task(self._serve(border, reader, writer, before), name=f"bmp {border}")

    async def _serve(
        self,
        border: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        before: asyncio.Task[None] | None,
    ) -> None:
        """Read a session to its end, whatever ends it."""
        with closing(writer):
            if before is not None:
                await asyncio.wait([before])
            _keep_alive(writer)
            self._counters["sessions_up"] += 1
            _log.info("bmp.up", border=border)
            self.rib.session_up(border, time.monotonic())
            why = "we ended it"
            try:
                why = await self._read(border, reader)
            except TimeoutError as error:
                self._counters["deadlines"] += 1
                why = str(error) or f"nothing came within {self._first_s:.0f} s"
            except (OSError, WireError) as error:
                self._counters["wire_errors"] += isinstance(error, WireError)
                why = str(error)
            finally:
                if self._sessions.get(border) is asyncio.current_task():
                    del self._sessions[border]
                self._counters["sessions_down"] += 1
                self.rib.session_down(border, time.monotonic())
                _log.warning("bmp.down", border=border, why=why)
                self._on_change()

    async def _read(self, border: str, reader: asyncio.StreamReader) -> str:
        """Read until the session ends; return why it did. Raises WireError, OSError and TimeoutError."""
        stream, session = BmpStream(), BmpSession(self._updates)
        malformed, began = 0, False
        while True:
            due = None if began and not stream.waits else self._first_s
            async with asyncio.timeout(due):
                octets = await reader.read(_PIECE)
            if not octets:
                return "the router closed it"
            began = True
            self._counters["octets"] += len(octets)
            turn_s = time.monotonic()
            for number, (kind, body) in enumerate(stream.feed(octets)):
                if number % _FEW == 0 and time.monotonic() - turn_s > _SLICE_S:
                    await asyncio.sleep(0)
                    turn_s = time.monotonic()
                self._counters["messages"] += 1
                try:
                    message = session.read(kind, body)
                except WireError as error:
                    self._counters["wire_errors"] += 1
                    malformed += 1
                    _log.warning("bmp.malformed", border=border, kind=kind, error=str(error))
                    if malformed >= _MOST_MALFORMED:
                        raise WireError(f"{malformed} malformed messages, at last: {error}") from error
                    continue
                if isinstance(message, Termination):
                    return f"the router ended it: {message.reason} {' '.join(message.text)}"
                self._take(border, message)
            await asyncio.sleep(0)  # what was there already does not let anybody else in

    def _take(self, border: str, message: Message) -> None:
        match message:
            case RouteMonitoring(peer, view, update):
                self.rib.update(border, peer, view, update, time.monotonic())
                if update.ends:
                    self._on_change()
            case PeerUp():
                self._counters["peers_up"] += 1
                self.rib.peer_up(border, message.peer, message.sent)
            case PeerDown():
                self._counters["peers_down"] += 1
                self.rib.peer_down(border, message.peer)
                _log.info("bmp.peer_down", border=border, peer=message.peer.address, reason=message.reason)
                self._on_change()
            case Initiation():
                _log.info("bmp.begins", border=border, name=message.name, description=message.description)
            case _:
                self._counters["passed_over"] += 1

    def _say(self, event: str, peer: str) -> None:
        """Log one line about a stranger, and no more for a while."""
        now = time.monotonic()
        if now - self._quieted.get(peer, -_QUIET_S) >= _QUIET_S:
            if len(self._quieted) >= _MOST_QUIETED:
                self._quieted.clear()
            self._quieted[peer] = now
            _log.warning(event, peer=peer)


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have the kernel find out that a router is gone."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not everywhere
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _plain(address: str) -> str:
    """Write an address one way only: IPv4 in IPv6 as IPv4, no scope."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)
