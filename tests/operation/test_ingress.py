"""What comes in by peering links is measured from flow records, and advice says what to change."""

from __future__ import annotations

import io
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from rich.console import Console

from neto.agents.monitoring.classify import Classifier
from neto.agents.monitoring.demand import FlowAggregator
from neto.agents.monitoring.matrix import demand_matrix
from neto.cli import tables
from neto.lab.export import Exporter, Flow
from neto.model.demand import UnknownDemand
from neto.model.intent import Ingress, Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Egress, Isp, Peering, PeeringLink, PrefixGroup
from neto.operation.ingress import ingress
from neto.wire.demand_message import DemandMessage, Key, decode_window, encode_window
from neto.wire.netflow import Decoder

T0 = 1_800_000_000.0
INTENTS = Intents((TrafficClass("gold", frozenset({46})), TrafficClass("rest")))
MBPS = 1_250_000  # octets in a window of 10 s


def router(name, *prefixes):
    address = f"192.0.2.{len(name)}"
    return Router(name, "s", "", "lab", "", exporters=(address,), prefixes=tuple(map(ip_network, prefixes)))


def link(name, node, isp, **options):
    return PeeringLink(name, node, isp, 100.0, **options)


INVENTORY = Inventory(
    (Site("s", "eu"),), (router("nyc", "10.1.0.0/18", "10.1.64.0/18"), router("lon", "10.2.0.0/18"), router("fra"))
)
PEERING = Peering(
    isps=(Isp("a", 64500), Isp("b", 64501)),
    links=(
        link("nyc-a", "nyc", "a", interface=7, lower_community="64500:80"),
        link("lon-a", "lon", "a", interface=7),
        link("nyc-b", "nyc", "b", interface=8, inbound_limit_mbps=50.0),
        link("fra-b", "fra", "b"),
    ),
    groups=(PrefixGroup("eyeballs", (ip_network("198.51.100.0/24"),)),),
)


def flow(dst, mbps, in_if, tos=0):
    return Flow(ip_address("203.0.113.1"), ip_address(dst), int(mbps * MBPS), 1, tos, in_if, 2, T0 + 1, T0 + 1)


FLOWS = {
    "nyc": [
        flow("10.1.0.9", 60, 7),  # behind the border itself: no demand, but it came in
        flow("10.2.0.9", 30, 7, 46 << 2),
        flow("10.2.0.9", 35, 7),
        flow("198.51.100.1", 5, 7),  # transit
        flow("10.2.0.9", 20, 8),
        flow("10.2.0.9", 3, 9),  # from a server of ours
        flow("192.0.2.77", 1, 7),  # nobody knows where
    ],
    "lon": [flow("10.1.64.9", 10, 7)],
}


NO_INTERFACES = replace(PEERING, links=tuple(replace(each, interface=None) for each in PEERING.links))


