"""Topologies and demands in REPETITA's text format (Gay, Schaus, Vissicchio, arXiv 1710.08665).

`.graph`: `NODES n`, a header, `label x y`; `EDGES m`, a header, `label src dest weight bw delay`. `.demands`:
`DEMANDS n`, a header, `label src dest bw`. src and dest are row numbers of nodes; every edge is one direction; bw is
in kbit/s, delay in µs, weight is the IGP metric. This is the only place where kbit/s turn into Mbit/s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neto.errors import InputError, Problem
from neto.model.demand import Demand
from neto.model.topology import Link, Node, Topology

_KBPS_PER_MBPS = 1000.0
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"\d{1,15}", re.ASCII)


def read_graph(path: Path) -> Topology:
    """Read a `.graph` file.

    Raises InputError with every problem found.
    """
    reader = _Reader(path)
    node_rows = reader.table("NODES", ("label", "x", "y"))
    nodes = [row.label for row in node_rows]
    for row in node_rows:
        reader.number(row, "x", "a coordinate", least=-math.inf)
        reader.number(row, "y", "a coordinate", least=-math.inf)
    links = []
    for row in reader.table("EDGES", ("label", "src", "dest", "weight", "bw", "delay")):
        source, target = reader.node(row, "src", nodes), reader.node(row, "dest", nodes)
        if source and row.fields["src"] == row.fields["dest"]:
            reader.complain(row.line, "dest", f"{row.label} ends where it starts; accepted: another node than src")
        capacity_kbps = reader.number(row, "bw", "kbit/s")
        delay_us, metric = reader.number(row, "delay", "µs"), reader.whole(row, "weight")
        links.append(Link(row.label, source, target, capacity_kbps / _KBPS_PER_MBPS, delay_us, metric))
    reader.finish()
    return Topology(tuple(Node(name) for name in nodes), tuple(links))


def read_demands(path: Path, topology: Topology, traffic_class: str) -> tuple[Demand, ...]:
    """Read a `.demands` file over the nodes of `topology`, all of it in one class.

    Raises InputError with every problem found.
    """
    reader = _Reader(path)
    nodes = [node.name for node in topology.nodes]
    demands = []
    for row in reader.table("DEMANDS", ("label", "src", "dest", "bw")):
        source, target = reader.node(row, "src", nodes), reader.node(row, "dest", nodes)
        rate_kbps = reader.number(row, "bw", "kbit/s")
        demands.append(Demand(row.label, traffic_class, source, target, rate_kbps / _KBPS_PER_MBPS))
    reader.finish()
    return tuple(demands)


def line_of(path: Path, label: str) -> int:
    """Line on which a label stands first in a file that was read; 0 when it does not."""
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    return next((number for number, line in enumerate(lines, 1) if line.split()[:1] == [label]), 0)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a table: a field for each column."""

    line: int
    fields: dict[str, str]

    @property
    def label(self) -> str:
        return self.fields["label"]


class _Reader:
    """Takes a file apart from top to bottom and notes what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self._file = str(path)
        self._problems: list[Problem] = []
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InputError([Problem(self._file, 0, "", f"cannot be read: {error.strerror}")]) from error
        except UnicodeDecodeError as error:
            raise InputError([Problem(self._file, 0, "", f"is not UTF-8 text: {error.reason}")]) from error
        lines = [(number, line.split()) for number, line in enumerate(text.split("\n"), 1)]
        self._lines = [(number, words) for number, words in lines if words]
        self._end = len(lines)
        self._at = 0

    def complain(self, line: int, key: str, message: str) -> None:
        """Note a problem."""
        self._problems.append(Problem(self._file, line, key, message))

    def finish(self) -> None:
        """Expect the end of the file; raise all problems there are."""
        if self._at < len(self._lines) and not self._problems:
            line, words = self._lines[self._at]
            self.complain(line, "", f"{' '.join(words)[:60]!r} stands after the end; accepted: no more lines")
        if self._problems:
            raise InputError(sorted(self._problems, key=lambda problem: problem.line))

    def table(self, keyword: str, columns: Sequence[str]) -> list[_Row]:
        """Take the next table: `keyword n`, a header, and n rows."""
        if self._problems and self._at >= len(self._lines):
            return []
        line, words = self._next()
        if len(words) != len((keyword, "n")) or words[0] != keyword or not _WHOLE.fullmatch(words[1]):
            self.complain(line, keyword, f"{' '.join(words)[:60]!r} stands here; accepted: {keyword} and a number")
            self._at = len(self._lines)
            return []
        line, header = self._next()
        if tuple(header) != tuple(columns):
            accepted = " ".join(columns)
            self.complain(line, keyword, f"{' '.join(header)[:60]!r} is no header; accepted: {accepted}")
        rows = self._rows(columns)
        if len(rows) != int(words[1]):
            said = f"{keyword} says {words[1]} rows and {len(rows)} follow; accepted: as many as it says"
            self.complain(self._lines[self._at - 1][0] if self._at else self._end, keyword, said)
        whole = [row for row in rows if row.fields]
        self._check_labels(whole)
        return whole

    def node(self, row: _Row, column: str, names: Sequence[str]) -> str:
        """Name of the node whose row number stands in `column`."""
        text = row.fields[column]
        if _WHOLE.fullmatch(text) and int(text) < len(names):
            return names[int(text)]
        self.complain(row.line, column, f"{text!r} is no row of a node; accepted: 0 to {len(names) - 1}")
        return ""

    def number(self, row: _Row, column: str, unit: str, least: float = 0.0) -> float:
        """Return a finite number of at least `least`."""
        text = row.fields[column]
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        if math.isfinite(value) and value >= least:
            return value
        bound = f", at least {least:g}" if math.isfinite(least) else ""
        self.complain(row.line, column, f"{text!r} is not accepted; accepted: a finite number ({unit}){bound}")
        return 0.0

    def whole(self, row: _Row, column: str) -> int:
        """Return an IGP metric: a whole number, at least 1 (a metric of 0 has no unique shortest paths)."""
        text = row.fields[column]
        if _WHOLE.fullmatch(text) and int(text) >= 1:
            return int(text)
        self.complain(row.line, column, f"{text!r} is not accepted; accepted: a whole number, at least 1")
        return 1

    def _next(self) -> tuple[int, list[str]]:
        """Take a line; the end of the file is an empty one."""
        if self._at >= len(self._lines):
            return self._end, ["(end of file)"]
        self._at += 1
        return self._lines[self._at - 1]

    def _rows(self, columns: Sequence[str]) -> list[_Row]:
        """Take lines up to the next table; a line of the wrong length is a row without fields."""
        rows = []
        while self._at < len(self._lines):
            line, words = self._lines[self._at]
            if words[0] in {"NODES", "EDGES", "DEMANDS"} and len(words) == len(("EDGES", "n")):
                break
            self._at += 1
            if len(words) == len(columns):
                rows.append(_Row(line, dict(zip(columns, words, strict=True))))
            else:
                self.complain(line, "", f"{len(words)} fields; accepted: {len(columns)} ({' '.join(columns)})")
                rows.append(_Row(line, {}))
        return rows

    def _check_labels(self, rows: Sequence[_Row]) -> None:
        seen: dict[str, int] = {}
        for row in rows:
            first = seen.setdefault(row.label, row.line)
            if first != row.line:
                self.complain(row.line, "label", f"{row.label!r} already stands on line {first}; accepted: a new name")
