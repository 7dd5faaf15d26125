"""Where other networks send, by what they are told: nothing is lost or made, and no link that is told plainly loses."""

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neto.lab.inbound import Inbound, by_link
from neto.lab.scenario import load_scenario
from neto.lab.told import Told

EXAMPLE = load_scenario(Path(__file__).parents[2] / "neto.toml")
LAX = IPv4Network("10.4.0.0/18")
GROUP = IPv4Network("192.0.2.0/26")
WAYS = {way.link: way for way in EXAMPLE.ways_in}
KEY = ("nyc1", LAX, 46)


def entering(told, rates=None, scenario=EXAMPLE):
    """Mbit/s by link; told: what is not told plainly, by link."""
    rates = rates or {KEY: 100.0}
    inbound = Inbound(scenario)
    diverted = inbound.diverted(rates, lambda way, prefix: told.get(way.link, Told()) if prefix == LAX else Told())
    everything = {key: inbound.usual(key, mbps) for key, mbps in rates.items()} | diverted
    return by_link(scenario.ways_in, ((key[0], each) for key, each in everything.items())), diverted


def test_the_example_is_what_its_tests_take_it_for():
    assert LAX in next(router for router in EXAMPLE.routers if router.name == "lax1").prefixes
    assert (WAYS["nyc-a-1"].share, WAYS["fra-b-1"].lower_community) == (0.5, "64501:80")


def test_it_comes_in_by_its_shares_while_everything_is_told_plainly():
    links, diverted = entering({})
    assert (links["nyc-a-1"], sum(links.values()), diverted) == (50.0, 50.0, {})
    assert Inbound(EXAMPLE).usual(("nyc1", GROUP, 46), 80.0) == {1: 80.0}  # nobody sends transit through us


def test_a_higher_med_sends_all_of_it_to_other_links_of_the_isp():
    links, diverted = entering({"nyc-a-1": Told(med=100)})
    assert {link: mbps for link, mbps in links.items() if mbps} == pytest.approx(
        {"lon-a-1": 50 * 9 / 16, "sin-a-1": 50 * 7 / 16}  # by capacity
    )
    assert diverted[KEY] == {101: 0.0, 1: 50.0}
    assert diverted["lon1", LAX, 46] == pytest.approx({102: 50 * 9 / 16, 1: 0.0})


def test_a_community_counts_only_where_the_isp_honours_it():
    of_b = {("fra1", LAX, 46): 100.0}
    links, _ = entering({"fra-b-1": Told(communities=("64501:80",))}, of_b)
    assert links["fra-b-1"] == 0.0
    assert sum(links.values()) == pytest.approx(30.0)
    for strange in ("64501:81", "64500:80"):
        links, diverted = entering({"fra-b-1": Told(communities=(strange,))}, of_b)
        assert (links["fra-b-1"], diverted) == (30.0, {})


def test_with_each_prepended_number_half_of_it_leaves():
    assert entering({"nyc-a-1": Told(prepended=1)})[0]["nyc-a-1"] == 25.0
    assert entering({"nyc-a-1": Told(prepended=2)})[0]["nyc-a-1"] == 12.5
    everywhere = dict.fromkeys(WAYS, Told(prepended=2))
    assert entering(everywhere)[0]["nyc-a-1"] == 50.0


def test_what_is_told_to_nobody_is_not_sent():
    assert sum(entering(dict.fromkeys(WAYS))[0].values()) == 0.0
    only = replace(EXAMPLE, ways_in=tuple(way for way in EXAMPLE.ways_in if way.link == "nyc-a-1"))
    assert entering({"nyc-a-1": Told(med=9, prepended=3, communities=("1:1",))}, scenario=only)[0]["nyc-a-1"] == 50.0


ANY_TOLD = st.builds(
    Told, st.integers(0, 3), st.integers(0, 2), st.lists(st.sampled_from(["64501:80", "1:1"]), max_size=2).map(tuple)
)
SOURCES = sorted({way.border for way in EXAMPLE.ways_in})


@given(
    st.dictionaries(st.sampled_from(sorted(WAYS)), ANY_TOLD),
    st.dictionaries(st.tuples(st.sampled_from(SOURCES), st.just(LAX), st.just(0)), st.floats(0, 1e4), min_size=1),
)
def test_nothing_is_lost_or_made_as_long_as_it_is_told(told, rates):
    links, diverted = entering(told, rates)
    usual, _ = entering({}, rates)
    assert sum(links.values()) == pytest.approx(sum(usual.values()))
    assert all(mbps >= -1e-6 for each in diverted.values() for mbps in each.values())
    plain = [link for link in WAYS if link not in told]
    assert all(links[link] >= usual[link] - 1e-6 for link in plain)
