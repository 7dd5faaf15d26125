"""sFlow version 5 (sflow.org, "sFlow Version 5", 2004): sampled packets as flow records of one packet each.

A flow sample holds the first octets of a packet, or what an agent read of it, and says of how many packets it is one.
Octets are the IP packet's, as NetFlow counts them. Counter samples and records of other kinds are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from neto.errors import WireError
from neto.wire.netflow.frames import IPV4, IPV6, Packet, in_ethernet, in_ip
from neto.wire.netflow.templates import fixed

HEADER = b"\0\0\0\5"  # what a datagram begins with

LAYOUT = fixed(
    (8, 4),  # source and destination
    (12, 4),
    (27, 16),
    (28, 16),
    (1, 8),  # octets and packets
    (2, 4),
    (5, 1),  # TOS
    (10, 4),  # interfaces
    (14, 4),
    (61, 1),  # direction
    (34, 4),  # sampling interval
)
_ROW = struct.Struct("!4s4s16s16sQIBIIBI")
_NOWHERE4, _NOWHERE6 = bytes(4), bytes(16)

_AGENTS = {1: 4, 2: 16}  # octets of an address, by its type
FLOW_SAMPLE, EXPANDED_FLOW_SAMPLE = 1, 3  # of enterprise 0
RAW_HEADER, SAMPLED_IPV4, SAMPLED_IPV6 = 1, 3, 4  # likewise
ETHERNET, BARE_IPV4, BARE_IPV6 = 1, 11, 12  # header protocols
INTERFACE = (1 << 30) - 1  # the bits of a compact interface; the two above say whether it is one
INTERFACE_SOURCE = 0  # type of a data source; others are VLANs and parts of a chassis


Numbered = tuple[int, int, int, int]  # of a sample: kind and number of its source, its own number, and drops so far


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram. rows: of LAYOUT, one for each sampled IP packet. others: samples of other packets or kinds.

    numbered: every flow sample whose head could be read.
    """

    agent: bytes  # address, 4 or 16 octets
    sub_agent: int
    sequence: int
    rows: bytes
    others: int
    numbered: list[Numbered]
    problem: WireError | None  # the first thing in it that makes no sense


def parse(datagram: memoryview) -> Datagram:
    """Read a datagram that begins with HEADER.

    Raises WireError when its header cannot be read. What is wrong after that is told beside what could be read: a
    sample that is damaged within its length costs no other.
    """
    agent, sub_agent = agent_of(datagram)
    at = 8 + len(agent)
    sequence, samples = _u32(datagram, at + 4), _u32(datagram, at + 12)
    at += 16
    rows, others, problem = bytearray(), 0, None
    numbered: list[Numbered] = []
    try:
        for _ in range(samples):  # however many it says, each takes octets that must be there
            form, body = _framed(datagram, at)
            at += 8 + _padded(len(body))
            try:
                row = _sample(form, body, numbered)
            except WireError as error:
                problem = problem or error
                continue
            rows += row
            others += not row
    except WireError as error:  # where the next sample begins is not known
        problem = problem or error
    return Datagram(agent, sub_agent, sequence, bytes(rows), others, numbered, problem)


def agent_of(datagram: memoryview) -> tuple[bytes, int]:
    """Address of 4 or 16 octets, and sub-agent, of who sends a datagram. Raises WireError."""
    kind = _u32(datagram, 4)
    if kind not in _AGENTS:
        raise WireError(f"sFlow agent address of type {kind}; expected 1 (IPv4) or 2 (IPv6)")
    agent = _taken(datagram, 8, _AGENTS[kind])
    return agent, _u32(datagram, 8 + len(agent))


def _sample(form: int, body: memoryview, numbered: list[Numbered]) -> bytes:
    """Read one sample as a row; nothing when it is of another kind or packet."""
    if form == FLOW_SAMPLE:
        number, source, rate, drops, entering, leaving, count = (_u32(body, at) for at in (0, 4, 8, 16, 20, 24, 28))
        kind, source = source >> 24, source & 0xFFFFFF
        at = 32
        entering, leaving = (each if each <= INTERFACE else 0 for each in (entering, leaving))
    elif form == EXPANDED_FLOW_SAMPLE:
        number, kind, source, rate, drops, count = (_u32(body, at) for at in (0, 4, 8, 12, 20, 40))
        entering, leaving = (_u32(body, n + 4) if _u32(body, n) == 0 else 0 for n in (24, 32))
        at = 44
    else:
        return b""
    numbered.append((kind, source, number, drops))
    for packet in _packets(body, at, count):
        six = len(packet.dst) == 16  # noqa: PLR2004 octets of an IPv6 address
        v4, v6 = (_NOWHERE4, _NOWHERE4), (_NOWHERE6, _NOWHERE6)
        if six:
            v6 = (packet.src, packet.dst)
        else:
            v4 = (packet.src, packet.dst)
        egress = kind == INTERFACE_SOURCE and 0 != source == leaving != entering
        return _ROW.pack(*v4, *v6, packet.octets, 1, packet.tos, entering, leaving, egress, rate)
    return b""


def _packets(body: memoryview, at: int, count: int) -> Iterator[Packet]:
    """Read what a sample's records tell of its packet, one after the other."""
    for _ in range(count):
        form, record = _framed(body, at)
        at += 8 + _padded(len(record))
        packet = None
        if form == RAW_HEADER:
            packet = _raw(record)
        elif form == SAMPLED_IPV4:
            packet = Packet(_taken(record, 8, 4), _taken(record, 12, 4), _u32(record, 0), _u32(record, 28) & 255)
        elif form == SAMPLED_IPV6:
            packet = Packet(_taken(record, 8, 16), _taken(record, 24, 16), _u32(record, 0), _u32(record, 52) & 255)
        if packet is not None:
            yield packet


def _raw(record: memoryview) -> Packet | None:
    """Read the first octets of a packet; None when it is not IP, or they are too few."""
    protocol, frame, stripped, size = (_u32(record, at) for at in (0, 4, 8, 12))
    header, octets = record[16 : 16 + size], max(frame - stripped, 0)
    if protocol == ETHERNET:
        return in_ethernet(header, octets)
    version = {BARE_IPV4: IPV4, BARE_IPV6: IPV6}.get(protocol)
    return in_ip(header, octets, version) if version else None


def _framed(body: memoryview, at: int) -> tuple[int, memoryview]:
    """Format and content of a sample or record; format -1 for an enterprise's own. Raises WireError."""
    form, length = _u32(body, at), _u32(body, at + 4)
    if at + 8 + length > len(body):
        raise WireError(f"sFlow structure at octet {at} says {length} octets; {len(body) - at - 8} are left")
    return form if form >> 12 == 0 else -1, body[at + 8 : at + 8 + length]


def _padded(length: int) -> int:
    return (length + 3) & ~3


def _taken(body: memoryview, at: int, octets: int) -> bytes:
    if at + octets > len(body):
        raise WireError(f"sFlow structure of {len(body)} octets; expected {at + octets}")
    return bytes(body[at : at + octets])


def _u32(body: memoryview, at: int) -> int:
    return int.from_bytes(_taken(body, at, 4), "big")
