"""exabgp's helper process: carries lines between exabgp and the daemon's socket, and ends exabgp with the daemon.

python -I relay.py SOCKET (shutdown|kill)

exabgp writes to its helper synchronously: a helper that does not read stops its keepalives. So this one always
reads, whatever the daemon does. When the daemon is gone (or so far behind that it might as well be) exabgp must go:
`shutdown` asks it to and then makes sure; `kill` drops its sessions without a word, so that routers which agreed to
graceful restart keep the routes for a daemon that takes over. Standard library only: exabgp starts it.
"""

from __future__ import annotations

import os
import select
import selectors
import signal
import socket
import sys
import time
from pathlib import Path

CHUNK = 1 << 18
MAX_BEHIND = 256 << 20  # octets the daemon may be behind before it counts as gone: some 2,000 of the largest UPDATEs
MAX_AHEAD = 1 << 20  # octets of commands taken from the daemon and not yet by exabgp
PATIENCE_S = 2.0  # how long exabgp may take to shut down

EXABGP_SAYS, EXABGP_HEARS = 0, 1


class GoneError(Exception):
    """The daemon is."""


class Relay:
    """Two directions, each with its own buffer; commands are passed on as whole lines only."""

    def __init__(self, daemon: socket.socket) -> None:
        self._daemon = daemon
        self._to_daemon = bytearray()
        self._to_exabgp = bytearray()
        self._partial = bytearray()  # a command whose end has not come yet
        self._mid_line = False  # exabgp has the beginning of _to_exabgp's first line already
        for fd in (EXABGP_SAYS, EXABGP_HEARS):
            os.set_blocking(fd, False)
        daemon.setblocking(False)

    def run(self) -> None:
        """Relay until one side is gone. Returns when exabgp is; raises GoneError when the daemon is."""
        while True:
            readable, writable = self._wait()
            if EXABGP_SAYS in readable and not self._from_exabgp():
                return
            if EXABGP_HEARS in writable:
                self._write_exabgp()
            try:
                if self._daemon.fileno() in readable:
                    self._from_daemon()
                if self._daemon.fileno() in writable:
                    del self._to_daemon[: self._daemon.send(self._to_daemon[:CHUNK])]
            except BlockingIOError:
                continue
            except OSError as error:
                raise GoneError from error

    def shut_down(self, exabgp: int) -> None:
        """Ask exabgp (its process descriptor) to end; return once it has, or has had its time."""
        end = self._to_exabgp.find(b"\n") + 1 if self._mid_line else 0
        self._to_exabgp[end:] = b"shutdown\n"
        until = time.monotonic() + PATIENCE_S
        interests = {EXABGP_SAYS, exabgp}
        while (left := until - time.monotonic()) > 0:
            if self._to_exabgp:
                self._write_exabgp()
            ready, _, _ = select.select(interests, (), (), min(left, 0.1))
            if exabgp in ready:
                return
            if EXABGP_SAYS in ready and not os.read(EXABGP_SAYS, CHUNK):
                interests.discard(EXABGP_SAYS)

    def _wait(self) -> tuple[set[int], set[int]]:
        interests = {EXABGP_SAYS: selectors.EVENT_READ, self._daemon.fileno(): 0}
        if self._to_exabgp:
            interests[EXABGP_HEARS] = selectors.EVENT_WRITE
        if len(self._to_exabgp) < MAX_AHEAD:
            interests[self._daemon.fileno()] |= selectors.EVENT_READ
        if self._to_daemon:
            interests[self._daemon.fileno()] |= selectors.EVENT_WRITE
        with selectors.PollSelector() as selector:
            for fd, interest in interests.items():
                if interest:
                    selector.register(fd, interest)
            events = selector.select()
        readable = {key.fd for key, ready in events if ready & selectors.EVENT_READ}
        return readable, {key.fd for key, ready in events if ready & selectors.EVENT_WRITE}

    def _from_exabgp(self) -> bool:
        said = os.read(EXABGP_SAYS, CHUNK)
        self._to_daemon += said
        if len(self._to_daemon) > MAX_BEHIND:
            raise GoneError
        return bool(said)

    def _from_daemon(self) -> None:
        said = self._daemon.recv(CHUNK)
        if not said:
            raise GoneError
        lines, newline, rest = said.rpartition(b"\n")
        if newline:
            self._to_exabgp += self._partial + lines + newline
            self._partial.clear()
        self._partial += rest

    def _write_exabgp(self) -> None:
        try:
            written = os.write(EXABGP_HEARS, self._to_exabgp[:CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:
            written = len(self._to_exabgp)  # it is gone; its other end says so next
        self._mid_line = written > 0 and self._to_exabgp[written - 1] != ord("\n")
        del self._to_exabgp[:written]


def main() -> None:
    """Relay; then see to it that exabgp, our parent, does not outlive the daemon."""
    path, farewell = Path(sys.argv[1]), sys.argv[2]
    parent = os.getppid()
    exabgp = os.pidfd_open(parent)
    if os.getppid() != parent:
        return  # it died before we looked: the descriptor is somebody else's
    relay = None
    try:
        os.chdir(path.parent)  # a socket's path has 107 octets at most, a directory's has more
        daemon = socket.socket(socket.AF_UNIX)
        daemon.connect(path.name)
        relay = Relay(daemon)
        relay.run()
    except (GoneError, OSError):
        if relay and farewell == "shutdown":
            relay.shut_down(exabgp)
        try:
            signal.pidfd_send_signal(exabgp, signal.SIGKILL)
        except ProcessLookupError:
            return


if __name__ == "__main__":
    main()
