"""Answers of Prometheus's HTTP API, as its documentation has them."""

from __future__ import annotations

import json
import random
from ipaddress import ip_network

import pytest

from neto.errors import WireError
from neto.wire.prometheus import Reading, complaint, read
from neto.wire.samples import Sample

TS = 1435781451.781
LABELS = {"vantage": "fra1", "peering_link": "fra-a", "prefix": "192.0.2.0/24"}


def series(value="0.0125", ts=TS, **labels):
    return {"metric": {"__name__": "probe_rtt_seconds", "instance": "x:9115", **LABELS, **labels}, "value": [ts, value]}


def ranged(*values, **labels):
    return {"metric": {**LABELS, **labels}, "values": [[TS + at, value] for at, value in enumerate(values)]}


def vector(*told, kind="vector"):
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": told}, "warnings": ["w"]}).encode()


def matrix(*told):
    return vector(*told, kind="matrix")


def sample(rtt_ms=12.5, loss=0.0, n=1, ts=TS, prefix="192.0.2.0/24", link="fra-a"):
    return Sample(ts, "fra1", link, ip_network(prefix), rtt_ms, loss, n)


def test_a_vector_of_seconds_is_samples():
    assert read(vector(series(), series("3", prefix="2001:db8::/32")), None, Reading()) == (
        [sample(), sample(3000.0, prefix="2001:db8::/32")],
        [],
    )


def test_units_labels_and_probes_are_as_the_settings_say():
    reading = Reading(ms=1.0, probes=7, vantage="pop", peering_link="uplink", prefix="dst")
    told = {"metric": {"pop": "fra1", "uplink": "fra-a", "dst": "192.0.2.0/24"}, "value": [TS, "12.5"]}
    assert read(vector(told), None, reading) == ([sample(n=7)], [])


def test_a_range_tells_each_sample_with_its_own_time():
    samples, refused = read(matrix(ranged("0.01", "0.02"), ranged("0.03", peering_link="b")), None, Reading())
    assert samples == [sample(10.0), sample(20.0, ts=TS + 1), sample(30.0, link="b")]
    assert refused == []


def test_round_trips_are_matched_with_their_losses():
    rtt = vector(series(), series("0.02", prefix="198.51.100.0/24"))
    loss = vector(series("0.25"), series("0", prefix="198.51.100.0/24"))
    assert read(rtt, loss, Reading())[0] == [sample(loss=0.25), sample(20.0, prefix="198.51.100.0/24")]
    assert read(matrix(ranged("0.01", "0.02")), matrix(ranged("0.5", "0")), Reading())[0] == [
        sample(10.0, loss=0.5),
        sample(20.0, ts=TS + 1),
    ]


def test_what_was_measured_between_the_queries_waits_for_the_next_ones():
    two, three = ranged("0.01", "0.02"), ranged("0.01", "0.02", "0.03")
    none, some = ranged("0", "0"), ranged("0", "0", "0.5")
    both = [sample(10.0), sample(20.0, ts=TS + 1)]
    assert read(matrix(two), matrix(some), Reading()) == (both, [])
    assert read(matrix(three), matrix(none), Reading()) == (both, [])
    assert read(matrix(two), matrix(ranged("0", "0", "1")), Reading())[0] == [*both, sample(None, 1.0, ts=TS + 2)]
    late = {"metric": LABELS, "values": three["values"][1:]}
    samples, refused = read(matrix(three), matrix({"metric": LABELS, "values": some["values"][1:]}), Reading())
    assert len(samples) == 2
    assert "no loss is told" in refused[0]  # an older one never comes
    samples, refused = read(matrix(late), matrix(some), Reading())
    assert len(samples) == 2
    assert "no rtt_ms, and loss 0.0 is not 1" in refused[0]


def test_losses_may_be_told_as_what_was_answered():
    told = matrix(ranged("0.75", "0"))
    assert read(matrix(ranged("0.01", "0")), told, Reading(answered=True))[0] == [
        sample(10.0, loss=0.25),
        sample(None, 1.0, ts=TS + 1),
    ]
    refused = read(matrix(ranged("0.01")), matrix(ranged("2")), Reading(answered=True))[1]
    assert "loss -1.0; accepted: 0 to 1" in refused[0]


@pytest.mark.parametrize("rtt", ["0", "NaN", "0.01", None])
def test_where_all_is_lost_a_round_trip_is_none_whatever_it_is_told_to_be(rtt):
    told = vector(*([series(rtt)] if rtt else []))
    assert read(told, vector(series("1")), Reading()) == ([sample(None, 1.0)], [])


