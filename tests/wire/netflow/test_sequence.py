"""Sequence numbers tell what is missing: flows, data records or packets, and only what is."""

from __future__ import annotations

from neto.wire.netflow import Decoder
from neto.wire.netflow.sequence import Arrival, Sequence
from tests.wire.netflow.packets import a_set, ipfix, template, v5, v5_record, v9, whole

TEMPLATE = a_set(2, template(256, (1, 4)))


def records(count):
    return a_set(256, whole(*[(5, 4)] * count))


def counters(packets, exporter="a"):
    decoder = Decoder()
    for packet in packets:
        decoder.decode(packet, exporter, 0)
    return decoder.counters


def test_v5_counts_flows():
    full, short = [v5_record()] * 30, [v5_record()] * 4
    seen = counters([v5(*full, sequence=100), v5(*short, sequence=130), v5(*full, sequence=194)])
    assert (seen.gaps, seen.lost_flows, seen.lost_packets) == (1, 60, 0)


def test_v9_counts_packets():
    seen = counters([v9(sequence=9), v9(sequence=10), v9(sequence=14)])
    assert (seen.gaps, seen.lost_flows, seen.lost_packets) == (1, 0, 3)


def test_ipfix_counts_data_records_and_no_templates():
    seen = counters([ipfix(TEMPLATE, records(3), sequence=0), ipfix(records(2), sequence=3), ipfix(sequence=12)])
    assert (seen.gaps, seen.lost_flows) == (1, 7)


def test_ipfix_numbers_that_count_their_own_message_are_no_gap():
    sizes, total, packets = [4, 2, 7, 7, 1], 0, []
    for size in sizes:
        total += size
        packets.append(ipfix(TEMPLATE, records(size), sequence=total))
    assert counters(packets).gaps == 0


def test_a_message_that_cannot_be_decoded_makes_no_claim():
    seen = counters([ipfix(records(3), sequence=0), ipfix(TEMPLATE, records(1), sequence=3), ipfix(sequence=4)])
    assert (seen.gaps, seen.lost_flows) == (0, 0)


def test_domains_and_exporters_have_sequences_of_their_own():
    decoder = Decoder()
    for exporter, domain, sequence in [("a", 1, 5), ("a", 2, 900), ("b", 1, 77), ("a", 1, 6), ("a", 2, 901)]:
        decoder.decode(v9(sequence=sequence, domain=domain), exporter, 0)
    assert decoder.counters.gaps == decoder.counters.late_messages == decoder.counters.restarts == 0


def test_numbers_wrap():
    seen = counters([v9(sequence=2**32 - 1), v9(sequence=0), v9(sequence=1)])
    assert seen.gaps == seen.restarts == seen.late_messages == 0


def test_overtaken_messages_are_late_and_not_lost_twice():
    sequence = Sequence()
    arrivals = [sequence.arrived(number, (1,)) for number in (1, 2, 4, 3, 5)]
    assert arrivals == [
        (Arrival.IN_ORDER, 0),
        (Arrival.IN_ORDER, 0),
        (Arrival.GAP, 1),
        (Arrival.LATE, 0),
        (Arrival.IN_ORDER, 0),
    ]


def test_an_exporter_that_starts_anew_lost_nothing():
    assert counters([v9(sequence=500), v9(sequence=0), v9(sequence=1)]).restarts == 1
    far = counters([v9(sequence=500), v9(sequence=3_000_000_000), v9(sequence=3_000_000_001)])
    assert (far.restarts, far.gaps) == (1, 0)


def test_an_exporter_whose_first_messages_after_a_restart_were_lost_is_believed_soon():
    seen = counters([v9(sequence=number) for number in (500, 3, 4, 5, 6, 7, 9)])
    assert (seen.late_messages, seen.restarts, seen.lost_packets) == (2, 1, 1)


def test_a_sequence_tells_what_came_what_is_missing_and_what_was_only_overtaken():
    sequence = Sequence()
    for number, units in ((10, 5), (15, 5), (30, 5), (20, 5), (35, 5), (0, 5)):
        sequence.arrived(number, (units,))
    losses = sequence.losses
    assert (losses.messages, losses.units, losses.gaps, losses.missing) == (6, 30, 1, 10)
    assert (losses.late, losses.recovered, losses.restarts) == (1, 5, 1)


def test_what_is_given_up_for_want_of_a_template_is_told_by_exporter():
    decoder = Decoder()
    decoder.decode(ipfix(records(3)), "a", 0.0)
    decoder.decode(ipfix(records(3)), "b", 50.0)
    decoder.decode(ipfix(), "c", 61.0)
    assert decoder.given_up == {"a": 1}
    assert {exporter for exporter, _ in decoder.exporters.items()} == {"a", "b", "c"}
