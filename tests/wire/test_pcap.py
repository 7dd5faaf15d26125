"""UDP payloads are found in captures of every kind that is met, and what is none is counted."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.wire.pcap import Capture, Datagram, is_capture

SRC4, DST4 = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
SRC6, DST6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01", b"\x20\x01\x0d\xb8" + bytes(11) + b"\x02"


def udp(payload=b"hello", length=None):
    return struct.pack("!HHHH", 40000, 9995, 8 + len(payload) if length is None else length, 0) + payload


def ipv4(body=None, protocol=17, fragment=0, options=b""):
    body = udp() if body is None else body
    head = 0x45 + len(options) // 4
    return (
        struct.pack("!BBHHHBBH", head, 0, 20 + len(options) + len(body), 1, fragment, 64, protocol, 0)
        + SRC4
        + DST4
        + options
        + body
    )


def ipv6(body=None, kind=17):
    body = udp() if body is None else body
    return struct.pack("!IHBB", 6 << 28, len(body), kind, 64) + SRC6 + DST6 + body


def ethernet(packet, *tags):
    kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    return bytes(12) + b"".join(struct.pack("!HH", tag, 5) for tag in tags) + struct.pack("!H", kind) + packet


def pcap(*frames, link=1, order="<", nanoseconds=False):
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    fraction = 250_000_000 if nanoseconds else 250_000
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for second, frame in enumerate(frames):
        data += struct.pack(order + "IIII", second, fraction, len(frame), len(frame)) + frame
    return data


def block(order, kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))


def pcapng(*frames, link=1, order="<", resolution=None):
    options = b"" if resolution is None else struct.pack(order + "HHB3xHH", 9, 1, resolution, 0, 0)
    ticks = 250_000 if resolution is None else 250_000_000
    data = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += block(order, 1, struct.pack(order + "HHI", link, 0, 65535) + options)
    for frame in frames:
        data += block(order, 6, struct.pack(order + "IIIII", 0, 0, ticks, len(frame), len(frame)) + frame)
    return data + block(order, 3, struct.pack(order + "I", len(frames[-1])) + frames[-1])


def read(data):
    assert is_capture(data)
    capture = Capture(data)
    return list(capture.datagrams()), capture


V4 = Datagram(0.25, "192.0.2.1", "192.0.2.2", 9995, b"hello")
V6 = Datagram(0.25, "2001:db8::1", "2001:db8::2", 9995, b"hello")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcap_is_read_in_either_byte_order_and_resolution(order, nanoseconds):
    found, capture = read(pcap(ethernet(ipv4()), ethernet(ipv6()), order=order, nanoseconds=nanoseconds))
    assert found == [V4, Datagram(1.25, V6.src, V6.dst, 9995, b"hello")]
    assert (capture.damage, sum(capture.skipped.values())) == ("", 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [None, 9])
def test_pcapng_is_read_in_either_byte_order_and_any_resolution(order, resolution):
    found, capture = read(pcapng(ethernet(ipv4()), ethernet(ipv6()), order=order, resolution=resolution))
    assert found == [V4, V6, Datagram(0.0, V6.src, V6.dst, 9995, b"hello")]
    assert capture.damage == ""


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, ethernet(ipv4())),
        (1, ethernet(ipv4()) + bytes(9)),  # padded to the shortest frame
        (1, ethernet(ipv4(), 0x8100)),
        (1, ethernet(ipv4(), 0x88A8, 0x8100)),
        (0, struct.pack("<I", 2) + ipv4()),
        (108, struct.pack(">I", 2) + ipv4()),
        (12, ipv4()),
        (101, ipv4(options=bytes(8))),
        (101, ipv4(udp() + b"more than UDP says")),
        (228, ipv4()),
        (113, bytes(14) + b"\x08\x00" + ipv4()),
        (276, b"\x08\x00" + bytes(18) + ipv4()),
    ],
)
def test_every_link_type_that_captures_of_exports_have_is_taken_off(link, frame):
    assert read(pcap(frame, link=link))[0] == [V4]


@pytest.mark.parametrize("link", [101, 229])
def test_ipv6_extension_headers_are_passed_over(link):
    hop_by_hop = bytes([60, 0]) + bytes(6)
    options = bytes([17, 1]) + bytes(14)
    assert read(pcap(ipv6(hop_by_hop + options + udp(), kind=0), link=link))[0] == [V6]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (ethernet(ipv4(protocol=6)), "not UDP"),
        (ethernet(ipv6(kind=6)), "not UDP"),
        (ethernet(ipv4(fragment=0x2000)), "fragment"),
        (ethernet(ipv4(fragment=100)), "fragment"),
        (ethernet(ipv6(bytes(8) + udp(), kind=44)), "fragment"),
        (ethernet(ipv4(udp(length=99))), "cut short"),
        (ethernet(ipv4(udp(length=7))), "cut short"),
        (ethernet(ipv4())[:-1], "cut short"),
        (ethernet(ipv4())[:20], "cut short"),
        (ethernet(ipv4())[:14], "cut short"),
        (bytes(12) + b"\x08\x06" + bytes(28), "not IP"),
        (b"", "not IP"),
    ],
)
def test_what_is_no_whole_datagram_is_counted_by_reason(frame, reason):
    found, capture = read(pcap(frame, ethernet(ipv4())))
    assert len(found) == 1
    assert capture.skipped == {reason: 1}


def test_an_unknown_link_type_is_counted():
    assert read(pcap(b"\0\0\0\0", link=147))[1].skipped == {"link type 147": 1}


@pytest.mark.parametrize("make", [pcap, pcapng])
def test_a_capture_that_breaks_off_gives_what_stands_before(make):
    data = make(ethernet(ipv4()), ethernet(ipv4()))
    found, capture = read(data[:-30])
    assert len(found) >= 1
    assert capture.damage


@pytest.mark.parametrize("start", [b"", b"\x00\x05", b"\x00\x09", b"\x00\x0a", b"\x0a\x0d\x0d\x0a\0\0\0\0what"])
def test_export_packets_are_no_captures(start):
    assert not is_capture(start + bytes(50))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([pcap, pcapng]), st.sampled_from([0, 1, 101, 113]), st.randoms(use_true_random=False))
def test_mutated_captures_are_read_to_an_end(make, link, chance):
    mutated = bytearray(make(ethernet(ipv4()), ethernet(ipv6(), 0x8100), link=link))
    for _ in range(chance.randrange(8)):
        mutated[chance.randrange(12, len(mutated))] = chance.randrange(256)
    del mutated[chance.randrange(24, len(mutated) + 1) :]
    list(Capture(bytes(mutated)).datagrams())
