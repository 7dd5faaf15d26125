"""Estimates of latency against other people's statistics, and samples that are not believed."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from neto.agents.monitoring.latency import LatencyRules, LatencyTable, interval
from neto.model.peering import Isp, Peering, PeeringLink, PrefixGroup
from neto.wire.samples import Sample

NOW = 1_700_000_000.0
PEERING = Peering(
    isps=(Isp("isp", 64500),),
    links=(PeeringLink("fra-a", "fra1", "isp", 1000.0), PeeringLink("lon-a", "lon1", "isp", 1000.0)),
    groups=(
        PrefixGroup("eu", (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))),
        PrefixGroup("us", (ip_network("198.51.100.0/24"),)),
    ),
)


def sample(rtt_ms=10.0, *, age_s=1.0, link="fra-a", vantage="fra1", prefix="192.0.2.0/24", loss=0.0, n=5):
    return Sample(NOW - age_s, vantage, link, ip_network(prefix), None if loss == 1 else rtt_ms, loss, n)


def table(samples, **rules):
    told = LatencyTable(PEERING, LatencyRules(**rules))
    told.add(samples, NOW)
    return told


@pytest.mark.parametrize("count", [*range(1, 40), 64, 101])
def test_the_interval_is_the_narrowest_that_holds_the_median_with_95_percent(count):
    outside, confidence = interval(count)

    def chance(k):
        return 1 - 2 * binom.cdf(k, count, 0.5)

    assert confidence == pytest.approx(chance(outside))
    possible = [k for k in range((count - 1) // 2 + 1) if chance(k) >= 0.95]
    assert outside == max(possible, default=0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.1, 9999), min_size=6, max_size=101))
def test_the_estimate_is_the_median_inside_its_interval(rtts):
    samples = [sample(rtt, age_s=1 + at / 1000) for at, rtt in enumerate(rtts)]
    (found,) = table(samples).copy().estimates(NOW)
    assert found.rtt_ms == pytest.approx(statistics.median(rtts))
    assert found.low_ms <= found.rtt_ms <= found.high_ms
    assert (found.samples, found.probes, found.peering_link, found.prefix_group) == (
        len(rtts),
        5 * len(rtts),
        "fra-a",
        "eu",
    )
    assert found.delay_us == pytest.approx(found.rtt_ms * 1000 / 2)


def test_the_interval_holds_the_true_median_as_often_as_it_says():
    chance = random.Random(7)
    held = 0
    for _ in range(400):
        rtts = [10 + chance.expovariate(0.2) for _ in range(25)]  # median 10 + ln 2 / 0.2
        samples = [sample(rtt, age_s=1 + at / 1000) for at, rtt in enumerate(rtts)]
        (found,) = table(samples).copy().estimates(NOW)
        held += found.low_ms <= 10 + 0.6931471805599453 / 0.2 <= found.high_ms
    assert held / 400 >= 0.93


def test_a_minority_of_absurd_samples_moves_the_median_little():
    good = [sample(10 + at / 10, age_s=1 + at) for at in range(20)]
    absurd = [sample(9000.0, age_s=30 + at) for at in range(9)]
    (before,), (after,) = table(good).copy().estimates(NOW), table(good + absurd).copy().estimates(NOW)
    assert after.rtt_ms - before.rtt_ms < 1


def test_few_samples_are_no_estimate():
    assert table([sample(10.0, age_s=at) for at in range(5)]).copy().estimates(NOW) == []
    assert len(table([sample(10.0, age_s=at) for at in range(6)]).copy().estimates(NOW)) == 1


def test_samples_grow_old():
    told = table([sample(10.0, age_s=at) for at in range(10)], max_age_s=60.0)
    assert told.copy().estimates(NOW + 50)[0].age_s == 50
    assert told.copy().estimates(NOW + 56) == []  # four are left


def test_loss_is_that_of_all_probes():
    samples = [sample(10.0, age_s=at, loss=0.0, n=10) for at in range(6)] + [sample(loss=1, age_s=9, n=40)]
    (found,) = table(samples).copy().estimates(NOW)
    assert found.loss == pytest.approx(0.4)
    assert (found.samples, found.probes) == (6, 100)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (sample(age_s=-6), "future"), (sample(age_s=901), "old"), (sample(link="x"), "unknown_link"),
        (sample(vantage="lon1"), "unknown_vantage"), (sample(prefix="203.0.113.0/24"), "unknown_prefix"),
        (sample(prefix="192.0.0.0/16"), "unknown_prefix"),
    ],
)  # fmt: skip
def test_what_is_not_to_be_believed_is_counted_and_moves_nothing(wrong, why):
    good = [sample(10.0 + at, age_s=at) for at in range(1, 8)]
    told = table(good)
    before = told.copy().estimates(NOW)
    told.add([replace(wrong, rtt_ms=wrong.rtt_ms + at) for at in range(50)], NOW)
    assert told.copy().estimates(NOW) == before
    assert told.counters[why] == 50
    assert told.counters["accepted"] == 7


def test_the_same_sample_twice_counts_once():
    """MQTT and HTTP deliver at least once."""
    told = table([sample(10.0)] * 20)
    assert (told.counters["accepted"], told.counters["repeated"]) == (1, 19)


def test_a_sample_of_a_part_of_a_prefix_counts_for_its_group():
    samples = [sample(10.0, age_s=at, prefix=p) for at, p in enumerate(["192.0.2.128/25", "2001:db8:1::/48"] * 3)]
    assert table(samples).copy().estimates(NOW)[0].samples == 6


def test_who_has_a_prefix_is_not_remembered_beyond_a_reload_nor_without_end(monkeypatch):
    monkeypatch.setattr("neto.agents.monitoring.latency._HOLDERS", 10)
    told = table([sample(prefix=f"192.0.2.{part}/32") for part in range(100)])
    assert len(told._holders) <= 10
    assert told.counters["accepted"] == 100
    told.reload(replace(PEERING, groups=PEERING.groups[1:]))
    told.add([sample(prefix="192.0.2.99/32")], NOW)
    assert told.counters["unknown_prefix"] == 1


def test_memory_is_bounded():
    told = table([sample(10.0, age_s=at / 100) for at in range(5000)])
    assert told.copy().estimates(NOW)[0].samples == 101


def test_a_reload_forgets_what_is_gone():
    told = table([sample(10.0, age_s=at) for at in range(6)])
    told.reload(replace(PEERING, groups=PEERING.groups[1:]))
    assert told.copy().estimates(NOW) == []


def test_three_samples_that_lost_most_are_a_black_hole_where_another_way_works():
    good = [sample(10.0, age_s=20 + at) for at in range(10)]
    lost = [sample(loss=1, age_s=10 - at) for at in range(3)]
    other = [sample(12.0, age_s=5, link="lon-a", vantage="lon1")]
    assert table([*good, *other, *lost[:2]]).copy().failing(NOW) == {}
    assert table([*good, *other, *lost]).copy().failing(NOW) == {("fra-a", "eu"): 1.0}
    assert table([*good, *other, *lost, sample(10.0, age_s=1)]).copy().failing(NOW) == {}
    assert table([*good, *lost]).copy().failing(NOW) == {}  # nothing else reaches it either
    assert table([*good, *other, *lost], max_age_s=60.0).copy().failing(NOW + 60) == {}


def seen(link, lost=(), answered=()):
    """What the newest samples behind a link say of some prefixes."""
    vantage = {"fra-a": "fra1", "lon-a": "lon1"}[link]
    return [
        sample(loss=float(prefix in lost), age_s=9 - at, link=link, vantage=vantage, prefix=prefix)
        for at in range(3)
        for prefix in (*lost, *answered)
    ]


P, Q, U = "192.0.2.0/24", "2001:db8::/32", "198.51.100.0/24"


@pytest.mark.parametrize(
    ("fra", "lon", "failing"),
    [
        (((P,), (Q, U)), ((), (P, Q, U)), {("fra-a", "eu"): 0.5}),  # lost here, answered there
        (((P, Q), (U,)), ((), (P, Q, U)), {("fra-a", "eu"): 1.0}),
        (((P, Q, U), ()), ((), (P, Q, U)), {("fra-a", "eu"): 1.0, ("fra-a", "us"): 1.0}),
        (((P,), (Q,)), ((P,), (Q,)), {}),  # behind every link: its end
        (((P,), ()), ((P,), (Q,)), {}),  # the same, where nothing else is probed
        (((P,), ()), ((Q,), (P,)), {("fra-a", "eu"): 1.0}),  # nothing tells whether Q is at its end
        (((P,), ()), ((), (Q,)), {("fra-a", "eu"): 1.0}),  # not measured there: its group is reached
        (((P,), (Q,)), ((), (Q,)), {}),  # nor there, and here Q is: P may be at its end
        (((P,), ()), ((), (U,)), {}),  # another group's answers say nothing
    ],
)  # fmt: skip
def test_what_one_link_loses_of_a_group_is_told_prefix_by_prefix(fra, lon, failing):
    assert table([*seen("fra-a", *fra), *seen("lon-a", *lon)]).copy().failing(NOW) == failing


def test_that_a_group_begins_to_be_lost_is_said_once_and_again_when_it_was_not():
    said = []
    told = LatencyTable(PEERING, on_lost=lambda: said.append(told.copy().failing(NOW)))
    away = [sample(age_s=100, link="lon-a", vantage="lon1", prefix=str(each)) for each in PEERING.groups[0].prefixes]
    told.add(away, NOW)

    def lose(*ages_s, prefix="192.0.2.0/24"):
        told.add([sample(loss=1.0, age_s=age_s, prefix=prefix) for age_s in ages_s], NOW)

    lose(90, 89)
    assert said == []
    lose(88)
    assert said == [{("fra-a", "eu"): 1.0}]
    lose(87, 86)
    lose(85, 84, 83, prefix="2001:db8::/32")
    assert len(said) == 1
    told.add([sample(age_s=82), sample(age_s=82, prefix="2001:db8::/32")], NOW)
    lose(81, 80)
    assert len(said) == 1
    lose(79)
    assert len(said) == 2


def test_how_much_is_lost_and_how_often_is_a_rule():
    other = seen("lon-a", (), (P,))
    some = [sample(loss=0.3, age_s=at) for at in range(1, 3)]
    assert table([*other, *some], closing_loss=0.3, closing_samples=2).copy().failing(NOW) == {("fra-a", "eu"): 1.0}
    assert table([*other, *some], closing_loss=0.31, closing_samples=2).copy().failing(NOW) == {}
    assert table([*other, *some], closing_loss=0.3, closing_samples=3).copy().failing(NOW) == {}


def test_samples_that_come_late_are_not_the_newest():
    late = [sample(10.0, age_s=100 + at) for at in range(5)]
    told = table([*seen("lon-a", (), (P,)), *seen("fra-a", (P,)), *late])
    assert told.copy().failing(NOW) == {("fra-a", "eu"): 1.0}


def test_after_a_reload_prefixes_that_are_gone_fail_no_more():
    told = table([*seen("fra-a", (P,), (Q,)), *seen("lon-a", (), (P, Q))])
    without = PrefixGroup("eu", (ip_network(Q),))
    told.reload(replace(PEERING, groups=(without, PEERING.groups[1])))
    assert told.copy().failing(NOW) == {}
