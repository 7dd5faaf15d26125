"""What may be used of the peering that an operator lists, as routes and latency have it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from neto.agents.monitoring.exits import copy, route_table
from neto.agents.monitoring.rib import Rib
from neto.controller.latency_moves import LatencyPolicy
from neto.model.latency import LatencyEstimate
from neto.model.peering import Egress, Isp, Peering, PeeringLink, PrefixGroup
from neto.operation.damping import DampingRules
from neto.operation.outside import Exits, Latency, RouteTrust, outside
from neto.wire.bgp import UpdateReader
from neto.wire.bgp.open import decode_open
from neto.wire.bmp import Peer, PeerKind, View
from tests.wire.bgp.octets import attributes, nlri, open_body, update

PREFIXES = [f"10.{number}.0.0/16" for number in range(40)]
LISTED = Peering(
    isps=(Isp("isp", 64501),),
    links=(
        PeeringLink("l1", "b1", "isp", 1000.0, peer_address="192.0.2.1"),
        PeeringLink("l2", "b2", "isp", 1000.0, peer_address="192.0.2.1"),
        PeeringLink("l3", "b3", "isp", 1000.0, peer_address="192.0.2.1"),  # of a border that tells nothing
    ),
    groups=(
        PrefixGroup("g", tuple(map(ip_network, PREFIXES))),
        PrefixGroup("h", (ip_network("10.200.7.0/24"),)),
    ),
    egresses=tuple(
        Egress(g, link, us) for g in ("g", "h") for link, us in (("l1", 1000.0), ("l2", 2000.0), ("l3", 3000.0))
    ),
)
SENT = decode_open(open_body(65000))
ISP = Peer(PeerKind.GLOBAL, 0, "192.0.2.1", 64501, "192.0.2.1")
READER = UpdateReader()
END = READER.read(update())
POLICY = LatencyPolicy(confirm=2)


class World:
    def __init__(self):
        self.rib = Rib(65000, 900, stale_ttl_s=100.0)
        self.exits = Exits(frozenset({"b1", "b2"}), RouteTrust(max_loss=0.5, ttl_s=300.0, settle_s=60.0), 0.0)
        self.latency = Latency(POLICY)

    def tells(self, border, prefixes, now=1.0):
        self.rib.session_up(border, now)
        self.rib.peer_up(border, ISP, SENT)
        self.announces(border, prefixes, now)
        self.rib.update(border, ISP, View.IN_POST, END, now)

    def announces(self, border, prefixes, now=1.0):
        self.rib.update(
            border, ISP, View.IN_POST, READER.read(update(attributes(), b"".join(map(nlri, prefixes)))), now
        )

    def withdraws(self, border, prefixes, now=1.0):
        gone = READER.read(update(withdrawn=b"".join(map(nlri, prefixes))))
        self.rib.update(border, ISP, View.IN_POST, gone, now)

    def open(self, now, estimates=(), failing=()):
        """Exits of each group, in the order listed."""
        return {group: [link for link, _ in ways] for group, ways in self.ways(now, estimates, failing).items()}

    def ways(self, now, estimates=(), failing=()):
        told = copy(self.rib)
        self.exits.hear(LISTED.links, told, route_table(told, LISTED.links), now)
        found = outside(LISTED, self.exits, self.latency, list(estimates), dict(failing), now)
        ways = {"g": [], "h": []}
        for egress in found.egresses:
            ways[egress.prefix_group].append((egress.peering_link, egress.delay_us))
        return ways


@pytest.fixture
def world():
    world = World()
    world.tells("b1", [*PREFIXES, "10.200.0.0/16"])
    world.tells("b2", [*PREFIXES, "10.200.0.0/16"])
    assert world.open(2.0) == {"g": ["l1", "l2", "l3"], "h": ["l1", "l2", "l3"]}
    return world


def test_an_exit_is_open_for_groups_whose_prefixes_are_all_announced(world):
    world.withdraws("b1", [PREFIXES[7]])
    assert world.open(3.0) == {"g": ["l2", "l3"], "h": ["l1", "l2", "l3"]}
    world.withdraws("b2", ["10.200.0.0/16"])
    assert world.open(3.0) == {"g": ["l2", "l3"], "h": ["l1", "l3"]}
    assert world.exits.doubts == ()


def test_a_part_of_a_prefix_is_no_announcement_of_it(world):
    world.withdraws("b1", ["10.200.0.0/16"])
    world.announces("b1", ["10.200.7.0/25", "10.200.7.128/25"])
    assert world.open(3.0)["h"] == ["l2", "l3"]


def test_a_default_route_opens_nothing(world):
    world.withdraws("b1", ["10.200.0.0/16"])
    world.announces("b1", ["0.0.0.0/0"])
    assert world.open(3.0)["h"] == ["l2", "l3"]
    assert world.rib.counters["defaults"] == 1


def test_a_peer_that_goes_down_closes_its_exit_at_once(world):
    world.rib.peer_down("b1", ISP)
    assert world.open(3.0) == {"g": ["l2", "l3"], "h": ["l2", "l3"]}
    assert world.exits.doubts == ("l1: its BGP session is down",)
    world.rib.peer_up("b1", ISP, SENT)
    world.announces("b1", PREFIXES, 4.0)
    assert world.open(5.0)["g"] == ["l2", "l3"]  # it has not told everything yet
    world.rib.update("b1", ISP, View.IN_POST, END, 6.0)
    assert world.open(6.0) == {"g": ["l1", "l2", "l3"], "h": ["l2", "l3"]}


def flap(world, down_s):
    """A session that goes down, is seen to, and is back a second later with its whole table."""
    world.rib.peer_down("b1", ISP)
    down = world.open(down_s)
    world.tells("b1", [*PREFIXES, "10.200.0.0/16"], down_s + 1)
    return down["g"], world.open(down_s + 1)["g"]


def test_a_session_that_flaps_is_left_alone_the_longer_the_more_often(world):
    assert flap(world, 10.0) == (["l2", "l3"], ["l1", "l2", "l3"])  # once is no flapping
    assert flap(world, 20.0) == (["l2", "l3"], ["l2", "l3"])
    assert world.exits.doubts == ("l1: its BGP session came and went too often",)
    for at in range(30, 70, 10):
        assert flap(world, float(at)) == (["l2", "l3"], ["l2", "l3"])
    assert world.open(60.0 + 899)["g"] == ["l2", "l3"]  # 60 s, doubled four times, at most 900 s
    assert world.open(60.0 + 901)["g"] == ["l1", "l2", "l3"]
    assert world.exits.doubts == ()


def test_how_long_it_is_left_alone_is_a_rule():
    world = World()
    world.exits = Exits(
        frozenset({"b1", "b2"}), RouteTrust(settle_s=60.0), 0.0, DampingRules(hold_s=5.0, longest_s=7.0, memory_s=100.0)
    )
    world.tells("b2", [*PREFIXES, "10.200.0.0/16"])
    world.tells("b1", [*PREFIXES, "10.200.0.0/16"])
    world.open(2.0)
    flap(world, 10.0)
    assert flap(world, 20.0)[1] == ["l2", "l3"]
    assert world.open(24.5)["g"] == ["l2", "l3"]
    assert world.open(25.5)["g"] == ["l1", "l2", "l3"]
    flap(world, 30.0)
    assert world.open(36.5)["g"] == ["l2", "l3"]  # 10 s, at most 7
    assert world.open(37.5)["g"] == ["l1", "l2", "l3"]


def test_a_link_that_flaps_is_still_used_by_groups_that_have_no_other(world):
    for at in (10.0, 20.0, 30.0):
        flap(world, at)
    world.withdraws("b2", ["10.200.0.0/16"])
    lost = {("l3", "h"): 1.0}
    assert world.open(32.0, failing=lost) == {"g": ["l2", "l3"], "h": ["l1"]}


def test_a_default_route_in_place_of_a_full_table_moves_nothing(world):
    before = world.ways(2.0)
    world.announces("b1", ["0.0.0.0/0"])
    assert world.ways(3.0) == before
    world.withdraws("b1", [*PREFIXES, "10.200.0.0/16"])
    assert world.ways(4.0) == before
    assert (world.rib.counters["defaults"], world.exits.refused) == (1, 1)


def test_a_full_table_that_vanishes_is_refused_counted_and_moves_nothing_until_its_time_is_over(world):
    world.withdraws("b1", [*PREFIXES, "10.200.0.0/16"])
    for now in (3.0, 100.0, 302.9):
        assert world.open(now) == {"g": ["l1", "l2", "l3"], "h": ["l1", "l2", "l3"]}
        assert world.exits.doubts == ("l1: 100% of its prefixes are gone at once (accepted: 50%)",)
    assert world.exits.refused == 3
    assert world.open(303.0) == {"g": ["l2", "l3"], "h": ["l2", "l3"]}


def test_a_table_that_comes_back_is_believed_again(world):
    world.withdraws("b1", PREFIXES)
    world.open(3.0)
    world.announces("b1", PREFIXES)
    assert world.open(4.0)["g"] == ["l1", "l2", "l3"]
    assert world.exits.doubts == ()
    world.withdraws("b1", PREFIXES)
    world.open(5.0)
    assert world.open(304.0)["g"] == ["l1", "l2", "l3"]  # a new doubt has its own time


def test_a_border_whose_session_is_lost_counts_until_it_is_stale(world):
    world.rib.session_down("b1", 10.0)
    assert world.open(11.0)["g"] == ["l1", "l2", "l3"]
    world.rib.tick(111.0)
    assert world.open(112.0)["g"] == ["l1", "l2", "l3"]
    assert world.exits.doubts == ("l1: border b1 tells no routes",)
    assert world.open(310.0)["g"] == ["l2", "l3"]


def test_a_border_that_has_not_told_yet_is_as_listed_for_a_while():
    world = World()
    assert world.open(1.0)["g"] == ["l1", "l2", "l3"]
    assert len(world.exits.doubts) == 2
    world.tells("b1", PREFIXES, 2.0)
    assert world.open(299.0) == {"g": ["l1", "l2", "l3"], "h": ["l2", "l3"]}
    assert world.open(300.0) == {"g": ["l1", "l3"], "h": ["l3"]}


def test_a_border_that_has_settled_without_a_peer_has_its_exit_closed():
    world = World()
    world.rib.session_up("b1", 1.0)
    assert world.open(60.9)["g"] == ["l1", "l2", "l3"]
    assert world.open(61.0)["g"] == ["l2", "l3"]


def measured(link, rtt_ms, loss=0.0, group="g"):
    return LatencyEstimate(link, group, rtt_ms, rtt_ms - 0.2, rtt_ms + 0.2, 0.96, loss, 20, 100, 1.0)


def test_without_samples_delays_are_as_listed(world):
    assert world.ways(3.0)["g"] == [("l1", 1000.0), ("l2", 2000.0), ("l3", 3000.0)]
    assert world.ways(3.0, [measured("l2", 0.1)])["g"] == [("l1", 1000.0), ("l2", 2000.0), ("l3", 3000.0)]


def test_a_nearer_exit_is_nearer_once_that_is_sure_and_what_is_not_measured_is_no_nearer(world):
    told = [measured("l1", 30.0), measured("l2", 20.0)]
    assert world.ways(3.0, told)["g"] == [("l1", 15000.0), ("l2", 15001.0), ("l3", 15001.0)]
    assert world.ways(33.0, told)["g"] == [("l1", 15000.0), ("l2", 10000.0), ("l3", 15000.0)]
    assert world.ways(33.0, told)["h"] == [("l1", 1000.0), ("l2", 2000.0), ("l3", 3000.0)]


def test_an_exit_that_loses_what_is_sent_is_closed_for_that_group(world):
    assert world.open(3.0, failing={("l1", "g"): 1.0}) == {"g": ["l2", "l3"], "h": ["l1", "l2", "l3"]}


def test_of_exits_that_all_lose_those_are_left_that_lose_least(world):
    lost = {("l1", "g"): 1.0, ("l2", "g"): 0.25, ("l3", "g"): 0.25}
    assert world.open(3.0, failing=lost) == {"g": ["l2", "l3"], "h": ["l1", "l2", "l3"]}
    assert world.open(4.0, failing={("l1", "g"): 1.0, ("l2", "g"): 0.25, ("l3", "g"): 0.5})["g"] == ["l2"]


def test_the_last_exit_of_a_group_is_never_closed_for_what_probes_lose(world):
    world.withdraws("b2", ["10.200.0.0/16"])
    lost = {("l1", "h"): 1.0, ("l3", "h"): 1.0}  # l2 is alive, and announces nothing
    assert world.open(3.0, failing=lost)["h"] == ["l1", "l3"]


def test_what_probes_lost_too_often_is_for_groups_that_have_no_other_exit(world):
    told = copy(world.rib)
    world.exits.hear(LISTED.links, told, route_table(told, LISTED.links), 3.0)
    held = frozenset({("l1", "g"), ("l1", "h"), ("l2", "h"), ("l3", "h")})
    found = outside(LISTED, world.exits, world.latency, [], {}, 3.0, held)
    assert [(each.prefix_group, each.peering_link) for each in found.egresses] == [
        ("g", "l2"),
        ("g", "l3"),
        ("h", "l1"),
        ("h", "l2"),
        ("h", "l3"),
    ]


def test_everything_but_egresses_is_as_listed(world):
    told = copy(world.rib)
    world.exits.hear(LISTED.links, told, route_table(told, LISTED.links), 3.0)
    found = outside(LISTED, world.exits, world.latency, [], {}, 3.0)
    assert replace(found, egresses=()) == replace(LISTED, egresses=())
