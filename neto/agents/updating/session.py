"""One SSH login on one router: blocking, over netmiko, used by one thread at a time.

netmiko connects, checks the pinned host key, finds the prompt and turns paging off. Lines are then sent some way ahead
of their answers and matched with them by echo and prompt, because a wait for each line costs more than the line.
Everything ends by itself: each wait has its own limit, and `cut` ends any of them from another thread.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko
from netmiko import BaseConnection, ConnectHandler
from netmiko.exceptions import NetmikoBaseException

from neto.errors import DeviceError, DeviceTimeoutError
from neto.model.inventory import Router
from neto.wire.dialects.base import Dialect

# Every failure reaches us as an exception; paramiko's threads would print it with a traceback as well.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

POLL_S = 0.005
LOGIN_PHASES = 4  # TCP, key exchange, authentication, prompt: each may take `connect_timeout_s`


@dataclass(frozen=True, slots=True)
class SshSettings:
    """How to log in to routers. Host keys are pinned: a router that `known_hosts` does not list is refused."""

    username: str
    key_file: Path
    known_hosts: Path
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 15.0  # for the answer to one window of lines
    workers: int = 16  # routers talked to at once


class Answers:
    """Cuts what a router prints into one answer a line. Sans-IO.

    A line's answer is what stands between its echo and the next prompt.
    """

    def __init__(self, lines: Sequence[str], prompt: re.Pattern[str]) -> None:
        self._expected = list(reversed(lines))
        self._prompt = prompt
        self._scanned = 0  # nothing before here can be the start of a prompt
        self.pending = ""  # printed since the last prompt
        self.complete: list[tuple[str, str]] = []  # (line, answer)

    @property
    def done(self) -> bool:
        """Tell whether every line has its answer."""
        return not self._expected

    def feed(self, printed: str) -> None:
        """Take some of what the router printed.

        Raises ValueError when an echo is not the line that was sent: sent and printed are out of step.
        """
        self.pending += printed
        while self._expected and (found := self._prompt.search(self.pending, self._scanned)):
            line = self._expected.pop()
            echo, _, answer = self.pending[: found.start()].partition("\n")
            if echo.strip() != line.strip():
                raise ValueError(f"sent {line!r}, and the router read {echo.strip()!r:.120}")
            self.complete.append((line, answer))
            self.pending = self.pending[found.end() :]
            self._scanned = 0
        self._scanned = self.pending.rfind("\n") + 1


class Session:
    """A login that is opened when it is needed and kept until it breaks."""

    def __init__(self, router: Router, dialect: Dialect, ssh: SshSettings) -> None:
        self._router = router
        self._dialect = dialect
        self._ssh = ssh
        self._prompt = dialect.prompt(router.name)
        self._connection: BaseConnection | None = None
        self._socket: socket.socket | None = None
        self._given_up = threading.Event()
        self.logins = 0

    def ready(self) -> None:
        """Have a login at its prompt: the one that is open if it still answers, else a new one.

        Raises DeviceError when the router cannot be reached, is not the one that was pinned, or refuses us.
        """
        self._given_up.clear()
        if self._connection is not None:
            try:
                self.exchange([""], self._ssh.connect_timeout_s)
            except DeviceError:
                self.close()
            else:
                return
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def exchange(self, lines: Sequence[str], timeout_s: float | None = None) -> dict[str, str]:
        """Send lines and return what each printed; of a line sent twice, the last answer.

        Raises DeviceTimeoutError when no prompt comes or the login breaks, and DeviceError when the router complains
        (the first complaint, after all have been answered) or a line is not on the dialect's list.
        """
        for line in lines:
            if line and not self._dialect.allowed(line):
                raise self._error(f"not sent, no such line is allowed: {line!r}")
        answers: dict[str, str] = {}
        for window in _windows(lines, self._dialect.window):
            for line, answer in self._window(window, timeout_s or self._ssh.read_timeout_s):
                if complaint := self._dialect.error_pattern.search(answer):
                    raise self._error(f"{complaint[0].strip()} (after {line!r})")
                answers[line] = answer
        return answers

    def cut(self) -> None:
        """Give up whatever is going on. May be called from any thread."""
        self._given_up.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # already closed
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave without a word: what is staged goes with the login."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.remote_conn is not None:
            connection.remote_conn.close()  # else netmiko waits for a prompt before it leaves
            connection.disconnect()
        channel, self._socket = self._socket, None
        if channel is not None:
            channel.close()

    def _open(self) -> None:
        ssh, router = self._ssh, self._router
        watchdog = threading.Timer(LOGIN_PHASES * ssh.connect_timeout_s, self.cut)  # paramiko waits for ever in places
        watchdog.daemon = True
        watchdog.start()
        try:
            self._socket = socket.create_connection((router.ssh_address, router.ssh_port), ssh.connect_timeout_s)
            self._connection = ConnectHandler(
                device_type=self._dialect.device_type,
                host=router.ssh_address,
                port=router.ssh_port,
                sock=self._socket,
                username=ssh.username,
                pkey=paramiko.PKey.from_path(ssh.key_file),
                use_keys=False,  # no other key than this one
                allow_agent=False,
                ssh_strict=True,
                alt_host_keys=True,
                alt_key_file=str(ssh.known_hosts),
                conn_timeout=ssh.connect_timeout_s,
                banner_timeout=ssh.connect_timeout_s,
                auth_timeout=ssh.connect_timeout_s,
                blocking_timeout=ssh.read_timeout_s,
                read_timeout_override=ssh.connect_timeout_s,
                fast_cli=True,
            )
            found = self._connection.find_prompt()
        except (NetmikoBaseException, paramiko.SSHException, OSError, EOFError, ValueError) as error:
            raise self._error(f"no login: {_reason(error)}") from error
        finally:
            watchdog.cancel()
        self.logins += 1
        if not self._prompt.match(f"{found} "):
            raise self._error(f"no login: the router there says {found!r}, which is not the prompt of {router.name}")

    def _window(self, lines: Sequence[str], timeout_s: float) -> list[tuple[str, str]]:
        connection = self._connection
        if connection is None:
            raise self._error("not logged in")
        answers = Answers(lines, self._prompt)
        ends = time.monotonic() + timeout_s
        try:
            connection.write_channel("".join(f"{line}\n" for line in lines))
            while not answers.done:
                printed = connection.read_channel()
                answers.feed(printed)
                if not printed:
                    self._wait(connection, ends, answers.pending)
        except (NetmikoBaseException, paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(f"the login broke: {_reason(error)}") from error
        except ValueError as error:
            raise self._lost(str(error)) from error
        return answers.complete

    def _wait(self, connection: BaseConnection, ends: float, pending: str) -> None:
        """Wait a little for more.

        Raises DeviceTimeoutError when none can come any more.
        """
        channel = connection.remote_conn
        if self._given_up.is_set():
            raise self._lost("given up")
        if time.monotonic() > ends:
            raise self._lost(f"no prompt came in time; it last printed {pending[-120:]!r}")
        if not isinstance(channel, paramiko.Channel) or (
            (channel.closed or channel.eof_received) and not channel.recv_ready()
        ):
            raise self._lost("the router closed the login")
        time.sleep(POLL_S)

    def _error(self, message: str) -> DeviceError:
        return DeviceError(self._router.name, message)

    def _lost(self, message: str) -> DeviceTimeoutError:
        return DeviceTimeoutError(self._router.name, message)


def _windows(lines: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(lines), size):
        yield lines[start : start + size]


def _reason(error: BaseException) -> str:
    """Put a library's exception on one line; netmiko's own texts hide the cause in advice."""
    cause = error.__context__ if isinstance(error.__context__, paramiko.SSHException | OSError) else error
    return " ".join(str(cause).split())[:300] or type(cause).__name__
