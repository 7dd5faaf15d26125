"""Loads and losses, against a reckoning link by link and against what conservation demands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.lab.fluid import ASTRAY, BLACKHOLED, CUT, Fluid, Stream
from neto.lab.way import Path, Way

CLASSES = ("gold", "silver", "rest")
LINKS = ("ab", "bc", "cd", "de")


def over(*links: str, arrives: bool = True) -> Way:
    return Way((Path(links, 1.0, 0.0, arrives),))


def test_a_link_that_is_full_serves_higher_classes_first():
    fluid = Fluid({"ab": 100.0}, CLASSES)
    outcome = fluid.flow([Stream(over("ab"), 0, 60.0), Stream(over("ab"), 1, 60.0), Stream(over("ab"), 2, 30.0)])
    assert outcome.load_mbps == {"ab": [60.0, 60.0, 30.0]}
    assert outcome.lost_mbps == {"silver": 20.0, "rest": 30.0}
    assert outcome.delivered_mbps.tolist() == [60.0, 40.0, 0.0]


def test_what_is_dropped_is_lost_once_and_crowds_out_nothing_further_on():
    """Of the 100 of the first stream 50 get through ab; with them bc is just full."""
    fluid = Fluid({"ab": 50.0, "bc": 80.0}, CLASSES)
    outcome = fluid.flow([Stream(over("ab", "bc"), 2, 100.0), Stream(over("bc"), 2, 30.0)])
    assert outcome.load_mbps["bc"] == [0.0, 0.0, 130.0]  # what is sent its way, whatever is dropped before
    assert outcome.lost_mbps == pytest.approx({"rest": 50.0})
    assert outcome.delivered_mbps.tolist() == pytest.approx([50.0, 30.0])


def test_beyond_a_dead_link_nothing_is_loaded():
    fluid = Fluid(dict.fromkeys(LINKS, 100.0), CLASSES)
    half = Way((Path(("ab", "bc", "cd"), 0.5, 0.0), Path(("ab", "de"), 0.5, 0.0)))
    outcome = fluid.flow([Stream(half, 0, 80.0)], dead={"bc", "cd"})
    assert {link: sum(load) for link, load in outcome.load_mbps.items()} == {"ab": 80.0, "bc": 0, "cd": 0, "de": 40.0}
    assert outcome.lost_mbps == {CUT: 40.0}
    assert outcome.delivered_mbps.tolist() == [40.0]


def test_what_an_isp_loses_has_loaded_the_way_to_it_and_its_link():
    fluid = Fluid({"ab": 100.0, "isp": 100.0}, CLASSES)
    outcome = fluid.flow([Stream(over("ab", "isp"), 0, 30.0, frozenset({"isp"})), Stream(over("ab"), 0, 5.0)])
    assert outcome.load_mbps == {"ab": [35.0, 0.0, 0.0], "isp": [30.0, 0.0, 0.0]}
    assert outcome.lost_mbps == {BLACKHOLED: 30.0}
    assert outcome.delivered_mbps.tolist() == [0.0, 5.0]


def test_traffic_that_has_nowhere_to_go_loads_what_it_passed_and_is_lost():
    fluid = Fluid({"ab": 100.0}, CLASSES)
    outcome = fluid.flow([Stream(over("ab", arrives=False), 0, 30.0)])
    assert outcome.load_mbps == {"ab": [30.0, 0.0, 0.0]}
    assert outcome.lost_mbps == {ASTRAY: 30.0}


def test_links_that_depend_on_each_other_in_a_ring_settle():
    """Two streams, each first over the link that the other needs second; by symmetry both pass the same share p.

    What arrives at a link is 100 + 100 p, of which it passes p: p (100 + 100 p) = 100, so p = (sqrt 5 - 1) / 2.
    """
    fluid = Fluid({"ab": 100.0, "bc": 100.0}, CLASSES)
    outcome = fluid.flow([Stream(over("ab", "bc"), 0, 100.0), Stream(over("bc", "ab"), 0, 100.0)])
    share = (5**0.5 - 1) / 2
    assert outcome.delivered_mbps.tolist() == pytest.approx([100 * share**2] * 2)


stretches = st.tuples(st.integers(0, 3), st.integers(1, 4)).map(lambda x: LINKS[x[0] : x[0] + x[1]])
streams = st.lists(st.tuples(stretches, st.integers(0, 2), st.floats(0, 100)), min_size=1, max_size=8)
capacities = st.lists(st.floats(1, 150), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None)
@given(streams, capacities)
def test_along_a_line_it_is_what_link_after_link_does(given_streams, capacity):
    """Oracle: all streams run in one direction, so each link can be served in turn, class by class."""
    flowing = [mbps for _, _, mbps in given_streams]
    dropped = dict.fromkeys(CLASSES, 0.0)
    for link, limit in zip(LINKS, capacity, strict=True):
        room = limit
        for row, name in enumerate(CLASSES):
            here = [i for i, (taken, c, _) in enumerate(given_streams) if c == row and link in taken]
            wants = sum(flowing[i] for i in here)
            sent = min(wants, room)
            room -= sent
            dropped[name] += wants - sent
            for i in here:
                flowing[i] *= sent / wants if wants else 1.0
    fluid = Fluid(dict(zip(LINKS, capacity, strict=True)), CLASSES)
    outcome = fluid.flow([Stream(over(*taken), row, mbps) for taken, row, mbps in given_streams])
    assert outcome.delivered_mbps.tolist() == pytest.approx(flowing, abs=1e-5)
    for name in CLASSES:
        assert outcome.lost_mbps.get(name, 0.0) == pytest.approx(dropped[name], abs=1e-5)


anywhere = st.lists(st.sampled_from(LINKS), min_size=0, max_size=4).map(tuple)
branches = st.lists(st.tuples(anywhere, st.integers(1, 5), st.booleans()), min_size=1, max_size=4)


@st.composite
def tangles(draw):
    parts = draw(branches)
    total = sum(weight for _, weight, _ in parts)
    way = Way(tuple(Path(links, weight / total, 0.0, arrives) for links, weight, arrives in parts))
    return Stream(way, draw(st.integers(0, 2)), draw(st.floats(0, 200)))


@settings(max_examples=60, deadline=None)
@given(st.lists(tangles(), max_size=8), capacities, st.sets(st.sampled_from(LINKS), max_size=2))
def test_every_bit_arrives_or_is_lost_for_one_cause(tangle, capacity, dead):
    fluid = Fluid(dict(zip(LINKS, capacity, strict=True)), CLASSES)
    outcome = fluid.flow(tangle, dead)
    assert outcome.delivered_mbps.sum() + sum(outcome.lost_mbps.values()) == pytest.approx(
        sum(stream.mbps for stream in tangle), abs=1e-6
    )
    assert all(sum(outcome.load_mbps[link]) == 0 for link in dead)


@settings(max_examples=40, deadline=None)
@given(st.lists(tangles(), max_size=8), capacities)
def test_lower_classes_cost_higher_ones_not_a_bit(tangle, capacity):
    fluid = Fluid(dict(zip(LINKS, capacity, strict=True)), CLASSES)
    everything = fluid.flow(tangle).delivered_mbps
    for row in range(len(CLASSES)):
        upper = [stream if stream.class_row <= row else stream._replace(mbps=0.0) for stream in tangle]
        alone = fluid.flow(upper).delivered_mbps
        of_class = [i for i, stream in enumerate(tangle) if stream.class_row == row]
        assert everything[of_class].tolist() == pytest.approx(alone[of_class].tolist(), abs=1e-4)
