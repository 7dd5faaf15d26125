"""Exactly max-min fair rates are justified; whoever takes from those who have less is told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.certificate import envy, justified
from neto.controller.fairness import fair_rates
from neto.controller.flows import Flows

from .test_fairness import problem


def shared_link(rates, capacity=9.0):
    """Some demands of 10 over one link, and another link beside it that only the last can take."""
    count = len(rates)
    flows = Flows(
        np.array([*range(count), count + 1]), np.arange(count + 2), np.array([0] * count + [1], dtype=np.int32),
        np.array([*range(count), count - 1]), np.full(count, 10.0), np.ones(count), np.ones(count + 1),
        np.array([capacity, 1.0]),
    )  # fmt: skip
    return flows, np.array([*rates, 0.0])


def test_whoever_gets_less_at_a_full_link_envies_those_who_get_more():
    flows, flow = shared_link([3.0, 3.0, 3.0])
    flow[-1] = 1.0  # the last one gets another 1 elsewhere, so the others should have 3.33 each
    assert envy(flows, flow) == pytest.approx([4 / 3, 4 / 3, 1.0])
    assert justified(flows, flow) == pytest.approx(1 / 3)


def test_a_path_with_room_cannot_be_justified():
    flows, flow = shared_link([3.0, 3.0, 2.0])
    assert np.isinf(envy(flows, flow)).all()
    assert justified(flows, flow) == 0.0


def test_satisfied_demands_envy_nobody():
    flows, flow = shared_link([10.0, 10.0], capacity=20.0)
    assert envy(flows, flow).tolist() == [0.0, 0.0]
    assert justified(flows, flow) == 1.0


@given(seed=st.integers(0, 100_000))
@settings(max_examples=30, deadline=None)
def test_exact_rates_are_justified_and_what_is_taken_from_the_least_is_not(seed):
    _, flows = problem(seed)
    flow = fair_rates(flows, exact=True).flow_mbps
    assert justified(flows, flow) == 1.0
    level = flows.rates(flow) / flows.weight
    short = np.flatnonzero(envy(flows, flow) > 0)
    if len(short):
        least = short[np.argmin(level[short])]
        flow[flows.demand_of == least] *= 0.5  # and nobody gets it: now there is room, or somebody has more
        assert envy(flows, flow)[least] > 1
