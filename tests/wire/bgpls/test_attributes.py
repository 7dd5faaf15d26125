"""What is said of nodes, links and prefixes: each TLV, drawn as its RFC draws it, with its value written out."""

from __future__ import annotations

import pytest

from neto.wire.bgpls import (
    AdjacencySid,
    LabelRange,
    NodeAttributes,
    PeerSid,
    PeerSidKind,
    PrefixSid,
    decode_update,
)
from tests.wire.bgpls.octets import (
    A_LINK,
    A_NODE,
    A_PREFIX,
    BGP,
    LINK,
    OSPF,
    OSPF3,
    PREFIX_V4,
    ends,
    nlri,
    octets,
    reach,
    tlv,
)

GIGABYTE = "4e6e6b28"  # float32 1e9: 8000 Mbit/s
OSPF_1, OSPF_2 = tlv(515, "0aff0001"), tlv(515, "0aff0002")
OSPF_LINK = nlri(LINK, OSPF, ends(OSPF_1, OSPF_2))
OSPF3_LINK = nlri(LINK, OSPF3, ends(OSPF_1, OSPF_2))
OSPF_PREFIX = nlri(PREFIX_V4, OSPF, tlv(256, OSPF_1), tlv(265, "20 0aff0001"))
EPE_LINK = nlri(LINK, BGP, ends(tlv(516, "0aff0001"), tlv(516, "c0000201")), tlv(259, "c6336401"), tlv(260, "c6336402"))


def said(of, *told):
    """Return what TLVs say of an object."""
    update = decode_update(reach(of, told=b"".join(told)))
    assert not update.attribute_discarded
    return update.reached[0].attributes


def test_nothing_said():
    assert said(A_NODE) == NodeAttributes()


@pytest.mark.parametrize(
    ("told", "name", "value"),
    [
        (tlv(1024, "80"), "is_overloaded", True),  # RFC 9552 §5.3.1.1: O, T, E, B, R, V
        (tlv(1024, "7c"), "is_overloaded", False),
        (tlv(1026, b"nyc1"), "name", "nyc1"),
        (tlv(1026, "e5 4f 0a 00"), "name", r"\xe5O\n\x00"),  # nothing that would spoil a terminal
        (tlv(1027, "490001") + tlv(1027, "490002"), "areas", ("490001", "490002")),
        (tlv(1028, "0aff0001") + tlv(1028, "0aff0101"), "router_ids", ("10.255.0.1", "10.255.1.1")),
        (tlv(1029, "20010db8", "00" * 11, "01"), "router_ids_v6", ("2001:db8::1",)),
        (tlv(1034, "80 00  001f40 0489 0003 003e80"), "srgb", (LabelRange(16000, 8000),)),  # RFC 9085 §2.1.2
        (
            tlv(1034, "00 00  000064 0489 0003 003e80  0000c8 0489 0004 00004e20"),
            "srgb",
            (LabelRange(16000, 100), LabelRange(20000, 200)),
        ),
        (tlv(1034, "80 00  000001 0489 0003 f03e80"), "srgb", (LabelRange(16000, 1),)),
        (tlv(1034, "80 00  000001 0489 0003 0fffff"), "srgb", (LabelRange(2**20 - 1, 1),)),  # the last label
        (tlv(1035, "00 01 80"), "algorithms", (0, 1, 128)),  # RFC 9085 §2.1.3
        (tlv(1036, "00 00  0003e8 0489 0003 003a98"), "srlb", (LabelRange(15000, 1000),)),  # RFC 9085 §2.1.4
        (tlv(266, "01 0a 29 05"), "msd", ((1, 10), (41, 5))),  # RFC 8814 §3
        (tlv(263, "0000 0002"), "topologies", (0, 2)),
        (tlv(1025, "dead") + tlv(1039, "00"), "unknown", ((1025, b"\xde\xad"), (1039, b"\0"))),
    ],
)
def test_what_is_said_of_a_node(told, name, value):
    assert getattr(said(A_NODE, told), name) == value


