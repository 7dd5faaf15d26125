from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.forwarding import Forwarding
from neto.controller.paths import candidate_paths
from neto.controller.peering import Targets, join
from neto.controller.realise import (
    Quanta,
    expressible,
    filled_in,
    of_demands,
    per_flow_policy,
    segment_lists,
    weights,
    with_excess,
)
from neto.model.allocation import PathSet
from neto.model.demand import Demand
from neto.model.sr import Segment
from tests.controller.graphs import both_ways, topology
from tests.controller.wans import CLASSES, Judge, snapshot

NET = topology(both_ways([("a", "b", 1), ("a", "c", 1), ("a", "d", 1)]))


def paths(*per_demand):
    """Path sets by hand: for each demand its paths, as link rows."""
    flat = [path for each in per_demand for path in each]
    return PathSet(
        np.cumsum([0, *map(len, per_demand)]),
        np.cumsum([0, *map(len, flat)]),
        np.array([link for path in flat for link in path], dtype=np.int32),
        np.arange(len(flat), dtype=np.float64),
    )


ROOMY = np.full(len(NET.links), 1e9)


@settings(max_examples=100, deadline=None)
@given(rates=st.lists(st.floats(0, 100), min_size=1, max_size=6).filter(any), grain=st.sampled_from([10, 100, 1000]))
def test_weights_sum_to_the_grain_and_are_within_one_unit_of_the_share(rates, grain):
    row = paths([(0,)] * len(rates))
    given_ = weights(NET, row, np.array(rates), np.array([sum(rates)]), ROOMY, Quanta(grain, 99))
    assert given_.sum() == grain
    assert all(abs(weight - rate / sum(rates) * grain) < 1 + 1e-6 for weight, rate in zip(given_, rates, strict=True))


def test_only_so_many_paths_stay_the_largest():
    row = paths([(0,), (2,), (4,)])
    given_ = weights(NET, row, np.array([5.0, 1.0, 4.0]), np.array([10.0]), ROOMY, Quanta(90, 2))
    assert given_.tolist() == [50, 0, 40]


def test_what_rounding_leaves_over_goes_where_there_is_room():
    """Three equal shares of ten units: 3.33 each. The first link has room for three units only."""
    row = paths([(0,), (2,), (4,)])
    room = np.full(len(NET.links), 100.0)
    room[0] = 3.4
    given_ = weights(NET, row, np.full(3, 10 / 3), np.array([10.0]), room, Quanta(10, 4))
    assert given_.tolist() == [3, 4, 3]


def test_a_demand_without_any_rate_takes_its_first_path():
    assert weights(NET, paths([(0,), (2,)]), np.zeros(2), np.array([5.0]), ROOMY, Quanta()).tolist() == [100, 0]


def test_excess_goes_where_links_are_overloaded_already():
    capacity = NET.capacity_mbps[0]
    base = np.zeros(len(NET.links))
    base[2] = capacity * 1.2
    row = paths([(0,), (2,)])
    over_now = base > capacity
    full = with_excess(NET, row, np.array([capacity, 0.0]), np.array([capacity + 30.0]), base, over_now)
    assert full.tolist() == [capacity, 30.0]


def test_excess_takes_room_where_there_is_some():
    row = paths([(0,), (2,)])
    nothing = np.zeros(len(NET.links))
    full = with_excess(NET, row, np.array([100.0, 10.0]), np.array([150.0]), nothing, nothing > 1)
    assert full.tolist() == [100.0, 50.0]
    assert full.sum() == 150.0


def test_the_same_content_looks_the_same_in_any_order():
    lists = [(Segment(2),), (Segment(1),)]
    one = segment_lists(lists, np.array([60, 40]))
    assert one == segment_lists(lists[::-1], np.array([40, 60]))
    assert segment_lists(lists, np.array([0, 100])) == segment_lists(lists[1:], np.array([100]))


@pytest.mark.parametrize("seed", range(4))
def test_every_path_that_is_kept_is_the_one_that_its_labels_take(seed):
    """Some exits have no SID here: a path that would leave by another one is left out."""
    now = snapshot(random.Random(seed))
    joint = join(now.topology, now.peering)
    forwarding = Forwarding(joint, now.peering, now.inventory, CLASSES)
    demands = [
        Demand(f"{router.name}{group.name}", "bronze", router.name, group.name, 1.0)
        for router in now.inventory.routers
        for group in now.peering.groups
    ]
    found = candidate_paths(joint, demands, CLASSES, now.peering.egresses, 8)
    kept, told = expressible(forwarding, demands, found)
    judge = Judge(now)
    followed = 0
    for row, demand in enumerate(demands):
        for path in range(kept.demand_start[row], kept.demand_start[row + 1]):
            way = judge.follow(demand.source, demand.target, tuple(segment.label for segment in told[path]))
            assert way == {joint.links[link].id: 1 for link in kept.path(path)}
            followed += 1
    assert followed
    assert len(told) == kept.demand_start[-1] == len(kept.delay_us)


def test_paths_of_some_demands_are_taken_out_and_put_in():
    one, other = paths([(0,), (2,)], [], [(4,)]), paths([(1,), (3,)])
    names = [(Segment(0),), (Segment(2),), (Segment(4),)]
    whole, told = filled_in(one, names, [1], other, [(Segment(1),), (Segment(3),)])
    assert whole.demand_start.tolist() == [0, 2, 4, 5]
    assert [whole.path(path) for path in range(5)] == [(0,), (2,), (1,), (3,), (4,)]
    assert [segment.label for (segment,) in told] == [0, 2, 1, 3, 4]
    last, of_last = of_demands(whole, told, [2, 1])
    assert [last.path(path) for path in range(3)] == [(4,), (1,), (3,)]
    assert [segment.label for (segment,) in of_last] == [4, 1, 3]


def test_classes_are_told_apart_by_their_code_points_and_the_last_takes_the_rest():
    targets = Targets(("a", "b"))
    policy = per_flow_policy(targets, "a", "b", "10.0.0.2", CLASSES)
    assert policy.key.colour == 1100
    assert dict(policy.per_flow) == {40: 1101, 46: 1101, 18: 1102, -1: 1103}