@pytest.mark.parametrize(
    ("rtt", "loss", "why"),
    [
        (series("NaN"), None, "192.0.2.0/24 behind fra-a from fra1: rtt_ms nan; accepted: more than 0"),
        (series("+Inf"), None, "rtt_ms inf; accepted"), (series("-Inf"), None, "rtt_ms -inf"),
        (series("0"), None, "rtt_ms 0.0"), (series("-0.1"), None, "rtt_ms -100.0"), (series("11"), None, "rtt_ms 110"),
        (series("many"), None, "'many' is no number"), (series(3.5), None, "series 1: Expected `str`"),
        (series(ts="x"), None, "series 1: Expected `float`"), (series(prefix="192.0.2.1/24"), None, "has host bits"),
        (series(prefix="all"), None, "'all' does not appear to be"), (series(vantage=""), None, "'' is no name"),
        (series(peering_link="x" * 200), None, "is no name"), (series(vantage="a\nb"), None, "from a\\nb: "),
        ({"metric": {"vantage": "x", "job": "y"}, "value": [TS, "1"]}, None,
         "series 1: has no label 'peering_link'; its labels: 'job, vantage'"),
        ({"metric": LABELS, "histogram": [TS, {"count": "1"}]}, None, "accepted: floats, not native histograms"),
        (7, None, "series 1: Expected `object`"),
        (series(), series("NaN"), "loss nan; accepted: 0 to 1"), (series(), series("1.5"), "loss 1.5"),
        (series(), series("0", prefix="198.51.100.0/24"), "no loss is told for it; accepted: one"),
    ],
)  # fmt: skip
def test_what_is_no_sample_is_refused_with_where_and_what_is_accepted_and_spoils_no_other(rtt, loss, why):
    good, other = series(prefix="203.0.113.0/24"), series("0", prefix="203.0.113.0/24")
    samples, refused = read(vector(rtt, good), None if loss is None else vector(loss, other), Reading())
    assert samples == [sample(prefix="203.0.113.0/24")]
    assert why in refused[0]
    assert refused[0].isprintable()
    assert len(refused[0]) < 700


def test_a_loss_that_is_told_twice_is_none():
    samples, refused = read(vector(series()), vector(series("0"), series("0.5", instance="y:9115")), Reading())
    assert samples == []
    assert "two series tell its loss; accepted: one, as of avg by (" in refused[0]


def test_a_loss_without_a_round_trip_is_no_sample_unless_all_is_lost():
    samples, refused = read(vector(), vector(series("0.5")), Reading())
    assert samples == []
    assert "no rtt_ms, and loss 0.5 is not 1" in refused[0]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is not Prometheus's JSON"), (b"<html>", "is not Prometheus's JSON"), (b"[]", "is not Prometheus's JSON"),
        (b"\xff\xfe", "is not Prometheus's JSON"), (b"[" * 100_000, "is not Prometheus's JSON"),
        (b'{"status": "success"}', "accepted: success, with data"),
        (b'{"status": "error", "errorType": "bad_data", "error": "parse error"}', "'error', 'bad_data: parse error'"),
        (vector(series()).replace(b"success", b"error"), "status is 'error'"),  # with what it found until then
        (vector(TS, "1", kind="scalar"), "the query makes a 'scalar'; accepted: vector or matrix"),
        (vector(kind="string"), "the query makes a 'string'"),
        (b'{"status": "success", "data": {"resultType": "vector", "result": {}}}', "Expected `array`"),
        (b'{"status": "success", "data": {"resultType": "vector", "result": null}}', "Expected `array`"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error_that_says_why(body, why):
    with pytest.raises(WireError) as told:
        read(body, None, Reading())
    assert why in str(told.value)
    with pytest.raises(WireError):
        read(vector(series()), body, Reading())


def test_two_queries_are_of_one_kind():
    with pytest.raises(WireError, match="round trips are a vector, losses a matrix; accepted: both of one kind"):
        read(vector(series()), matrix(ranged("0")), Reading())


def test_numbers_are_bounded(monkeypatch):
    monkeypatch.setattr("neto.wire.prometheus.MOST_SAMPLES", 5)
    assert len(read(matrix(ranged(*["1"] * 5)), None, Reading())[0]) == 5
    with pytest.raises(WireError, match="more than 5 numbers"):
        read(matrix(ranged(*["1"] * 3), ranged(*["1"] * 3, peering_link="b")), None, Reading())
    with pytest.raises(WireError, match="more than 5 series"):
        read(vector(*[7] * 6), None, Reading())


def test_a_complaint_is_found_where_there_is_one():
    assert (
        complaint(b'{"status":"error","errorType":"bad_data","error":"parse\\nerror"}') == r"'bad_data: parse\nerror'"
    )
    assert complaint(b"<html>502 Bad Gateway") == ""
    assert complaint(b'{"status":"success"}') == ""


def test_damaged_answers_are_samples_refusals_or_an_error():
    chance = random.Random(5)
    whole = matrix(ranged("0.01", "0.02"), ranged("NaN"), {"metric": {}, "values": []})
    for _ in range(3000):
        octets = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        try:
            samples, _ = read(
                bytes(octets[: chance.randint(1, len(octets))] if chance.random() < 0.3 else octets), None, Reading()
            )
        except WireError:
            continue
        assert all(each.rtt_ms is not None and 0 < each.rtt_ms <= 10_000 for each in samples)
