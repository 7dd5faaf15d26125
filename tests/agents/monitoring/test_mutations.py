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
from neto.agents.monitoring.slots import SLOTS, Slots, _sockaddr
from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Peering
from neto.wire.netflow import Decoder
from tests.agents.monitoring import mutation
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
from tests.wire.netflow.test_bulk import Both

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
    """All between the socket and the matrix. timer: what work takes is measured by it."""

    def __init__(self, timer=time.thread_time):
        self.decoder = Decoder()
        space = Classifier(Inventory((Site("s", "eu"),), ROUTERS), Peering(), Intents((TrafficClass("any"),)))
        self.aggregator = FlowAggregator(space, 10.0)
        self.aggregator.roll(T0)
        self.slots, self.intake = Slots(), Intake(self.decoder, self.aggregator, EXPORTERS)
        self.intake._bulk._timer = timer

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
    yield ipfix(a_set(2, template(258, (8, 4), (1, 4, 9), (33000 & 32767, 65535, 25053), (1, 8))), seconds=T0)
    yield v5(*[v5_record(tos=46 << 2)] * 30)
    yield sflow.GOOD
    packet = sflow.raw(sflow.ethernet(0x0800, sflow.ipv4()))
    yield sflow.datagram(*(make(packet, rate=n) for n in range(1, 5) for make in (sflow.sample, sflow.expanded)))


class Damage:
    """Fills the slots of a collector with packets that are damaged, and takes them in.

    timer: as the collector has it; by this one all packets are looked at, whatever they cost.
    """

    def __init__(self, seed, timer=lambda: 0.0):
        chance = np.random.default_rng(seed)
        self.seed, self.good = seed, list(seeds(chance))
        self.looks_at_all = timer is not time.thread_time
        self.corpus = mutation.corpus(self.good)
        self.collector = Collector(timer)
        strangers = [f"203.0.113.{n}" for n in range(250)]
        self.senders = [sender for sender in EXPORTERS for _ in range(1200)] + strangers  # a twentieth are spoofed
        self.addresses = np.zeros((len(self.senders), 28), np.uint8)
        for row, sender in zip(self.addresses, self.senders, strict=True):
            row[:8] = np.frombuffer(_sockaddr(sender), np.uint8)
        self.kinds = np.zeros(mutation.KINDS_OF_DAMAGE, np.int64)

    def fill(self, first):
        """Put packets `first` and on into the slots; return what was done to each, and whose they are."""
        slots = self.collector.slots
        kinds, chances = np.zeros((2, SLOTS), np.int64)
        mutation.damaged(self.corpus, self.seed, first, slots.packets, slots.lengths, kinds, chances)
        whose = chances % len(self.senders)
        slots._addresses[:] = self.addresses[whose]
        slots.count = SLOTS
        return kinds, whose

    def take(self, first, now):
        """Take in a batch; return the CPU seconds that took."""
        slots, (kinds, whose) = self.collector.slots, self.fill(first)
        began = time.thread_time()
        try:
            self.collector.intake.take(slots, now)
        except Exception as error:
            self.fill(first)
            raise AssertionError(self.found(first, kinds, whose, now)) from error
        slots.clear()
        self.kinds += np.bincount(kinds, minlength=len(self.kinds))
        return time.thread_time() - began

    def found(self, first, kinds, whose, now):
        """Say which packet of a batch it was."""
        slots = self.collector.slots
        packets = [slots.packets[n, : slots.lengths[n]].tobytes() for n in range(SLOTS)]
        slots.clear()
        for n, packet in enumerate(packets):
            try:
                self.collector.take([packet], [self.senders[whose[n]]], now)
            except Exception as error:  # noqa: BLE001 whatever it is that escapes
                kind = mutation.Kind(kinds[n]).name
                return f"{error!r} escapes from packet {first + n} of seed {self.seed} ({kind}): {packet.hex()}"
        return f"an exception escapes from packets {first} to {first + SLOTS} of seed {self.seed}, and from none alone"


