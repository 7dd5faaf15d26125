"""Export packets written octet by octet become the records that they say, and state that outlives them."""

from __future__ import annotations

import pytest

from neto.wire.netflow import Decoder
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

SRC, DST = 0x0A000001, 0x0A010001
PLAIN = ((8, 4), (12, 4), (1, 4), (2, 4))  # source, destination, octets, packets
TEMPLATE = {9: a_set(0, template(256, *PLAIN)), 10: a_set(2, template(256, *PLAIN))}
MESSAGE = {9: v9, 10: ipfix}
both = pytest.mark.parametrize("version", [9, 10])


def record(octets, packets=1):
    return whole((SRC, 4), (DST, 4), (octets, 4), (packets, 4))


def data(*octets, number=256):
    return a_set(number, b"".join(map(record, octets)))


def one(decoder, packet, exporter="192.0.2.1", now=0.0):
    """The only batch of a packet in which nothing is wrong."""
    decoded = decoder.decode(packet, exporter, now)
    assert decoded.problems == ()
    (batch,) = decoded.flows
    return batch


def octets_of(decoded):
    return [value for batch in decoded.flows for value in batch.octets.tolist()]


def told(version, *fields, values):
    """One record of a template with these fields."""
    sets = a_set(0 if version == 9 else 2, template(300, *fields)), a_set(300, whole(*values))
    return one(Decoder(), MESSAGE[version](*sets))


def test_v5_says_all_in_one_fixed_record():
    flows = one(Decoder(), v5(v5_record(1500, 3, tos=184), v5_record(40), sampling=1 << 14 | 100, engine=0x0102))
    assert (flows.version, flows.domain, flows.template, len(flows)) == (5, 0x0102, 0, 2)
    assert flows.octets.tolist() == [1500, 40]
    assert flows.packets.tolist() == [3, 1]
    assert flows.tos.tolist() == [184, 0]
    assert (flows.in_if.tolist(), flows.out_if.tolist()) == ([3, 3], [4, 4])
    assert (flows.src4.tolist(), flows.dst4.tolist()) == ([SRC] * 2, [DST] * 2)
    assert (flows.family.tolist(), flows.sampling.tolist()) == ([4, 4], [100, 100])
    # the header left at 1000 s, when 100 s of uptime had passed
    assert (flows.start.tolist(), flows.end.tolist()) == ([990.0] * 2, [995.0] * 2)


def test_a_sampling_interval_of_zero_leaves_the_counters_alone():
    flows = one(Decoder(), v5(v5_record(1500), sampling=1 << 14))
    assert (flows.sampling.tolist(), flows.sampling_told.tolist()) == ([1], [False])
    flows = told(9, *PLAIN, (34, 4), values=[record(1500), (0, 4)])
    assert (flows.sampling.tolist(), flows.sampling_told.tolist()) == ([1], [False])


@both
def test_data_is_read_by_a_template_of_an_earlier_packet(version):
    decoder = Decoder()
    assert decoder.decode(MESSAGE[version](TEMPLATE[version]), "a", 0).flows == ()
    flows = one(decoder, MESSAGE[version](data(10, 20), sequence=version == 9), "a")
    assert (flows.octets.tolist(), flows.template, flows.domain, flows.exporter) == ([10, 20], 256, 1, "a")
    assert decoder.counters.gaps == 0


@both
def test_templates_belong_to_an_exporter_and_a_domain(version):
    decoder = Decoder()
    decoder.decode(MESSAGE[version](TEMPLATE[version], domain=1), "a", 0)
    assert octets_of(decoder.decode(MESSAGE[version](data(1), domain=1), "a", 0)) == [1]
    assert octets_of(decoder.decode(MESSAGE[version](data(1), domain=2), "a", 0)) == []
    assert octets_of(decoder.decode(MESSAGE[version](data(1), domain=1), "b", 0)) == []
    assert sum(decoder.waiting.values()) == 2


@both
def test_data_before_its_template_is_decoded_when_that_comes_with_the_clock_of_its_own_packet(version):
    fields = (*PLAIN, (22, 4)) if version == 9 else (*PLAIN, (158, 4))
    waiting = a_set(256, record(7) + whole((99_000 if version == 9 else 1_000_000, 4)))  # a second before it left
    decoder = Decoder()
    decoder.decode(MESSAGE[version](waiting, seconds=1_000), "a", 0)
    come = a_set(0 if version == 9 else 2, template(256, *fields))
    flows = one(decoder, MESSAGE[version](come, seconds=2_000), "a", 5)
    assert (flows.octets.tolist(), flows.start.tolist()) == ([7], [999.0])
    assert (decoder.counters.undecoded_sets, sum(decoder.waiting.values())) == (0, 0)


