"""What an exporter says it left out, in every form that exporters say it, reaches the flows that it holds for."""

from __future__ import annotations

import struct

import pytest

from neto.wire.netflow import Decoder
from neto.wire.netflow.sampling import MAX_SAMPLERS
from tests.wire.netflow.packets import (
    a_set,
    ipfix,
    ipfix_options_template,
    template,
    v9,
    v9_options_template,
    whole,
)


def announced(scope, options, *records, version=10, domain=1, decoder=None):
    """A decoder that has heard these options."""
    decoder = decoder or Decoder()
    if version == 10:
        sets = a_set(3, ipfix_options_template(400, scope, options)), a_set(400, b"".join(records))
        decoded = decoder.decode(ipfix(*sets, domain=domain), "a", 0)
    else:
        sets = a_set(1, v9_options_template(400, scope, options)), a_set(400, b"".join(records))
        decoded = decoder.decode(v9(*sets, domain=domain), "a", 0)
    assert decoded.problems == ()
    return decoder


def sampled(decoder, *fields, values, version=10, domain=1):
    """Sampling of the flows of one set."""
    message, number = (ipfix, 2) if version == 10 else (v9, 0)
    packet = message(a_set(number, template(300, *fields)), a_set(300, whole(*values)), domain=domain)
    (flows,) = decoder.decode(packet, "a", 0).flows
    return [
        n if known else None for n, known in zip(flows.sampling.tolist(), flows.sampling_told.tolist(), strict=True)
    ]


def plain(decoder, **options):
    return sampled(decoder, (1, 4), values=[(100, 4)], **options)


@pytest.mark.parametrize(
    ("options", "values", "interval"),
    [
        ([(34, 4)], [(1000, 4)], 1000),
        ([(34, 4), (35, 1)], [(512, 4), (2, 1)], 512),
        ([(50, 2), (49, 1)], [(100, 2), (2, 1)], 100),
        ([(305, 4), (306, 4)], [(1, 4), (999, 4)], 1000),
        ([(304, 2), (305, 4), (306, 4)], [(1, 2), (2, 4), (3, 4)], 2.5),
        ([(305, 4)], [(64, 4)], 64),
        ([(305, 4)], [(1, 4)], None),  # one in a row; of how many is not said
        ([(305, 4), (304, 2), (309, 4), (310, 4)], [(1, 4), (3, 2), (1, 4), (256, 4)], 256),  # as IOS XR has it
        ([(305, 4), (304, 2), (309, 4), (310, 4)], [(256, 4), (3, 2), (1, 4), (256, 4)], 256),
        ([(309, 4), (310, 4)], [(1, 4), (2048, 4)], 2048),
        ([(311, 8)], [struct.pack("!d", 0.125)], 8),
        ([(34, 4)], [(0, 4)], None),  # nothing said
        ([(305, 4), (306, 4)], [(0, 4), (0, 4)], None),
        ([(309, 4), (310, 4)], [(0, 4), (2048, 4)], None),
        ([(309, 4), (310, 4)], [(4096, 4), (2048, 4)], None),  # more looked at than there was
        ([(311, 8)], [struct.pack("!d", float("nan"))], None),
        ([(311, 8)], [struct.pack("!d", 1e-300)], None),
    ],
)
def test_an_interval_is_announced_for_all_of_a_domain(options, values, interval):
    assert plain(announced([(149, 4)], options, whole((1, 4), *values))) == [interval]
    assert plain(announced([(1, 4)], options, whole((0, 4), *values), version=9), version=9) == [interval]


def test_the_records_own_word_counts_before_what_was_announced():
    decoder = announced([(149, 4)], [(34, 4)], whole((1, 4), (1000, 4)))
    assert sampled(decoder, (1, 4), (34, 4), values=[(5, 4), (10, 4), (5, 4), (0, 4)]) == [10, 1000]
    assert sampled(decoder, (1, 4), (305, 4), (306, 4), values=[(5, 4), (1, 4), (1, 4)]) == [2]
    both = [(5, 4), (1, 4), (1, 4), (10, 4)]
    assert sampled(decoder, (1, 4), (305, 4), (306, 4), (34, 4), values=both) == [10]


