"""Template records -> layouts: how to see the known elements of a record without looking at its octets one by one.

A record whose lengths are fixed is one numpy structured type over the packet as it came. Where lengths vary
(RFC 7011 §7) the records are walked and their known elements copied into rows of such a type: same view, slower.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from neto.errors import WireError
from neto.jit import Whole, compiled
from neto.wire.netflow.elements import (
    DST4,
    DST6,
    FRAME_SECTIONS,
    IP_SECTION,
    KINDS,
    LENGTHS,
    SRC4,
    SRC6,
    V9_SCOPES,
    Kind,
)

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
_ENTERPRISE_OCTET = _ENTERPRISE >> 8
_LONGEST = 16  # octets of a field that is read
_NATIVE = {1: "u1", 2: ">u2", 4: ">u4", 8: ">u8"}
# By element: its kind, from 1 on; by kind: the lengths that it may have, as bits.
_KINDS = np.zeros(1 << 16, np.uint8)
_KINDS[list(KINDS)] = [1 + kind.value for kind in KINDS.values()]
_LENGTHS = np.array([0, *(sum(1 << length for length in lengths) for lengths in LENGTHS.values())], np.int32)
_INTERN: WeakValueDictionary[bytes, Layout] = WeakValueDictionary()  # many exporters share few layouts
_ADDRESSES = frozenset(SRC4 + DST4 + SRC6 + DST6)
_READ: deque[Layout] = deque()  # that can be read as they are
_MOST_READ = 256

Int32s = npt.NDArray[np.int32]
Octets = npt.NDArray[np.uint8]


class Known(NamedTuple):
    """A field of an element that is read, written as that should be; of a repeated element the first."""

    element: int
    field: int  # its place among the fields
    at: int  # octet at which it stands, where lengths are fixed
    length: int


class Section(NamedTuple):
    """A field that holds the first octets of a packet."""

    field: int  # its place among the fields
    is_ip: bool  # they begin with the IP header; else with the data link's


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
        count = len(self.fields()[0])
        if not self.options:
            return struct.pack("!HH", number, count) + self.specifiers
        if self.version == IPFIX:
            return struct.pack("!HHH", number, count, self.scope) + self.specifiers
        return struct.pack("!HHH", number, 4 * self.scope, 4 * (count - self.scope)) + self.specifiers

    def fields(self) -> tuple[Int32s, Int32s]:
        """Elements, 0 for an enterprise's own, and lengths: (fields,) each."""
        elements, lengths = np.empty((2, len(self.specifiers) // 4), np.int32)
        octets = np.frombuffer(self.specifiers, np.uint8)
        count = _fields(octets, self.version == IPFIX, elements, lengths)
        elements, lengths = elements[:count], lengths[:count]
        if self.version != IPFIX:
            elements[: self.scope] = [V9_SCOPES.get(scope, 0) for scope in elements[: self.scope].tolist()]
        return elements, lengths


class Layout:
    """What is known of records with one list of fields.

    length: octets of a record, the fewest when lengths vary. varies: they do. options: the records describe the
    exporter, not flows. source: what it was told as. Templates are many and few of them have data: what reading takes
    is made at the first data, and forgotten when there is too much of it.
    """

    __slots__ = ("__weakref__", "_reading", "length", "options", "source", "varies")

    def __init__(self, source: Source, length: int, *, varies: bool) -> None:
        if not 0 < length <= MAX_RECORD:
            raise WireError(f"a record of {length} octets; expected 1 to {MAX_RECORD}")
        self.source = source
        self.options = source.options
        self.length = length
        self.varies = varies
        self._reading: _Reading | None = None

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The known elements of a row, named by number."""
        return self._read().dtype

    @property
    def section(self) -> Section | None:
        """The field that holds the first octets of a packet, where nothing else tells of its addresses."""
        return self._read().section

    def sections(self, bodies: Sequence[memoryview]) -> Iterator[memoryview]:
        """Yield what `section` holds in each of the records that `view` sees, in that order."""
        lengths, section = self.source.fields()[1].tolist(), self.section
        assert section is not None  # noqa: S101 the caller has looked
        for body in bodies:
            at, end, held = 0, len(body), body
            while end - at >= self.length:
                for field, octets in enumerate(lengths):
                    begin, after = _field(body, at, octets)
                    if field == section.field:
                        held = body[begin:after]
                    at = after
                if at > end:
                    break
                yield held

    @property
    def is_read(self) -> bool:
        """Whether what reading takes is there."""
        return self._reading is not None

    def known(self) -> list[Known]:
        """The fields that are read."""
        elements, lengths = self.source.fields()
        kinds = _KINDS[elements]
        readable = np.flatnonzero((_LENGTHS[kinds] >> np.minimum(lengths, _LONGEST + 1)) & 1)
        begins = np.cumsum(lengths) - lengths
        first = {}
        for index in readable.tolist():
            element = int(elements[index])
            if element not in first:
                first[element] = Known(element, index, int(begins[index]), int(lengths[index]))
        return list(first.values())

    def view(self, bodies: Sequence[memoryview]) -> tuple[npt.NDArray[np.void], tuple[WireError, ...]]:
        """See the records of data sets, one set after the other.

        Returns (records,) of `dtype`, and what is wrong where a last record runs over the end of its set.
        What remains after the last whole record is padding (RFC 7011 §3.3.1).
        """
        dtype, steps, _ = self._read()
        if steps is None:
            whole = [body[: len(body) // self.length * self.length] for body in bodies]
            rows = whole[0] if len(whole) == 1 else b"".join(whole)
            return np.ndarray((len(rows) // self.length,), dtype, rows), ()
        walked = [self._walk(body, steps, known=bool(dtype.names)) for body in bodies]
        copied = b"".join(rows for rows, _ in walked)
        problems = tuple(problem for _, problem in walked if problem is not None)
        return np.ndarray((len(copied) // dtype.itemsize,), dtype, copied), problems

    def _read(self) -> _Reading:
        """Find or make what reading takes."""
        if self._reading is None:
            known = self.known()
            steps = _steps(self.source.fields()[1].tolist(), {each.field for each in known}) if self.varies else None
            lengths = [each.length for each in known]
            packed = [sum(lengths[:n]) for n in range(len(lengths))]
            dtype = np.dtype(
                {
                    "names": [str(each.element) for each in known],
                    "formats": [_format(each) for each in known],
                    "offsets": packed if self.varies else [each.at for each in known],
                    "itemsize": max(sum(lengths), 1) if self.varies else self.length,
                }
            )
            self._reading = _Reading(dtype, steps, self._section(known))
            _READ.append(self)
            if len(_READ) > _MOST_READ:
                _READ.popleft()._reading = None  # noqa: SLF001  one of the class
        return self._reading

    def _section(self, known: Sequence[Known]) -> Section | None:
        if any(each.element in _ADDRESSES for each in known):
            return None
        elements = self.source.fields()[0].tolist()
        told = (element for element in (*FRAME_SECTIONS, IP_SECTION) if element in elements)
        return next((Section(elements.index(element), element == IP_SECTION) for element in told), None)

    def _walk(
        self, body: memoryview, steps: Sequence[tuple[int, bool]], *, known: bool
    ) -> tuple[bytearray, WireError | None]:
        """Copy the known elements of each record into a row."""
        rows, at, end = bytearray(), 0, len(body)
        while end - at >= self.length:
            whole = len(rows)
            for octets, kept in steps:
                begin, at = _field(body, at, octets)
                if kept:
                    rows += body[begin:at]
            if at > end:
                del rows[whole:]
                return rows, WireError(f"a record runs {at - end} octets over the end of its set")
            if not known:
                rows += bytes(1)  # nothing of it is known, and it counts
        return rows, None


class _Reading(NamedTuple):
    """What reading records takes.

    dtype: of their rows. steps: where lengths vary, octets to pass over or to keep, in turn. section: see `Layout`.
    """

    dtype: np.dtype[np.void]
    steps: tuple[tuple[int, bool], ...] | None
    section: Section | None


def _field(body: memoryview, at: int, octets: int) -> tuple[int, int]:
    """Where what a field holds begins and ends, of a field that begins at `at`."""
    if octets != VARIABLE:
        return at, at + octets
    length = body[at] if at < len(body) else 0
    at += 1
    if length == _LONG:
        length = int.from_bytes(body[at : at + 2], "big")
        at += 2
    return at, at + length


def fixed(*fields: tuple[int, int]) -> Layout:
    """Lay out records of elements and lengths that no template tells of."""
    specifiers = b"".join(struct.pack("!HH", *field) for field in fields)
    return Layout(Source(IPFIX, 0, False, specifiers), sum(length for _, length in fields), varies=False)


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
        layout, at = _taken(body, at, count, version, 0, number, options=False)
        yield Template(number, layout)


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
        layout, at = _taken(body, at, count, version, scope, number, options=True)
        yield Template(number, layout)


def _withdraws(number: int, count: int, version: int, every: int) -> bool:
    """Whether a record withdraws a template, or, numbered `every`, all of its kind (RFC 7011 §8.1)."""
    return version == IPFIX and count == 0 and (number >= FIRST_DATA_SET or number == every)


def _taken(
    body: memoryview, at: int, count: int, version: int, scope: int, number: int, *, options: bool
) -> tuple[Layout, int]:
    """Lay out records of `count` field specifiers; return where the specifiers end, too."""
    if number < FIRST_DATA_SET:
        raise WireError(f"template {number}; expected {FIRST_DATA_SET} or more")
    if not 0 < count <= MAX_FIELDS:
        raise WireError(f"template {number} has {count} fields; expected 1 to {MAX_FIELDS}")
    size, length, varies = _measured(np.frombuffer(body, np.uint8), at, count, version == IPFIX)
    if size < 0:
        raise WireError(f"template {number} says {count} fields and its set ends before the last")
    size = int(size)
    specifiers = bytes(body[at : at + size])
    key = struct.pack("!HH?", version, scope, options) + specifiers
    layout = _INTERN.get(key)
    if layout is None:
        layout = _INTERN[key] = Layout(Source(version, scope, options, specifiers), int(length), varies=varies)
    return layout, at + size


@compiled
def _measured(octets: Octets, begin: int, count: int, enterprises: bool) -> tuple[Whole, Whole, bool]:  # noqa: FBT001  kernels take arguments by position
    """Octets that field specifiers take, -1 when they are not all there, and length and varies as `Layout` has them."""
    length, varies, at = np.int64(0), False, begin
    for _ in range(count):
        if at + 4 > len(octets):
            return -1, np.int64(0), False
        octets_told = np.int64(octets[at + 2]) << 8 | np.int64(octets[at + 3])
        varies |= octets_told == VARIABLE
        length += 1 if octets_told == VARIABLE else octets_told
        at += 8 if enterprises and octets[at] & _ENTERPRISE_OCTET else 4
    return (at - begin if at <= len(octets) else -1), length, varies


@compiled
def _fields(octets: Octets, enterprises: bool, elements: Int32s, lengths: Int32s) -> int:  # noqa: FBT001  as above
    """Read field specifiers into (fields,) each; return how many there are."""
    count, at = 0, 0
    while at < len(octets):
        elements[count] = np.int32(octets[at]) << 8 | np.int32(octets[at + 1])
        lengths[count] = np.int32(octets[at + 2]) << 8 | np.int32(octets[at + 3])
        at += 4
        if enterprises and elements[count] & _ENTERPRISE:
            elements[count] = 0
            at += 4
        count += 1
    return count


def _format(field: Known) -> npt.DTypeLike:
    """How numpy sees a field that is read."""
    kind = KINDS[field.element]
    if kind is Kind.UNSIGNED:
        return _NATIVE.get(field.length, (np.uint8, (field.length,)))
    if kind is Kind.IPV4:
        return ">u4"
    return "S16" if kind is Kind.IPV6 else f">f{field.length}"


def _steps(lengths: Sequence[int], kept: Container[int]) -> tuple[tuple[int, bool], ...]:
    """Join neighbouring fixed fields that are skipped, and those that are kept."""
    merged: list[tuple[int, bool]] = []
    for index, octets in enumerate(lengths):
        is_kept = index in kept
        if merged and VARIABLE not in {octets, merged[-1][0]} and merged[-1][1] == is_kept:
            merged[-1] = (merged[-1][0] + octets, is_kept)
        else:
            merged.append((octets, is_kept))
    return tuple(merged)
