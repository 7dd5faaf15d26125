"""Moves of any other shape than these are refused, whatever decided on them."""

from dataclasses import replace as changed
from ipaddress import IPv4Network

import pytest

from neto.model.peering import Peering, PeeringLink, PrefixGroup
from neto.model.plan import MoveKind
from neto.scheduler.allow import listed
from tests.scheduler.plans import adjust, announce, install, inventory, policy, remove, replace, withdraw

GROUP = IPv4Network("192.0.2.0/24")
LINKS = (
    PeeringLink("nyc-a", "nyc1", "a", 1.0, peer_address="100.64.1.2", lower_community="64500:80"),
    PeeringLink("nyc-b", "nyc1", "b", 1.0, peer_address="100.64.1.6", announced=()),
    PeeringLink("nyc-c", "nyc1", "c", 1.0),
)
RULE = listed(inventory(), Peering(links=LINKS, groups=(PrefixGroup("eyeballs", (GROUP,)),)), 65000)


def per_flow(*mapping):
    wanted = changed(policy("nyc1"), segment_lists=(), per_flow=mapping)
    return changed(install("nyc1"), policy=wanted)


@pytest.mark.parametrize(
    "move",
    [
        install("nyc1", 16001, 24003),
        replace("nyc1", 16001, weight=100),
        remove("nyc1"),
        per_flow((-1, 1003), (46, 1004)),
        announce("nyc1"),
        announce("nyc1", prefix=GROUP),
        withdraw("nyc1"),
        adjust("nyc1", community="64500:80"),
        adjust("nyc1", med=100),
        adjust("nyc1", prepend=(65000,) * 10),
        adjust("nyc1"),
        adjust("nyc1", peer="192.0.2.1"),  # what is listed no more may be taken back
        adjust("nyc1", prefix=IPv4Network("10.0.0.0/8")),
    ],
)
def test_what_we_do_is_allowed(move):
    assert RULE(move) == ""


@pytest.mark.parametrize(
    ("move", "why"),
    [
        (install("tokyo1", 16001), "not in the inventory"),
        (announce("tokyo1"), "not in the inventory"),
        (announce("nyc1", prefix=IPv4Network("10.5.0.0/19")), "not listed"),
        (announce("nyc1", prefix=IPv4Network("10.0.0.0/8")), "not listed"),
        (withdraw("nyc1", prefix=IPv4Network("0.0.0.0/0")), "not listed"),
        (announce("nyc1", next_hop="127.0.0.1"), "no router's loopback"),
        (announce("nyc1", colour=0), "out of range"),
        (announce("nyc1", colour=1 << 32), "out of range"),
        (changed(announce("nyc1"), route=announce("lon1").route), "under the key"),
        (install("nyc1", 16001, endpoint="192.0.2.1"), "no router's loopback"),
        (install("nyc1", 16001, colour=0), "out of range"),
        (install("nyc1", 3), "label 3"),
        (install("nyc1", 1 << 20), "out of range"),
        (install("nyc1", 16001, weight=0), "weight 0"),
        (install("nyc1"), "0 segments"),
        (install("nyc1", *range(16001, 16019)), "18 segments"),
        (changed(install("nyc1", 16001), policy=None), "does not say"),
        (changed(remove("nyc1"), policy=policy("nyc1", 16001)), "does not say"),
        (changed(install("nyc1", 16001), kind=MoveKind.ROUTE), "does not say"),
        (changed(install("nyc1", 16001), policy=policy("lon1", 16001)), "under the key"),
        (adjust("tokyo1", med=1), "not in the inventory"),
        (adjust("lon1", med=1), "far end of no peering link"),
        (adjust("nyc1", peer="192.0.2.1", med=1), "far end of no peering link"),
        (adjust("nyc1", peer="", med=1), "far end of no peering link"),
        (adjust("nyc1", peer="100.64.1.6", med=1), "not announced through nyc-b"),
        (adjust("nyc1", prefix=GROUP, med=1), "not announced through nyc-a"),
        (adjust("nyc1", prefix=IPv4Network("10.5.0.0/19"), med=1), "not announced through nyc-a"),
        (adjust("nyc1", med=1 << 32), "out of range"),
        (adjust("nyc1", med=-1), "out of range"),
        (adjust("nyc1", community="64500:666"), "not the lower_community"),
        (adjust("nyc1", prepend=(65000, 64500)), "accepted: 65000, up to 10 times"),
        (adjust("nyc1", prepend=(65000,) * 11), "accepted: 65000, up to 10 times"),
        (adjust("nyc1", med=1, prepend=(65000,)), "an adjustment is"),
        (adjust("nyc1", prepend=()), "an adjustment is"),
        (changed(adjust("nyc1", med=1), key=adjust("lon1").key), "under the key"),
        (changed(adjust("nyc1"), kind=MoveKind.ROUTE), "a route move of an announcement"),
        (per_flow(), "either"),
        (changed(per_flow((46, 1004)), policy=changed(policy("nyc1", 16001), per_flow=((46, 1004),))), "either"),
        (per_flow((64, 1004)), "code point 64"),
        (per_flow((46, 1001)), "code point 46"),  # itself
    ],
)
def test_anything_else_is_refused_with_its_reason(move, why):
    assert why in RULE(move)
