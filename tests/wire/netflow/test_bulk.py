"""Many packets read at once say what each says by itself: the decoder of single packets is the oracle."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from neto.wire.netflow import Decoder, kernel
from neto.wire.netflow.bulk import BulkDecoder, Single
from tests.wire.netflow.frames import ethernet, ipv4, ipv6
from tests.wire.netflow.packets import (
    a_set,
    ipfix,
    ipfix_options_template,
    template,
    v5,
    v5_record,
    v9,
    v9_options_template,
    whole,
)

EXPORTERS = ("192.0.2.1", "192.0.2.2", "2001:db8::3")


def rows(exporter, domain, columns):
    return [(exporter, domain, *map(repr, values)) for values in zip(*columns, strict=True)]


def of_flows(flows):
    """What single packets' flows say, as rows that compare."""
    count, family = len(flows), flows.family
    v4 = np.zeros(count, np.uint32) if flows.dst4 is None else np.where(family == 4, flows.dst4, 0)
    v6 = np.zeros(count, "S16") if flows.dst6 is None else np.where(family == 6, flows.dst6, b"")
    columns = [
        *(flows.octets, flows.sampling, (flows.tos >> np.uint64(2)) % np.uint64(64), flows.in_if, flows.egress),
        *(family, v4, v6, flows.start, flows.end),
    ]
    return rows(flows.exporter, flows.domain, [column.tolist() for column in columns])


def of_columns(columns, domains, exporters):
    v4 = np.where(columns.family == 4, columns.dst4, 0)
    v6 = np.where(columns.family == 6, columns.dst6.byteswap().view("S16")[:, 0], b"")
    wanted = [
        *(columns.octets, columns.sampling, columns.dscp % 64, columns.in_if, columns.egress),
        *(columns.family, v4, v6, columns.start, columns.end),
    ]
    told = rows("", 0, [column.tolist() for column in wanted])
    assert [exporters[peer] for peer in columns.peer] == [domains[row][0] for row in columns.domain]
    return [
        (domains[row][0], domains[row][2] % 2**32, *each[2:]) for row, each in zip(columns.domain, told, strict=True)
    ]


class Both:
    """Reads every packet with both, in batches, and compares all that they say and remember."""

    def __init__(self, exporters=EXPORTERS):
        self.exporters = exporters
        self.single, self.bulk = Decoder(), BulkDecoder(Decoder(), exporters, timer=lambda: 0.0)
        self.by_kernel = 0

    def read(self, packets, peers=None, now=1_000.0):
        by_kernel = self.by_kernel
        peers = np.array([0] * len(packets) if peers is None else peers, np.int32)
        expected, problems, sampling_told = [], [], 0
        for packet, peer in zip(packets, peers, strict=True):
            decoded = self.single.decode(packet, self.exporters[peer], now)
            problems += map(str, decoded.problems)
            for flows in decoded.flows:
                expected += of_flows(flows)
                sampling_told += int(flows.sampling_told.sum())
        told, said, also_told = [], [], 0
        slots = np.full((len(packets), 8 + max(map(len, packets))), 0xEE, np.uint8)
        for slot, packet in zip(slots, packets, strict=True):
            slot[: len(packet)] = np.frombuffer(packet, np.uint8)
        for part in self.bulk.read(slots, np.array(list(map(len, packets))), peers, now):
            if isinstance(part, Single):
                said += map(str, part.decoded.problems)
                for flows in part.decoded.flows:
                    told += of_flows(flows)
                    also_told += int(flows.sampling_told.sum())
            else:
                self.by_kernel += len(part.octets)
                told += of_columns(part, self.bulk.domains, self.exporters)
        assert sorted(told) == sorted(expected)
        heard = self.bulk.heard.sum(axis=0)
        assert heard[kernel.TOLD] + also_told == sampling_told
        assert heard[kernel.TOLD] + heard[kernel.NOT_TOLD] == self.by_kernel - by_kernel
        self.bulk.heard[:] = 0
        assert said == problems
        assert self.bulk.decoder.counters.as_dict() == self.single.counters.as_dict()
        assert _remembered(self.bulk.decoder) == _remembered(self.single)
        return told


def _remembered(decoder):
    return {
        address: (
            {key: sequence.losses for key, sequence in state.sequences.items()},
            dict(state.templates),
            dict(state.samplers.known),
        )
        for address, state in decoder.exporters.items()
    }


