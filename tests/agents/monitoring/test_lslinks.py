"""Two halves make a link; what is not certain, two-way, or fit for use is refused and named."""

from __future__ import annotations

import random

import pytest

from neto.agents.monitoring.lsmap import draw
from neto.model.topology import Link
from tests.agents.monitoring.networks import (
    L1,
    L2,
    OSPF,
    adjacency,
    end,
    half,
    link,
    node,
    router_id,
    told_only,
)

ROUTERS = [node(number) for number in range(1, 6)]


def drawn(*told):
    return draw([*ROUTERS, *told])


def links(*told):
    return drawn(*told).topology.links


def ids(*told):
    return [each.id for each in links(*told)]


def test_a_link_in_both_directions():
    there = half(1, 2, 7, igp_metric=20, delay_us=500, srlgs=(1, 2), adjacency_sids=(adjacency(24001),))
    back = half(2, 1, 7, max_mbps=400.0)
    assert links(there, back) == (
        Link("r1>r2@10.1.7.1", "r1", "r2", 1000.0, 500.0, 20, frozenset({1, 2}), 24001, "10.1.7.1", "10.1.7.2"),
        Link("r2>r1@10.1.7.2", "r2", "r1", 400.0, 0.0, 10, frozenset(), None, "10.1.7.2", "10.1.7.1"),
    )


def test_the_order_in_which_things_are_told_does_not_matter():
    told = [*ROUTERS, *link(1, 2, 1), *link(1, 2, 2), *link(2, 3), *link(1, 3, 3, name="x"), half(1, 4, 9)]
    expected = draw(told)
    for seed in range(20):
        random.Random(seed).shuffle(told)
        assert draw(told).topology == expected.topology
        assert sorted(draw(told).problems) == sorted(expected.problems)


def test_the_average_delay_is_that_of_the_link_and_else_the_least():
    assert links(*link(1, 2, 1, delay_us=900, min_delay_us=700, max_delay_us=1200))[0].delay_us == 900.0
    assert links(*link(1, 2, 1, min_delay_us=700, max_delay_us=1200))[0].delay_us == 700.0
    assert links(*link(1, 2, 1))[0].delay_us == 0.0


class TestNames:
    """Ids are names that nobody else bears, else the ends and the local address."""

    def test_a_name_is_the_id(self):
        assert ids(half(1, 2, 1, name="east"), half(2, 1, 1, name="west")) == ["east", "west"]

    def test_a_name_for_both_directions_is_none(self):
        assert ids(*link(1, 2, 1, name="cable")) == ["r1>r2@10.1.1.1", "r2>r1@10.1.1.2"]

    def test_a_name_that_looks_like_the_id_of_another_is_none(self):
        told = [half(1, 2, 1), half(2, 1, 1, name="r1>r2@10.1.1.1")]
        assert ids(*told) == ["r1>r2@10.1.1.1", "r2>r1@10.1.1.2"]

    def test_a_half_that_is_refused_still_holds_its_name(self):
        assert ids(half(1, 2, 1, name="x"), half(2, 1, 1), half(1, 3, 2, name="x")) == [
            "r1>r2@10.1.1.1",
            "r2>r1@10.1.1.2",
        ]

    def test_unnumbered_links_are_told_apart_by_their_ids(self):
        told = [half(1, 2, ids=(5, 6)), half(2, 1, ids=(6, 5)), half(1, 2, ids=(7, 8)), half(2, 1, ids=(8, 7))]
        assert ids(*told) == ["r1>r2@5", "r1>r2@7", "r2>r1@6", "r2>r1@8"]

    def test_ids_are_unique_whatever_is_told(self):
        told = [told_only(each, remote_id=n, local_id=None) for n in (1, 2, 3) for each in (half(1, 2), half(2, 1))]
        names = ids(*told)
        assert len(names) == len(set(names)) == 6


