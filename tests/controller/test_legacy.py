"""Oracle: forwarding by recursion in exact fractions."""

import math

from hypothesis import given, settings

from neto.controller.legacy import legacy_loads, legacy_paths, legacy_split
from neto.controller.peering import join
from neto.model.peering import Egress, Isp, Peering, PeeringLink, PrefixGroup
from tests.controller.graphs import both_ways, igp_split, networks, topology

PEERING = Peering(
    isps=(Isp("isp", 64500),),
    links=(PeeringLink("exit-a", "a", "isp", 50.0), PeeringLink("exit-b", "b", "isp", 50.0)),
    groups=(PrefixGroup("eyeballs", ()),),
    egresses=(Egress("eyeballs", "exit-b", 1.0), Egress("eyeballs", "exit-a", 1.0)),
)


@settings(max_examples=40, deadline=None)
@given(net=networks())
def test_loads_are_the_sum_of_what_each_demand_puts_there(net):
    joint = join(net, PEERING)
    demands = [(a.name, b.name, 10.0 + row) for row, a in enumerate(net.nodes) for b in net.nodes if a != b]
    expected = dict.fromkeys(joint.link_row, 0.0)
    for source, target, rate in demands:
        for link, share in igp_split(net, source, target).items():
            expected[link] += float(share) * rate
    loads = legacy_loads(joint, PEERING, demands)
    assert all(math.isclose(loads[joint.link_row[link]], load, abs_tol=1e-9) for link, load in expected.items())


@settings(max_examples=40, deadline=None)
@given(net=networks())
def test_paths_are_loop_free_and_add_up_to_the_split(net):
    joint = join(net, PEERING)
    for source in range(len(net.nodes)):
        for target in (*(node.name for node in net.nodes), "eyeballs"):
            paths = legacy_paths(joint, PEERING, source, target)
            assert math.isclose(sum(fraction for _, fraction in paths), 1.0)
            rows, share = legacy_split(joint, PEERING, source, target)
            on_link = dict.fromkeys(rows.tolist(), 0.0)
            for path, fraction in paths:
                nodes = [source, *(int(joint.target[link]) for link in path)]
                assert [int(joint.source[link]) for link in path] == nodes[:-1]
                assert len(set(nodes)) == len(nodes)
                for link in path:
                    on_link[link] += fraction
            assert all(math.isclose(on_link[row], value) for row, value in zip(rows.tolist(), share, strict=True))


def test_a_group_leaves_through_the_nearest_exit():
    joint = join(topology(both_ways([("a", "b", 1), ("c", "a", 1), ("c", "b", 3)])), PEERING)
    ((path, fraction),) = legacy_paths(joint, PEERING, joint.node_row["c"], "eyeballs")
    assert [joint.links[link].id for link in path] == ["c>a", "exit-a"]
    assert fraction == 1.0


def test_traffic_that_has_no_way_loads_nothing():
    joint = join(topology([("a", "b", 1)]), Peering())
    assert legacy_paths(joint, Peering(), joint.node_row["b"], "a") == []
    assert not legacy_loads(joint, Peering(), [("b", "a", 5.0), ("nowhere", "a", 5.0), ("a", "unknown", 5.0)]).any()
