"""Unicast UPDATEs, against octets written by hand."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.errors import WireError
from neto.wire.bgp import AttributeReader, Family, SegmentKind, UpdateReader, covering_keys, prefix_key, prefix_of
from neto.wire.bgp.nlri import decode_prefixes
from tests.wire.bgp.octets import (
    attribute,
    attributes,
    mp_reach,
    mp_unreach,
    nlri,
    sequence,
    update,
    word,
)


def read(body, **options):
    return UpdateReader().read(body, **options)


def prefixes(routes):
    return [str(prefix_of(key)) for key in routes.keys]


networks4 = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda x: ip_network(x, strict=False))
networks6 = st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(
    lambda x: (
        ip_network(("0::", x[1]), strict=False)
        if not x[0]
        else ip_network((x[0], x[1]), strict=False)
        if x[0] >= 2**32
        else ip_network((x[0] << 96, x[1]), strict=False)
    )
)


@given(st.one_of(networks4, networks6))
def test_a_key_is_its_prefix(network):
    assert prefix_of(prefix_key(network)) == network


@given(st.one_of(networks4, networks6))
def test_covering_keys_are_those_of_every_supernet(network):
    around = [network.supernet(new_prefix=length) for length in range(network.prefixlen, -1, -1)]
    assert [prefix_of(key) for key in covering_keys(network)] == around


@given(st.lists(networks4, max_size=20), st.lists(networks6, max_size=20))
def test_keys_differ_and_sort_as_prefixes_do(four, six):
    assert len({prefix_key(each) for each in four + six}) == len(set(four + six))
    for family in (four, six):
        assert sorted(family, key=prefix_key) == sorted(family)


@given(st.lists(networks4, max_size=20))
def test_runs_of_prefixes_are_what_was_written(networks):
    keys, path_ids = decode_prefixes(b"".join(nlri(str(each)) for each in networks), Family.IPV4, add_path=False)
    assert [prefix_of(key) for key in keys] == networks
    assert path_ids == []


@given(st.lists(st.tuples(networks6, st.integers(0, 2**32 - 1)), max_size=20))
def test_path_identifiers_come_with_their_prefixes(told):
    data = b"".join(nlri(str(network), path_id) for network, path_id in told)
    keys, path_ids = decode_prefixes(data, Family.IPV6, add_path=True)
    assert list(zip([prefix_of(key) for key in keys], path_ids, strict=True)) == told


def test_bits_beyond_the_length_are_ignored():
    keys, _ = decode_prefixes(bytes.fromhex("14 0a00ff"), Family.IPV4, add_path=False)
    assert prefix_of(keys[0]) == ip_network("10.0.240.0/20")


@pytest.mark.parametrize("data", ["21 0a00000000", "18 0a00", "ff"])
def test_a_prefix_that_cannot_be_is_refused(data):
    with pytest.raises(WireError, match="prefix 0"):
        decode_prefixes(bytes.fromhex(data), Family.IPV4, add_path=False)


def test_every_attribute_is_read():
    large = attribute(32, word(65000) + word(1) + word(2), flags=0xC0)
    reflected = attribute(9, word(7), flags=0x80) + attribute(10, word(8) + word(9), flags=0x80)
    told = attributes(
        sequence(64500, 4200000001) + sequence(64512, 64513, kind=1),
        origin=2,
        pref=150,
        med=30,
        communities=[(65000, 900), (65535, 65281)],
        more=large + reflected + attribute(99, b"?", flags=0xC0),
    )
    said = read(update(told, nlri("198.51.100.0/24") + nlri("203.0.113.0/25")))
    (reach,) = said.reached
    assert prefixes(reach.routes) == ["198.51.100.0/24", "203.0.113.0/25"]
    found = reach.attributes
    assert (found.origin, found.local_pref, found.med, found.next_hop) == (2, 150, 30, "192.0.2.1")
    assert found.path_text == "64500 4200000001 {64512,64513}"
    assert (found.path_length, found.neighbor_as, found.origin_as) == (3, 64500, 0)
    assert found.communities == {65000 << 16 | 900, 0xFFFFFF01}
    assert found.large_communities == {(65000, 1, 2)}
    assert (found.originator_id, found.cluster_list) == (7, (8, 9))
    assert not said.withdrawn
    assert not said.ends


def test_withdrawn_and_reached_in_one_message():
    said = read(update(attributes(), nlri("10.1.0.0/16"), nlri("10.2.0.0/16")))
    assert [prefixes(routes) for routes in said.withdrawn] == [["10.2.0.0/16"]]
    assert prefixes(said.reached[0].routes) == ["10.1.0.0/16"]


def test_ipv6_comes_with_the_global_next_hop():
    told = attributes(hop="") + mp_reach(["2001:db8::1", "fe80::1"], nlri("2001:db8:1::/48"))
    (reach,) = read(update(told)).reached
    assert (prefixes(reach.routes), reach.attributes.next_hop) == (["2001:db8:1::/48"], "2001:db8::1")
    said = read(update(mp_unreach(nlri("2001:db8:1::/48"))))
    assert [prefixes(routes) for routes in said.withdrawn] == [["2001:db8:1::/48"]]
    assert not said.ends


def test_ipv4_with_an_ipv6_next_hop():
    told = attributes(hop="") + mp_reach(["2001:db8::1"], nlri("192.0.2.0/24"), afi=1)
    (reach,) = read(update(told)).reached
    assert (prefixes(reach.routes), reach.attributes.next_hop) == (["192.0.2.0/24"], "2001:db8::1")


def test_other_families_are_counted_and_passed_over():
    said = read(update(attributes() + mp_reach(["192.0.2.9"], b"\x00\x01", afi=16388, safi=71)))
    assert (said.ignored_families, said.reached, said.withdrawn) == (1, [], [])


def test_ends_of_rib():
    assert read(update()).ends == [Family.IPV4]
    assert read(update(mp_unreach())).ends == [Family.IPV6]
    assert read(update(mp_unreach(afi=1))).ends == [Family.IPV4]
    assert read(update(attributes() + mp_unreach(), nlri("10.0.0.0/8"))).ends == []


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (attributes(origin=3), "ORIGIN 3"),
        (attributes(hop=""), "NEXT_HOP is missing"),
        (attributes(sequence(0)), "AS 0"),
        (attributes(b"\x02\x02\0\0\0\x01"), "AS_PATH segment"),
        (attributes(b"\x02\x00"), "AS_PATH segment"),
        (attributes(more=attribute(8, b"123")), "COMMUNITIES"),
        (attributes(more=attribute(4, b"123")), "MULTI_EXIT_DISC"),
        (attribute(1, b"\0") + attribute(3, b"\1\2\3\4"), "AS_PATH is missing"),
    ],
)
def test_routes_with_unusable_attributes_are_withdrawn(told, why):
    said = read(update(told, nlri("10.0.0.0/8")))
    assert why in said.refused
    assert ([prefixes(routes) for routes in said.withdrawn], said.reached) == ([["10.0.0.0/8"]], [])


def test_a_multiprotocol_attribute_twice_is_refused():
    with pytest.raises(WireError, match="twice"):
        read(update(mp_unreach() + mp_unreach()))


def test_two_octet_paths_are_completed_from_as4_path():
    """RFC 6793 §4.2.3: the old speaker prepended itself to what AS4_PATH knows."""
    path = sequence(64499, 23456, 64511, size=2)
    told = attributes(path, more=attribute(17, sequence(4200000001, 64511), flags=0xC0))
    (reach,) = read(update(told, nlri("10.0.0.0/8")), as_octets=2).reached
    assert reach.attributes.as_path == ((SegmentKind.SEQUENCE, (64499, 4200000001, 64511)),)


def test_the_same_octets_are_read_once_until_too_many_are_remembered():
    reader = AttributeReader(remember=300)
    first = reader.read(attributes(), b"", 4)
    assert reader.read(attributes(), b"", 4) is first
    assert reader.read(attributes(), b"\1\2\3\4", 4) is not first
    for med in range(100):
        reader.read(attributes(med=med), b"", 4)
        assert sum(map(len, reader._known)) <= 300
    again = reader.read(attributes(), b"", 4)
    assert again == first
    assert hash(again) == hash(first)


VALID = [
    update(
        attributes(pref=1, communities=[(1, 2)], more=attribute(32, bytes(12))), nlri("10.0.0.0/9"), nlri("10.0.0.0/8")
    ),
    update(attributes(hop="") + mp_reach(["2001:db8::1"], nlri("2001:db8::/32")) + mp_unreach(nlri("2001:db8:1::/48"))),
    update(attributes(sequence(*range(1, 80)), more=attribute(17, sequence(5, 6)))),
]


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(VALID), st.data(), st.sampled_from([2, 4]), st.booleans())
def test_mutated_updates_are_read_or_refused(body, data, as_octets, add_path):
    mutated = bytearray(body)
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        mutated = mutated or bytearray(4)
    families = frozenset(Family) if add_path else frozenset()
    try:
        said = read(bytes(mutated), as_octets=as_octets, add_path=families)
    except WireError:
        return
    for reach in said.reached:
        assert reach.attributes.path_text.isprintable()
        assert len(reach.routes.keys) <= len(mutated)
        assert len(reach.routes.path_ids) == (len(reach.routes.keys) if add_path else 0)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100))
def test_random_octets_are_read_or_refused(body):
    try:
        read(body)
    except WireError:
        return
    assert len(body) >= 4