@pytest.mark.parametrize(
    ("told", "name", "value"),
    [
        (tlv(1028, "0aff0001") + tlv(1029, "fc00", "00" * 13, "01"), "local_router_ids", ("10.255.0.1", "fc00::1")),
        (tlv(1030, "0aff0002") + tlv(1031, "fc00", "00" * 13, "02"), "remote_router_ids", ("10.255.0.2", "fc00::2")),
        (tlv(258, "00000172 000001bb"), "local_id", 370),
        (tlv(258, "00000172 000001bb"), "remote_id", 443),
        (tlv(1088, "80000001"), "admin_group", 0x80000001),
        (tlv(1173, "00000001 00000002"), "extended_admin_group", 1 | 2 << 32),  # RFC 9104 §2
        (tlv(1089, GIGABYTE), "max_mbps", 8000.0),
        (tlv(1089, "00000000"), "max_mbps", 0.0),
        (tlv(1090, GIGABYTE), "reservable_mbps", 8000.0),
        (tlv(1091, GIGABYTE * 7, "00000000"), "unreserved_mbps", (*[8000.0] * 7, 0.0)),
        (tlv(1092, "0000001e"), "te_metric", 30),
        (tlv(1092, "00001e"), "te_metric", 30),  # as IS-IS has it
        (tlv(1095, "ff"), "igp_metric", 63),  # RFC 9552 §5.3.2.4: six bits
        (tlv(1095, "0114"), "igp_metric", 276),
        (tlv(1095, "01 0000"), "igp_metric", 65536),
        (tlv(1096, "00000001 00011170"), "srlgs", (1, 70000)),
        (tlv(1096, "00000001") + tlv(1096, "00000002"), "srlgs", (1, 2)),
        (tlv(1098, b"nyc1-lon1"), "name", "nyc1-lon1"),
        (tlv(267, "01 06"), "msd", ((1, 6),)),  # RFC 8814 §4
        (tlv(1114, "80 006d1f"), "delay_us", 27935),  # RFC 8571 §2.1: A set
        (tlv(1115, "80 006d1f ff 006d2f"), "min_delay_us", 27935),  # RFC 8571 §2.2
        (tlv(1115, "80 006d1f ff 006d2f"), "max_delay_us", 27951),
        (tlv(1116, "ff 000010"), "delay_variation_us", 16),  # RFC 8571 §2.3
        (tlv(1117, "80 051615"), "loss", pytest.approx(0.00999999)),  # RFC 8571 §2.4: about 1 %
        (tlv(1118, GIGABYTE), "residual_mbps", 8000.0),  # RFC 8571 §2.5
        (tlv(1119, GIGABYTE), "available_mbps", 8000.0),  # RFC 8571 §2.6
        (tlv(1120, GIGABYTE), "utilised_mbps", 8000.0),  # RFC 8571 §2.7
        (tlv(1089, GIGABYTE) + tlv(1089, "00000000"), "max_mbps", 8000.0),  # the first counts
        (tlv(1172, "00000001"), "unknown", ((1172, b"\0\0\0\1"),)),
    ],
)
def test_what_is_said_of_a_link(told, name, value):
    assert getattr(said(A_LINK, told), name) == value


def test_several_adjacency_sids_are_all_kept():
    """RFC 9085 §2.2.1; flags F, B, V, L, S, P of RFC 8667 §2.2.1."""
    protected = tlv(1099, "70 05 0000 005dc1")  # B, V, L
    plain = tlv(1099, "30 00 0000 f05dc2")  # V, L; the upper four bits are no part of a label
    ipv6_set = tlv(1099, "b8 00 0000 005dc3")  # F, V, L, S
    index = tlv(1099, "00 00 0000 00000007")
    assert said(A_LINK, protected, plain, ipv6_set, index).adjacency_sids == (
        AdjacencySid(24001, True, True, True, False, False, 5, 0x70),
        AdjacencySid(24002, True, True, False, False, False, 0, 0x30),
        AdjacencySid(24003, True, True, False, True, True, 0, 0xB8),
        AdjacencySid(7, False, False, False, False, False, 0, 0),
    )


