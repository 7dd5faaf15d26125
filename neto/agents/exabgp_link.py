"""The conversation with one running exabgp: lines out, answers and events in."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from neto.errors import DeviceError, DeviceTimeoutError, WireError
from neto.wire.exabgp import Ack, Event, check_command, parse_line

EXABGP = "exabgp"  # the device that its errors name
SLICE_S = 0.005  # of lines heard one after another
WINDOW = 100  # commands under way at once
DEADLINE_S = 20.0  # for a window to be answered; an exabgp that takes longer sends no KEEPALIVE either
MAX_LINE = 1 << 20  # octets; the largest UPDATE is 131,070 hexadecimal digits

_log = structlog.get_logger()


class RefusedError(DeviceError):
    """exabgp said no to some commands; all others are done."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__(EXABGP, f"refused {len(lines)} commands, first {lines[0]!r}")


class Link:
    """One connection from the helper. Lives as long as exabgp and the helper do."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_event: Callable[[Event], None],
        counters: Counter[str],
        room: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Build it. room: awaited before each line is read; what is not read yet waits in the helper."""
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._counters = counters
        self._room = room
        self._answers: deque[asyncio.Future[bool]] = deque()
        self._turn = asyncio.Lock()

    async def serve(self) -> None:
        """Hear exabgp out. Returns once the connection is closed, from either side."""
        try:
            turn_s = time.monotonic()
            while line := await self._reader.readline():
                self._hear(line)
                if self._room is not None:
                    await self._room()
                if time.monotonic() - turn_s > SLICE_S:
                    await asyncio.sleep(0)  # what was there already does not let anybody else in
                    turn_s = time.monotonic()
        except (ConnectionError, ValueError) as error:  # ValueError: a line longer than MAX_LINE
            _log.warning("exabgp.link_broken", error=str(error))
        finally:
            self.close()
            for answer in self._answers:
                if not answer.done():
                    answer.set_exception(DeviceTimeoutError(EXABGP, "ended before it answered"))
                    answer.exception()  # whoever asked may have left
            self._answers.clear()

    def close(self) -> None:
        """Hang up, upon which the helper ends exabgp."""
        self._writer.close()

    async def command(self, lines: Sequence[str], check: Callable[[], None]) -> None:
        """Send commands, a window at a time, and return when all are parsed and queued.

        check: called before every line is sent; what it raises passes through, and no later line is sent.
        A window with an error in it is sent again line by line, since an error does not say whose it is: commands
        must bear repetition.
        Raises RefusedError naming the lines refused, the others being done; DeviceTimeoutError when it is not
        known what was done, and then exabgp is on its way out; ValueError for a line that is no command.
        """
        for line in lines:
            check_command(line)
        refused: list[str] = []
        async with self._turn:
            for start in range(0, len(lines), WINDOW):
                window = lines[start : start + WINDOW]
                if not all(await self._exchange(window, check)):
                    for line in window:
                        refused += [line] if not all(await self._exchange([line], check)) else []
        if refused:
            self._counters["commands_refused"] += len(refused)
            raise RefusedError(refused)

    def say(self, line: str) -> None:
        """Send a last command whose answer nobody waits for."""
        self._send(line)

    async def _exchange(self, lines: Sequence[str], check: Callable[[], None]) -> list[bool]:
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._all_of(self._answers)  # a caller who left early left its answers behind
                asked = [self._ask(line, check) for line in lines]
                await self._writer.drain()
                return await self._all_of(asked)
        except (TimeoutError, ConnectionError) as error:
            self.close()
            raise DeviceTimeoutError(EXABGP, f"did not answer within {DEADLINE_S:g} s") from error

    @staticmethod
    async def _all_of(answers: Iterable[asyncio.Future[bool]]) -> list[bool]:
        """Wait for answers; whoever stops waiting leaves them as they are, since exabgp will give them all the same."""
        answers = tuple(answers)
        if answers:
            await asyncio.wait(answers)
        return [answer.result() for answer in answers]

    def _ask(self, line: str, check: Callable[[], None]) -> asyncio.Future[bool]:
        check()
        if self._writer.is_closing():
            raise DeviceTimeoutError(EXABGP, "is gone")
        return self._send(line)

    def _send(self, line: str) -> asyncio.Future[bool]:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._writer.write(line.encode("ascii") + b"\n")
        self._counters["commands"] += 1
        return answer

    def _hear(self, line: bytes) -> None:
        try:
            heard = parse_line(line)
        except WireError as error:
            self._counters["lines_not_understood"] += 1
            _log.warning("exabgp.not_understood", error=str(error))
            return
        match heard:
            case None:
                return
            case Ack(ok):
                if not self._answers:
                    self._counters["answers_unasked"] += 1
                elif not (answer := self._answers.popleft()).done():
                    answer.set_result(ok)
            case _:
                self._on_event(heard)