def resident_mb():
    """Most that this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(total, seed=1, **more):
    """Take in damaged packets; return the facts about it. Memory is looked at after a quarter, too."""
    damage = Damage(seed, **more)
    collector, first, before, spent, slowest = damage.collector, 0.0, 0.0, 0.0, 0.0
    began = time.monotonic()
    for done in range(0, total, SLOTS):
        if done // SLOTS == 2:
            first = resident_mb()
        if before == 0.0 and done >= total / 4:
            before = resident_mb()
        batch = damage.take(done, T0 + done * 100.0 / total)
        spent, slowest = spent + batch, max(slowest, batch if before else 0.0)
    done = -(-total // SLOTS) * SLOTS
    counters, account = collector.decoder.counters, collector.aggregator.account
    if damage.looks_at_all:
        assert counters.refused == 0
        assert counters.errors > total // 20
        assert counters.records > total // 20
    assert (damage.kinds > total // 500).all()
    parts = (account.matched, account.unknown, account.ignored, account.local, account.implausible, account.before)
    assert account.received == sum(parts)
    records = counters.records
    collector.take([damage.good[2]], [damage.senders[0]], T0 + 110.0)  # and it goes on
    assert counters.records > records
    return {
        "packets": done,
        "grown_mb": round(resident_mb() - before, 1),
        "grown_since_the_first_mb": round(resident_mb() - first, 1),
        "seconds": round(time.monotonic() - began),
        "cpu_us_per_packet": round(spent / done * 1e6, 1),
        "slowest_batch_us_per_packet": round(slowest / SLOTS * 1e6, 1),
        "damage": {kind.name.lower(): int(damage.kinds[kind]) for kind in mutation.Kind},
        "counters": counters.as_dict(),
    }


def test_nothing_escapes_from_damaged_packets_and_every_octet_is_accounted_for():
    fuzz(12_000)


def test_a_damaged_packet_can_be_made_again_by_its_number():
    damage, one = Damage(3), np.zeros((1, mutation.ROOM + 8), np.uint8)
    damage.fill(5 * SLOTS)
    slots = damage.collector.slots
    made = [slots.packets[n, : slots.lengths[n]].tobytes() for n in range(SLOTS)]
    for n in (0, 77, SLOTS - 1):
        length, kind, chance = np.zeros((3, 1), np.int64)
        mutation.damaged(damage.corpus, 3, 5 * SLOTS + n, one, length, kind, chance)
        assert one[0, : length[0]].tobytes() == made[n]
    assert len(set(made)) > SLOTS * 3 // 4


@pytest.mark.parametrize("seed", [11, 12])
def test_damaged_packets_say_in_batches_what_they_say_singly(seed):
    damage, both = Damage(seed), Both()
    both.bulk._timer = lambda: 0.0
    for batch in range(4):
        _, whose = damage.fill(batch * SLOTS)
        slots = damage.collector.slots
        packets = [slots.packets[n, : slots.lengths[n]].tobytes() for n in range(SLOTS)]
        both.read(packets, whose % 3, T0 + batch)


@pytest.mark.long
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("more", [{}, {"seed": 2, "timer": time.thread_time}], ids=["all", "within_credit"])
def test_nothing_escapes_from_ten_million_damaged_packets_and_memory_stays(more):
    facts = fuzz(10_000_000, **more)
    print("", *(f"{name}: {value}" for name, value in facts.items()), sep="\n")  # noqa: T201
    assert facts["grown_mb"] < 20


def costly():
    """Packets that are made to cost, each a function of its number."""
    data = a_set(256, bytes(range(256)) * 5)
    fields = [(1 + n % 300, 4) for n in range(330)]
    numbers = [struct.pack("!HH", 256 + n, 0) for n in range(330)]
    options = v9_options_template(300, [(1, 4)], [(48, 4), (34, 4)])
    packet = sflow.raw(sflow.ethernet(0x0800, sflow.ipv4()))

    def samples(first, count=100):
        return b"".join(struct.pack("!III", 0, first + n, 1 + first % 1000) for n in range(count))

    return {
        "garbage": lambda n: struct.pack("!H", n % 65536) + bytes(1300),
        "a header cut off": lambda _: b"\0\x09abc",
        "a set cut off": lambda n: v9(data, sequence=n)[:-5],
        "a template that is not known": lambda n: v9(a_set(999, data[4:]), sequence=n),
        "hundreds of templates that are not known": lambda _: v9(*[a_set(300 + m, b"1234") for m in range(150)]),
        "a domain for each": lambda n: v9(data, domain=n),
        "a template of more fields than there are": lambda n: v9(
            a_set(0, struct.pack("!HH", 500 + n % 60000, 65535) + data)
        ),
        "fields of no length": lambda n: v9(a_set(0, template(600 + n % 60000, *[(1, 0)] * 300))),
        "a new template of hundreds of fields": lambda n: v9(a_set(0, template(300, (n % 65536, 7), *fields))),
        "the same, of enterprises": lambda n: ipfix(
            a_set(2, template(300, *[(8, 4, n)] * 150)),
        ),
        "the same, from a domain for each": lambda n: v9(a_set(0, template(300, (n % 65536, 7), *fields)), domain=n),
        "the same, and its data": lambda n: v9(
            a_set(0, template(300, (n % 65536, 7), *fields[:150])), a_set(300, bytes(607))
        ),
        "hundreds of new templates": lambda n: v9(
            a_set(0, b"".join(template(256 + m, (n % 65536, 4), (1 + m, 4)) for m in range(110)))
        ),
        "a template for each set that waits": lambda n: v9(
            a_set(1000 + n // 2 % 60000, b"123")
            if n % 2
            else a_set(0, template(1000 + (n // 2 - SLOTS) % 60000, (1, 3)))
        ),
        "hundreds of withdrawals": lambda _: ipfix(a_set(2, b"".join(numbers))),
        "withdrawals of all": lambda _: ipfix(a_set(2, struct.pack("!HH", 2, 0) * 330)),
        "hundreds of samplers that are announced anew": lambda n: v9(a_set(1, options), a_set(300, samples(100 * n))),
        "the same announced from a domain for each": lambda n: v9(
            a_set(1, options), a_set(300, samples(100 * n)), domain=n
        ),
        "hundreds of empty sets": lambda n: v9(*[a_set(256, b"")] * 300, sequence=n),
        "a count of records that are not there": lambda n: v5(v5_record(), count=30, sequence=n),
        "sFlow's header and no more": lambda n: b"\0\0\0\5\0\0\0\1" + struct.pack("!I", n) * 300,
        "an sFlow agent for each": lambda n: sflow.datagram(sflow.sample(packet), agent=struct.pack("!I", n)),
        "an sFlow source for each": lambda n: sflow.datagram(
            *[sflow.sample(packet, source=9 * n + m) for m in range(9)], agent=sflow.SRC4
        ),
        "sFlow samples that are cut off": lambda n: sflow.datagram(*[sflow.sample(packet)[:60]] * 20, sequence=n),
        "sFlow records of nothing": lambda n: sflow.datagram(sflow.sample(*[sflow.opaque(99, b"")] * 160), sequence=n),
        "sFlow samples of nothing": lambda n: sflow.datagram(*[sflow.opaque(99, b"")] * 160, sequence=n),
        "records of one octet": lambda n: v9(a_set(0, template(301, (1, 1))) if n < 4 else a_set(301, bytes(1300))),
        "spoofed senders": lambda n: v9(data, sequence=n),
    }


PER_S = 100_000  # packets of a flood


@pytest.mark.long
@pytest.mark.parametrize("kind", costly())
def test_no_packet_costs_more_than_twenty_good_ones(kind):
    """A good one: 24 records, decoded and counted. Medians of CPU time, in turns, once the burst of a flood is over."""
    fields = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (5, 1), (1, 8), (2, 8), (10, 4), (14, 4), (22, 4), (21, 4)]
    rows = np.random.default_rng(2).integers(0, 256, (24, sum(length for _, length in fields)), np.uint8)
    data, make, sender = a_set(256, rows.tobytes()), costly()[kind], "192.0.2.1"
    senders = [f"203.0.113.{n % 256}" for n in range(SLOTS)] if kind == "spoofed senders" else [sender] * SLOTS
    collector, bad = Collector(), Collector()
    for each in (collector, bad):
        each.take([v9(a_set(0, template(256, *fields)))], [sender], T0)
    good, first, costs = [], [], []
    for turn in range(200):
        now = T0 + turn * SLOTS / PER_S
        numbers = range(turn * SLOTS, (turn + 1) * SLOTS)
        before = bad.decoder.counters.refused
        cost = bad.take([make(n) for n in numbers], senders, now)
        is_over = bad.decoder.counters.refused - before > SLOTS // 2 or turn >= 60
        (costs if is_over else first).append(cost)
        good.append(collector.take([v9(data, sequence=n) for n in numbers], [sender] * SLOTS, now))
        if len(costs) == 25:
            break
    usual = float(np.median(good))
    ratio, at_first = float(np.median(costs)) / usual, float(np.median(first or costs)) / usual
    print(f"\n{kind}: {ratio:.1f} x a good packet, {at_first:.1f} x in the first {sum(first):.2f} s of work")  # noqa: T201
    assert ratio < 20
