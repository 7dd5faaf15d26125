"""Damaged and forged exports: nothing escapes, memory stays, and none costs much more than a good one.

`make fuzz-netflow` tries ten million packets; a short form runs with all tests.
"""

from __future__ import annotations

import resource
import struct
import time
from ipaddress import ip_network

import numpy as np
import pytest

from neto.agents.monitoring.classify import Classifier
from neto.agents.monitoring.demand import FlowAggregator
from neto.agents.monitoring.intake import Intake
from neto.agents.monitoring.slots import SLOTS, Slots
from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Peering
from neto.wire.netflow import Decoder
from tests.wire.netflow import test_sflow as sflow
from tests.wire.netflow.packets import (
    a_set,
    ipfix,
    ipfix_options_template,
    template,
    v5,
    v5_record,
    v9,
    v9_options_template,
)

EXPORTERS = {f"192.0.2.{n}": f"r{n}" for n in range(1, 5)}
ROUTERS = tuple(
    Router(*(router, "s", "", "lab", ""), exporters=(address,), prefixes=(ip_network(f"10.{n}.0.0/16"),))
    for n, (address, router) in enumerate(EXPORTERS.items())
)
T0 = 1_800_000_000
FIELDS = ((8, 4), (12, 4), (27, 16), (28, 16), (1, 8), (2, 8), (5, 1), (10, 4), (61, 1), (48, 1), (152, 8), (153, 8))
RECORD = sum(length for _, length in FIELDS)
VARYING = ((8, 4), (12, 4), (82, 65535), (1, 4))


class Collector:
    """All between the socket and the matrix."""

    def __init__(self):
        self.decoder = Decoder()
        space = Classifier(Inventory((Site("s", "eu"),), ROUTERS), Peering(), Intents((TrafficClass("any"),)))
        self.aggregator = FlowAggregator(space, 10.0)
        self.aggregator.roll(T0)
        self.slots, self.intake = Slots(), Intake(self.decoder, self.aggregator, EXPORTERS)

    def take(self, packets, senders, now):
        """Take packets in; return the CPU seconds that took."""
        for packet, sender in zip(packets, senders, strict=True):
            self.slots.put(packet, sender)
        began = time.thread_time()
        self.intake.take(self.slots, now)
        self.slots.clear()
        return time.thread_time() - began


def seeds(chance):
    """Good packets of every kind."""
    records = b"".join(chance.bytes(RECORD) for _ in range(12))
    varying = b"".join(chance.bytes(8) + bytes([n]) + chance.bytes(n) + chance.bytes(4) for n in (0, 5, 200))
    for make, templates, options in ((v9, 0, v9_options_template), (ipfix, 2, ipfix_options_template)):
        known = template(256, *FIELDS) + (template(257, *VARYING) if make is ipfix else b"")
        yield make(a_set(templates, known), seconds=T0)
        yield make(a_set(256, records), seconds=T0)
        yield make(a_set(templates, known), a_set(256, records), seconds=T0)
        yield make(a_set(templates + 1, options(300, [(1, 4)], [(48, 1), (34, 4)])), seconds=T0)
        yield make(a_set(300, struct.pack("!IBI", 0, 7, 100)), seconds=T0)
    yield ipfix(a_set(257, varying), seconds=T0)
    yield ipfix(a_set(2, struct.pack("!HH", 256, 0)), seconds=T0)
    yield v5(*[v5_record(tos=46 << 2)] * 30)
    yield sflow.GOOD


def mutated(chance, packet, others):
    """One packet, damaged as networks, exporters and attackers do."""
    octets = bytearray(packet)
    kind = int(chance.integers(8))
    if kind == 0:
        octets[int(chance.integers(len(octets)))] ^= 1 << int(chance.integers(8))
    elif kind == 1:
        del octets[int(chance.integers(len(octets))) :]
    elif kind == 2:  # a length or count of its own
        at = int(chance.integers(max(len(octets) - 1, 1)))
        octets[at : at + 2] = struct.pack("!H", int(chance.choice([0, 1, 3, 4, 255, 256, 65535])))
    elif kind == 3:
        octets += chance.bytes(int(chance.integers(1, 40)))
    elif kind == 4:  # the header's count, the domain
        octets[2:4] = chance.bytes(2)
        octets[12:20] = chance.bytes(8)
    elif kind == 5:  # a flood of templates
        fields = [(int(chance.integers(1, 400)), int(chance.choice([0, 1, 4, 8, 65535]))) for _ in range(6)]
        octets = bytearray(v9(a_set(0, template(int(chance.integers(256, 65536)), *fields))))
    elif kind == 6:  # two in one
        octets = octets[: int(chance.integers(len(octets)))] + others
    else:
        octets = bytearray(chance.bytes(int(chance.integers(1, 200))))
    return bytes(octets)