SIMPLE = [(8, 4), (12, 4), (1, 4), (5, 1), (10, 2), (61, 1), (22, 4), (21, 4), (48, 1)]
WIDE = [(27, 16), (28, 16), (1, 8), (195, 1), (10, 4), (152, 8), (153, 8), (34, 4)]
ODD = [(8, 4), (12, 4), (27, 16), (28, 16), (85, 3), (5, 1), (252, 7), (154, 8), (155, 8), (305, 4), (306, 4)]
VARIES = [(82, 65535), (12, 4), (1, 5), (158, 4), (159, 4), (311, 8), (96, 65535)]
FIELDS = {
    256: SIMPLE,
    257: WIDE,
    258: ODD,
    259: VARIES,
    260: [(12, 4), (1, 8), (309, 4), (310, 4), (150, 4), (151, 4), (305, 4)],
    263: [(10, 4), (312, 2), (34, 4), (315, 65535)],
}
V9_ONLY = {
    261: [(44, 4), (45, 4), (23, 4), (160, 8), (22, 4), (21, 4), (50, 4), (10, 4)],
    262: [(1, 4), (323, 8), (311, 4)],
    264: [(104, 60), (10, 4)],
}


def records(chance, fields, count):
    body = b""
    for _ in range(count):
        for element, length in fields:
            if element in {104, 315}:
                frame = ethernet(*((0x0800, ipv4()) if chance.random() < 0.5 else (0x86DD, ipv6())))
                body += frame.ljust(60, b"\0")[:60] if element == 104 else bytes([len(frame)]) + frame
            elif length == 65535:
                size = int(chance.choice([0, 3, 254, 300]))
                body += bytes([size]) if size < 255 else struct.pack("!BH", 255, size)
                body += chance.bytes(size)
            elif element in {34, 48, 50, 61, 305, 306, 309, 310, 311} and chance.random() < 0.7:
                value = struct.pack("!d" if length == 8 else "!f", 0.01) if element == 311 else None
                body += value or int(chance.integers(0, 4)).to_bytes(length, "big")
            elif chance.random() < 0.2:
                body += bytes(length)
            else:
                body += chance.bytes(length)
    return body


def packet(chance, version, sequences, key):
    """A packet of one exporter's domain: templates, data of one or more of them, options, or rubbish."""
    kind = chance.choice(["data", "templates", "options", "odd"], p=[0.8, 0.1, 0.06, 0.04])
    fields = FIELDS if version == 10 else {n: f for n, f in (FIELDS | V9_ONLY).items() if n not in {259, 263}}
    templates = a_set(2 if version == 10 else 0, b"".join(template(number, *each) for number, each in fields.items()))
    sets, units = [], 0
    if kind in {"templates", "odd"}:
        sets.append(templates)
    if kind == "options":
        make = ipfix_options_template if version == 10 else v9_options_template
        scope = [(149, 4)] if version == 10 else [(1, 4)]
        sets.append(a_set(3 if version == 10 else 1, make(300, scope, [(48, 1), (34, 4)])))
        sampler = int(chance.integers(1, 4))
        sets.append(a_set(300, whole((0, 4), (sampler, 1), (int(chance.choice([100, 100, 0, 512])), 4))))
        units += 1
    for _ in range(int(chance.integers(1, 4)) if kind == "data" else 0):
        number = int(chance.choice(list(fields)))
        count = int(chance.integers(0, 9))
        sets.append(a_set(number, records(chance, fields[number], count) + bytes(int(chance.integers(0, 3)))))
        units += count
    made = (ipfix if version == 10 else v9)(*sets, domain=key, sequence=sequences.get((version, key), 0))
    sequences[version, key] = (sequences.get((version, key), 0) + (units if version == 10 else 1)) % (1 << 32)
    if chance.random() < 0.02:
        sequences[version, key] += 7
    if kind == "odd":
        damaged = bytearray(made)
        damaged[int(chance.integers(len(made)))] ^= 1 << int(chance.integers(8))
        made = bytes(damaged)[: int(chance.integers(1, len(made) + 1))]
    return made


@pytest.mark.parametrize("seed", range(6))
def test_batches_say_what_single_packets_say(seed):
    chance, both = np.random.default_rng(seed), Both()
    sequences = [{}, {}, {}]
    for batch in range(12):
        packets, peers = [], []
        for _ in range(60):
            peer = int(chance.integers(3))
            if chance.random() < 0.15:
                count = int(chance.integers(1, 30))
                made = v5(*[v5_record(int(chance.integers(1 << 32)), 1, 184)] * count, sampling=int(chance.integers(3)))
            else:
                made = packet(chance, int(chance.choice([9, 10])), sequences[peer], int(chance.integers(1, 3)))
            packets.append(made)
            peers.append(peer)
        both.read(packets, peers, 1_000.0 + batch)
    assert both.by_kernel > 2_000
