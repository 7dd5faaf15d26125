"""Oracle: mixtures enumerated one by one, breadth-first search over what has moved, closed forms."""

from __future__ import annotations

import random
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.contest import contested
from neto.controller.deadline import Deadline
from neto.controller.shifts import Shift, Strand, laid_out
from neto.controller.transition import Transition, find_way, plan_transition
from neto.controller.transition_exact import fewer_steps

CAPACITY = 100.0
NEAR = 1e-4  # Mbit/s


def strand(links, before, after, traffic_class=0, share=1.0):
    rows = np.array(links, dtype=np.int32)
    return Strand(rows, np.full(len(rows), share), float(before), float(after), traffic_class)


def shift(*strands, name="s", divisible=True, quantum=0.0):
    return Shift(name, tuple(strands), divisible, quantum)


def plan(shifts, links, background=None, **options) -> Transition:
    load = np.zeros((1, links)) if background is None else np.array(background, dtype=np.float64)
    return plan_transition(shifts, load, np.full(links, CAPACITY), **options)


def states(shifts, planned):
    """Rates of every strand before, and after each step."""
    now = [[one.before_mbps for one in each.strands] for each in shifts]
    yield [list(rates) for rates in now]
    for step in planned.steps:
        for row, rates in step.rates_mbps.items():
            now[row] = list(rates)
        yield [list(rates) for rates in now]


def loads(shifts, rates, links, classes=1, background=None):
    """(classes, links) of the traffic down to each class."""
    load = np.zeros((classes, links)) if background is None else np.cumsum(np.array(background, float), axis=0)
    for each, mine in zip(shifts, rates, strict=True):
        for one, rate in zip(each.strands, mine, strict=True):
            for link, share in zip(one.links, one.share, strict=True):
                load[one.traffic_class :, link] += share * rate
    return load


def assert_no_mixture_overloads(shifts, planned, links, classes=1, background=None, *, whole=False):
    """Try every mixture of each step: strand by strand where a shift is divisible, shift by shift where not."""
    way = list(states(shifts, planned))
    for before, after in pairwise(way):
        limit = np.maximum(CAPACITY, loads(shifts, before, links, classes, background)) + NEAR
        moving = [row for row in range(len(shifts)) if before[row] != after[row]]
        units = [
            [(row, place)] if shifts[row].divisible and not whole else [(row, each) for each in range(len(before[row]))]
            for row in moving
            for place in (range(len(before[row])) if shifts[row].divisible and not whole else [0])
        ]
        for chosen in product((False, True), repeat=len(units)):
            rates = [list(mine) for mine in before]
            for moved, unit in zip(chosen, units, strict=True):
                for row, place in unit:
                    rates[row][place] = after[row][place] if moved else before[row][place]
            assert (loads(shifts, rates, links, classes, background) <= limit).all()


def assert_rates_are_kept(shifts, planned):
    for rates in states(shifts, planned):
        for each, mine in zip(shifts, rates, strict=True):
            ends = (sum(one.before_mbps for one in each.strands), sum(one.after_mbps for one in each.strands))
            assert sum(mine) >= min(ends) - NEAR


def assert_arrives(shifts, planned):
    *_, last = states(shifts, planned)
    assert last == [[one.after_mbps for one in each.strands] for each in shifts]


