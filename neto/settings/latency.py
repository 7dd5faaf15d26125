"""[latency] of neto.toml: where samples come from, which of them count, and when they move anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from neto.settings.schema import Count, Endpoint, NonNegative, Percent, Positive, Section


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(_NO_SERVER) from None
    extra = parts.query or parts.fragment or "@" in parts.netloc or port == 0
    if parts.scheme not in {"http", "https"} or not _HOST.match(host) or extra or not _PATH.match(parts.path):
        raise ValueError(_NO_SERVER)
    return text.rstrip("/")


def _label(text: str) -> str:
    if not _LABEL.match(text):
        raise ValueError("is no label name; accepted: letters, digits and _, as in peering_link")
    return text


def _username(text: str) -> str:
    if not text or ":" in text or not text.isprintable():  # RFC 7617 §2
        raise ValueError("is no user name; accepted: printable, without a colon")
    return text


_NO_SERVER = "is no server; accepted: as in https://prometheus.example.net:9090, without query or password"
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?\Z|[0-9a-fA-F:]{2,45}\Z")
_PATH = re.compile(r"[A-Za-z0-9/._~%-]*\Z")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
Label = Annotated[str, AfterValidator(_label)]
Query = Annotated[str, StringConstraints(min_length=1, max_length=8192)]


class PrometheusSource(Section):
    """A Prometheus, or what speaks its HTTP API, that is asked for samples. Files are relative to neto.toml."""

    url: Annotated[str, AfterValidator(_url)]  # /api/v1/query is below it
    query: Query  # PromQL: round trips; a range selector tells each sample with its own time
    loss_query: Query | None = None  # PromQL: share lost, 0 to 1
    success_query: Query | None = None  # or the share answered; neither: nothing is taken to be lost
    unit: Literal["s", "ms"] = "s"  # of the round trips
    probes: Annotated[int, Field(ge=1, le=1_000_000)] = 1  # that one number sums up
    interval_s: Annotated[float, Field(ge=1, le=3600)] = 60.0  # no shorter than what the query looks at is renewed
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    vantage_label: Label = "vantage"  # the border that probed
    peering_link_label: Label = "peering_link"
    prefix_label: Label = "prefix"
    token_file: Path | None = Field(default=None, strict=False)  # Authorization: Bearer, read every time
    username: Annotated[str, AfterValidator(_username)] | None = None  # Authorization: Basic
    password_file: Path | None = Field(default=None, strict=False)  # its first line, read every time
    ca_file: Path | None = Field(default=None, strict=False)  # who vouches for the server; none: the system's
    certificate_file: Path | None = Field(default=None, strict=False)  # ours
    key_file: Path | None = Field(default=None, strict=False)


class Latency(Section):
    """Latency samples. Files are relative to neto.toml."""

    listen: Endpoint | None = None  # HTTP: POST /samples
    token_file: Path | None = Field(default=None, strict=False)  # its first line is what probes have to bear
    csv: Path | None = Field(default=None, strict=False)  # a file that is read whenever it changes
    csv_period_s: Positive = 10.0
    mqtt: bool = False  # what is published below neto/probe, at the broker of [mqtt]
    prometheus: tuple[PrometheusSource, ...] = Field(default=(), max_length=64, strict=False)
    max_age_s: Positive = 900.0
    min_samples: Annotated[int, Field(ge=6, le=101)] = 6  # of a group behind a link: fewer hold no 95 % interval
    min_gain_ms: NonNegative = 2.0  # round trip that a move must surely gain
    min_gain: Annotated[float, Field(ge=0, lt=1)] = 0.05  # and as a share of the round trip in use
    more_loss: Annotated[float, Field(ge=0, le=100)] = 0.5  # % that a nearer exit may lose more; twice that undoes it
    confirm: Count = 3  # decisions one after another that say so
    hold_s: NonNegative = 600.0  # after a move; doubled each time one has to be undone
    longest_hold_s: NonNegative = 86400.0
    probation_s: NonNegative = 300.0  # within which a move that made it worse is undone
    closing_loss: Percent = 50.0  # % lost that closes an exit for a group
    closing_samples: Annotated[int, Field(ge=1, le=20)] = 3  # in so many samples running

    @model_validator(mode="after")
    def _grows(self) -> Latency:
        if self.longest_hold_s < self.hold_s:
            raise ValueError(f"has longest_hold_s below hold_s; accepted: longest_hold_s of {self.hold_s:g} or more")
        return self
