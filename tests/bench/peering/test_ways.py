"""The ways to decide, on an instance small enough to do by hand: deciding apart carries a fifth of what fits."""

from __future__ import annotations

import numpy as np
import pytest

from neto.controller.peering import join
from neto.model.demand import Demand
from neto.model.peering import Egress, Isp, Peering, PeeringLink, PrefixGroup
from neto.model.topology import Link, Node, Topology

from .instance import Instance, instance
from .ways import apart, as_bgp, linear, together


def link(source, target, mbps, delay_us):
    return Link(f"{source}-{target}", source, target, mbps, igp_metric=10, delay_us=delay_us)


def by_hand():
    """A site with 50 Mbit/s toward a group: 1 ms through a border that only 10 Mbit/s reach, 5 ms through another."""
    wan = Topology(
        tuple(Node(name) for name in ("site", "near", "far")),
        (link("site", "near", 10.0, 500.0), link("site", "far", 100.0, 1000.0)),
    )
    peering = Peering(
        isps=(Isp("isp", 64500),),
        links=(PeeringLink("l-near", "near", "isp", 100.0), PeeringLink("l-far", "far", "isp", 100.0)),
        groups=(PrefixGroup("g", ()),),
        egresses=(Egress("g", "l-near", 500.0), Egress("g", "l-far", 4000.0)),
    )
    return Instance(join(wan, peering), peering, (Demand("d", "gold", "site", "g", 50.0),))


def test_deciding_apart_carries_a_fifth_of_what_fits():
    problem = by_hand()
    paths = problem.paths(4)
    with np.errstate(invalid="ignore"):  # the other classes ask for nothing
        joint, one_by_one, bgp = together(problem, paths), apart(problem, paths, 4), as_bgp(problem, paths, 4)
        best = linear(problem, paths, 60.0)
    assert (joint.share[0], joint.delay_ms[0]) == pytest.approx((1.0, (10 * 1 + 40 * 5) / 50))
    assert (one_by_one.share[0], one_by_one.delay_ms[0]) == pytest.approx((0.2, 1.0))
    assert bgp.share[0] == pytest.approx(0.2)
    assert (best.share[0], best.delay_ms[0]) == pytest.approx((1.0, joint.delay_ms[0]))


def test_every_way_keeps_within_capacity_and_programs_carry_most_of_the_first_class():
    problem = instance(sites=8, links=6, groups=40, load=1.5, thin=0.2)
    paths = problem.paths(8)
    told = [together(problem, paths), apart(problem, paths, 8), as_bgp(problem, paths, 8), linear(problem, paths, 60.0)]
    for result in told:
        assert result.over <= 1e-6
        assert result.share[0] <= told[-1].share[0] + 1e-6
        assert (result.share > 0.05).all()


def test_the_same_seed_makes_the_same_instance():
    first, second = (instance(sites=8, links=6, groups=20, seed=3) for _ in range(2))
    assert first.demands == second.demands
    assert np.array_equal(first.joint.capacity_mbps, second.joint.capacity_mbps)
