"""Flows become demand: every octet is accounted for, once, in the right row."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from neto.agents.monitoring.demand import Classifier, FlowAggregator
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


def flow(dst, octets, tos=0, *, in_if=1):
    src = "10.1.0.1" if ip_address(dst).version == 4 else "2001:db8:1::1"
    return Flow(ip_address(src), ip_address(dst), octets, max(1, octets // 1000), tos, in_if, 2, T0 - 2, T0 - 1)


def exported(flows, form="ipfix", **options):
    decoder = Decoder()
    return [
        columns
        for packet in Exporter(form, 1, **options).packets(flows, T0)
        for columns in decoder.decode(packet, "192.0.2.1", T0).flows
    ]


def counted(flows, source="nyc1", classifier=CLASSIFIER, **options):
    """One window with these flows in it."""
    aggregator = FlowAggregator(classifier, 10.0)
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
    classifier = Classifier(INVENTORY, PEERING, INTENTS, {"nyc1": frozenset({7, 9})})
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
        for name, (exporter, decoder) in exporters.items():
            flows = [
                flow(chance.choice(hosts), 100 * chance.randrange(10**9), chance.choice([0, GOLD, SILVER]))
                for _ in range(chance.randrange(30))
            ]
            expected[name] += sum(each.octets for each in flows)
            for packet in exporter.packets(flows, T0 + tick):
                for columns in decoder.decode(packet, name, T0).flows:
                    aggregator.add(columns, name, T0 + tick)
    matrix = aggregator.demand(T0 + 300)
    account = aggregator.account
    assert account.received == sum(expected.values())
    assert account.received == account.matched + account.unknown + account.local + account.ignored
    in_windows = sum(sum(window.octets.values()) for window in aggregator.closed)
    unknown_in_windows = sum(window.unknown_octets for window in aggregator.closed)
    assert in_windows == account.matched
    assert unknown_in_windows == account.unknown
    seconds = matrix.ends - matrix.begins
    assert sum(rates(matrix).values()) * seconds * 1e6 / 8 == pytest.approx(account.matched)
    assert matrix.unknown_mbps * seconds * 1e6 / 8 == pytest.approx(account.unknown)


def test_demand_is_the_mean_of_the_last_windows_and_none_before_the_first_has_closed():
    aggregator = FlowAggregator(CLASSIFIER, 10.0, smooth=2)
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
    aggregator = FlowAggregator(CLASSIFIER, 10.0, smooth=3)
    (columns,) = exported([flow("10.2.0.7", 12_500_000, GOLD)])
    aggregator.add(columns, "nyc1", T0)
    matrix = aggregator.demand(T0 + 1234)
    assert rates(matrix) == {}
    assert (matrix.begins, matrix.ends) == (T0 + 1200, T0 + 1230)


def test_a_clock_set_back_loses_no_octets():
    aggregator = FlowAggregator(CLASSIFIER, 10.0)
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
