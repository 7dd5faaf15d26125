"""NetO's transitions beside one-shot, equal parts and programs in HiGHS, on real topologies, in one run.

`make bench-transition`. NETO_BENCH="GtsCe Colt" narrows it to topologies; NETO_BENCH_LIMIT_S is the time that each
program gets (300), NETO_BENCH_LOADS the loads (1.5 2.5). Writes bench-results/transition.md after every topology. It
fails for plans that overload something or take too many steps, never for slow ones.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from neto.controller.contest import contested
from tests.bench.allocation.instances import missing
from tests.bench.allocation.linear import OverLimitError

from .changes import absent, gravity, matrices
from .planners import interpolation, neto, one_shot, starved, touches, worst
from .programs import fewest, fewest_by_integers, parts
from .report import Line, markdown, summary, table_line

TOPOLOGIES = ("Abilene", "BtEurope", "Geant2012", "Uninett2011", "Deltacom", "GtsCe", "Colt", "Cogentco")
SLACKS = (0.05, 0.1, 0.2, 0.3)
WANTED = os.environ.get("NETO_BENCH", "").split()
LIMIT_S = float(os.environ.get("NETO_BENCH_LIMIT_S", "300"))
LOADS = [float(load) for load in os.environ.get("NETO_BENCH_LOADS", "1.5 2.5").split()]
MOST_STRANDS = 2500  # mixed-integer programs over more are not tried
RESULTS = Path(__file__).parents[3] / "bench-results"
FIT = 1e-6  # relative
RUNS = 7

LINES: list[Line] = []

pytestmark = [pytest.mark.bench, pytest.mark.timeout(0)]


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("name", [name for name in TOPOLOGIES if not WANTED or name in WANTED])
def test_from_one_demand_matrix_to_the_next(name, load):
    if said := absent(name):
        pytest.skip(said)
    for change in matrices(name, load, SLACKS):
        line = _measured(change, programs=True)
        _told(line)
        assert line.fewest is None or line.steps <= line.fewest + 1


@pytest.mark.skipif(bool(WANTED) and "Kdl" not in WANTED, reason="not wanted")
def test_all_pairs_of_a_large_network():
    if said := missing("Kdl"):
        pytest.skip(said)
    change = gravity("Kdl", 2.0, 0.05)
    assert change.moving >= 0.6
    line = _measured(change, programs=False)
    _told(line)
    assert line.steps <= 6


def _measured(change, *, programs):
    """Plan a change in all ways; look at every plan's loads."""
    neto(change)  # the first run loads compiled code
    seconds, states = [], None
    for _ in range(RUNS):
        began = time.process_time()
        states = neto(change)
        seconds.append(time.process_time() - began)
    assert worst(change, states) <= max(1.0, worst(change, change.shifts.before[None])) * (1 + FIT)
    assert starved(change, states) <= FIT * change.shifts.before.max()
    assert (states[-1] == change.shifts.after).all()
    equal = interpolation(change)
    assert worst(change, equal) <= 1 + FIT
    several = programs and contested(change.shifts) is not None
    simplex = _timed(fewest, change, solver="simplex") if several else None
    interior = _timed(fewest, change, solver="ipm") if several else None
    small = several and len(parts(change.shifts, hot_only=True).strands) <= MOST_STRANDS
    integers = _timed(fewest_by_integers, change, most=len(states)) if small else None
    found = {answer for answer, _ in filter(None, (simplex, interior, integers)) if answer is not None}
    assert len(found) <= 1, f"programs differ: {simplex}, {interior}, {integers}"
    least = 1 if contested(change.shifts) is None else min(found, default=None)
    return Line(
        str(change), change.demands, change.moving, len(states), least,
        min(seconds), worst(change, states), touches(change, states), worst(change, one_shot(change)), len(equal),
        touches(change, equal), simplex, interior, integers,
    )  # fmt: skip


def _timed(program, change, **options):
    """Return (steps or None, CPU seconds) of a program."""
    began = time.process_time()
    try:
        steps = int(program(change.shifts, LIMIT_S, **options)[0])
    except (OverLimitError, RuntimeError) as error:
        print(f"  {program.__name__} {options}: {type(error).__name__} {error}", flush=True)
        steps = None
    return steps, time.process_time() - began


def _told(line):
    LINES.append(line)
    print(f"\n{table_line(line)}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "transition.md").write_text(markdown(LINES), encoding="utf-8")


def test_most_plans_take_the_fewest_steps():
    """Runs last, over what was measured before."""
    proven = [line for line in LINES if line.fewest is not None]
    if not proven:
        pytest.skip("nothing was measured")
    print(f"\n{summary(LINES)}")
    assert np.mean([line.steps == line.fewest for line in proven]) >= 0.9
