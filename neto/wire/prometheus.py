"""Answers of Prometheus's HTTP API to an instant query (/api/v1/query) -> latency samples, and what is refused of them.

{"status": "success", "data": {"resultType": …, "result": [{"metric": {labels}, "value": [ts, "number"]}, …]}}; a range
selector as the query makes that a matrix: "values" in place of "value", and the times at which the samples were taken
instead of the time of the query. Numbers are text, since JSON has no NaN. (Prometheus, HTTP API, "Expression query
result formats".)

One query tells round trips, and another, where there is one, the share lost, or answered. Both are matched by vantage,
peering link, prefix and time; a round trip counts only with its loss, a loss of 1 also without a round trip. What was
measured between the two queries is in one answer alone, and passed over: the next ones have both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from neto.errors import WireError
from neto.wire.samples import MOST_SAMPLES, RawSample, Sample, vetted

_SHOWN = 200  # characters of what somebody else wrote
_KINDS = ("vector", "matrix")

Key = tuple[str, str, str, float]  # vantage, peering link, prefix, unix seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """What the numbers mean, and in which labels the rest stands."""

    ms: float = 1000.0  # in one unit of the round trips
    probes: int = 1  # behind each number
    vantage: str = "vantage"
    peering_link: str = "peering_link"
    prefix: str = "prefix"
    answered: bool = False  # the second query tells the share answered, not the share lost


class _Data(msgspec.Struct, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Answer(msgspec.Struct, rename="camel"):
    status: str
    data: _Data | None = None
    error_type: str = ""
    error: str = ""


class _Series(msgspec.Struct):
    """One of either kind; native histograms have neither value nor values."""

    metric: dict[str, str]
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []


def complaint(body: bytes) -> str:
    """Return what an answer says went wrong; "" when it says nothing that can be read."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError, broken UTF-8 is another
        return ""
    return ascii(f"{answer.error_type}: {answer.error}"[:_SHOWN]) if answer.error else ""


def read(rtt: bytes, loss: bytes | None, reading: Reading) -> tuple[list[Sample], list[str]]:
    """Return the samples of two answers, and why others were refused.

    loss: None where nothing is asked of it, and so nothing taken to be lost. Raises WireError when an answer is none,
    or has more than MOST_SAMPLES points.
    """
    refused: list[str] = []
    kind, series = _series(rtt)
    lost: dict[Key, float] | None = None
    if loss is not None:
        other, told = _series(loss)
        if other != kind:
            raise WireError(f"round trips are a {kind}, losses a {other}; accepted: both of one kind")
        lost = _losses(told, kind, reading, refused)
    samples: list[Sample] = []
    points = list(_points(series, kind, reading, refused))
    measured = {key for key, _ in points}
    newest_rtt, newest_loss = _newest(measured), _newest(lost or ())
    for key, number in points:
        if lost is None or key in lost:
            _take(samples, refused, key, number, 0.0 if lost is None else lost[key], reading)
        elif key[3] <= newest_loss.get(key[:3], math.inf):
            refused.append(f"{_spelt(key)}: no loss is told for it; accepted: one")
    for key, share in (lost or {}).items():
        if key not in measured and (share == 1 or key[3] <= newest_rtt.get(key[:3], math.inf)):
            _take(samples, refused, key, None, share, reading)
    return samples, refused


def _series(body: bytes) -> tuple[str, list[msgspec.Raw]]:
    """Return the kind of an answer, and its series unread: one that is damaged spoils no other."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        if answer.status != "success" or answer.data is None:
            said = complaint(body)
            raise WireError(f"the answer's status is {answer.status[:_SHOWN]!a}, {said}; accepted: success, with data")
        if answer.data.result_type not in _KINDS:
            kind = answer.data.result_type[:_SHOWN]
            raise WireError(f"the query makes a {kind!a}; accepted: {' or '.join(_KINDS)}")
        return answer.data.result_type, msgspec.json.decode(answer.data.result, type=list[msgspec.Raw])
    except (ValueError, RecursionError) as error:
        raise WireError(f"the answer is not Prometheus's JSON: {error}") from error


def _points(series: list[msgspec.Raw], kind: str, reading: Reading, refused: list[str]) -> Iterator[tuple[Key, float]]:
    """Go through the numbers of all series; why others were left out is added to `refused`."""
    names = (reading.vantage, reading.peering_link, reading.prefix)
    if len(series) > MOST_SAMPLES:
        raise WireError(f"more than {MOST_SAMPLES} series in one answer")
    count = 0
    for number, raw in enumerate(series, 1):
        try:
            told = msgspec.json.decode(raw, type=_Series)
        except (ValueError, RecursionError) as error:
            refused.append(f"series {number}: {error}")
            continue
        missing = [name for name in names if name not in told.metric]
        if missing:
            labels = ", ".join(sorted(told.metric)) or "none"
            refused.append(f"series {number}: has no label {missing[0]!a}; its labels: {ascii(labels)[:_SHOWN]}")
            continue
        points = told.values if kind == "matrix" else [told.value] if told.value is not None else []
        if not points:
            refused.append(f"series {number}: has no number; accepted: floats, not native histograms")
        count += len(points)
        if count > MOST_SAMPLES:
            raise WireError(f"more than {MOST_SAMPLES} numbers in one answer")
        vantage, link, prefix = (told.metric[name] for name in names)
        for ts, text in points:
            key = (vantage, link, prefix, ts)
            try:
                yield key, float(text)
            except ValueError:
                refused.append(f"{_spelt(key)}: {text[:_SHOWN]!a} is no number")


def _losses(series: list[msgspec.Raw], kind: str, reading: Reading, refused: list[str]) -> dict[Key, float]:
    """Return the share lost by key; none where two series tell one."""
    lost: dict[Key, float] = {}
    for key, share in _points(series, kind, reading, refused):
        if key in lost:
            refused.append(f"{_spelt(key)}: two series tell its loss; accepted: one, as of avg by (…)")
        lost[key] = math.nan if key in lost else 1 - share if reading.answered else share
    return lost


def _newest(keys: Iterable[Key]) -> dict[tuple[str, str, str], float]:
    """Return the newest time of each vantage, peering link and prefix."""
    newest: dict[tuple[str, str, str], float] = {}
    for vantage, link, prefix, ts in keys:
        newest[vantage, link, prefix] = max(ts, newest.get((vantage, link, prefix), -math.inf))
    return newest


def _take(
    samples: list[Sample], refused: list[str], key: Key, rtt: float | None, loss: float, reading: Reading
) -> None:
    vantage, link, prefix, ts = key
    rtt_ms = None if rtt is None or loss == 1 else rtt * reading.ms  # where all is lost, exporters tell 0 or NaN
    try:
        samples.append(vetted(RawSample(ts, vantage, link, prefix, loss, reading.probes, rtt_ms)))
    except ValueError as error:
        refused.append(f"{_spelt(key)}: {ascii(str(error))[1:-1][:_SHOWN]}")


def _spelt(key: Key) -> str:
    vantage, link, prefix, _ = key
    return ascii(f"{prefix} behind {link} from {vantage}")[1:-1][:_SHOWN]
