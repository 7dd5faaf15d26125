"""The frame around the objects: attributes of UPDATE messages, families, End-of-RIB, what is discarded."""

from __future__ import annotations

import pytest

from neto.errors import WireError
from neto.wire.bgpls import LsLink, LsNode, LsPrefix, decode_update
from tests.wire.bgpls.octets import (
    A_LINK,
    A_NODE,
    A_PREFIX,
    END_OF_RIB,
    LINK_STATE,
    REACH_FROM,
    body,
    octets,
    path_attribute,
    reach,
    tlv,
    unreach,
)

IPV4_END_OF_RIB = octets("0000 0000")


def test_one_attribute_is_read_for_each_kind_of_object():
    update = decode_update(reach(A_NODE, A_LINK, A_PREFIX, told=tlv(1028, "0aff0001") + tlv(1155, "00000005")))
    node, link, prefix = update.reached
    assert isinstance(node, LsNode)
    assert node.attributes.router_ids == ("10.255.0.1",)
    assert isinstance(link, LsLink)
    assert link.attributes.local_router_ids == ("10.255.0.1",)
    assert isinstance(prefix, LsPrefix)
    assert (prefix.attributes.metric, prefix.attributes.unknown) == (5, ((1028, octets("0aff0001")),))


@pytest.mark.parametrize("extended", [False, True])
def test_lengths_of_one_and_of_two_octets(extended):
    (node,) = decode_update(reach(A_NODE, told=tlv(1026, b"nyc1"), extended=extended)).reached
    assert node.attributes.name == "nyc1"


def test_withdrawals():
    update = decode_update(unreach(A_NODE, A_LINK, A_PREFIX))
    told = decode_update(reach(A_NODE, A_LINK, A_PREFIX)).reached
    assert update.withdrawn == tuple(each.key for each in told)
    assert (update.reached, update.end_of_rib) == ((), False)


def test_a_message_that_tells_and_withdraws():
    both = body(path_attribute(14, REACH_FROM + A_NODE), path_attribute(15, LINK_STATE + A_LINK))
    update = decode_update(both)
    assert (len(update.reached), len(update.withdrawn)) == (1, 1)


@pytest.mark.parametrize("size", [4, 16, 32])
def test_next_hops_of_every_length(size):
    value = LINK_STATE + bytes([size]) + bytes(size) + b"\0" + A_NODE
    assert len(decode_update(body(path_attribute(14, value))).reached) == 1


@pytest.mark.parametrize(
    ("message", "is_end"),
    [
        (END_OF_RIB, True),
        (octets("0000 0007 90 0f 0003 4004 47"), True),
        (IPV4_END_OF_RIB, False),
        (unreach(A_NODE), False),
        (body(path_attribute(15, octets("4004 48"))), False),  # SAFI 72: BGP-LS VPN
        (body(path_attribute(15, octets("0002 01"))), False),  # IPv6
        (reach(A_NODE), False),
        (body(path_attribute(14, REACH_FROM + A_NODE), path_attribute(15, LINK_STATE)), False),
    ],
)
def test_the_end_of_rib_is_an_empty_withdrawal(message, is_end):
    """RFC 4724 §2."""
    assert decode_update(message).end_of_rib is is_end


def test_other_families_say_nothing_here():
    ipv6 = path_attribute(14, octets("0002 01 10") + bytes(16) + octets("00 20 20010db8"))
    update = decode_update(octets("0005 20 0a000001") + body(ipv6, path_attribute(29, b""))[2:] + octets("18 0a0000"))
    assert update == decode_update(IPV4_END_OF_RIB)


def test_an_attribute_that_cannot_be_taken_apart_is_discarded():
    """RFC 9552 §8.2.2: the object stands, and nothing is said of it."""
    update = decode_update(reach(A_NODE, told=tlv(1026, b"nyc1") + octets("0402 00ff 61")))
    assert update.attribute_discarded
    assert update.reached[0].attributes.name == ""


def test_of_an_attribute_told_twice_the_first_counts():
    first, second = (path_attribute(29, tlv(1026, name)) for name in (b"nyc1", b"lon1"))
    update = decode_update(body(path_attribute(14, REACH_FROM + A_NODE), first, second))
    assert update.reached[0].attributes.name == "nyc1"


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        octets("00"),
        octets("0000"),
        octets("0000 00"),
        octets("0000 0001"),
        octets("0004 0000"),
        octets("0000 0001 80"),
        octets("0000 0002 80 0e"),
        octets("0000 0003 80 0e 01"),
        octets("0000 0003 90 0e 00"),
        body(path_attribute(14, LINK_STATE)),  # no next hop
        body(path_attribute(14, LINK_STATE + octets("04 0a000001"))),  # no reserved octet
        body(path_attribute(14, LINK_STATE + octets("ff 0a000001 00"))),
        body(path_attribute(14, REACH_FROM + A_NODE), path_attribute(14, REACH_FROM + A_LINK)),
        body(path_attribute(15, LINK_STATE), path_attribute(15, LINK_STATE)),
        reach(A_NODE)[:-1],
    ],
)
def test_a_frame_that_does_not_fit_is_refused(wrong):
    with pytest.raises(WireError):
        decode_update(wrong)
