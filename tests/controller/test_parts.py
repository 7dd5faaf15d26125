"""Prefix groups split over exits by whole prefixes: within capacity, stable, limited, and safe on the way."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from neto.controller.cycle import CycleOptions, decide
from neto.controller.latency_moves import LatencyPolicy
from neto.controller.peering import Targets
from neto.model.demand import DemandMatrix, PrefixDemand
from neto.model.intent import Intents, PrefixSplit, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.latency import LatencyEstimate
from neto.model.peering import Egress, Isp, Peering, PeeringLink, PrefixGroup
from neto.model.snapshot import Snapshot
from neto.model.sr import ForwardingState
from neto.model.topology import Topology
from neto.operation.outside import Latency
from tests.controller.graphs import both_ways, topology
from tests.controller.wans import Judge, moved, snapshot

OPTIONS = CycleOptions()
FREE = PrefixSplit(max_prefixes=10**6, max_shift=1.0)
PREFIXES = tuple(IPv4Network(f"198.18.{number}.0/24") for number in range(40))
LOOPBACK = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}


def wan(limits=FREE, exit_mbps=600.0, rates=None, delays_us=(5000.0, 5000.0), running=None):
    """Head-end a, borders b and c, an exit at each, and one group of 40 prefixes with 800 Mbit/s in all."""
    plain = topology(both_ways([("a", "b", 1), ("a", "c", 1), ("b", "c", 1)]), capacity_mbps=2000.0)
    nodes = tuple(
        replace(node, router_id=LOOPBACK[node.name], node_sid=16001 + row) for row, node in enumerate(plain.nodes)
    )
    routers = tuple(Router(name, "s", address, "lab", "127.0.0.1") for name, address in LOOPBACK.items())
    links = tuple(
        PeeringLink(f"exit-{node}", node, "isp", exit_mbps, peer_adjacency_sid=25000 + row)
        for row, node in enumerate("bc")
    )
    rates = rates or dict.fromkeys(PREFIXES, 20.0)
    egresses = tuple(Egress("eu", link.name, delay) for link, delay in zip(links, delays_us, strict=True))
    return Snapshot(
        Topology(nodes, plain.links),
        DemandMatrix(0.0, 30.0, tuple(PrefixDemand("a", "eu", "bronze", p, rate) for p, rate in rates.items())),
        Inventory((Site("s", "region"),), routers),
        Peering((Isp("isp", 64500),), links, (PrefixGroup("eu", tuple(rates)),), egresses),
        Intents((TrafficClass("bronze"),), prefix_split=limits),
        running or ForwardingState(),
        1.0,
    )


def exits_taken(now, state):
    """Exit of each prefix as packets take it; a prefix that takes two has both."""
    judge = Judge(now)
    return {row.prefix: tuple(x for x in judge.spread(state, row) if x.startswith("exit")) for row in now.demand.rates}


def exit_loads(now, state):
    return {link: sum(each.values()) for link, each in Judge(now).loads(state).items() if link.startswith("exit")}


def cycles(now, count):
    for _ in range(count):
        found = decide(now, OPTIONS)
        assert not found.plan.stuck
        now = replace(now, running=found.target)
    return now


def test_a_group_that_needs_two_exits_is_split_by_whole_prefixes_within_their_capacity():
    now = wan()
    found = decide(now, OPTIONS)
    assert {len(ways) for ways in exits_taken(now, found.target).values()} == {1}
    assert {next_hop.next_hop for next_hop in found.target.routes.values()} == {"10.0.0.2", "10.0.0.3"}
    loads = exit_loads(now, found.target)
    assert sum(loads.values()) == pytest.approx(800)
    assert max(loads.values()) <= 600


def test_left_out_groups_are_split_by_weights_as_ever():
    found = decide(wan(limits=None), OPTIONS)
    assert len({(route.next_hop, route.colour) for route in found.target.routes.values()}) == 1
    assert {len(ways) for ways in exits_taken(wan(), found.target).values()} == {2}


def test_decisions_do_not_hang_on_the_order_of_the_demand():
    now = wan(rates={prefix: 5.0 + row % 17 for row, prefix in enumerate(PREFIXES)}, exit_mbps=400.0)
    rates = list(now.demand.rates)
    random.Random(1).shuffle(rates)
    shuffled = replace(now, demand=replace(now.demand, rates=tuple(rates)))
    assert decide(shuffled, OPTIONS).target == decide(now, OPTIONS).target


def test_a_decision_is_followed_by_none_when_nothing_changes():
    now = cycles(wan(), 1)
    assert decide(now, OPTIONS).plan.steps == ()


def test_prefixes_of_an_exit_that_closes_leave_it_and_the_others_stay():
    now = cycles(wan(exit_mbps=1000.0, rates=dict.fromkeys(PREFIXES, 30.0)), 1)
    before = exits_taken(now, now.running)
    left = replace(now, peering=replace(now.peering, egresses=now.peering.egresses[:1]))
    after = exits_taken(left, decide(left, OPTIONS).target)
    assert set(after.values()) == {("exit-b",)}
    assert any(ways == ("exit-c",) for ways in before.values())


def test_prefixes_without_demand_stay_at_their_exit_until_it_closes():
    now = cycles(wan(), 1)
    busy = replace(now, demand=replace(now.demand, rates=now.demand.rates[::2]))
    asleep = {row.prefix for row in now.demand.rates[1::2]}
    later = decide(busy, OPTIONS).target
    assert {key: route for key, route in later.routes.items() if key.prefix in asleep} == {
        key: route for key, route in now.running.routes.items() if key.prefix in asleep
    }
    closed = replace(busy, peering=replace(now.peering, egresses=now.peering.egresses[:1]))
    left = decide(closed, OPTIONS).target
    assert set(exits_taken(replace(closed, demand=now.demand), left).values()) == {("exit-b",)}
    assert {route.next_hop for route in left.routes.values()} == {"10.0.0.2"}


@pytest.mark.parametrize(("most", "shift"), [(3, 1.0), (100, 0.1)])
def test_no_more_goes_over_to_an_exit_of_its_own_in_one_decision_than_the_limits_let(most, shift):
    now = wan(limits=PrefixSplit(max_prefixes=most, max_shift=shift))
    for cycle in range(1, 4):
        now = cycles(now, 1)
        assert len(now.running.routes) == len(PREFIXES)
        single = sum(len(ways) == 1 for ways in exits_taken(now, now.running).values())
        assert single == cycle * min(most, int(shift * len(PREFIXES)))


def test_what_runs_by_weights_goes_over_to_whole_prefixes_bit_by_bit_and_loses_no_route():
    now = cycles(wan(limits=None), 1)
    now = replace(now, intents=replace(now.intents, prefix_split=PrefixSplit()))
    whole = []
    for _ in range(8):
        now = cycles(now, 1)
        assert len(now.running.routes) == len(PREFIXES)
        whole.append(sum(len(ways) == 1 for ways in exits_taken(now, now.running).values()))
    assert whole[0] <= 8
    assert whole[-1] == len(PREFIXES)


def with_most_policies(now, most):
    routers = tuple(replace(each, max_policies=most) for each in now.inventory.routers)
    return replace(now, inventory=replace(now.inventory, routers=routers))


@pytest.mark.parametrize(("most", "ways"), [(2, 2), (3, 2), (4, 1)])  # a policy for the class and one for its exit
def test_a_headend_without_room_for_policies_per_exit_splits_by_weights(most, ways):
    now = with_most_policies(wan(), most)
    found = decide(now, OPTIONS)
    assert not found.plan.stuck
    assert len(found.target.policies) <= most
    assert {len(taken) for taken in exits_taken(now, found.target).values()} == {ways}


@pytest.mark.parametrize("portion", [0.05, 0.25, 0.5])
def test_a_portion_is_steered_by_whole_prefixes_too_and_stays_as_it_grows(portion):
    now = cycles(replace(wan(exit_mbps=1600.0, delays_us=(5000.0, 9000.0)), portion=portion), 3)
    steered = set(now.running.routes)
    assert len(steered) == portion * len(PREFIXES)
    later = cycles(replace(now, portion=1.0), 1)
    before, after = exits_taken(now, now.running), exits_taken(now, later.running)
    assert all(after[key.prefix] == before[key.prefix] for key in steered)


def test_a_prefix_that_no_exit_can_take_is_split_by_weights():
    rates = {PREFIXES[0]: 700.0, **dict.fromkeys(PREFIXES[1:11], 10.0)}
    now = wan(rates=rates)
    found = decide(now, OPTIONS)
    taken = exits_taken(now, found.target)
    assert {prefix for prefix, ways in taken.items() if len(ways) == 2} == {PREFIXES[0]}
    assert max(exit_loads(now, found.target).values()) <= 600


def test_only_the_group_whose_prefixes_do_not_fit_is_split_by_weights():
    """Two exits of each group have room for 351 Mbit/s: for 3 prefixes of 200 Mbit/s only by weights."""
    tight = wan(exit_mbps=390.0, rates=dict.fromkeys(PREFIXES[:3], 200.0))
    roomy = wan(exit_mbps=390.0, rates=dict.fromkeys(PREFIXES[3:7], 150.0))
    links = tuple(
        replace(link, name=f"{link.name}-us", peer_adjacency_sid=26000 + row)
        for row, link in enumerate(roomy.peering.links)
    )
    peering = Peering(
        tight.peering.isps,
        tight.peering.links + links,
        (*tight.peering.groups, PrefixGroup("us", PREFIXES[3:7])),
        tight.peering.egresses + tuple(Egress("us", link.name, 5000.0) for link in links),
    )
    rates = tight.demand.rates + tuple(replace(row, target="us") for row in roomy.demand.rates)
    now = replace(tight, peering=peering, demand=replace(tight.demand, rates=rates))
    found = decide(now, OPTIONS)
    taken = exits_taken(now, found.target)
    assert {prefix for prefix, ways in taken.items() if len(ways) == 2} == set(PREFIXES[:3])
    assert max(exit_loads(now, found.target).values()) <= 351 * (1 + 1e-6)
    assert found.warnings == ("eu at a: split by weights, whole prefixes do not fit",)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("exit_mbps", [2000.0, 600.0])
def test_noise_of_20_percent_on_two_near_equal_exits_moves_no_prefix_after_the_first_five_cycles(seed, exit_mbps):
    """Round-trip times and demand wobble; medians of few samples, with the intervals they have."""
    rng = random.Random(seed)
    now, latency, changes = wan(exit_mbps=exit_mbps), Latency(LatencyPolicy()), []
    listed, last = now.peering, {}
    for cycle in range(100):
        estimates = {}
        for link, true_ms in (("exit-b", 20.0), ("exit-c", 19.5)):
            rtts = sorted(true_ms * rng.uniform(0.8, 1.2) for _ in range(9))
            estimates[link, "eu"] = LatencyEstimate(link, "eu", rtts[4], rtts[1], rtts[7], 0.96, 0.0, 9, 9, 1.0)
        delays = latency.delays("eu", list(listed.egresses), estimates, cycle * 30.0)
        egresses = tuple(replace(each, delay_us=delays[each.peering_link]) for each in listed.egresses)
        rates = tuple(replace(row, rate_mbps=20.0 * rng.uniform(0.95, 1.05)) for row in now.demand.rates)
        now = replace(now, peering=replace(listed, egresses=egresses), demand=replace(now.demand, rates=rates))
        now = replace(now, running=decide(now, OPTIONS).target)
        taken = exits_taken(now, now.running)
        if taken != last:
            changes.append(cycle)
        last = taken
        assert max(exit_loads(now, now.running).values()) <= exit_mbps
    assert [cycle for cycle in changes if cycle >= 5] == []


@pytest.mark.parametrize("busiest", [0.8, 1.6])
@pytest.mark.parametrize("seed", range(3))
def test_on_random_networks_what_weights_can_place_stays_within_capacity_on_every_step(seed, busiest):
    """Oracle: packets forwarded by labels and routes alone, after each step of the plan and at its end."""
    now = snapshot(random.Random(seed), busiest=busiest, prefixes=6)
    split = replace(now, intents=replace(now.intents, prefix_split=FREE))
    plain, found = decide(now, OPTIONS), decide(split, OPTIONS)
    capacity = {link.id: link.capacity_mbps for link in found.joint.links}
    assert found.allocation.rate_mbps.sum() == pytest.approx(plain.allocation.rate_mbps.sum(), rel=1e-3)
    judge, state = Judge(split), split.running
    first = {link: sum(each.values()) for link, each in judge.loads(state).items()}
    for step in found.plan.steps:
        state = moved(state, step.moves)
        load = {link: sum(each.values()) for link, each in judge.loads(state).items()}
        if not found.unplaced:
            assert all(load[x] <= max(capacity[x], first.get(x, 0.0)) * (1 + 1e-6) for x in load)


def test_parts_have_colours_of_their_own_whether_exits_are_open_or_not():
    now = wan()
    targets = Targets.of(now.inventory, now.peering, parts=True)
    fewer = Targets.of(now.inventory, replace(now.peering, egresses=()), parts=True)
    names = [*targets.names, "eu via exit-b", "eu via exit-c"]
    colours = [targets.steering_colour(name) for name in names]
    assert len(set(colours)) == len(names)
    assert [targets.meaning(colour) for colour in colours] == [(name, None) for name in names]
    assert [fewer.steering_colour(name) for name in names] == colours
    assert targets.meaning(max(colours) + 100) is None
