"""What people are told is what was decided."""

from ipaddress import ip_network

import numpy as np

from neto.model.allocation import Allocation, ClassReport, PathSet
from neto.model.demand import Demand, DemandMatrix, PrefixDemand
from neto.model.peering import Isp, Peering, PeeringLink, PrefixGroup
from neto.model.plan import MoveKind, Plan, PolicyMove, RouteMove, Step, Urgency
from neto.model.snapshot import Decision
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey, Segment, SegmentList, SidKind, SrPolicy
from neto.model.topology import Link, Node, NodeKind, Topology
from neto.operation import report

JOINT = Topology(
    nodes=(Node("a"), Node("b"), Node("isp", NodeKind.ISP)),
    links=(Link("ab", "a", "b", 100.0, 10.0), Link("exit", "b", "isp", 50.0), Link("idle", "b", "a", 0.0)),
)
DEMANDS = (Demand("d1", "gold", "a", "outside", 40.0), Demand("d2", "gold", "a", "b", 60.0))
PATHS = PathSet(
    demand_start=np.array([0, 1, 2]),
    path_start=np.array([0, 2, 3]),
    links=np.array([0, 1, 0], dtype=np.int32),
    delay_us=np.array([25.0, 10.0]),
)
OUTSIDE = Peering(
    isps=(Isp("isp", 64500),),
    links=(PeeringLink("exit", "b", "isp", 50.0), PeeringLink("gone", "b", "isp", 50.0)),
    groups=(PrefixGroup("outside", (ip_network("192.0.2.0/24"),)),),
)
KEY = PolicyKey("a", 101, "10.255.0.2")
POLICY = SrPolicy(
    KEY,
    (
        SegmentList((Segment(16002, SidKind.NODE, "b"),), 3),
        SegmentList((Segment(24001, SidKind.ADJACENCY, "ab"),), 1),
    ),
)
ROUTE = Route(RouteKey("a", ip_network("192.0.2.0/24")), "10.255.0.2", 100)
PLAN = Plan(
    Urgency.OPTIMISE,
    (
        Step((PolicyMove(MoveKind.INSTALL_POLICY, KEY, POLICY),), 0.5, "ab"),
        Step((RouteMove(ROUTE.key, ROUTE), RouteMove(ROUTE.key, None)), 0.8, "exit"),
    ),
)
DECISION = Decision(
    joint=JOINT,
    allocation=Allocation(
        JOINT, DEMANDS, PATHS, np.array([30.0, 60.0]), (ClassReport("gold", "optimal", 0.1, 100.0, 90.0),)
    ),
    legacy_mbps=np.array([5.0, 0.0, 0.0]),
    target=ForwardingState({KEY: POLICY}, {ROUTE.key: ROUTE}),
    plan=PLAN,
    predicted_mbps=np.array([95.0, 30.0, 0.0]),
    unplaced=("d1: 10 of 40 Mbit/s",),
)


def test_an_allocation_is_told_with_its_links_and_paths():
    told = report.allocation(DECISION, 1.0)
    assert told["links"][0] == {
        "id": "ab",
        "source": "a",
        "target": "b",
        "capacity_mbps": 100.0,
        "load_mbps": 95.0,
        "legacy_mbps": 5.0,
        "utilisation": 0.95,
    }
    assert told["links"][2]["utilisation"] == 0.0  # nothing on nothing
    assert told["demands"][0]["paths"] == [{"links": ["ab", "exit"], "rate_mbps": 30.0, "delay_us": 25.0}]
    assert told["demands"][0]["allocated_mbps"] == 30.0


def test_peering_is_told_by_exit_and_a_lost_link_is_down():
    told = report.peering(DECISION, OUTSIDE)
    assert told["groups"] == [{"prefix_group": "outside", "source": "a", "exits": {"exit": 30.0}}]
    assert [(link["name"], link["up"], link["load_mbps"]) for link in told["links"]] == [
        ("exit", True, 30.0),
        ("gone", False, 0.0),
    ]


def test_a_plan_is_told_in_words():
    steps = report.plan(PLAN, 7)["steps"]
    assert steps[0]["moves"][0] == {
        "kind": "install-policy",
        "device": "a",
        "subject": "policy 101 to 10.255.0.2",
        "becomes": "75% via b; 25% via ab",
    }
    assert [move["becomes"] for move in steps[1]["moves"]] == [
        "next hop 10.255.0.2, colour 100",
        "withdrawn: back on legacy",
    ]


def test_demand_is_told_by_class_with_its_prefixes_summed():
    rates = [PrefixDemand("a", "b", "gold", ip_network(f"10.0.{n}.0/24"), 5.0) for n in range(3)]
    told = report.demand(DemandMatrix(0.0, 10.0, tuple(rates), unknown_mbps=1.0), {"records": 9})
    assert told["rates"] == [{"source": "a", "target": "b", "class": "gold", "rate_mbps": 15.0}]
    assert told["total_mbps"] == 15.0
