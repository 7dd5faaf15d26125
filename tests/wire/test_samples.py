"""Latency samples: what probes send is read, what nobody can measure is refused one by one."""

from __future__ import annotations

import json
import math
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.errors import WireError
from neto.wire.samples import COLUMNS, Sample, read_csv, read_json

GOOD = {
    "ts": 1700000000.5, "vantage": "fra1", "peering_link": "fra-a-1", "prefix": "192.0.2.0/24",
    "rtt_ms": 12.5, "loss": 0.1, "n": 10,
}  # fmt: skip
READ = Sample(1700000000.5, "fra1", "fra-a-1", ip_network("192.0.2.0/24"), 12.5, 0.1, 10)


def as_json(*samples):
    return json.dumps(list(samples)).encode()


def as_csv(*samples):
    lines = [",".join("" if each.get(name) is None else str(each[name]) for name in COLUMNS) for each in samples]
    return "\n".join([",".join(COLUMNS), *lines]) + "\n"


def test_one_sample_in_every_shape():
    assert read_json(as_json(GOOD)) == ([READ], [])
    assert read_json(json.dumps(GOOD).encode()) == ([READ], [])
    assert read_json(b"\n".join([json.dumps(GOOD).encode()] * 2)) == ([READ, READ], [])
    assert read_csv(as_csv(GOOD, GOOD)) == ([READ, READ], [])
    assert read_json(as_json(GOOD | {"probe": "later"})) == ([READ], [])


def test_probes_that_were_all_lost_have_no_rtt():
    lost = Sample(READ.ts, "fra1", "fra-a-1", READ.prefix, None, 1.0, 10)
    gone = GOOD | {"rtt_ms": None, "loss": 1}
    assert read_json(as_json(gone)) == ([lost], [])
    assert read_csv(as_csv(gone)) == ([lost], [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"rtt_ms": 0}, {"rtt_ms": -1}, {"rtt_ms": 10001}, {"rtt_ms": "fast"}, {"rtt_ms": None}, {"rtt_ms": 1e309},
        {"loss": -0.1}, {"loss": 1.1}, {"n": 0}, {"n": 1.5}, {"n": 10**9}, {"prefix": "192.0.2.1/24"},
        {"prefix": "all"}, {"vantage": ""}, {"peering_link": "a\x1b[2J"}, {"vantage": "x" * 200}, {"ts": "soon"},
        {"ts": None},
    ],
)  # fmt: skip
def test_what_nobody_can_measure_is_refused_and_the_rest_is_taken(wrong):
    told = json.dumps([GOOD, GOOD | wrong, GOOD]).replace("Infinity", "1e999").encode()
    if b"1e999" in told:
        with pytest.raises(WireError):
            read_json(told)
        return
    samples, refused = read_json(told)
    assert samples == [READ, READ]
    assert [line.split(":")[0] for line in refused] == ["sample 2"]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("field", ["ts", "rtt_ms", "loss"])
def test_numbers_that_are_none_are_refused_in_csv(field, value):
    samples, refused = read_csv(as_csv(GOOD | {field: value}))
    assert (samples, len(refused)) == ([], 1)


@pytest.mark.parametrize("text", [b"", b"[]"])
def test_nothing_is_no_samples(text):
    assert read_json(text) == ([], [])


@pytest.mark.parametrize("text", [b"hello", b"[1,", b"{", b"\xff\xfe", b'["\xcf"]', b"[" * 100000])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(WireError):
        read_json(text)


def test_a_header_of_other_names_is_refused():
    with pytest.raises(WireError, match="columns"):
        read_csv("time,link,rtt\n1,2,3\n")


def test_too_many_samples_at_once_are_refused():
    with pytest.raises(WireError, match="more than"):
        read_json(b"[" + b",".join([b"1"] * 100_001) + b"]")


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers()))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*COLUMNS, "more"]), values))
def test_whatever_the_fields_hold_it_is_a_sample_or_refused(changes):
    told = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in (GOOD | changes).items()}
    samples, refused = read_json(as_json(told))
    assert len(samples) + len(refused) == 1
    for sample in samples:
        assert sample.rtt_ms is None or 0 < sample.rtt_ms <= 10_000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=200))
def test_random_text_is_read_or_refused(octets, text):
    for read, told in ((read_json, octets), (read_csv, text), (read_csv, ",".join(COLUMNS) + "\n" + text)):
        try:
            read(told)
        except WireError:
            continue