@pytest.mark.parametrize(("link", "is_ipv6"), [(OSPF_LINK, False), (OSPF3_LINK, True)])
def test_ospf_draws_other_flags(link, is_ipv6):
    """B, V, L, G, P: RFC 8665 §6.1, RFC 8666 §7.1."""
    (one, group) = said(link, tlv(1099, "e0 00 0000 005dc1"), tlv(1099, "70 00 0000 005dc2")).adjacency_sids
    assert one == AdjacencySid(24001, True, True, True, False, is_ipv6, 0, 0xE0)
    assert group == AdjacencySid(24002, True, True, False, True, is_ipv6, 0, 0x70)


def test_lan_adjacency_sids_name_their_neighbour():
    """RFC 9085 §2.2.2: a system id of six octets, or a router id of four."""
    isis = said(A_LINK, tlv(1100, "30 00 0000 0000 0000 0002 005dc1"), tlv(1100, "30 00 0000 0000 0000 0003 005dc2"))
    assert [(sid.neighbour.hex(), sid.value) for sid in isis.adjacency_sids] == [
        ("000000000002", 24001),
        ("000000000003", 24002),
    ]
    (ospf,) = said(OSPF_LINK, tlv(1100, "60 00 0000 0aff0002 005dc1")).adjacency_sids
    assert (ospf.neighbour, ospf.value, ospf.is_label) == (octets("0aff0002"), 24001, True)


def test_peer_sids():
    """RFC 9086 §5: flags V, L, B, P."""
    told = (
        tlv(1101, "c0 00 0000 0061a9"),
        tlv(1102, "c0 07 0000 0061aa"),
        tlv(1103, "00 00 0000 00000005"),
    )
    assert said(EPE_LINK, *told).peer_sids == (
        PeerSid(PeerSidKind.NODE, 25001, True, True, 0, 0xC0),
        PeerSid(PeerSidKind.ADJACENCY, 25002, True, True, 7, 0xC0),
        PeerSid(PeerSidKind.SET, 5, False, False, 0, 0),
    )


@pytest.mark.parametrize(
    ("prefix", "wire", "sid"),
    [
        (A_PREFIX, "40 00 0000 00000007", PrefixSid(7, False, False, True, 0, 0x40)),  # N
        (A_PREFIX, "a0 80 0000 00000007", PrefixSid(7, False, False, False, 128, 0xA0)),  # R, P; flex-algo 128
        (A_PREFIX, "4c 00 0000 003e87", PrefixSid(16007, True, True, True, 0, 0x4C)),  # N, V, L
        (A_PREFIX, "48 00 0000 003e87", PrefixSid(16007, True, False, True, 0, 0x48)),  # N, V
        (A_PREFIX, "48 00 0000 00003e87", PrefixSid(16007, True, False, True, 0, 0x48)),  # in four octets
        (OSPF_PREFIX, "40 00 0000 00000007", PrefixSid(7, False, False, None, 0, 0x40)),  # NP
    ],
)
def test_prefix_sids(prefix, wire, sid):
    """RFC 9085 §2.3.1, flags of RFC 8667 §2.1.1 and RFC 8665 §5."""
    assert said(prefix, tlv(1158, wire)).sids == (sid,)


@pytest.mark.parametrize(
    ("told", "name", "value"),
    [
        (tlv(1152, "40"), "igp_flags", 0x40),
        (tlv(1155, "0000000b"), "metric", 11),
        (tlv(1170, "20"), "attribute_flags", 0x20),
        (tlv(1170, "40 000000"), "attribute_flags", 0x40),
        (tlv(1171, "0aff0001"), "source_router_id", "10.255.0.1"),
        (tlv(1171, "fc00", "00" * 13, "01"), "source_router_id", "fc00::1"),
        (tlv(1174, "0aff0001"), "source_router_id", "10.255.0.1"),
        (tlv(1153, "00000001"), "unknown", ((1153, b"\0\0\0\1"),)),
    ],
)
def test_what_is_said_of_a_prefix(told, name, value):
    assert getattr(said(A_PREFIX, told), name) == value


ANY, RSVP_TE, SR_POLICY = "00 00 0000", "04 00 0000 80000000", "04 00 0000 40000000"


