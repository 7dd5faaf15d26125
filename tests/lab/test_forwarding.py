"""Where traffic goes, against hand-computed cases and packets that are walked one by one."""

import random
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from neto.lab.forwarding import Forwarding, router_states
from neto.lab.scenario import Scenario, load_scenario
from neto.lab.state import LabPolicy, LabRoute, RouterState

CONFIG = Path(__file__).parents[2] / "neto.toml"
PACKETS = 4000


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario(CONFIG)


@pytest.fixture
def wan(scenario) -> Forwarding:
    return Forwarding(scenario, frozenset(cable.name for cable in scenario.cables))


@pytest.fixture
def nyc(scenario) -> RouterState:
    return router_states(scenario.routers)["nyc1"]


LONDON, TOKYO = IPv4Network("10.5.0.0/18"), IPv4Network("10.9.0.0/18")
EUROPE = IPv4Network("198.51.100.0/26")
LON, FRA, TYO = "10.255.0.5", "10.255.0.6", "10.255.0.9"


def label(scenario: Scenario, name: str) -> int:
    return next(cable.label for cable in scenario.cables if cable.name == name)


def steer(state: RouterState, prefix: IPv4Network, next_hop: str, colour: int) -> None:
    state.routes[prefix] = LabRoute(prefix, next_hop, 1000, colour)


def test_without_the_daemon_traffic_takes_the_igp_and_the_nearest_exit(wan, nyc):
    assert wan.way(nyc, LONDON, 0).shares == {"nyc1-lon1": 1.0}
    assert wan.way(nyc, EUROPE, 0).shares == {"nyc-a-1": 1.0}  # far beyond the link, but near in the IGP
    assert not wan.way(nyc, LONDON, 0).steered


def test_a_route_without_a_policy_leads_to_its_next_hop_by_the_igp(wan, nyc):
    steer(nyc, EUROPE, LON, 1500)
    assert wan.way(nyc, EUROPE, 0).shares == {"nyc1-lon1": 1.0, "lon-a-1": 1.0}


def test_weighted_segment_lists_split_traffic_and_exits(scenario, wan, nyc):
    steer(nyc, EUROPE, LON, 1500)
    nyc.policies[1500, LON] = LabPolicy(
        1500, LON, "", (((16005, label(scenario, "lon-a-1")), 3), ((16002, 16006, label(scenario, "fra-b-1")), 1))
    )
    way = wan.way(nyc, EUROPE, 0)
    assert way.shares == {"nyc1-lon1": 0.75, "lon-a-1": 0.75, "nyc1-iad1": 0.25, "iad1-fra1": 0.25, "fra-b-1": 0.25}
    assert way.delay_us == 2250 + 40000 + 7000  # the longer of the two, to the far end
    assert way.steered


def test_a_code_point_finds_its_policy_through_the_per_flow_one(wan, nyc):
    steer(nyc, LONDON, LON, 1400)
    nyc.policies[1400, LON] = LabPolicy(1400, LON, per_flow=((-1, 1402), (46, 1401)))
    nyc.policies[1401, LON] = LabPolicy(1401, LON, "", (((16002, 16005), 1),))
    assert wan.way(nyc, LONDON, 46).shares == {"nyc1-iad1": 1.0, "iad1-lon1": 1.0}
    assert wan.way(nyc, LONDON, 0).shares == {"nyc1-lon1": 1.0}  # colour 1402 has no policy: the IGP path


def test_a_list_over_a_link_that_is_down_is_invalid_and_the_others_share_its_traffic(scenario, nyc):
    steer(nyc, LONDON, LON, 1400)
    over_iad = (16002, label(scenario, "iad1-lon1"))
    nyc.policies[1400, LON] = LabPolicy(1400, LON, "", ((over_iad, 1), ((16006, 16005), 1)))
    down = {"iad1-lon1", "lon1-iad1"}
    wan = Forwarding(scenario, frozenset(c.name for c in scenario.cables) - down)
    assert wan.way(nyc, LONDON, 0).shares["fra1-lon1"] == 1.0
    assert not wan.valid("nyc1", over_iad)
    assert wan.valid("nyc1", (16006, 16005))
    nyc.policies[1400, LON] = replace(nyc.policies[1400, LON], segment_lists=((over_iad, 1),))
    assert wan.way(nyc, LONDON, 0).shares == {"nyc1-lon1": 1.0}
    assert not wan.way(nyc, LONDON, 0).steered


def test_a_next_hop_that_cannot_be_reached_leaves_the_router_to_itself(scenario, nyc):
    steer(nyc, LONDON, TYO, 1400)
    cut = {c.name for c in scenario.cables if "tyo1" in {c.source, c.target}}
    wan = Forwarding(scenario, frozenset(c.name for c in scenario.cables) - cut)
    assert wan.way(nyc, LONDON, 0).shares == {"nyc1-lon1": 1.0}
    assert wan.way(nyc, TOKYO, 0).lost == 1.0


def test_an_exit_to_an_isp_that_does_not_carry_the_prefix_loses_it(scenario, wan, nyc):
    steer(nyc, EUROPE, TYO, 1500)
    nyc.policies[1500, TYO] = LabPolicy(1500, TYO, "", (((16009, label(scenario, "tyo-b-1")), 1),))
    assert wan.way(nyc, EUROPE, 0).lost == 1.0


