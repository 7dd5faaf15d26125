"""Records that hold the first octets of a packet are flows of one packet (PSAMP, RFC 5476; elements of RFC 5477)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.wire.netflow import Decoder
from tests.wire.netflow.frames import DST4, DST6, LABELS, SRC4, SRC6, VLAN, ethernet, ipv4, ipv6
from tests.wire.netflow.packets import a_set, ipfix, template, v9, whole

FRAME, IP, LAYER_2, SIZE = 315, 313, 104, 312
VARIABLE = 65535
QINQ = b"\x88\xa8\0\x09" + VLAN


def varying(octets):
    """A value of variable length (RFC 7011 §7)."""
    return (bytes([len(octets)]) if len(octets) < 255 else b"\xff" + len(octets).to_bytes(2, "big")) + octets


def read(body, *fields, version=10):
    """The flows of one set of records of a template with these fields."""
    decoder = Decoder()
    sets = a_set(0 if version == 9 else 2, template(300, *fields)), a_set(300, body)
    decoded = decoder.decode((v9 if version == 9 else ipfix)(*sets), "192.0.2.1", 1_000.0)
    return decoded, [row for flows in decoded.flows for row in rows(flows)]


def rows(flows):
    v4 = (flows.src4, flows.dst4), (flows.src6, flows.dst6)
    for row, (family, octets, packets, tos) in enumerate(
        zip(*(each.tolist() for each in (flows.family, flows.octets, flows.packets, flows.tos)), strict=True)
    ):
        src, dst = (v4[family == 6][end][row] for end in (0, 1))
        told = (src, dst) if family == 6 else (int(src).to_bytes(4, "big"), int(dst).to_bytes(4, "big"))
        yield (*told, octets, packets, tos)


NOWHERE = bytes(4), bytes(4)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (ethernet(0x0800, ipv4()), (SRC4, DST4, 1400, 1, 184)),
        (ethernet(0x0800, ipv4(), VLAN), (SRC4, DST4, 1400, 1, 184)),
        (ethernet(0x0800, ipv4(), QINQ), (SRC4, DST4, 1400, 1, 184)),
        (ethernet(0x8847, LABELS + ipv4()), (SRC4, DST4, 1400, 1, 184)),
        (ethernet(0x86DD, ipv6()), (SRC6, DST6, 1040, 1, 72)),
        (ethernet(0x0800, ipv4(total=0)), (SRC4, DST4, 1504, 1, 184)),  # the frame's, less its own header
        (ethernet(0x0806, bytes(28)), (*NOWHERE, 1518, 1, 0)),  # not IP
        (ethernet(0x0800, ipv4())[:33], (*NOWHERE, 1518, 1, 0)),  # cut off within the header
        (ethernet(0x8847, LABELS + bytes(20)), (*NOWHERE, 1518, 1, 0)),  # a frame in MPLS
        (b"", (*NOWHERE, 1518, 1, 0)),
        (bytes(300), (*NOWHERE, 1518, 1, 0)),
    ],
)
def test_a_frame_says_where_it_goes(section, expected):
    decoded, flows = read(whole((7, 4), (1518, 2), varying(section)), (10, 4), (SIZE, 2), (FRAME, VARIABLE))
    assert (decoded.problems, flows) == ((), [expected])
    assert decoded.flows[0].in_if.tolist() == [7]


def test_sections_of_fixed_length_and_of_version_9():
    frame = ethernet(0x0800, ipv4()).ljust(64, b"\0")
    other = ethernet(0x86DD, ipv6()).ljust(64, b"\0")
    expected = [(SRC4, DST4, 1400, 1, 184), (SRC6, DST6, 1040, 1, 72)]
    for version, element in ((10, FRAME), (10, LAYER_2), (9, LAYER_2)):
        assert read(frame + other, (element, 64), version=version)[1] == expected
    for packet, flow in zip((ipv4(), ipv6()), expected, strict=True):
        assert read(varying(packet), (IP, VARIABLE))[1] == [flow]
    assert read(varying(ipv4(total=0)), (IP, VARIABLE))[1] == [(SRC4, DST4, len(ipv4()), 1, 184)]
    assert read(varying(b"\x00" * 40), (IP, VARIABLE))[1] == [(*NOWHERE, 40, 1, 0)]


def test_what_a_record_says_itself_counts_before_what_its_section_says():
    frame = varying(ethernet(0x0800, ipv4()))
    _, flows = read(whole((9000, 4), (6, 4), (8, 1), frame), (1, 4), (2, 4), (5, 1), (FRAME, VARIABLE))
    assert flows == [(SRC4, DST4, 9000, 6, 8)]
    decoded, _ = read(whole((6, 4), (5, 4), (77, 4), frame), (8, 4), (12, 4), (1, 4), (FRAME, VARIABLE))
    assert (decoded.flows[0].dst4.tolist(), decoded.flows[0].octets.tolist()) == ([5], [77])
    assert decoded.flows[0].packets.tolist() == [0]  # not told


def test_a_section_that_runs_over_its_set_costs_that_record_alone():
    good = whole((1518, 2), varying(ethernet(0x0800, ipv4())))
    decoded, flows = read(good + whole((1518, 2), b"\xff\x10\0", bytes(20)), (SIZE, 2), (FRAME, VARIABLE))
    assert flows == [(SRC4, DST4, 1400, 1, 184)]
    assert ["over the end of its set" in str(problem) for problem in decoded.problems] == [True]


def test_sampling_is_announced_for_them_as_for_others():
    decoded, _ = read(whole((1000, 4), varying(ethernet(0x0800, ipv4()))), (34, 4), (FRAME, VARIABLE))
    assert decoded.flows[0].sampling.tolist() == [1000]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_sections_are_read_or_refused(data):
    kinds = [ethernet(0x8847, LABELS + ipv4()), ethernet(0x86DD, ipv6(), QINQ), ipv4(), ipv6(), b""]
    damaged = bytearray(data.draw(st.sampled_from(kinds)))
    for _ in range(data.draw(st.integers(0, 4)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.sampled_from([0, 1, 4, 69, 127, 255]))
    section = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    element = data.draw(st.sampled_from([FRAME, IP, LAYER_2]))
    decoded, flows = read(varying(section) * 3, (element, VARIABLE))
    assert (decoded.problems, len(flows)) == ((), 3)
