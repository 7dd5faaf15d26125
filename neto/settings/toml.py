"""A TOML file that knows on which line each of its keys stands.

`tomllib` parses and decides what is valid; the scan here only finds lines, so that an error can name one. Where the
scan cannot tell (a dotted key, an inline table), the nearest enclosing line is named.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neto.errors import InputError, Problem

Location = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=""")
_STRINGS = re.compile(r'"""|\'\'\'|"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*')
MAX_BYTES = 16 * 1024 * 1024  # nobody writes more by hand


@dataclass(frozen=True)
class TomlFile:
    """One parsed file."""

    name: str
    data: dict[str, Any]
    lines: dict[Location, int]

    def line(self, location: Sequence[str | int]) -> int:
        """Return the 1-based line of `location`, or of the nearest thing that encloses it; 0 for the whole file."""
        for end in range(len(location), 0, -1):
            found = self.lines.get(tuple(location[:end]))
            if found is not None:
                return found
        return 0

    def problem(self, location: Sequence[str | int], message: str) -> Problem:
        """Say what is wrong at `location`, as an operator would look for it."""
        return Problem(self.name, self.line(location), spell(location), message)


def spell(location: Sequence[str | int]) -> str:
    """Write a location as operators do: ("class", 0, "dscp") is class[1].dscp (they count from one)."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_toml(path: Path) -> TomlFile:
    """Read one file.

    Raises InputError when it cannot be read, is not UTF-8, or is not TOML.
    """
    name = str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError([Problem(name, 0, "", f"cannot be read: {error.strerror}")]) from error
    if len(raw) > MAX_BYTES:
        raise InputError([Problem(name, 0, "", f"has {len(raw)} bytes; accepted: at most {MAX_BYTES}")])
    try:
        text = raw.decode()
        data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError([Problem(name, line, "", "is not UTF-8 text; accepted: a TOML file")]) from error
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+)", str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        what = re.sub(r"\s*\(at .*\)$", "", str(error))
        raise InputError([Problem(name, line, "", f"is not TOML: {what}")]) from error
    return TomlFile(name, data, dict(_locate(text)))


def _locate(text: str) -> Iterator[tuple[Location, int]]:
    """Find the line of every table header and of every key that starts a line."""
    table: Location = ()
    counts: dict[Location, int] = {}
    depth = 0  # open brackets of a value that runs over lines
    inside: str | None = None  # the quotes that close a string that runs over lines
    for number, line in enumerate(text.splitlines(), start=1):
        rest = line
        if inside is not None:
            closed = rest.find(inside)
            if closed < 0:
                continue
            rest = rest[closed + 3 :]
            inside = None
        elif depth == 0:
            header = _HEADER.match(line)
            if header:
                table = _enter(header[2], array=header[1] == "[[", counts=counts)
                yield table, number
                continue
            key = _KEY.match(line)
            if key:
                yield table + _split(key[1]), number
        depth, inside = _balance(rest, depth)


def _enter(dotted: str, *, array: bool, counts: dict[Location, int]) -> Location:
    """Return the location that a header opens; tables inside an array of tables belong to its last element."""
    location: Location = ()
    parts = _split(dotted)
    for position, part in enumerate(parts):
        location = (*location, part)
        if array and position == len(parts) - 1:
            counts[location] = counts.get(location, -1) + 1
        if location in counts:
            location = (*location, counts[location])
    return location


def _split(dotted: str) -> Location:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _balance(line: str, depth: int) -> tuple[int, str | None]:
    """Follow brackets and long strings through the rest of a line."""
    while True:
        found = re.search(r'"""|\'\'\'', _STRINGS.sub(_blank, line))
        if not found:
            break
        quotes = found[0]
        closed = line.find(quotes, found.end())
        if closed < 0:
            return depth + _brackets(line[: found.start()]), quotes
        line = line[: found.start()] + line[closed + 3 :]
    return depth + _brackets(line), None


def _brackets(line: str) -> int:
    plain = _STRINGS.sub(_blank, line)
    return sum(plain.count(c) for c in "[{") - sum(plain.count(c) for c in "]}")


def _blank(match: re.Match[str]) -> str:
    """Hide short strings and comments, keep long quotes, keep the length."""
    return match[0] if match[0] in {'"""', "'''"} else " " * len(match[0])
