"""Template records -> layouts: how to see the known elements of a record without looking at its octets one by one.

A record whose lengths are fixed is one numpy structured type over the packet as it came. Where lengths vary
(RFC 7011 §7) the records are walked and their known elements copied into rows of such a type: same view, slower.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from neto.errors import WireError
from neto.wire.netflow.elements import KINDS, V9_SCOPES, Kind

VARIABLE = 65535  # the length that says "each record says its own" (RFC 7011 §7)
MAX_FIELDS = 1024  # a template of more is no exporter's
MAX_RECORD = 65535  # octets; more never fits a set
FIRST_DATA_SET = 256  # template ids start here (RFC 7011 §3.4.1)
V5, V9, IPFIX = 5, 9, 10  # as headers say
SFLOW = 1005  # sFlow's 5, told apart from NetFlow's
TEMPLATE_SET, OPTIONS_SET = 2, 3  # IPFIX (RFC 7011 §3.3.2)

_HEADER, _OPTIONS_HEADER = 4, 6  # octets before the fields of a template record
_ENTERPRISE = 0x8000  # the bit that says an enterprise number follows (RFC 7011 §3.2)
_LONG = 255  # a variable length of 255 or more follows in two octets
_NATIVE = {1: "u1", 2: ">u2", 4: ">u4", 8: ">u8"}
_INTERN: WeakValueDictionary[bytes, Layout] = WeakValueDictionary()  # many exporters share few layouts
_REFUSED: dict[bytes, str] = {}  # and send what is none again and again
_MOST_REFUSED = 256


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a template."""

    element: int
    length: int  # octets, or VARIABLE
    enterprise: int = 0


@dataclass(frozen=True, slots=True)
class Template:
    """A template record: its number, and what its records look like. No layout: it is withdrawn."""

    number: int
    layout: Layout | None


@dataclass(frozen=True, slots=True)
class Source:
    """The field specifiers of a template record, and how they are to be read."""

    version: int
    scope: int  # fields of it, the first ones
    options: bool
    specifiers: bytes

    def record(self, number: int) -> bytes:
        """Write the template record again, under a number."""
        count = sum(1 for _ in _fields(self.specifiers, self.version, self.scope))
        if not self.options:
            return struct.pack("!HH", number, count) + self.specifiers
        if self.version == IPFIX:
            return struct.pack("!HHH", number, count, self.scope) + self.specifiers
        return struct.pack("!HHH", number, 4 * self.scope, 4 * (count - self.scope)) + self.specifiers


