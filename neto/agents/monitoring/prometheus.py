"""Latency samples from a Prometheus: its answers to two queries, every interval.

A server that is away, slow or answers something else adds no samples, is counted, and is told as a doubt until it
answers again; what it told before counts until it is too old.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import structlog

from neto.agents.http import Answer, Server, post
from neto.agents.monitoring.latency import LatencyTable
from neto.errors import WireError
from neto.wire.prometheus import Reading, complaint, read

LARGEST_ANSWER = 16 << 20  # octets; of 100,000 samples
_AT_ONCE = 250  # samples that are added without a pause
_TAKEN = ("accepted", "repeated")
_SUCCESS = 2  # of the status, by its class
_FORM = ("Content-Type", "application/x-www-form-urlencoded")

_log = structlog.get_logger("latency")


@dataclass(frozen=True)
class Source:
    """One Prometheus, and what to ask it."""

    url: str  # as operators write it, for people
    server: Server
    path: str  # of the API's query
    query: str
    loss_query: str | None
    reading: Reading
    interval_s: float
    timeout_s: float  # for both queries together
    token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None


class Prometheus:
    """Asks one source. Inert until `run`. now: unix seconds."""

    def __init__(self, source: Source, table: LatencyTable, *, now: Callable[[], float] = time.time) -> None:
        self.doubt = ""
        self._source = source
        self._table = table
        self._now = now

    async def run(self) -> None:
        """Ask every interval until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            began_s = clock()
            await self.ask()
            await asyncio.sleep(max(0.0, began_s + self._source.interval_s - clock()))

    async def ask(self) -> None:
        """Ask once, and take what is told."""
        counters, source = self._table.counters, self._source
        try:
            async with asyncio.timeout(source.timeout_s):
                rtt, loss = await self._answers()
        except (OSError, WireError) as error:  # TimeoutError is an OSError
            counters["prometheus_failures"] += 1
            self._say(str(error) or f"no answer within {source.timeout_s:g} s")
            return
        try:
            samples, refused = await asyncio.to_thread(read, rtt, loss, source.reading)
        except WireError as error:
            counters["malformed"] += 1
            self._say(str(error))
            return
        counters["prometheus_answers"] += 1
        counters["refused"] += len(refused)
        came: Counter[str] = Counter(refused=len(refused))
        for at in range(0, len(samples), _AT_ONCE):
            came += self._table.add(samples[at : at + _AT_ONCE], self._now())
            await asyncio.sleep(0)
        self._say(_said(came, refused))

    async def _answers(self) -> tuple[bytes, bytes | None]:
        """Ask both queries of one moment."""
        source = self._source
        headers = [_FORM]
        authorization = await asyncio.to_thread(_authorization, source)
        if authorization:
            headers.append(("Authorization", authorization))
        at = f"{self._now():.3f}"
        bodies: list[bytes] = []
        for query in (source.query, source.loss_query):
            if query is None:
                continue
            form = urlencode({"query": query, "time": at, "timeout": f"{source.timeout_s:.3f}"})
            answer = await post(source.server, source.path, headers, form.encode(), LARGEST_ANSWER)
            bodies.append(_body(answer))
        return bodies[0], bodies[1] if len(bodies) > 1 else None

    def _say(self, doubt: str) -> None:
        """Tell what is wrong, "" for nothing, and log it once."""
        text = f"samples from {self._source.url}: {doubt}" if doubt else ""
        if text and text != self.doubt:
            _log.warning("latency.prometheus_doubted", url=self._source.url, why=doubt)
        elif self.doubt and not text:
            _log.info("latency.prometheus_answers", url=self._source.url)
        self.doubt = text


def _said(came: Counter[str], refused: Sequence[str]) -> str:
    """Return what is wrong with what a good answer told; "" for nothing. A long range tells old samples beside new."""
    if not +came:
        return "told nothing; accepted: a query that some series match"
    fine = (*_TAKEN, "old") if any(came[name] for name in _TAKEN) else _TAKEN
    reasons = ", ".join(sorted(why for why in came if why not in fine))
    first = f", the first because {refused[0]}" if refused else ""
    return f"told what is not taken: {reasons}{first}" if reasons else ""


def _body(answer: Answer) -> bytes:
    """Return the body of an answer that says it is one. Raises WireError."""
    if answer.status // 100 != _SUCCESS:
        said = complaint(answer.body)
        raise WireError(f"HTTP status {answer.status}{', ' + said if said else ''}; accepted: 200")
    return answer.body


def _authorization(source: Source) -> str:
    """Return who we are to the server; "" for nobody. Files are read each time: tokens are renewed.

    Raises OSError when a file cannot be read, WireError when it holds no secret.
    """
    if source.token_file:
        token = _secret(source.token_file)
        if not token.isascii() or not token.isprintable() or " " in token:
            raise WireError(f"{source.token_file}: holds no token; accepted: printable ASCII without blanks")
        return f"Bearer {token}"  # RFC 6750 §2.1
    if source.username is not None:
        password = _secret(source.password_file) if source.password_file else ""
        return "Basic " + base64.b64encode(f"{source.username}:{password}".encode()).decode()  # RFC 7617 §2
    return ""


def _secret(file: Path) -> str:
    """Return a file's first line."""
    try:
        line = file.read_text("utf-8").partition("\n")[0].strip()
    except UnicodeDecodeError as error:
        raise WireError(f"{file}: holds no secret; accepted: UTF-8") from error
    if not line:
        raise WireError(f"{file}: holds no secret in its first line")
    return line
