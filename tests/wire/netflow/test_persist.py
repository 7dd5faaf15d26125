"""What was learned of exporters outlives a restart; a document is trusted no more than a datagram."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neto.errors import WireError
from neto.lab.export import Exporter, Flow
from neto.wire.netflow import Decoder
from neto.wire.netflow.persist import MAX_AGE_S, encode, remember, restore
from tests.wire.netflow.packets import a_set, ipfix, template

T0 = 1_800_000_000.0
FLOW = Flow(IPv4Address("10.1.0.1"), IPv4Address("10.2.0.1"), octets=50_000, packets=50)


def learned(form="ipfix", *, sampling=1000, packets=()):
    """A decoder that has heard one exporter, that exporter, and the document."""
    decoder, exporter = Decoder(), Exporter(form, 7, sampling=sampling, template_every_s=1e9)
    for packet in [*exporter.packets([FLOW], T0), *packets]:
        decoder.decode(packet, "192.0.2.1", T0)
    return decoder, exporter, encode(remember(decoder.exporters, T0))


@pytest.mark.parametrize("form", ["v9", "ipfix"])
def test_a_new_decoder_reads_at_once_what_the_old_one_could_with_its_sampling(form):
    _, exporter, document = learned(form)
    fresh = Decoder()
    assert restore(document, fresh.exporters, T0 + 60) == 3
    (packet,) = exporter.packets([FLOW], T0 + 60)
    (flows,) = fresh.decode(packet, "192.0.2.1", T0 + 60).flows
    assert (flows.octets.tolist(), flows.sampling.tolist(), flows.sampling_told.tolist()) == ([50], [1000.0], [True])
    assert Decoder().decode(packet, "192.0.2.1", T0).flows == ()


def test_when_an_uptime_began_is_remembered_too():
    options = a_set(3, bytes.fromhex("0104 0002 0001 0095 0004 00a0 0008"))  # 160, in the scope of the domain (149)
    decoder, _, document = learned(packets=[ipfix(options, a_set(260, bytes(4) + (1234567).to_bytes(8, "big")))])
    fresh = Decoder()
    restore(document, fresh.exporters, T0)
    assert dict(fresh.exporters["192.0.2.1"].boots) == dict(decoder.exporters["192.0.2.1"].boots) == {1: 1234.567}


def test_what_is_saved_again_is_the_same():
    _, _, document = learned()
    fresh = Decoder()
    restore(document, fresh.exporters, T0)
    assert encode(remember(fresh.exporters, T0)) == document


def test_what_an_exporter_has_told_since_counts_for_more():
    _, _, document = learned()
    fresh = Decoder()
    fresh.decode(ipfix(a_set(2, template(257, (1, 4))), domain=7), "192.0.2.1", T0)
    before = fresh.exporters["192.0.2.1"].template((10, 7, 257))
    assert restore(document, fresh.exporters, T0) == 2
    assert fresh.exporters["192.0.2.1"].template((10, 7, 257)) is before


def test_many_exporters_with_one_layout_write_it_once():
    decoder = Decoder()
    for n in range(50):
        for packet in Exporter("ipfix", n).packets([FLOW], T0):
            decoder.decode(packet, f"192.0.2.{n}", T0)
    told = msgspec.json.decode(encode(remember(decoder.exporters, T0)))
    assert (len(told["layouts"]), len(told["exporters"])) == (3, 50)


@pytest.mark.parametrize("now", [T0 - 10, T0 + MAX_AGE_S + 1])
def test_what_is_too_old_or_of_the_future_is_not_believed(now):
    _, _, document = learned()
    fresh = Decoder()
    with pytest.raises(WireError, match="ago"):
        restore(document, fresh.exporters, now)
    assert len(fresh.exporters) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(version=2),
        lambda d: d.update(more=1),
        lambda d: d.update(at="now"),
        lambda d: d["layouts"].pop(),
        lambda d: d["layouts"][0].update(specifiers="zz"),
        lambda d: d["layouts"][0].update(specifiers="0008"),
        lambda d: d["layouts"][0].update(specifiers=""),
        lambda d: d["layouts"][0].update(specifiers="0008ffff" * 3000),
        lambda d: d["layouts"][0].update(version=5),
        lambda d: d["layouts"][0].update(scope=9999, options=True),
        lambda d: d["layouts"][0].update(scope=9999, options=True, version=9),
        lambda d: d["exporters"][0]["templates"].append([7, 12, 0]),
        lambda d: d["exporters"][0]["templates"].append([7, 300, -1]),
        lambda d: d["exporters"][0]["samplers"].append([7, "sampler", 1, 0.0]),
        lambda d: d["exporters"][0]["samplers"].append([7, "moon", 1, 2.0]),
        lambda d: d["exporters"][0].update(templates=[[7, 300, 0]] * 2000),
    ],
)
def test_a_document_that_no_decoder_wrote_is_refused_whole(change):
    _, _, document = learned()
    told = msgspec.json.decode(document)
    change(told)
    fresh = Decoder()
    with pytest.raises(WireError):
        restore(msgspec.json.encode(told), fresh.exporters, T0)
    assert len(fresh.exporters) == 0


@given(st.integers(0, 1 << 32))
def test_octets_changed_at_random_are_read_or_refused(seed):
    chance, document = random.Random(seed), bytearray(learned()[2])
    for _ in range(chance.randrange(1, 4)):
        document[chance.randrange(len(document))] = chance.randrange(256)
    fresh = Decoder()
    try:
        restore(bytes(document), fresh.exporters, T0)
    except WireError:
        return
    fresh.decode(Exporter("ipfix", 7).packets([FLOW], T0)[-1], "192.0.2.1", T0)
