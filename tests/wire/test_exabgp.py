"""What exabgp says is understood or refused; what it is told is exactly what was meant, or nothing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neto.errors import WireError
from neto.model.sr import Route, RouteKey
from neto.wire.exabgp import (
    Ack,
    ExaBgpConfig,
    Family,
    Neighbor,
    PeerDown,
    PeerUp,
    RawOpen,
    RawUpdate,
    announce,
    check_command,
    communities,
    end_of_rib,
    parse_line,
    render,
    withdraw,
)

KEY = RouteKey("nyc1", IPv4Network("10.5.0.0/18"))
ROUTE = Route(KEY, "10.255.0.2", 1105)
MARKS = communities("65000:900")
NYC = Neighbor("127.0.1.1", 1790, frozenset({Family.IPV4_UNICAST}))
LS = Neighbor("127.0.2.1", 1790, frozenset({Family.LINK_STATE}))

# As exabgp 5.0.15 wrote it.
HEAD = b'{ "exabgp": "5.0.0", "time": 1.5, "host" : "vm", "pid" : 7, "ppid" : 6, "counter": 1, '
PEER = (
    b'"neighbor": { "address": { "local": "127.0.0.1", "peer": "127.0.2.1" }, "asn": { "local": 65000, "peer": 65000 }'
    b', "router-id": "10.0.0.9" , '
)


def test_a_route_is_announced_with_next_hop_preference_marks_and_colour():
    assert announce("127.0.1.1", ROUTE, MARKS) == (
        "neighbor 127.0.1.1 announce route 10.5.0.0/18 next-hop 10.255.0.2 local-preference 1000"
        " community [ no-export 65000:900 ] extended-community [ 0x030b000000000451 ]"
    )


def test_withdraw_and_end_of_rib():
    assert withdraw("127.0.1.1", KEY) == "neighbor 127.0.1.1 withdraw route 10.5.0.0/18"
    assert end_of_rib("127.0.1.1") == "neighbor 127.0.1.1 announce eor ipv4 unicast"


def test_an_as_number_of_four_octets_marks_with_a_large_community():
    assert communities("4200000000:900") == "community [ no-export ] large-community [ 4200000000:900:0 ]"


@pytest.mark.parametrize("mark", ["65000", "65000:65536", "a:b", "1:2:3", "4294967296:1", "-1:1"])
def test_a_mark_that_is_no_community_is_refused(mark):
    with pytest.raises(ValueError, match=r"."):
        communities(mark)


@pytest.mark.parametrize(
    "route",
    [
        replace(ROUTE, next_hop="127.0.0.1"),  # FRR answers (3,8), and the session flaps for ever
        replace(ROUTE, next_hop="0.0.0.0"),  # noqa: S104  an address, no socket
        replace(ROUTE, next_hop="224.0.0.1"),
        replace(ROUTE, next_hop="255.255.255.255"),
        replace(ROUTE, next_hop="self"),
        replace(ROUTE, next_hop="10.0.0.1 split /32"),
        replace(ROUTE, colour=-1),
        replace(ROUTE, colour=1 << 32),
        replace(ROUTE, local_preference=1 << 32),
        replace(ROUTE, key=RouteKey("nyc1", IPv6Network("2001:db8::/32"))),
    ],
)
def test_a_route_that_no_router_would_take_is_never_said(route):
    with pytest.raises(ValueError, match=r"."):
        announce("127.0.1.1", route, MARKS)


@pytest.mark.parametrize("address", ["*", "127.0.1.1 , neighbor 127.0.1.2", "", "::1"])
def test_a_command_goes_to_one_neighbor(address):
    with pytest.raises(ValueError, match=r"."):
        withdraw(address, KEY)


@pytest.mark.parametrize("line", ["", "one\ntwo", "announce ä", "x" * 4097, "tab\there"])
def test_what_is_not_one_line_of_ascii_is_no_command(line):
    with pytest.raises(ValueError, match="no command"):
        check_command(line)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"done\n", Ack(ok=True)),
        (b"error\n", Ack(ok=False)),
        (b"shutdown in progress\n", None),
        (HEAD + b'"type": "state", ' + PEER + b' "state": "up" } }', PeerUp("127.0.2.1")),
        (HEAD + b'"type": "state", ' + PEER + b' "state": "connected" } }', None),
        (
            HEAD + b'"type": "state", ' + PEER + b' "state": "down", "reason": "peer reset" } }',
            PeerDown("127.0.2.1", "peer reset"),
        ),
        (
            HEAD + b'"type": "update", ' + PEER + b'"direction": "receive", "message": '
            b'{ "category": 2, "header": "0xFF", "body": "0x00000006900F00034004" }  } }',
            RawUpdate("127.0.2.1", bytes.fromhex("00000006900f00034004")),
        ),
        (
            HEAD + b'"type": "open", ' + PEER + b'"direction": "receive", "message": '
            b'{ "category": 1, "header": "0xFF", "body": "0x04FDE8" }  } }',
            RawOpen("127.0.2.1", bytes.fromhex("04fde8")),
        ),
        (HEAD + b'"type": "notification", "notification": "shutdown" }', None),
    ],
)
def test_a_line_of_exabgp_is_understood(line, event):
    assert parse_line(line) == event


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"{",
        b"{}",
        b"[]",
        b"\xff\xfe",
        HEAD + b'"type": "update", "neighbor": { "address": { "peer": 7 } } }',
        HEAD + b'"type": "update", ' + PEER + b'"message": { "category": 2, "body": "0x0" } } }',
        HEAD + b'"type": "update", ' + PEER + b'"message": { "category": 2, "body": "xyz!" } } }',
        HEAD + b'"type": "update", ' + PEER + b'"message": { "category": "two", "body": "0x00" } } }',
    ],
)
def test_garbage_is_a_wire_error(line):
    with pytest.raises(WireError, match="exabgp wrote"):
        parse_line(line)


@given(
    line=st.binary(max_size=200)
    | st.text(alphabet='{}[]",:0x "typeneighborstatedonerr\\u', max_size=80).map(str.encode)
)
def test_any_line_is_understood_or_a_wire_error(line):
    try:
        parse_line(line)
    except WireError:
        return


def test_addresses_are_checked_and_told_apart():
    for wrong in ("nyc1", "127.0.1.1; }", "::1"):
        with pytest.raises(ValueError, match=r"."):
            ExaBgpConfig(65000, "10.0.0.9", "127.0.0.1", (replace(NYC, address=wrong),))
    with pytest.raises(ValueError, match="same address"):
        ExaBgpConfig(65000, "10.0.0.9", "127.0.0.1", (NYC, replace(LS, address=NYC.address)))


def test_graceful_restart_is_asked_of_route_sessions_only():
    text = render(ExaBgpConfig(65000, "10.0.0.9", "127.0.0.1", (NYC, LS), graceful_restart_s=30), ["/bin/relay"])
    routes, topology = text.split("neighbor 127.0.1.1 {")[1].split("neighbor 127.0.2.1 {")
    assert "graceful-restart 30;" in routes
    assert "manual-eor true;" in routes
    assert "graceful-restart disable;" in topology
    assert "manual-eor false;" in topology


def test_several_routes_for_a_prefix_are_taken_of_ipv4_where_they_are_welcome_and_nowhere_else():
    both = replace(NYC, families=frozenset(Family), add_path=True)
    text = render(ExaBgpConfig(65000, "10.0.0.9", "127.0.0.1", (both, LS)), ["/bin/relay"])
    welcome, not_welcome = text.split("neighbor 127.0.1.1 {")[1].split("neighbor 127.0.2.1 {")
    assert "add-path receive;" in welcome
    assert "add-path { ipv4 unicast; }" in " ".join(welcome.split())
    assert "open;" in welcome
    assert "add-path disable;" in not_welcome
    assert "open;" not in not_welcome


@pytest.mark.parametrize("word", ['/a"b', "/a\\b", "/a'b", "/a\nb", "/ä", ""])
def test_a_path_that_exabgp_cannot_quote_is_refused(word):
    with pytest.raises(ValueError, match="cannot stand"):
        render(ExaBgpConfig(65000, "10.0.0.9", "127.0.0.1", (NYC,)), ["/bin/relay", word])
