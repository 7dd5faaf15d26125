"""How much the daemon may do, and how that grows and shrinks.

observe   computes and shows; never pushes.
ramp      steers a portion of the traffic that grows while cycles stay clean and falls back when one does not.
full      steers everything it may.
frozen    fail static: what runs stays, nothing is pushed, a person decides (`neto resume`).
legacy    the kill switch: nothing is steered (`neto resume`).

Pure: the loop feeds events in and stores what comes out, so a new leader goes on where the old one was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Mode(StrEnum):
    """See above."""

    OBSERVE = "observe"
    RAMP = "ramp"
    FULL = "full"
    FROZEN = "frozen"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class Operation:
    """Where the daemon stands between full and legacy."""

    mode: Mode
    portion: float = 0.0  # share of the measured traffic that may be steered, 0..1
    clean_cycles: int = 0  # in a row, at this portion
    reason: str = ""  # why it is frozen, on legacy, or fell back

    @property
    def pushes(self) -> bool:
        """Whether a plan may be carried out."""
        return self.mode in {Mode.RAMP, Mode.FULL}


@dataclass(frozen=True, slots=True)
class RampPolicy:
    """The portions to go through, growing, in shares; and how many clean cycles each must last."""

    portions: Sequence[float]
    hold_cycles: int

    def after(self, portion: float) -> float:
        """Return the next higher portion; the last one when there is none."""
        return next((each for each in self.portions if each > portion), self.portions[-1])

    def before(self, portion: float) -> float:
        """Return the next lower portion; nothing below the first."""
        return next((each for each in reversed(self.portions) if each < portion), 0.0)


def begin(ramp: RampPolicy, *, observe: bool) -> Operation:
    """Return the first state of a WAN that NetO has never run."""
    return Operation(Mode.OBSERVE) if observe else Operation(Mode.RAMP, portion=ramp.portions[0])


def after_cycle(now: Operation, ramp: RampPolicy, *, clean: bool, reason: str = "") -> Operation:
    """Grow after enough clean cycles; fall back one portion after one that was not.

    clean: the plan of this cycle, if any, was carried out and read back whole.
    At full a failure is planned around from what was read back: falling back would move more traffic, not less.
    """
    if now.mode is Mode.FULL:
        return now if clean else replace(now, clean_cycles=0, reason=reason)
    if now.mode is not Mode.RAMP:
        return now
    if not clean:
        return Operation(Mode.RAMP, portion=ramp.before(now.portion), reason=reason)
    lasted = now.clean_cycles + 1
    if lasted < ramp.hold_cycles:
        return replace(now, clean_cycles=lasted)
    if now.portion >= ramp.portions[-1]:
        return Operation(Mode.FULL, portion=now.portion)
    return Operation(Mode.RAMP, portion=ramp.after(now.portion))


def freeze(now: Operation, reason: str) -> Operation:
    """Keep what runs; the kill switch stays pulled."""
    return now if now.mode is Mode.LEGACY else replace(now, mode=Mode.FROZEN, clean_cycles=0, reason=reason)


def to_legacy(reason: str) -> Operation:
    """Steer nothing until a person says otherwise."""
    return Operation(Mode.LEGACY, reason=reason)


def resume(now: Operation, ramp: RampPolicy) -> Operation:
    """Go on: from frozen at the portion that was kept, from legacy or observe at the first one."""
    if now.mode is Mode.FROZEN and now.portion > 0:
        return Operation(Mode.RAMP, portion=now.portion)
    if now.mode in {Mode.RAMP, Mode.FULL}:
        return now
    return Operation(Mode.RAMP, portion=ramp.portions[0])
