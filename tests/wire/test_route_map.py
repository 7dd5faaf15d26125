"""Adjustments in FRR's grammar: what is written is read back, and whatever is not exactly so is left alone."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neto.lab.cli import Session
from neto.lab.configuration import Configuration
from neto.lab.router import LabRouter
from neto.lab.state import RouterState
from neto.lab.told import Told, bordering
from neto.model.announcement import Adjustment, AnnouncementKey
from neto.model.plan import AnnouncementMove
from neto.wire import route_map
from neto.wire.dialects import dialect

PEER, OTHER = "100.64.1.2", "100.64.2.2"
FIRST, SECOND = IPv4Network("10.1.0.0/18"), IPv4Network("10.1.64.0/18")
KEY = AnnouncementKey("nyc1", PEER, FIRST)
LAB = dialect("lab")

CONVERSATION = """\
ip prefix-list NETO-TO-100.64.1.2-10.1.0.0-18 seq 5 permit 10.1.0.0/18
route-map NETO-OUT-100.64.1.2 permit 1
match ip address prefix-list NETO-TO-100.64.1.2-10.1.0.0-18
set as-path prepend 65000 65000
exit
"""
GOODBYE = """\
no route-map NETO-OUT-100.64.1.2 permit 1
no ip prefix-list NETO-TO-100.64.1.2-10.1.0.0-18
"""

# What FRR 8.4.4 shows of a border with an adjustment toward one neighbour, and a policy of the operator's.
SHOWN = """\
Building configuration...

Current configuration:
!
frr version 8.4.4
hostname nyc1
!
router bgp 65000
 no bgp default ipv4-unicast
 neighbor 100.64.1.2 remote-as 64500
 !
 address-family ipv4 unicast
  network 10.1.0.0/18
  neighbor 100.64.1.2 activate
  neighbor 100.64.1.2 route-map OPERATOR out
 exit-address-family
exit
!
ip prefix-list ALLOW seq 5 permit 10.1.0.0/16 le 24
ip prefix-list NETO-TO-100.64.1.2-10.1.0.0-18 seq 5 permit 10.1.0.0/18
!
route-map OPERATOR permit 10
 call NETO-OUT-100.64.1.2
 match ip address prefix-list ALLOW
exit
!
route-map NETO-OUT-100.64.1.2 permit 1
 match ip address prefix-list NETO-TO-100.64.1.2-10.1.0.0-18
 set as-path prepend 65000 65000
