"""Transfers, their pace and what becomes of them, part by part. Oracles: sums from paths, the judge, HiGHS."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from neto.controller.contest import contested
from neto.controller.shifts import laid_out
from neto.controller.transfers import FIRST, LAST, transfers
from neto.controller.transition_exact import fewer_steps
from neto.controller.transition_paced import _rising, paced
from neto.controller.transition_settle import settled
from tests.controller.judge import replay
from tests.controller.moving import moving


def contests(seeds, **options):
    """Yield cases in which something is in the way and nothing is overloaded before."""
    for seed in seeds:
        case = moving(seed, **options)
        shifts = laid_out(case.shifts(), case.network.background, case.network.capacity)
        contest = contested(shifts)
        if contest is not None and (shifts.loads(shifts.before)[-1] <= case.network.capacity).all():
            yield case, contest


def on_rows(case, contest, rates):
    """(rows,) Mbit/s that path rates put on the rows of a contest of one class."""
    return (case.network.incidence() @ rates)[contest.link]


def test_transfers_add_up_to_what_every_path_gains_and_every_row():
    tried = 0
    for case, contest in contests(range(120), classes=1):
        moves = transfers(contest)
        change = np.zeros(len(contest.strand))
        np.add.at(change, moves.target[moves.target >= 0], moves.amount[moves.target >= 0])
        np.add.at(change, moves.source[moves.source >= 0], -moves.amount[moves.source >= 0])
        assert change == pytest.approx(contest.after - contest.before, abs=1e-9)
        path = np.zeros_like(case.before)
        path[contest.strand] = contest.after - contest.before
        comes = np.bincount(moves.row, np.maximum(moves.mbps, 0), len(contest.link)) + moves.late
        leaves = np.bincount(moves.row, np.maximum(-moves.mbps, 0), len(contest.link)) + moves.early
        assert comes == pytest.approx(on_rows(case, contest, np.maximum(path, 0)), abs=1e-6)
        late = moves.source[(moves.bundle == LAST) & (moves.source >= 0)]
        assert not on_rows(case, contest, np.isin(np.arange(len(path)), contest.strand[late]).astype(float)).any()
        assert leaves == pytest.approx(on_rows(case, contest, np.maximum(-path, 0)), abs=1e-6)
        assert (moves.bundle >= min(FIRST, LAST)).all()
        tried += 1
    assert tried > 40


def test_a_shift_never_sends_less_than_the_lower_of_its_rates_however_far_each_transfer_is():
    rng = np.random.default_rng(4)
    for case, contest in contests(range(60)):
        moves = transfers(contest)
        done = rng.random(len(moves.amount)) * moves.amount
        rates = contest.before.copy()
        np.add.at(rates, moves.target[moves.target >= 0], done[moves.target >= 0])
        np.add.at(rates, moves.source[moves.source >= 0], -done[moves.source >= 0])
        totals = [contest.totals(each) for each in (contest.before, rates, contest.after)]
        assert (totals[1] >= np.minimum(totals[0], totals[2]) - 1e-9).all()
        assert len(case.before) >= len(rates)


def test_what_is_paced_settles_into_plans_that_the_judge_finds_clean():
    """Without falling back on anything else: nearly all of them, and with hardly a change more than demands."""
    tried = clean = touches = demands = 0
    for case, contest in contests(range(250)):
        moves = transfers(contest)
        answer = paced(contest, moves)
        tried += 1
        if answer.parts is None:
            continue
        found = settled(contest, moves, answer.parts)
        assert found is not None
        assert len(found) == len(answer.parts) >= answer.bound
        states = [case.before]
        for rates in found:
            states.append(case.after.copy())
            states[-1][contest.strand] = rates
        verdict = replay(case.network, states, 20, 1)
        assert verdict.clean
        clean += 1
        owner = case.network.demand_of
        touches += sum(len(np.unique(owner[before != after])) for before, after in pairwise(states))
        demands += len(np.unique(owner[case.before != case.after]))
    assert clean >= 0.97 * tried > 100
    assert touches <= 1.2 * demands


def test_parts_that_are_too_fast_do_not_settle():
    refused = 0
    for _, contest in contests(range(60)):
        moves = transfers(contest)
        if moves.bundles:
            refused += settled(contest, moves, np.ones((2, moves.bundles))) is None
    assert refused > 10


def test_no_linear_programme_needs_fewer_steps_than_was_proven_and_few_find_fewer_than_was_found():
    fewer = tried = proven = 0
    for _, contest in contests(range(300), classes=1):
        answer = paced(contest, transfers(contest))
        if answer.parts is None or (answer.bound == 2 and len(answer.parts) == 2):
            continue
        tried += 1
        proven += answer.bound == len(answer.parts)
        assert all(fewer_steps(contest, steps, 10**6) is None for steps in range(2, answer.bound))
        fewer += fewer_steps(contest, len(answer.parts) - 1, 10**6) is not None
    assert tried > 25
    assert proven > tried // 3
    assert fewer <= tried // 4


def test_links_that_are_overloaded_already_take_part_even_where_they_are_only_relieved():
    for seed in range(200):
        case = moving(seed, classes=1)
        shifts = laid_out(case.shifts(), case.network.background, case.network.capacity)
        contest = contested(shifts)
        over = np.flatnonzero(shifts.loads(shifts.before)[-1] > case.network.capacity * 1.000001)
        assert contest is None or set(over) <= set(contest.link)


def test_the_nearest_sequence_that_never_falls_is_the_one_of_the_max_min_formula():
    """The max over i <= k of the min over j >= k of means i..j (Barlow et al., Statistical Inference, 1972)."""
    rng = np.random.default_rng(6)
    for _ in range(200):
        values = rng.normal(size=rng.integers(1, 8))
        mean = {(i, j): values[i : j + 1].mean() for i in range(len(values)) for j in range(i, len(values))}
        expected = [
            max(min(mean[i, j] for j in range(k, len(values))) for i in range(k + 1)) for k in range(len(values))
        ]
        _rising(values)
        assert values == pytest.approx(expected)
