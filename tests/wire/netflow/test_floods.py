"""Floods of templates leave little behind: what reading takes is made at the first data, and what is gone is gone."""

from __future__ import annotations

from collections import deque

import numpy as np

from neto.wire.netflow import Decoder, bulk, templates
from neto.wire.netflow.bulk import BulkDecoder
from neto.wire.netflow.plans import Planned
from neto.wire.netflow.state import MAX_TEMPLATES
from tests.wire.netflow.packets import a_set, ipfix, template, v9


def known(decoder):
    ((_, state),) = decoder.exporters.items()
    return state.templates


def told(decoder, packet, now=1.0):
    decoded = decoder.decode(packet, "192.0.2.1", now)
    return sum(map(len, decoded.flows)), [str(problem) for problem in decoded.problems]


def test_a_template_is_made_readable_by_its_first_data_alone():
    decoder = Decoder()
    told(decoder, v9(a_set(0, template(256, (9001, 7), (1, 4)) + template(257, (9002, 7), (1, 4)))))
    assert [layout.is_read for layout in known(decoder).values()] == [False, False]
    assert told(decoder, v9(a_set(257, bytes(22)))) == (2, [])
    assert [layout.is_read for layout in known(decoder).values()] == [False, True]


def test_no_more_layouts_are_readable_than_are_to_be_and_all_can_be_read_again(monkeypatch):
    monkeypatch.setattr(templates, "_MOST_READ", 8)
    monkeypatch.setattr(templates, "_READ", deque())
    decoder = Decoder()
    for n in range(40):
        told(decoder, v9(a_set(0, template(256 + n, (8000 + n, 7), (1, 4)))))
        told(decoder, v9(a_set(256 + n, bytes(11))))
    assert sum(layout.is_read for layout in known(decoder).values()) <= 8
    for n in range(40):
        assert told(decoder, v9(a_set(256 + n, bytes(22)))) == (2, [])


def test_rows_of_layouts_are_the_same_however_they_came():
    """Oracle: each layout's row, written first into an empty table."""
    chance, decoder = np.random.default_rng(1), Decoder()
    for n in range(300):
        fields = [(int(chance.integers(1, 400)), int(chance.choice([1, 2, 4, 8, 16]))) for _ in range(20)]
        varying = [(82, 65535)] if n % 2 else []
        told(decoder, ipfix(a_set(2, template(256 + n, *fields, *varying, (30000, 4, 9)))))
    layouts = list(known(decoder).values())
    assert len(layouts) == 300
    planned = Planned()
    planned.row(layouts[7])
    planned.clear()
    for row, layout in enumerate(layouts):
        assert planned.row(layout) == planned.row(layout) == row
        alone = Planned()
        alone.row(layout)
        many, one = planned.plans, alone.plans
        assert (many.length[row], many.place[row].tolist()) == (one.length[0], one.place[0].tolist())
        assert many.told_as[row].tolist() == one.told_as[0].tolist()
        fields = many.field[many.field_start[row] : many.field_start[row + 1]]
        assert fields.tolist() == one.field[: one.field_start[1]].tolist()


def test_withdrawals_take_what_they_name_and_no_more():
    decoder, expected = Decoder(), {}
    chance = np.random.default_rng(3)
    for _ in range(400):
        domain, number, options = int(chance.integers(3)), 256 + int(chance.integers(9)), int(chance.integers(2))
        kind = chance.random()
        if kind < 0.6:
            record = template(number, (1, 4), (8, 4))
            record = record[:4] + b"\0\1" + record[4:] if options else record
            expected[10, domain, number] = bool(options)
        elif kind < 0.95:
            record = np.array([number, 0], ">u2").tobytes()
            if expected.get((10, domain, number)) == options:
                del expected[10, domain, number]
        else:
            record = np.array([2 + options, 0], ">u2").tobytes()
            expected = {key: value for key, value in expected.items() if (key[1], value) != (domain, options)}
        assert told(decoder, ipfix(a_set(2 + options, record), domain=domain)) == (0, [])
        assert {key: layout.options for key, layout in known(decoder).items()} == expected


def test_templates_beyond_the_most_push_out_the_oldest_and_withdrawals_know_it():
    decoder = Decoder()
    for n in range(MAX_TEMPLATES + 50):
        told(decoder, ipfix(a_set(2, template(256 + n, (1, 4)))))
    assert [key[2] for key in known(decoder)] == [256 + 50 + n for n in range(MAX_TEMPLATES)]
    ((_, state),) = decoder.exporters.items()
    assert sum(map(len, state._kinds.values())) == MAX_TEMPLATES
    told(decoder, ipfix(a_set(2, b"\0\2\0\0")))
    assert not known(decoder)
    assert not state._kinds


def test_what_waits_for_one_template_is_taken_in_order_and_the_rest_waits_on():
    decoder = Decoder()
    for n in range(90):
        told(decoder, v9(a_set(300 + n % 3, n.to_bytes(4, "big"))), now=1.0 + n / 10)
    decoded = decoder.decode(v9(a_set(0, template(301, (1, 4)))), "192.0.2.1", 10.0)
    octets = [octets for flows in decoded.flows for octets in flows.octets.tolist()]
    assert octets == list(range(1, 90, 3))
    assert sorted(decoder.waiting.values()) == [30, 30]
    decoder.expire(65.0)  # sets that came before second 5
    assert sum(decoder.waiting.values()) == len([n for n in range(90) if n % 3 != 1 and 1.0 + n / 10 >= 5.0])
    assert decoder.given_up["192.0.2.1"] == decoder.counters.undecoded_sets == 60 - sum(decoder.waiting.values())


def test_a_sampler_that_is_announced_anew_leaves_nothing_of_what_it_had():
    decoder = Decoder()
    options = np.array([300, 4, 8, 1, 4, 48, 4, 34, 4], ">u2").tobytes()
    for interval in (100, 200, 200):
        sampler = np.array([0, 1, interval], ">u4").tobytes()
        told(decoder, v9(a_set(1, options), a_set(300, sampler)))
        flows = decoder.decode(v9(a_set(0, template(256, (1, 4))), a_set(256, bytes(4))), "192.0.2.1", 1.0).flows
        assert flows[0].sampling.tolist() == [interval]  # no choice of samplers, and the records name none
    ((_, state),) = decoder.exporters.items()
    assert [numbers.tolist() for numbers in state.samplers.numbered(1, "sampler")] == [[1], [200.0]]


def test_numbers_of_samplers_that_hold_no_more_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(bulk, "_OUTDATED", 100)
    reader = BulkDecoder(Decoder(), ["192.0.2.1"], timer=lambda: 0.0)
    options = np.array([300, 4, 8, 1, 4, 48, 4, 34, 4], ">u2").tobytes()
    flows = template(256, (1, 4), (48, 4))
    for n in range(200):
        sampler = np.array([0, n % 7 + 1, n + 1], ">u4").tobytes()
        packets = [v9(a_set(1, options), a_set(300, sampler)), v9(a_set(0, flows)), *[v9(a_set(256, bytes(8)))] * 3]
        rows = np.zeros((len(packets), 256), np.uint8)
        for row, packet in zip(rows, packets, strict=True):
            row[: len(packet)] = np.frombuffer(packet, np.uint8)
        list(reader.read(rows, np.array([*map(len, packets)]), np.zeros(len(packets), np.int32), 1.0))
        assert reader._numbers <= 200
