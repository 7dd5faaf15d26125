"""The table and the plot of a run, as Markdown and SVG."""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass
from html import escape

from .measure import Cost, Worth

_HEADER = (
    "| | share | q | 1st pct | delay ms | seconds | CPU s | peak MB | CPU ÷ NetO's |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)
_COLOURS = (
    "#d62728",
    "#ff9896",
    "#8c0000",
    "#7f7f7f",
    "#bcbd22",
    "#1f77b4",
    "#aec7e8",
    "#2ca02c",
    "#98df8a",
    "#9467bd",
)
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 900, 480, 60, 20, 300, 50


@dataclass(frozen=True, eq=False)
class Row:
    """One method on one instance."""

    method: str
    cost: Cost
    worth: Worth | None
    ratio: float  # of its CPU time to NetO's


@dataclass(frozen=True, eq=False)
class Section:
    """One instance."""

    title: str
    notes: tuple[str, ...]
    rows: tuple[Row, ...]


def table_line(row):
    """One line of the table."""
    if row.worth is None:
        return f"| {row.method} | {row.cost.status} | | | | | | | |"
    worth, cost = row.worth, row.cost
    cells = (
        f"{worth.share:.4f}", f"{worth.q:.4f}", f"{worth.first_percentile:.3f}", f"{worth.delay_ms:.3f}",
        f"{cost.seconds:.3f}", f"{cost.cpu_s:.3f}", f"{cost.peak_mb:.0f}", f"{row.ratio:.3g}",
    )  # fmt: skip
    return f"| {row.method} | {' | '.join(cells)} |"


def markdown(sections):
    """Return the whole report."""
    lines = [
        "# Allocation beside its peers",
        "",
        f"One run on {platform.machine()}, Python {platform.python_version()}; every method alone in a process.",
        "The ratios are of CPU seconds. docs/benchmarks.md says what the columns mean.",
    ]
    for section in sections:
        lines += ["", f"## {section.title}", "", *section.notes, "", _HEADER, *map(table_line, section.rows)]
    return "\n".join(lines) + "\n"


def svg(sections):
    """Fairness over CPU time: a dot for every method and instance, a colour for every method."""
    dots = [(row, section) for section in sections for row in section.rows if row.worth is not None]
    if not dots:
        return ""
    methods = list(dict.fromkeys(row.method for row, _ in dots))
    logs = [math.log10(max(row.cost.cpu_s, 1e-4)) for row, _ in dots]
    first, last = math.floor(min(logs)), math.ceil(max(logs) + 1e-9)
    least = min(row.worth.q for row, _ in dots)
    least = math.floor(least * 20) / 20 if least < 1 else 0.95

    def across(log):
        return _LEFT + (log - first) / max(last - first, 1) * (_WIDTH - _LEFT - _RIGHT)

    def down(q):
        return _TOP + (1 - q) / (1 - least) * (_HEIGHT - _TOP - _BOTTOM)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for power in range(first, last + 1):
        x = across(power)
        lines.append(f'<path d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#ddd"/>')
        lines.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{10.0**power:g} s</text>')
    for step in range(6):
        q = 1 - (1 - least) * step / 5
        lines.append(f'<path d="M{_LEFT} {down(q):.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{down(q) + 4:.1f}" text-anchor="end">{q:.3f}</text>')
    for (row, section), log in zip(dots, logs, strict=True):
        colour = _COLOURS[methods.index(row.method) % len(_COLOURS)]
        lines.append(
            f'<circle cx="{across(log):.1f}" cy="{down(row.worth.q):.1f}" r="5" fill="{colour}" fill-opacity="0.75">'
            f"<title>{escape(f'{row.method}: {section.title}')}</title></circle>"
        )
    for place, method in enumerate(methods):
        y = _TOP + 12 + 20 * place
        lines.append(
            f'<circle cx="{_WIDTH - _RIGHT + 20}" cy="{y - 4}" r="5" fill="{_COLOURS[place % len(_COLOURS)]}"/>'
        )
        lines.append(f'<text x="{_WIDTH - _RIGHT + 32}" y="{y}">{escape(method)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    lines.append(f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">CPU time</text>')
    lines.append(f'<text x="{_LEFT - 40}" y="{_TOP - 6}">q</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