def test_what_waits_too_long_is_given_up_and_counted():
    decoder = Decoder()
    decoder.decode(v9(data(7), data(8)), "a", 0)
    decoder.decode(v9(), "a", 59)
    assert decoder.counters.undecoded_sets == 0
    assert octets_of(decoder.decode(v9(TEMPLATE[9]), "a", 61)) == []
    assert decoder.counters.undecoded_sets == 2


@both
def test_a_template_can_be_changed(version):
    decoder = Decoder()
    decoder.decode(MESSAGE[version](TEMPLATE[version]), "a", 0)
    other = a_set(0 if version == 9 else 2, template(256, (2, 2), (1, 2)))
    flows = one(decoder, MESSAGE[version](other, a_set(256, whole((3, 2), (900, 2)))), "a")
    assert (flows.octets.tolist(), flows.packets.tolist(), flows.family.tolist()) == ([900], [3], [0])


@pytest.mark.parametrize("number", [256, 2])
def test_a_withdrawn_template_is_forgotten_alone_or_with_all_others(number):
    decoder = Decoder()
    decoder.decode(ipfix(TEMPLATE[10], a_set(3, ipfix_options_template(257, [(149, 4)], [(34, 4)]))), "a", 0)
    decoder.decode(ipfix(a_set(2, whole((number, 2), (0, 2)))), "a", 0)
    assert octets_of(decoder.decode(ipfix(data(1)), "a", 0)) == []
    decoder.decode(ipfix(a_set(257, whole((1, 4), (50, 4)))), "a", 0)
    assert decoder.counters.options_records == 1  # options templates stay
    decoder.decode(ipfix(a_set(3, whole((3, 2), (0, 2)))), "a", 0)
    decoder.decode(ipfix(a_set(257, whole((1, 4), (50, 4)))), "a", 0)
    assert decoder.counters.options_records == 1
    assert decoder.counters.errors == 0


def test_a_packet_holds_several_sets_and_a_set_several_templates():
    both_templates = a_set(0, template(256, *PLAIN) + template(257, (1, 8)))
    decoded = Decoder().decode(v9(both_templates, a_set(257, whole((5, 8), (6, 8))), data(7, 8, 9)), "a", 0)
    assert octets_of(decoded) == [5, 6, 7, 8, 9]


@both
def test_sets_of_one_template_in_a_packet_become_one_batch(version):
    padded = a_set(256, record(1) + bytes(3))
    flows = one(Decoder(), MESSAGE[version](TEMPLATE[version], padded, data(2), padded, a_set(256, b""), data(3, 4)))
    assert flows.octets.tolist() == [1, 2, 1, 3, 4]
    variable = a_set(0 if version == 9 else 2, template(257, (1, 1), (460, 65535)))
    sets = [a_set(257, whole((n, 1), b"\x01z")) for n in (7, 8, 9)]
    assert one(Decoder(), MESSAGE[version](variable, *sets)).octets.tolist() == [7, 8, 9]


@both
def test_records_of_which_nothing_is_known_count(version):
    decoder = Decoder()
    for number, field in ((257, (460, 3)), (258, (460, 65535))):
        known = a_set(0 if version == 9 else 2, template(number, field))
        flows = one(decoder, MESSAGE[version](known, a_set(number, b"\2xy" * 4), a_set(number, b"\2xy")))
        assert (len(flows), flows.octets.tolist(), flows.family.tolist()) == (5, [0] * 5, [0] * 5)


@both
@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_padding_is_no_record(version, padding):
    padded = a_set(256, record(1) + record(2) + bytes(padding))
    assert one(Decoder(), MESSAGE[version](TEMPLATE[version], padded)).octets.tolist() == [1, 2]


def test_zeros_after_the_last_set_are_padding():
    assert one(Decoder(), v9(TEMPLATE[9], data(5)) + bytes(1300)).octets.tolist() == [5]
    assert one(Decoder(), v9(TEMPLATE[9], data(5)) + bytes(3)).octets.tolist() == [5]
    padded = a_set(0, template(256, *PLAIN) + bytes(8))
    assert one(Decoder(), v9(padded, data(5))).octets.tolist() == [5]


def test_messages_one_after_the_other_are_each_decoded():
    decoder = Decoder()
    decoded = decoder.decode(ipfix(TEMPLATE[10], data(1)) + ipfix(data(2), sequence=1) + v5(v5_record(3)), "a", 0)
    assert (octets_of(decoded), decoder.counters.messages, decoder.counters.errors) == ([1, 2, 3], 3, 0)


