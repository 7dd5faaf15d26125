"""Flow records as export packets (Cisco NetFlow v5; RFC 3954, NetFlow v9; RFC 7011, IPFIX), all in one buffer.

What changes from one round to the next, sequence numbers and times, is found by its position.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .flows import FATES, Flows, flows

TEMPLATE = 256  # number of an exporter's first
DOMAIN = 100
UPTIME_MS = 100_000_000  # at the first packet
# Information elements (IANA): name of the column, its number, octets.
_END_UP, _START_UP, _START_MS, _END_MS = (21, 4), (22, 4), (152, 8), (153, 8)
_FIELDS = {
    "src4": (8, 4), "dst4": (12, 4), "src6": (27, 16), "dst6": (28, 16), "src_port": (7, 2), "dst_port": (11, 2),
    "protocol": (4, 1), "tos": (5, 1), "flags": (6, 1), "direction": (61, 1), "in_if": (10, 4), "out_if": (14, 4),
    "next_hop": (15, 4), "bgp_next_hop": (18, 4), "next_hop6": (62, 16), "src_as": (16, 4), "dst_as": (17, 4),
    "src_mask": (9, 1), "dst_mask": (13, 1), "src_vlan": (58, 2), "dst_vlan": (59, 2), "icmp": (32, 2),
    "bgp_next_hop6": (63, 16),
}  # fmt: skip


class Field(NamedTuple):
    """One field of a template."""

    name: str
    element: int
    width: int


class Layout(NamedTuple):
    """A record's fields."""

    fields: tuple[Field, ...]
    number: int = TEMPLATE

    @property
    def dtype(self):
        return np.dtype([(f.name, f"({f.width},)u1" if f.width == 16 else f">u{f.width}") for f in self.fields])

    @property
    def template(self) -> bytes:
        """Return the template record."""
        told = b"".join(struct.pack("!HH", f.element, f.width) for f in self.fields)
        return struct.pack("!HH", self.number, len(self.fields)) + told


def layout(version: int, names: str, counters=(8, 8), sampler: Field | None = None) -> Layout:
    """Return a template of a router's: these fields, counters of so many octets, start and end of the flow."""
    chosen = [Field(name, *_FIELDS[name]) for name in names.split()]
    chosen += [Field("octets", 1, counters[0]), Field("packets", 2, counters[1])]
    times = (_START_UP, _END_UP) if version == 9 else (_START_MS, _END_MS)
    chosen += [Field(name, *which) for name, which in zip(("start", "end"), times, strict=True)]
    return Layout((*chosen, sampler) if sampler else tuple(chosen))


V5 = Layout(
    tuple(
        Field(name, 0, width)
        for name, width in (
            *(("src4", 4), ("dst4", 4), ("next_hop", 4), ("in_if", 2), ("out_if", 2), ("packets", 4), ("octets", 4)),
            *(("start", 4), ("end", 4), ("src_port", 2), ("dst_port", 2), ("pad", 1), ("flags", 1), ("protocol", 1)),
            *(("tos", 1), ("src_as", 2), ("dst_as", 2), ("src_mask", 1), ("dst_mask", 1), ("pad2", 2)),
        )
    )
)
IPV4 = "src4 dst4 src_port dst_port protocol tos flags direction in_if out_if next_hop bgp_next_hop"


class Set(NamedTuple):
    """Records of one template in one packet."""

    layout: int
    records: int
    sampler: int = 0  # as the records tell it


class Packet(NamedTuple):
    """What is to be sent; its records are the flows after those of the packet before."""

    exporter: int
    sets: tuple[Set, ...]


@dataclass(frozen=True, eq=False)
class Stream:
    """Packets in the order in which they are sent, over and over."""

    octets: np.ndarray  # uint8: all packets, one after the other
    begins: np.ndarray  # (packets + 1,) in `octets`
    exporters: np.ndarray  # (packets,)
    versions: np.ndarray  # (packets,)
    sequence: np.ndarray  # (packets,) of the first round
    span: np.ndarray  # (packets,) by how much it grows from round to round
    first_flow: np.ndarray  # (packets + 1,)
    start_at: np.ndarray  # (flows,) in `octets`: where the flow's start stands
    end_at: np.ndarray
    wide: np.ndarray  # (flows,) times of 8 octets, not 4
    started_ms: np.ndarray  # (flows,) before the export
    ended_ms: np.ndarray
    truth: np.ndarray  # (packets + 1, fates) octets with sampling applied, up to each packet
    preamble: tuple[tuple[int, bytes], ...]  # exporter and packet: templates and options, sent once

    @property
    def packets(self) -> int:
        return len(self.exporters)

    def packet(self, number: int) -> bytes:
        return self.octets[self.begins[number] : self.begins[number + 1]].tobytes()


