"""Windows of demand on the wire: what a collector sends to the one above it, and what that one answers.

A window is six octets, "NetOd" and a version, then a zstd frame that holds one MessagePack map (`_Body`). Cells are
sorted, so they travel as differences; octets travel with their bytes transposed, high ones first to compress well.
The dictionary names only what the window uses. An answer is a MessagePack map: the windows that are committed.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import zstandard

from neto.errors import WireError
from neto.model.demand import ExporterHealth
from neto.model.demand_window import CellSpace, DemandWindow, Numbers, TopPrefix

VERSION = 1
MAX_MESSAGE = 32 << 20  # octets on the wire
MAX_BODY = 128 << 20  # octets of the map
MAX_CELLS = 4 << 20
MAX_OCTETS = 1 << 62  # in one window
MAX_COMMITS = 4096  # in one answer

_MAGIC = b"NetOd"
_HEADER = len(_MAGIC) + 1
_LEVEL = 1  # of zstd: what is gained beyond costs more than the line
_INTERNED = 1 << 18  # octets of a dictionary that is worth remembering

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Source = Annotated[str, msgspec.Meta(min_length=1, max_length=257)]  # two names
_Count = Annotated[int, msgspec.Meta(ge=0, lt=MAX_OCTETS)]


class Key(NamedTuple):
    """What tells one message of a collector from another; a repeat has the same."""

    epoch: int  # grows whenever the collector starts anew
    window: int  # number of the window, counted from unix time 0
    part: int = 0  # what came after the window had been sent, once the collector above a late one


@dataclass(frozen=True, eq=False)
class DemandMessage:
    """One window as a collector tells it."""

    leaf: str
    key: Key
    window_s: float
    demand: DemandWindow
    health: tuple[ExporterHealth, ...] = ()  # of those that the collector hears, at that time


class _Dictionary(msgspec.Struct, forbid_unknown_fields=True):
    sources: Annotated[list[_Source], msgspec.Meta(max_length=1 << 16)]
    targets: Annotated[list[_Name], msgspec.Meta(max_length=1 << 22)]
    prefixes: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=1 << 22)]
    classes: Annotated[list[_Name], msgspec.Meta(max_length=64)]


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    leaf: _Name
    epoch: _Count
    window: _Count
    part: _Count
    window_s: float
    begins: float
    ends: float
    dictionary: msgspec.Raw
    wide: bool  # cells are differences of 8 octets, else of 4
    cells: bytes
    octets: bytes
    unknown: dict[str, _Count]
    top: Annotated[list[tuple[str, str, _Count]], msgspec.Meta(max_length=1024)]
    heard: list[_Name]
    doubtful: dict[_Name, Annotated[str, msgspec.Meta(max_length=200)]]
    missing: list[_Name]
    health: Annotated[list[ExporterHealth], msgspec.Meta(max_length=1 << 16)]


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    committed: Annotated[list[tuple[_Count, _Count, _Count]], msgspec.Meta(max_length=MAX_COMMITS)]


def encode_window(message: DemandMessage) -> bytes:
    """Write one window."""
    demand = message.demand
    dictionary, cells = _dictionary(demand)
    differences = np.diff(cells, prepend=0)
    wide = bool(len(cells)) and int(differences.max()) > np.iinfo(np.uint32).max
    body = _Body(
        message.leaf,
        *message.key,
        message.window_s,
        demand.begins,
        demand.ends,
        msgspec.Raw(msgspec.msgpack.encode(dictionary)),
        wide,
        differences.astype("<u8" if wide else "<u4").tobytes(),
        demand.octets.astype(">u8").view(np.uint8).reshape(-1, 8).T.tobytes(),
        dict(demand.unknown),
        [(each.source, str(each.prefix), each.octets) for each in demand.top],
        sorted(demand.heard),
        dict(demand.doubtful),
        sorted(demand.missing_leaves),
        list(message.health),
    )
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(msgspec.msgpack.encode(body))
    return _MAGIC + bytes([VERSION]) + packed


def decode_window(message: bytes) -> DemandMessage:
    """Read one window.

    Raises WireError for what no collector of this version sends: it is read whole or not at all.
    """
    if len(message) > MAX_MESSAGE:
        raise WireError(f"window of {len(message)} octets; expected at most {MAX_MESSAGE}")
    if message[: len(_MAGIC)] != _MAGIC or len(message) < _HEADER:
        raise WireError("no window of demand: it does not begin as one")
    if message[len(_MAGIC)] != VERSION:
        raise WireError(f"window of version {message[len(_MAGIC)]}; expected {VERSION}: update the older of the two")
    try:
        body = _DECODER.decode(_unpacked(message[_HEADER:]))
        space = _space(bytes(body.dictionary))
        demand = _demand(body, space)
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        raise WireError(f"window cannot be read: {error}") from error
    key = Key(body.epoch, body.window, body.part)
    return DemandMessage(body.leaf, key, body.window_s, demand, tuple(body.health))


def encode_commits(keys: Iterable[Key]) -> list[bytes]:
    """Write answers: which windows of one collector are committed. Several when one cannot hold them all.

    One without windows says that the collector above has just come, and has nothing of what it was sent before.
    """
    listed = [tuple(key) for key in keys]
    return [
        msgspec.msgpack.encode({"version": VERSION, "committed": listed[at : at + MAX_COMMITS]})
        for at in range(0, max(1, len(listed)), MAX_COMMITS)
    ]


def decode_commits(answer: bytes) -> tuple[Key, ...]:
    """Read an answer. Raises WireError for what is none."""
    try:
        read = _ANSWERS.decode(answer)
    except (msgspec.DecodeError, ValueError) as error:
        raise WireError(f"answer cannot be read: {error}") from error
    if read.version != VERSION:
        raise WireError(f"answer of version {read.version}; expected {VERSION}: update the older of the two")
    return tuple(Key(*key) for key in read.committed)


_DECODER = msgspec.msgpack.Decoder(_Body)
_ANSWERS = msgspec.msgpack.Decoder(_Answer)


def _unpacked(packed: bytes) -> bytes:
    """Decompress, unless it says that it is larger than any window."""
    try:
        size = zstandard.frame_content_size(packed)
        if not 0 <= size <= MAX_BODY:
            raise WireError(f"window says {size} octets; expected at most {MAX_BODY}")
        return zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise WireError(f"window is no zstd frame: {error}") from error


def _dictionary(demand: DemandWindow) -> tuple[_Dictionary, Numbers]:
    """Names of what a window uses, and its cells as these number them."""
    space = demand.space
    if not len(demand.cells):
        return _Dictionary([], [], [], []), demand.cells
    rest, class_row = np.divmod(demand.cells, len(space.classes))
    source_row, destination_row = np.divmod(rest, len(space.destinations))
    destinations, destination = _used(destination_row, len(space.destinations))
    sources, source = _used(source_row, len(space.sources))
    used = [space.destinations[row] for row in destinations]
    dictionary = _Dictionary(
        [space.sources[row] for row in sources],
        [target for target, _ in used],
        [str(prefix) for _, prefix in used],
        list(space.classes),
    )
    return dictionary, (source * len(used) + destination) * len(space.classes) + class_row


def _used(rows: Numbers, count: int) -> tuple[list[int], Numbers]:
    """Rows that occur, and each row's place among them."""
    occurs = np.zeros(count, np.bool_)
    occurs[rows] = True
    return np.flatnonzero(occurs).tolist(), (np.cumsum(occurs) - 1)[rows]


