"""exabgp as a supervised child: started, restarted, ended with the daemon.

    daemon --socket-- relay (exabgp's helper) --pipes-- exabgp --BGP-- routers

Whatever becomes of the daemon, the routers are back on legacy forwarding: exabgp carries a death signal of its
parent, and the relay ends it when the socket closes. With graceful restart both kill it, so that no NOTIFICATION is
sent and routers keep the routes for a daemon that takes over in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from neto.agents import leash, relay
from neto.agents.exabgp_link import EXABGP, MAX_LINE, Link
from neto.errors import DeviceError
from neto.wire.exabgp import (
    Event,
    ExaBgpConfig,
    PeerDown,
    PeerUp,
    RawUpdate,
    environment,
    nothing,
    render,
    shutdown,
    teardown,
)

START_S = 30.0  # for exabgp to have started its helper
HEARTBEAT_S = 5.0
PATIENCE_S = 3.0  # for a child to end that was asked to
GOODBYE_S = 1.0  # for routers to be told that a session ends
BACKOFF_S = (0.2, 10.0)  # first and longest wait before a restart
STEADY_S = 30.0  # a child that lived so long starts anew at the first wait
FLUSH_ROUNDS = 3  # times round exabgp's loop, in each of which it sends what is queued

_log = structlog.get_logger()


def _unchecked() -> None:
    """Nothing to check: the command changes nothing on routers."""


def _parent_of_peer(connection: socket.socket) -> int | None:
    """Return the parent of the process at the other end; None when that process is gone (proc_pid_stat(5))."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, _user, _group = struct.unpack("3i", credentials)
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])
    except OSError:
        return None


