"""How a file's shape is checked: pydantic decides, and its findings are told as an operator would want them."""

from __future__ import annotations

import difflib
import types
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from neto.errors import Problem
from neto.settings.toml import TomlFile


class Section(BaseModel):
    """A table of a file: unknown keys, NaN and infinities are refused; no type is guessed from another."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


Shape = TypeVar("Shape", bound=Section)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:>@/-]{0,127}$")]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
Percent = Annotated[float, Field(gt=0, le=100)]


def _ipv4(text: str) -> str:
    return str(IPv4Address(text))


Ipv4 = Annotated[str, AfterValidator(_ipv4)]


def _endpoint(value: object) -> object:
    """Split "127.0.1.1:1790" into its address and port."""
    if isinstance(value, str):
        address, colon, port = value.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit():
            raise ValueError("is not an IPv4 address and a port, as in 192.0.2.1:179")
        return {"address": address, "port": int(port)}
    raise ValueError("is not an IPv4 address and a port, as in 192.0.2.1:179")


class _Endpoint(Section):
    address: Ipv4
    port: Port


Endpoint = Annotated[_Endpoint, BeforeValidator(_endpoint)]


def check(shape: type[Shape], file: TomlFile) -> tuple[Shape | None, list[Problem]]:
    """Read a whole file as `shape`; None with every problem when it is not."""
    try:
        return shape.model_validate(file.data), []
    except ValidationError as error:
        return None, [_problem(shape, file, found) for found in error.errors(include_url=False)]


def _problem(shape: type[Section], file: TomlFile, found: ErrorDetails) -> Problem:
    location = tuple(part for part in found["loc"] if not (isinstance(part, str) and part.startswith("function-")))
    return file.problem(location, _say(shape, location, found))


_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _say(shape: type[Section], location: Sequence[str | int], found: ErrorDetails) -> str:
    """Put one of pydantic's findings as: what is wrong; accepted: what is."""
    kind = found["type"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        accepted = _keys(shape, location[:-1])
        return f"unknown key{_nearest(str(location[-1]), accepted)}; accepted: {', '.join(accepted)}"
    return f"{found['input']!r:.80} {_complaint(found)}"


def _complaint(found: ErrorDetails) -> str:
    kind, context = found["type"], found.get("ctx", {})
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"is out of range; accepted: {words} {context[bound]}"
    said = {
        "finite_number": "is not a number; accepted: a finite number",
        "string_pattern_mismatch": "is not a name; accepted: letters, digits and _ . : > @ / - (at most 128)",
        "value_error": str(context.get("error", "")),
        "literal_error": f"is not accepted; accepted: {context.get('expected', '')}",
    }
    wanted = found["msg"].removeprefix("Input should be ").removeprefix("a valid ").removeprefix("valid ")
    return said.get(kind, f"is not accepted; accepted: {wanted}")


def _keys(shape: type[Section], location: Sequence[str | int]) -> list[str]:
    """List the keys accepted at `location`."""
    current: Any = shape
    for part in location:
        if isinstance(part, str):
            field = next((f for n, f in current.model_fields.items() if part in {n, f.alias}), None)
            current = _section(field.annotation) if field else None
        if current is None:
            return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _section(annotation: Any) -> type[Section] | None:
    """Find the Section inside an annotation such as tuple[X, ...] or X | None."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in {tuple, list, Union, types.UnionType, Annotated}:
        return next((s for s in map(_section, get_args(annotation)) if s is not None), None)
    return None


def duplicates(file: TomlFile, table: str | tuple[str, ...], key: str, values: Sequence[str]) -> list[Problem]:
    """One problem for each value that stood earlier already."""
    where = (table,) if isinstance(table, str) else table
    seen: dict[str, int] = {}
    problems = []
    for row, value in enumerate(values):
        if value in seen:
            first = file.line((*where, seen[value], key))
            problems.append(file.problem((*where, row, key), f"{value!r} is already named on line {first}"))
        else:
            seen[value] = row
    return problems


MAX_SHOWN = 12


def unknown(what: str, value: str, accepted: Sequence[str]) -> str:
    """Say that a name refers to nothing, and what it may be."""
    more = f" and {len(accepted) - MAX_SHOWN} more" if len(accepted) > MAX_SHOWN else ""
    shown = ", ".join(accepted[:MAX_SHOWN]) + more
    return f"{value!r} is no {what}{_nearest(value, accepted)}; accepted: {shown or 'none is defined'}"


def _nearest(value: str, accepted: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, accepted, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
