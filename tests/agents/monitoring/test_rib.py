"""The table of routes against a plain dictionary, and what it never holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.agents.monitoring.exits import MOST_PATHS, copy, route_table
from neto.agents.monitoring.rib import NONE, Limits, Rib
from neto.model.peering import PeeringLink
from neto.wire.bgp import Family, UpdateReader, prefix_of
from neto.wire.bgp.open import decode_open
from neto.wire.bmp import Peer, PeerKind, View
from tests.wire.bgp.octets import attributes, nlri, open_body, sequence, update

READER = UpdateReader()
PREFIXES = [f"10.{number}.0.0/16" for number in range(6)]


def peer(number):
    """An ISP; number 9 is a router of ours."""
    return Peer(PeerKind.GLOBAL, 0, f"192.0.2.{number}", 65000 if number == 9 else 64500 + number, f"192.0.2.{number}")


SENT = decode_open(open_body(65000))


def announce(prefixes, path_ids=None, **told):
    reached = b"".join(nlri(p, None if path_ids is None else path_ids[at]) for at, p in enumerate(prefixes))
    families = frozenset() if path_ids is None else frozenset([Family.IPV4])
    return READER.read(update(attributes(**told), reached), add_path=families)


def withdraw(prefixes, path_ids=None):
    gone = b"".join(nlri(p, None if path_ids is None else path_ids[at]) for at, p in enumerate(prefixes))
    families = frozenset() if path_ids is None else frozenset([Family.IPV4])
    return READER.read(update(withdrawn=gone), add_path=families)


END = READER.read(update())


def a_rib(**options):
    rib = Rib(65000, 900, **options)
    for border in ("b1", "b2"):
        rib.session_up(border, 0.0)
        for number in (1, 2):
            rib.peer_up(border, peer(number), SENT)
    return rib


def held(rib, before=None):
    """Everything the usable tables hold: border, peer, prefix, MED."""
    told = copy(rib, before)
    return {
        (name, border.sources[row].address, str(prefix_of(told.keys[column]))): told.attributes[attribute].med
        for name, border in told.borders.items()
        for row, line in enumerate(border.candidates)
        for column, attribute in enumerate(line.tolist())
        if attribute != NONE
    }


events = st.lists(
    st.tuples(
        st.sampled_from(["announce", "announce", "announce", "withdraw", "down"]),
        st.sampled_from(["b1", "b2"]),
        st.integers(1, 2),
        st.lists(st.sampled_from(PREFIXES), min_size=1, max_size=4, unique=True),
        st.integers(0, 3),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(events, st.booleans())
def test_it_holds_what_was_announced_and_not_withdrawn(happened, add_path):
    rib, expected = a_rib(), {}
    for number in (1, 2):
        for border in ("b1", "b2"):
            rib.update(border, peer(number), View.IN_POST, END, 0.0)
    before = copy(rib)
    for what, border, number, prefixes, med in happened:
        ids = [5] * len(prefixes) if add_path else None
        address = f"192.0.2.{number}"
        if what == "announce":
            rib.update(border, peer(number), View.IN_POST, announce(prefixes, ids, med=med), 1.0)
            expected |= {(border, address, prefix): med for prefix in prefixes}
        elif what == "withdraw":
            rib.update(border, peer(number), View.IN_POST, withdraw(prefixes, ids), 1.0)
            for prefix in prefixes:
                expected.pop((border, address, prefix), None)
        else:
            rib.peer_down(border, peer(number))
            rib.peer_up(border, peer(number), SENT)
            rib.update(border, peer(number), View.IN_POST, END, 1.0)
            expected = {key: value for key, value in expected.items() if key[:2] != (border, address)}
        assert held(rib, before) == expected
        before = copy(rib, before)
    assert held(rib) == expected
    assert rib.routes == len(expected)
    assert len(rib.prefixes) == len({key[2] for key in expected})
    assert len(rib.attributes) == len(set(expected.values()))
    for border in ("b1", "b2"):
        rib.session_up(border, 2.0)
        rib.session_down(border, 3.0)
    rib.tick(1e6)
    assert (rib.routes, len(rib.prefixes), len(rib.attributes), rib.attributes.weight) == (0, 0, 0, 0)


def test_tables_that_did_not_change_are_not_copied_again():
    rib = a_rib()
    rib.update("b1", peer(1), View.IN_POST, announce(PREFIXES[:2]), 1.0)
    rib.update("b1", peer(1), View.IN_POST, END, 1.0)
    before = copy(rib)
    again = copy(rib, before)
    assert again.borders["b1"].candidates is before.borders["b1"].candidates
    assert (again.keys, again.changes) == (before.keys, before.changes)
    rib.session_down("b1", 2.0)
    assert not copy(rib, before).borders["b1"].up
    rib.update("b2", peer(1), View.IN_POST, announce(PREFIXES[:1]), 3.0)
    assert copy(rib, before).borders["b2"].candidates is not before.borders["b2"].candidates


def test_several_paths_of_a_peer_are_all_candidates():
    rib = a_rib()
    rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"] * 2, [1, 2], med=1), 0.0)
    rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"], [2], med=0, path=sequence(64999)), 0.0)
    rib.update("b1", peer(1), View.IN_POST, END, 0.0)
    table = route_table(copy(rib), [])
    assert table.attributes[table.best["b1"][0]].path_text == "64999"
    rib.update("b1", peer(1), View.IN_POST, withdraw(["10.0.0.0/8"], [2]), 0.0)
    table = route_table(copy(rib), [])
    assert table.attributes[table.best["b1"][0]].med == 1


def test_of_very_many_paths_those_with_the_lowest_identifiers_are_candidates():
    rib = a_rib()
    for path_id in range(100, 0, -1):
        rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"], [path_id], med=path_id), 0.0)
    rib.update("b1", peer(1), View.IN_POST, END, 0.0)
    told = copy(rib)
    rows = told.borders["b1"].candidates[:, told.keys.index(announce(["10.0.0.0/8"]).reached[0].routes.keys[0])]
    assert [told.attributes[row].med for row in rows] == list(range(1, MOST_PATHS + 1))


def test_what_we_announce_ourselves_is_never_held():
    """It also takes the place of what the same peer announced before: that is what the border sees."""
    rib = a_rib()
    rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"]), 0.0)
    rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"], communities=[(65000, 900)], pref=1000), 0.0)
    rib.update("b1", peer(1), View.IN_POST, END, 0.0)
    assert held(rib) == {}
    assert rib.counters["own"] == 1


@pytest.mark.parametrize("sent", [SENT, None])
def test_our_own_as_at_the_beginning_of_an_ebgp_path_is_the_routers_doing(sent):
    rib = a_rib()
    rib.peer_up("b1", peer(1), sent)
    rib.peer_up("b1", peer(9), sent)
    paths = ((65000, 64501, 64511), (64501, 65000), (65000,))
    for number, prefixes in ((1, PREFIXES[:3]), (9, PREFIXES[3:])):
        for prefix, path in zip(prefixes, paths, strict=True):
            rib.update("b1", peer(number), View.IN_POST, announce([prefix], path=sequence(*path)), 0.0)
        rib.update("b1", peer(number), View.IN_POST, END, 0.0)
    table = route_table(copy(rib), [])
    told = [table.attributes[row].path_text for row in table.best["b1"].tolist()]
    assert told == ["64501 64511", "64501 65000", "", "65000 64501 64511", "64501 65000", "65000"]


def test_a_default_route_is_refused_unless_wanted():
    for wanted in (False, True):
        rib = a_rib(default_wanted=wanted)
        rib.update("b1", peer(1), View.IN_POST, announce(["0.0.0.0/0", "10.0.0.0/8"], med=1), 0.0)
        rib.update("b1", peer(1), View.IN_POST, END, 0.0)
        assert len(held(rib)) == 1 + wanted
        assert rib.counters["defaults"] == 1 - wanted


def test_tables_after_policy_count_where_there_are_any():
    rib = a_rib()
    rib.update("b1", peer(1), View.IN_PRE, announce(["10.0.0.0/8", "11.0.0.0/8"], med=1), 0.0)
    rib.update("b1", peer(1), View.IN_PRE, END, 0.0)
    assert len(held(rib)) == 2
    rib.update("b1", peer(1), View.IN_POST, END, 0.0)  # the policy lets nothing in
    assert held(rib) == {}


def test_tables_that_the_router_makes_itself_are_not_held():
    rib = a_rib()
    rib.update("b1", peer(1), View.LOC, announce(["10.0.0.0/8"]), 0.0)
    rib.update("b1", peer(1), View.OUT_POST, announce(["10.0.0.0/8"]), 0.0)
    assert (rib.routes, rib.counters["tables_not_held"]) == (0, 2)


def test_a_table_counts_once_it_is_whole_or_has_been_quiet():
    rib = a_rib(quiet_s=10.0)
    rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"], med=1), 1.0)
    rib.tick(10.9)
    assert held(rib) == {}
    rib.tick(11.0)
    assert len(held(rib)) == 1
    assert rib.counters["quiet_ends"] == 1
    rib.update("b2", peer(1), View.IN_POST, announce(["10.0.0.0/8"], med=1), 1.0)
    rib.update("b2", peer(1), View.IN_POST, END, 1.0)
    assert len(held(rib)) == 2


def test_after_a_lost_session_what_was_told_counts_until_it_is_told_anew():
    rib = a_rib(stale_ttl_s=60.0)
    rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8", "11.0.0.0/8"], med=1), 0.0)
    rib.update("b1", peer(1), View.IN_POST, END, 0.0)
    rib.session_down("b1", 5.0)
    rib.tick(60.0)
    assert len(held(rib)) == 2
    rib.session_up("b1", 61.0)
    rib.peer_up("b1", peer(1), SENT)
    rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"], med=2), 62.0)
    assert set(held(rib).values()) == {1}
    rib.update("b1", peer(1), View.IN_POST, END, 63.0)
    assert held(rib) == {("b1", "192.0.2.1", "10.0.0.0/8"): 2}


def test_a_session_that_breaks_while_it_tells_keeps_what_an_older_one_told():
    rib = a_rib()
    rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8", "11.0.0.0/8"], med=1), 0.0)
    rib.update("b1", peer(1), View.IN_POST, END, 0.0)
    for now in (1.0, 2.0, 3.0):
        rib.session_up("b1", now)
        rib.peer_up("b1", peer(1), SENT)
        rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"], med=2), now)
    rib.session_down("b1", 4.0)
    assert set(held(rib).values()) == {1}
    rib.tick(305.0)
    assert held(rib) == {}
    assert rib.counters["expired"] == 1


def test_a_table_that_is_never_quiet_counts_once_it_has_settled():
    rib = a_rib(quiet_s=5.0, settle_s=45.0)
    for now in range(1, 46):
        rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"], med=1), float(now))
        rib.tick(float(now))
        assert held(rib) == {}
    rib.tick(46.0)
    assert len(held(rib)) == 1


def test_a_table_that_still_grows_when_it_should_have_settled_is_not_whole():
    rib = a_rib(quiet_s=5.0, settle_s=45.0)
    for second in range(60):
        prefixes = [f"10.{second}.{number}.0/24" for number in range(10)]
        rib.update("b1", peer(1), View.IN_POST, announce(prefixes), float(second))
        rib.tick(second + 0.5)
    assert held(rib) == {}
    for second in range(60, 66):
        rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/24"], med=second), float(second))
        rib.tick(second + 0.5)
    assert len(held(rib)) == 600


def test_a_border_has_not_settled_while_it_tells_a_table():
    rib = a_rib()
    for second in (30.0, 60.0):
        rib.update("b1", peer(1), View.IN_POST, announce(PREFIXES), second)
        assert copy(rib).borders["b1"].changed_s == second
    rib.update("b1", peer(1), View.IN_POST, END, 61.0)
    assert copy(rib).borders["b1"].changed_s == 0.0
    assert copy(rib).borders["b2"].changed_s == 0.0


def test_a_peer_that_did_not_come_back_with_the_session_is_forgotten_when_that_has_settled():
    rib = a_rib(settle_s=45.0)
    for number in (1, 2):
        rib.update("b1", peer(number), View.IN_POST, announce(["10.0.0.0/8"], med=number), 0.0)
        rib.update("b1", peer(number), View.IN_POST, END, 0.0)
    rib.session_up("b1", 1.0)
    rib.peer_up("b1", peer(1), SENT)
    rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"], med=1), 2.0)
    rib.update("b1", peer(1), View.IN_POST, END, 2.0)
    rib.tick(45.9)
    assert set(held(rib).values()) == {1, 2}
    rib.tick(46.0)
    assert set(held(rib).values()) == {1}


def test_a_peer_that_goes_down_takes_what_an_older_session_told_with_it():
    rib = a_rib()
    rib.update("b1", peer(1), View.IN_POST, announce(["10.0.0.0/8"], med=1), 0.0)
    rib.update("b1", peer(1), View.IN_POST, END, 0.0)
    rib.session_up("b1", 1.0)
    assert len(held(rib)) == 1
    rib.peer_down("b1", peer(1))
    assert held(rib) == {}


def test_limits_refuse_what_is_beyond_and_never_leave_what_was_replaced():
    rib = a_rib(limits=Limits(routes=3, attribute_octets=1000))
    rib.update("b1", peer(1), View.IN_POST, announce(PREFIXES, med=1), 0.0)
    rib.update("b1", peer(1), View.IN_POST, END, 0.0)
    assert (rib.routes, rib.counters["beyond_limit"]) == (3, 3)
    rib.update("b1", peer(1), View.IN_POST, announce([PREFIXES[0]], path=sequence(*range(1, 250))), 0.0)
    assert (rib.routes, rib.counters["beyond_limit"]) == (2, 4)
    assert set(held(rib).values()) == {1}


def test_prefixes_are_grouped_by_origin_and_exits():
    ends = [(border, number) for border in (1, 2) for number in (1, 2, 9)]
    links = [PeeringLink(f"l{b}{p}", f"b{b}", "isp", 1.0, peer_address=f"192.0.2.{p}") for b, p in ends]
    rib = a_rib()
    rib.peer_up("b1", peer(9), SENT)  # iBGP: no exit
    near, far = sequence(64501, 64700), sequence(64502, 64600, 64700)
    rib.update("b1", peer(1), View.IN_POST, announce(PREFIXES[:4], path=near), 0.0)
    rib.update("b2", peer(2), View.IN_POST, announce(PREFIXES[1:3], path=far), 0.0)
    rib.update("b1", peer(2), View.IN_POST, announce([PREFIXES[4]], path=near), 0.0)
    rib.update("b1", peer(1), View.IN_POST, announce([PREFIXES[3]], path=sequence(64501, 64701)), 0.0)
    rib.update("b1", peer(9), View.IN_POST, announce([PREFIXES[5]], pref=500), 0.0)
    for number in (1, 2, 9):
        for border in ("b1", "b2"):
            rib.update(border, peer(number), View.IN_POST, END, 0.0)
    table = route_table(copy(rib), links)
    told = {
        str(table.prefix(row)): (int(origin), [link for link, there in zip(table.links, exits, strict=True) if there])
        for row, (origin, exits) in enumerate(zip(table.origin, table.exits, strict=True))
    }
    assert told == {
        PREFIXES[0]: (64700, ["l11"]),
        PREFIXES[1]: (64700, ["l11", "l22"]),
        PREFIXES[2]: (64700, ["l11", "l22"]),
        PREFIXES[3]: (64701, ["l11"]),
        PREFIXES[4]: (64700, ["l12"]),
        PREFIXES[5]: (0, []),
    }
    assert table.groups().tolist() == [0, 1, 1, 2, 3, -1]
    assert np.array_equal(table.best["b1"] >= 0, [True] * 6)
    assert np.array_equal(table.best["b2"] >= 0, [False, True, True, False, False, False])


def test_prefixes_whose_exits_tell_different_origins_have_none():
    links = [PeeringLink(f"l{p}", "b1", "isp", 1.0, peer_address=f"192.0.2.{p}") for p in (1, 2)]
    rib = a_rib()
    for number, origin in ((1, 64700), (2, 64701)):
        rib.update("b1", peer(number), View.IN_POST, announce(PREFIXES[:1], path=sequence(64500, origin)), 0.0)
        rib.update("b1", peer(number), View.IN_POST, END, 0.0)
    assert route_table(copy(rib), links).origin.tolist() == [0]
