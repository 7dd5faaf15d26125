"""What exporters may cost: a flood of what is slow to read costs its sender's own exports, and a bounded time."""

from __future__ import annotations

import numpy as np

from neto.wire.netflow import Decoder
from neto.wire.netflow.bulk import BulkDecoder, Single
from neto.wire.netflow.credit import BURST_S, OTHERS, SHARE, TEMPLATES, Credit
from tests.wire.netflow.packets import a_set, template, v9

EXPORTERS = ("192.0.2.1", "192.0.2.2")
DATA = a_set(256, bytes(range(1, 9)))
KNOWN = v9(a_set(0, template(256, (12, 4), (1, 4))))


class Clock:
    """Every look at it takes a while."""

    def __init__(self, step_s):
        self.now, self.step_s = 0.0, step_s

    def __call__(self):
        self.now += self.step_s
        return self.now


class Reader:
    def __init__(self, step_s):
        self.decoder = Decoder()
        self.bulk = BulkDecoder(self.decoder, EXPORTERS, timer=Clock(step_s))

    def read(self, packets, peer=0, now=1.0):
        """Records that were read, and how many packets were refused."""
        rows = np.zeros((len(packets), 2048), np.uint8)
        for row, packet in zip(rows, packets, strict=True):
            row[: len(packet)] = np.frombuffer(packet, np.uint8)
        lengths, before = np.array([*map(len, packets)]), self.decoder.counters.refused
        records = 0
        for part in self.bulk.read(rows, lengths, np.full(len(packets), peer, np.int32), now):
            singly = isinstance(part, Single)
            records += sum(map(len, part.decoded.flows)) if singly else len(part.octets)
        return records, self.decoder.counters.refused - before


def test_a_flood_is_refused_once_it_has_cost_a_burst_and_known_records_are_read_still():
    reader = Reader(step_s=BURST_S / 100)
    reader.read([KNOWN, v9(DATA)])
    _, refused = reader.read([v9(a_set(999, bytes(8))) for _ in range(500)])
    assert 395 <= refused <= 402
    assert reader.read([v9(DATA)] * 50) == (50, 0)


def test_what_one_exporter_costs_is_not_another_ones():
    reader = Reader(step_s=BURST_S / 10)
    assert reader.read([v9(a_set(999, bytes(8)))] * 100)[1] > 80
    assert reader.read([KNOWN, v9(DATA), v9(DATA)], peer=1) == (2, 0)


def test_templates_are_read_however_much_data_came_before_them():
    reader = Reader(step_s=BURST_S / 10)
    assert reader.read([v9(DATA)] * 100)[1] > 80
    records, refused = reader.read([KNOWN])
    assert (records, refused) == (10, 0)  # what waited for it


def test_credit_grows_with_time_up_to_a_burst():
    credit = Credit(1)
    for _ in range(100):
        credit.spend(0, OTHERS, BURST_S)
    assert credit.is_left(0, TEMPLATES, 0.0)
    assert not credit.is_left(0, OTHERS, 0.9 * BURST_S / SHARE)  # a burst is owed
    assert credit.is_left(0, OTHERS, 1.1 * BURST_S / SHARE)
    assert credit.is_left(0, OTHERS, 1e9)
    credit.spend(0, OTHERS, 1.01 * BURST_S)
    assert not credit.is_left(0, OTHERS, 1e9)
    assert not credit.is_left(0, OTHERS, 0.0)  # a clock that is set back earns nothing
    assert credit.is_left(0, OTHERS, 1.0)


def test_a_refused_packet_is_told_as_a_problem():
    reader = Reader(step_s=10 * BURST_S)
    reader.read([v9(a_set(999, bytes(8)))])
    packet = np.zeros((1, 64), np.uint8)
    ((row, decoded),) = reader.bulk.read(packet, np.array([8]), np.zeros(1, np.int32), 1.0)
    assert (row, decoded.flows) == (0, ())
    assert "more work than an exporter may cause" in str(decoded.problems[0])