class TestRefused:
    """What is not fit for use."""

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            ({"max_mbps": None}, "bandwidth is not told"),
            ({"max_mbps": 0.0}, "bandwidth is 0"),
            ({"igp_metric": None}, "metric is not told"),
            ({"igp_metric": 0}, "metric is 0"),
            ({"igp_metric": 0xFFFFFF}, "out of shortest paths"),
        ],
    )
    def test_a_link_without_what_it_takes(self, said, why):
        map_ = drawn(half(1, 2, 1, **said), half(2, 1, 1))
        assert [each.id for each in map_.topology.links] == ["r2>r1@10.1.1.2"]
        (problem,) = map_.problems
        assert problem.startswith("link r1>r2@10.1.1.1: ")
        assert why in problem

    def test_one_direction_alone(self):
        map_ = drawn(half(1, 2, 1), *link(1, 2, 2))
        assert [each.id for each in map_.topology.links] == ["r1>r2@10.1.2.1", "r2>r1@10.1.2.2"]
        assert map_.problems == ("link r1>r2@10.1.1.1: its other direction is not told",)

    def test_directions_with_other_addresses_do_not_belong_together(self):
        map_ = drawn(half(1, 2, 1), half(2, 1, 2))
        assert map_.topology.links == ()
        assert len(map_.problems) == 2

    def test_a_link_to_a_router_of_which_nothing_is_told(self):
        map_ = drawn(*link(1, 9, 1))
        assert map_.topology.links == ()
        assert all("nothing is told of 0000.0000.0009" in problem for problem in map_.problems)

    def test_a_link_from_a_router_to_itself(self):
        assert links(half(1, 1, 1)) == ()

    def test_links_of_other_topologies(self):
        assert links(*link(1, 2, 1, topologies=(2,))) == ()
        assert len(links(*link(1, 2, 1, topologies=(0,)))) == 2


class TestPairing:
    """Which half belongs to which."""

    def test_parallel_links_by_their_addresses(self):
        told = [each for subnet in (1, 2, 3) for each in link(1, 2, subnet, max_mbps=100.0 * subnet)]
        pairs = {(each.local_address, each.remote_address, each.capacity_mbps) for each in links(*told)}
        assert pairs == {
            ("10.1.1.1", "10.1.1.2", 100.0),
            ("10.1.1.2", "10.1.1.1", 100.0),
            ("10.1.2.1", "10.1.2.2", 200.0),
            ("10.1.2.2", "10.1.2.1", 200.0),
            ("10.1.3.1", "10.1.3.2", 300.0),
            ("10.1.3.2", "10.1.3.1", 300.0),
        }

    def test_of_parallel_links_the_one_that_lost_a_direction_is_refused(self):
        kept = ids(*link(1, 2, 1), half(1, 2, 2), *link(1, 2, 3))
        assert kept == ["r1>r2@10.1.1.1", "r1>r2@10.1.3.1", "r2>r1@10.1.1.2", "r2>r1@10.1.3.2"]

    def test_by_ids_where_there_are_no_addresses(self):
        told = [half(1, 2, ids=(5, 6)), half(1, 2, ids=(7, 8)), half(2, 1, ids=(8, 7))]
        assert ids(*told) == ["r1>r2@7", "r2>r1@8"]

    def test_an_id_of_0_is_one_that_is_not_known(self):
        told = [half(1, 2, ids=(5, 0)), half(2, 1, ids=(6, 0)), half(1, 2, ids=(7, 8)), half(2, 1, ids=(8, 7))]
        assert len(links(*told)) == 4

    def test_one_id_that_differs_is_enough_not_to_belong_together(self):
        assert links(half(1, 2, ids=(5, 0)), half(2, 1, ids=(7, 8))) == ()
        assert links(half(1, 2, ids=(7, 8)), half(2, 1, ids=(5, 0))) == ()

    def test_ids_told_as_attributes(self):
        told = [half(1, 2, local_id=5, remote_id=6), half(2, 1, local_id=6, remote_id=5)]
        assert ids(*told) == ["r1>r2@5", "r2>r1@6"]

    def test_the_rest_in_order(self):
        told = [*link(1, 2), *link(1, 2, ids=(0, 0))]
        assert len(links(*told)) == 4
        assert len(links(*told[:3])) == 2

    @pytest.mark.parametrize("told", [{"remote_addresses": ()}, {"local_addresses": ()}])
    def test_one_address_that_differs_is_enough_not_to_belong_together(self, told):
        assert links(half(1, 2, 1), told_only(half(2, 1, 2), **told)) == ()
        assert links(half(2, 1, 1), told_only(half(1, 2, 2), **told)) == ()

    def test_by_the_address_that_only_one_end_tells(self):
        there = told_only(half(1, 2, 1), remote_addresses=())
        assert {(each.local_address, each.remote_address) for each in links(there, half(2, 1, 1))} == {
            ("10.1.1.1", "10.1.1.2"),
            ("10.1.1.2", "10.1.1.1"),
        }