class ExaBgp:
    """The daemon's BGP sessions.

    Inert until `run`, which belongs in the main thread: a child's death signal comes when the thread that started it
    ends, not the process.
    """

    def __init__(
        self,
        config: ExaBgpConfig,
        directory: Path,
        on_event: Callable[[Event], None],
        *,
        room: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Build it.

        directory: for its configuration and socket; made when it is not there, its content is ours.
        on_event: called in the loop for every session up or down and every OPEN and UPDATE received.
        room: awaited before more is heard of exabgp, by whoever is behind with what was.
        """
        self.config = config
        self.directory = directory.absolute()
        self.ready = asyncio.Event()  # exabgp runs and takes commands
        self.up: set[str] = set()  # addresses of neighbors whose session is established
        self.counters: Counter[str] = Counter()
        self._on_event = on_event
        self._room = room
        self._link: Link | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()  # run() is not running
        self._idle.set()
        self._all_down = asyncio.Event()

    async def run(self) -> None:
        """Keep exabgp running until `stop`, or until cancelled: then sessions drop as in a crash."""
        self._idle.clear()
        try:
            self._write_files()
            with self._listener() as listener:
                await self._keep_alive(listener)
        finally:
            self._idle.set()

    async def command(self, lines: Sequence[str], check: Callable[[], None]) -> None:
        """Send commands, calling check before each; see Link.command. Raises DeviceError when exabgp is not running."""
        if self._link is None:
            raise DeviceError(EXABGP, "is not running")
        await self._link.command(lines, check)

    async def stop(self, *, notify: bool) -> None:
        """End exabgp and return when it is gone.

        notify: send what is still queued and end every session with a Cease. With graceful restart exabgp leaves
        the Cease out, so withdraw the routes first. Without notify sessions drop as in a crash, and routers that
        agreed to graceful restart keep the routes.
        """
        self._stopping.set()
        if notify and self._link:
            with contextlib.suppress(DeviceError):
                await self._say_goodbye(self._link)
        else:
            self._kill()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._idle.wait()
        except TimeoutError:
            self._kill()
            await self._idle.wait()

    async def _keep_alive(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        wait_s, longest_s = BACKOFF_S
        while not self._stopping.is_set():
            born = loop.time()
            status = await self._live(listener)
            if self._stopping.is_set():
                return
            if loop.time() - born > STEADY_S:
                wait_s = BACKOFF_S[0]
            self.counters["restarts"] += 1
            _log.warning("exabgp.ended", status=status, restart_in_s=wait_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stopping.wait()
            wait_s = min(2 * wait_s, longest_s)

    async def _live(self, listener: socket.socket) -> int:
        """One exabgp from start to end."""
        self._child = child = await self._start()
        try:
            async with asyncio.TaskGroup() as life:
                said = life.create_task(self._pass_on_log(child), name="exabgp-log")
                talk = life.create_task(self._talk(child, listener), name="exabgp-link")
                status = await child.wait()
                talk.cancel()
                await asyncio.wait({said}, timeout=PATIENCE_S)  # the helper has the other end too
                said.cancel()
                return status
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
            self._child = None
            self._forget()

    async def _start(self) -> asyncio.subprocess.Process:
        death = signal.SIGKILL if self.config.graceful_restart_s else signal.SIGTERM
        python = [sys.executable, "-I"]
        held = [*python, leash.__file__, str(os.getpid()), str(int(death))]
        return await asyncio.create_subprocess_exec(
            *held,
            *python,
            *("-m", "exabgp", "server", str(self.directory / "exabgp.conf")),
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
                "EXABGP_ENVFILE": str(self.directory / "exabgp.env"),  # ours, not the site's
                **environment(pwd.getpwuid(os.geteuid()).pw_name),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal is the daemon's to answer
        )

    async def _talk(self, child: asyncio.subprocess.Process, listener: socket.socket) -> None:
        """Speak with the child's helper until either is gone; the child then has to go too."""
        try:
            async with asyncio.timeout(START_S):
                connection = await self._accept(listener, child.pid)
            reader, writer = await asyncio.open_unix_connection(sock=connection, limit=MAX_LINE)
            self._link = link = Link(reader, writer, self._note, self.counters, self._room)
            self.ready.set()
            _log.info("exabgp.ready", pid=child.pid, neighbors=len(self.config.neighbors))
            async with asyncio.TaskGroup() as both:
                beat = both.create_task(self._beat(link), name="exabgp-heartbeat")
                await link.serve()
                beat.cancel()
            if self._stopping.is_set():
                await asyncio.sleep(PATIENCE_S)  # it was asked to end; cancelled when it has
        except TimeoutError:
            _log.error("exabgp.no_helper", waited_s=START_S)
        finally:
            self._link = None
            self.ready.clear()
            if child.returncode is None:
                child.kill()

    async def _beat(self, link: Link) -> None:
        """Make sure that exabgp still turns. One that does not is hung up on."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                await link.command([nothing()], _unchecked)
            except DeviceError as error:
                _log.warning("exabgp.silent", error=str(error))
                return

    async def _say_goodbye(self, link: Link) -> None:
        for _ in range(FLUSH_ROUNDS):
            await link.command([nothing()], _unchecked)
        if self.up:
            self._all_down.clear()
            await link.command([teardown(address) for address in sorted(self.up)], _unchecked)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._all_down.wait()
        link.say(shutdown())

    def _note(self, event: Event) -> None:
        """Pass an event on, unless it is the end of a session that never was."""
        match event:
            case PeerUp(address):
                self.up.add(address)
                self.counters["sessions_up"] += 1
            case PeerDown(address) if address not in self.up:
                self.counters["attempts_failed"] += 1
                return
            case PeerDown(address):
                self.up.discard(address)
                self.counters["sessions_down"] += 1
                if not self.up:
                    self._all_down.set()
            case RawUpdate():
                self.counters["updates"] += 1
        self._on_event(event)

    def _forget(self) -> None:
        for address in sorted(self.up):
            self._note(PeerDown(address, "exabgp ended"))

    def _kill(self) -> None:
        if self._child and self._child.returncode is None:
            self._child.kill()

    async def _pass_on_log(self, child: asyncio.subprocess.Process) -> None:
        """Log what exabgp says; what it says of a stop that we asked for is no news."""
        if child.stdout:
            async for line in child.stdout:
                say = _log.debug if self._stopping.is_set() else _log.info
                say("exabgp.says", line=line.decode(errors="replace").strip())

    @staticmethod
    async def _accept(listener: socket.socket, parent: int) -> socket.socket:
        """Take the connection of this child's helper and nobody else's, least of all that of a child before."""
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            if _parent_of_peer(connection) == parent:
                return connection
            connection.close()

    def _write_files(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        farewell = "kill" if self.config.graceful_restart_s else "shutdown"
        helper = [sys.executable, "-I", relay.__file__, str(self.directory / "relay.sock"), farewell]
        for name, text in (("exabgp.conf", render(self.config, helper)), ("exabgp.env", "")):
            path = self.directory / name
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(text, encoding="ascii")

    def _listener(self) -> socket.socket:
        """Listen where the helper connects.

        Bound through the directory's descriptor: a socket's path has 107 octets at most, a directory's has more.
        """
        (self.directory / "relay.sock").unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        directory = os.open(self.directory, os.O_DIRECTORY | os.O_PATH)
        try:
            listener.bind(f"/proc/self/fd/{directory}/relay.sock")
        except OSError:
            listener.close()
            raise
        finally:
            os.close(directory)
        listener.listen(1)
        return listener
