"""Latency moves little, when it is sure, and back when it was wrong."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_network
from itertools import pairwise

import pytest

from neto.agents.monitoring.latency import LatencyTable
from neto.controller.latency_moves import LatencyPolicy, Standing, delays_us, step
from neto.controller.prefix_split import split
from neto.model.latency import LatencyEstimate
from neto.model.peering import Isp, Peering, PeeringLink, PrefixGroup
from neto.wire.samples import Sample

POLICY = LatencyPolicy(min_gain_ms=2, min_gain=0.05, confirm=3, hold_s=600, longest_hold_s=3600, probation_s=300)
CYCLE_S = 30.0


def estimate(link, rtt_ms, width_ms=0.5, loss=0.0):
    return LatencyEstimate(link, "eu", rtt_ms, rtt_ms - width_ms, rtt_ms + width_ms, 0.96, loss, 20, 100, 1.0)


def told(**rtts):
    return {link: estimate(link, rtt) for link, rtt in rtts.items()}


def run(standing, estimates, cycles, start=0.0, bgp="a"):
    for cycle in range(cycles):
        standing = step(standing, bgp, estimates, start + cycle * CYCLE_S, POLICY)
    return standing


def test_a_surely_nearer_exit_is_taken_after_it_was_confirmed():
    estimates = told(a=30, b=20)
    assert run(None, estimates, 2).exit == "a"
    assert run(None, estimates, 3).exit == "b"


@pytest.mark.parametrize(
    "estimates",
    [
        told(a=30, b=29), told(a=100, b=96), {"a": estimate("a", 30, 8), "b": estimate("b", 20, 8)},
        {"a": estimate("a", 30), "b": estimate("b", 20, loss=0.02)}, told(b=20), told(a=30), {},
    ],
)  # fmt: skip
def test_what_is_not_surely_nearer_moves_nothing(estimates):
    """Too little gained, intervals that overlap, more loss, or an exit that was not measured."""
    standing = run(None, estimates, 50)
    assert (standing.exit, standing.reverts) == ("a", 0)


def test_candidates_that_take_turns_are_not_confirmed():
    standing = None
    for cycle in range(60):
        standing = step(standing, "a", told(a=30, b=20 + cycle % 2, c=21 - cycle % 2), cycle * CYCLE_S, POLICY)
    assert standing.exit == "a"


def test_a_candidate_that_comes_and_goes_is_not_confirmed():
    standing = None
    for cycle in range(60):
        standing = step(standing, "a", told(a=30, b=20) if cycle % 3 else told(a=30, b=30), cycle * CYCLE_S, POLICY)
    assert standing.exit == "a"


def test_a_move_that_made_it_worse_is_undone_and_held_down_twice_as_long():
    standing = run(None, told(a=30, b=20), 3)
    assert standing.exit == "b"
    now = 100.0
    standing = step(standing, "a", told(a=30, b=45), now, POLICY)
    assert (standing.exit, standing.moved, standing.reverts, standing.held_until_s) == ("a", False, 1, now + 1200)
    assert run(standing, told(a=30, b=20), 40, start=now).exit == "a"
    assert run(standing, told(a=30, b=20), 3, start=now + 1200).exit == "b"
    for _ in range(5):
        standing = run(standing, told(a=30, b=20), 3, start=standing.held_until_s)
        standing = step(standing, "a", told(a=30, b=45), standing.moved_s + 1, POLICY)
    assert (standing.exit, standing.hold_s, standing.reverts) == ("a", 3600, 6)


def test_a_move_that_loses_packets_is_undone():
    standing = run(None, told(a=30, b=20), 3)
    worse = {"a": estimate("a", 30), "b": estimate("b", 20, loss=0.05)}
    assert step(standing, "a", worse, 100.0, POLICY).exit == "a"


def test_how_much_more_may_be_lost_is_a_rule():
    lenient = replace(POLICY, more_loss=0.03, confirm=1)
    lossy = {"a": estimate("a", 30), "b": estimate("b", 20, loss=0.02)}
    standing = step(None, "a", lossy, 0.0, lenient)
    assert standing.exit == "b"
    assert step(standing, "a", {"a": estimate("a", 30), "b": estimate("b", 20, loss=0.06)}, 1.0, lenient).exit == "b"
    assert step(standing, "a", {"a": estimate("a", 30), "b": estimate("b", 20, loss=0.061)}, 1.0, lenient).exit == "a"


def test_after_a_move_the_next_waits():
    standing = run(None, told(a=30, b=20, c=25), 3)
    assert run(standing, told(a=30, b=28, c=10), 19, start=60.0).exit == "b"
    assert run(standing, told(a=30, b=28, c=10), 30, start=60.0).exit == "c"


def test_an_exit_that_is_gone_or_no_longer_measured_is_left_for_bgp_at_once():
    standing = run(None, told(a=30, b=20), 3)
    assert step(standing, "a", told(a=30), 90.0, POLICY).exit == "a"
    assert step(standing, "a", {}, 90.0, POLICY).exit == "a"


def test_a_group_that_latency_has_not_moved_goes_where_bgp_does():
    standing = run(None, told(a=30, b=30), 3)
    assert step(standing, "b", told(a=30, b=30), 90.0, POLICY).exit == "b"


def test_delays_make_no_other_exit_nearer_than_the_one_in_use():
    estimates = list(told(a=30, b=20, c=40).values())
    assert delays_us(Standing("a"), estimates) == {"a": 15000, "b": 15001, "c": 20000}
    assert delays_us(Standing("b"), estimates) == {"a": 15000, "b": 10000, "c": 20000}
    assert delays_us(Standing("d"), estimates) == {}


LINKS = ("a", "b")
PREFIXES = [ip_network(f"10.{number}.0.0/16") for number in range(50)]
PEERING = Peering(
    isps=(Isp("isp", 64500),),
    links=tuple(PeeringLink(link, f"border-{link}", "isp", 1000.0) for link in LINKS),
    groups=(PrefixGroup("eu", tuple(PREFIXES)),),
)


def cycles_with_moves(seed, true_ms, choose):
    """Return the cycles, of 100, in which a prefix changed its exit. Samples are off by up to 20 %."""
    chance = random.Random(seed)
    table = LatencyTable(PEERING)
    rates = {prefix: chance.paretovariate(1.2) for prefix in PREFIXES}
    running, moved = {}, []
    for cycle in range(100):
        now = 1_700_000_000 + cycle * CYCLE_S
        for link in LINKS:
            rtts = [true_ms[link] * chance.uniform(0.8, 1.2) for _ in range(3)]
            table.add(
                [Sample(now - 9 * at, f"border-{link}", link, PREFIXES[0], rtt, 0.0, 5) for at, rtt in enumerate(rtts)],
                now,
            )
        exits = choose({each.peering_link: each for each in table.copy().estimates(now)}, now)
        wobbling = {prefix: rate * chance.uniform(0.95, 1.05) for prefix, rate in rates.items()}
        found = split(wobbling, exits, running)
        if found.moved or found.forced:
            moved.append(cycle)
        running = dict(found.exits)
    return moved


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("true_ms", [{"a": 20.0, "b": 20.0}, {"a": 20.0, "b": 19.5}, {"a": 19.5, "b": 20.0}])
def test_two_near_equal_exits_and_noise_of_20_percent_move_no_prefix(seed, true_ms):
    standing = None

    def steadily(estimates, now):
        nonlocal standing
        standing = step(standing, "a", estimates, now, POLICY)
        delays = delays_us(standing, list(estimates.values())) or {"a": 0.0}
        return {min(delays, key=delays.get): 1.0}

    assert [cycle for cycle in cycles_with_moves(seed, true_ms, steadily) if cycle >= 5] == []


def test_the_same_noise_would_move_prefixes_if_the_nearest_median_were_followed():
    """That the test above tests something."""

    def naively(estimates, now):
        assert now
        nearest = min(estimates, key=lambda link: estimates[link].rtt_ms, default="a")
        return {nearest: 1.0}

    assert len(cycles_with_moves(0, {"a": 20.0, "b": 20.0}, naively)) > 5


def test_an_exit_that_is_really_nearer_is_taken_once_under_the_same_noise():
    standing = None
    exits = []

    def steadily(estimates, now):
        nonlocal standing
        standing = step(standing, "a", estimates, now, POLICY)
        exits.append(standing.exit)
        return {standing.exit: 1.0}

    cycles_with_moves(1, {"a": 40.0, "b": 20.0}, steadily)
    assert exits[-1] == "b"
    assert sum(one != other for one, other in pairwise(exits)) == 1