@pytest.mark.parametrize("number", [48, 302])
def test_samplers_are_matched_by_their_number(number):
    decoder = announced(
        [(1, 4)], [(48, 2), (50, 4)], whole((0, 4), (1, 2), (100, 4), (0, 4), (2, 2), (2000, 4)), version=9
    )
    values = [(5, 4), (2, 2), (5, 4), (1, 2), (5, 4), (3, 2)]
    assert sampled(decoder, (1, 4), (number, 2), values=values, version=9) == [2000, 100, None]


def test_a_sampler_announced_by_another_domain_of_the_exporter_is_found_after_the_domains_own():
    decoder = announced([(1, 4)], [(48, 2), (50, 4)], whole((0, 4), (1, 2), (100, 4)), version=9, domain=1)
    announced([(1, 4)], [(48, 2), (50, 4)], whole((0, 4), (2, 2), (200, 4)), version=9, domain=2, decoder=decoder)
    announced([(1, 4)], [(48, 2), (50, 4)], whole((0, 4), (1, 2), (500, 4)), version=9, domain=2, decoder=decoder)
    values = [(5, 4), (1, 2), (5, 4), (2, 2)]
    assert sampled(decoder, (1, 4), (48, 2), values=values, version=9, domain=1) == [100, 200]


def test_flows_that_name_no_sampler_are_taken_to_be_the_only_ones():
    decoder = announced([(1, 4)], [(48, 2), (50, 4)], whole((0, 4), (1, 2), (100, 4)), version=9)
    assert plain(decoder, version=9) == [100]
    announced([(1, 4)], [(48, 2), (50, 4)], whole((0, 4), (2, 2), (200, 4)), version=9, decoder=decoder)
    assert plain(decoder, version=9) == [None]  # there is a choice now


def test_flows_that_name_another_sampler_than_the_only_one_are_not_its_own():
    decoder = announced([(1, 4)], [(48, 2), (50, 4)], whole((0, 4), (1, 2), (100, 4)), version=9)
    assert sampled(decoder, (1, 4), (48, 2), values=[(5, 4), (2, 2)], version=9) == [None]


@pytest.mark.parametrize("version", [9, 10])
def test_an_interface_has_an_interval_of_its_own(version):
    scope = [(2, 4)] if version == 9 else [(10, 4)]
    decoder = announced(scope, [(34, 4)], whole((7, 4), (100, 4), (8, 4), (1000, 4)), version=version)
    values = [(5, 4), (8, 2), (5, 4), (7, 2), (5, 4), (9, 2)]
    assert sampled(decoder, (1, 4), (10, 2), values=values, version=version) == [1000, 100, None]


@pytest.mark.parametrize("version", [9, 10])
def test_a_template_has_an_interval_of_its_own(version):
    scope = [(5, 2)] if version == 9 else [(145, 2)]
    decoder = announced(scope, [(34, 4)], whole((300, 2), (100, 4)), version=version)
    assert plain(decoder, version=version) == [100]
    decoder = announced(scope, [(34, 4)], whole((301, 2), (100, 4)), version=version)
    assert plain(decoder, version=version) == [None]


def test_a_later_word_replaces_an_earlier_one():
    decoder = announced([(149, 4)], [(34, 4)], whole((1, 4), (1000, 4)))
    assert plain(announced([(149, 4)], [(34, 4)], whole((1, 4), (10, 4)), decoder=decoder)) == [10]


def test_exporters_do_not_hear_each_other():
    decoder = announced([(149, 4)], [(34, 4)], whole((1, 4), (1000, 4)))
    packet = ipfix(a_set(2, template(300, (1, 4))), a_set(300, whole((5, 4))))
    assert not decoder.decode(packet, "b", 0).flows[0].sampling_told.any()


def test_a_flood_of_samplers_is_bounded():
    decoder = Decoder()
    for block in range(20):
        records = [whole((block * 1000 + n, 4), (10, 4)) for n in range(1000)]
        announced([(302, 4)], [(34, 4)], *records, decoder=decoder)
    assert len(decoder._exporters["a"].samplers._known) <= MAX_SAMPLERS
    assert sampled(decoder, (1, 4), (302, 4), values=[(5, 4), (19_999, 4)]) == [10]
