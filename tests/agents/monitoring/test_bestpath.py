"""Route selection against RFC 4271 §9.1.2 taken literally, one prefix after another."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.agents.monitoring.bestpath import Columns, Source, best_rows
from neto.wire.bgp import Attributes, SegmentKind

HOPS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
INTERIOR = {"10.0.0.1": 10.0, "10.0.0.2": 20.0}  # the third cannot be reached


@dataclass(frozen=True)
class Route:
    table: int
    source: Source
    attributes: Attributes


def literal(routes, interior):
    """RFC 4271 §9.1.2 with the changes of RFC 4456 §9, step by step on a list."""
    left = [r for r in routes if not r.source.internal or interior is None or r.attributes.next_hop in interior]

    def keep(key):
        nonlocal left
        left = [r for r in left if key(r) == min(map(key, left))]

    keep(lambda r: -(100 if r.attributes.local_pref is None else r.attributes.local_pref))
    keep(lambda r: r.attributes.path_length)
    keep(lambda r: r.attributes.origin)
    left = [
        m
        for m in left
        if not any(
            n.attributes.neighbor_as == m.attributes.neighbor_as and (n.attributes.med or 0) < (m.attributes.med or 0)
            for n in left
        )
    ]
    if any(not r.source.internal for r in left):
        left = [r for r in left if not r.source.internal]
    keep(lambda r: 0 if interior is None or not r.source.internal else interior[r.attributes.next_hop])
    keep(lambda r: ip_address(r.source.bgp_id) if r.attributes.originator_id is None
         else ip_address(r.attributes.originator_id))  # fmt: skip
    keep(lambda r: len(r.attributes.cluster_list))
    keep(lambda r: ip_address(r.source.address))
    return min((r.table for r in left), default=-1)


few = st.integers(0, 2)
paths = st.lists(st.integers(1, 3), max_size=3).map(lambda path: ((SegmentKind.SEQUENCE, tuple(path)),) if path else ())
sources = st.tuples(few, few, st.booleans()).map(
    lambda x: Source(f"192.0.2.{x[0]}", f"192.0.2.{10 + x[1]}", internal=x[2])
)


@st.composite
def attributes(draw, number):
    return Attributes(
        key=number.to_bytes(2, "big"),
        origin=draw(few),
        as_path=draw(paths),
        next_hop=draw(st.sampled_from(HOPS)),
        local_pref=draw(st.sampled_from([None, 100, 200])),
        med=draw(st.sampled_from([None, 0, 10])),
        originator_id=draw(st.sampled_from([None, int(ip_address("192.0.2.11")), 1])),
        cluster_list=(7,) * draw(few),
    )


@st.composite
def borders(draw):
    told = draw(st.lists(sources, min_size=1, max_size=5))
    sets = [draw(attributes(number)) for number in range(draw(st.integers(1, 6)))]
    prefixes = draw(st.integers(1, 4))
    row = st.lists(st.integers(-1, len(sets) - 1), min_size=prefixes, max_size=prefixes)
    return told, sets, np.array([draw(row) for _ in told], np.int32)


@settings(max_examples=1500, deadline=None)
@given(borders(), st.sampled_from([None, INTERIOR]))
def test_the_best_route_is_the_one_that_the_rfc_picks(border, interior):
    told, sets, candidates = border
    best = best_rows(candidates, told, Columns.of(sets), interior)
    for prefix, chosen in enumerate(best):
        routes = [Route(table, told[table], sets[row]) for table, row in enumerate(candidates[:, prefix]) if row >= 0]
        assert chosen == literal(routes, interior)


def test_a_border_without_tables_has_no_best_route():
    assert best_rows(np.empty((0, 3), np.int32), (), Columns.of([])).tolist() == [-1, -1, -1]


@pytest.mark.parametrize(("med", "best"), [((0, 5), 0), ((5, 0), 1)])
def test_med_counts_between_routes_of_one_as_only(med, best):
    def route(number, asn, value):
        return Attributes(bytes([number]), 0, ((SegmentKind.SEQUENCE, (asn,)),), HOPS[0], med=value)

    same = [route(0, 1, med[0]), route(1, 1, med[1])]
    other = [route(0, 1, med[0]), route(1, 2, med[1])]
    told = [Source("192.0.2.1", "192.0.2.1", internal=False), Source("192.0.2.2", "192.0.2.2", internal=False)]
    column = np.array([[0], [1]], np.int32)
    assert best_rows(column, told, Columns.of(same)).tolist() == [best]
    assert best_rows(column, told, Columns.of(other)).tolist() == [0]  # by identifier


@pytest.mark.parametrize(("hops", "best"), [((10, 9), 1), ((9, 10), 0)])
def test_of_what_a_router_tells_itself_its_own_route_is_better_than_one_it_reflects_and_then_the_lowest_next_hop(
    hops, best
):
    def route(number, hop, originator=None):
        key = bytes([number])
        return Attributes(key, 0, ((SegmentKind.SEQUENCE, (1,)),), f"192.0.2.{hop}", originator_id=originator)

    told = [Source("10.0.0.1", "10.0.0.1", internal=True, itself=True)] * 3
    sets = [route(number, hop) for number, hop in enumerate(hops)]
    column = np.array([[0], [1], [2]], np.int32)
    assert best_rows(column, told, Columns.of([*sets, route(2, 1, originator=1)])).tolist() == [best]
