"""[latency] of neto.toml: where samples come from, which of them count, and when they move anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from neto.settings.schema import Count, Endpoint, NonNegative, Percent, Positive, Section


class Latency(Section):
    """Latency samples. Files are relative to neto.toml."""

    listen: Endpoint | None = None  # HTTP: POST /samples
    token_file: Path | None = Field(default=None, strict=False)  # its first line is what probes have to bear
    csv: Path | None = Field(default=None, strict=False)  # a file that is read whenever it changes
    csv_period_s: Positive = 10.0
    mqtt: bool = False  # what is published below neto/probe, at the broker of [mqtt]
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