class Layout:
    """What is known of records with one list of fields.

    length: octets of a record, the fewest when lengths vary. dtype: the known elements, named by number.
    options: the records describe the exporter, not flows. source: what it was compiled from, as a template record.
    fields: every field, and whether it is one that is read. varies: the lengths of records do.
    """

    __slots__ = ("__weakref__", "_steps", "dtype", "fields", "length", "options", "source", "varies")

    def __init__(self, fields: Sequence[Field], *, options: bool = False, source: Source | None = None) -> None:
        self.options = options
        self.source = source
        self.length = sum(1 if field.length == VARIABLE else field.length for field in fields)
        if not 0 < self.length <= MAX_RECORD:
            raise WireError(f"a record of {self.length} octets; expected 1 to {MAX_RECORD}")
        variable = any(field.length == VARIABLE for field in fields)
        formats: dict[str, tuple[npt.DTypeLike, int]] = {}
        steps: list[tuple[int, bool]] = []  # (octets, whether they are kept)
        offset = 0
        for field in fields:
            seen_as = _format(field)
            kept = False
            if seen_as is not None and str(field.element) not in formats:  # of a repeated element the first counts
                kept = True
                formats[str(field.element)] = (seen_as, offset)
            steps.append((field.length, kept))
            if kept or not variable:
                offset += field.length
        self.varies = variable
        self.fields = tuple((field, kept) for field, (_, kept) in zip(fields, steps, strict=True))
        self._steps = _merged(steps) if variable else None
        self.dtype = np.dtype(
            {
                "names": list(formats),
                "formats": [seen_as for seen_as, _ in formats.values()],
                "offsets": [at for _, at in formats.values()],
                "itemsize": max(offset, 1),
            }
        )

    def has(self, element: int) -> bool:
        """Whether a record tells this element in a form that is understood."""
        return str(element) in (self.dtype.names or ())

    def view(self, bodies: Sequence[memoryview]) -> tuple[npt.NDArray[np.void], tuple[WireError, ...]]:
        """See the records of data sets, one set after the other.

        Returns (records,) of `dtype`, and what is wrong where a last record runs over the end of its set.
        What remains after the last whole record is padding (RFC 7011 §3.3.1).
        """
        if self._steps is None:
            whole = [body[: len(body) // self.length * self.length] for body in bodies]
            rows = whole[0] if len(whole) == 1 else b"".join(whole)
            return np.ndarray((len(rows) // self.length,), self.dtype, rows), ()
        walked = [self._walk(body, self._steps) for body in bodies]
        copied = b"".join(rows for rows, _ in walked)
        problems = tuple(problem for _, problem in walked if problem is not None)
        return np.ndarray((len(copied) // self.dtype.itemsize,), self.dtype, copied), problems

    def _walk(self, body: memoryview, steps: Sequence[tuple[int, bool]]) -> tuple[bytearray, WireError | None]:
        """Copy the known elements of each record into a row."""
        rows, at, end = bytearray(), 0, len(body)
        while end - at >= self.length:
            whole = len(rows)
            for octets, kept in steps:
                if octets == VARIABLE:
                    length = body[at] if at < end else 0
                    at += 1
                    if length == _LONG:
                        length = int.from_bytes(body[at : at + 2], "big")
                        at += 2
                    at += length
                else:
                    if kept:
                        rows += body[at : at + octets]
                    at += octets
            if at > end:
                del rows[whole:]
                return rows, WireError(f"a record runs {at - end} octets over the end of its set")
            if not self.dtype.names:
                rows += bytes(1)  # nothing of it is known, and it counts
        return rows, None


def parse_templates(body: memoryview, version: int) -> Iterator[Template]:
    """Take apart a template set: RFC 3954 §5.2 (version 9), RFC 7011 §3.4.1 (version 10).

    Raises WireError at the first record that cannot be read; the set's later ones cannot be found then.
    """
    at = 0
    while len(body) - at >= _HEADER and any(body[at : at + _HEADER]):  # zeros: padding
        number, count = struct.unpack_from("!HH", body, at)
        at += _HEADER
        if _withdraws(number, count, version, TEMPLATE_SET):
            yield Template(number, None)
            continue
        size = _size(body, at, count, version, number)
        yield Template(number, _layout(bytes(body[at : at + size]), version, 0, options=False))
        at += size


def parse_options_templates(body: memoryview, version: int) -> Iterator[Template]:
    """Take apart an options template set: RFC 3954 §6.1 (version 9), RFC 7011 §3.4.2.2 (version 10).

    Raises WireError at the first record that cannot be read; the set's later ones cannot be found then.
    """
    at = 0
    while len(body) - at >= _HEADER and any(body[at : at + _HEADER]):  # zeros: padding
        number, count = struct.unpack_from("!HH", body, at)
        if _withdraws(number, count, version, OPTIONS_SET):
            yield Template(number, None)
            at += _HEADER
            continue
        scope = int.from_bytes(body[at + 4 : at + 6], "big")
        at += _OPTIONS_HEADER
        if version != IPFIX:  # v9 counts octets: of the scope, then of the options
            scope, count = count // 4, count // 4 + scope // 4
        elif not 0 < scope <= count:
            raise WireError(f"options template {number} has {scope} scope fields of {count}; expected 1 to {count}")
        size = _size(body, at, count, version, number)
        yield Template(number, _layout(bytes(body[at : at + size]), version, scope, options=True))
        at += size


def _withdraws(number: int, count: int, version: int, every: int) -> bool:
    """Whether a record withdraws a template, or, numbered `every`, all of its kind (RFC 7011 §8.1)."""
    return version == IPFIX and count == 0 and (number >= FIRST_DATA_SET or number == every)


def _size(body: memoryview, at: int, count: int, version: int, number: int) -> int:
    """Octets that `count` field specifiers take."""
    if number < FIRST_DATA_SET:
        raise WireError(f"template {number}; expected {FIRST_DATA_SET} or more")
    if not 0 < count <= MAX_FIELDS:
        raise WireError(f"template {number} has {count} fields; expected 1 to {MAX_FIELDS}")
    if version != IPFIX and at + 4 * count <= len(body):  # no enterprise numbers between
        return 4 * count
    start = at
    for _ in range(count):
        if at + 4 > len(body):
            raise WireError(f"template {number} says {count} fields and its set ends before the last")
        at += 8 if version == IPFIX and body[at] & (_ENTERPRISE >> 8) else 4
    if at > len(body):
        raise WireError(f"template {number} says {count} fields and its set ends before the last")
    return at - start


def _layout(specifiers: bytes, version: int, scope: int, *, options: bool) -> Layout:
    """Compile field specifiers, or find what was compiled from the same."""
    key = struct.pack("!HH?", version, scope, options) + specifiers
    layout = _INTERN.get(key)
    if layout is None:
        if key in _REFUSED:
            raise WireError(_REFUSED[key])
        source = Source(version, scope, options, specifiers)
        try:
            layout = _INTERN[key] = Layout(list(_fields(specifiers, version, scope)), options=options, source=source)
        except WireError as error:
            if len(_REFUSED) >= _MOST_REFUSED:
                _REFUSED.clear()
            _REFUSED[key] = str(error)
            raise
    return layout


def _fields(specifiers: bytes, version: int, scope: int) -> Iterator[Field]:
    at = index = 0
    while at < len(specifiers):
        element, length = struct.unpack_from("!HH", specifiers, at)
        at += 4
        enterprise = 0
        if version == IPFIX and element & _ENTERPRISE:
            element &= ~_ENTERPRISE
            (enterprise,) = struct.unpack_from("!I", specifiers, at)
            at += 4
        elif version != IPFIX and index < scope:
            element = V9_SCOPES.get(element, 0)
        yield Field(element, length, enterprise)
        index += 1


def _format(field: Field) -> npt.DTypeLike | None:
    """How numpy sees the field; None: it is not read, or not written as its element should be."""
    kind = KINDS.get(field.element) if field.enterprise == 0 else None
    length = field.length
    if kind is Kind.UNSIGNED and 1 <= length <= 8:  # noqa: PLR2004 unsigned64, or shorter
        return _NATIVE.get(length, (np.uint8, (length,)))
    if kind is Kind.IPV4 and length == 4:  # noqa: PLR2004 octets of an IPv4 address
        return ">u4"
    if kind is Kind.IPV6 and length == 16:  # noqa: PLR2004 octets of an IPv6 address
        return "S16"
    if kind is Kind.FLOAT and length in {4, 8}:
        return f">f{length}"
    return None


def _merged(steps: Sequence[tuple[int, bool]]) -> tuple[tuple[int, bool], ...]:
    """Join neighbouring fixed fields that are skipped, and those that are kept."""
    merged: list[tuple[int, bool]] = []
    for octets, kept in steps:
        if merged and VARIABLE not in {octets, merged[-1][0]} and merged[-1][1] == kept:
            merged[-1] = (merged[-1][0] + octets, kept)
        else:
            merged.append((octets, kept))
    return tuple(merged)
