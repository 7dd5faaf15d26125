"""The allocation beside its peers, on real topologies: time, share carried, fairness, delay. Ratios from one run.

Reads REPETITA's files from NETO_DATA, or from a data folder beside the checkout; says so when there are none.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from neto.controller.fairness import fair_rates
from neto.controller.filling import fill
from neto.controller.flows import Flows
from neto.controller.paths import candidate_paths
from neto.controller.shorten import least_delay
from neto.model.intent import TrafficClass
from neto.wire.repetita import read_demands, read_graph

from .peers import geometric_binner, swan

DATA = Path(os.environ.get("NETO_DATA", Path(__file__).parents[3] / "shared" / "data")) / "repetita"
FLOOR = 1e-4  # of the largest capacity: rates below count as equal (Soroush's theta)

pytestmark = [
    pytest.mark.bench,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no REPETITA files in {DATA}: set NETO_DATA"),
]


def instance(name, scale):
    """Four shortest paths a demand, demands scaled."""
    topology = read_graph(DATA / f"{name}.graph")
    file = next(path for path in (DATA / f"{name}.0000.demands", DATA / f"{name}.demands") if path.exists())
    demands = read_demands(file, topology, "default")
    paths = candidate_paths(topology, demands, (TrafficClass("default"),), (), 4)
    rate = np.array([demand.rate_mbps for demand in demands]) * scale
    return Flows(
        paths.demand_start, paths.path_start, paths.links, paths.demand_of, rate, np.ones(len(rate)), paths.delay_us,
        topology.capacity_mbps,
    )  # fmt: skip


def timed(function, *arguments, **options):
    began = time.perf_counter()
    result = function(*arguments, **options)
    return result, time.perf_counter() - began


def closeness(flows, rate, exact):
    """Soroush's q: geometric mean of the ratio of each rate to its exact one, the smaller over the larger."""
    floor = FLOOR * flows.capacity_mbps.max()
    ratio = np.maximum(rate, floor) / np.maximum(exact, floor)
    return float(np.exp(np.log(np.minimum(ratio, 1 / ratio)).mean()))


def row(name, flows, rate, exact, seconds, ours):
    share = rate.sum() / flows.demand_mbps.sum()
    q = closeness(flows, rate, exact)
    print(f"  {name:22} share {share:.4f}  q {q:.4f}  {seconds:9.3f} s  {seconds / ours:8.1f} x ours", flush=True)
    return share, q


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    flows = instance("Abilene", 4)
    least_delay(flows, fair_rates(flows).flow_mbps)
    fill(flows)


@pytest.mark.parametrize("scale", [1.5, 4.0])
@pytest.mark.parametrize("name", ["Abilene", "Geant2012", "BtEurope", "Uninett2011", "GtsCe", "Colt", "Deltacom"])
def test_default_rates_are_close_to_exact_ones(name, scale):
    flows = instance(name, scale)
    found, seconds = timed(fair_rates, flows)
    exact, exact_seconds = timed(fair_rates, flows, exact=True)
    assert exact.status == "optimal"
    shortened, delay_seconds = timed(least_delay, flows, found.flow_mbps)
    assert shortened is not None
    print(f"\n{name} x {scale}: {len(flows.demand_mbps)} demands, {found.status}; delay pass {delay_seconds:.3f} s")
    _, q = row("ours", flows, found.rate_mbps, exact.rate_mbps, seconds, seconds)
    row("ours, exact", flows, exact.rate_mbps, exact.rate_mbps, exact_seconds, seconds)
    filled, filled_seconds = timed(fill, flows)
    row("filling", flows, flows.rates(filled), exact.rate_mbps, filled_seconds, seconds)
    assert q >= 0.97
    assert shortened.gap <= 0.01
    assert (flows.loads(found.flow_mbps) <= flows.capacity_mbps * (1 + 1e-6)).all()


@pytest.mark.parametrize("name", ["Uninett2011", "GtsCe"])
def test_against_swan_and_the_geometric_binner(name):
    flows = instance(name, 1.5)
    exact = fair_rates(flows, exact=True).rate_mbps
    found, seconds = timed(fair_rates, flows)
    shortened, delay_seconds = timed(least_delay, flows, found.flow_mbps)
    assert shortened is not None
    print(f"\n{name} x 1.5: {len(flows.demand_mbps)} demands; delay pass {delay_seconds:.3f} s on top of ours")
    _, ours = row("ours", flows, found.rate_mbps, exact, seconds, seconds)
    for peer, solve in (("SWAN (alpha 2), HiGHS", swan), ("binner, HiGHS", geometric_binner)):
        rate, peer_seconds = timed(solve, flows)
        _, q = row(peer, flows, rate, exact, peer_seconds, seconds)
        assert ours >= q
