"""sFlow read many datagrams at once, beside the reader of single ones."""

from __future__ import annotations

import time

import numpy as np
import pytest

from neto.wire.netflow import Decoder, sflow
from neto.wire.netflow.bulk import BulkDecoder
from tests.wire.netflow.test_sflow import SRC4, VLAN, datagram, ethernet, ipv4, raw, sample

pytestmark = pytest.mark.bench
DATAGRAMS, SAMPLES, ROUNDS = 512, 7, 9


def test_many_datagrams_at_once_are_read_five_times_faster_than_singly():
    made = [
        datagram(
            *(sample(raw(ethernet(0x0800, ipv4(64 + n) + bytes(80), VLAN)), rate=100) for n in range(SAMPLES)),
            sequence=number,
            agent=SRC4,
        )
        for number in range(DATAGRAMS)
    ]
    rows = np.zeros((DATAGRAMS, 2048), np.uint8)
    for row, packet in zip(rows, made, strict=True):
        row[: len(packet)] = np.frombuffer(packet, np.uint8)
    bulk, lengths, peers = (
        BulkDecoder(Decoder(), ["10.1.0.1"]),
        np.array([*map(len, made)]),
        np.zeros(DATAGRAMS, np.int32),
    )
    at_once, singly = [], []
    for _ in range(ROUNDS):
        began = time.thread_time()
        records = sum(len(part.octets) for part in bulk.read(rows, lengths, peers, 1.0) if hasattr(part, "octets"))
        between = time.thread_time()
        for packet in made:
            sflow.parse(memoryview(packet))
        at_once.append(between - began)
        singly.append(time.thread_time() - between)
    assert records == DATAGRAMS * SAMPLES
    each = [float(np.median(times)) / records * 1e6 for times in (at_once, singly)]
    print(f"\nsFlow: {each[0]:.2f} us a sample, {each[1]:.2f} us read singly: {each[1] / each[0]:.0f} x")
    assert each[1] > 5 * each[0]
