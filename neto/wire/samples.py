"""Latency samples as probes send them: JSON or CSV text -> `Sample`, and what is refused of it.

A sample: {"ts": unix seconds, "vantage": router, "peering_link": name, "prefix": "192.0.2.0/24", "rtt_ms": median of
its probes, "loss": share of them lost, "n": how many}. JSON is one sample, a list of them, or one a line; CSV has a
header with these names. rtt_ms may be absent (null, empty) where every probe was lost.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

import msgspec

from neto.errors import WireError
from neto.model.peering import Prefix

COLUMNS = ("ts", "vantage", "peering_link", "prefix", "rtt_ms", "loss", "n")
MOST_SAMPLES = 100_000  # in one text
_LONGEST_NAME = 128
_LARGEST_RTT_MS = 10_000.0  # more is no answer, it is a timeout
_MOST_PROBES = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """What some probes of one vantage point saw of a prefix through a peering link."""

    ts: float  # unix seconds
    vantage: str
    peering_link: str
    prefix: Prefix
    rtt_ms: float | None  # None: all were lost
    loss: float  # 0..1
    n: int


class RawSample(msgspec.Struct):
    """The shape; unknown fields are passed over."""

    ts: float
    vantage: str
    peering_link: str
    prefix: str
    loss: float
    n: int
    rtt_ms: float | None = None


def read_json(text: bytes) -> tuple[list[Sample], list[str]]:
    """Return the samples, and why others were refused. Raises WireError when it is not JSON of a known shape."""
    return _checked(_json(text))


def read_csv(text: str) -> tuple[list[Sample], list[str]]:
    """Return the samples, and why others were refused. Raises WireError when the header is not ours."""
    return _checked(_csv(text))


def _json(text: bytes) -> Iterator[object]:
    try:
        if text.lstrip()[:1] == b"[":
            told = msgspec.json.decode(text)
        else:
            told = [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:  # msgspec.DecodeError is a ValueError, broken UTF-8 is another
        raise WireError(f"samples are not JSON: {error}") from error
    yield from told


def _csv(text: str) -> Iterator[object]:
    rows = csv.DictReader(io.StringIO(text), restkey="", restval="")
    try:
        if set(COLUMNS) - set(rows.fieldnames or ()):
            raise WireError(f"samples have columns {rows.fieldnames}; accepted: {','.join(COLUMNS)}")
        for row in rows:
            told: Mapping[str, object] = row
            yield {name: value for name, value in told.items() if name in COLUMNS and value != ""}
    except csv.Error as error:
        raise WireError(f"samples are not CSV: {error}") from error


def _checked(told: Iterable[object]) -> tuple[list[Sample], list[str]]:
    samples, refused = [], []
    for number, each in enumerate(told, 1):
        if number > MOST_SAMPLES:
            raise WireError(f"more than {MOST_SAMPLES} samples at once")
        try:
            samples.append(vetted(msgspec.convert(each, RawSample, strict=False)))
        except (ValueError, TypeError, OverflowError) as error:  # msgspec.ValidationError is a ValueError
            refused.append(f"sample {number}: {error}")
    return samples, refused


def vetted(raw: RawSample) -> Sample:
    """Return it as a sample. Raises ValueError for a value that nobody can measure."""
    if not math.isfinite(raw.ts):
        raise ValueError(f"ts {raw.ts} is no time")
    if raw.rtt_ms is None:
        if raw.loss != 1:
            raise ValueError(f"no rtt_ms, and loss {raw.loss} is not 1")
    elif not 0 < raw.rtt_ms <= _LARGEST_RTT_MS:  # NaN too
        raise ValueError(f"rtt_ms {raw.rtt_ms}; accepted: more than 0, up to {_LARGEST_RTT_MS:.0f}")
    if not 0 <= raw.loss <= 1:
        raise ValueError(f"loss {raw.loss}; accepted: 0 to 1")
    if not 1 <= raw.n <= _MOST_PROBES:
        raise ValueError(f"n {raw.n}; accepted: 1 to {_MOST_PROBES}")
    for name in (raw.vantage, raw.peering_link):
        if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
            raise ValueError(f"{name[:_LONGEST_NAME]!a} is no name")
    rtt_ms = None if raw.loss == 1 else raw.rtt_ms
    return Sample(raw.ts, raw.vantage, raw.peering_link, ip_network(raw.prefix), rtt_ms, raw.loss, raw.n)
