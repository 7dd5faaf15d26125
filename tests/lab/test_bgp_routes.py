"""A lab router holds what the daemon announced, and through a restart of the daemon just as long as agreed."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from neto.lab.bgp_message import IPV4_UNICAST, Graceful, Open
from neto.lab.bgp_routes import AdjRibIn
from neto.lab.bgp_session import Closed, Established, Received
from neto.lab.bgp_update import Attributes, Update
from neto.lab.state import LabRoute

V4 = frozenset({IPV4_UNICAST})
PLAIN = Open(65000, 9, "10.0.0.9")
GRACEFUL = replace(PLAIN, graceful=Graceful(30, preserved=V4, families=V4))
ONE, TWO = IPv4Network("10.1.0.0/18"), IPv4Network("10.2.0.0/18")
END = Received(Update(end_of_rib=V4))


def announcement(*prefixes: IPv4Network, colour: int = 1100) -> Received:
    attributes = Attributes("10.255.0.2", 1000, (0xFDE80384, 0xFFFFFF01), (colour,))
    return Received(Update(announced=prefixes, attributes=attributes))


class Router:
    def __init__(self) -> None:
        self.seen: list[tuple[str, IPv4Network]] = []
        self.rib = AdjRibIn(
            lambda route: self.seen.append(("+", route.prefix)), lambda prefix: self.seen.append(("-", prefix))
        )

    def hear(self, *events, now: float = 0.0) -> Router:
        for event in events:
            self.rib.handle(event, now)
        return self


def closed(peer: Open, *, notified: bool = False) -> Closed:
    return Closed("", notified, peer)


def test_a_route_is_told_once_until_it_changes():
    router = Router().hear(Established(PLAIN), announcement(ONE), announcement(ONE), announcement(ONE, colour=1200))
    assert router.seen == [("+", ONE), ("+", ONE)]
    assert router.rib.routes[ONE] == LabRoute(ONE, "10.255.0.2", 1000, 1200, ("65000:900", "no-export"))
    router.hear(Received(Update(withdrawn=(ONE, TWO))))
    assert router.seen[2:] == [("-", ONE)]


@pytest.mark.parametrize(
    "end",
    [closed(PLAIN), closed(PLAIN, notified=True), closed(GRACEFUL, notified=True)],
    ids=["plain", "plain_cease", "cease"],
)
def test_without_graceful_restart_or_after_a_notification_routes_go_at_once(end):
    router = Router().hear(Established(end.peer), announcement(ONE, TWO), end)
    assert not router.rib.routes
    assert sorted(router.seen[2:]) == [("-", ONE), ("-", TWO)]


def test_after_a_silent_drop_routes_stay_for_the_restart_time():
    router = Router().hear(Established(GRACEFUL), announcement(ONE), closed(GRACEFUL), now=100.0)
    router.rib.tick(129.9)
    assert router.rib.stale == {ONE}
    router.rib.tick(130.0)
    assert not router.rib.routes
    assert router.seen == [("+", ONE), ("-", ONE)]


def test_what_is_refreshed_before_end_of_rib_was_never_gone():
    router = Router().hear(Established(GRACEFUL), announcement(ONE, TWO), closed(GRACEFUL), now=100.0)
    router.hear(Established(GRACEFUL), announcement(ONE), now=110.0)
    router.rib.tick(131.0)  # the restart time no longer counts once the peer is back
    assert set(router.rib.routes) == {ONE, TWO}
    router.hear(END, now=132.0)
    assert set(router.rib.routes) == {ONE}
    assert router.seen == [("+", ONE), ("+", TWO), ("-", TWO)]


def test_a_peer_that_never_says_end_of_rib_keeps_stale_routes_for_six_minutes():
    router = Router().hear(Established(GRACEFUL), announcement(ONE), closed(GRACEFUL), now=0.0)
    router.hear(Established(GRACEFUL), now=10.0)
    router.rib.tick(369.9)
    assert router.rib.routes
    router.rib.tick(370.0)
    assert not router.rib.routes


@pytest.mark.parametrize(
    "back",
    [PLAIN, replace(PLAIN, graceful=Graceful(30, families=V4)), replace(PLAIN, graceful=Graceful(30))],
    ids=["no_capability", "forwarding_lost", "family_not_named"],
)
def test_a_peer_that_comes_back_without_its_forwarding_state_loses_its_routes_at_once(back):
    router = Router().hear(Established(GRACEFUL), announcement(ONE), closed(GRACEFUL), Established(back))
    assert not router.rib.routes


def test_what_is_stale_already_does_not_survive_a_second_drop():
    router = Router().hear(Established(GRACEFUL), announcement(ONE, TWO), closed(GRACEFUL))
    router.hear(Established(GRACEFUL), announcement(TWO), closed(GRACEFUL))
    assert set(router.rib.routes) == router.rib.stale == {TWO}


def test_of_several_colours_the_highest_counts():
    attributes = Attributes("10.255.0.2", 1000, (), (1105, 1201, 7))
    router = Router().hear(Established(PLAIN), Received(Update(announced=(ONE,), attributes=attributes)))
    assert router.rib.routes[ONE].colour == 1201
