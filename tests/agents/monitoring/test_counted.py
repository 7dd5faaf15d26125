"""Where prefixes are too many, what a target gets is exact all the same, and the largest are counted by themselves."""

from __future__ import annotations

from ipaddress import ip_network

import numpy as np
import pytest

from neto.agents.monitoring import classify
from neto.agents.monitoring.classify import Classifier
from neto.agents.monitoring.demand import FlowAggregator
from neto.model.demand_window import REST
from neto.model.peering import Peering, PrefixGroup

from .test_demand import INTENTS, INVENTORY, T0, exported, flow

GROUPS = [PrefixGroup(f"g{n}", tuple(ip_network(f"198.51.{n}.{host}/32") for host in range(50))) for n in range(3)]
PEERING = Peering(groups=tuple(GROUPS))


@pytest.fixture
def classifier(monkeypatch):
    monkeypatch.setattr(classify, "_MOST_COUNTED", 10)
    return Classifier(INVENTORY, PEERING, INTENTS)


def windows(aggregator, per_window, first, count):
    """Let a router tell the same in each of some windows, four times: one batch of four is looked at.

    Returns what each window that was closed held, by target and prefix.
    """
    for n in range(first, first + count):
        for columns in exported(per_window, at=T0 + 10 * n + 1):
            for _ in range(4):
                aggregator.add(columns, "nyc1", T0 + 10 * n + 1)
        aggregator.roll(T0 + 10 * n + 10)
    told = []
    for closed in aggregator.closed:
        cells = zip(closed.cells.tolist(), closed.octets.tolist(), strict=True)
        told.append({closed.space.cell(cell)[1::2]: octets for cell, octets in cells})
    return told


def test_each_target_gets_what_was_sent_to_it_and_the_largest_prefixes_are_told_apart(classifier):
    chance = np.random.default_rng(5)
    octets = {(group, host): int(chance.integers(1, 1000)) for group in range(3) for host in range(50)}
    largest = sorted(chance.choice(150, 8, replace=False).tolist())
    for n in largest:
        octets[divmod(n, 50)] = 1_000_000 + n
    own = 77_000
    aggregator = FlowAggregator(classifier, 10.0, smooth=20, active_timeout_s=0.0)
    flows = [flow(f"198.51.{group}.{host}", count) for (group, host), count in octets.items()] + [flow("10.2.0.7", own)]
    told = windows(aggregator, flows, 0, 3)
    for window in told:
        for n in range(3):
            sums = sum(count for (target, _), count in window.items() if target == f"g{n}")
            assert sums == 4 * sum(count for (group, _), count in octets.items() if group == n)
        assert window["lon1", ip_network("10.2.0.0/18")] == 4 * own  # what routers originate is always told apart
        assert sum(prefix != REST for target, prefix in window if target.startswith("g")) == 10
    for n in largest:
        group, host = divmod(n, 50)
        assert told[-1][f"g{group}", ip_network(f"198.51.{group}.{host}/32")] == 4 * octets[group, host]
    assert sum(aggregator.closed[-1].unknown.values()) == 0


def test_few_prefixes_have_no_rest(classifier):
    few = Classifier(INVENTORY, Peering(groups=(PrefixGroup("g0", GROUPS[0].prefixes[:10]),)), INTENTS)
    assert all(prefix != REST for _, prefix in few.space.destinations)
    assert [target for target, prefix in classifier.space.destinations if prefix == REST] == ["g0", "g1", "g2"]


def test_one_that_grew_takes_the_place_of_one_that_shrank(classifier):
    aggregator = FlowAggregator(classifier, 10.0, smooth=50, active_timeout_s=0.0)
    windows(aggregator, [flow(f"198.51.0.{host}", 1000 * host + 1000) for host in range(50)], 0, 2)
    told = windows(aggregator, [flow(f"198.51.0.{host}", 1000 * (50 - host)) for host in range(50)], 2, 30)
    assert {str(prefix) for _, prefix in told[1]} == {f"198.51.0.{host}/32" for host in range(40, 50)} | {str(REST)}
    assert {str(prefix) for _, prefix in told[-1]} == {f"198.51.0.{host}/32" for host in range(10)} | {str(REST)}
