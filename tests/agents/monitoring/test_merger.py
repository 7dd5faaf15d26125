"""Windows of several collectors become one, whenever they come."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import ip_network

import numpy as np

from neto.agents.monitoring.merger import Merger
from neto.model.demand_window import CellSpace, DemandWindow
from neto.wire.demand_message import DemandMessage, Key

SPACE = CellSpace(("a", "b", "c"), (("x", ip_network("10.0.0.0/8")), ("y", ip_network("11.0.0.0/8"))), ("gold",))
FIRST = 1000  # number of a window of 10 s


def told(leaf, window, octets=1, *, cell=0, epoch=1, part=0, space=SPACE, missing=()):
    demand = DemandWindow(
        window * 10.0,
        window * 10.0 + 10,
        space,
        np.array([cell]),
        np.array([octets]),
        {leaf: 1},
        heard=frozenset({leaf}),
        missing_leaves=frozenset(missing),
    )
    return DemandMessage(leaf, Key(epoch, window, part), 10.0, demand)


def merger(*leaves):
    return Merger(leaves, 10.0, 5.0, SPACE)


def end(window):
    return window * 10.0 + 10


def test_a_window_is_closed_once_all_those_that_are_there_have_told_it():
    both = merger("a", "b")
    both.take(told("a", FIRST, 3), end(FIRST))
    both.take(told("b", FIRST + 1), end(FIRST))
    assert both.due(end(FIRST)) == []
    both.take(told("b", FIRST, 4, cell=2), end(FIRST) + 1)
    (merged,) = both.due(end(FIRST) + 1)
    assert (merged.window, merged.part, merged.demand.cells.tolist(), merged.demand.octets.tolist()) == (
        *(FIRST, 0),
        *([0, 2], [3, 4]),
    )
    assert merged.demand.heard == {"a", "b"}
    assert merged.demand.unknown == {"a": 1, "b": 1}
    assert merged.demand.missing_leaves == frozenset()
    assert set(merged.told) == {("a", Key(1, FIRST)), ("b", Key(1, FIRST))}


def test_a_window_waits_a_while_for_one_that_was_there_and_then_says_who_is_missing():
    both = merger("a", "b")
    for window in (FIRST, FIRST + 1):
        both.take(told("a", window), end(window))
        if window == FIRST:
            both.take(told("b", window), end(window))
            assert len(both.due(end(window))) == 1
    assert both.due(end(FIRST + 1) + 4.9) == []
    (merged,) = both.due(end(FIRST + 1) + 5)
    assert merged.demand.missing_leaves == {"b"}
    assert both.counters["closed_short"] == 1


def test_one_that_has_been_silent_for_long_is_not_waited_for():
    both = merger("a", "b")
    for window in range(FIRST, FIRST + 3):
        both.take(told("a", window), end(window))
    assert [merged.window - FIRST for merged in both.due(end(FIRST + 2))] == [0, 1]
    both.take(told("a", FIRST + 3), end(FIRST + 3))
    assert [merged.demand.missing_leaves for merged in both.due(end(FIRST + 3))] == [{"b"}, {"b"}]


def test_after_a_silence_of_all_each_is_waited_for_again():
    both = merger("a", "b")
    for begun in (FIRST, FIRST + 10):
        both.take(told("a", begun), end(begun))
        assert both.due(end(begun) + 4.9) == []
        both.take(told("b", begun), end(begun) + 4.9)
        (merged,) = both.due(end(begun) + 4.9)
        assert merged.demand.missing_leaves == frozenset()


def test_what_comes_late_is_a_further_part_and_each_part_has_a_number_of_its_own():
    both = merger("a", "b")
    both.take(told("a", FIRST), end(FIRST))
    both.due(end(FIRST) + 5)
    both.take(told("b", FIRST, 7), end(FIRST) + 6)
    both.take(told("b", FIRST - 5, 8), end(FIRST) + 6)
    early, late = both.due(end(FIRST) + 6)
    assert (early.window, late.window) == (FIRST - 5, FIRST)
    assert early.part != late.part
    assert min(early.part, late.part) > 0
    assert late.demand.octets.tolist() == [7]
    assert late.demand.missing_leaves == frozenset()
    assert both.counters["windows_late"] == 2


def test_windows_that_an_earlier_process_closed_only_get_late_parts():
    one = merger("a")
    one.closed_before(FIRST)
    one.take(told("a", FIRST), end(FIRST))
    assert [merged.part > 0 for merged in one.due(end(FIRST))] == [True]


def test_a_window_of_the_future_is_not_closed_before_it_is_over():
    one = merger("a")
    one.take(told("a", FIRST + 3), end(FIRST))
    assert one.due(end(FIRST) + 29.9) == []
    assert len(one.due(end(FIRST) + 30)) == 1


def test_strangers_other_lengths_and_wrong_clocks_are_refused_with_the_reason():
    one = merger("a")
    assert "not one of ours" in one.take(told("z", FIRST), end(FIRST)).replace("our collectors", "ours")
    assert "one of the clocks is wrong" in one.take(told("a", FIRST + 100), end(FIRST))
    other = DemandMessage("a", Key(1, FIRST), 20.0, told("a", FIRST).demand)
    assert "windows are of 20.0 s" in one.take(other, end(FIRST))
    assert "octets (accepted" in one.take(told("a", FIRST, 1 << 55), end(FIRST))
    assert one.counters["windows_refused"] == 4
    assert one.due(1e12) == []


def test_cells_that_are_not_configured_here_become_unknown_of_their_source():
    theirs = CellSpace(("b", "z"), (("x", ip_network("10.0.0.0/8")), ("q", ip_network("12.0.0.0/8"))), ("gold",))
    one = merger("a")
    for cell in range(4):
        one.take(told("a", FIRST, 10**cell, cell=cell, part=cell, space=theirs), end(FIRST))
    (merged,) = one.due(end(FIRST))
    assert {SPACE.cell(cell)[:2] for cell in merged.demand.cells.tolist()} == {("b", "x")}
    assert merged.demand.octets.tolist() == [1]
    assert merged.demand.unknown == {"a": 4, "b": 10, "z": 1100}


def test_missing_leaves_of_a_tier_below_are_passed_on():
    one = merger("mid")
    one.take(told("mid", FIRST, missing=["fra"]), end(FIRST))
    assert one.due(end(FIRST))[0].demand.missing_leaves == {"fra"}


def test_whatever_the_order_and_the_repeats_every_octet_is_in_one_part():
    """Oracle: a plain sum over distinct messages."""
    chance = random.Random(5)
    for _ in range(50):
        three = merger("a", "b", "c")
        messages = [
            told(leaf, FIRST + n, chance.randrange(1, 1 << 50), cell=chance.randrange(SPACE.size), epoch=epoch)
            for leaf in "abc"
            for n in range(8)
            for epoch in (1, 2)
        ]
        sent = [*messages, *chance.choices(messages, k=20)]
        chance.shuffle(sent)
        parts, taken, now = [], set(), end(FIRST)
        for each in sent:
            now += chance.choice([0, 0, 1, 7])
            if (each.leaf, each.key) not in taken:  # as the caller does for what is committed
                three.take(each, max(now, each.demand.ends))
            closed = three.due(now)
            taken |= {key for merged in closed for key in merged.told}
            parts += closed
        parts += three.due(now + 1e6)
        expected, got = Counter(), Counter()
        for each in messages:
            expected[each.key.window] += each.demand.total
        for merged in parts:
            got[merged.window] += merged.demand.total
        assert got == expected
        assert len({(merged.window, merged.part) for merged in parts}) == len(parts)
        assert sorted(key for merged in parts for key in merged.told) == sorted((m.leaf, m.key) for m in messages)
