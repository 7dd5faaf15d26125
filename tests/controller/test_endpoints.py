from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from neto.controller.endpoints import choose_endpoint, possible_endpoints
from neto.controller.world import World
from neto.model.demand import DemandMatrix
from neto.model.intent import Intents
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Egress, Isp, Peering, PeeringLink, PrefixGroup
from neto.model.snapshot import Snapshot
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey, SrPolicy
from tests.controller.graphs import both_ways, topology
from tests.controller.wans import CLASSES

PREFIX = IPv4Network("192.0.2.0/24")


def world(running=None, borders=("b", "c", "d")):
    """A star around a; the group leaves at these borders, of which b is nearest to a and d farthest."""
    wan = topology(both_ways([("a", "b", 1), ("a", "c", 2), ("a", "d", 3)]))
    routers = tuple(Router(name, "s", f"10.0.0.{row + 1}", "lab", "127.0.0.1") for row, name in enumerate("abcd"))
    peering = Peering(
        isps=(Isp("isp", 64500),),
        links=tuple(PeeringLink(f"exit-{border}", border, "isp", 10.0) for border in borders),
        groups=(PrefixGroup("eyeballs", (PREFIX,)),),
        egresses=tuple(Egress("eyeballs", f"exit-{border}", 1.0) for border in borders),
    )
    inventory = Inventory((Site("s", "r"),), routers)
    empty = DemandMatrix(0.0, 1.0, ())
    return World(Snapshot(wan, empty, inventory, peering, Intents(CLASSES), running or ForwardingState(), 1.0))


def steered_to(address):
    """A state in which a steers the group toward this address. The colour is that of the fifth target."""
    key = RouteKey("a", PREFIX)
    return ForwardingState({}, {key: Route(key, address, 1400)})


def exits(now, **mbps):
    return {now.joint.link_row[f"exit-{border}"]: rate for border, rate in mbps.items()}


def test_a_router_is_its_own_endpoint():
    assert possible_endpoints(world(), "a", "c") == ("c",)
    assert possible_endpoints(world(), "a", "a") == ()


def test_the_anchor_is_the_border_that_carries_most():
    now = world()
    assert choose_endpoint(now, "a", "eyeballs", exits(now, b=1.0, c=5.0, d=2.0)) == "10.0.0.3"


def test_the_anchor_stays_while_it_carries_something():
    now = world(steered_to("10.0.0.4"))
    assert choose_endpoint(now, "a", "eyeballs", exits(now, b=9.0, d=0.1)) == "10.0.0.4"
    assert choose_endpoint(now, "a", "eyeballs", exits(now, b=9.0, c=1.0)) == "10.0.0.2"


def test_policies_without_routes_say_where_the_anchor_was():
    key = PolicyKey("a", 1401, "10.0.0.4")
    now = world(ForwardingState({key: SrPolicy(key)}, {}))
    assert choose_endpoint(now, "a", "eyeballs", exits(now, b=9.0, d=0.1)) == "10.0.0.4"


def test_a_border_that_sends_everything_out_at_home_borrows_the_name_of_the_next():
    now = world()
    assert choose_endpoint(now, "b", "eyeballs", exits(now, b=9.0)) == "10.0.0.3"
    assert choose_endpoint(now, "b", "eyeballs", exits(now, b=9.0, d=1.0)) == "10.0.0.4"


def test_a_group_that_leaves_only_at_the_head_end_itself_cannot_be_steered_there():
    assert possible_endpoints(world(borders=("a",)), "a", "eyeballs") == ()
    assert possible_endpoints(world(borders=("a",)), "b", "eyeballs") == ("a",)


@pytest.mark.parametrize("address", ["10.0.0.2", "203.0.113.9"])
def test_a_running_endpoint_that_is_no_border_any_more_is_left(address):
    now = world(steered_to(address), borders=("c", "d"))
    assert choose_endpoint(now, "a", "eyeballs", exits(now, c=1.0, d=2.0)) == "10.0.0.4"


def test_a_border_out_of_reach_is_no_endpoint():
    now = world()
    cut = tuple(link for link in now.snapshot.topology.links if "c" not in (link.source, link.target))
    lost = World(replace(now.snapshot, topology=replace(now.snapshot.topology, links=cut)))
    assert possible_endpoints(lost, "a", "eyeballs") == ("b", "d")
