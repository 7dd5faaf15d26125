"""Which node, link or prefix a message is about: each descriptor, drawn as the RFCs draw it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from neto.errors import WireError
from neto.wire.bgpls import LinkId, NodeId, PrefixId, Protocol, decode_update
from tests.wire.bgpls.octets import (
    A_LINK,
    A_NODE,
    A_PREFIX,
    BGP,
    DIRECT,
    ISIS_L1,
    ISIS_L2,
    LINK,
    NODE,
    OSPF,
    OSPF3,
    PREFIX_V4,
    PREFIX_V6,
    ROUTER_1,
    ROUTER_2,
    SYSTEM_1,
    ends,
    nlri,
    octets,
    reach,
    tlv,
)


def key(*nlris):
    """Return the id of the only object in an UPDATE."""
    (told,) = decode_update(reach(*nlris)).reached
    return told.key


ROUTER = NodeId(Protocol.ISIS_LEVEL_2, 0, octets("000000000001"), asn=65000)
OTHER = NodeId(Protocol.ISIS_LEVEL_2, 0, octets("000000000002"), asn=65000)


def test_a_whole_message_written_out():
    """RFC 4271 §4.3, RFC 4760 §3, RFC 9552 §5.2, with nothing left to helpers."""
    message = octets(
        "0000"  # no withdrawn routes
        "0035"  # path attributes
        "40 01 01 00"  # ORIGIN
        "80 0e 26"  # MP_REACH_NLRI
        "4004 47 04 0a000001 00"  # link state, next hop, reserved
        "0001 0019"  # node
        "02 0000000000000000"  # IS-IS level 2, instance 0
        "0100 000c 0200 0004 0000fde8"  # local node: AS 65000 ... cut off below
    )
    with pytest.raises(WireError):
        decode_update(message)
    whole = octets(
        "0000 0034"
        "40 01 01 00"
        "80 0e 24 4004 47 04 0a000001 00"
        "0001 0017 02 0000000000000000"
        "0100 000a 0203 0006 000000000001"
        "80 1d 06 0402 0002 7231"  # BGP-LS attribute: node name "r1"
    )
    (node,) = decode_update(whole).reached
    assert node.key == NodeId(Protocol.ISIS_LEVEL_2, 0, octets("000000000001"))
    assert node.attributes.name == "r1"


@pytest.mark.parametrize(
    ("number", "protocol"),
    [
        (1, Protocol.ISIS_LEVEL_1),
        (2, Protocol.ISIS_LEVEL_2),
        (3, Protocol.OSPFV2),
        (4, Protocol.DIRECT),
        (5, Protocol.STATIC),
        (6, Protocol.OSPFV3),
        (7, Protocol.BGP),
    ],
)
def test_every_protocol_is_known_by_its_number(number, protocol):
    router_id = SYSTEM_1 if number in {1, 2} else "0aff0001"
    assert key(nlri(NODE, number, tlv(256, tlv(515, router_id)))).protocol is protocol


def test_node_descriptors():
    node = key(
        nlri(
            NODE,
            OSPF,
            tlv(256, tlv(512, "0000fde8"), tlv(513, "00000007"), tlv(514, "00000001"), tlv(515, "0aff0001")),
            instance=0x0102030405060708,
        )
    )
    assert node == NodeId(Protocol.OSPFV2, 0x0102030405060708, octets("0aff0001"), asn=65000, bgp_ls_id=7, area=1)
    assert str(node) == "10.255.0.1"
    assert not node.is_pseudonode


@pytest.mark.parametrize(
    ("protocol", "router_id", "is_pseudonode", "router", "text"),
    [
        (ISIS_L1, "0000 0000 0001", False, "000000000001", "0000.0000.0001"),
        (ISIS_L2, "0000 0000 0001 02", True, "000000000001", "0000.0000.0001-02"),
        (OSPF, "0aff0001 0a010201", True, "0aff0001", "10.255.0.1-0a010201"),
        (OSPF3, "0aff0001 00000009", True, "0aff0001", "10.255.0.1-00000009"),
        (OSPF3, "0aff0001", False, "0aff0001", "10.255.0.1"),
    ],
)
def test_routers_are_told_from_lans(protocol, router_id, is_pseudonode, router, text):
    """RFC 9552 §5.2.1.4."""
    node = key(nlri(NODE, protocol, tlv(256, tlv(515, router_id))))
    assert (node.is_pseudonode, node.router, str(node)) == (is_pseudonode, octets(router), text)


def test_pseudonode_number_0_is_the_router_itself():
    assert key(nlri(NODE, ISIS_L2, tlv(256, tlv(515, SYSTEM_1 + "00")))).igp_router_id == octets("000000000001")


def test_a_bgp_router():
    """RFC 9086 §4.1."""
    node = key(nlri(NODE, BGP, tlv(256, tlv(512, "0000fde8"), tlv(516, "0aff0001"), tlv(517, "0000fbf0"))))
    assert node == NodeId(Protocol.BGP, 0, asn=65000, bgp_router_id="10.255.0.1", member_asn=64496)
    assert str(node) == "10.255.0.1"
    assert not node.is_pseudonode


def test_a_numbered_link():
    assert key(A_LINK) == LinkId(ROUTER, OTHER, local_addresses=("10.1.2.1",), remote_addresses=("10.1.2.2",))


def test_an_unnumbered_link():
    link = key(nlri(LINK, ISIS_L2, ends(ROUTER_1, ROUTER_2), tlv(258, "00000007 00000009")))
    assert link == LinkId(ROUTER, OTHER, local_id=7, remote_id=9)


def test_a_link_with_both_families_and_a_topology():
    link = key(
        nlri(
            LINK,
            ISIS_L2,
            ends(ROUTER_1, ROUTER_2),
            *(tlv(259, "0a010201"), tlv(260, "0a010202")),
            *(tlv(261, "20010db8", "00" * 11, "01"), tlv(262, "20010db8", "00" * 11, "02")),
            tlv(263, "8002"),  # reserved bits set
        )
    )
    assert link.local_addresses == ("10.1.2.1", "2001:db8::1")
    assert link.remote_addresses == ("10.1.2.2", "2001:db8::2")
    assert link.topologies == (2,)


@pytest.mark.parametrize(
    ("kind", "wire", "prefix"),
    [
        (PREFIX_V4, "20 0aff0001", "10.255.0.1/32"),
        (PREFIX_V4, "12 0a0540", "10.5.64.0/18"),
        (PREFIX_V4, "00", "0.0.0.0/0"),
        (PREFIX_V4, "09 0aff", "10.128.0.0/9"),  # bits beyond the length are no part of it
        (PREFIX_V6, "30 20010db80001", "2001:db8:1::/48"),
        (PREFIX_V6, "80 20010db8 00000000 00000000 00000001", "2001:db8::1/128"),
        (PREFIX_V6, "00", "::/0"),
    ],
)
def test_prefixes(kind, wire, prefix):
    """RFC 9552 §5.2.3.2."""
    assert key(nlri(kind, ISIS_L2, tlv(256, ROUTER_1), tlv(265, wire))) == PrefixId(ROUTER, ip_network(prefix))


def test_a_prefix_of_ospf_in_a_topology():
    prefix = key(
        nlri(PREFIX_V4, OSPF, tlv(256, tlv(515, "0aff0001")), tlv(263, "0000"), tlv(264, "01"), tlv(265, "080a"))
    )
    assert (prefix.topologies, prefix.ospf_route_type) == ((0,), 1)


def test_unknown_descriptors_are_kept_counted_and_tell_objects_apart():
    odd = nlri(LINK, ISIS_L2, ends(ROUTER_1 + tlv(999, "aa"), ROUTER_2), tlv(64000, "01 02"))
    update = decode_update(reach(odd, A_LINK))
    assert len({told.key for told in update.reached}) == 2
    link = update.reached[0].key
    assert (link.unknown, link.local.unknown) == (((64000, b"\1\2"),), ((999, b"\xaa"),))
    assert update.unknown_tlvs == {999: 1, 64000: 1}
    node = key(nlri(NODE, ISIS_L2, tlv(256, ROUTER_1), tlv(4000, "05")))
    assert node.unknown == ((4000, b"\5"),)


def test_descriptors_out_of_order_are_read_all_the_same():
    link = nlri(LINK, ISIS_L2, tlv(260, "0a010202"), tlv(257, ROUTER_2), tlv(259, "0a010201"), tlv(256, ROUTER_1))
    assert key(link) == key(A_LINK)


def test_unknown_types_and_protocols_are_kept_as_they_came():
    """RFC 9552 §5.1: type 6 is a SRv6 SID, 65535 is nobody's; protocol 9 is segment routing (RFC 9857)."""
    of_protocol_9 = nlri(NODE, 9, tlv(256, ROUTER_1))
    update = decode_update(reach(tlv(6, "07 00"), A_NODE, tlv(65535), of_protocol_9, A_PREFIX))
    assert [type(told.key) for told in update.reached] == [NodeId, PrefixId]
    assert update.unknown_nlris == ((6, b"\x07\0"), (65535, b""), (NODE, of_protocol_9[4:]))


