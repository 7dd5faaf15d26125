"""The table of a run as Markdown."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import numpy as np

_COLUMNS = (
    "change", "demands", "moves", "steps", "fewest", "CPU ms", "worst", "touches", "at once", "equal parts",
    "their touches", "K-step LP, simplex", "K-step LP, interior", "integers",
)  # fmt: skip
_HEADER = f"| {' | '.join(_COLUMNS)} |\n|---|{'---:|' * (len(_COLUMNS) - 1)}"


@dataclass(frozen=True)
class Line:
    """One change."""

    change: str
    demands: int
    moving: float  # share of the traffic
    steps: int
    fewest: int | None  # as proven by a program
    seconds: float  # of CPU, here and below
    worst: float  # highest load / capacity in any order
    touches: int  # demands that change, over the steps
    at_once: float  # highest load / capacity of doing all in one step
    equal_parts: int  # steps
    equal_touches: int
    simplex: tuple[int | None, float] | None  # steps, seconds
    interior: tuple[int | None, float] | None
    integers: tuple[int | None, float] | None


def _program(line, answer):
    """A program's time, and how many times NetO's that is."""
    if answer is None:
        return "-"
    steps, seconds = answer
    return f"{'over ' if steps is None else ''}{seconds:.3g} s, {seconds / line.seconds:.0f} x"


def table_line(line):
    """One line of the table."""
    cells = (
        line.change, line.demands, f"{line.moving:.0%}", line.steps, line.fewest or "?", f"{1000 * line.seconds:.3g}",
        f"{line.worst:.3f}", line.touches, f"{line.at_once:.3f}", line.equal_parts, line.equal_touches,
        *(_program(line, answer) for answer in (line.simplex, line.interior, line.integers)),
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def summary(lines):
    """What the figures come to."""
    proven = [line for line in lines if line.fewest is not None]
    said = []
    if proven:
        equal = sum(line.steps == line.fewest for line in proven)
        most = max(line.steps - line.fewest for line in proven)
        said.append(f"fewest steps in {equal} of {len(proven)} proven changes, at most {most} more")
    tenth = [line.steps for line in lines if "slack 10%" in line.change]
    if tenth:
        said.append(f"steps at 10 % slack, 99th percentile: {np.percentile(tenth, 99, method='higher'):g}")
    for name in ("simplex", "interior"):
        ratios = [answer[1] / line.seconds for line in lines if (answer := getattr(line, name)) is not None]
        if ratios:
            least, middle, most = np.percentile(ratios, (0, 50, 100))
            said.append(f"K-step LP by {name} over NetO's time: {least:.0f} to {most:.0f}, median {middle:.0f}")
    return "; ".join(said)


def markdown(lines):
    """Return the whole report."""
    return "\n".join(
        [
            "# Transitions beside their peers",
            "",
            f"One run on {platform.machine()}, Python {platform.python_version()}. docs/benchmarks.md says what the",
            "columns mean.",
            "",
            _HEADER,
            *map(table_line, lines),
            "",
            summary(lines),
            "",
        ]
    )
