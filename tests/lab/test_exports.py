"""What the emulated routers export is what entered, to the octet in the long run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.lab.exports import Meter
from neto.lab.scenario import load_scenario

SCENARIO = load_scenario(Path(__file__).parents[2] / "neto.toml")
LONDON = IPv4Network("10.5.0.0/18")
GROUP = IPv4Network("192.0.2.64/26")
KEY = ("nyc1", LONDON, 46)
GRAIN = SCENARIO.sampling


def test_a_flow_says_who_where_how_much_and_when():
    meter = Meter(SCENARIO)
    meter.rate(KEY, {1: 80.0}, 100.0)
    assert meter.take("nyc1", 101.0)[0].octets == 6_000_000  # 60 % of 10 MB
    larger, smaller = meter.take("nyc1", 103.0)
    assert (larger.octets, smaller.octets) == (12_000_000, 8_000_000)
    assert (larger.tos, larger.start, larger.end) == (46 << 2, 101.0, 103.0)
    assert larger.dst in LONDON
    assert larger.dst != smaller.dst
    assert larger.src in IPv4Network("10.1.0.0/18")  # behind New York
    assert meter.take("lon1", 103.0) == []


def test_a_rate_that_changes_between_two_exports_counts_for_its_own_time():
    meter = Meter(SCENARIO)
    meter.rate(KEY, {1: 80.0}, 0.0)
    meter.rate(KEY, {1: 0.0}, 1.0)
    meter.rate(KEY, {1: 8.0}, 3.0)
    assert sum(flow.octets for flow in meter.take("nyc1", 4.0)) == 11_000_000


def test_what_comes_in_by_a_peering_link_enters_at_its_interface():
    meter = Meter(SCENARIO)
    meter.rate(KEY, {101: 60.0, 1: 20.0}, 0.0)
    meter.rate(("nyc1", GROUP, 46), {1: 80.0}, 0.0)
    meter.take("nyc1", 0.0)
    octets: dict[tuple[IPv4Network, int], int] = defaultdict(int)
    for flow in meter.take("nyc1", 10.0):
        octets[LONDON if flow.dst in LONDON else GROUP, flow.in_if] += flow.octets
    assert octets == {(LONDON, 101): 75_000_000, (LONDON, 1): 25_000_000, (GROUP, 1): 100_000_000}


def test_traffic_too_small_for_a_sample_waits_until_it_is_one():
    meter = Meter(replace(SCENARIO, sampling=1000))
    meter.rate(KEY, {1: 0.008}, 0.0)  # 1000 octets a second, in shares of 600 and 400
    taken = [sum(flow.octets for flow in meter.take("nyc1", float(second))) for second in range(1, 11)]
    assert sum(taken) == 10_000
    assert set(taken) == {0, 1000, 2000}


spans = st.lists(st.tuples(st.floats(0.001, 3), st.floats(0, 5000), st.booleans()), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(spans)
def test_nothing_is_rounded_away(given_spans):
    meter = Meter(SCENARIO)
    now, truth, exported = 0.0, 0.0, 0
    for seconds, mbps, take in given_spans:
        meter.rate(KEY, {1: mbps}, now)
        now += seconds
        truth += mbps * seconds * 125_000
        if take:
            flows = meter.take("nyc1", now)
            assert all(flow.octets % GRAIN == 0 for flow in flows)
            exported += sum(flow.octets for flow in flows)
    exported += sum(flow.octets for flow in meter.take("nyc1", now))
    assert truth - 2 * GRAIN - 1 <= exported <= truth * (1 + 1e-9) + 1
    assert meter.take("nyc1", now) == [] or exported == pytest.approx(truth)