def _space(dictionary: bytes) -> CellSpace:
    return _interned(dictionary) if len(dictionary) <= _INTERNED else _parsed(dictionary)


def _parsed(dictionary: bytes) -> CellSpace:
    """Read a dictionary. Raises ValueError."""
    read = msgspec.msgpack.decode(dictionary, type=_Dictionary)
    if len(read.targets) != len(read.prefixes):
        raise ValueError(f"{len(read.targets)} targets of {len(read.prefixes)} prefixes")
    prefixes = map(ip_network, read.prefixes)
    targets = map(sys.intern, read.targets)
    space = CellSpace(tuple(read.sources), tuple(zip(targets, prefixes, strict=True)), tuple(read.classes))
    unique = (len(set(names)) == len(names) for names in (space.sources, space.destinations, space.classes))
    if space.size >= MAX_OCTETS or not all(unique):
        raise ValueError("a dictionary with a name twice")
    return space


_interned = functools.lru_cache(maxsize=64)(_parsed)  # collectors say the same every time, and many say the same


def _demand(body: _Body, space: CellSpace) -> DemandWindow:
    """Check what the rows say. Raises ValueError."""
    differences = np.frombuffer(body.cells, "<u8" if body.wide else "<u4")
    count = len(differences)
    if count > MAX_CELLS or len(body.octets) != 8 * count:
        raise ValueError(f"{count} cells with {len(body.octets)} octets of counts")
    octets = np.ascontiguousarray(np.frombuffer(body.octets, np.uint8).reshape(8, -1).T).view(">u8").ravel()
    total = float(octets.sum(dtype=np.float64)) + sum(body.unknown.values())
    if count and (not differences[1:].all() or float(differences.sum(dtype=np.float64)) >= space.size):
        raise ValueError("cells that do not grow, or lie beyond the dictionary")
    if count and (not octets.all() or total >= MAX_OCTETS):
        raise ValueError("cells without octets, or with more than there are")
    lasts = body.ends - body.begins
    if not (math.isfinite(body.begins) and 0 < lasts < 2 * body.window_s and 0 < body.window_s <= _LONGEST_S):
        raise ValueError(f"a window from {body.begins} to {body.ends} of {body.window_s} s")
    if not _is_at(body):
        raise ValueError(f"window {body.window} of {body.window_s} s does not end at {body.ends}")
    return DemandWindow(
        body.begins,
        body.ends,
        space,
        np.cumsum(differences.astype(np.int64)),
        octets.astype(np.int64),
        _named(body.unknown),
        tuple(TopPrefix(source, ip_network(prefix), count) for source, prefix, count in body.top),
        frozenset(body.heard),
        body.doubtful,
        frozenset(body.missing),
    )


_LONGEST_S = 3600.0  # a window of more is nobody's


def _is_at(body: _Body) -> bool:
    return abs((body.window + 1) * body.window_s - body.ends) < body.window_s / 100


def _named(unknown: Mapping[str, int]) -> Mapping[str, int]:
    if any(len(source) > 128 for source in unknown):  # noqa: PLR2004 as _Name
        raise ValueError("the name of a source is longer than 128")
    return unknown
