"""Where latency samples come in: HTTP POST, MQTT, and a CSV file that somebody else writes.

HTTP is for probes, not for people: POST /samples with a JSON or CSV body, one connection a handful of requests, and
everything bounded: connections, header, body, time. An answer tells how many samples were taken and why others were
not (at most ten reasons). Where a token is set, requests must bear it.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import aiomqtt
import h11
import msgspec
import structlog

from neto.agents.monitoring.latency import LatencyTable
from neto.agents.mqtt import Broker, sessions
from neto.errors import WireError
from neto.wire.samples import read_csv, read_json

LARGEST_BODY = 512 << 10  # some 3,000 samples, read without holding the loop up
_AT_ONCE = 250  # samples of a file
_LARGEST_HEADER = 16 << 10
_MOST_CONNECTIONS = 32
_DEADLINE_S = 10.0  # for a whole request
_SHOWN = 10  # reasons for refusals in an answer
_LARGEST_FILE = 32 << 20
_PIECE = 1 << 16

_log = structlog.get_logger("latency")


class Probes:
    """Takes samples from everywhere into one table. now: unix seconds."""

    def __init__(self, table: LatencyTable, *, now: Callable[[], float] = time.time) -> None:
        self.bound: tuple[str, int] | None = None  # where HTTP listens, while it does
        self.counters = table.counters
        self._table = table
        self._now = now
        self._connections = 0

    async def listen(self, address: tuple[str, int], token: str = "") -> None:
        """Serve HTTP until cancelled. Raises OSError when the address cannot be bound."""
        try:
            async with asyncio.TaskGroup() as work:

                def arrive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    work.create_task(self._serve(reader, writer, token), name="latency by HTTP, a connection")

                async with await asyncio.start_server(arrive, *address, limit=_PIECE) as server:
                    host, port = server.sockets[0].getsockname()[:2]
                    self.bound = (host, port)
                    _log.info("latency.listening", address=host, port=port, token=bool(token))
                    await server.serve_forever()
        finally:
            self.bound = None

    async def subscribe(self, broker: Broker, identifier: str) -> None:
        """Take what is published below `topic`/probe until cancelled."""

        async def session(client: aiomqtt.Client) -> None:
            await client.subscribe(f"{broker.topic}/probe/#", qos=1)
            async for message in client.messages:
                payload = message.payload
                try:
                    self._take(payload if isinstance(payload, bytes) else b"?", csv=False)
                except WireError as error:
                    self._malformed(error)

        await sessions(broker, identifier, session, self.counters)

    async def follow(self, file: Path, period_s: float) -> None:
        """Read a CSV file whenever it has changed, until cancelled; one that is absent is waited for."""
        seen = 0
        while True:
            told = await asyncio.to_thread(_changed, file, seen)
            if told is not None:
                seen, octets = told
                try:
                    samples, refused = await asyncio.to_thread(read_csv, octets.decode("utf-8", "replace"))
                except WireError as error:
                    self._malformed(error)
                    continue
                self.counters["refused"] += len(refused)
                for at in range(0, len(samples), _AT_ONCE):
                    self._table.add(samples[at : at + _AT_ONCE], self._now())
                    await asyncio.sleep(0)
            await asyncio.sleep(period_s)

    def _take(self, octets: bytes, *, csv: bool) -> tuple[int, list[str]]:
        """Return how many samples were read, and why others were not. Raises WireError."""
        if len(octets) > LARGEST_BODY:
            raise WireError(f"{len(octets)} octets of samples; accepted: at most {LARGEST_BODY}")
        samples, refused = read_csv(octets.decode("utf-8", "replace")) if csv else read_json(octets)
        self.counters["refused"] += len(refused)
        before = self.counters["accepted"]
        self._table.add(samples, self._now())
        return self.counters["accepted"] - before, refused

    def _malformed(self, error: WireError) -> None:
        self.counters["malformed"] += 1
        _log.warning("latency.malformed", error=str(error))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        """Answer the requests of one connection."""
        with closing(writer):
            if self._connections >= _MOST_CONNECTIONS:
                self.counters["http_refused"] += 1
                return
            self._connections += 1
            try:
                connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEADER)
                while connection.states[h11.CLIENT] is h11.IDLE:
                    async with asyncio.timeout(_DEADLINE_S):
                        if not await self._request(connection, reader, writer, token):
                            return
                    connection.start_next_cycle()
            except (OSError, TimeoutError, h11.ProtocolError) as error:
                self.counters["http_errors"] += 1
                _log.info("latency.http_failed", why=str(error) or "too slow")
            finally:
                self._connections -= 1

    async def _request(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
    ) -> bool:
        """Answer one request; return whether another may follow."""
        request, body = None, bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_PIECE))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > LARGEST_BODY:
                    return await _answer(connection, writer, 413, {"error": f"more than {LARGEST_BODY} octets"})
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                status, told = self._decide(request, bytes(body), token)
                return await _answer(connection, writer, status, told)
            else:  # closed, or something that is no request
                return False

    def _decide(self, request: h11.Request, body: bytes, token: str) -> tuple[int, dict[str, object]]:
        headers = {bytes(name): bytes(value) for name, value in request.headers}
        if token and not hmac.compare_digest(headers.get(b"authorization", b""), f"Bearer {token}".encode()):
            self.counters["http_refused"] += 1
            return 401, {"error": "accepted: Authorization: Bearer TOKEN"}
        if request.target != b"/samples":
            return 404, {"error": "accepted: POST /samples"}
        if request.method != b"POST":
            return 405, {"error": "accepted: POST"}
        csv = headers.get(b"content-type", b"").startswith(b"text/csv")
        try:
            accepted, refused = self._take(body, csv=csv)
        except WireError as error:
            self._malformed(error)
            return 400, {"error": str(error)[:200]}
        return 200, {"accepted": accepted, "refused": len(refused), "why": [why[:200] for why in refused[:_SHOWN]]}


async def _answer(
    connection: h11.Connection, writer: asyncio.StreamWriter, status: int, told: dict[str, object]
) -> bool:
    body = msgspec.json.encode(told)
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    done = connection.their_state is h11.DONE
    if not done:
        headers.append(("connection", "close"))
    for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
        octets = connection.send(event)
        if octets:
            writer.write(octets)
    await writer.drain()
    return done and connection.our_state is h11.DONE


def _changed(file: Path, seen: int) -> tuple[int, bytes] | None:
    """Return the file's time of change and content when it has changed; None otherwise."""
    try:
        changed = file.stat().st_mtime_ns
        if changed == seen:
            return None
        with file.open("rb") as opened:
            return changed, opened.read(_LARGEST_FILE)
    except FileNotFoundError:
        return None
