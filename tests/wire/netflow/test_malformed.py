"""Whatever comes in, nothing escapes, what is wrong is counted, and memory stays bounded."""

from __future__ import annotations

import random
import tracemalloc
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.errors import WireError
from neto.lab.export import Exporter, Flow
from neto.wire.netflow import Decoder
from neto.wire.netflow.state import MAX_DOMAINS, MAX_EXPORTERS, MAX_TEMPLATES, MAX_WAITING
from tests.wire.netflow.packets import (
    a_set,
    ipfix,
    ipfix_options_template,
    specifiers,
    template,
    v5,
    v5_record,
    v9,
    v9_options_template,
    whole,
)

FLOWS = [
    Flow(ip_address(f"10.0.0.{n}"), ip_address("10.1.0.1"), 1000 * n, n, 46 << 2, 1, 2, 990.0, 999.0)
    for n in range(1, 40)
] + [Flow(ip_address("2001:db8::1"), ip_address("2001:db8::2"), 5000, 5)]
VARIABLE = ipfix(
    a_set(2, template(256, (8, 4), (460, 65535), (1, 3), (461, 65535))),
    a_set(256, whole((1, 4), b"\x02ab", (77, 3), b"\x00") * 3),
    a_set(3, ipfix_options_template(257, [(302, 2)], [(305, 4), (306, 4)])),
    a_set(257, whole((1, 2), (1, 4), (9, 4))),
)
VALID = [VARIABLE] + [
    packet for form in ("v5", "v9", "ipfix") for packet in Exporter(form, 3, sampling=10).packets(FLOWS, 1000.0)
]
COLUMNS = ("octets", "packets", "tos", "in_if", "out_if", "egress", "family", "start", "end")
ADDRESSES = ("src4", "dst4", "src6", "dst6")


def exercise(decoder, packet):
    """Decode and read every column: each has one value a record."""
    decoded = decoder.decode(packet, "a", 0.0)
    assert all(isinstance(problem, WireError) for problem in decoded.problems)
    for flows in decoded.flows:
        assert len(flows) > 0
        for name in COLUMNS + ADDRESSES:
            column = getattr(flows, name)
            assert column is None or column.shape == (len(flows),)
        assert (flows.sampling >= 1).all()
    return decoded


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([b"", b"\0\x05", b"\0\x09", b"\0\x0a"]), st.binary(max_size=200))
def test_random_octets_are_decoded_or_counted(version, octets):
    decoder = Decoder()
    decoded = exercise(decoder, version + octets)
    assert decoder.counters.errors == len(decoded.problems)
    assert decoded.problems or decoder.counters.messages


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_mutated_packets_are_decoded_or_counted(chance):
    decoder = Decoder()
    for packet in VALID:
        mutated = bytearray(packet)
        for _ in range(chance.randrange(4)):
            mutated[chance.randrange(len(mutated))] = chance.choice([0, 1, 2, 3, 4, 127, 255, chance.randrange(256)])
        if chance.random() < 0.2:
            del mutated[chance.randrange(len(mutated)) :]
        exercise(decoder, bytes(mutated))


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        (b"", "0 octets; expected a version and a header"),
        (b"\0", "1 octets; expected a version and a header"),
        (b"\0\x01" + bytes(60), "version 1; expected NetFlow 5 or 9, IPFIX (10), or sFlow 5"),
        (b"\0\x05" + bytes(10), "v5 header of 12 octets; expected 24"),
        (b"\0\x09" + bytes(10), "v9 header of 12 octets; expected 20"),
        (b"\0\x0a" + bytes(10), "IPFIX header of 12 octets; expected 16"),
        (v5(v5_record(), count=2), "v5 header says 2 records and 1 are there"),
        (v5(), "v5 header says 0 records and 0 are there"),
        (b"\0\x0a\0\x05" + bytes(12), "IPFIX message of 5 octets; expected 16 or more"),
        (ipfix(a_set(2, b""))[:-1], "IPFIX message says 20 octets and 19 are there"),
        (v9(b"\x01\0\0\x03rest"), "set 256 at octet 0 says 3 octets; 8 are left"),
        (v9(b"\x01\0\0\x20rest"), "set 256 at octet 0 says 32 octets; 8 are left"),
        (v9(a_set(300, b"")) + b"!", "1 octets after the last set"),
        (v9(a_set(0, template(255, (1, 4)))), "template 255; expected 256 or more"),
        (v9(a_set(1, v9_options_template(7, [(1, 4)], [(34, 4)]))), "template 7; expected 256 or more"),
        (v9(a_set(0, template(256))), "template 256 has 0 fields; expected 1 to 1024"),
        (v9(a_set(0, b"\x01\0\xff\xff")), "template 256 has 65535 fields; expected 1 to 1024"),
        (v9(a_set(0, template(256, (1, 4))[:-2])), "template 256 says 1 fields and its set ends before the last"),
        (ipfix(a_set(2, template(256, (1, 4, 9))[:-2])), "template 256 says 1 fields and its set ends before the last"),
        (v9(a_set(0, template(256, (1, 0)))), "a record of 0 octets; expected 1 to 65535"),
        (v9(a_set(0, template(256, (1, 65534), (2, 65534)))), "a record of 131068 octets; expected 1 to 65535"),
        (
            ipfix(a_set(3, whole((256, 2), (1, 2), (2, 2)) + specifiers((34, 4)))),
            "options template 256 has 2 scope fields of 1; expected 1 to 1",
        ),
    ],
)
def test_what_is_wrong_is_said(packet, problem):
    decoder = Decoder()
    decoded = exercise(decoder, packet)
    assert problem in [str(each) for each in decoded.problems]
    assert decoder.counters.errors == len(decoded.problems)