class TestViews:
    """The same link through levels, areas and protocols."""

    def test_both_levels_tell_one_link_and_level_2_is_preferred(self):
        both = [node(1, protocol=L1), node(2, protocol=L1)]
        told = [*link(1, 2, 1, L2, igp_metric=20), *link(1, 2, 1, L1, igp_metric=10, delay_us=300)]
        for order in (told, told[::-1]):
            kept = links(*both, *order)
            assert [(each.id, each.igp_metric, each.delay_us) for each in kept] == [
                ("r1>r2@10.1.1.1", 20, 300.0),  # what level 2 does not tell is taken from level 1
                ("r2>r1@10.1.1.2", 20, 300.0),
            ]

    def test_a_view_that_lacks_something_gives_way(self):
        both = [node(1, protocol=L1), node(2, protocol=L1)]
        kept = links(*both, *link(1, 2, 1, L2, igp_metric=0), *link(1, 2, 1, L1, igp_metric=10))
        assert [each.igp_metric for each in kept] == [10, 10]

    def test_areas_of_ospf_are_joined_at_their_border(self):
        routers = [
            node(1, protocol=OSPF, area=0, router_ids=()),
            node(2, protocol=OSPF, area=0, router_ids=()),
            node(2, protocol=OSPF, area=1, router_ids=()),
            node(3, protocol=OSPF, area=1, router_ids=()),
        ]
        told = [*link(1, 2, 1, OSPF, area=0), *link(2, 3, 2, OSPF, area=1)]
        topology = draw([*routers, *told]).topology
        assert [each.name for each in topology.nodes] == ["r1", "r2", "r3"]
        assert [(each.source, each.target) for each in topology.links] == [
            ("r1", "r2"),
            ("r2", "r1"),
            ("r2", "r3"),
            ("r3", "r2"),
        ]

    def test_two_protocols_on_one_network(self):
        routers = [node(1), node(2), node(2, protocol=OSPF, area=0), node(3, protocol=OSPF, area=0)]
        topology = draw([*routers, *link(1, 2, 1), *link(2, 3, 2, OSPF, area=0)]).topology
        assert len(topology.links) == 4
        assert len(topology.nodes) == 3


class TestAdjacencySids:
    """The label that pins a link."""

    @pytest.mark.parametrize(
        ("sids", "label"),
        [
            ((), None),
            ((adjacency(24005), adjacency(24002)), 24002),
            ((adjacency(24001, protected=True), adjacency(24002)), 24002),
            ((adjacency(24001, protected=True),), 24001),
            ((adjacency(24001, is_set=True),), None),
            ((adjacency(24001, ipv6=True), adjacency(24002)), 24002),
            ((adjacency(7, is_label=False),), None),
            ((adjacency(24001, neighbour=router_id(3)),), None),
        ],
    )
    def test_it_is_of_this_link_alone_and_best_not_rerouted(self, sids, label):
        assert links(half(1, 2, 1, adjacency_sids=sids), half(2, 1, 1))[0].adjacency_sid == label


