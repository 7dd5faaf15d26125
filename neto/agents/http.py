"""One request by HTTP/1.1 to a server of the operator's, everything about the answer bounded."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import h11

from neto.errors import WireError

_LARGEST_HEADER = 64 << 10
_PIECE = 1 << 16
_AT_ONCE = 256  # events of an answer that are handled without a pause


@dataclass(frozen=True, slots=True)
class Server:
    """Where it is."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What it said."""

    status: int
    body: bytes


async def post(server: Server, path: str, headers: Sequence[tuple[str, str]], body: bytes, largest: int) -> Answer:
    """Send a body and return the answer, on a connection of its own. No deadline: that is the caller's.

    largest: octets of an answer's body. Redirects are not followed. Raises OSError when there is no way there,
    WireError when the answer is not HTTP, is cut short, larger than that, or encoded.
    """
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=server.tls, limit=_PIECE)
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEADER)
        host = f"[{server.host}]" if ":" in server.host else server.host
        fixed = [
            ("Host", f"{host}:{server.port}"),
            ("Content-Length", str(len(body))),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        request = h11.Request(method="POST", target=path, headers=[*fixed, *headers])
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return await _answer(connection, reader, largest)
    except h11.RemoteProtocolError as error:
        raise WireError(f"the answer is not HTTP: {error}") from error
    finally:
        writer.transport.abort()


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader, largest: int) -> Answer:
    status, body = 0, bytearray()
    for number in itertools.count(1):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_PIECE))
        elif isinstance(event, h11.Response):
            status = event.status_code
            encoding = dict(event.headers).get(b"content-encoding", b"identity")
            if encoding != b"identity":
                raise WireError(f"the answer's encoding is {encoding[:80]!r}; accepted: identity")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > largest:
                raise WireError(f"the answer has more than {largest} octets")
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            break
    raise WireError("the answer is not HTTP: the connection ended before it")
