"""How answers are judged, how costs are taken, and what the problems and the report look like."""

from __future__ import annotations

import os
import time
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from .instances import gravity, load_instance, missing
from .linear import OverLimitError
from .measure import Cost, closeness, measure, theta_mbps, worth
from .report import Row, Section, markdown, svg

GRAPH = """NODES 3
label x y
a 0 0
b 1 0
c 0 1

EDGES 6
label src dest weight bw delay
ab 0 1 1 100000 1000
ba 1 0 1 100000 1000
bc 1 2 1 50000 1000
cb 2 1 1 50000 1000
ac 0 2 9 200000 5000
ca 2 0 9 200000 5000
"""
DEMANDS = """DEMANDS 2
label src dest bw
one 0 2 10000
two 1 2 30000
"""


@pytest.fixture
def data(tmp_path):
    (tmp_path / "tri.graph").write_text(GRAPH, encoding="utf-8")
    (tmp_path / "tri.0000.demands").write_text(DEMANDS, encoding="utf-8")
    (tmp_path / "bare.graph").write_text(GRAPH, encoding="utf-8")
    return tmp_path


def test_closeness_is_the_geometric_mean_of_the_smaller_over_the_larger():
    """By hand: half, double, equal: (1/2 * 1/2 * 1) ** (1/3)."""
    q = closeness(np.array([1.0, 8.0, 3.0]), np.array([2.0, 4.0, 3.0]), 0.1)
    assert q == pytest.approx(0.25 ** (1 / 3))


def test_rates_below_theta_count_as_theta_and_demands_without_a_fair_rate_do_not_count():
    q = closeness(np.array([0.0, 0.05, 7.0]), np.array([0.4, 0.01, 0.0]), 0.1)
    assert q == pytest.approx((0.25 * 1.0) ** 0.5)


def test_theta_is_a_tenth_where_all_links_have_a_thousand():
    assert theta_mbps(np.array([1000.0, 1000.0, 0.0])) == pytest.approx(0.1)


def test_an_instance_has_its_worst_link_at_the_wanted_load(data):
    """By delay, a reaches c through b: bc carries 10 + 30 of 50 before scaling, which is 0.8."""
    instance = load_instance("tri", 2, 4.0, data)
    assert instance.demand_mbps == pytest.approx([50.0, 150.0])
    assert len(instance.paths.delay_us) == 4
    assert str(instance) == "tri K2 load 4"


def test_gravity_demands_fill_in_where_no_file_has_any(data):
    instance = load_instance("bare", 1, 2.0, data)
    assert len(instance.demands) == 6
    again = gravity(instance.topology)
    factor = instance.demand_mbps / [demand.rate_mbps for demand in again]
    assert factor == pytest.approx(np.full(6, factor[0]))


def test_gravity_demands_go_by_the_masses_of_both_ends_and_are_the_same_each_time(data):
    """By hand: 300, 150 and 250 Mbit/s leave a, b and c; a's demands are as the masses of the other two."""
    topology = load_instance("bare", 1, 2.0, data).topology
    rate = {demand.id: demand.rate_mbps for demand in gravity(topology, seed=5)}
    drawn = np.random.default_rng(5).lognormal(0.0, 1.0, 3)
    assert rate["a-b"] / rate["a-c"] == pytest.approx(150 * drawn[1] / (250 * drawn[2]))
    assert rate["b-a"] / rate["b-c"] == pytest.approx(300 * drawn[0] / (250 * drawn[2]))
    assert rate == {demand.id: demand.rate_mbps for demand in gravity(topology, seed=5)}
    assert rate != {demand.id: demand.rate_mbps for demand in gravity(topology, seed=6)}


def test_a_missing_file_is_named(data):
    assert missing("tri", data) is None
    assert "nowhere.graph: set NETO_DATA" in missing("nowhere", data)


def test_an_allocation_is_judged_by_what_its_demands_and_links_carry(data):
    """Path rates by hand: `one` 20 by way of b (2 ms) and 30 straight (5 ms), `two` 30 (1 ms)."""
    instance = load_instance("tri", 2, 4.0, data)
    flow = np.zeros(4)
    first, second = instance.paths.demand_start[:2]
    flow[first], flow[first + 1], flow[second] = 20.0, 30.0, 30.0
    seen = worth(instance, flow, np.array([50.0, 60.0]))
    assert seen.share == pytest.approx(80 / 200)
    assert seen.q == pytest.approx(0.5**0.5)
    assert seen.first_percentile == pytest.approx(0.5 + 0.01 * 0.5)
    assert seen.delay_ms == pytest.approx((20 * 2 + 30 * 5 + 30 * 1) / 80)
    assert seen.over == pytest.approx(0.0)


def spend(instance, _limit_s):
    ends = time.process_time() + 0.02
    while time.process_time() < ends:
        pass
    time.sleep(0.2)
    return instance.demand_mbps


def give_up(_instance, _limit_s):
    raise OverLimitError


def vanish(_instance, _limit_s):
    os._exit(1)


def test_a_run_in_a_process_of_its_own_brings_back_the_answer_and_its_cost(data):
    instance = load_instance("tri", 2, 4.0, data)
    cost = measure(spend, instance, 5.0)
    assert cost.status == "done"
    assert cost.flow_mbps == pytest.approx(instance.demand_mbps)
    assert cost.cpu_s >= 0.02
    assert cost.seconds >= 0.2  # what it sleeps: how the two clocks stand to one another is the machine's affair
    assert cost.peak_mb > 10


def test_a_run_that_does_not_finish_says_why(data):
    instance = load_instance("tri", 2, 4.0, data)
    assert measure(give_up, instance, 5.0).status == "over 5 s"
    assert measure(vanish, instance, 5.0).status == "ended without an answer"


def test_the_report_has_a_line_for_every_method_and_a_dot_for_every_answer(data):
    instance = load_instance("tri", 2, 4.0, data)
    seen = worth(instance, np.ones(4), np.array([1.0, 2.0]))
    rows = (
        Row("ours & co", Cost("done", np.ones(4), 0.5, 0.25, 100.0), seen, 1.0),
        Row("theirs", Cost("over 300 s"), None, float("nan")),
    )
    sections = [Section("tri K2 load 4", ("a note",), rows)]
    lines = markdown(sections).splitlines()
    header = next(line for line in lines if line.startswith("| |"))
    ours = next(line for line in lines if line.startswith("| ours & co |"))
    theirs = next(line for line in lines if line.startswith("| theirs | over 300 s |"))
    assert header.count("|") == ours.count("|") == theirs.count("|")
    assert "| 0.500 | 0.250 | 100 | 1 |" in ours
    drawn = ET.fromstring(svg(sections))  # noqa: S314  what the line above made
    titles = [title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["ours & co: tri K2 load 4"]
    assert svg([]) == ""