class TestOverload:
    """Routers that ask not to be transited."""

    def test_links_out_of_them_cost_more_than_any_path_around(self):
        map_ = draw([node(1, flags=0x80), node(2), *link(1, 2, 1)])
        assert map_.overloaded == {"r1"}
        assert [each.igp_metric for each in map_.topology.links] == [10 + (1 << 24), 10]
        assert any("r1 is overloaded" in problem for problem in map_.problems)


def on_lan(lan, *members, protocol=L2, **said):
    """Each member says that it is on the LAN, and the LAN that each is on it."""
    told = []
    for member in members:
        sids = tuple(
            adjacency(24000 + 10 * member + other, neighbour=router_id(other, protocol))
            for other in members
            if other != member
        )
        there = half(member, lan, protocol=protocol, adjacency_sids=sids, **said)
        told.append(told_only(there, local_addresses=(f"10.1.50.{member}",)))
        told.append(half(lan, member, protocol=protocol, max_mbps=None, igp_metric=0))
    return told


class TestLans:
    """A pseudonode is no node."""

    LAN = end(1, lan=2)

    def test_two_routers_on_a_lan_have_a_link(self):
        assert links(*on_lan(self.LAN, 1, 2)) == (
            Link(
                "r1>r2@10.1.50.1", "r1", "r2", 1000.0, igp_metric=10, adjacency_sid=24012,
                local_address="10.1.50.1", remote_address="10.1.50.2",
            ),
            Link(
                "r2>r1@10.1.50.2", "r2", "r1", 1000.0, igp_metric=10, adjacency_sid=24021,
                local_address="10.1.50.2", remote_address="10.1.50.1",
            ),
        )  # fmt: skip

    def test_several_share_each_interface(self):
        kept = links(*on_lan(self.LAN, 1, 2, 3))
        assert len(kept) == 6
        assert {each.capacity_mbps for each in kept} == {500.0}
        assert {(each.source, each.target, each.adjacency_sid) for each in kept} == {
            (f"r{a}", f"r{b}", 24000 + 10 * a + b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b
        }

    @pytest.mark.parametrize("dropped", [0, 1])
    def test_who_is_not_two_way_on_it_is_not_on_it(self, dropped):
        told = on_lan(self.LAN, 1, 2, 3)
        del told[4 + dropped]  # of the third router: its own word, or that of the LAN
        assert {(each.source, each.target) for each in links(*told)} == {("r1", "r2"), ("r2", "r1")}

    def test_a_lan_of_ospf(self):
        routers = [node(number, protocol=OSPF, router_ids=()) for number in (1, 2)]
        kept = draw([*routers, *on_lan(end(1, OSPF, lan=0x0A010201), 1, 2, protocol=OSPF)]).topology.links
        assert [(each.id, each.adjacency_sid) for each in kept] == [
            ("r1>r2@10.1.50.1", 24012),
            ("r2>r1@10.1.50.2", 24021),
        ]

    def test_a_lan_in_both_levels_is_one(self):
        levels = [node(number, protocol=L1) for number in (1, 2)]
        told = [*on_lan(self.LAN, 1, 2), *on_lan(end(2, L1, lan=3), 1, 2, protocol=L1)]
        assert len(links(*levels, *told)) == 2

    def test_a_name_of_an_interface_on_a_lan_is_none_when_it_leads_to_several(self):
        assert "x" not in ids(*on_lan(self.LAN, 1, 2, 3, name="x"))

    @pytest.mark.parametrize(("size", "is_taken"), [(32, True), (33, False)])
    def test_a_lan_of_too_many_is_refused(self, size, is_taken):
        crowd = [node(number) for number in range(1, size + 1)]
        map_ = draw([*crowd, *on_lan(self.LAN, *range(1, size + 1))])
        assert len(map_.topology.links) == (size * (size - 1) if is_taken else 0)
        assert any(f"{size} routers" in problem for problem in map_.problems) is not is_taken
