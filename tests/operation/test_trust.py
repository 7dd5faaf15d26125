"""What is believed of what comes in."""

import math
from dataclasses import replace
from ipaddress import ip_network

from neto.model.demand import DemandMatrix, PrefixDemand
from neto.model.topology import Link, Node, Topology
from neto.operation.inputs import Inputs, TrustLimits
from neto.operation.trust import judge_demand, judge_topology, never_less, stand_in, total_mbps

RING = Topology(
    nodes=tuple(Node(str(n)) for n in range(10)),
    links=tuple(Link(f"{a}>{b}", str(a), str(b), 100.0) for n in range(10) for a, b in [(n, (n + 1) % 10)]),
)


def rate(mbps: float, source: str = "a") -> PrefixDemand:
    return PrefixDemand(source, "b", "gold", ip_network("10.0.0.0/24"), mbps)


def matrix(*rates: PrefixDemand, ends: float = 10.0, missing: tuple[str, ...] = ()) -> DemandMatrix:
    return DemandMatrix(0.0, ends, rates, missing_exporters=frozenset(missing))


def test_a_topology_that_lost_a_little_is_believed_and_one_that_lost_much_is_not():
    assert judge_topology(RING, None, max_loss=0.3).believed
    assert judge_topology(replace(RING, links=RING.links[:7]), RING, max_loss=0.3).believed
    verdict = judge_topology(replace(RING, links=RING.links[:6]), RING, max_loss=0.3)
    assert not verdict.believed
    assert verdict.reason == "40% of the links are gone at once (accepted: 30%)"
    assert not judge_topology(replace(RING, links=()), None, max_loss=0.3).believed


def test_growth_of_the_topology_is_never_suspect():
    small = Topology(nodes=RING.nodes[:2], links=RING.links[:1])
    assert judge_topology(RING, small, max_loss=0.3).believed


def test_a_demand_that_jumps_vanishes_or_is_no_number_is_refused():
    good = matrix(rate(100))
    assert judge_demand(matrix(rate(900)), good, max_jump=10).believed
    assert not judge_demand(matrix(rate(1100)), good, max_jump=10).believed
    assert judge_demand(matrix(rate(100), rate(5000, "new")), good, max_jump=10).believed  # it begins to export
    assert not judge_demand(matrix(), good, max_jump=10).believed
    assert not judge_demand(matrix(rate(math.nan)), None, max_jump=10).believed
    assert not judge_demand(matrix(rate(-1.0)), None, max_jump=10).believed


def test_a_silent_exporter_counts_with_what_it_last_told_until_that_is_too_old():
    now = matrix(rate(5), ends=100.0, missing=("quiet", "never"))
    seen = {"quiet": (60.0, (rate(7, "quiet"),))}
    assert total_mbps(stand_in(now, seen, ttl_s=50)) == 12
    assert total_mbps(stand_in(now, seen, ttl_s=30)) == 5


def test_a_router_in_doubt_tells_no_less_than_before_until_that_is_too_old():
    doubted = replace(
        matrix(rate(5), rate(9, "b"), ends=100.0), doubtful={"a": "30% lost", "b": "30% lost", "c": "30% lost"}
    )
    seen = {
        "a": (60.0, (rate(7), PrefixDemand("a", "c", "gold", ip_network("10.1.0.0/24"), 2.0))),
        "b": (60.0, (rate(8, "b"),)),
        "x": (60.0, (rate(99, "x"),)),
    }
    raised = never_less(doubted, seen, ttl_s=50)
    assert sorted((r.source, r.target, r.rate_mbps) for r in raised.rates) == [
        *(("a", "b", 7), ("a", "c", 2), ("b", "b", 9)),
    ]
    assert never_less(doubted, seen, ttl_s=30) == doubted
    assert never_less(replace(doubted, doubtful={}), seen, ttl_s=50).rates == doubted.rates


def test_what_a_router_in_doubt_tells_is_not_what_it_is_held_to_later():
    inputs = Inputs(TrustLimits(max_topology_loss=0.3, max_demand_jump=10, demand_ttl_s=100))
    inputs.hear_demand(matrix(rate(100), ends=10.0), 10.0)
    for ends in (20.0, 30.0):
        inputs.hear_demand(replace(matrix(rate(50), ends=ends), doubtful={"a": "30% lost"}), ends)
        assert total_mbps(inputs.demand) == 100
        assert inputs.demand_gaps == ["flows of a: 30% lost; its demand is taken for no less than before"]
    inputs.hear_demand(replace(matrix(rate(50), ends=120.0), doubtful={"a": "30% lost"}), 120.0)
    assert total_mbps(inputs.demand) == 50
    inputs.hear_demand(replace(matrix(rate(60), ends=130.0), missing_leaves=frozenset({"fra"})), 130.0)
    assert inputs.demand_gaps == ["collector fra is silent"]


def test_the_demand_of_a_leader_before_is_gone_on_from_while_it_is_fresh():
    last = replace(matrix(rate(100), ends=10.0), missing_exporters=frozenset({"c"}), doubtful={"a": "30% lost"})
    for now, taken in ((9.0, False), (10.0, True), (110.0, True), (110.1, False)):
        inputs = Inputs(TrustLimits(max_topology_loss=0.3, max_demand_jump=10, demand_ttl_s=100))
        assert inputs.take_over(last, now) is taken
        assert inputs.unheard(["a"], now, 30.0) == ([] if taken else ["a"])
        inputs.hear_demand(None, now)
        assert (total_mbps(inputs.demand) if inputs.demand else None) == (100 if taken else None)
        assert inputs.demand_gaps == []
    inputs = Inputs(TrustLimits(max_topology_loss=0.3, max_demand_jump=10, demand_ttl_s=100))
    inputs.take_over(last, 20.0)
    inputs.hear_demand(replace(matrix(ends=30.0), missing_exporters=frozenset({"a"})), 30.0)
    assert total_mbps(inputs.demand) == 100  # what it last told stands in for it
    inputs.hear_demand(matrix(rate(40), ends=40.0), 40.0)
    assert total_mbps(inputs.demand) == 40
    inputs.hear_demand(None, 141.0)
    assert total_mbps(inputs.demand) == 0
