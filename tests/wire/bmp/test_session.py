"""BMP messages written by hand (RFC 7854, RFC 8671, RFC 9069) are read as they are meant; no other octets do harm."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.errors import WireError
from neto.wire.bgp import AttributeReader, UpdateReader, prefix_of
from neto.wire.bmp import (
    BmpSession,
    BmpStream,
    Initiation,
    PeerDown,
    PeerKind,
    PeerUp,
    RouteMirroring,
    RouteMonitoring,
    Statistics,
    Termination,
    Unknown,
    View,
)
from tests.wire.bgp.octets import (
    ADD_PATH_BOTH,
    ADD_PATH_RECEIVES,
    ADD_PATH_SENDS,
    AS4,
    attributes,
    bmp,
    capability,
    message,
    monitoring,
    nlri,
    open_body,
    peer,
    peer_up,
    sequence,
    tlv,
    update,
    word,
)

A_ROUTE = update(attributes(), nlri("198.51.100.0/24"))
SESSION = [
    bmp(4, tlv(2, b"border-1") + tlv(1, b"a router") + tlv(0, b"hello")),
    bmp(3, peer_up(peer(at=(1700000000, 250000)), information=tlv(0, b"up"))),
    bmp(0, monitoring(A_ROUTE)),
    bmp(1, peer() + word(2) + tlv(0, word(3)) + tlv(7, word(100000, 8))),
    bmp(6, peer() + tlv(0, message(2, A_ROUTE)) + tlv(1, word(1, 2))),
    bmp(2, peer() + b"\x03"),
    bmp(9, b"later"),
    bmp(5, tlv(1, word(3, 2)) + tlv(0, b"bye")),
]


def read(octets, session=None):
    session = session or BmpSession()
    return [session.read(*each) for each in BmpStream().feed(octets)]


def keys(reach):
    return [str(prefix_of(key)) for key in reach.routes.keys]


def test_a_session_from_its_beginning_to_its_end():
    initiation, up, route, statistics, mirrored, down, unknown, termination = read(b"".join(SESSION))
    assert initiation == Initiation("border-1", "a router", ("hello",))
    assert isinstance(up, PeerUp)
    assert (up.peer.kind, up.peer.address, up.peer.asn, up.peer.bgp_id) == (
        PeerKind.GLOBAL, "192.0.2.1", 64500, "192.0.2.1",
    )  # fmt: skip
    assert (up.at, up.local_address, up.local_port, up.remote_port) == (1700000000.25, "192.0.2.254", 179, 40000)
    assert (up.sent.bgp_id, up.received.asn, up.received.four_octet_as, up.text) == ("10.0.0.1", 65000, True, ("up",))
    assert isinstance(route, RouteMonitoring)
    assert (route.view, route.peer, keys(route.update.reached[0])) == (View.IN_PRE, up.peer, ["198.51.100.0/24"])
    assert statistics == Statistics(up.peer, {0: 3, 7: 100000})
    assert mirrored == RouteMirroring(up.peer, (message(2, A_ROUTE),), (1,))
    assert down == PeerDown(up.peer, 0.0, 3, was_up=True)
    assert unknown == Unknown(9)
    assert termination == Termination(3, ("bye",))


@given(st.lists(st.integers(0, 600), max_size=8))
def test_however_the_octets_are_cut_the_messages_are_the_same(cuts):
    octets = b"".join(SESSION)
    stream, messages, begin = BmpStream(), [], 0
    for end in [*sorted(cuts), len(octets)]:
        messages += stream.feed(octets[begin:end])
        begin = max(begin, end)
    assert messages == BmpStream().feed(octets)
    assert not stream.waits


@pytest.mark.parametrize(
    ("flags", "kind", "view"),
    [
        (0x00, 0, View.IN_PRE),
        (0x40, 0, View.IN_POST),
        (0x10, 0, View.OUT_PRE),
        (0x50, 0, View.OUT_POST),
        (0x00, 3, View.LOC),
        (0x80, 3, View.LOC),  # F: the view is filtered (RFC 9069 §4.2), not IPv6
    ],
)
def test_flags_tell_the_table(flags, kind, view):
    head = peer("0.0.0.0" if kind == 3 else "192.0.2.1", kind=kind, flags=flags)  # noqa: S104 as RFC 9069 §4.1 has it
    _, route = read(bmp(3, peer_up(head)) + bmp(0, monitoring(A_ROUTE, head)))
    assert route.view is view


def test_ipv6_peers_and_two_octet_paths():
    head = peer("2001:db8::1", flags=0x20)
    told = update(attributes(sequence(64500, 64511, size=2)), nlri("198.51.100.0/24"))
    up, route = read(bmp(3, peer_up(head, local="2001:db8::2")) + bmp(0, monitoring(told, head)))
    assert (up.peer.address, up.local_address) == ("2001:db8::1", "2001:db8::2")
    assert route.update.reached[0].attributes.path_text == "64500 64511"


@pytest.mark.parametrize(
    ("sent", "received", "incoming", "outgoing"),
    [
        (ADD_PATH_BOTH, ADD_PATH_BOTH, True, True),
        (ADD_PATH_RECEIVES, ADD_PATH_SENDS, True, False),
        (ADD_PATH_SENDS, ADD_PATH_RECEIVES, False, True),
        (ADD_PATH_SENDS, ADD_PATH_SENDS, False, False),
        (ADD_PATH_BOTH, b"", False, False),
    ],
)
def test_path_identifiers_are_there_where_both_ends_agreed(sent, received, incoming, outgoing):
    """RFC 7911 §4: one offers to send, the other to receive."""
    for flags, agreed in ((0x00, incoming), (0x10, outgoing)):
        head = peer(flags=flags)
        told = update(attributes(), nlri("198.51.100.0/24", 77 if agreed else None))
        _, route = read(bmp(3, peer_up(sent=AS4 + sent, received=AS4 + received)) + bmp(0, monitoring(told, head)))
        assert keys(route.update.reached[0]) == ["198.51.100.0/24"]
        assert route.update.reached[0].routes.path_ids == ([77] if agreed else [])


@pytest.mark.parametrize("prefix", ["198.51.100.0/24", "10.0.0.0/8", "0.0.0.0/0", "192.0.2.0/32", "192.0.2.129/32"])
@pytest.mark.parametrize("path_id", [None, 1, 77, 0xFFFFFF])
def test_frr_may_leave_path_identifiers_out_though_peers_agreed_on_them(prefix, path_id):
    begin = bmp(4, tlv(2, b"border") + tlv(1, b"FRRouting 8.4.4"))
    up = bmp(3, peer_up(sent=AS4 + ADD_PATH_BOTH, received=AS4 + ADD_PATH_BOTH))
    told, gone = update(attributes(), nlri(prefix, path_id)), update(withdrawn=nlri(prefix, path_id))
    _, _, route, withdrawal = read(begin + up + bmp(0, monitoring(told)) + bmp(0, monitoring(gone)))
    ids = [] if path_id is None else [path_id]
    assert (keys(route.update.reached[0]), route.update.reached[0].routes.path_ids) == ([prefix], ids)
    assert withdrawal.update.withdrawn[0].path_ids == ids


def test_extended_parameters_of_an_open():
    """RFC 9072: lengths of two octets after 255, 255."""
    parameters = b"\x02" + word(len(ADD_PATH_BOTH), 2) + ADD_PATH_BOTH
    extended = b"\x04" + word(64500, 2) + word(90, 2) + bytes(4) + b"\xff\xff" + word(len(parameters), 2) + parameters
    plain = peer_up()
    body = plain[: 42 + 20] + message(1, extended) * 2
    (up,) = read(bmp(3, body))
    assert len(up.sent.add_path) == 2


def test_a_peer_is_up_though_the_router_has_lost_an_open():
    """As FRR 8.4 tells it after two connections collided: a header and nothing after it."""
    plain = peer_up()
    sent = message(1, open_body(65000, "10.0.0.1", AS4))
    for opens, expected in ((sent + message(1, b""), (65000, None)), (message(1, b"") + sent, (None, 65000))):
        up, route = read(bmp(3, plain[: 42 + 20] + opens) + bmp(0, monitoring(A_ROUTE)))
        assert tuple(each and each.asn for each in (up.sent, up.received)) == expected
        assert keys(route.update.reached[0]) == ["198.51.100.0/24"]


def test_a_border_tells_its_own_table_without_saying_that_it_will():
    """As FRR 8.0 does: there is no Peer Up before its Loc-RIB (RFC 9069 §4.4 wants one)."""
    own = peer("0.0.0.0", kind=3)  # noqa: S104 as RFC 9069 §4.1 has it
    (route,) = read(bmp(0, monitoring(A_ROUTE, own)))
    assert (route.peer.kind, route.view) == (PeerKind.LOC_RIB, View.LOC)
    assert keys(route.update.reached[0]) == ["198.51.100.0/24"]


def test_routes_of_a_peer_that_is_not_up_are_refused():
    session = BmpSession()
    with pytest.raises(WireError, match="not up"):
        read(bmp(0, monitoring(A_ROUTE)), session)
    read(bmp(3, peer_up()) + bmp(0, monitoring(A_ROUTE)) + bmp(2, peer() + b"\x01"), session)
    with pytest.raises(WireError, match="not up"):
        read(bmp(0, monitoring(A_ROUTE)), session)


@pytest.mark.parametrize("octets", [b"\x01", b"\x03\0\0\0\x05\0", b"\x03\x7f\xff\xff\xff\0", b"HTTP/1.1"])
def test_what_is_not_bmp_is_refused_at_once(octets):
    with pytest.raises(WireError):
        BmpStream().feed(octets)


def test_a_stream_never_holds_more_than_a_message():
    stream = BmpStream()
    one = bmp(9, bytes(200_000))
    for _ in range(20):
        stream.feed(one[:100_000])
        stream.feed(one[100_000:])
        assert len(stream._rest) <= 1 << 18


def test_peers_are_bounded():
    session = BmpSession()
    for number in range(4096):
        session.read(3, peer_up(peer(distinguisher=number)))
    with pytest.raises(WireError, match="more than 4096 peers"):
        session.read(3, peer_up(peer(distinguisher=4096)))


def test_headers_are_bounded():
    session = BmpSession()
    for number in range(4 * 4096):
        session.read(1, peer(asn=number) + word(0))
    with pytest.raises(WireError, match="more than 4096 peers"):
        session.read(1, peer(asn=1 << 20) + word(0))


def test_control_characters_in_names_are_escaped():
    (initiation,) = read(bmp(4, tlv(2, b"a\x1b[31mb\xff")))
    assert initiation.name == "a\\x1b[31mb\\xff"


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(range(len(SESSION))), st.data())
def test_mutated_messages_are_read_or_refused(which, data):
    session = BmpSession()
    session.read(*BmpStream().feed(SESSION[1])[0])
    kind, body = BmpStream().feed(SESSION[which])[0]
    mutated = bytearray(body)
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, max(0, len(mutated) - 1)))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        session.read(kind, bytes(mutated))
    except WireError:
        return


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 7), st.binary(max_size=120), st.booleans())
def test_random_messages_are_read_or_refused(kind, body, after_header):
    session = BmpSession()
    session.read(3, peer_up())
    try:
        session.read(kind, peer() + body if after_header else body)
    except WireError:
        return


@pytest.mark.parametrize("whole", [SESSION[1], SESSION[2]])
def test_every_cut_of_a_message_is_refused(whole):
    body = whole[6:]
    for size in range(len(body)):
        session = BmpSession()
        session.read(3, peer_up())
        if whole is SESSION[1] and size == len(peer_up()):
            continue  # information TLVs may be left out
        with pytest.raises(WireError):
            session.read(whole[5], body[:size])


def test_a_hostile_session_costs_no_memory():
    """Ever new attributes of a thousand octets each: of 10 MB only what may be remembered stays."""
    session = BmpSession(UpdateReader(AttributeReader(remember=100_000)))
    session.read(3, peer_up())
    head, paths = peer(), [sequence(*range(number, number + 250)) for number in range(1, 1001)]
    tracemalloc.start()
    for path in paths:
        session.read(0, monitoring(update(attributes(path), nlri("10.0.0.0/8")), head))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 3_000_000


def test_capabilities_that_are_cut_off_are_refused():
    body = peer_up(sent=capability(65, word(1))[:-1])
    with pytest.raises(WireError):
        BmpSession().read(3, body)
