"""An emulated router's SSH server: public keys only, any number of sessions, a terminal that echoes."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import asyncssh

from neto.lab.cli import Commit, Session
from neto.lab.router import LabRouter, OtherRoutes, Validity
from neto.lab.state import RouterState

MAX_LINE = 1000  # characters; more are dropped, as a terminal driver does
CTRL_C, CTRL_D, CTRL_U, CTRL_Z = 0x03, 0x04, 0x15, 0x1A
ERASE = {0x08, 0x7F}
PRINTABLE = range(0x20, 0x7F)

Process = asyncssh.SSHServerProcess[bytes]


class GoneError(Exception):
    """The client left."""


class Terminal:
    """Line discipline of one login: characters are echoed when the router gets round to them, as on a real one."""

    def __init__(self, session: Session, process: Process) -> None:
        self._session = session
        self._process = process
        self._line = ""
        self._printed: list[str] = []  # not yet sent: a packet for each echoed character would cost too much
        self._after_return = False  # the line feed of a CR LF, or the NUL of a CR NUL, means nothing more

    async def run(self) -> None:
        """Serve until either side leaves."""
        self._write(self._session.prompt)
        while True:
            await self._flush()
            for character in await self._read():
                await self._character(character)
                if self._session.closed:
                    await self._flush()
                    return

    async def _read(self) -> bytes:
        while True:
            try:
                typed = await self._process.stdin.read(4096)
            except (asyncssh.BreakReceived, asyncssh.SignalReceived, asyncssh.TerminalSizeChanged):
                continue
            if not typed:
                raise GoneError
            return typed

    async def _character(self, character: int) -> None:
        after_return, self._after_return = self._after_return, character == ord("\r")
        if after_return and character in b"\n\0":
            return
        if character in b"\r\n":
            await self._enter()
        elif character in ERASE:
            self._write("\b \b" if self._line else "")
            self._line = self._line[:-1]
        elif character in {CTRL_C, CTRL_U}:
            self._forget()
        elif character == CTRL_Z and not self._line:
            self._line = "end"
            await self._enter()
        elif character == CTRL_D and not self._line:
            self._session.closed = True
        elif character == ord("?"):
            self._write(f"?\n{self._session.help(self._line)}\n{self._session.prompt}{self._line}")
        elif character in PRINTABLE and len(self._line) < MAX_LINE:
            self._line += chr(character)
            self._write(chr(character))

    async def _enter(self) -> None:
        line, self._line = self._line, ""
        self._write("\n")
        said = self._session.enter(line)
        if isinstance(said, Commit):
            await self._flush()
            await asyncio.sleep(said.wait_s)
            text = said.finish()
            if said.deaf:
                await self._process.wait_closed()
                raise GoneError
            said = text
        if not self._session.closed:
            self._write(f"{said}\n{self._session.prompt}" if said else self._session.prompt)

    def _forget(self) -> None:
        self._line = ""
        self._write(f"\n{self._session.prompt}")

    def _write(self, text: str) -> None:
        self._printed.append(text)

    async def _flush(self) -> None:
        text = "".join(self._printed).replace("\n", "\r\n")
        self._printed.clear()
        if text and not self._process.stdout.is_closing():
            self._process.stdout.write(text.encode())
            await self._process.stdout.drain()


class RouterServer:
    """A listening router. Sessions that are open go with it."""

    def __init__(self, router: LabRouter) -> None:
        self.router = router
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def listen(self, host: str, port: int, host_key: Path, authorized_client_keys: Path) -> None:
        """Start to accept logins: any user name, one of these keys."""
        self._acceptor = await asyncssh.listen(
            host,
            port,
            server_factory=partial(_Login, self._connections),
            server_host_keys=[str(host_key)],
            authorized_client_keys=str(authorized_client_keys),
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            process_factory=self._serve,
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            reuse_address=True,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._acceptor.get_port() if self._acceptor else 0

    @property
    def sessions(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    def hang_up(self) -> None:
        """Drop every connection, as a router does that reboots its management plane."""
        for connection in tuple(self._connections):
            connection.abort()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._acceptor:
            self._acceptor.close()
        self.hang_up()

    async def wait_closed(self) -> None:
        """Return once nothing of it is left."""
        connections = tuple(self._connections)
        if self._acceptor:
            await self._acceptor.wait_closed()
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    async def _serve(self, process: Process) -> None:
        session = Session(self.router)
        status = 0
        try:
            if process.command is None and process.subsystem is None:
                await Terminal(session, process).run()
            else:
                status = await self._one_line(session, process)
        except (GoneError, asyncssh.Error, OSError):
            status = 1  # the client left: what it had staged goes with its session
        process.exit(status)

    @staticmethod
    async def _one_line(session: Session, process: Process) -> int:
        """Answer `ssh nyc1 show version`."""
        said = session.enter(process.command or "")
        if isinstance(said, Commit):  # nothing can be staged in a single line
            return 1
        process.stdout.write(f"{said}\n".encode())
        await process.stdout.drain()
        return int(said.startswith("% "))


class _Login(asyncssh.SSHServer):
    """Keeps the list of connections."""

    def __init__(self, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the parent's signature
        if self._connection:
            self._connections.discard(self._connection)


async def serve_router(
    state: RouterState,
    host: str,
    port: int,
    host_key: Path,
    authorized_client_keys: Path,
    *,
    validity: Validity | None = None,
    other_routes: OtherRoutes | None = None,
    max_sids: int = 10,
) -> RouterServer:
    """Put an emulated router behind an SSH port; 0 takes a free one.

    validity: label stack -> whether this router can forward along it now; shown as Active and Inactive.
    other_routes: BGP routes to show beside the daemon's, which are `state.routes`.
    Raises OSError when it cannot listen there.
    """
    router = LabRouter(state, max_sids, validity or (lambda _labels: True), other_routes or tuple)
    server = RouterServer(router)
    await server.listen(host, port, host_key, authorized_client_keys)
    return server
