"""Flows become demand: every octet is accounted for, once, in the right row."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from neto.agents.monitoring.classify import Classifier
from neto.agents.monitoring.demand import FlowAggregator
from neto.lab.export import Exporter, Flow
from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Peering, PrefixGroup
from neto.wire.netflow import Decoder

GOLD, SILVER = 46 << 2, 18 << 2
T0 = 1_800_000_000.0


def router(name, *prefixes, exporter="192.0.2.1"):
    return Router(
        name, "site", "10.255.0.1", "lab", "", exporters=(exporter,), prefixes=tuple(map(ip_network, prefixes))
    )


INVENTORY = Inventory(
    (Site("site", "eu"),),
    (
        router("nyc1", "10.1.0.0/18", "2001:db8:1::/48"),
        router("lon1", "10.2.0.0/18", "10.2.32.0/24", "2001:db8:2::/48"),
        replace(router("mute1", "10.3.0.0/18"), exporters=()),
    ),
)
PEERING = Peering(groups=(PrefixGroup("eyeballs", (ip_network("198.51.100.0/24"), ip_network("10.2.33.0/24"))),))
INTENTS = Intents(
    (TrafficClass("gold", frozenset({46})), TrafficClass("silver", frozenset({18})), TrafficClass("bronze"))
)
CLASSIFIER = Classifier(INVENTORY, PEERING, INTENTS)


def flow(dst, octets, tos=0, *, in_if=1, start=T0, end=T0):
    src = "10.1.0.1" if ip_address(dst).version == 4 else "2001:db8:1::1"
    return Flow(ip_address(src), ip_address(dst), octets, max(1, octets // 1000), tos, in_if, 2, start, end)


def exported(flows, form="ipfix", at=T0, **options):
    decoder = Decoder()
    return [
        columns
        for packet in Exporter(form, 1, **options).packets(flows, at)
        for columns in decoder.decode(packet, "192.0.2.1", at).flows
    ]


def counted(flows, source="nyc1", classifier=CLASSIFIER, **options):
    """One window with these flows in it."""
    aggregator = FlowAggregator(classifier, 10.0, active_timeout_s=0)
    aggregator.roll(T0)
    for columns in exported(flows, **options):
        aggregator.add(columns, source, T0 + 1)
    return aggregator


def rates(matrix):
    return {(r.source, r.target, r.traffic_class, str(r.prefix)): r.rate_mbps for r in matrix.rates}


@pytest.mark.parametrize("form", ["v5", "v9", "ipfix"])
def test_octets_become_a_rate_toward_the_longest_prefix_in_the_class_of_the_dscp(form):
    aggregator = counted(
        [
            flow("10.2.0.7", 12_500_000, GOLD),
            flow("10.2.32.7", 25_000_000, SILVER),  # a longer prefix of the same router
            flow("10.2.33.7", 5_000_000, GOLD | 3),  # a group's prefix inside a router's; ECN bits say nothing
            flow("198.51.100.9", 1_250_000, 40 << 2),  # a code point of no class
            flow("203.0.113.1", 2_500_000),
        ],
        form=form,
    )
    matrix = aggregator.demand(T0 + 10)
    assert rates(matrix) == {
        ("nyc1", "lon1", "gold", "10.2.0.0/18"): 10.0,
        ("nyc1", "lon1", "silver", "10.2.32.0/24"): 20.0,
        ("nyc1", "eyeballs", "gold", "10.2.33.0/24"): 4.0,
        ("nyc1", "eyeballs", "bronze", "198.51.100.0/24"): 1.0,
    }
    assert (matrix.unknown_mbps, matrix.begins, matrix.ends) == (2.0, T0, T0 + 10)


def test_a_code_point_of_two_classes_is_the_higher_ones():
    intents = Intents(
        (TrafficClass("one", frozenset({46})), TrafficClass("two", frozenset({46})), TrafficClass("rest"))
    )
    aggregator = counted([flow("10.2.0.7", 1000, GOLD)], classifier=Classifier(INVENTORY, PEERING, intents))
    assert [rate.traffic_class for rate in aggregator.demand(T0 + 10).rates] == ["one"]


def test_what_the_edge_marks_is_of_that_class_whatever_code_point_it_came_with():
    """An interface says more than a destination, and a destination more than a code point."""
    gold, silver, bronze = INTENTS.classes
    silver = replace(silver, prefixes=(ip_network("10.2.0.0/16"), ip_network("2001:db8::/32")))
    gold = replace(gold, prefixes=(ip_network("10.2.32.0/24"),), interfaces=(("nyc1", 7), ("lon1", 8), ("gone1", 8)))
    classifier = Classifier(INVENTORY, PEERING, Intents((gold, silver, bronze)))
    flows = [
        flow("10.2.0.7", 12_500_000, GOLD),  # in 10.2.0.0/16
        flow("10.2.32.7", 25_000_000, SILVER),  # in the longer prefix of another class
        flow("10.2.33.7", 5_000_000),  # a group's, in 10.2.0.0/16 as well
        flow("2001:db8:2::7", 2_500_000),
        flow("198.51.100.9", 1_250_000, GOLD),  # in none
        flow("198.51.100.9", 3_750_000, in_if=7),
        flow("198.51.100.9", 6_250_000, in_if=8),  # another router's number
    ]
    assert rates(counted(flows, classifier=classifier).demand(T0 + 10)) == {
        ("nyc1", "lon1", "silver", "10.2.0.0/18"): 10.0,
        ("nyc1", "lon1", "gold", "10.2.32.0/24"): 20.0,
        ("nyc1", "eyeballs", "silver", "10.2.33.0/24"): 4.0,
        ("nyc1", "lon1", "silver", "2001:db8:2::/48"): 2.0,
        ("nyc1", "eyeballs", "gold", "198.51.100.0/24"): 4.0,
        ("nyc1", "eyeballs", "bronze", "198.51.100.0/24"): 5.0,
    }


def test_sampling_that_options_announced_is_multiplied_back():
    matrix = counted([flow("10.2.0.7", 12_500_000, GOLD)], sampling=1000).demand(T0 + 10)
    assert rates(matrix) == {("nyc1", "lon1", "gold", "10.2.0.0/18"): 10.0}


def test_ipv6_is_told_apart_from_ipv4():
    matrix = counted([flow("2001:db8:2::7", 12_500_000, GOLD), flow("2001:db8:3::7", 1_250_000)]).demand(T0 + 10)
    assert rates(matrix) == {("nyc1", "lon1", "gold", "2001:db8:2::/48"): 10.0}
    assert matrix.unknown_mbps == 1.0


def test_traffic_toward_the_exporters_own_prefixes_does_not_cross_the_wan():
    aggregator = counted([flow("10.1.0.9", 1000), flow("10.2.0.9", 500)])
    assert len(aggregator.demand(T0 + 10).rates) == 1
    assert (aggregator.account.local, aggregator.account.matched) == (1000, 500)


def test_interfaces_inside_the_wan_are_left_out_and_counted():
    nyc1, *others = INVENTORY.routers
    inventory = replace(INVENTORY, routers=(replace(nyc1, core_interfaces=frozenset({7, 9})), *others))
    classifier = Classifier(inventory, PEERING, INTENTS)
    flows = [flow("10.2.0.9", 1000, in_if=7), flow("10.2.0.9", 500, in_if=8)]
    aggregator = counted(flows, classifier=classifier)
    assert (aggregator.account.ignored, aggregator.account.matched) == (1000, 500)


def test_a_record_beyond_measure_is_left_out_and_counted():
    aggregator = counted([flow("10.2.0.9", 1 << 60), flow("10.2.0.9", 500)])
    assert (aggregator.account.implausible, aggregator.account.matched) == (1 << 60, 500)


def test_every_octet_received_is_in_the_matrix_or_unknown_or_counted_as_left_out():
    """Oracle: a plain sum over the flows themselves, by Python integers."""
    chance = random.Random(4)
    hosts = ["10.1.0.9", "10.2.0.9", "10.2.32.9", "10.2.33.9", "198.51.100.1", "203.0.113.1", "2001:db8:2::1"]
    aggregator = FlowAggregator(CLASSIFIER, 10.0, smooth=1000)
    exporters = {name: (Exporter("v9", 1, sampling=100), Decoder()) for name in ("nyc1", "lon1")}
    expected = Counter()
    for tick in range(300):
        now = T0 + tick
        for name, (exporter, decoder) in exporters.items():
            flows = [
                flow(
                    chance.choice(hosts),
                    100 * chance.randrange(10**9),
                    chance.choice([0, GOLD, SILVER]),
                    start=now - chance.choice([0, 1, 30, 90, 4000]),
                    end=now - chance.choice([0, 0.5, 15]),
                )
                for _ in range(chance.randrange(30))
            ]
            expected[name] += sum(each.octets for each in flows)
            for packet in exporter.packets(flows, now):
                for columns in decoder.decode(packet, name, now).flows:
                    aggregator.add(columns, name, now)
    aggregator.flush(T0 + 300)
    account = aggregator.account
    assert account.received == sum(expected.values())
    parts = (account.matched, account.unknown, account.local, account.ignored, account.before)
    assert account.received == sum(parts)
    assert sum(int(window.octets.sum()) for window in aggregator.closed) == account.matched
    assert sum(sum(window.unknown.values()) for window in aggregator.closed) == account.unknown
    matrix = aggregator.demand(T0 + 300)
    whole = [window for window in aggregator.closed if window.heard]  # octets count in them when they were sent
    assert all(len(window.heard) == len(exporters) for window in whole)
    assert len(whole) > 10
    seconds = sum(window.ends - window.begins for window in whole)
    matched, unknown = (
        sum(each) for each in zip(*((int(w.octets.sum()), sum(w.unknown.values())) for w in whole), strict=True)
    )
    assert sum(rates(matrix).values()) * seconds * 1e6 / 8 == pytest.approx(matched)
    assert matrix.unknown_mbps * seconds * 1e6 / 8 == pytest.approx(unknown)
    assert sum(each.rate_mbps for each in matrix.unknown) == pytest.approx(matrix.unknown_mbps)


def test_demand_is_the_mean_of_the_last_windows_and_none_before_the_first_has_closed():
    aggregator = FlowAggregator(CLASSIFIER, 10.0, smooth=2, active_timeout_s=0)
    (columns,) = exported([flow("10.2.0.7", 12_500_000, GOLD)])
    assert aggregator.demand(T0) is None
    aggregator.add(columns, "nyc1", T0 + 9.9)
    assert aggregator.demand(T0 + 9.9) is None
    key = ("nyc1", "lon1", "gold", "10.2.0.0/18")
    assert rates(aggregator.demand(T0 + 10))[key] == 10.0
    aggregator.heard("nyc1", T0 + 11)
    assert rates(aggregator.demand(T0 + 20))[key] == 5.0
    aggregator.heard("nyc1", T0 + 21)
    assert rates(aggregator.demand(T0 + 30)) == {}


def test_a_long_silence_closes_empty_windows():
    aggregator = FlowAggregator(CLASSIFIER, 10.0, smooth=3, active_timeout_s=0)
    (columns,) = exported([flow("10.2.0.7", 12_500_000, GOLD)])
    aggregator.add(columns, "nyc1", T0)
    matrix = aggregator.demand(T0 + 1234)
    assert rates(matrix) == {}
    assert (matrix.begins, matrix.ends) == (T0 + 1200, T0 + 1230)


def test_a_clock_set_back_loses_no_octets():
    aggregator = FlowAggregator(CLASSIFIER, 10.0, active_timeout_s=0)
    (columns,) = exported([flow("10.2.0.7", 12_500_000, GOLD)])
    aggregator.add(columns, "nyc1", T0)
    aggregator.add(columns, "nyc1", T0 - 5000)
    matrix = aggregator.demand(T0 - 4990)
    assert rates(matrix) == {("nyc1", "lon1", "gold", "10.2.0.0/18"): 20.0}
    assert matrix.ends == T0 - 4990


def test_routers_that_should_export_and_did_not_are_named_and_have_no_rates():
    aggregator = counted([flow("10.2.0.7", 1000)])
    assert aggregator.demand(T0 + 10).missing_exporters == {"lon1"}
    aggregator.heard("lon1", T0 + 11)
    matrix = aggregator.demand(T0 + 20)
    assert matrix.missing_exporters == {"nyc1"}
    assert matrix.rates == ()  # a mean over windows that did not hear it would be less than it carries


def test_a_reload_keeps_what_was_counted_and_calls_unknown_what_it_no_longer_knows():
    aggregator = counted([flow("10.2.0.7", 1_250_000, GOLD), flow("198.51.100.9", 2_500_000)])
    aggregator.reload(Classifier(INVENTORY, Peering(), INTENTS))
    for columns in exported([flow("198.51.100.9", 1_250_000)]):
        aggregator.add(columns, "nyc1", T0 + 2)
    matrix = aggregator.demand(T0 + 10)
    assert rates(matrix) == {("nyc1", "lon1", "gold", "10.2.0.0/18"): 1.0}
    assert matrix.unknown_mbps == 3.0


KEY = ("nyc1", "lon1", "gold", "10.2.0.0/18")


def that_waits():
    """An aggregator that has long heard of flows 45 s after they ended."""
    aggregator = FlowAggregator(CLASSIFIER, 10.0, smooth=50)
    aggregator.roll(T0 - 200)
    for now in range(int(T0) - 200, int(T0), 5):
        (columns,) = exported([flow("203.0.113.1", 1, start=now - 45, end=now - 45)], at=now)
        aggregator.add(columns, "nyc1", now)
    return aggregator


def by_window(aggregator):
    return {window.begins - T0: int(window.octets.sum()) for window in aggregator.closed if len(window.octets)}


def test_octets_count_in_the_windows_in_which_their_flow_lived():
    aggregator = that_waits()
    (columns,) = exported([flow("10.2.0.7", 3_000_000, GOLD, start=T0 + 5, end=T0 + 35)], at=T0 + 35)
    aggregator.add(columns, "nyc1", T0 + 35)
    aggregator.flush(T0 + 39)
    assert by_window(aggregator) == {0: 500_000, 10: 1_000_000, 20: 1_000_000, 30: 500_000}


def test_a_window_waits_until_flows_that_go_on_are_told_as_the_first_of_them_teach():
    """An exporter with an active timeout of 60 s: each second one of 60 equal flows is told, of its last minute."""
    aggregator = FlowAggregator(CLASSIFIER, 10.0, smooth=3, active_timeout_s=90.0)
    aggregator.roll(T0)
    exporter, decoder = Exporter("ipfix", 1), Decoder()
    for tick in range(400):
        now = T0 + tick
        for packet in exporter.packets([flow("10.2.0.7", 75_000_000, GOLD, start=now - 60, end=now)], now):
            for columns in decoder.decode(packet, "192.0.2.1", now).flows:
                aggregator.add(columns, "nyc1", now)
        matrix = aggregator.demand(now)
        assert matrix is None or rates(matrix)[KEY] == pytest.approx(600.0, rel=0.02)  # from the first one on
        assert matrix is not None or tick < 160
        if tick > 200:
            assert 50 <= now - matrix.ends <= 75
    account = aggregator.account
    assert account.late < 0.02 * account.received
    assert account.before == pytest.approx(30 * 75_000_000, rel=0.1)  # half a minute's worth
    aggregator.flush(T0 + 400)
    assert account.received == account.matched + account.before


def test_there_is_no_demand_before_a_window_has_all_that_was_sent_in_it():
    """An exporter that tells of each second 1 s after it, and of every third 0.7 s later: by arrival windows wobble."""
    aggregator = FlowAggregator(CLASSIFIER, 2.0, smooth=3)
    aggregator.roll(T0)
    reports = sorted((T0 + sent + 2 + 0.7 * (sent % 3 == 0), T0 + sent) for sent in range(-2, 30))
    first = None
    for now, sent in reports:
        (columns,) = exported([flow("10.2.0.7", 125_000, GOLD, start=sent, end=sent + 1)], at=now)
        aggregator.add(columns, "nyc1", now)
        matrix = aggregator.demand(now)
        if matrix is not None and matrix.rates:
            first = first or now - T0
            assert rates(matrix)[KEY] == pytest.approx(1.0, rel=1e-6)
    assert 4 < first < 14
    aggregator.flush(T0 + 33)
    assert aggregator.account.received == aggregator.account.matched + aggregator.account.before


def test_many_long_flows_over_many_windows_are_cut_bit_by_bit_and_to_the_octet():
    aggregator = FlowAggregator(CLASSIFIER, 0.1, smooth=2000, active_timeout_s=100.0)
    aggregator.roll(T0 - 200)
    teaches = flow("10.2.0.7", 999_983, GOLD, start=T0 - 185, end=T0 - 185)
    flows = [flow("10.2.0.7", 999_983, GOLD, start=T0 - 90, end=T0) for _ in range(3000)]
    for now, told in ((T0 - 100, [teaches]), (T0, flows)):
        for columns in exported(told, at=now):
            aggregator.add(columns, "nyc1", now)
    aggregator.flush(T0)
    windows = by_window(aggregator)
    assert sum(windows.values()) + aggregator.account.before == 3001 * 999_983
    middle = [octets for begins, octets in windows.items() if -80 < begins < -10]
    assert len(middle) > 600
    assert max(middle) - min(middle) <= 2 * 3000


def test_without_waiting_octets_count_as_they_arrive_and_none_is_lost():
    aggregator = FlowAggregator(CLASSIFIER, 10.0, smooth=100, active_timeout_s=0.0)
    aggregator.roll(T0)
    for tick in range(1, 60):
        now = T0 + tick
        (columns,) = exported([flow("10.2.0.7", 1_000_000, GOLD, start=now - 60, end=now)], at=now)
        aggregator.add(columns, "nyc1", now)
    assert aggregator.demand(T0 + 50).ends == T0 + 50
    aggregator.flush(T0 + 60)
    assert by_window(aggregator) == {0: 9_000_000, **dict.fromkeys((10, 20, 30, 40, 50), 10_000_000)}


def test_what_comes_after_its_window_was_closed_counts_in_the_oldest_that_is_open_as_late():
    aggregator = that_waits()
    (columns,) = exported([flow("10.2.0.7", 6_000_000, GOLD, start=T0 - 60, end=T0)])
    before = aggregator.account.late
    assert aggregator.lag_s == 40  # so what ended 40 s ago is closed
    aggregator.add(columns, "nyc1", T0)
    assert aggregator.account.late - before == 2_000_000
    aggregator.flush(T0 + 5)
    windows = by_window(aggregator)
    assert windows == {-40: 3_000_000, -30: 1_000_000, -20: 1_000_000, -10: 1_000_000}


@pytest.mark.parametrize("ahead", [-7200.0, 86_400.0])
def test_an_exporter_whose_clock_is_wrong_counts_in_the_right_window(ahead):
    aggregator = that_waits()
    lived = flow("10.2.0.7", 2_000_000, GOLD, start=T0 + 5 + ahead, end=T0 + 25 + ahead)
    (columns,) = exported([lived], at=T0 + 25 + ahead)
    aggregator.add(replace(columns, exporter="192.0.2.2"), "nyc1", T0 + 25)
    aggregator.flush(T0 + 29)
    assert by_window(aggregator) == {0: 500_000, 10: 1_000_000, 20: 500_000}
    assert aggregator.clocks.skew_s(("192.0.2.2", 10, 1)) == ahead


def test_times_beyond_belief_count_on_arrival_and_make_nobody_wait():
    aggregator = FlowAggregator(CLASSIFIER, 10.0)
    aggregator.roll(T0)
    (columns,) = exported([flow("10.2.0.7", 12_500_000, GOLD, start=0, end=0)])
    for window in range(2):
        aggregator.add(columns, "nyc1", T0 + 10 * window + 1)
    assert aggregator.lag_s == 0
    assert rates(aggregator.demand(T0 + 20))[KEY] == 10.0
    waits = that_waits()
    late = waits.account.late
    waits.add(columns, "nyc1", T0 + 1)
    waits.flush(T0 + 5)
    assert by_window(waits) == {0: 12_500_000}
    assert waits.account.late == late


def test_the_first_window_begins_when_we_do_and_is_never_a_short_one():
    for begun, length in ((2.0, 8.0), (8.0, 12.0)):
        aggregator = FlowAggregator(CLASSIFIER, 10.0, active_timeout_s=0)
        aggregator.roll(T0 + begun)
        (columns,) = exported([flow("10.2.0.7", 12_500_000, GOLD)])
        aggregator.add(columns, "nyc1", T0 + begun + 0.1)
        matrix = aggregator.demand(T0 + begun + length)
        assert (matrix.begins, matrix.ends) == (T0 + begun, T0 + begun + length)
        assert rates(matrix)[KEY] == pytest.approx(100 / length)


def test_the_unknown_is_told_by_source_with_its_largest_prefixes():
    flows = [flow("203.0.113.9", 4000), flow("203.0.113.200", 2000), flow("192.0.2.5", 1000), flow("10.2.0.9", 500)]
    aggregator = counted([*flows, flow("2001:db8:3::7", 3000), flow("2001:db8:3:ffff::9", 9000)])
    matrix = aggregator.demand(T0 + 10)
    octets = {(u.source, str(u.prefix)): round(u.rate_mbps * 10e6 / 8) for u in matrix.unknown_prefixes}
    assert octets == {
        ("nyc1", "2001:db8:3::/48"): 12000,
        ("nyc1", "203.0.113.0/24"): 6000,
        ("nyc1", "192.0.2.0/24"): 1000,
    }
    assert [(u.source, round(u.rate_mbps * 10e6 / 8)) for u in matrix.unknown] == [("nyc1", 19000)]


def test_a_router_that_joined_late_is_averaged_over_the_windows_that_heard_it():
    aggregator = FlowAggregator(CLASSIFIER, 10.0, smooth=2)
    aggregator.roll(T0)
    aggregator.heard("lon1", T0 + 1)
    (columns,) = exported([flow("10.2.0.7", 12_500_000, GOLD, start=T0 + 12, end=T0 + 12)])
    aggregator.add(columns, "nyc1", T0 + 12)
    assert rates(aggregator.demand(T0 + 20))[KEY] == 10.0


def test_every_closed_window_is_passed_on_once():
    passed = []
    aggregator = FlowAggregator(CLASSIFIER, 10.0, smooth=1, closed=passed.append)
    aggregator.roll(T0)
    for tick in range(5):
        (columns,) = exported([flow("10.2.0.7", 1000, GOLD, start=T0 + 10 * tick, end=T0 + 10 * tick)])
        aggregator.add(columns, "nyc1", T0 + 10 * tick)
    aggregator.flush(T0 + 41)
    assert [(window.begins - T0, window.total) for window in passed] == [(10 * n, 1000) for n in range(5)]


def test_a_router_that_no_longer_tells_its_sampling_is_in_doubt_for_that_window():
    aggregator = FlowAggregator(CLASSIFIER, 10.0, active_timeout_s=0, doubts=lambda: {"lon1": "lost much"})
    aggregator.roll(T0)
    (sampled,) = exported([flow("10.2.0.7", 1000, GOLD)], form="v5", sampling=10)
    (unsampled,) = exported([flow("10.2.0.7", 1000, GOLD)], form="v5")
    aggregator.add(unsampled, "lon1", T0 + 1)  # it never told any
    aggregator.add(sampled, "nyc1", T0 + 1)
    assert aggregator.demand(T0 + 10).doubtful == {"lon1": "lost much"}
    aggregator.add(unsampled, "nyc1", T0 + 11)
    expected = {"lon1": "lost much", "nyc1": "sampling of 1 flow records was not told"}
    assert aggregator.demand(T0 + 25).doubtful == expected
    assert aggregator.closed[-1].doubtful == expected
    aggregator.roll(T0 + 35)
    assert aggregator.closed[-1].doubtful == {"lon1": "lost much"}


def test_what_is_open_can_be_looked_at_and_stays():
    aggregator = that_waits()
    (columns,) = exported([flow("10.2.0.7", 3_000_000, GOLD, start=T0 - 25, end=T0 + 5)], at=T0 + 5)
    aggregator.add(columns, "nyc1", T0 + 5)
    seen = {window.begins - T0: int(window.octets.sum()) for window in aggregator.opened() if len(window.octets)}
    assert seen == {-30: 500_000, -20: 1_000_000, -10: 1_000_000, 0: 500_000}
    assert all(window.heard == {"nyc1"} for window in aggregator.opened())
    aggregator.flush(T0 + 6)
    assert by_window(aggregator) == seen
    assert aggregator.opened() == []
