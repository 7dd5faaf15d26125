"""sFlow datagrams written octet by octet; tshark reads the same ones where it is there."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.wire.netflow import Decoder
from neto.wire.netflow.templates import SFLOW
from tests.wire.netflow.frames import DST4, DST6, LABELS, SRC4, SRC6, VLAN, ethernet, ipv4, ipv6


def opaque(form, content):
    return struct.pack("!II", form, len(content)) + content + bytes(-len(content) % 4)


def raw(header, protocol=1, frame=1518, stripped=4):
    return opaque(1, struct.pack("!IIII", protocol, frame, stripped, len(header)) + header + bytes(-len(header) % 4))


def sample(*records, rate=1000, source=7, entering=7, leaving=9):
    body = struct.pack("!IIIIIIII", 1, source, rate, 5000, 0, entering, leaving, len(records)) + b"".join(records)
    return opaque(1, body)


def expanded(*records, rate=1000, source=7, entering=(0, 7), leaving=(0, 9), kind=0):
    told = (1, kind, source, rate, 5000, 0, *entering, *leaving, len(records))
    return opaque(3, struct.pack("!11I", *told) + b"".join(records))


def datagram(*samples, sequence=1, agent=SRC4, count=None, sub_agent=3):
    kind = 1 if len(agent) == 4 else 2
    told = (sub_agent, sequence, 100_000, len(samples) if count is None else count)
    return struct.pack("!II", 5, kind) + agent + struct.pack("!IIII", *told) + b"".join(samples)


def read(*packets):
    decoder = Decoder()
    decoded = [decoder.decode(packet, "192.0.2.1", 50.0) for packet in packets]
    return [flows for each in decoded for flows in each.flows], [p for each in decoded for p in each.problems], decoder


@pytest.mark.parametrize(
    "record",
    [
        raw(ethernet(0x0800, ipv4())),
        raw(ethernet(0x0800, ipv4(), VLAN)),
        raw(ethernet(0x0800, ipv4(), struct.pack("!HH", 0x88A8, 9) + VLAN)),
        raw(ethernet(0x8847, LABELS + ipv4())),
        raw(ipv4(), protocol=11, stripped=0),
        raw(ethernet(0x0800, ipv4(total=0)), frame=1418),  # a network card cuts the segment later
        opaque(1 << 12 | 1, bytes(20)) + opaque(3, struct.pack("!II4s4sIIII", 1400, 17, SRC4, DST4, 1, 2, 0, 184)),
    ],
)
@pytest.mark.parametrize("made", [sample, expanded])
def test_a_sampled_ipv4_packet_is_a_flow_of_one_packet(record, made):
    records = (record,) if not record.startswith(struct.pack("!I", 1 << 12 | 1)) else (record[:28], record[28:])
    (flows,), problems, decoder = read(datagram(made(*records)))
    assert not problems
    assert (flows.version, flows.domain, flows.exporter) == (SFLOW, 3, "192.0.2.1")
    assert [flows.family.tolist(), flows.octets.tolist(), flows.packets.tolist()] == [[4], [1400], [1]]
    assert flows.src4.tolist() == [int.from_bytes(SRC4, "big")]
    assert flows.dst4.tolist() == [int.from_bytes(DST4, "big")]
    assert [flows.tos.tolist(), flows.in_if.tolist(), flows.out_if.tolist()] == [[184], [7], [9]]
    assert flows.sampling.tolist() == [1000]
    assert flows.sampling_told.all()
    assert not flows.egress.any()
    assert decoder.counters.records == 1


@pytest.mark.parametrize(
    "record",
    [
        raw(ethernet(0x86DD, ipv6())),
        raw(ipv6(), protocol=12),
        opaque(4, struct.pack("!II16s16sIIII", 1040, 17, SRC6, DST6, 1, 2, 0, 72)),
    ],
)
def test_a_sampled_ipv6_packet_is_a_flow_of_one_packet(record):
    (flows,), _, _ = read(datagram(sample(record), agent=SRC6))
    assert [flows.family.tolist(), flows.octets.tolist(), flows.tos.tolist()] == [[6], [1040], [72]]
    assert (bytes(flows.src6[0]), bytes(flows.dst6[0])) == (SRC6, DST6)


def test_a_sampling_rate_of_0_does_not_make_octets_none():
    (flows,), _, _ = read(datagram(sample(raw(ethernet(0x0800, ipv4())), rate=0)))
    assert [flows.sampling.tolist(), flows.sampling_told.tolist()] == [[1], [False]]


def test_what_is_sampled_where_it_leaves_is_told_as_such():
    packet = raw(ethernet(0x0800, ipv4()))
    (flows,), _, _ = read(datagram(sample(packet, source=9), sample(packet, source=7), expanded(packet, source=9)))
    assert flows.egress.tolist() == [True, False, True]


@pytest.mark.parametrize("made", [sample, lambda *records, source: expanded(*records, source=source & 255, kind=1)])
def test_what_is_sampled_in_a_vlan_is_not_taken_for_what_leaves_by_an_interface_of_its_number(made):
    packet = raw(ethernet(0x0800, ipv4()))
    (flows,), _, _ = read(datagram(made(packet, source=1 << 24 | 9)))
    assert [flows.out_if.tolist(), flows.egress.tolist()] == [[9], [False]]


def test_what_leaves_where_it_entered_or_nobody_knows_where_is_not_told_as_leaving():
    packet = raw(ethernet(0x0800, ipv4()))
    back, nowhere = {"source": 7, "entering": 7, "leaving": 7}, {"source": 0, "leaving": 0}
    (flows,), _, _ = read(datagram(sample(packet, **back), sample(packet, **nowhere)))
    assert flows.egress.tolist() == [False, False]


def test_a_damaged_sample_costs_no_other():
    packet = raw(ethernet(0x0800, ipv4()))
    damaged = sample(struct.pack("!II", 1, 2**32 - 1)), expanded(packet)[:4] + struct.pack("!I", 4) + bytes(4)
    (flows,), problems, decoder = read(datagram(sample(packet), *damaged, expanded(packet, rate=9)))
    assert flows.sampling.tolist() == [1000, 9]
    assert [str(each) for each in problems] == ["sFlow structure at octet 32 says 4294967295 octets; 0 are left"]
    assert decoder.counters.errors == 1


@pytest.mark.parametrize(
    "packet",
    [
        datagram(opaque(2, bytes(4)), count=2**32 - 1),
        datagram(opaque(1, struct.pack("!8I", 1, 7, 9, 9, 0, 7, 9, 2**32 - 1) + opaque(1001, b""))),
        datagram(struct.pack("!II", 1, 2**32 - 1)),
    ],
)
def test_counts_and_lengths_that_lie_end_where_the_octets_end(packet):
    flows, problems, _ = read(packet)
    assert (flows, len(problems)) == ([], 1)


def test_interfaces_that_are_none_are_not_told():
    packet = raw(ethernet(0x0800, ipv4()))
    several = sample(packet, entering=7, leaving=2 << 30 | 3)
    (flows,), _, _ = read(datagram(several, expanded(packet, entering=(1, 256), leaving=(2, 3))))
    assert [flows.in_if.tolist(), flows.out_if.tolist()] == [[7, 0], [0, 0]]


def test_samples_of_other_kinds_are_counted_and_passed_over():
    others = (opaque(2, bytes(40)), sample(raw(ethernet(0x0806, bytes(28)))), sample(opaque(1001, bytes(16))))
    packet = sample(raw(ethernet(0x0800, ipv4())))
    (flows,), problems, decoder = read(datagram(*others, opaque(9 << 12 | 1, b"abc"), packet))
    assert (len(flows), problems, decoder.counters.other_samples) == (1, [], 4)


def test_lost_datagrams_are_counted():
    packet = sample(raw(ethernet(0x0800, ipv4())))
    *_, decoder = read(*(datagram(packet, sequence=number) for number in (1, 2, 6)))
    assert (decoder.counters.gaps, decoder.counters.lost_packets, decoder.counters.lost_flows) == (1, 3, 0)


def test_agents_behind_one_relay_are_numbered_by_themselves():
    packet = sample(raw(ethernet(0x0800, ipv4())))
    order = ((SRC4, 1), (DST4, 5_000), (SRC4, 2), (DST4, 5_001), (SRC6, 9), (DST4, 5_003))
    *_, decoder = read(*(datagram(packet, agent=agent, sequence=number) for agent, number in order))
    assert (decoder.counters.gaps, decoder.counters.lost_packets, decoder.counters.late_messages) == (1, 1, 0)


def test_an_agent_that_sends_for_itself_is_known_by_its_sub_agent():
    packet = datagram(sample(raw(ethernet(0x0800, ipv4()))), agent=ip_address("192.0.2.1").packed)
    *_, decoder = read(packet)
    ((_, state),) = decoder.exporters.items()
    assert list(state.sequences) == [(SFLOW, 3)]


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        (datagram(sample(raw(ethernet(0x0800, ipv4()))), count=2), "sFlow structure of 136 octets; expected 140"),
        (datagram(opaque(1, bytes(40))[:-8]), "sFlow structure at octet 28 says 40 octets; 32 are left"),
        (struct.pack("!II", 5, 3) + bytes(40), "sFlow agent address of type 3; expected 1 (IPv4) or 2 (IPv6)"),
        (b"\0\0\0\5\0", "sFlow structure of 5 octets; expected 8"),
    ],
)
def test_what_is_wrong_is_told_and_what_was_read_before_counts(packet, problem):
    flows, problems, decoder = read(packet)
    assert [str(each) for each in problems] == [problem]
    assert decoder.counters.errors == 1
    assert sum(map(len, flows)) == (1 if "136" in problem else 0)


GOOD = datagram(
    sample(raw(ethernet(0x8847, LABELS + ipv4())), opaque(1001, bytes(16))),
    expanded(raw(ethernet(0x86DD, ipv6(), VLAN))),
    opaque(2, bytes(60)),
    agent=SRC6,
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_damage_escapes(data):
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.sampled_from([0, 1, 4, 127, 128, 255]))
    packet = bytes(damaged[: data.draw(st.integers(4, len(damaged)))])
    flows, problems, decoder = read(packet)
    assert len(problems) == decoder.counters.errors <= 1
    assert sum(map(len, flows)) <= 3


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not there")
def test_tshark_reads_the_same(tmp_path):
    packets = [datagram(sample(raw(ethernet(0x0800, ipv4(total=64 + n), VLAN)), rate=n)) for n in (1, 128, 4096)] + [
        datagram(expanded(raw(ethernet(0x86DD, ipv6(payload=77))), rate=9))
    ]
    capture = tmp_path / "sflow.pcap"
    with capture.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        for packet in packets:
            udp = struct.pack("!HHHH", 40000, 6343, 8 + len(packet), 0) + packet
            frame = struct.pack("!BBHIBBH", 0x45, 0, 20 + len(udp), 0, 64, socket.IPPROTO_UDP, 0) + SRC4 + DST4 + udp
            file.write(struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame)
    for name in ("sflow", "sflow_245"):  # as versions call it
        told = (f"{name}.flow_sample.sampling_rate", "ip.len", "ipv6.plen", "ip.dst", "ipv6.dst")
        command = ["tshark", "-r", str(capture), "-T", "fields", *(word for name in told for word in ("-e", name))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.returncode:
            break
    assert not done.returncode, done.stderr
    lines = done.stdout.splitlines()
    for line, flows in zip(lines, read(*packets)[0], strict=True):
        rate, lengths, payload, to4, to6 = line.split("\t")
        assert flows.sampling.tolist() == [int(rate)]
        if payload:
            assert flows.octets.tolist() == [int(payload) + 40]
            assert bytes(flows.dst6[0]) == ip_address(to6).packed
        else:
            assert flows.octets.tolist() == [int(lengths.split(",")[-1])]
            assert flows.dst4.tolist() == [int(ip_address(to4.split(",")[-1]))]
