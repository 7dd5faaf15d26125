"""The joint decision beside two separate ones and beside linear programs: time, traffic carried, delay."""

from __future__ import annotations

import os

import pytest

from .instance import CLASSES, instance
from .ways import apart, as_bgp, linear, together

K = 16  # candidate paths a demand, over all exits
LIMIT_S = float(os.environ.get("NETO_BENCH_LIMIT_S", "300"))

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]


@pytest.mark.parametrize(
    ("groups", "load", "thin"), [(1_000, 0.9, 0.5), (10_000, 0.7, 0.5), (10_000, 0.9, 0.5), (10_000, 0.7, 0.1)]
)
def test_the_joint_decision(groups, load, thin):
    problem = instance(groups=groups, load=load, thin=thin)
    together(instance(sites=8, links=6, groups=20), instance(sites=8, links=6, groups=20).paths(4))  # compiled before
    paths = problem.paths(K)
    print()
    size = f"{groups} groups x {len(problem.peering.links)} peering links x 60 sites x {len(CLASSES)} classes"
    print(f"{size}, load {load}, thin {thin}: {len(problem.demands)} demands, {len(paths.delay_us)} paths")
    told = {
        "joint": together(problem, paths),
        "two decisions": apart(problem, paths, K),
        "exits by BGP": as_bgp(problem, paths, K),
        "linear programs": linear(problem, paths, LIMIT_S),
    }
    for name, result in told.items():
        share = " ".join(f"{each:7.2%}" for each in result.share)
        delay = " ".join(f"{each:6.2f}" for each in result.delay_ms)
        print(f"{name:16} {result.seconds:7.1f} s  carried {share}  delay {delay} ms  {result.status}")
        assert not result.over > 1e-6