@pytest.mark.parametrize("octets", range(1, 9))
def test_counters_may_be_shortened_to_any_size(octets):
    value = 0x0123456789ABCDEF & (1 << 8 * octets) - 1
    flows = told(10, (1, octets), (2, octets), values=[(value, octets), (value // 3, octets)])
    assert (flows.octets.tolist(), flows.packets.tolist()) == ([value], [value // 3])


@pytest.mark.parametrize(
    ("fields", "values", "octets", "packets"),
    [
        (((85, 4), (86, 4)), (900, 9), 900, 9),  # of the flow's whole life, when nothing else is told
        (((85, 4), (1, 4), (86, 4), (2, 4)), (900, 100, 9, 1), 100, 1),  # deltas before totals
        (((23, 4), (24, 4)), (77, 7), 77, 7),
        (((23, 4), (1, 4), (24, 4), (2, 4)), (77, 100, 7, 1), 100, 1),  # as observed before as changed on the way
        (((232, 4), (231, 4), (299, 4), (298, 4)), (5000, 600, 50, 6), 600, 6),  # of the direction of src to dst
        (((352, 4),), (64,), 64, 0),
        (((7, 2), (4, 1)), (443, 6), 0, 0),  # none
    ],
)
def test_octets_and_packets_come_from_the_element_that_fits_best(fields, values, octets, packets):
    flows = told(9, *fields, values=[(value, field[1]) for value, field in zip(values, fields, strict=True)])
    assert (flows.octets.tolist(), flows.packets.tolist()) == ([octets], [packets])


def test_elements_of_an_enterprise_are_not_mistaken_for_the_registrys():
    flows = told(10, (1, 4, 29305), (1, 4), (2, 2, 9), values=[(999, 4), (5, 4), (8, 2)])
    assert (flows.octets.tolist(), flows.packets.tolist()) == ([5], [0])


@both
def test_records_of_varying_length_are_walked(version):
    fields = ((8, 4), (460, 65535), (12, 4), (99, 2), (1, 4), (461, 65535))
    long = b"x" * 300
    walked = whole(
        *((SRC, 4), b"\x03abc", (DST, 4), (7, 2), (1000, 4), b"\x00"),
        *((SRC + 1, 4), b"\xff" + len(long).to_bytes(2, "big") + long, (DST, 4), (7, 2), (2000, 4), b"\x01z"),
    )
    templates = a_set(0 if version == 9 else 2, template(256, *fields))
    flows = one(Decoder(), MESSAGE[version](templates, a_set(256, walked + bytes(3))))
    assert flows.octets.tolist() == [1000, 2000]
    assert (flows.src4.tolist(), flows.dst4.tolist()) == ([SRC, SRC + 1], [DST, DST])


def test_a_record_that_runs_over_its_set_is_an_error_and_the_ones_before_it_stand():
    templates = a_set(2, template(256, (1, 4), (460, 65535)))
    decoder = Decoder()
    decoded = decoder.decode(ipfix(templates, a_set(256, whole((9, 4), b"\x01a", (8, 4), b"\x50bc"))), "a", 0)
    assert octets_of(decoded) == [9]
    assert [str(problem) for problem in decoded.problems] == [
        "set 256: a record runs 78 octets over the end of its set"
    ]


def test_fields_of_no_octets_are_there_and_say_nothing():
    flows = told(9, (1, 0), (8, 4), (2, 4), (455, 0), values=[(SRC, 4), (5, 4)])
    assert (flows.octets.tolist(), flows.packets.tolist(), flows.src4.tolist()) == ([0], [5], [SRC])


def test_of_an_element_that_comes_twice_the_first_counts():
    assert told(10, (1, 4), (1, 4), values=[(5, 4), (6, 4)]).octets.tolist() == [5]


@both
def test_ipv6_addresses_are_sixteen_octets_in_network_order(version):
    src, dst = bytes(range(16)), b"\x20\x01\x0d\xb8" + bytes(12)
    flows = told(version, (27, 16), (28, 16), (1, 4), values=[src, dst, (5, 4)])
    assert (flows.family.tolist(), flows.src4, flows.dst4) == ([6], None, None)
    assert [bytes(address).ljust(16, b"\0") for column in (flows.src6, flows.dst6) for address in column] == [src, dst]


def test_a_record_with_room_for_both_families_is_of_the_one_that_it_fills():
    fields = ((8, 4), (12, 4), (27, 16), (28, 16))
    sets = a_set(2, template(300, *fields)), a_set(300, whole((SRC, 4), (DST, 4), bytes(32), bytes(8), b"\x20" * 32))
    assert one(Decoder(), ipfix(*sets)).family.tolist() == [4, 6]


def test_a_prefix_stands_in_for_an_address():
    flows = told(9, (44, 4), (45, 4), values=[(SRC, 4), (DST, 4)])
    assert (flows.src4.tolist(), flows.dst4.tolist(), flows.family.tolist()) == ([SRC], [DST], [4])


def test_the_class_of_service_is_told_as_a_byte_or_as_six_bits():
    assert told(10, (5, 1), values=[(184, 1)]).tos.tolist() == [184]
    assert told(10, (195, 1), values=[(46, 1)]).tos.tolist() == [184]
    assert told(10, (1, 1), values=[(46, 1)]).tos.tolist() == [0]


def test_a_flow_says_whether_it_was_seen_leaving():
    sets = a_set(2, template(300, (61, 1))), a_set(300, bytes([0, 1]))
    assert one(Decoder(), ipfix(*sets)).egress.tolist() == [False, True]
    assert told(10, (1, 1), values=[(46, 1)]).egress.tolist() == [False]


NTP = (1_000 + 2_208_988_800) << 32 | 1 << 31  # half past second 1000


@pytest.mark.parametrize(
    ("version", "fields", "values", "start", "end"),
    [
        (9, ((22, 4), (21, 4)), [(90_000, 4), (99_500, 4)], 990.0, 999.5),
        (9, ((22, 4), (21, 4)), [(2**32 - 1000, 4), (99_500, 4)], 899.0, 999.5),  # the uptime has wrapped since
        (9, ((22, 4), (21, 4)), [(90_000, 4), (100_250, 4)], 990.0, 1000.25),  # counted after the header was written
        (10, ((150, 4), (151, 4)), [(500, 4), (600, 4)], 500.0, 600.0),
        (10, ((152, 8), (153, 8)), [(500_250, 8), (600_125, 8)], 500.25, 600.125),
        (10, ((154, 8), (155, 8)), [(NTP, 8), (NTP, 8)], 1000.5, 1000.5),
        (10, ((156, 8), (157, 8)), [(NTP, 8), (NTP, 8)], 1000.5, 1000.5),
        (10, ((158, 4), (159, 4)), [(2_000_000, 4), (500_000, 4)], 998.0, 999.5),
        (10, ((22, 4), (21, 4), (160, 8)), [(1_000, 4), (2_500, 4), (400_000, 8)], 401.0, 402.5),
        (9, ((152, 8), (323, 8)), [(500_250, 8), (600_125, 8)], 500.25, 600.125),
    ],
)
def test_start_and_end_are_unix_seconds_whatever_the_clock(version, fields, values, start, end):
    flows = told(version, *fields, values=values)
    assert (flows.start.tolist(), flows.end.tolist()) == ([start], [end])


def test_a_start_that_is_not_told_is_not_a_number():
    flows = told(10, (22, 4), (1, 4), values=[(1, 4), (2, 4)])  # uptime of nobody knows whom
    assert str(flows.start.tolist() + flows.end.tolist()) == "[nan, nan]"


def test_ipfix_options_say_when_the_uptime_began_also_after_the_flows_in_the_same_message():
    decoded = Decoder().decode(
        ipfix(
            a_set(2, template(256, (22, 4), (21, 4))),
            a_set(3, ipfix_options_template(257, [(143, 4)], [(160, 8)])),
            a_set(256, whole((1_000, 4), (2_500, 4))),
            a_set(257, whole((1, 4), (400_000, 8))),
        ),
        "a",
        0,
    )
    assert (decoded.flows[0].start.tolist(), decoded.flows[0].end.tolist()) == ([401.0], [402.5])


def test_reserved_sets_are_counted_and_their_neighbours_decoded():
    decoder = Decoder()
    assert octets_of(decoder.decode(v9(TEMPLATE[9], a_set(77, b"what"), data(1)), "a", 0)) == [1]
    assert (decoder.counters.reserved_sets, decoder.counters.errors) == (1, 0)


def test_options_records_are_no_flows():
    decoder = Decoder()
    sets = a_set(1, v9_options_template(257, [(1, 4)], [(41, 4), (42, 4)])), a_set(257, bytes(24))
    assert decoder.decode(v9(*sets), "a", 0).flows == ()
    assert (decoder.counters.options_records, decoder.counters.records) == (2, 0)


def test_options_that_look_like_a_data_template_are_options_still():
    fields = [(149, 4), (34, 4)]
    decoder = Decoder()
    data_template, options_template = template(256, *fields), ipfix_options_template(257, fields[:1], fields[1:])
    decoded = decoder.decode(
        ipfix(a_set(2, data_template), a_set(3, options_template), a_set(256, bytes(8)), a_set(257, bytes(8))), "a", 0
    )
    assert (len(decoded.flows), decoder.counters.options_records) == (1, 1)
