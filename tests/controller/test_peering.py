import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.igp import igp_of
from neto.controller.peering import Targets, join, left_out, legacy_exit
from neto.model.inventory import Inventory, Router
from neto.model.peering import Egress, Isp, Peering, PeeringLink, PrefixGroup
from neto.model.topology import NodeKind
from tests.controller.graphs import both_ways, igp_graph, networks, topology


def peering(*borders: str) -> Peering:
    """One ISP per border, one group that leaves through all, in this order."""
    names = [f"{border}-{row}" for row, border in enumerate(borders)]
    return Peering(
        isps=tuple(Isp(f"isp-{border}", 64500) for border in dict.fromkeys(borders)),
        links=tuple(
            PeeringLink(f"{border}-{row}", border, f"isp-{border}", 50.0) for row, border in enumerate(borders)
        ),
        groups=(PrefixGroup("eyeballs", ()),),
        egresses=tuple(Egress("eyeballs", name, 1000.0) for name in names),
    )


def test_isps_and_peering_links_stand_behind_the_rows_of_the_wan():
    wan = topology(both_ways([("a", "b", 1)]))
    joint = join(wan, peering("b", "b"), {("b", ""): 25007})
    assert joint.nodes[:2] == wan.nodes
    assert joint.links[:2] == wan.links
    assert [(node.name, node.kind) for node in joint.nodes[2:]] == [("isp-b", NodeKind.ISP)]
    assert [(link.id, link.source, link.target, link.capacity_mbps) for link in joint.links[2:]] == [
        ("b-0", "b", "isp-b", 50.0),
        ("b-1", "b", "isp-b", 50.0),
    ]
    assert {link.adjacency_sid for link in joint.links[2:]} == {25007}


def test_what_bgp_ls_tells_of_a_peer_wins_over_what_the_file_says():
    wan = topology(both_ways([("a", "b", 1)]))
    link = PeeringLink("p", "b", "isp", 50.0, peer_address="192.0.2.1", peer_adjacency_sid=25001)
    one = Peering(isps=(Isp("isp", 64500),), links=(link,))
    assert join(wan, one, {("b", "192.0.2.1"): 25009}).links[-1].adjacency_sid == 25009
    assert join(wan, one, {("b", "192.0.2.2"): 25009}).links[-1].adjacency_sid == 25001


def test_peering_links_without_a_place_in_the_graph_are_named_with_the_reason():
    wan = topology(both_ways([("a", "b", 1)]))
    links = (
        PeeringLink("lost", "zurich", "isp", 1.0),
        PeeringLink("a>b", "a", "isp", 1.0),
        PeeringLink("odd", "a", "b", 1.0),
    )
    odd = Peering(links=links)
    assert left_out(wan, odd).keys() == {"lost", "a>b", "odd"}
    assert "zurich" in left_out(wan, odd)["lost"]
    assert join(wan, odd) == wan


def test_the_igp_does_not_see_isps():
    """Two borders with one ISP do not become neighbours through it."""
    wan = topology(both_ways([("a", "b", 5)]))
    joint = join(wan, peering("a", "b"))
    igp = igp_of(joint)
    assert igp.distance[0, 1] == 5
    assert not igp.links[2:].any()
    assert igp.split(0, joint.node_row["isp-a"]) is None


@settings(max_examples=50, deadline=None)
@given(net=networks(), data=st.data())
def test_legacy_leaves_at_the_nearest_border_and_the_first_egress_wins_a_tie(net, data):
    names = [node.name for node in net.nodes]
    borders = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4))
    joint = join(net, peering(*borders))
    for source in names:
        far = nx.single_source_dijkstra_path_length(igp_graph(net), source)
        nearest = min((far[border], order) for order, border in enumerate(borders))[1]
        chosen = legacy_exit(joint, peering(*borders), joint.node_row[source], "eyeballs")
        assert joint.links[chosen].id == f"{borders[nearest]}-{nearest}"


def test_a_group_without_an_egress_has_no_exit():
    joint = join(topology(both_ways([("a", "b", 1)])), peering("a"))
    assert legacy_exit(joint, peering("a"), 0, "nobody") is None


@pytest.fixture
def targets():
    routers = tuple(Router(name, "s", f"10.0.0.{row}", "lab", "127.0.0.1") for row, name in enumerate("abc"))
    return Targets.of(Inventory((), routers), peering("a"))


def test_colours_follow_from_the_order_of_routers_and_then_groups(targets):
    assert targets.steering_colour("a") == 1000
    assert targets.steering_colour("c") == 1200
    assert targets.class_colour("eyeballs", 0) == 1301
    assert targets.class_colour("eyeballs", 2) == 1303


def test_a_colour_tells_its_target_and_class(targets):
    for target in targets.names:
        assert targets.meaning(targets.steering_colour(target)) == (target, None)
        assert targets.meaning(targets.class_colour(target, 4)) == (target, 4)
    assert targets.meaning(999) is None
    assert targets.meaning(1400) is None
