"""One router for all that is told of it, and a label for it that means it everywhere; or none, and the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from neto.agents.monitoring.lsmap import draw
from neto.model.topology import Node
from neto.wire.bgpls import LabelRange, LsNode, NodeId, PeerSidKind
from tests.agents.monitoring.networks import (
    BGP,
    L1,
    L2,
    OSPF,
    SRGB,
    end,
    half,
    link,
    node,
    peer_sid,
    peering,
    prefix,
)


def nodes(*told):
    return draw(told).topology.nodes


def problems(*told):
    return draw(told).problems


def test_a_router():
    assert nodes(node(1, msd=((41, 3), (1, 6))), prefix(1, 7)) == (
        Node("r1", router_id="10.255.0.1", node_sid=16007, max_sid_depth=6),
    )


def test_a_router_that_says_nothing_of_segments():
    assert nodes(node(1, srgb=())) == (Node("r1", router_id="10.255.0.1"),)


def test_a_router_that_imposes_no_label_says_so():
    assert nodes(node(1, msd=((1, 0),)))[0].max_sid_depth == 0


def test_of_several_depths_the_least_holds():
    (only,) = nodes(node(1, protocol=L1, msd=((1, 10),)), node(1, protocol=L2, msd=((1, 6),)))
    assert only.max_sid_depth == 6


def test_routers_are_in_order_of_their_names():
    assert [each.name for each in nodes(node(3), node(1), node(2))] == ["r1", "r2", "r3"]


@pytest.mark.parametrize(
    "views",
    [
        [node(1, protocol=L1), node(1, protocol=L2)],
        [node(1, protocol=OSPF, area=0, router_ids=()), node(1, protocol=OSPF, area=1, router_ids=())],
        [node(1, protocol=L2), node(1, protocol=OSPF, area=0, router_ids=())],
        [node(1, protocol=L2, router_ids=("10.255.1.1", "10.255.0.1")), node(1, protocol=OSPF, area=0)],
        [node(1, protocol=L1, router_ids=()), node(1, protocol=L2)],  # the same system id
    ],
)
def test_a_router_seen_in_several_ways_is_one(views):
    for told in (views, views[::-1]):
        assert [each.name for each in nodes(*told)] == ["r1"]
        assert problems(*told) == ()


def test_a_router_that_only_one_view_names_has_that_name():
    (only,) = nodes(node(1, protocol=OSPF, area=0), node(1, protocol=L2))
    assert only.name == "r1"


def test_a_router_without_a_name_is_called_by_its_router_id_or_its_igp_id():
    nameless, unknown = (
        replace(told, attributes=replace(told.attributes, name="", router_ids=ids))
        for told, ids in ((node(1), ("10.255.0.1",)), (node(2), ()))
    )
    assert [each.name for each in nodes(nameless, unknown)] == ["0000.0000.0002", "10.255.0.1"]


def test_the_router_id_is_the_one_that_has_a_segment():
    (only,) = nodes(node(1, router_ids=("10.9.9.9", "10.255.0.1")), prefix(1, 7))
    assert (only.router_id, only.node_sid) == ("10.255.0.1", 16007)


@pytest.mark.parametrize(
    ("told", "router_id"),
    [
        ([prefix(1, 7)], "10.255.0.1"),
        ([prefix(1, 7), prefix(1, 7, L1)], "10.255.0.1"),
        ([prefix(1, 7), prefix(1, 8, network="10.254.0.1")], ""),  # which of the two?
        ([prefix(1, 7, is_node=False)], ""),  # may be of several routers
        ([prefix(1, 7, is_node=False, flags=0x20)], "10.255.0.1"),  # N (RFC 7794 §2.1)
        ([prefix(1, 7, algorithm=128)], ""),
        ([prefix(1, 7, network="10.255.0.0/31")], ""),
        ([prefix(1, 7, topologies=(2,))], ""),
        ([prefix(2, 7)], ""),
    ],
)
def test_the_loopback_is_the_router_id_of_a_router_that_tells_none(told, router_id):
    (only,) = nodes(node(1, router_ids=()), *told)
    assert only.router_id == router_id
    assert only.node_sid == (16007 if router_id else None)


def test_a_router_is_one_when_one_igp_tells_its_router_id_and_the_other_its_loopback():
    (only,) = nodes(node(1), node(1, "r1", OSPF, router_ids=()), prefix(1, 7, OSPF, flags=0x40))
    assert (only.router_id, only.node_sid) == ("10.255.0.1", 16007)


def test_of_ospf_the_loopback_counts_before_the_ospf_router_id():
    (only,) = nodes(node(1, "r1", OSPF, router_ids=()), prefix(1, 7, OSPF, network="10.254.0.1", flags=0x40))
    assert (only.router_id, only.node_sid) == ("10.254.0.1", 16007)


def test_two_routers_that_call_one_loopback_theirs_are_refused():
    told = draw([node(1, router_ids=()), node(2, router_ids=()), prefix(1, 7), prefix(2, 7, network="10.255.0.1")])
    assert told.topology.nodes == ()
    assert any("r1" in problem and "r2" in problem for problem in told.problems)


def test_links_tell_the_router_id_when_the_node_does_not():
    told = half(1, 2, 1, local_router_ids=("10.255.0.1", "fc00::1"), remote_router_ids=("10.255.0.2",))
    assert [each.router_id for each in nodes(node(1, router_ids=()), node(2, router_ids=()), told)] == [
        "10.255.0.1",
        "10.255.0.2",
    ]


def test_two_names_for_one_router_id_are_both_refused_and_named():
    twins = [node(1, "nyc1"), node(2, "lon1", router_ids=("10.255.0.1",)), node(3), *link(1, 3, 1), *link(2, 3, 2)]
    assert [each.name for each in nodes(*twins)] == ["r3"]
    assert draw(twins).topology.links == ()
    (problem,) = problems(*twins)
    assert "10.255.0.1" in problem
    assert "lon1, nyc1" in problem


def test_two_boxes_with_the_same_name_and_router_id_are_refused():
    told = [node(1, "nyc1"), node(2, "nyc1", router_ids=("10.255.0.1",))]
    assert nodes(*told) == ()
    (problem,) = problems(*told)
    assert "0000.0000.0001, 0000.0000.0002" in problem


def test_two_router_ids_for_one_name_are_refused():
    told = [node(1, "nyc1"), node(2, "nyc1"), node(3)]
    assert [each.name for each in nodes(*told)] == ["r3"]
    (problem,) = problems(*told)
    assert "nyc1" in problem
    assert "10.255.0.1, 10.255.0.2" in problem


def test_lans_and_bgp_routers_are_no_routers_of_the_igp():
    assert nodes(LsNode(end(1, lan=2)), LsNode(NodeId(BGP, 0, bgp_router_id="10.255.0.1"))) == ()


class TestNodeSids:
    """What leads to a router from anywhere."""

    def label(self, *told):
        drawn = draw([node(1), *told])
        return {each.name: each.node_sid for each in drawn.topology.nodes}["r1"], len(drawn.problems)

    def test_an_index_counts_through_the_ranges(self):
        ranges = (LabelRange(16000, 5), LabelRange(30000, 10))
        (only,) = nodes(node(1, srgb=ranges), prefix(1, 7))
        assert only.node_sid == 30002

    @pytest.mark.parametrize(
        "sid",
        [
            prefix(1, 7, algorithm=128),
            prefix(1, 7, is_node=False),  # anycast
            prefix(1, 16007, is_label=True, is_local=True),
            prefix(1, 7, network="10.255.0.9/32"),
            prefix(1, 7, network="10.255.0.0/24"),
            prefix(2, 7, network="10.255.0.1/32"),  # told by another router
            prefix(1, 7, topologies=(2,)),
        ],
    )
    def test_other_segments_do_not_count(self, sid):
        assert self.label(sid) == (None, 0)

    def test_a_global_label_counts(self):
        assert self.label(prefix(1, 17000, is_label=True)) == (17000, 0)

    def test_the_node_flag_may_come_with_the_prefix(self):
        assert self.label(prefix(1, 7, is_node=False, flags=0x20)) == (16007, 0)

    @pytest.mark.parametrize(("flags", "label"), [(None, 16007), (0x40, 16007), (0x80, None)])
    def test_ospf_tells_the_node_flag_with_the_prefix_if_at_all(self, flags, label):
        (only,) = nodes(node(1, protocol=OSPF, area=0), prefix(1, 7, OSPF, area=0, flags=flags))
        assert only.node_sid == label

    def test_the_same_segment_in_two_levels_is_one(self):
        assert self.label(node(1, protocol=L1), prefix(1, 7), prefix(1, 7, L1)) == (16007, 0)

    def test_two_segments_for_one_router_are_none(self):
        assert self.label(node(1, protocol=L1), prefix(1, 7), prefix(1, 8, L1)) == (None, 1)

    def test_a_segment_of_two_prefixes_is_none(self):
        assert self.label(node(2), prefix(1, 7), prefix(2, 7)) == (None, 2)
        assert self.label(node(2), prefix(1, 7), prefix(2, 7, network="10.9.0.0/24")) == (None, 1)

    def test_a_label_that_is_told_of_one_and_an_index_of_another_is_of_none(self):
        assert self.label(node(2), prefix(1, 7), prefix(2, 16007, is_label=True)) == (None, 2)

    def test_an_index_that_is_not_the_same_label_everywhere_is_none(self):
        assert self.label(node(2, srgb=(LabelRange(400000, 8000),)), prefix(1, 7)) == (None, 1)

    def test_ranges_that_differ_elsewhere_do_no_harm(self):
        assert self.label(node(2, srgb=(LabelRange(16000, 100),)), prefix(1, 7)) == (16007, 0)

    def test_an_index_beyond_every_range_is_none(self):
        assert self.label(prefix(1, 8000)) == (None, 1)

    def test_routers_without_segments_do_not_matter(self):
        assert self.label(node(2, srgb=()), prefix(1, 7)) == (16007, 0)


class TestPeerSids:
    """Labels of peering links, by border and peer address."""

    def test_a_peer_is_found_by_border_and_address(self):
        drawn = draw([node(1), peering(1, "198.51.100.2", peer_sid(25001))])
        assert drawn.peer_sids == {("r1", "198.51.100.2"): 25001}
        assert drawn.topology.links == ()

    def test_the_segment_of_the_adjacency_wins_over_that_of_the_peer(self):
        told = [peer_sid(25001), peer_sid(25002, PeerSidKind.ADJACENCY), peer_sid(25003, PeerSidKind.SET)]
        for order in (told, told[::-1]):
            drawn = draw([node(1), *(peering(1, "198.51.100.2", sid) for sid in order)])
            assert drawn.peer_sids == {("r1", "198.51.100.2"): 25002}

    def test_an_index_is_in_the_ranges_of_the_border(self):
        told = [peering(1, "198.51.100.2", peer_sid(9, is_label=False))]
        assert draw([node(1, srgb=SRGB), *told]).peer_sids == {("r1", "198.51.100.2"): 16009}
        assert draw([node(1, srgb=()), *told]).peer_sids == {}

    def test_a_border_that_is_no_router_is_named(self):
        drawn = draw([node(1), peering(2, "198.51.100.2", peer_sid(25001))])
        assert drawn.peer_sids == {}
        assert "10.255.0.2" in drawn.problems[0]
