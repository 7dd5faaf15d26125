"""The BGP side of the emulated WAN: routers that take the daemon's routes, and speakers that tell the topology.

Both only listen, on any address of 127.0.0.0/8 without root; the daemon connects. Test equipment: what a router may
do wrong can be asked of them (`drop`, `refusing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network
from typing import cast

from neto.lab.bgp_message import IPV4_UNICAST, LINK_STATE, MAX_SIZE, Graceful, Open
from neto.lab.bgp_routes import AdjRibIn
from neto.lab.bgp_session import Closed, Established, Event, Session, State
from neto.lab.bgp_update import encode_ls_reach, encode_ls_unreach
from neto.lab.state import LabRoute, RouterState

ADMINISTRATIVE_SHUTDOWN, ADMINISTRATIVE_RESET, COLLISION = 2, 4, 7  # Cease subcodes (RFC 4486 §3)
GOODBYE_S = 1.0  # how long a peer may take to read our last words


class Connection(asyncio.Protocol):
    """A TCP connection and the session on it."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.session = Session(listener.local, self._loop.time())
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say OPEN, or hang up at once when the router refuses."""
        self._transport = cast(asyncio.Transport, transport)  # create_server hands out no other kind
        if self._listener.refusing:
            self._transport.abort()
            return
        self._listener.connections.add(self)
        self._listener.accepted(self)
        self._after([])

    def data_received(self, data: bytes) -> None:
        """Feed the session."""
        self._after(self.session.receive(data, self._loop.time()))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  how it broke makes no difference
        """Tell the session, whichever side closed."""
        self._after(self.session.lost())
        self._listener.connections.discard(self)
        self.gone.set()

    def send(self, data: bytes) -> None:
        """Send messages."""
        self.session.send(data, self._loop.time())
        self._after([])

    def close(self, subcode: int) -> None:
        """End the session with a Cease."""
        self._after(self.session.stop(subcode))

    def abort(self) -> None:
        """Drop the TCP connection without a word."""
        if self._transport:
            self._transport.abort()
        self._after(self.session.lost())

    def _tick(self) -> None:
        self._after(self.session.tick(self._loop.time()))

    def _after(self, events: list[Event]) -> None:
        for event in events:
            self._listener.handle(self, event)
        if self._transport and not self._transport.is_closing():
            self._transport.write(self.session.data_to_send())
            if self.session.state is State.CLOSED:
                self._transport.close()
        if self._timer:
            self._timer.cancel()
        due = self.session.next_tick()
        self._timer = None if due is None else self._loop.call_at(due, self._tick)


class Listener:
    """A BGP speaker that listens at one address."""

    def __init__(self, local: Open, address: str, port: int) -> None:
        self.local = local
        self.address = address
        self.port = port
        self.refusing = False  # True: whoever connects is hung up on
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken; port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every session with a Cease."""
        if self._server:
            self._server.close()
            self._server = None
        leaving = tuple(self.connections)
        for connection in leaving:
            connection.close(ADMINISTRATIVE_SHUTDOWN)
        try:
            async with asyncio.timeout(GOODBYE_S):
                for connection in leaving:
                    await connection.gone.wait()
        except TimeoutError:  # a peer that reads no more
            for connection in leaving:
                connection.abort()

    @property
    def established(self) -> bool:
        """Whether anybody's session is up."""
        return any(self._up())

    def drop(self, *, notify: bool = False) -> None:
        """End every session: without a word as a crash does, or with a Cease/Administrative Reset."""
        for connection in tuple(self.connections):
            if notify:
                connection.close(ADMINISTRATIVE_RESET)
            else:
                connection.abort()

    def accepted(self, connection: Connection) -> None:
        """Somebody connected."""

    def handle(self, connection: Connection, event: Event) -> None:
        """Something happened on a session."""

    def _up(self) -> Iterator[Connection]:
        return (each for each in tuple(self.connections) if each.session.state is State.ESTABLISHED)


