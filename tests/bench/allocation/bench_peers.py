"""NetO's allocation beside what others do, on real topologies: fairness, total, delay, time, memory, in one run.

`make bench-allocate`. NETO_BENCH="GtsCe Colt" narrows it to topologies, `-k "GtsCe and 1.5"` to one instance;
NETO_BENCH_LIMIT_S is the time that each peer gets (300). Writes bench-results/allocation.md and .svg after every
instance. It fails for wrong answers, never for slow ones.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from .instances import load_instance, missing
from .measure import closeness, measure, theta_mbps, worth
from .methods import LEVELS, METHODS, NETO, NETO_EXACT, least_delay_of
from .report import Row, Section, markdown, svg, table_line

REPETITA = (
    "Abilene", "Geant2012", "BtEurope", "Uninett2011", "Deltacom", "GtsCe", "Colt", "Cogentco", "synth100_opt_hard",
    "rf3257_real_hard",
)  # fmt: skip
INSTANCES = [
    *((name, load) for name in REPETITA for load in (1.5, 4.0)),
    ("GtsCe gravity", 4.0),
    ("Cogentco gravity", 4.0),
    ("Kdl", 2.0),
    ("Kdl", 4.0),
]
WANTED = os.environ.get("NETO_BENCH", "").split()
LIMIT_S = float(os.environ.get("NETO_BENCH_LIMIT_S", "300"))
MOST_PATHS = 500_000  # linear programs over more are not tried: HiGHS needs gigabytes, and does not finish
RESULTS = Path(__file__).parents[3] / "bench-results"
FIT = 1e-6  # relative: a solver's tolerance

SECTIONS: list[Section] = []

pytestmark = [pytest.mark.bench, pytest.mark.timeout(0)]


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """Compile once, so that nobody's first run pays for it."""
    if missing("Abilene") is None:
        instance = load_instance("Abilene", 4, 4.0)
        for method in METHODS:
            if not method.is_program:
                method.solve(instance, LIMIT_S)


@pytest.mark.parametrize(
    ("name", "load"), [each for each in INSTANCES if not WANTED or each[0].partition(" ")[0] in WANTED], ids=str
)
def test_allocation_beside_its_peers(name, load):
    if said := missing(name):
        pytest.skip(said)
    instance = load_instance(name, 4, load)
    print(f"\n{instance}: {len(instance.demands)} demands, {len(instance.paths.delay_us)} paths", flush=True)
    costs = {}
    for method in METHODS:
        if method.is_program and len(instance.paths.delay_us) > MOST_PATHS:
            print(f"  {method.name}: not tried on so many paths", flush=True)
            continue
        costs[method.name] = measure(method.solve, instance, LIMIT_S)
        cost = costs[method.name]
        print(f"  {method.name}: {cost.status}, {cost.seconds:.3f} s, CPU {cost.cpu_s:.3f} s", flush=True)
    rates = {name: _rates(instance, cost) for name, cost in costs.items() if cost.flow_mbps is not None}
    assert {NETO, NETO_EXACT} <= rates.keys(), "NetO has to answer"
    reference = LEVELS if LEVELS in rates else NETO_EXACT
    section = _section(instance, costs, rates[reference], reference)
    SECTIONS.append(section)
    _write()
    print("\n".join([*section.notes, *map(table_line, section.rows)]), flush=True)
    _check(instance, section, rates)


def _rates(instance, cost):
    """(demands,) Mbit/s."""
    return np.bincount(instance.paths.demand_of, cost.flow_mbps, minlength=len(instance.demands))


def _section(instance, costs, exact_mbps, reference):
    ours = costs[NETO].cpu_s
    rows = tuple(
        Row(
            name,
            cost,
            None if cost.flow_mbps is None else worth(instance, cost.flow_mbps, exact_mbps),
            cost.cpu_s / ours,
        )
        for name, cost in costs.items()
    )
    notes = [f"{len(instance.demands)} demands, {len(instance.paths.delay_us)} paths; q against {reference}."]
    if len(instance.paths.delay_us) <= MOST_PATHS:
        notes.append(_delay_note(instance, costs[NETO]))
    return Section(str(instance), tuple(notes), rows)


def _delay_note(instance, cost):
    """Compare the delay with the least one that the same rates can have."""
    best = measure(partial(least_delay_of, _rates(instance, cost)), instance, LIMIT_S)
    if best.flow_mbps is None:
        return f"Least delay at NetO's rates, HiGHS: {best.status}."
    ratio = float(cost.flow_mbps @ instance.paths.delay_us) / float(best.flow_mbps @ instance.paths.delay_us)
    return f"NetO's delay is {ratio:.4f} times the least at the same rates (HiGHS, {best.cpu_s:.2f} CPU s)."


def _check(instance, section, rates):
    """Facts about answers, not about speed."""
    demand = instance.demand_mbps
    for row in section.rows:
        if row.worth is not None:
            assert row.worth.over <= FIT, f"{row.method} overloads a link"
            assert (rates[row.method] <= demand * (1 + FIT) + FIT).all(), f"{row.method} gives more than was asked for"
            assert 0 < row.worth.q <= 1 + FIT
    theta = theta_mbps(instance.capacity_mbps)
    if LEVELS in rates:
        assert closeness(rates[NETO_EXACT], rates[LEVELS], theta) >= 0.999, "two exact answers differ"
    assert closeness(rates[NETO], rates[NETO_EXACT], theta) >= 0.95


def _write():
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "allocation.md").write_text(markdown(SECTIONS), encoding="utf-8")
    (RESULTS / "allocation.svg").write_text(svg(SECTIONS), encoding="utf-8")