exit
!
route-map NETO-OUT-100.64.1.2 permit 65535
exit
!
end
"""


def adjust(what, key=KEY):
    return AnnouncementMove(key, Adjustment(key, **what))


PREPENDED = adjust({"prepend": (65000, 65000)})


def border():
    out = bordering(65000, {PEER: 64500, OTHER: 64501})
    return LabRouter(RouterState("nyc1", "10.255.0.1"), running=Configuration(out=out))


def reading(router):
    return route_map.read(Session(router).enter("show running-config"), "nyc1")


def push(router, moves):
    session = Session(router)
    lines = route_map.lines(moves, reading(router))
    for line in (*LAB.enter_adjusting, *lines):
        assert LAB.allowed(line), line
        assert session.enter(line) == "", line
    assert session.enter("commit").finish() == "Commit complete."


def test_the_conversation_is_this_one():
    assert "\n".join(route_map.lines([PREPENDED], reading(border()))) + "\n" == CONVERSATION
    running = route_map.read(SHOWN, "nyc1")
    assert "\n".join(route_map.lines([AnnouncementMove(KEY, None)], running)) + "\n" == GOODBYE
    assert route_map.lines([PREPENDED], running) == ()  # it is there


def test_what_frr_shows_is_read():
    read = route_map.read(SHOWN, "nyc1")
    assert read.adjustments == {KEY: PREPENDED.adjustment}
    assert (read.entries, read.trouble) == ({KEY: 1}, {PEER: ""})


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"community": "64500:80"}, Told(communities=("64500:80",))),
        ({"med": 0}, Told()),
        ({"med": 4294967295}, Told(med=4294967295)),
        ({"prepend": (65000,)}, Told(prepended=1)),
        ({"prepend": (65000,) * 10}, Told(prepended=10)),
    ],
)
def test_what_is_said_is_what_the_border_does_and_shows(what, told):
    router = border()
    push(router, [adjust(what)])
    assert reading(router).adjustments == {KEY: adjust(what).adjustment}
    out = router.running.out
    assert (out.told(PEER, FIRST), out.told(PEER, SECOND), out.told(OTHER, FIRST)) == (told, Told(), Told())


def test_one_change_becomes_another_and_all_of_it_goes():
    router = border()
    there = AnnouncementKey("nyc1", OTHER, FIRST)
    beside = AnnouncementKey("nyc1", PEER, SECOND)
    for moves in ([PREPENDED, adjust({"med": 7}, there)], [adjust({"med": 5}), adjust({"med": 6}, beside)]):
        push(router, moves)
        push(router, moves)  # repeating it does no harm
    out = router.running.out
    assert out.told(PEER, FIRST) == Told(med=5)
    assert out.told(PEER, SECOND) == Told(med=6)
    assert out.told(OTHER, FIRST) == Told(med=7)
    push(router, [AnnouncementMove(key, None) for key in (KEY, beside, there)])
    assert router.running == border().running


prefixes = st.integers(0, 255).map(lambda third: IPv4Network((0x0A010000 + 256 * third, 24)))
keys = st.builds(AnnouncementKey, st.just("nyc1"), st.sampled_from([PEER, OTHER]), prefixes)
whats = st.one_of(
    st.fixed_dictionaries({"med": st.integers(0, 4294967295)}),
    st.fixed_dictionaries({"prepend": st.lists(st.integers(1, 4294967295), min_size=1, max_size=10).map(tuple)}),
    st.fixed_dictionaries({"community": st.tuples(*[st.integers(0, 65535)] * 2).map("{0[0]}:{0[1]}".format)}),
)
rounds = st.lists(st.dictionaries(keys, st.none() | whats, max_size=5), max_size=5)


@given(rounds)
def test_whatever_comes_in_whatever_order_the_border_has_what_was_said_last_and_announces_everything(given_rounds):
    router, wanted = border(), {}
    for each in given_rounds:
        push(router, [adjust(what, key) if what else AnnouncementMove(key, None) for key, what in each.items()])
        wanted = {key: what for key, what in {**wanted, **each}.items() if what}
        assert reading(router).adjustments == {key: Adjustment(key, **what) for key, what in wanted.items()}
        assert all(router.running.out.told(key.peer, key.prefix) is not None for key in each)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("route-map OPERATOR out", "route-map MINE out", "it is MINE, which is not NetO's"),
        ("route-map OPERATOR out", "route-map NETO-OUT-100.64.2.2 out", "which is not NetO's"),
        (" call NETO-OUT-100.64.1.2\n", "", "it is OPERATOR, which is not NetO's"),
        (" call NETO-OUT-100.64.1.2\n", " call NETO-OUT-100.64.1.20\n", "it is OPERATOR, which is not NetO's"),
        ("  neighbor 100.64.1.2 route-map OPERATOR out\n", "", "it has none"),
        ("ipv4 unicast", "ipv4 multicast", "it has none"),
        ("router bgp 65000", "router bgp 65000 vrf blue", "it has none"),
        ("permit 65535", "permit 100", "entry 100 of NETO-OUT-100.64.1.2 is not as NetO writes it"),
        ("permit 65535", "deny 65535", "above 9999 anything else"),
        ("permit 65535", "permit 65535\n match ip address prefix-list ALLOW", "above 9999 anything else"),
        ("permit 65535", "permit 65535\n call OPERATOR", "above 9999 anything else"),
        ("permit 65535", "deny 10000\n!\nroute-map NETO-OUT-100.64.1.2 permit 65535", "above 9999 anything else"),
        ("NETO-OUT-100.64.1.2 permit 1\n", "NETO-OUT-100.64.1.2 deny 1\n", "entry 1 of"),
        ("set as-path prepend 65000 65000", "set as-path prepend 65000 65000\n set metric 5", "entry 1 of"),
        ("set as-path prepend 65000 65000", "set ip next-hop 10.9.9.9", "entry 1 of"),
        ("set as-path prepend 65000 65000", "set metric 99999999999", "entry 1 of"),
        ("set as-path prepend 65000 65000", "set metric 4294967296", "entry 1 of"),
        ("set as-path prepend 65000 65000", "set community 70000:1 additive", "entry 1 of"),
        ("seq 5 permit 10.1.0.0/18", "seq 5 permit 10.1.0.0/18 le 32", "entry 1 of"),
        ("seq 5 permit 10.1.0.0/18", "seq 5 permit 10.1.64.0/18", "entry 1 of"),
        ("seq 5 permit 10.1.0.0/18", "seq 5 deny 10.1.0.0/18", "entry 1 of"),
        ("ip prefix-list NETO-TO-100.64.1.2-10.1.0.0-18 seq 5 permit 10.1.0.0/18\n", "", "entry 1 of"),
    ],
)
def test_what_is_not_as_we_write_it_is_left_alone_and_says_why(old, new, why):
    assert old in SHOWN
    running = route_map.read(SHOWN.replace(old, new), "nyc1")
    beside = adjust({"med": 5}, AnnouncementKey("nyc1", PEER, SECOND))
    with pytest.raises(ValueError, match=re.escape(why)):
        route_map.lines([beside], running)
    for line in route_map.lines([AnnouncementMove(KEY, None)], running):  # taking back what is ours is always possible
        assert line in GOODBYE
    if "entry 1 of" in why:
        assert KEY not in running.adjustments


def test_a_second_prefix_in_our_list_or_a_second_entry_of_one_prefix_is_somebody_elses():
    more = "ip prefix-list NETO-TO-100.64.1.2-10.1.0.0-18 seq 10 permit 0.0.0.0/0\n!\nroute-map OPERATOR"
    assert KEY not in route_map.read(SHOWN.replace("!\nroute-map OPERATOR", more), "nyc1").adjustments
    entry = SHOWN[
        SHOWN.index("route-map NETO-OUT-100.64.1.2 permit 1\n") : SHOWN.index(
            "route-map NETO-OUT-100.64.1.2 permit 65535"
        )
    ]
    twice = route_map.read(SHOWN.replace(entry, entry + entry.replace("permit 1\n", "permit 2\n")), "nyc1")
    assert twice.trouble[PEER].startswith("entry 2 of")
    assert twice.entries == {KEY: 1}


@pytest.mark.parametrize(
    ("what", "key", "why"),
    [
        ({"med": -1}, KEY, "MED -1"),
        ({"med": 1 << 32}, KEY, "MED"),
        ({"prepend": (0,)}, KEY, "cannot be prepended"),
        ({}, KEY, "cannot be prepended"),
        ({"community": "no-export"}, KEY, "no community"),
        ({"community": "70000:1"}, KEY, "no community"),
        ({"med": 1}, replace(KEY, prefix=IPv6Network("2001:db8::/32")), "IPv4"),
        ({"med": 1}, replace(KEY, peer=OTHER), "it has none"),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_sent(what, key, why):
    with pytest.raises(ValueError, match=why):
        route_map.lines([adjust(what, key)], route_map.read(SHOWN, "nyc1"))


@pytest.mark.parametrize(
    "line",
    [
        "no neighbor 100.64.1.2",
        "neighbor 100.64.1.2 route-map NETO-OUT-100.64.1.2 out",
        "no router bgp 65000",
        "router bgp 65000",
        "no network 10.1.0.0/18",
        "no route-map NETO-OUT-100.64.1.2",
        "no route-map NETO-OUT-100.64.1.2 permit",
        "no route-map NETO-OUT-100.64.1.2 permit 65535",
        "no route-map NETO-OUT-100.64.1.2 permit 10000",
        "route-map NETO-OUT-100.64.1.2 deny 1",
        "route-map OPERATOR permit 1",
        "no route-map OPERATOR permit 1",
        "no ip prefix-list ALLOW",
        "ip prefix-list ALLOW seq 5 permit 10.1.0.0/18",
        "ip prefix-list NETO-TO-100.64.1.2-10.1.0.0-18 seq 5 deny 10.1.0.0/18",
        "set community none",
        "set community 64500:80",
        "set community no-export additive",
        "set comm-list NETO delete",
        "set ip next-hop 10.9.9.9",
        "set local-preference 0",
        "set as-path exclude 65000",
        "set as-path prepend 65000 last-as 3",
        "call OPERATOR",
        "on-match goto 65535",
        "on-match next",
        "match ip address prefix-list ALLOW",
        "clear bgp *",
        f"set as-path prepend {' '.join(['65000'] * 11)}",
    ],
)
def test_no_line_is_ever_sent_that_could_withdraw_or_touch_what_is_not_ours(line):
    assert not LAB.allowed(line)


@given(st.text(max_size=300) | st.lists(st.sampled_from(SHOWN.splitlines()), max_size=30).map("\n".join))
def test_any_text_is_read_without_harm(text):
    read = route_map.read(text, "nyc1")
    assert read.adjustments.keys() == read.entries.keys()
    route_map.lines([AnnouncementMove(key, None) for key in read.adjustments], read)
