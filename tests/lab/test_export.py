"""The lab's exporters write what the formats say: checked by taking the octets apart with struct alone."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from neto.lab.export import Exporter, Flow
from neto.wire.netflow import Decoder

T0 = 1_800_000_000.0
FLOW = Flow(ip_address("10.0.0.1"), ip_address("10.1.0.1"), 150_000, 100, 184, 3, 4, T0 - 2, T0 - 1)
FLOW6 = Flow(ip_address("2001:db8::1"), ip_address("2001:db8::2"), 5_000, 5, 0, 1, 2, T0 - 2, T0 - 1)


def test_v5_packets_have_the_fixed_layout():
    (packet,) = Exporter("v5", 0x0102, sampling=100).packets([FLOW], T0)
    version, count, uptime, seconds, _, sequence, kind, engine, sampling = struct.unpack_from("!HHIIIIBBH", packet)
    assert (version, count, seconds, sequence, kind, engine) == (5, 1, T0, 0, 1, 2)
    assert (sampling >> 14, sampling & 0x3FFF) == (1, 100)
    assert len(packet) == 24 + 48
    fields = struct.unpack_from("!4s4s4sHHIIIIHHBBBB", packet, 24)
    assert fields[:2] == (bytes([10, 0, 0, 1]), bytes([10, 1, 0, 1]))
    assert fields[3:7] == (3, 4, 1, 1_500)
    assert (uptime - fields[7], uptime - fields[8]) == (2000, 1000)
    assert fields[14] == 184


def test_v5_packets_hold_thirty_records_at_most_and_count_flows():
    exporter = Exporter("v5")
    packets = exporter.packets([FLOW] * 65, T0) + exporter.packets([FLOW], T0)
    heads = [struct.unpack_from("!HH12xI", packet) for packet in packets]
    assert [(count, sequence) for _, count, sequence in heads] == [(30, 0), (30, 30), (5, 60), (1, 65)]


def test_a_flow_too_large_for_v5s_counters_leaves_in_parts():
    large = Flow(FLOW.src, FLOW.dst, 10_000_000_001, 7)
    (packet,) = Exporter("v5").packets([large], T0)
    parts = [struct.unpack_from("!II", packet, 24 + 48 * row + 16) for row in range(3)]
    assert len(packet) == 24 + 3 * 48
    assert (sum(packets for packets, _ in parts), sum(octets for _, octets in parts)) == (7, 10_000_000_001)


def test_ipv6_does_not_fit_v5_and_is_counted():
    exporter = Exporter("v5")
    assert exporter.packets([FLOW6], T0) == []
    assert exporter.left_out == 1


def sets_of(packet, header):
    at, sets = header, []
    while at < len(packet):
        number, length = struct.unpack_from("!HH", packet, at)
        assert length >= 4
        assert length % 4 == 0
        sets.append((number, packet[at + 4 : at + length]))
        at += length
    assert at == len(packet)
    return sets


@pytest.mark.parametrize(("form", "header", "numbers"), [("v9", 20, [0, 1, 256]), ("ipfix", 16, [2, 3, 256])])
def test_templates_and_options_go_first_and_again_in_time(form, header, numbers):
    exporter = Exporter(form, 7, template_every_s=20)
    first, *data = exporter.packets([FLOW], T0)
    assert [number for number, _ in sets_of(first, header)] == numbers
    assert len(data) == 1
    assert len(exporter.packets([FLOW], T0 + 19)) == 1
    assert len(exporter.packets([FLOW], T0 + 20)) == 2
    assert len(exporter.packets([FLOW], T0 + 21)) == 1


def test_v9_numbers_packets():
    exporter = Exporter("v9", 7)
    packets = exporter.packets([FLOW] * 100, T0) + exporter.packets([FLOW], T0 + 1)
    assert [struct.unpack_from("!HH8xII", packet)[2] for packet in packets] == list(range(len(packets)))
    assert {struct.unpack_from("!16xI", packet)[0] for packet in packets} == {7}


def test_ipfix_numbers_data_records_and_says_its_length():
    exporter = Exporter("ipfix", 7)
    packets = exporter.packets([FLOW] * 60, T0) + exporter.packets([FLOW], T0 + 1)
    sent = 0
    for packet in packets:
        version, length, _, sequence, domain = struct.unpack_from("!HHIII", packet)
        assert (version, length, sequence, domain) == (10, len(packet), sent, 7)
        for number, body in sets_of(packet, 16):
            if number == 256:
                sent += 1  # the options record
            elif number > 256:
                sent += len(body) // (8 + 26 + 16)
    assert sent == 62


@pytest.mark.parametrize("form", ["v5", "v9", "ipfix"])
def test_packets_fit_any_path(form):
    assert max(len(packet) for packet in Exporter(form).packets([FLOW, FLOW6] * 200, T0)) <= 1472


def test_sampling_divides_what_leaves_and_keeps_small_flows():
    small = Flow(FLOW.src, FLOW.dst, 40, 1)
    (packet,) = Exporter("v5", sampling=1000).packets([FLOW, small], T0)
    parts = [struct.unpack_from("!II", packet, 24 + 48 * row + 16) for row in range(2)]
    assert parts == [(1, 150), (1, 1)]
    with pytest.raises(ValueError, match="16383"):
        Exporter("v5", sampling=1 << 14)


@pytest.mark.parametrize("form", ["v9", "ipfix"])
def test_the_decoder_reads_back_every_field(form):
    """Two readings of the same texts, the encoder's and the decoder's, agree."""
    decoder = Decoder()
    batches = [
        flows
        for p in Exporter(form, 9, sampling=50).packets([FLOW, FLOW6], T0)
        for flows in decoder.decode(p, "a", 0).flows
    ]
    v4, v6 = batches
    assert (v4.octets[0], v4.packets[0], v4.tos[0], v4.in_if[0], v4.out_if[0]) == (3_000, 2, 184, 3, 4)
    assert (v4.src4[0], v4.dst4[0], v4.sampling[0]) == (0x0A000001, 0x0A010001, 50)
    assert (v4.start[0], v4.end[0], v4.domain) == (T0 - 2, T0 - 1, 9)
    assert (bytes(v6.src6[0]), bytes(v6.dst6[0])) == (FLOW6.src.packed, FLOW6.dst.packed)
    assert decoder.counters.errors == decoder.counters.gaps == 0