@st.composite
def cases(draw, slack=0.05, *, same_rates=True):
    """Random shifts over few links, both ends scaled to leave the slack on the fullest link."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    links = rng.randint(3, 6)
    shifts = []
    for _ in range(rng.randint(2, 4)):
        rate = rng.lognormvariate(0, 1)
        ways = [sorted(rng.sample(range(links), rng.randint(1, 2))) for _ in range(2)]
        old, new = rng.choice([0.0, 0.5, 1.0, rng.random()]), rng.choice([0.0, 0.5, 1.0, rng.random()])
        grown = 1.0 if same_rates else rng.uniform(0.5, 2.0)
        parts = zip(ways, (old, 1 - old), (new * grown, (1 - new) * grown), strict=True)
        shifts.append([(way, rate * before, rate * after) for way, before, after in parts])
    ends = [
        loads([shift(*(strand(*one) for one in each)) for each in shifts], rates, links)
        for rates in ([[one[1] for one in each] for each in shifts], [[one[2] for one in each] for each in shifts])
    ]
    scale = CAPACITY * (1 - slack) / max(1e-9, *(float(end.max()) for end in ends))
    return links, [
        shift(*(strand(way, before * scale, after * scale) for way, before, after in each), name=str(row))
        for row, each in enumerate(shifts)
    ]


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_no_mixture_of_any_step_overloads_a_link_and_the_plan_arrives(case):
    links, shifts = case
    planned = plan(shifts, links)
    assert not planned.stuck
    assert_no_mixture_overloads(shifts, planned, links, whole=planned.at_once)
    assert_rates_are_kept(shifts, planned)
    assert_arrives(shifts, planned)


@settings(max_examples=30, deadline=None)
@given(case=cases(slack=0.02, same_rates=False))
def test_rates_that_change_never_fall_below_the_lower_end(case):
    links, shifts = case
    planned = plan(shifts, links)
    assert_no_mixture_overloads(shifts, planned, links, whole=planned.at_once)
    assert_rates_are_kept(shifts, planned)
    assert planned.stuck or list(states(shifts, planned))[-1] is not None


@settings(max_examples=30, deadline=None)
@given(case=cases(slack=0.0))
def test_without_slack_the_plan_is_safe_as_far_as_it_goes_or_says_what_it_lowers(case):
    links, shifts = case
    planned = plan(shifts, links, may_lower=True)
    assert_no_mixture_overloads(shifts, planned, links, whole=planned.at_once)
    if planned.lowered_mbps == 0:
        assert_rates_are_kept(shifts, planned)
    if not planned.stuck:
        assert_arrives(shifts, planned)


@settings(max_examples=30, deadline=None)
@given(case=cases(slack=0.3))
def test_one_step_is_enough_exactly_when_everything_fits_at_its_larger_rate(case):
    links, shifts = case
    both = loads(shifts, [[max(one.before_mbps, one.after_mbps) for one in each.strands] for each in shifts], links)
    moves = any(one.before_mbps != one.after_mbps for each in shifts for one in each.strands)
    assert (len(plan(shifts, links).steps) == int(moves)) == bool((both <= CAPACITY * (1 + 1e-9)).all() or not moves)


@pytest.mark.parametrize(("slack", "steps"), [(0.5, 1), (0.34, 2), (0.25, 3), (0.2, 4), (0.1, 9)])
def test_a_swap_of_two_full_links_takes_the_closed_form_of_steps(slack, steps):
    """With slack s on every link ceil(1/s) - 1 steps suffice (SWAN §4.2), and here fewer do not."""
    rate = CAPACITY * (1 - slack)
    shifts = [shift(strand([0], rate, 0), strand([1], 0, rate)), shift(strand([1], rate, 0), strand([0], 0, rate))]
    planned = plan(shifts, 2)
    assert len(planned.steps) == steps
    assert_no_mixture_overloads(shifts, planned, 2)


def test_patience_ends_where_counting_paths_apart_takes_too_long():
    """Both paths share link 0: path by path there is no room there, but the shift itself never loads it more."""
    shifts = [shift(strand([0, 1], 90, 0), strand([0, 2], 0, 90))]
    assert len(plan(shifts, 3).steps) == 9
    at_once = plan(shifts, 3, patience=4)
    assert at_once.at_once
    assert len(at_once.steps) == 1
    assert at_once.steps[0].worst_utilisation == pytest.approx(0.9)


def test_a_shift_that_moves_at_once_is_not_counted_twice_where_its_ways_meet():
    shifts = [shift(strand([0, 1], 90, 0), strand([0, 2], 0, 90), divisible=False)]
    planned = plan(shifts, 3)
    assert len(planned.steps) == 1
    assert planned.steps[0].worst_utilisation == pytest.approx(0.9)


def fewest_by_search(shifts, links):
    """Breadth-first over sets of atomic shifts that have moved; a step is any set whose every subset fits."""

    def fits(before, after):
        moving = sorted(after - before)
        limit = np.maximum(CAPACITY, total(before))
        return all(
            (total(before | {row for row, on in zip(moving, chosen, strict=True) if on}) <= limit + NEAR).all()
            for chosen in product((False, True), repeat=len(moving))
        )

    def total(moved):
        rates = [
            [one.after_mbps if row in moved else one.before_mbps for one in each.strands]
            for row, each in enumerate(shifts)
        ]
        return loads(shifts, rates, links)[0]

    goal = frozenset(range(len(shifts)))
    frontier, seen, steps = {frozenset()}, {frozenset()}, 0
    while frontier:
        if goal in frontier:
            return steps
        subsets = [frozenset(row for row in goal if bits >> row & 1) for bits in range(2 ** len(goal))]
        frontier = {then for now in frontier for then in subsets if now < then and then not in seen and fits(now, then)}
        seen |= frontier
        steps += 1
    return None


def test_atomic_shifts_take_as_few_steps_as_a_search_finds_or_one_more():
    rng = random.Random(5)
    longer = found = 0
    for _ in range(60):
        links = rng.randint(2, 4)
        shifts = [
            shift(
                strand(sorted(rng.sample(range(links), rng.randint(1, 2))), rate, 0),
                strand(sorted(rng.sample(range(links), rng.randint(1, 2))), 0, rate),
                name=str(row),
                divisible=False,
            )
            for row, rate in enumerate(rng.uniform(10, 45) for _ in range(4))
        ]
        ends = [
            loads(shifts, [[getattr(one, end) for one in each.strands] for each in shifts], links).max()
            for end in ("before_mbps", "after_mbps")
        ]
        if max(ends) > CAPACITY:
            continue
        planned = plan(shifts, links)
        fewest = fewest_by_search(shifts, links)
        assert_no_mixture_overloads(shifts, planned, links)
        if planned.stuck:
            assert planned.blocked
            continue
        found += 1
        assert fewest <= len(planned.steps) <= fewest + 1
        longer += len(planned.steps) > fewest
    assert found > 20
    assert longer <= found // 10


def test_a_link_that_is_overloaded_already_may_stay_so_but_not_get_worse():
    """What relieves it moves first; what would add to it waits until there is room."""
    shifts = [shift(strand([0], 60, 0), strand([1], 0, 60), name="away"), shift(strand([2], 30, 0), strand([0], 0, 30))]
    background = [[80.0, 0.0, 0.0]]
    planned = plan(shifts, 3, background)
    assert not planned.stuck or planned.blocked == (0,)
    assert_no_mixture_overloads(shifts, planned, 3, 1, background)
    assert planned.steps[0].rates_mbps[0] == (0.0, 60.0)


def test_a_higher_class_is_not_overloaded_by_what_is_admitted_for_the_total():
    """Link 0 is to carry 150, of which 60 are gold. For a moment it may carry 150, but never 140 of gold."""
    shifts = [
        shift(strand([1], 60, 0), strand([0], 0, 60), name="comes"),
        shift(strand([0], 80, 0), strand([2], 0, 80), name="goes"),
        shift(strand([3], 90, 0, 1), strand([0], 0, 90, 1), name="bronze"),
    ]
    ceiling = np.zeros((2, 4))
    ceiling[:, 0] = 60, 150
    planned = plan_transition(shifts, np.zeros((2, 4)), np.full(4, CAPACITY), ceiling_mbps=ceiling)
    assert_arrives(shifts, planned)
    for before, after in pairwise(states(shifts, planned)):
        gold = [max(before[row][place], after[row][place]) for row, place in ((0, 1), (1, 0))]
        assert sum(gold) <= CAPACITY + NEAR


def test_a_shift_that_swaps_classes_does_not_overload_the_higher_one():
    """At once gold comes and bronze goes: the total stays as it is, but gold has no room beside gold."""
    swap = shift(strand([1], 60, 0), strand([0], 0, 60), strand([0], 60, 0, 1), strand([1], 0, 60, 1), divisible=False)
    background = np.array([[60.0, 0.0], [30.0, 0.0]])
    planned = plan_transition([swap], background, np.full(2, CAPACITY))
    assert planned.blocked == (0,)


def test_what_the_target_cannot_do_without_is_admitted_and_no_more():
    shifts = [shift(strand([1], 120, 0), strand([0], 0, 120), divisible=False)]
    capacity, nothing = np.array([100.0, 100.0]), np.zeros((1, 2))
    assert plan_transition(shifts, nothing, capacity).blocked == (0,)
    admitted = plan_transition(shifts, nothing, capacity, ceiling_mbps=np.array([[120.0, 0.0]]))
    assert len(admitted.steps) == 1
    less = plan_transition(shifts, nothing, capacity, ceiling_mbps=np.array([[110.0, 0.0]]))
    assert less.blocked == (0,)


def test_rates_on_the_way_are_whole_quanta():
    shifts = [
        shift(strand([0], 90, 0), strand([1], 0, 90), quantum=0.9),
        shift(strand([1], 90, 0), strand([0], 0, 90), quantum=0.9),
    ]
    planned = plan(shifts, 2)
    assert not planned.stuck
    assert_arrives(shifts, planned)
    assert_no_mixture_overloads(shifts, planned, 2)
    for rates in states(shifts, planned):
        for rate in (rate for mine in rates for rate in mine):
            assert rate / 0.9 == pytest.approx(round(rate / 0.9))


def test_a_quantum_larger_than_the_room_is_a_deadlock_that_names_its_links():
    shifts = [
        shift(strand([0], 90, 0), strand([1], 0, 90), quantum=45),
        shift(strand([1], 90, 0), strand([0], 0, 90), quantum=45),
    ]
    planned = plan(shifts, 2)
    assert planned.stuck
    assert set(planned.blocked) == {0, 1}
    assert not planned.steps


def full_swap(traffic_class):
    return [
        shift(strand([0], 100, 0, traffic_class), strand([1], 0, 100, traffic_class), name="one"),
        shift(strand([1], 100, 0, traffic_class), strand([0], 0, 100, traffic_class), name="two"),
    ]


def test_a_deadlock_is_one_unless_the_lowest_class_may_be_lowered():
    shifts = full_swap(0)
    stuck = plan(shifts, 2)
    assert stuck.stuck
    assert not stuck.steps
    planned = plan(shifts, 2, may_lower=True)
    assert not planned.stuck
    assert_arrives(shifts, planned)
    assert_no_mixture_overloads(shifts, planned, 2)
    least = min(sum(map(sum, rates)) for rates in states(shifts, planned))
    assert planned.lowered_mbps == pytest.approx(200 - least, rel=1e-4)


def test_lowering_is_minimal():
    """With k steps a full swap must give up 200/(k - 1): halves cannot pass each other, thirds nearly can."""
    planned = plan(full_swap(0), 2, may_lower=True)
    assert planned.lowered_mbps == pytest.approx(200 / (len(planned.steps) - 1), rel=1e-4)


def test_only_the_lowest_class_is_lowered_even_where_it_does_not_move():
    smaller = [
        shift(strand([0], 70, 0), strand([1], 0, 70), name="one"),
        shift(strand([1], 70, 0), strand([0], 0, 70), name="two"),
    ]
    bronze = [shift(strand([link], 30, 30, 1), name=f"bronze{link}") for link in range(2)]
    nothing = np.zeros((2, 2))
    capacity = np.full(2, CAPACITY)
    assert plan_transition([*smaller, *bronze], nothing, capacity).stuck
    planned = plan_transition([*smaller, *bronze], nothing, capacity, may_lower=True)
    assert not planned.stuck
    assert planned.lowered_mbps > 0
    for rates in states([*smaller, *bronze], planned):
        assert all(sum(mine) >= 70 - NEAR for mine in rates[:2])
    assert_no_mixture_overloads([*smaller, *bronze], planned, 2, 2)


def test_a_deadlock_of_a_higher_class_alone_has_no_answer():
    planned = plan_transition(full_swap(0), np.zeros((2, 2)), np.full(2, CAPACITY), may_lower=True)
    assert planned.stuck
    assert set(planned.blocked) == {0, 1}


@settings(max_examples=20, deadline=None)
@given(case=cases(slack=0.03))
def test_the_same_case_has_the_same_plan(case):
    links, shifts = case
    assert plan(shifts, links) == plan(shifts, links)


@settings(max_examples=25, deadline=None)
@given(case=cases(slack=0.03))
def test_linear_programmes_never_make_a_plan_longer(case):
    links, shifts = case
    without = plan(shifts, links, exact_size=0)
    assert without.stuck or len(plan(shifts, links).steps) <= len(without.steps)


def test_nothing_to_do_is_no_step():
    assert plan([shift(strand([0], 5, 5))], 1).steps == ()
    assert plan([], 1).steps == ()


@settings(max_examples=25, deadline=None)
@given(case=cases(slack=0.03))
def test_when_no_time_is_left_the_plan_is_still_safe_and_arrives_and_says_its_bound(case):
    links, shifts = case
    problem = laid_out(shifts, np.zeros((1, links)), np.full(links, CAPACITY))
    way = find_way(problem, deadline=Deadline(0.0))
    assert way.blocked or np.array_equal(way.states[-1] if way.states else problem.before, problem.after)
    assert way.bound <= len(find_way(problem).states)
    rates = problem.before
    for then in way.states:
        load, peak = problem.peaks(rates, then, whole=way.at_once)
        assert (peak <= problem.limits(load) * (1 + 1e-9)).all()  # the same sums in another order
        rates = then


@settings(max_examples=40, deadline=None)
@given(case=cases(slack=0.04))
def test_no_linear_programme_finds_fewer_steps_than_the_bound(case):
    links, shifts = case
    problem = laid_out(shifts, np.zeros((1, links)), np.full(links, CAPACITY))
    contest = contested(problem)
    if contest is None:
        assert find_way(problem).bound <= 1
        return
    bound = find_way(problem).bound
    assert all(fewer_steps(contest, steps) is None for steps in range(2, bound))