@pytest.mark.parametrize(
    ("told", "delay_us"),
    [
        ([tlv(1122, ANY, tlv(1114, "00000002"))], 2),
        ([tlv(1122, SR_POLICY, tlv(1114, "00000003"))], 3),
        ([tlv(1122, "08 04 0000 c000000000000000 00000000", tlv(1114, "00000003"))], 3),
        ([tlv(1122, RSVP_TE, tlv(1114, "00000004"))], None),
        ([tlv(1122, "00 04 0000 40000000", tlv(1114, "00000004"))], None),  # of the user's own applications only
        ([tlv(1114, "00000001"), tlv(1122, ANY, tlv(1114, "00000002"))], 2),
        (
            [
                tlv(1114, "00000001"),
                tlv(1122, SR_POLICY, tlv(1114, "00000003")),
                tlv(1122, ANY, tlv(1114, "00000002")),
            ],
            3,
        ),
        ([tlv(1114, "00000001"), tlv(1122, SR_POLICY, tlv(1092, "00000009"))], 1),
    ],
)
def test_what_is_said_for_sr_policies_wins(told, delay_us):
    """RFC 9294 §2; the bits of applications: RFC 9479 §4.1."""
    assert said(A_LINK, *told).delay_us == delay_us


def test_srlgs_told_for_an_application_stand_instead_of_the_plain_ones():
    assert said(A_LINK, tlv(1096, "00000001"), tlv(1122, ANY, tlv(1096, "00000002"))).srlgs == (2,)


@pytest.mark.parametrize(
    ("of", "wrong"),
    [
        (A_NODE, tlv(1024)),
        (A_NODE, tlv(1028, "0aff00")),
        (A_NODE, tlv(1029, "0aff0001")),
        (A_NODE, tlv(1034, "80 00")),  # no range
        (A_NODE, tlv(1034, "80 00  000000 0489 0003 003e80")),  # of no label
        (A_NODE, tlv(1034, "80 00  000002 0489 0003 0fffff")),  # beyond the last label
        (A_NODE, tlv(1034, "80 00  001f40 0489 0004 ffffffff")),
        (A_NODE, tlv(1034, "80 00  001f40 0488 0003 003e80")),  # not a SID/Label TLV
        (A_NODE, tlv(1034, "80 00  001f40 0489 0003 003e")),  # cut off
        (A_NODE, tlv(1034, "80 00  001f40 0489 0002 003e")),
        (A_NODE, tlv(266, "01")),
        (A_LINK, tlv(1089, "7fc00000")),  # NaN
        (A_LINK, tlv(1089, "7f800000")),  # infinite
        (A_LINK, tlv(1089, "ce6e6b28")),  # negative
        (A_LINK, tlv(1089, "4e6e6b")),
        (A_LINK, tlv(1091, GIGABYTE)),
        (A_LINK, tlv(1091, GIGABYTE * 7, "7fc00000")),
        (A_LINK, tlv(1095)),
        (A_LINK, tlv(1095, "00000001")),
        (A_LINK, tlv(1096, "000001")),
        (A_LINK, tlv(1099)),
        (A_LINK, tlv(1099, "30 00 00")),
        (A_LINK, tlv(1099, "30 00 0000")),
        (A_LINK, tlv(1099, "30 00 0000 00100000")),  # no label is so large
        (A_LINK, tlv(1100, "30 00 0000 0000 0000 0002")),
        (A_LINK, tlv(1114, "000001")),
        (A_LINK, tlv(1115, "00000001")),
        (A_LINK, tlv(1122)),
        (A_LINK, tlv(1122, "04 00 0000 40")),
        (A_LINK, tlv(1122, ANY, "0001")),
        (A_PREFIX, tlv(1158, "40 00 0000")),
        (A_PREFIX, tlv(1170)),
        (EPE_LINK, tlv(1101, "c0 00 0000 00")),
    ],
)
def test_a_tlv_that_cannot_be_read_is_left_out_and_counted(of, wrong):
    """The rest of what is said stands."""
    update = decode_update(reach(of, told=wrong + tlv(64000)))
    assert sum(update.malformed_tlvs.values()) == 1
    assert update.reached[0].attributes == said(of, tlv(64000))