def measured(peering=PEERING, root=None):
    """Demand of one window with these flows in it, told over the wire between collectors.

    root: what the collector that is told knows of the outside, when it is not the same.
    """
    aggregator = FlowAggregator(Classifier(INVENTORY, peering, INTENTS), 10.0, active_timeout_s=0.0)
    aggregator.roll(T0)
    for name, flows in FLOWS.items():
        decoder = Decoder()
        for packet in Exporter("ipfix", 1).packets(flows, T0 + 1):
            for columns in decoder.decode(packet, "192.0.2.1", T0 + 1).flows:
                aggregator.add(columns, name, T0 + 1)
    aggregator.roll(T0 + 10)
    told = encode_window(DemandMessage("leaf", Key(1, int(T0) // 10), 10.0, aggregator.closed[-1]))
    space = Classifier(INVENTORY, root or peering, INTENTS).space
    return demand_matrix([decode_window(told).demand], space, frozenset({"nyc", "lon"}))


def test_demand_is_the_same_whether_links_are_measured_or_not():
    plain = measured(NO_INTERFACES)
    by_link = measured()
    assert sorted(map(repr, by_link.rates)) == sorted(map(repr, plain.rates))
    assert (by_link.unknown_mbps, plain.inbound) == (plain.unknown_mbps, ())
    assert {(each.peering_link, each.target, str(each.prefix)): each.rate_mbps for each in by_link.inbound} == {
        ("nyc-a", "nyc", "10.1.0.0/18"): 60.0,
        ("nyc-a", "lon", "10.2.0.0/18"): 65.0,
        ("nyc-a", "eyeballs", "198.51.100.0/24"): 5.0,
        ("nyc-b", "lon", "10.2.0.0/18"): 20.0,
        ("lon-a", "nyc", "10.1.64.0/18"): 10.0,
    }


@pytest.mark.parametrize(("leaf", "root"), [(PEERING, NO_INTERFACES), (NO_INTERFACES, PEERING)])
def test_demand_is_the_same_while_only_one_of_two_collectors_knows_the_interfaces(leaf, root):
    """As it is for a while after every reload that adds or removes one."""
    plain, mixed = measured(NO_INTERFACES), measured(leaf, root)
    assert sorted(map(repr, mixed.rates)) == sorted(map(repr, plain.rates))
    assert (mixed.unknown_mbps, mixed.inbound) == (plain.unknown_mbps, ())


def test_a_link_with_too_much_is_told_with_one_change_that_brings_it_under_its_limit():
    told = ingress(measured(), PEERING, PEERING, INVENTORY, INTENTS)
    rows = {row["peering_link"]: row for row in told["links"]}
    assert [row["peering_link"] for row in told["links"]] == ["nyc-a", "nyc-b", "lon-a"]  # the fullest first
    nyc = rows["nyc-a"]
    assert (nyc["inbound_mbps"], nyc["limit_mbps"], nyc["state"]) == (130.0, 100.0, "over")
    assert (nyc["after_mbps"], rows["lon-a"]["after_mbps"]) == (70.0, 70.0)  # the smallest prefix that is enough
    assert rows["lon-a"]["state"] == "ok"
    b = rows["nyc-b"]  # its ISP may be the one that takes it
    assert [b[key] for key in ("inbound_mbps", "most_mbps", "limit_mbps", "state")] == [20.0, 80.0, 50.0, "may be over"]
    assert [(each["peering_link"], each["prefix"], each["change"]) for each in told["proposals"]] == [
        ("nyc-a", "10.1.0.0/18", "community")
    ]
    assert "64500:80" in told["proposals"][0]["how"]
    assert told["missing"] == ["fra-b: no interface is given in the peering file"]


@pytest.mark.parametrize(("mbps", "told"), [(1.0, False), (40.0, True)])
def test_what_goes_to_no_prefix_of_ours_is_in_no_link_and_people_are_told_where_it_is_much(mbps, told):
    demand = replace(measured(), unknown=(UnknownDemand("nyc", mbps), UnknownDemand("fra", 9.0)))
    document = ingress(demand, PEERING, PEERING, INVENTORY, INTENTS)
    said = "nyc: 40.0 Mbit/s toward prefixes that no file lists, in whichever way it came"
    assert document["missing"][1:] == ([said] if told else [])


def test_what_only_one_link_announces_is_left_there():
    links = tuple(replace(each, announced=() if each.name != "nyc-a" else None) for each in PEERING.links)
    told = ingress(measured(), replace(PEERING, links=links), PEERING, INVENTORY, INTENTS)
    assert (told["proposals"], told["links"][0]["state"]) == ([], "stays over")


def test_a_link_whose_border_is_silent_is_not_measured_and_nothing_is_sent_to_it():
    silent = replace(measured(), missing_exporters=frozenset({"lon"}))
    told = ingress(silent, PEERING, PEERING, INVENTORY, INTENTS)
    assert "lon-a: lon tells no flows now" in told["missing"]
    assert told["proposals"] == []  # nyc-b has no room for what would have to move


def test_nothing_is_sent_to_a_link_that_is_closed():
    """It carries little just because it is, so it would look like the one with most room."""
    group = PEERING.groups[0].name
    listed = replace(PEERING, egresses=tuple(Egress(group, each.name, 1.0) for each in PEERING.links))
    usable = replace(listed, egresses=tuple(each for each in listed.egresses if each.peering_link != "lon-a"))
    told = ingress(measured(), listed, usable, INVENTORY, INTENTS)
    lon = next(row for row in told["links"] if row["peering_link"] == "lon-a")
    assert (lon["inbound_mbps"], lon["after_mbps"], lon["most_mbps"]) == (10.0, 10.0, 10.0)
    assert (told["proposals"], told["closed"]) == ([], ["lon-a"])
    assert ingress(measured(), listed, listed, INVENTORY, INTENTS)["proposals"]


def test_advice_can_be_off():
    assert ingress(measured(), PEERING, PEERING, INVENTORY, replace(INTENTS, ingress=Ingress.OFF))["links"] == []


def test_people_see_links_that_are_closed():
    told = {**ingress(measured(), PEERING, PEERING, INVENTORY, INTENTS), "closed": ["lon-a"]}
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(tables.ingress(told))
    assert "closed: lon-a" in console.export_text()


@pytest.mark.parametrize("mode", list(Ingress))
def test_people_see_links_changes_and_what_is_missing(mode):
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(tables.ingress(ingress(measured(), PEERING, PEERING, INVENTORY, replace(INTENTS, ingress=mode))))
    text = console.export_text()
    assert ("off" in text) if mode is Ingress.OFF else ("130" in text and "64500:80" in text and "fra-b" in text)