def fuzz(total, seed=1):
    chance = np.random.default_rng(seed)
    collector, good = Collector(), list(seeds(chance))
    pool = [mutated(chance, good[n % len(good)], good[(n * 7) % len(good)]) for n in range(20_000)]
    senders, done, resident = list(EXPORTERS), 0, None
    while done < total:
        picked = chance.integers(len(pool), size=SLOTS)
        packets = [pool[n] for n in picked]
        packets[: len(good)] = good
        for n in range(len(good), SLOTS, 16):  # new ones all the time
            packets[n] = mutated(chance, good[n % len(good)], packets[n])
        strangers = chance.random(SLOTS) < 0.05
        whose = [f"203.0.113.{n % 250}" if strangers[n] else senders[n % 4] for n in range(SLOTS)]
        collector.take(packets, whose, T0 + done * 100.0 / total)
        done += SLOTS
        if resident is None and done >= total // 4:
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    counters, account = collector.decoder.counters, collector.aggregator.account
    assert counters.errors > total // 20
    assert counters.records > total // 20
    parts = (account.matched, account.unknown, account.ignored, account.local, account.implausible, account.before)
    assert account.received == sum(parts)
    collector.take([good[1]], [senders[0]], T0 + 101.0)  # and it goes on
    return grown / 1024


def test_nothing_escapes_from_damaged_packets_and_every_octet_is_accounted_for():
    fuzz(20_000)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_nothing_escapes_from_ten_million_damaged_packets_and_memory_stays():
    grown_mb = fuzz(10_000_000)
    print(f"\n10,000,000 packets; memory grew by {grown_mb:.1f} MB after the first quarter")  # noqa: T201
    assert grown_mb < 20


def costly():
    """Packets that are made to cost, each a function of its number."""
    data = a_set(256, bytes(range(256)) * 5)
    return {
        "garbage": lambda n: struct.pack("!H", n) + bytes(1300),
        "a header cut off": lambda _: b"\0\x09abc",
        "a set cut off": lambda n: v9(data, sequence=n)[:-5],
        "a template that is not known": lambda n: v9(a_set(999, data[4:]), sequence=n),
        "a domain for each": lambda n: v9(data, domain=n),
        "a template of more fields than there are": lambda n: v9(a_set(0, struct.pack("!HH", 500 + n, 65535) + data)),
        "fields of no length": lambda n: v9(a_set(0, template(600 + n, *[(1, 0)] * 300))),
        "hundreds of empty sets": lambda n: v9(*[a_set(256, b"")] * 300, sequence=n),
        "a count of records that are not there": lambda n: v5(v5_record(), count=30, sequence=n),
        "sFlow's header and no more": lambda n: b"\0\0\0\5\0\0\0\1" + struct.pack("!I", n) * 300,
    }


@pytest.mark.long
@pytest.mark.parametrize("kind", costly())
def test_no_packet_costs_more_than_twenty_good_ones(kind):
    """A good one: 24 records, decoded and counted. Medians of CPU time, taken in turns."""
    fields = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (5, 1), (1, 8), (2, 8), (10, 4), (14, 4), (22, 4), (21, 4)]
    rows = np.random.default_rng(2).integers(0, 256, (24, sum(length for _, length in fields)), np.uint8)
    data, make, sender = a_set(256, rows.tobytes()), costly()[kind], "192.0.2.1"
    collector, bad = Collector(), Collector()
    for each in (collector, bad):
        each.take([v9(a_set(0, template(256, *fields)))], [sender], T0)
    ratios = []
    for turn in range(15):
        good = collector.take([v9(data, sequence=turn * SLOTS + n) for n in range(SLOTS)], [sender] * SLOTS, T0)
        ratios.append(bad.take([make(n) for n in range(SLOTS)], [sender] * SLOTS, T0) / good)
    ratio = float(np.median(ratios))
    print(f"\n{kind}: {ratio:.1f} x a good packet")  # noqa: T201
    assert ratio < 20
