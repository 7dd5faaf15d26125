"""Damages flow exports as networks, exporters and attackers do: hundreds of packets at once, each known by its number.

A packet depends on the corpus, the seed and its number alone, so that one that fails can be made again by itself.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from neto.jit import compiled
from neto.wire.netflow.elements import KINDS

ROOM = 8192  # octets that a damaged packet has at most
TEMPLATE_SETS, OPTIONS_SETS = {9: 0, 10: 2}, {9: 1, 10: 3}
HEADER = {9: 20, 10: 16}


class Kind(IntEnum):
    """What becomes of a packet."""

    NOTHING = 0
    BITS = 1
    CUT = 2
    TOLD = 3  # a length, count, number or prefix says something else
    TAIL = 4
    DOMAIN = 5  # another sequence number and domain: somebody else's, or nobody's
    JOINED = 6  # with another one's end
    PIECE = 7  # of another one, somewhere in it
    GARBAGE = 8
    TEMPLATES = 9  # never seen before, and data for them
    OPTIONS = 10
    WITHDRAWN = 11
    LYING = 12  # templates that say more fields than there are


KINDS_OF_DAMAGE = len(Kind)
(
    *(_NOTHING, _BITS, _CUT, _TOLD, _TAIL, _DOMAIN, _JOINED, _PIECE, _GARBAGE, _TEMPLATES, _OPTIONS, _WITHDRAWN),
    _LYING,
) = map(int, Kind)
_WEIGHTS = np.array([20, 10, 8, 28, 4, 6, 5, 6, 3, 6, 4, 1, 1])
# Which kind, by a number at random. Half of what is changed is changed again.
_CHOICE = np.repeat(np.arange(KINDS_OF_DAMAGE), _WEIGHTS)
_ELEMENTS = np.array(sorted(KINDS), np.int64)
_SIZES = np.array([0, 1, 2, 3, 4, 4, 4, 8, 8, 16, 255, 65535])
_EDGES = np.array([0, 1, 2, 3, 4, 5, 8, 16, 127, 128, 254, 255, 256, 257, 32767, 32768, 65534, 65535])


class Corpus(NamedTuple):
    """Good packets: octets (seeds, ROOM) uint8, length (seeds,), and where each one's place_start (seeds + 1,) is in
    place and size (places,): octets at which a length, a count or a number stands, and how many."""

    octets: np.ndarray
    length: np.ndarray
    place_start: np.ndarray
    place: np.ndarray
    size: np.ndarray


def corpus(packets):
    octets = np.zeros((len(packets), ROOM), np.uint8)
    for row, packet in zip(octets, packets, strict=True):
        row[: len(packet)] = np.frombuffer(packet, np.uint8)
    found = [places(packet) for packet in packets]
    start = np.cumsum([0, *map(len, found)])
    flat = np.array([each for one in found for each in one], np.int64).reshape(-1, 2)
    return Corpus(octets, np.array([*map(len, packets)]), start, flat[:, 0].copy(), flat[:, 1].copy())


def places(packet):
    """Where a good packet says lengths, counts and numbers: (octet, octets) each."""
    (version,) = struct.unpack_from("!H", packet)
    if version not in HEADER:
        words = range(0, len(packet) - 3, 4) if version == 0 else range(24, 24)  # all of sFlow is in words
        return [(0, 2), (2, 2), *((at, 4) for at in words)]
    found, at = [(0, 2), (2, 2)], HEADER[version]
    while at + 4 <= len(packet):
        number, length = struct.unpack_from("!HH", packet, at)
        found += [(at, 2), (at + 2, 2)]
        inside, end = at + 4, at + length
        if number == TEMPLATE_SETS[version]:
            while inside + 4 <= end:
                (count,) = struct.unpack_from("!H", packet, inside + 2)
                found += [(place, 2) for place in range(inside, inside + 4 + 4 * count, 2)]
                inside += 4 + 4 * count
        elif number == OPTIONS_SETS[version]:
            found += [(place, 2) for place in range(inside, end - 1, 2)]
        else:
            found += [(place, 1) for place in range(inside, end)]  # prefixes of variable lengths among them
        at = end
    return found


@compiled
def _draw(state, below):
    """A number from 0 on (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    mixed = state[0]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.int64(mixed % np.uint64(below))


@compiled
def _put(packet, at, octets, value):
    for octet in range(octets):
        if at + octet < ROOM:
            packet[at + octet] = np.uint8((value >> (8 * (octets - 1 - octet))) & 255)
    return at + octets


@compiled
def _random(packet, at, octets, state):
    for octet in range(at, min(at + octets, ROOM)):
        packet[octet] = np.uint8(_draw(state, 256))
    return min(at + octets, ROOM)


@compiled
def _opened(packet, version, state):
    """Write a header; return where sets begin."""
    _put(packet, 0, 2, version)
    _put(packet, 2, 2, 1)
    at = _put(packet, 4, 4, 1_800_000_000)
    if version == 9:
        at = _put(packet, at, 4, 1_800_000_000)
    at = _put(packet, at, 4, _draw(state, 1 << 32) if _draw(state, 4) == 0 else _draw(state, 50))
    return _put(packet, at, 4, _draw(state, 1 << 32) if _draw(state, 8) == 0 else _draw(state, 3))


@compiled
def _closed(packet, at, version):
    at = min(at, ROOM)
    if version == 10:
        _put(packet, 2, 2, at)
    return at


@compiled
def _specifier(packet, at, version, state):
    """Write a field; return where it ends, and the octets of it that a record has at least."""
    element = _ELEMENTS[_draw(state, len(_ELEMENTS))] if _draw(state, 4) else _draw(state, 1 << 16)
    size = _SIZES[_draw(state, len(_SIZES))]
    at = _put(packet, at, 2, element)
    at = _put(packet, at, 2, size)
    if version == 10 and element >= 1 << 15:
        at = _put(packet, at, 4, _draw(state, 1 << 32))
    return at, 1 if size == 65535 else size


@compiled
def _templated(packet, options, state):
    """Write a message of templates that were never seen, and records of the last; return its length."""
    version = 9 + _draw(state, 2)
    at = _opened(packet, version, state)
    number, octets = 0, 0
    for _ in range(1 + _draw(state, 3)):
        begin = at
        at += 4
        many = 1 if _draw(state, 3) else 1 + _draw(state, 30)
        for _ in range(many):
            number = 256 + (_draw(state, 65280) if _draw(state, 2) else _draw(state, 60))
            count = 1 + (_draw(state, 12) if _draw(state, 8) else _draw(state, 400))
            scope = min(1 + _draw(state, 2), count)
            if at + 8 * count + 300 > ROOM:
                break
            at = _put(packet, at, 2, number)
            if not options:
                at = _put(packet, at, 2, count)
            elif version == 9:
                at = _put(packet, _put(packet, at, 2, 4 * scope), 2, 4 * (count - scope))
            else:
                at = _put(packet, _put(packet, at, 2, count), 2, scope)
            octets = 0
            for _ in range(count):
                at, least = _specifier(packet, at, version, state)
                octets += least
        kind = options + (2 if version == 10 else 0)
        _put(packet, begin, 2, kind)
        _put(packet, begin + 2, 2, at - begin)
        if octets and _draw(state, 2):
            told = min((1 + _draw(state, 6)) * octets, ROOM - at - 8)
            if told > 0:
                at = _put(packet, _put(packet, at, 2, number), 2, 4 + told)
                at = _random(packet, at, told, state)
    return _closed(packet, at, version)


@compiled
def _withdrawn(packet, state):
    """Write a message that withdraws templates, or all of a kind; return its length."""
    at = _opened(packet, 10, state)
    count, kind = 1 + _draw(state, 40), 2 + _draw(state, 2)
    at = _put(packet, _put(packet, at, 2, kind), 2, 4 + 4 * count)
    for _ in range(count):
        at = _put(packet, at, 2, 256 + _draw(state, 60) if _draw(state, 9) else kind)
        at = _put(packet, at, 2, 0)
    return _closed(packet, at, 10)


@compiled
def _lying(packet, state):
    """Write a template of up to 64k fields that are not there; return the message's length."""
    version = 9 + _draw(state, 2)
    at = _opened(packet, version, state)
    told = 8 + _draw(state, 1200)
    at = _put(packet, _put(packet, at, 2, 2 if version == 10 else 0), 2, 4 + told)
    at = _put(packet, _put(packet, at, 2, 256 + _draw(state, 60)), 2, 65535 - _draw(state, 65000))
    return _closed(packet, _random(packet, at, told - 4, state), version)


@compiled
def _damage(corpus, seed_row, packet, length, kind, state):  # noqa: C901, PLR0911, PLR0912  one branch for each kind
    """Damage a packet in place; return its length then."""
    most = max(length, 1)
    if kind == _BITS:
        for _ in range(1 + _draw(state, 3)):
            packet[_draw(state, most)] ^= np.uint8(1 << _draw(state, 8))
    elif kind == _CUT:
        return _draw(state, most)
    elif kind == _TOLD:
        begin, end = corpus.place_start[seed_row], corpus.place_start[seed_row + 1]
        which = begin + _draw(state, end - begin)
        at, octets = corpus.place[which], corpus.size[which]
        if at + octets > length:
            return length
        value = np.int64(0)
        for octet in range(octets):
            value = value << 8 | np.int64(packet[at + octet])
        how = _draw(state, 4)
        if how == 0:
            value += _draw(state, 9) - 4
        elif how == 1:
            value = _draw(state, 1 << 32)
        elif how == 2 and octets == 4:
            value = (np.int64(1) << 32) - 1 - _draw(state, 2)
        else:
            value = _EDGES[_draw(state, len(_EDGES))]
        _put(packet, at, octets, value)
    elif kind == _TAIL:
        tail = min(1 + _draw(state, 40), ROOM - length)
        if _draw(state, 2):
            return _random(packet, length, tail, state)
        packet[length : length + tail] = 0
        return length + tail
    elif kind == _DOMAIN:
        _random(packet, 8, 12, state)
        if _draw(state, 2):
            _random(packet, 2, 2, state)
        return max(length, 20)
    elif kind in (_JOINED, _PIECE):
        other = _draw(state, len(corpus.length))
        theirs = corpus.length[other]
        begin = _draw(state, theirs)
        piece = theirs - begin if kind == _JOINED else 1 + _draw(state, theirs - begin)
        at = _draw(state, most)
        piece = min(piece, ROOM - at)
        packet[at : at + piece] = corpus.octets[other, begin : begin + piece]
        return at + piece if kind == _JOINED else max(length, at + piece)
    elif kind == _GARBAGE:
        return _random(packet, 0, 1 + _draw(state, 200), state)
    elif kind == _TEMPLATES:
        return _templated(packet, 0, state)
    elif kind == _OPTIONS:
        return _templated(packet, 1, state)
    elif kind == _WITHDRAWN:
        return _withdrawn(packet, state)
    elif kind == _LYING:
        return _lying(packet, state)
    return length


@compiled
def damaged(corpus, seed, first, packets, lengths, kinds, chances):
    """Make packets `first` and on.

    packets: (packets, at least ROOM + 8) uint8. lengths, kinds (the first damage of each), chances (a number below
    2**31 for each, to choose its sender by): (packets,).
    """
    state = np.empty(1, np.uint64)
    for index in range(len(lengths)):
        state[0] = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(first + index)
        chances[index] = _draw(state, 1 << 31)
        row = _draw(state, len(corpus.length))
        length, packet = corpus.length[row], packets[index]
        packet[:length] = corpus.octets[row, :length]
        kinds[index] = _CHOICE[_draw(state, len(_CHOICE))]
        kind = kinds[index]
        while kind != _NOTHING:
            length = _damage(corpus, row, packet, length, kind, state)
            if _draw(state, 2):
                break
            kind = _CHOICE[_draw(state, _CHOICE_AGAIN)]
        lengths[index] = length


_CHOICE_AGAIN = int(_WEIGHTS[:_GARBAGE].sum())  # of what leaves something of the packet
