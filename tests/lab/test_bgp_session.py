"""The lab's BGP speaker answers by the book: RFC 4271, 4486, 4724, 5492, 6286, 6608, 8654."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neto.lab.bgp_message import (
    IPV4_UNICAST,
    LINK_STATE,
    Graceful,
    Open,
    decode_open,
    encode_open,
    message,
)
from neto.lab.bgp_session import Closed, Established, Received, Session, State

ROUTER = Open(65000, 90, "10.255.0.1", extended=True, graceful=Graceful(0))
DAEMON = Open(65000, 9, "10.0.0.9")
KEEPALIVE = bytes.fromhex("ff" * 16 + "0013" + "04")
ORIGIN = "40010100"
AS_PATH = "400200"
NEXT_HOP = "4003040aff0002"
LOCAL_PREF = "400504000003e8"
USUAL = ORIGIN + AS_PATH + NEXT_HOP + LOCAL_PREF
PREFIX = "120a0500"  # 10.5.0.0/18


def established(local: Open = ROUTER, peer: Open = DAEMON, now: float = 0.0) -> Session:
    session = Session(local, now)
    events = session.receive(encode_open(peer) + KEEPALIVE, now)
    assert events == [Established(peer)]
    session.data_to_send()
    return session


def update(attributes: str, nlri: str = PREFIX, withdrawn: str = "") -> bytes:
    path, gone = bytes.fromhex(attributes), bytes.fromhex(withdrawn)
    return struct.pack("!H", len(gone)) + gone + struct.pack("!H", len(path)) + path + bytes.fromhex(nlri)


def notification(sent: bytes) -> tuple[int, int, bytes]:
    """Code, subcode and data of the NOTIFICATION that ends what was sent."""
    *_, last = messages(sent)
    assert last[18] == 3
    return last[19], last[20], last[21:]


def messages(sent: bytes) -> list[bytes]:
    whole = []
    while sent:
        size = int.from_bytes(sent[16:18], "big")
        whole.append(sent[:size])
        sent = sent[size:]
    return whole


def test_a_session_opens_with_open_and_keepalive_and_agrees_on_the_shorter_hold_time():
    session = Session(ROUTER, 0.0)
    (opening,) = messages(session.data_to_send())
    assert (opening[18], opening[19], opening[20:22], opening[22:24]) == (1, 4, b"\xfd\xe8", b"\x00\x5a")
    assert opening[24:28] == bytes([10, 255, 0, 1])
    session.receive(encode_open(DAEMON), 1.0)
    assert (session.state, session.data_to_send()) == (State.OPEN_CONFIRM, KEEPALIVE)
    assert session.receive(KEEPALIVE, 2.0) == [Established(DAEMON)]
    assert session.next_tick() == 4.0  # a third of 9 s after the KEEPALIVE at 1.0


def test_bytes_may_come_one_at_a_time():
    session = Session(ROUTER, 0.0)
    events = [event for byte in encode_open(DAEMON) + KEEPALIVE for event in session.receive(bytes([byte]), 0.0)]
    assert events == [Established(DAEMON)]


def test_keepalives_go_out_every_third_of_the_hold_time_and_silence_ends_the_session():
    session = established()
    assert session.tick(2.9) == []
    assert session.data_to_send() == b""
    assert session.tick(3.0) == []
    assert session.data_to_send() == KEEPALIVE
    assert session.tick(8.9) == []
    session.data_to_send()
    assert session.tick(9.0) == [Closed("notification sent (4,0)", notified=True, peer=DAEMON)]
    assert notification(session.data_to_send()) == (4, 0, b"")


def test_a_hold_time_of_zero_has_no_timers():
    session = established(peer=Open(65000, 0, "10.0.0.9"))
    assert session.next_tick() is None
    assert session.tick(1e9) == []


def test_a_peer_that_never_opens_is_given_up_after_four_minutes():
    session = Session(ROUTER, 0.0)
    assert session.tick(239.9) == []
    assert session.tick(240.0) == [Closed("notification sent (4,0)", notified=True)]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (bytes(16) + b"\x00\x13\x04", (1, 1, b"")),  # marker
        (b"\xff" * 16 + b"\x00\x12\x04", (1, 2, b"\x00\x12")),  # shorter than a header
        (b"\xff" * 16 + b"\x10\x01\x02", (1, 2, b"\x10\x01")),  # 4,097 octets, extended messages not agreed
        (b"\xff" * 16 + b"\x00\x14\x04", (1, 2, b"\x00\x14")),  # a KEEPALIVE with a body
        (b"\xff" * 16 + b"\x00\x16\x02", (1, 2, b"\x00\x16")),  # an UPDATE without its two lengths
        (b"\xff" * 16 + b"\x00\x13\x09", (1, 3, b"\x09")),  # type 9
    ],
)
def test_a_wrong_header_is_answered_by_its_subcode(said, answer):
    session = established()
    assert isinstance(session.receive(said, 0.0)[-1], Closed)
    assert notification(session.data_to_send()) == answer


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("03fde8000a0a00000900", (2, 1, b"\x00\x04")),  # version 3
        ("04fde9000a0a00000900", (2, 2, b"")),  # AS 65001
        ("04fde8000a0000000000", (2, 3, b"")),  # identifier 0.0.0.0
        ("04fde8000a0aff000100", (2, 3, b"")),  # our own identifier
        ("04fde8000a0a000009040102ffff", (2, 4, b"")),  # parameter 1
        ("04fde800020a00000900", (2, 6, b"")),  # hold time 2 s
        ("04fde8000a0a000009080206010440040047", (2, 7, b"")),  # BGP-LS only
        ("04fde8000a0a00000905", (2, 0, b"")),  # parameters promised, none there
        ("04fde8000a0a00000904020241ff", (2, 0, b"")),  # a capability longer than its parameter
        ("04fde8000a0a0000090402024000", (2, 0, b"")),  # graceful restart without its flags
    ],
)
def test_an_unacceptable_open_is_answered_by_its_subcode(body, answer):
    session = Session(ROUTER, 0.0)
    assert isinstance(session.receive(message(1, bytes.fromhex(body)), 0.0)[-1], Closed)
    assert notification(session.data_to_send()) == answer


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"\x00\x05\x00\x00", (3, 1, b"")),  # withdrawn routes longer than the message
        (b"\x00\x00\x00\x05", (3, 1, b"")),  # attributes longer than the message
        (update(USUAL + "4001"), (3, 1, b"")),  # half an attribute
        (update(USUAL + ORIGIN), (3, 1, b"")),  # ORIGIN twice
        (update(USUAL + "406300"), (3, 2, b"\x40\x63\x00")),  # well-known, unknown
        (update(AS_PATH + NEXT_HOP + LOCAL_PREF), (3, 3, b"\x01")),
        (update(ORIGIN + AS_PATH + LOCAL_PREF), (3, 3, b"\x03")),
        (update(ORIGIN + AS_PATH + NEXT_HOP), (3, 3, b"\x05")),  # iBGP: must be there
        (update("c0010100" + AS_PATH + NEXT_HOP + LOCAL_PREF), (3, 4, bytes.fromhex("c0010100"))),
        (update("4001020000" + AS_PATH + NEXT_HOP + LOCAL_PREF), (3, 5, bytes.fromhex("4001020000"))),
        (update("40010103" + AS_PATH + NEXT_HOP + LOCAL_PREF), (3, 6, bytes.fromhex("40010103"))),
        (update(ORIGIN + AS_PATH + "4003047f000001" + LOCAL_PREF), (3, 8, bytes.fromhex("4003047f000001"))),
        (update(ORIGIN + AS_PATH + "400304e0000001" + LOCAL_PREF), (3, 8, bytes.fromhex("400304e0000001"))),
        (update(ORIGIN + AS_PATH + "40030400000000" + LOCAL_PREF), (3, 8, bytes.fromhex("40030400000000"))),
        (update(USUAL + "c00803fde803"), (3, 9, bytes.fromhex("c00803fde803"))),  # three octets of community
        (update(USUAL, "21000000"), (3, 10, b"")),  # /33
        (update(USUAL, "180a05"), (3, 10, b"")),  # /24 in two octets
        (update(USUAL, withdrawn="200a"), (3, 10, b"")),
        (update(ORIGIN + "40020702010000fde800" + NEXT_HOP + LOCAL_PREF), (3, 11, b"")),  # an octet too many
        (update(ORIGIN + "4002020900" + NEXT_HOP + LOCAL_PREF), (3, 11, b"")),  # segment type 9
    ],
)
def test_a_malformed_update_is_answered_by_its_subcode(body, answer):
    session = established()
    assert isinstance(session.receive(message(2, body), 0.0)[-1], Closed)
    assert notification(session.data_to_send()) == answer


@pytest.mark.parametrize(
    ("said", "subcode"),
    [(KEEPALIVE, 1), (message(2, update(USUAL)), 1), (encode_open(DAEMON) + encode_open(DAEMON), 2)],
)
def test_what_does_not_fit_the_state_is_an_fsm_error(said, subcode):
    session = Session(ROUTER, 0.0)
    session.receive(said, 0.0)
    assert notification(session.data_to_send()) == (5, subcode, b"")


def test_a_second_open_in_an_established_session_is_an_fsm_error():
    session = established()
    session.receive(encode_open(DAEMON), 0.0)
    assert notification(session.data_to_send()) == (5, 3, b"")


def test_a_route_is_read_whole():
    communities = "c00808fde80384ffffff01"
    colours = "c01010030b000000000451030b000000000452"
    body = update(USUAL + communities + colours, PREFIX + "00" + "20c0000201", withdrawn="080a")
    (event,) = established().receive(message(2, body), 0.0)
    assert isinstance(event, Received)
    route = event.update
    assert [str(prefix) for prefix in route.announced] == ["10.5.0.0/18", "0.0.0.0/0", "192.0.2.1/32"]
    assert [str(prefix) for prefix in route.withdrawn] == ["10.0.0.0/8"]
    assert (route.attributes.next_hop, route.attributes.local_preference) == ("10.255.0.2", 1000)
    assert route.attributes.communities == (0xFDE80384, 0xFFFFFF01)
    assert route.attributes.colours == (1105, 1106)


def test_bits_after_the_prefix_length_are_irrelevant():
    (event,) = established().receive(message(2, update(USUAL, "120a05ff")), 0.0)
    assert [str(prefix) for prefix in event.update.announced] == ["10.5.192.0/18"]


@pytest.mark.parametrize(("body", "family"), [("00000000", IPV4_UNICAST), ("00000006800f03400447", LINK_STATE)])
def test_an_update_with_nothing_in_it_is_end_of_rib(body, family):
    (event,) = established().receive(message(2, bytes.fromhex(body)), 0.0)
    assert event.update.end_of_rib == {family}


def test_extended_messages_are_taken_when_both_sides_know_them():
    session = established(peer=Open(65000, 9, "10.0.0.9", extended=True))
    nlri = "20c0000201" * 1000
    (event,) = session.receive(message(2, update(USUAL, nlri)), 0.0)
    assert len(event.update.announced) == 1000


@pytest.mark.parametrize(
    "opening",
    [
        DAEMON,
        Open(4_200_000_000, 90, "10.0.0.9", frozenset({LINK_STATE, IPV4_UNICAST}), extended=True),
        Open(
            65000,
            3,
            "10.0.0.9",
            graceful=Graceful(4095, True, frozenset({IPV4_UNICAST}), frozenset({IPV4_UNICAST, LINK_STATE})),
        ),
    ],
)
def test_an_open_is_read_as_it_was_written(opening):
    assert decode_open(encode_open(opening)[19:]) == opening


def test_a_notification_ends_the_session_and_is_told_from_a_bare_close():
    session = established()
    assert session.receive(message(3, b"\x06\x02"), 0.0) == [
        Closed("notification received (6,2)", notified=True, peer=DAEMON)
    ]
    assert established().lost() == [Closed("connection closed", notified=False, peer=DAEMON)]
    assert Session(ROUTER, 0.0).lost() == [Closed("connection closed", notified=False, peer=None)]


def test_after_the_end_nothing_is_heard_and_nothing_said():
    session = established()
    session.stop(2)
    assert notification(session.data_to_send()) == (6, 2, b"")
    assert session.receive(KEEPALIVE, 0.0) == session.lost() == session.stop(2) == session.tick(1e9) == []
    session.send(KEEPALIVE, 0.0)
    assert session.data_to_send() == b""


@given(noise=st.binary(max_size=80), kind=st.sampled_from([1, 2, 3, 4]), before=st.booleans())
def test_random_bodies_never_escape(noise, kind, before):
    session = Session(ROUTER, 0.0) if before else established()
    session.receive(message(kind, noise), 0.0)


@given(attributes=st.binary(max_size=60), nlri=st.binary(max_size=10))
def test_random_attributes_never_escape(attributes, nlri):
    session = established()
    session.receive(message(2, update(attributes.hex(), nlri.hex())), 0.0)
