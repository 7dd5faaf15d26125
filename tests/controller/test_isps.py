"""Operators' wishes of ISPs are met where that costs no traffic. Oracle: a linear program over the same paths."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from neto.controller.target import CycleOptions, decide_target
from neto.controller.world import World
from neto.model.intent import IspWish
from tests.controller import wans

OPTIONS = CycleOptions(min_gain=0.0)
SEEDS = range(12)


def decided(snapshot, *wishes):
    intents = replace(snapshot.intents, isps=wishes)
    return decide_target(World(replace(snapshot, intents=intents)), OPTIONS)


def snapshot_of(seed, busiest=0.8):
    """A WAN with one class: a higher one would have its delays first, whatever a lower one then needs."""
    made = wans.snapshot(random.Random(seed), busiest=busiest)
    rates = tuple(replace(each, traffic_class="bronze") for each in made.demand.rates)
    intents = replace(made.intents, classes=made.intents.classes[-1:])
    return replace(made, demand=replace(made.demand, rates=rates), intents=intents)


def by_isp(snapshot, target):
    """Mbit/s by ISP, steered or given; and of each path, which ISP it leaves by."""
    isp = {link.name: link.isp for link in snapshot.peering.links}
    names = [link.id for link in target.allocation.topology.links]
    loads = dict.fromkeys(("isp-a", "isp-b"), 0.0)
    for row, mbps in enumerate(target.base_mbps.sum(axis=0).tolist()):
        if names[row] in isp:
            loads[isp[names[row]]] += mbps
    paths, leaves = target.allocation.paths, []
    for row, mbps in enumerate(target.allocation.rate_mbps.tolist()):
        links = paths.path(row)
        leaves.append(isp.get(names[links[-1]], "") if links else "")
        if leaves[-1]:
            loads[leaves[-1]] += mbps
    return loads, leaves


def could(target, leaves, isp, cap_mbps):
    """Whether all that was asked for fits these paths with no more than that through an ISP."""
    allocation = target.allocation
    paths, count = allocation.paths, len(leaves)
    links = np.zeros((len(allocation.topology.links), count))
    for row in range(count):
        for link in paths.path(row):
            links[link, row] += 1
    through = np.array([[leave == isp for leave in leaves]], np.float64)
    demand = np.zeros((len(allocation.demands), count))
    demand[paths.demand_of, np.arange(count)] = 1
    asked = [each.rate_mbps for each in allocation.demands]
    limits = np.append(target.room_mbps, cap_mbps)
    found = linprog(np.zeros(count), np.vstack([links, through]), limits, demand, asked)
    return found.status == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_an_isp_carries_no_more_than_its_commit_where_all_traffic_fits_so(seed):
    snapshot = snapshot_of(seed)
    plain = decided(snapshot)
    free, leaves = by_isp(snapshot, plain)
    for share in (0.3, 0.7):
        cap = share * free["isp-a"]
        given = plain.base_mbps.sum(axis=0)
        target = decided(snapshot, IspWish("isp-a", commit_mbps=cap))
        loads, _ = by_isp(snapshot, target)
        assert target.allocation.rate_mbps.sum() >= plain.allocation.rate_mbps.sum() * (1 - 1e-6)
        names = [link.id for link in target.allocation.topology.links]
        base = sum(given[names.index(link.name)] for link in snapshot.peering.links if link.isp == "isp-a")
        if could(plain, leaves, "isp-a", max(cap - base, 0.0) * (1 - 1e-6)):
            assert loads["isp-a"] <= max(cap, base) * (1 + 1e-6)
        assert loads["isp-a"] <= free["isp-a"] * (1 + 1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_that_is_avoided_carries_only_what_has_no_room_elsewhere(seed):
    snapshot = snapshot_of(seed, busiest=1.3)
    plain, target = decided(snapshot), decided(snapshot, IspWish("isp-a", avoid=True))
    free, leaves = by_isp(snapshot, plain)
    loads, _ = by_isp(snapshot, target)
    assert target.allocation.rate_mbps.sum() >= plain.allocation.rate_mbps.sum() * (1 - 1e-6)
    assert loads["isp-a"] <= free["isp-a"] * (1 + 1e-6)
    if could(plain, leaves, "isp-a", 1e-6):
        steered = sum(
            mbps
            for mbps, leave in zip(target.allocation.rate_mbps, by_isp(snapshot, target)[1], strict=True)
            if leave == "isp-a"
        )
        assert steered <= 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_preference_weighs_against_delay_as_much_as_it_says(seed):
    """With room everywhere each demand takes the exit of least delay, the other ISP's being further by that."""
    snapshot = snapshot_of(seed, busiest=0.05)
    target = decided(snapshot, IspWish("isp-a", prefer_us=3000.0))
    _, leaves = by_isp(snapshot, target)
    paths = target.allocation.paths
    taken = paths.delay_us + np.array([3000.0 if leave == "isp-b" else 0.0 for leave in leaves])
    for row, demand in enumerate(target.allocation.demands):
        mine = slice(paths.demand_start[row], paths.demand_start[row + 1])
        used = target.allocation.rate_mbps[mine] > 1e-6 * demand.rate_mbps
        assert taken[mine][used].max() <= taken[mine].min() + 1e-6


def test_a_share_is_of_all_traffic_toward_groups():
    kept = 0
    for seed in SEEDS:
        snapshot = snapshot_of(seed)
        groups = {group.name for group in snapshot.peering.groups}
        outside = sum(rate.rate_mbps for rate in snapshot.demand.rates if rate.target in groups)
        plain = decided(snapshot)
        if plain.base_mbps.any() or not could(plain, by_isp(snapshot, plain)[1], "isp-a", 0.3 * outside):
            continue
        before, after = (
            by_isp(snapshot, each)[0] for each in (plain, decided(snapshot, IspWish("isp-a", max_share=0.3)))
        )
        assert after["isp-a"] <= 0.3 * outside * (1 + 1e-6)
        kept += before["isp-a"] > 0.31 * outside
    assert kept >= 3


def test_no_wish_changes_nothing():
    snapshot = snapshot_of(5, busiest=1.2)
    plain, wished = decided(snapshot), decided(snapshot, IspWish("isp-a"))
    assert plain.allocation.rate_mbps.tolist() == wished.allocation.rate_mbps.tolist()
    assert plain.state == wished.state


def test_a_border_that_tells_isps_what_it_learned_inside_keeps_its_own_routes_for_that():
    snapshot = snapshot_of(2)
    border = snapshot.peering.links[0].node
    own = {prefix for router in snapshot.inventory.routers for prefix in router.prefixes}
    steered = {key for key in decided(snapshot).state.routes if key.headend == border}
    some = sorted(key.prefix for key in steered if key.prefix in own)[:1]
    for announced, kept in ((None, own), (tuple(some), set(some))):
        links = (
            replace(snapshot.peering.links[0], announces_learned=True, announced=announced),
            *snapshot.peering.links[1:],
        )
        told = decided(replace(snapshot, peering=replace(snapshot.peering, links=links)))
        assert {key for key in told.state.routes if key.headend == border} == {
            k for k in steered if k.prefix not in kept
        }
        assert any(key.prefix in own for key in told.state.routes if key.headend != border)
    assert some
    assert any(key.prefix not in own for key in steered)
