"""Each rule is broken once, and must be named."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from neto.controller.audit import audit_allocation, audit_step
from neto.controller.cycle import decide
from neto.model.allocation import Allocation, PathSet
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from tests.controller.graphs import both_ways, topology
from tests.controller.wans import snapshot

NET = topology(both_ways([("a", "b", 1), ("b", "c", 1), ("a", "c", 1)]))
CLASSES = (TrafficClass("gold"), TrafficClass("bronze"))
ROOM = NET.capacity_mbps.copy()


def allocation(rates, *, demands=None, links=("a>c", "a>b,b>c")):
    """Two demands from a to c, gold and bronze, each with the same two paths."""
    paths = [[NET.link_row[link] for link in path.split(",")] for path in links] * 2
    return Allocation(
        NET,
        demands or (Demand("g", "gold", "a", "c", 150.0), Demand("b", "bronze", "a", "c", 100.0)),
        PathSet(
            np.array([0, 2, 4]),
            np.cumsum([0, *map(len, paths)]),
            np.array([link for path in paths for link in path], dtype=np.int32),
            np.zeros(4),
        ),
        np.array(rates, dtype=np.float64),
        (),
    )


def rules(found):
    return {violation.rule for violation in found}


def test_a_sound_allocation_is_left_in_peace():
    assert audit_allocation(allocation([100, 50, 0, 50]), ROOM, CLASSES) == []


def test_capacity():
    assert "above the room of class bronze" in rules(audit_allocation(allocation([100, 50, 10, 50]), ROOM, CLASSES))


def test_precedence():
    """Gold wants 150 and gets 140, though bronze has the 10 that are missing."""
    assert rules(audit_allocation(allocation([100, 40, 0, 60]), ROOM, CLASSES)) == {"precedence"}


def test_room_that_nobody_uses_while_somebody_wants_it():
    assert "precedence" in rules(audit_allocation(allocation([100, 50, 0, 20]), ROOM, CLASSES))


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -5.0])
def test_rates_that_are_none(rate):
    assert rules(audit_allocation(allocation([100, rate, 0, 50]), ROOM, CLASSES)) == {"rate that is no rate"}


def test_more_than_asked():
    assert "more than asked" in rules(audit_allocation(allocation([100, 60, 0, 40]), ROOM, CLASSES))


def test_room_that_is_no_number():
    room = ROOM.copy()
    room[0] = np.nan
    assert "room that is no load" in rules(audit_allocation(allocation([0, 0, 0, 0]), room, CLASSES))


@pytest.mark.parametrize("links", [("a>c", "a>b"), ("a>c", "b>c,a>b"), ("a>c", "a>b,b>a,a>c")])
def test_paths_that_do_not_lead_there_or_run_in_circles(links):
    found = audit_allocation(allocation([100, 50, 0, 50], links=links), ROOM, CLASSES)
    assert "path astray" in rules(found)


def test_a_class_with_a_headroom_of_its_own():
    classes = (CLASSES[0], replace(CLASSES[1], headroom=0.5))
    assert rules(audit_allocation(allocation([100, 50, 0, 50]), ROOM, classes)) == {"above the room of class bronze"}
    assert audit_allocation(allocation([100, 50, 0, 0]), ROOM, classes) == []


def test_overload_in_a_step_counts_from_capacity_from_what_was_there_and_from_what_is_admitted():
    full = np.broadcast_to(NET.capacity_mbps, (2, len(NET.links)))
    zero = np.zeros_like(full)
    assert audit_step(NET, zero, full, zero) == []
    over = full * 1.2
    assert rules(audit_step(NET, zero, over, zero)) == {"overload"}
    assert audit_step(NET, over, over, zero) == []
    assert audit_step(NET, zero, over, over) == []


def test_a_higher_class_alone_can_be_overloaded():
    before, peak = np.zeros((2, len(NET.links))), np.zeros((2, len(NET.links)))
    before[1, 0], peak[0, 0], peak[1, 0] = 150.0, 120.0, 150.0
    (found,) = audit_step(NET, before, peak, np.zeros_like(peak))
    assert found.where == NET.links[0].id
    assert found.amount_mbps == pytest.approx(20.0, abs=1e-3)
    assert str(found).startswith(f"overload: {found.where} by 19.99")


def test_a_load_that_is_no_number_is_a_violation_and_not_a_pass():
    peak = np.full((1, len(NET.links)), np.nan)
    assert "peak of a step that is no load" in rules(audit_step(NET, np.zeros_like(peak), peak, np.zeros_like(peak)))


@pytest.mark.parametrize(("seed", "busiest"), [(0, 0.8), (1, 1.5), (2, 3.0)])
def test_what_the_controller_allocates_passes_even_where_it_does_not_fit(seed, busiest):
    now = snapshot(random.Random(seed), busiest=busiest)
    decision = decide(now)
    room = np.maximum(decision.joint.capacity_mbps * 0.9 - decision.legacy_mbps, 0.0)
    assert audit_allocation(decision.allocation, room, now.intents.classes) == []
    assert not any("violation" in line for line in decision.warnings)