def walk(scenario: Scenario, up: set[str], rng: random.Random, source: str, labels: list[int], home: str) -> list[str]:
    """One packet, hop by hop, from the labels and metrics alone: an oracle that knows no shares."""
    metric: dict[str, dict[str, float]] = {}

    def distance(to: str) -> dict[str, float]:
        if to not in metric:
            found = {to: 0.0}
            for _ in scenario.routers:
                for cable in scenario.cables:
                    if cable.name in up and cable.target in found:
                        through = found[cable.target] + cable.metric
                        found[cable.source] = min(found.get(cable.source, through), through)
            metric[to] = found
        return metric[to]

    node = {16000 + router.number: router.name for router in scenario.routers}
    here, taken = source, []
    for goal in [*labels, None]:
        to = home if goal is None else node.get(goal)
        if to is None:
            cable = next(c for c in scenario.cables if c.source == here and c.label == goal)
            taken.append(cable.name)
            here = cable.target
            continue
        while here != to:
            best = distance(to)[here]
            onward = [
                c
                for c in scenario.cables
                if c.source == here and c.name in up and distance(to).get(c.target, 1e9) + c.metric == best
            ]
            cable = rng.choice(onward)
            taken.append(cable.name)
            here = cable.target
    return taken


@pytest.mark.parametrize("seed", range(6))
def test_shares_are_those_of_packets_walked_one_by_one(scenario, seed):
    rng = random.Random(seed)
    metric = {name: rng.choice([10, 20]) for name in (c.name for c in scenario.cables)}  # many equal-cost paths
    even = replace(scenario, cables=tuple(replace(c, metric=metric[c.name]) for c in scenario.cables))
    up = {c.name for c in even.cables}
    wan = Forwarding(even, frozenset(up))
    source, home = rng.sample(even.routers, 2)
    state = router_states(even.routers)[source.name]
    stack = [16000 + rng.choice(even.routers).number for _ in range(2)]
    steer(state, home.prefixes[0], home.loopback, 1400)
    state.policies[1400, home.loopback] = LabPolicy(1400, home.loopback, "", ((tuple(stack), 1),))
    way = wan.way(state, home.prefixes[0], 0)
    seen = Counter(link for _ in range(PACKETS) for link in walk(even, up, rng, source.name, list(stack), home.name))
    for link in seen.keys() | way.shares.keys():
        assert seen[link] / PACKETS == pytest.approx(way.shares.get(link, 0.0), abs=0.04), link


def test_a_route_that_is_preferred_no_more_than_the_routers_own_is_not_used(wan, nyc):
    nyc.routes[LONDON] = LabRoute(LONDON, FRA, 100, 1400)
    assert wan.way(nyc, LONDON, 0).shares == {"nyc1-lon1": 1.0}


def test_a_router_does_not_take_its_own_address_for_a_next_hop(wan, nyc):
    steer(nyc, EUROPE, nyc.loopback, 1400)
    nyc.policies[1400, nyc.loopback] = LabPolicy(1400, nyc.loopback, "", (((16005,), 1),))
    assert wan.way(nyc, EUROPE, 0) == wan.way(RouterState("nyc1", nyc.loopback), EUROPE, 0)


def test_a_less_specific_route_counts_only_where_the_routers_own_is_gone(scenario, wan, nyc):
    steer(nyc, IPv4Network("10.0.0.0/8"), FRA, 1400)
    assert wan.way(nyc, LONDON, 0).shares == {"nyc1-lon1": 1.0}
    alone = {c.name for c in scenario.cables if "lon1" in {c.source, c.target}}
    cut_off = Forwarding(scenario, frozenset(c.name for c in scenario.cables) - alone)
    way = cut_off.way(nyc, LONDON, 0)
    assert way.shares == {"nyc1-iad1": 1.0, "iad1-fra1": 1.0}  # to the next hop, and no further
    assert way.lost == 1.0


def test_a_more_specific_route_takes_just_its_part_of_the_prefix(wan, nyc):
    """A half leaves for Frankfurt, but for an eighth in it that Tokyo was announced for."""
    steer(nyc, IPv4Network("10.5.0.0/19"), FRA, 1400)
    steer(nyc, IPv4Network("10.5.8.0/21"), TYO, 1400)
    shares = wan.way(nyc, LONDON, 0).shares
    assert shares["lon1-fra1"] == 0.375  # and back from there
    assert shares["sfo1-tyo1"] == 0.125


def test_only_the_ingress_router_steers(scenario, wan, nyc):
    """London has a route of its own for the prefix; what New York sends there leaves plainly."""
    london = router_states(scenario.routers)["lon1"]
    steer(london, EUROPE, FRA, 1500)
    london.policies[1500, FRA] = LabPolicy(1500, FRA, "", (((16006, label(scenario, "fra-b-1")), 1),))
    steer(nyc, EUROPE, LON, 1500)
    assert wan.way(london, EUROPE, 0).shares == {"lon1-fra1": 1.0, "fra-b-1": 1.0}
    assert wan.way(nyc, EUROPE, 0).shares == {"nyc1-lon1": 1.0, "lon-a-1": 1.0}


def test_labels_mean_something_only_where_they_are_local(scenario, wan):
    adjacency, peer = label(scenario, "lon1-sin1"), label(scenario, "lon-a-1")
    assert wan.valid("lon1", (adjacency,))
    assert not wan.valid("syd1", (adjacency,))  # has fewer links than London
    assert wan.valid("nyc1", (16005, adjacency, 16001))
    assert wan.valid("nyc1", (16005, peer))
    assert not wan.valid("nyc1", (16005, peer, 16001))  # nothing comes back from an ISP
    assert not wan.valid("nyc1", (16999,))
    assert not wan.valid("nyc1", ())
