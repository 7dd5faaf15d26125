"""Windows travel whole, and nothing else is taken for one."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_network

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.errors import WireError
from neto.model.demand import ExporterHealth
from neto.model.demand_window import CellSpace, DemandWindow, TopPrefix
from neto.wire.demand_message import (
    MAX_COMMITS,
    VERSION,
    DemandMessage,
    Key,
    decode_commits,
    decode_window,
    encode_commits,
    encode_window,
)

SPACE = CellSpace(
    ("nyc1", "lon1", "fra1"),
    (("nyc1", ip_network("10.1.0.0/18")), ("lon1", ip_network("10.2.0.0/18")), ("web", ip_network("2001:db8::/32"))),
    ("gold", "rest"),
)
NUMBER = 180_000_000


def message(cells, octets, **more):
    window = DemandWindow(
        NUMBER * 10.0,
        NUMBER * 10.0 + 10.0,
        SPACE,
        np.array(cells, np.int64),
        np.array(octets, np.int64),
        **more,
    )
    return DemandMessage("fra", Key(7, NUMBER, 2), 10.0, window, (HEALTH,))


HEALTH = ExporterHealth("lon1", "192.0.2.1", "ipfix", 7, 100, 3, 0.03, 1, 2, 0, 4, 5, -3.5, collector="ams")


def by_name(demand):
    rows = zip(demand.cells.tolist(), demand.octets.tolist(), strict=True)
    return {demand.space.cell(cell): octets for cell, octets in rows}


GOOD = message(
    [0, 3, 17],
    [1, 1 << 50, 12345],
    unknown={"nyc1": 5, "": 7},
    top=(TopPrefix("nyc1", ip_network("203.0.113.0/24"), 5),),
    heard=frozenset({"nyc1", "lon1"}),
    doubtful={"lon1": "3 % lost"},
    missing_leaves=frozenset({"ams"}),
)


@given(st.dictionaries(st.integers(0, SPACE.size - 1), st.integers(1, 1 << 55)))
def test_every_cell_arrives_with_its_octets(cells):
    rows = sorted(cells.items())
    sent = message([cell for cell, _ in rows], [octets for _, octets in rows])
    came = decode_window(encode_window(sent)).demand
    assert by_name(came) == {SPACE.cell(cell): octets for cell, octets in rows}


def test_all_else_that_a_window_tells_arrives():
    came = decode_window(encode_window(GOOD))
    assert (came.leaf, came.key, came.window_s) == ("fra", Key(7, NUMBER, 2), 10.0)
    assert came.health == (HEALTH,)
    sent, got = GOOD.demand, came.demand
    assert by_name(got) == by_name(sent)
    for name in ("begins", "ends", "unknown", "top", "heard", "doubtful", "missing_leaves", "total"):
        assert getattr(got, name) == getattr(sent, name), name


def test_cells_far_apart_travel_too():
    space = CellSpace(
        tuple(map(str, range(60_000))), tuple((str(n), ip_network((n << 8, 24))) for n in range(50_000)), ("a", "b")
    )
    window = DemandWindow(0.0, 10.0, space, np.array([0, 1, space.size - 1]), np.array([3, 4, 5]))
    came = decode_window(encode_window(DemandMessage("x", Key(1, 0), 10.0, window))).demand
    assert by_name(came) == by_name(window)
    assert len(came.space.sources) == 2  # only what is used is named


def changed(**fields):
    """GOOD with fields of its map set otherwise."""
    packed = encode_window(GOOD)
    body = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(packed[6:]))
    return packed[:6] + zstandard.ZstdCompressor().compress(msgspec.msgpack.encode({**body, **fields}))


def u4(*numbers):
    return np.array(numbers, "<u4").tobytes()


def u8(*numbers):
    return np.array(numbers, ">u8").view(np.uint8).reshape(-1, 8).T.tobytes()


DICTIONARY = {"sources": ["a"], "targets": ["t", "u"], "prefixes": ["10.0.0.0/8"], "classes": ["c"]}


@pytest.mark.parametrize(
    "fields",
    [
        {"leaf": ""},
        {"leaf": "x" * 200},
        {"epoch": -1},
        {"window": 1 << 62},
        {"window": NUMBER + 1},
        {"window_s": 0.0},
        {"window_s": float("nan")},
        {"begins": float("nan")},
        {"ends": float("inf")},
        {"begins": NUMBER * 10.0 + 11},
        {"cells": u4(0, 0, 1)},
        {"cells": u4(0, 3, 18)},
        {"cells": u4(0, 3)},
        {"cells": b"123"},
        {"octets": u8(1, 0, 2)},
        {"octets": u8(1, 1 << 63, 2)},
        {"octets": u8((1 << 62) - 1, (1 << 62) - 1, 2)},
        {"octets": b""},
        {"unknown": {"a": -1}},
        {"unknown": {"a" * 200: 1}},
        {"unknown": {"a": 1 << 62}},
        {"top": [["a", "10.0.0.1/8", 1]]},
        {"top": [["a", "10.0.0.0/8", 1]] * 2000},
        {"heard": "nyc1"},
        {"health": [{"router": "lon1"}]},
        {"health": [1]},
        {"dictionary": DICTIONARY},
        {"dictionary": {**DICTIONARY, "prefixes": ["10.0.0.0/8", "10.0.0.0/99"]}},
        {"dictionary": {**DICTIONARY, "sources": ["a", "a"], "prefixes": ["10.0.0.0/8", "11.0.0.0/8"]}},
        {"more": 1},
    ],
)
def test_what_no_collector_sends_is_refused(fields):
    with pytest.raises(WireError):
        decode_window(changed(**fields))


def test_another_version_is_named_and_no_bomb_goes_off():
    good = encode_window(GOOD)
    with pytest.raises(WireError, match=f"version 9; expected {VERSION}"):
        decode_window(good[:5] + b"\x09" + good[6:])
    bomb = zstandard.ZstdCompressor().compress(bytes(200 << 20))
    with pytest.raises(WireError, match="expected at most"):
        decode_window(good[:6] + bomb)


@given(st.binary(max_size=300))
def test_random_octets_are_refused(junk):
    for body in (junk, encode_window(GOOD)[:6] + junk):
        with pytest.raises(WireError):
            decode_window(body)
    with pytest.raises(WireError):
        decode_commits(b"\xff" + junk)


@settings(max_examples=200)
@given(st.integers(0, 1 << 32))
def test_a_window_with_octets_changed_is_read_or_refused(seed):
    chance = random.Random(seed)
    inner = bytearray(zstandard.ZstdDecompressor().decompress(encode_window(GOOD)[6:]))
    for _ in range(chance.randrange(1, 4)):
        inner[chance.randrange(len(inner))] = chance.randrange(256)
    try:
        came = decode_window(encode_window(GOOD)[:6] + zstandard.ZstdCompressor().compress(bytes(inner)))
    except WireError:
        return
    assert all(0 <= cell < came.demand.space.size for cell in came.demand.cells.tolist())
    assert 0 <= came.demand.total < 1 << 62


def test_answers_name_what_is_committed_in_as_many_as_it_takes():
    keys = [Key(1, window, 0) for window in range(MAX_COMMITS + 1)]
    answers = encode_commits(keys)
    assert len(answers) == 2
    assert [key for answer in answers for key in decode_commits(answer)] == keys
    assert decode_commits(encode_commits(())[0]) == ()
    with pytest.raises(WireError, match="version 2"):
        decode_commits(msgspec.msgpack.encode({"version": 2, "committed": []}))


def test_a_replaced_field_is_seen():
    """The checks above would be worth nothing if `changed` itself broke the message."""
    assert decode_window(changed(leaf="ams")).leaf == "ams"
    assert replace(GOOD, leaf="ams").key == GOOD.key