class RouterBgp(Listener):
    """An emulated router's iBGP session with the daemon. `state.routes` follows it and nothing else does."""

    def __init__(
        self,
        state: RouterState,
        address: str,
        port: int,
        asn: int,
        *,
        hold_time_s: int = 90,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """on_change: called after every route that came, changed or went."""
        local = Open(
            asn,
            hold_time_s,
            state.loopback,
            frozenset({IPV4_UNICAST}),
            extended=True,
            graceful=Graceful(0),  # a helper: keeps a restarting peer's routes, preserves none of its own
        )
        super().__init__(local, address, port)
        self.state = state
        self.routes = AdjRibIn(self._announce, self._withdraw)
        self._on_change = on_change
        self._expiry: asyncio.TimerHandle | None = None

    async def stop(self) -> None:
        """Stop listening, end the session and forget its routes."""
        await super().stop()
        if self._expiry:
            self._expiry.cancel()
        self.routes.tick(float("inf"))

    def accepted(self, connection: Connection) -> None:
        """Let a restarted daemon take over from its own dead session (RFC 4724 §4.2); else the old one stays."""
        for other in tuple(self._up()):
            if other.session.peer and other.session.peer.graceful:
                other.abort()
            else:
                connection.close(COLLISION)

    def handle(self, connection: Connection, event: Event) -> None:  # noqa: ARG002  whichever session: one peer
        """Keep the routes in step with the session."""
        if isinstance(event, Closed) and event.peer is None:
            return  # it never was up: the routes are not its own
        loop = asyncio.get_running_loop()
        self.routes.handle(event, loop.time())
        if self._expiry:
            self._expiry.cancel()
        due = self.routes.forget_at
        self._expiry = None if due is None else loop.call_at(due, lambda: self.routes.tick(loop.time()))

    def _announce(self, route: LabRoute) -> None:
        self.state.routes[route.prefix] = route
        self._changed()

    def _withdraw(self, prefix: IPv4Network) -> None:
        self.state.routes.pop(prefix, None)
        self._changed()

    def _changed(self) -> None:
        if self._on_change:
            self._on_change()


class LsSpeaker(Listener):
    """Tells BGP-LS to whoever connects: the whole table and End-of-RIB first, differences from then on."""

    def __init__(
        self, address: str, port: int, asn: int, *, router_id: str = "", hold_time_s: int = 90, end_of_rib: bool = True
    ) -> None:
        """router_id: its address, unless given. end_of_rib False: a speaker that never says that it is done."""
        families = frozenset({LINK_STATE})
        super().__init__(Open(asn, hold_time_s, router_id or address, families, extended=True), address, port)
        self._end_of_rib = end_of_rib
        self._said: dict[bytes, bytes] = {}

    def set(self, objects: Mapping[bytes, bytes]) -> None:
        """Say that this, NLRI -> attribute value, is all there is now."""
        gone = [nlri for nlri in self._said if nlri not in objects]
        news = {nlri: attribute for nlri, attribute in objects.items() if self._said.get(nlri) != attribute}
        self._said = dict(objects)
        data = b"".join(self._withdrawals(gone)) + self._announcements(news)
        for connection in self._up():
            connection.send(data)

    def send(self, data: bytes) -> None:
        """Send whole messages of the caller's making, right or wrong, to everybody."""
        for connection in self._up():
            connection.send(data)

    def handle(self, connection: Connection, event: Event) -> None:
        """Tell a newcomer everything."""
        if isinstance(event, Established):
            connection.send(self._announcements(self._said) + (encode_ls_unreach(()) if self._end_of_rib else b""))

    def _announcements(self, objects: Mapping[bytes, bytes]) -> bytes:
        return b"".join(encode_ls_reach(self.address, nlri, attribute) for nlri, attribute in objects.items())

    @staticmethod
    def _withdrawals(nlris: list[bytes]) -> Iterator[bytes]:
        """Fill UPDATEs up to the size that every session takes."""
        batch: list[bytes] = []
        for nlri in nlris:
            if batch and sum(map(len, batch)) + len(nlri) > MAX_SIZE - 100:
                yield encode_ls_unreach(batch)
                batch = []
            batch.append(nlri)
        if batch:
            yield encode_ls_unreach(batch)
