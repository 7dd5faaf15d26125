"""What an emulated border tells its neighbours: typed at its command line, and what comes of it."""

from ipaddress import IPv4Network

import pytest

from neto.lab.cli import Session
from neto.lab.configuration import Configuration
from neto.lab.router import LabRouter
from neto.lab.state import RouterState
from neto.lab.told import Told, bordering

PEER, OTHER = "100.64.1.2", "100.64.2.2"
FIRST, SECOND = IPv4Network("10.1.0.0/18"), IPv4Network("10.1.64.0/18")

CONFIGURED = """\
router bgp 65000
 neighbor 100.64.1.2 remote-as 64500
 neighbor 100.64.2.2 remote-as 64501
 !
 address-family ipv4 unicast
  neighbor 100.64.1.2 route-map NETO-OUT-100.64.1.2 out
  neighbor 100.64.2.2 route-map NETO-OUT-100.64.2.2 out
 exit-address-family
exit
!
ip prefix-list ONE seq 5 permit 10.1.0.0/18
route-map NETO-OUT-100.64.1.2 permit 10
 match ip address prefix-list ONE
 set as-path prepend 65000 65000
exit
!
route-map NETO-OUT-100.64.1.2 permit 65535
exit
!
route-map NETO-OUT-100.64.2.2 permit 65535
exit
!
"""


def border():
    out = bordering(65000, {PEER: 64500, OTHER: 64501})
    return LabRouter(RouterState("nyc1", "10.255.0.1"), running=Configuration(out=out))


def type_in(router, *lines):
    session = Session(router)
    for line in ("configure terminal", *lines):
        assert session.enter(line) == "", line
    assert session.enter("commit").finish() == "Commit complete."


ONE = ("ip prefix-list ONE seq 5 permit 10.1.0.0/18", f"route-map NETO-OUT-{PEER} permit 10")
MATCH = "match ip address prefix-list ONE"


def test_a_border_that_was_only_set_up_tells_everything_plainly():
    out = border().running.out
    assert (out.told(PEER, FIRST), out.told(OTHER, SECOND)) == (Told(), Told())
    assert out.told("192.0.2.1", FIRST) is None  # nobody


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("set as-path prepend 65000 65000", Told(prepended=2)),
        ("set metric 50", Told(med=50)),
        ("set community 64500:80 additive", Told(communities=("64500:80",))),
    ],
)
def test_an_entry_adds_to_what_one_neighbour_is_told_of_one_prefix(line, told):
    router = border()
    type_in(router, *ONE, MATCH, line)
    out = router.running.out
    assert (out.told(PEER, FIRST), out.told(PEER, SECOND), out.told(OTHER, FIRST)) == (told, Told(), Told())
    type_in(router, f"no route-map NETO-OUT-{PEER} permit 10", "no ip prefix-list ONE")
    assert router.running.out == border().running.out


def test_what_is_typed_is_shown_as_frr_shows_it():
    router = border()
    type_in(router, *ONE, "set as-path prepend 65000 65000", MATCH)
    assert CONFIGURED in Session(router).enter("show running-config")


def test_route_maps_withdraw_where_somebody_makes_them():
    """The lab must notice if ever a line of ours did."""
    denied = border()
    type_in(denied, *ONE[:1], f"route-map NETO-OUT-{PEER} deny 10", MATCH)
    assert denied.running.out.told(PEER, FIRST) is None
    assert denied.running.out.told(PEER, SECOND) == Told()
    gone = border()
    type_in(gone, f"no route-map NETO-OUT-{PEER} permit 65535")
    assert gone.running.out.told(PEER, FIRST) is None
    final = border()  # the first that matches decides
    type_in(final, *ONE, "set metric 7")
    assert final.running.out.told(PEER, SECOND) == Told(med=7)


def test_a_prefix_that_is_none_is_refused():
    session = Session(border())
    session.enter("configure terminal")
    assert session.enter("ip prefix-list ONE seq 5 permit 10.1.0.1/18") == "% Malformed prefix: 10.1.0.1/18"