@pytest.mark.parametrize(
    "wrong",
    [
        nlri(NODE, ISIS_L2),  # no node descriptors
        nlri(NODE, ISIS_L2, tlv(256)),  # empty ones
        nlri(NODE, ISIS_L2, tlv(256, tlv(512, "0000fde8"))),  # without router id
        nlri(NODE, ISIS_L2, tlv(256, tlv(516, "0aff0001"))),  # without that of the IGP
        nlri(NODE, ISIS_L2, tlv(256, tlv(515, "0aff0001"))),  # of another protocol
        nlri(NODE, ISIS_L2, tlv(256, tlv(515, SYSTEM_1, "0001"))),
        nlri(NODE, OSPF, tlv(256, tlv(515, SYSTEM_1))),
        nlri(NODE, ISIS_L2, tlv(256, ROUTER_1), tlv(256, ROUTER_1)),  # twice
        nlri(NODE, ISIS_L2, tlv(256, tlv(515, SYSTEM_1), tlv(515, SYSTEM_1))),
        nlri(NODE, ISIS_L2, tlv(256, tlv(512, "fde8"), tlv(515, SYSTEM_1))),  # AS of two octets
        nlri(LINK, ISIS_L2, tlv(256, ROUTER_1)),  # one end
        nlri(LINK, ISIS_L2, ends(ROUTER_1, ROUTER_2), tlv(258, "00000007")),
        nlri(LINK, ISIS_L2, ends(ROUTER_1, ROUTER_2), tlv(259, "0a0102")),
        nlri(LINK, ISIS_L2, ends(ROUTER_1, ROUTER_2), tlv(261, "0a010201")),
        nlri(LINK, ISIS_L2, ends(ROUTER_1, ROUTER_2), tlv(263, "00")),
        nlri(PREFIX_V4, ISIS_L2, tlv(256, ROUTER_1)),  # no prefix
        nlri(PREFIX_V4, ISIS_L2, tlv(256, ROUTER_1), tlv(265)),
        nlri(PREFIX_V4, ISIS_L2, tlv(256, ROUTER_1), tlv(265, "21 0aff000100")),  # /33
        nlri(PREFIX_V4, ISIS_L2, tlv(256, ROUTER_1), tlv(265, "18 0aff")),  # too short
        nlri(PREFIX_V4, ISIS_L2, tlv(256, ROUTER_1), tlv(265, "10 0aff00")),  # too long
        nlri(PREFIX_V6, ISIS_L2, tlv(256, ROUTER_1), tlv(265, "81" + "00" * 17)),
        tlv(NODE, "02 00000000"),  # instance cut off
        tlv(NODE),
        A_NODE[:-1],
        A_NODE + b"\0",
        octets("0001 ffff 02"),
    ],
)
def test_what_no_speaker_sends_is_refused(wrong):
    with pytest.raises(WireError):
        decode_update(reach(wrong))


def test_direct_routers_have_ids_of_any_length():
    assert str(key(nlri(NODE, DIRECT, tlv(256, tlv(515, "0aff0001"))))) == "10.255.0.1"
