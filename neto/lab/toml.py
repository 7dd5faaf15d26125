"""Tables of a TOML file, read key by key; whatever is wrong is noted and the reading goes on.

Apart from the daemon's schema on purpose: the lab must not share a misreading with whom it judges.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from neto.errors import Problem
from neto.settings.toml import TomlFile, read_toml

MOST_SHOWN = 12


class Table:
    """One table. Every getter returns something that can be worked on with; `problems` decides whether it may be."""

    def __init__(
        self, file: TomlFile, data: dict[str, Any], location: tuple[str | int, ...], problems: list[Problem]
    ) -> None:
        self._file = file
        self._data = data
        self._location = location
        self.problems = problems

    @classmethod
    def read(cls, path: Path, problems: list[Problem]) -> Table:
        """Read a whole file. Raises InputError when there is nothing to go on with."""
        file = read_toml(path)
        return cls(file, file.data, (), problems)

    def wrong(self, key: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(self._file.problem((*self._location, key) if key else self._location, message))

    def only(self, *accepted: str) -> None:
        """Note every key that means nothing."""
        for key in self._data:
            if key not in accepted:
                self.wrong(key, f"unknown key; accepted: {', '.join(accepted)}")

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def table(self, key: str) -> Table:
        """Return a table; an empty one where there is none."""
        value = self._data.get(key, {})
        if not isinstance(value, dict):
            self.wrong(key, f"{value!r} is no table")
            value = {}
        return Table(self._file, value, (*self._location, key), self.problems)

    def tables(self, key: str) -> list[Table]:
        """Return an array of tables; none where there is none."""
        value = self._data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self.wrong(key, f"is no array of tables; accepted: [[{key}]]")
            value = []
        return [Table(self._file, each, (*self._location, key, row), self.problems) for row, each in enumerate(value)]

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; default None: it must be there."""
        value = self._get(key, default, "")
        if isinstance(value, str):
            return value
        self.wrong(key, f"{value!r} is no text")
        return ""

    def one_of(self, key: str, accepted: Collection[str], default: str | None = None) -> str:
        """Return one of these names."""
        value = self.text(key, default)
        if value in accepted or (key not in self._data and default is None):
            return value
        shown = ", ".join(list(accepted)[:MOST_SHOWN]) + (" ..." if len(accepted) > MOST_SHOWN else "")
        self.wrong(key, f"{value!r} is not known; accepted: {shown or 'nothing is defined'}")
        return next(iter(accepted), "")

    def number(self, key: str, default: float | None = None, *, least: float = 0.0, above: float = -math.inf) -> float:
        """Return a finite number, at least `least` and more than `above`."""
        value = self._get(key, default, 1.0)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and math.isfinite(value) and value >= least and value > above:
            return float(value)
        bound = f"more than {above:g}" if above >= least else f"{least:g} or more"
        self.wrong(key, f"{value!r} is not accepted; accepted: a number, {bound}")
        return 1.0

    def integer(self, key: str, default: int | None = None, *, least: int = 0, most: int = 1 << 32) -> int:
        """Return an integer between two others."""
        value = self._get(key, default, least)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.wrong(key, f"{value!r} is not accepted; accepted: an integer from {least} to {most}")
        return least

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a list of integers; none where there is none."""
        value = self._data.get(key, [])
        if isinstance(value, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in value):
            return tuple(value)
        self.wrong(key, f"{value!r} is not accepted; accepted: a list of integers")
        return ()

    def prefixes(self, key: str) -> tuple[IPv4Network, ...]:
        """Return a list of IPv4 prefixes; none where there is none. IPv6 ones are not emulated and left out."""
        value = self._data.get(key, [])
        if not isinstance(value, list):
            self.wrong(key, f"{value!r} is no list of prefixes")
            return ()
        found = []
        for each in value:
            try:
                found.append(IPv4Network(each))
            except (TypeError, ValueError) as error:
                if ":" not in str(each):
                    self.wrong(key, f"{error}; accepted: as in 192.0.2.0/24")
        return tuple(found)

    def address(self, key: str, default: str | None = None) -> str:
        """Return an IPv4 address, or the default as it is."""
        if key not in self._data and default is not None:
            return default
        return self._address(key, self.text(key))

    def endpoint(self, key: str, default: str | None = None, *, offset: int = 0) -> tuple[str, int]:
        """Return the address and the port, moved by the offset, of a text such as 127.0.0.1:179."""
        address, colon, port = self.text(key, default).rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()):
            if key in self._data:
                self.wrong(key, f"{self._data[key]!r} is not accepted; accepted: as in 127.0.0.1:179")
            return "127.0.0.1", 0
        return self._address(key, address), self._port(key, int(port) + offset)

    def port(self, key: str, default: int, *, offset: int = 0) -> int:
        """Return a port, moved by the offset."""
        return self._port(key, self.integer(key, default, least=1, most=65535) + offset)

    def _port(self, key: str, port: int) -> int:
        if not 0 < port <= 65535:  # noqa: PLR2004 sixteen bits
            self.wrong(key, f"port {port} is out of range with the offset; accepted: 1 to 65535")
            return 1
        return port

    def _address(self, key: str, text: str) -> str:
        try:
            return str(IPv4Address(text))
        except ValueError:
            if key in self._data:
                self.wrong(key, f"{text!r} is no IPv4 address")
            return "127.0.0.1"

    def _get(self, key: str, default: Any, neutral: Any) -> Any:
        if key in self._data:
            return self._data[key]
        if default is None:
            self.wrong(key, "is missing")
            return neutral
        return default