def stream(
    packets, versions, layouts, columns: Flows, preamble, *, data_before=0, domain=DOMAIN, sampling=None
) -> Stream:
    """Encode flows.

    versions: of each exporter; layouts: all that a `Set` may name.
    data_before: what an exporter's sequence number has come to with the preamble. sampling: (flows,) integers.
    """
    sets = [each for packet in packets for each in packet.sets]
    which, counts = np.array([s.layout for s in sets]), np.array([s.records for s in sets])
    of_flow = np.repeat(which, counts)
    sampler = np.repeat([s.sampler for s in sets], counts)
    encoded = {
        row: _records(layouts[row], columns, np.flatnonzero(of_flow == row), sampler) for row in np.unique(which)
    }
    used = dict.fromkeys(encoded, 0)
    out, begins, at = bytearray(), [0], []
    sequence, spans = [], dict.fromkeys(range(len(versions)), 0)
    for packet in packets:
        version = versions[packet.exporter]
        records = sum(each.records for each in packet.sets)
        begin = len(out)
        out += bytes({5: 24, 9: 20, 10: 16}[version])
        for each in packet.sets:
            size = layouts[each.layout].dtype.itemsize
            if version != 5:
                out += struct.pack("!HH", layouts[each.layout].number, 4 + each.records * size)
            at.append(len(out))
            mine = used[each.layout]
            out += encoded[each.layout][mine * size : (mine + each.records) * size]
            used[each.layout] = mine + each.records
        _head(out, begin, version, records, domain)
        begins.append(len(out))
        sequence.append(data_before + spans[packet.exporter])
        spans[packet.exporter] += 1 if version == 9 else records
    exporters = np.array([packet.exporter for packet in packets])
    per_packet = np.array([sum(s.records for s in packet.sets) for packet in packets])
    first_flow = np.concatenate(([0], np.cumsum(per_packet)))
    sizes = np.array([each.dtype.itemsize for each in layouts])
    in_set = np.arange(len(of_flow)) - np.repeat(np.cumsum(counts) - counts, counts)
    record_at = np.repeat(at, counts) + in_set * sizes[of_flow]
    weighed = columns.octets.astype(np.int64) * (1 if sampling is None else sampling)
    by_fate = np.zeros((len(of_flow) + 1, len(FATES)), np.int64)
    by_fate[np.arange(len(of_flow)) + 1, columns.fate] = weighed
    return Stream(
        np.frombuffer(out, np.uint8).copy(),
        np.array(begins),
        exporters,
        np.array([versions[each] for each in exporters.tolist()]),
        np.array(sequence),
        np.array([spans[each] for each in exporters.tolist()]),
        first_flow,
        record_at + _offsets(layouts, "start")[of_flow],
        record_at + _offsets(layouts, "end")[of_flow],
        (_widths(layouts, "start") == 8)[of_flow],
        columns.started_ms,
        columns.ended_ms,
        by_fate.cumsum(axis=0)[first_flow],
        tuple(preamble),
    )


def _offsets(layouts, name):
    return np.array([each.dtype.fields[name][1] for each in layouts])


def _widths(layouts, name):
    return np.array([each.dtype[name].itemsize for each in layouts])


def _head(out, at, version, records, domain):
    """Write what stays as it is of a packet's header."""
    length = len(out) - at
    struct.pack_into("!HH", out, at, version, length if version == 10 else records)
    if version == 5:
        struct.pack_into("!BBH", out, at + 20, 0, 1, 0)
    else:
        struct.pack_into("!I", out, at + {9: 16, 10: 12}[version], domain)


def _records(layout: Layout, columns: Flows, rows, sampler) -> bytes:
    """Encode the flows of these rows, times apart."""
    told = {
        **columns._asdict(),
        "bgp_next_hop": columns.next_hop,
        "bgp_next_hop6": columns.next_hop6,
        "sampler": sampler,
        "src_as": columns.asn,
        "dst_as": columns.asn,
    }
    fixed = {"flags": 0x1B, "src_mask": 16, "dst_mask": 24}
    records = np.zeros(len(rows), layout.dtype)
    for field in layout.fields:
        if field.name in told:
            records[field.name] = told[field.name][rows]
        elif field.name in fixed:
            records[field.name] = fixed[field.name]
    return records.tobytes()


def message(version: int, sets, sequence=0, domain=DOMAIN) -> bytes:
    """One packet of v9 or IPFIX with these sets: (number, content)."""
    body = b""
    for number, content in sets:
        padding = bytes(-len(content) % 4)
        body += struct.pack("!HH", number, 4 + len(content) + len(padding)) + content + padding
    if version == 9:
        return struct.pack("!HHIIII", 9, len(sets), UPTIME_MS, 0, sequence, domain) + body
    return struct.pack("!HHIII", 10, 16 + len(body), 0, sequence, domain) + body


def templates(version: int, layouts, domain=DOMAIN) -> bytes:
    """Announce these layouts."""
    return message(version, [(0 if version == 9 else 2, b"".join(each.template for each in layouts))], domain=domain)


_UNIFORM = {
    5: (V5, 30),
    9: (layout(9, IPV4), 24),
    10: (layout(10, IPV4, counters=(8, 4)), 24),
}


def uniform(version: int, table, flow_count: int, *, exporters=8, domain=DOMAIN) -> Stream:
    """Packets all alike, 8 of an exporter in a row: 30 records each in v5, 24 in v9 and IPFIX."""
    form, records = _UNIFORM[version]
    count = flow_count // records
    packets = [Packet(n // 8 % exporters, (Set(0, records),)) for n in range(count)]
    columns = flows(table, np.repeat([p.exporter for p in packets], records))
    told = [] if version == 5 else [(n, templates(version, [form], domain)) for n in range(exporters)]
    return stream(packets, [version] * exporters, [form], columns, told, data_before=int(version == 9), domain=domain)
