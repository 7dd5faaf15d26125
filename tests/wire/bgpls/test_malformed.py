"""Whatever bytes come, they are decoded or refused; nothing else, and in time that grows with their number only."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neto.errors import WireError
from neto.wire.bgpls import LsUpdate, decode_update
from tests.wire.bgpls.octets import (
    A_LINK,
    A_NODE,
    A_PREFIX,
    BGP,
    END_OF_RIB,
    LINK,
    NODE,
    OSPF,
    PREFIX_V6,
    REACH_FROM,
    ROUTER_1,
    body,
    ends,
    nlri,
    path_attribute,
    reach,
    tlv,
    unreach,
)

OF_A_NODE = (
    tlv(1024, "80") + tlv(1026, b"nyc1") + tlv(1027, "490001") + tlv(1028, "0aff0001") + tlv(266, "010a")
    + tlv(1034, "8000 001f40 0489 0003 003e80") + tlv(1035, "0001") + tlv(1036, "0000 0003e8 0489 0003 003a98")
)  # fmt: skip
OF_A_LINK = (
    tlv(1089, "4e6e6b28") + tlv(1091, "4e6e6b28" * 8) + tlv(1095, "00000a") + tlv(1096, "00000001")
    + tlv(1098, b"nyc1-lon1") + tlv(1099, "30000000005dc1") + tlv(1100, "300000000000 0000 0002 005dc1")
    + tlv(1114, "00006d1f") + tlv(1115, "00006d1f00006d2f") + tlv(1122, "0400 0000 40000000", tlv(1117, "00000001"))
)  # fmt: skip
VALID = (
    reach(A_NODE, told=OF_A_NODE),
    reach(A_LINK, told=OF_A_LINK),
    reach(A_PREFIX, told=tlv(1155, "0000000b") + tlv(1158, "4000000000000007") + tlv(1170, "20")),
    reach(
        nlri(LINK, BGP, ends(tlv(516, "0aff0001"), tlv(516, "c0000201")), tlv(260, "c6336402")),
        told=tlv(1101, "c0000000 0061a9") + tlv(1102, "c0000000 00000001"),
    ),
    reach(nlri(NODE, OSPF, tlv(256, tlv(514, "00000000") + tlv(515, "0aff0001 0a010201"))), extended=True),
    unreach(A_NODE, A_LINK, nlri(PREFIX_V6, 2, tlv(256, ROUTER_1), tlv(265, "30 20010db80001"))),
    END_OF_RIB,
)


def decode(message):
    """Return what a message says; None when it is refused."""
    try:
        update = decode_update(message)
    except WireError:
        return None
    assert isinstance(update, LsUpdate)
    hash(update.reached)  # everything in it is a value
    return update


@st.composite
def mutations(draw):
    """Valid messages with octets changed, inserted, dropped, and lengths that are then wrong or repaired."""
    message = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(message) - 1))
        match draw(st.sampled_from(["change", "near", "insert", "drop", "double"])):
            case "change":
                message[at] = draw(st.integers(0, 255))
            case "near":
                message[at] = (message[at] + draw(st.sampled_from([-1, 1]))) % 256
            case "insert":
                message[at:at] = draw(st.binary(max_size=4))
            case "drop" if len(message) > 8:
                del message[at : at + draw(st.integers(1, 4))]
            case _:
                message[at:at] = message[at : at + 8]
        if not message:
            message = bytearray(4)
    if draw(st.booleans()):
        message[2:4] = (len(message) - 4).to_bytes(2, "big")  # so that the mutation is found deeper inside
    return bytes(message)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
@example(b"")
def test_random_octets(message):
    decode(message)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.binary(max_size=120))
def test_random_octets_as_objects_and_as_what_is_said_of_them(nlris, told):
    decode(body(path_attribute(14, REACH_FROM + nlris), path_attribute(29, told)))
    assert decode(reach(A_NODE, A_LINK, A_PREFIX, told=told)) is not None  # that is never a reason to refuse


@settings(max_examples=600, deadline=None)
@given(mutations())
def test_mutations_of_what_speakers_send(message):
    decode(message)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1200), st.binary(max_size=24)), max_size=8), st.sampled_from([1, 2, 3, 6, 7]))
def test_any_value_of_any_tlv(told, protocol):
    """Of every kind of object, by every protocol: known types with values of every length."""
    router_id = tlv(515, "000000000001") if protocol < 3 else tlv(515, "0aff0001")
    attribute = b"".join(tlv(kind, value) for kind, value in told)
    known = b"".join(tlv(1024 + kind % 160, value) for kind, value in told)
    nodes = (nlri(NODE, protocol, tlv(256, router_id)), nlri(LINK, protocol, ends(router_id, router_id)))
    for octets in (attribute, known):
        update = decode(reach(*nodes, told=octets))
        assert update is not None
        assert not update.attribute_discarded


@pytest.mark.parametrize("message", VALID)
def test_every_cut_of_a_message_is_refused(message):
    for size in range(len(message)):
        with pytest.raises(WireError):
            decode_update(message[:size])


def test_an_attribute_is_read_once_however_many_objects_share_it():
    nodes = [nlri(NODE, 2, tlv(256, tlv(515, number.to_bytes(6, "big")))) for number in range(1, 500)]
    update = decode_update(reach(*nodes, told=OF_A_NODE + tlv(64000) * 1000))
    assert len(update.reached) == 499
    assert len({id(node.attributes) for node in update.reached}) == 1
    assert update.unknown_tlvs == {64000: 1000}
