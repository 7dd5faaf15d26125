"""sFlow datagrams read many at once say what each says by itself, and lost samples are counted source by source."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import numpy as np
import pytest

from neto.wire.netflow import Decoder
from tests.wire.netflow.packets import a_set, v9, v9_options_template, whole
from tests.wire.netflow.test_bulk import EXPORTERS, Both
from tests.wire.netflow.test_sflow import (
    LABELS,
    SRC4,
    VLAN,
    datagram,
    ethernet,
    expanded,
    ipv4,
    ipv6,
    opaque,
    raw,
    sample,
)

PACKET = raw(ethernet(0x0800, ipv4()))
AGENTS = [ip_address(address).packed for address in (*EXPORTERS, "10.9.9.9")]


def packets(chance):
    """One of every kind of record, with numbers of its own."""
    total, tos = int(chance.integers(0, 1500)), int(chance.integers(256))
    four = ipv4(total, tos, chance.bytes(4), chance.bytes(4))
    six = ipv6(total, tos)
    frame = {"frame": int(chance.integers(1600)), "stripped": int(chance.integers(8))}
    return [
        raw(ethernet(0x0800, four), **frame),
        raw(ethernet(0x0800, four, VLAN), **frame),
        raw(ethernet(0x8847, LABELS + four), **frame),
        raw(ethernet(0x8847, LABELS + six), **frame),
        raw(ethernet(0x86DD, six, struct.pack("!HH", 0x88A8, 9) + VLAN), **frame),
        raw(four, protocol=11, **frame),
        raw(six, protocol=12, **frame),
        raw(six, protocol=11, **frame),
        raw(ethernet(0x0806, four), **frame),
        raw(ethernet(0x0800, four)[: int(chance.integers(45))], **frame),
        opaque(3, struct.pack("!II4s4sIIII", total, 17, chance.bytes(4), chance.bytes(4), 1, 2, 0, tos)),
        opaque(4, struct.pack("!II16s16sIIII", total, 17, chance.bytes(16), chance.bytes(16), 1, 2, 0, tos)),
        opaque(1001, chance.bytes(16)),
        opaque(1 << 12 | 1, chance.bytes(20)),
    ]


def samples(chance):
    for _ in range(int(chance.integers(0, 8))):
        every = packets(chance)
        records = [every[int(n)] for n in chance.integers(len(every), size=int(chance.integers(0, 3)))]
        rate, source = int(chance.choice([0, 1, 512, 2**32 - 1])), int(chance.integers(0, 4))
        made = chance.integers(5)
        if made < 2:
            leaving = int(chance.choice([0, 1, 2, 3, 1 << 30, 2**32 - 1]))
            yield sample(*records, rate=rate, source=source | int(made) << 24, entering=1, leaving=leaving)
        elif made < 4:
            leaving = (int(chance.integers(2)), int(chance.integers(4)))
            yield expanded(*records, rate=rate, source=source, entering=(0, 1), leaving=leaving, kind=int(made) - 2)
        else:
            yield opaque(int(chance.choice([2, 4, 9 << 12 | 1])), chance.bytes(int(chance.integers(40))))


@pytest.mark.parametrize("seed", range(4))
def test_batches_say_what_single_datagrams_say(seed):
    chance, both, number = np.random.default_rng(seed), Both(), 0
    for batch in range(8):
        made, peers = [], []
        for _ in range(80):
            number += int(chance.choice([1, 1, 1, 1, 3, -1]))
            agent, sub_agent = AGENTS[int(chance.integers(4))], int(chance.integers(2))
            packet = bytearray(datagram(*samples(chance), sequence=number % 2**32, agent=agent, sub_agent=sub_agent))
            if chance.random() < 0.2:
                packet[int(chance.integers(4, len(packet)))] = int(chance.choice([0, 1, 4, 127, 255]))
            if chance.random() < 0.05:
                del packet[int(chance.integers(4, len(packet))) :]
            made.append(v9(a_set(999, b"1234")) if chance.random() < 0.05 else bytes(packet))
            peers.append(int(chance.integers(3)))
        both.read(made, peers, 1_000.0 + batch)
    assert both.by_kernel > 500


def test_a_rate_of_0_is_looked_up_in_what_options_told():
    both, packet = Both(), datagram(sample(PACKET, rate=0), agent=AGENTS[0])
    both.read([packet, packet])
    options = v9_options_template(300, [(1, 4)], [(48, 1), (34, 4)])
    both.read([v9(a_set(1, options), a_set(300, whole((0, 4), (1, 1), (100, 4))))])
    both.read([packet, datagram(sample(PACKET, rate=7), agent=AGENTS[0])])


def numbered(number, source=7, drops=0, made=sample, **more):
    """A sample as its source numbers it."""
    octets = bytearray(made(PACKET, source=source, **more))
    octets[8:12] = struct.pack("!I", number)
    at = 8 + (16 if made is sample else 20)
    octets[at : at + 4] = struct.pack("!I", drops)
    return bytes(octets)


def losses(*datagrams):
    """What became of samples, as it is told after datagrams that are read by themselves, and all at once."""
    both = Both(EXPORTERS[:1])
    for each in datagrams[:2]:
        both.read([each])
    if datagrams[2:]:
        both.read(datagrams[2:])
    ((_, state),) = both.bulk.decoder.exporters.items()
    told = [sequence.losses for sequence in state.sequences.values()]
    return [(each.samples, each.samples_missing - each.samples_recovered, each.samples_dropped) for each in told]


def by_source(*order, made=sample):
    """Datagrams of one sample each: (source, number, drops)."""
    return [
        datagram(numbered(number, source, drops, made), sequence=n, agent=AGENTS[0])
        for n, (source, number, drops) in enumerate(order)
    ]


@pytest.mark.parametrize("made", [sample, expanded])
def test_each_source_numbers_its_samples(made):
    order = [(7, 1, 0), (9, 500, 0), (7, 2, 0), (9, 501, 0), (7, 5, 0), (9, 503, 0), (7, 6, 0)]
    assert losses(*by_source(*order, made=made)) == [(7, 3, 0)]


def test_a_sample_that_was_overtaken_is_not_lost():
    assert losses(*by_source((7, 1, 0), (7, 2, 0), (7, 4, 0), (7, 3, 0), (7, 5, 0))) == [(5, 0, 0)]


def test_a_source_that_begins_anew_has_lost_nothing():
    order = [(7, 5_000_000, 1), (7, 5_000_001, 2), (7, 1, 50), (7, 2, 50), (7, 3, 52)]
    assert losses(*by_source(*order)) == [(5, 0, 3)]


def test_numbers_and_drops_wrap():
    order = [(7, 2**32 - 2, 2**32 - 3), (7, 2**32 - 1, 2**32 - 1), (7, 0, 1), (7, 2, 1)]
    assert losses(*by_source(*order)) == [(4, 1, 4)]


def test_what_was_dropped_before_we_listened_is_not_told():
    assert losses(*by_source((7, 10, 1000), (7, 11, 1003))) == [(2, 0, 3)]


def test_agents_and_kinds_of_sources_are_told_apart():
    made = [
        datagram(numbered(10 * n, source | kind << 24), agent=agent, sub_agent=sub_agent)
        for n, (agent, sub_agent, kind, source) in enumerate(
            [(AGENTS[0], 1, 0, 7), (AGENTS[0], 2, 0, 7), (AGENTS[3], 1, 0, 7), (AGENTS[0], 1, 1, 7)]
        )
    ]
    assert losses(*made) == [(2, 0, 0), (1, 0, 0), (1, 0, 0)]


def test_samples_of_packets_that_are_not_ip_count():
    other = bytearray(sample(raw(ethernet(0x0806, bytes(28)))))
    other[8:12] = struct.pack("!I", 2)
    made = [*by_source((7, 1, 0)), datagram(bytes(other), agent=AGENTS[0], sequence=1)]
    assert losses(*made, datagram(numbered(3), agent=AGENTS[0], sequence=2)) == [(3, 0, 0)]


def test_lost_datagrams_take_their_samples_with_them():
    chance, numbers, made = np.random.default_rng(5), {7: 0, 9: 0}, []
    for sequence in range(400):
        held = []
        for source in chance.choice([7, 9], size=5).tolist():
            numbers[source] += 1
            held.append(numbered(numbers[source], source))
        made.append(datagram(*held, sequence=sequence, agent=AGENTS[0]))
    kept = [each for n, each in enumerate(made) if n in {0, 1, 398, 399} or chance.random() < 0.8]
    assert losses(*kept) == [(5 * len(kept), 5 * (len(made) - len(kept)), 0)]


def test_more_sources_than_are_remembered_begin_anew(monkeypatch):
    decoder = Decoder()
    monkeypatch.setattr(decoder.sources, "state", decoder.sources.state[:16])
    for n in range(200):
        packet = datagram(numbered(5, source=1 + n), sequence=n, agent=SRC4)
        assert not decoder.decode(packet, "192.0.2.1", 1.0).problems
    assert decoder.sources.used[0] <= 16
    ((_, state),) = decoder.exporters.items()
    (sequence,) = state.sequences.values()
    assert (sequence.losses.samples, sequence.losses.samples_missing) == (200, 0)