def test_a_bad_set_does_not_take_its_neighbours_with_it():
    bad = a_set(0, template(3, (1, 4)))
    good = a_set(0, template(256, (1, 4)))
    decoded = Decoder().decode(v9(bad, good, bad, a_set(256, whole((9, 4)))), "a", 0)
    assert (len(decoded.problems), decoded.flows[0].octets.tolist()) == (2, [9])


def test_a_flood_of_templates_evicts_only_the_oldest_of_its_own_exporter():
    decoder = Decoder()
    decoder.decode(v9(a_set(0, template(256, (1, 4)))), "good", 0)
    for domain in range(30):
        many = b"".join(template(256 + n, (1, 4), (n % 200 + 60, 2)) for n in range(100))
        decoder.decode(v9(a_set(0, many), domain=domain), "flood", 0)
    flooded = decoder._exporters["flood"]
    assert len(flooded._templates) == MAX_TEMPLATES
    assert (9, 29, 300) in flooded._templates
    assert decoder.decode(v9(a_set(256, whole((9, 4)))), "good", 0).flows


def test_floods_of_exporters_and_domains_are_bounded():
    decoder = Decoder()
    for number in range(MAX_EXPORTERS + 10):
        decoder.decode(v9(), str(number), 0)
    for domain in range(MAX_DOMAINS + 10):
        decoder.decode(v9(domain=domain), "a", 0)
    assert len(decoder._exporters) == MAX_EXPORTERS
    assert len(decoder._exporters["a"]._sequences) == MAX_DOMAINS


def test_data_that_waits_is_bounded_and_what_is_given_up_is_counted():
    decoder = Decoder()
    sent = 0
    for domain in range(200):
        decoder.decode(v9(*[a_set(256 + n, bytes(20_000)) for n in range(3)], domain=domain), "a", 0)
        sent += 3
    waiting = sum(decoder.waiting.values())
    assert 20_000 * waiting <= MAX_WAITING < 20_000 * (waiting + 2)
    assert decoder.counters.undecoded_sets == sent - waiting


def test_what_was_decoded_waits_no_longer():
    decoder = Decoder()
    for sequence in range(100):
        decoder.decode(v9(a_set(256, bytes(40_000)), sequence=2 * sequence, domain=sequence), "a", 0)
        (flows,) = decoder.decode(v9(a_set(0, template(256, (1, 4))), domain=sequence), "a", 0).flows
        assert len(flows) == 10_000
    assert (decoder.counters.undecoded_sets, sum(decoder.waiting.values())) == (0, 0)


def test_memory_stays_bounded_under_a_storm_of_mutated_packets():
    chance = random.Random(1)
    decoder = Decoder()

    def storm(packets):
        for number in range(packets):
            mutated = bytearray(chance.choice(VALID))
            for _ in range(chance.randrange(1, 6)):
                mutated[chance.randrange(len(mutated))] = chance.randrange(256)
            decoder.decode(bytes(mutated), str(number % 3), number / 100)

    storm(2000)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    storm(4000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 4 << 20
