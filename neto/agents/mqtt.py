"""A connection to an MQTT broker that is made again whenever it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import structlog

from neto.errors import NetoError

TIMEOUT_S = 10.0  # for the broker to answer anything
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0  # before it is tried again
_QUEUED = 256  # messages that came and were not read; what comes beyond is dropped, and sent again by who sent it

_log = structlog.get_logger("mqtt")


@dataclass(frozen=True)
class Broker:
    """Where it is, and who we are to it."""

    host: str
    port: int = 1883
    topic: str = "neto"  # all of ours begin with it
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    keepalive_s: int = 15


def tls_context(ca_file: Path | None, certificate_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Trust a broker that `ca_file` (else the system) vouches for; show it a certificate where there is one.

    Raises NetoError when a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if certificate_file:
            context.load_cert_chain(certificate_file, key_file)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(file) for file in (ca_file, certificate_file, key_file) if file)
        raise NetoError(f"{files}: no use for TLS: {error}") from error
    return context


async def sessions(
    broker: Broker, identifier: str, session: Callable[[aiomqtt.Client], Awaitable[None]], counters: Counter[str]
) -> None:
    """Connect and run `session` with the client until the connection breaks; again and again, until cancelled."""
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            async with _connected(broker, identifier) as client:
                counters["mqtt_connects"] += 1
                _log.info("mqtt.connected", host=broker.host, port=broker.port, identifier=identifier)
                pause_s = _FIRST_PAUSE_S
                await session(client)
        except* aiomqtt.MqttError as errors:
            counters["mqtt_failures"] += 1
            _log.warning("mqtt.disconnected", host=broker.host, port=broker.port, why=str(errors.exceptions[0]))
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 so that not all come back at once
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


@contextlib.asynccontextmanager
async def _connected(broker: Broker, identifier: str) -> AsyncIterator[aiomqtt.Client]:
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.username,
        password=broker.password,
        identifier=identifier,
        tls_context=broker.tls,
        keepalive=broker.keepalive_s,
        timeout=TIMEOUT_S,
        max_queued_incoming_messages=_QUEUED,
    )
    try:
        yield await client.__aenter__()
    finally:
        # After a connect that failed half-way too: its socket would stay open, and the broker would take it for us.
        with contextlib.suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)
