"""What the lab's encoder, written apart from this decoder, says of any network is what is decoded."""

from __future__ import annotations

import string
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.lab.bgp_update import encode_ls_reach, encode_ls_unreach
from neto.lab.bgpls import EpeLinkSpec, LsLinkSpec, LsNodeSpec, LsPrefixSpec, PeerSid, encode
from neto.wire.bgpls import LabelRange, decode_update

BGP_HEADER = 19
labels = st.integers(16, 2**20 - 1)
names = st.text(string.ascii_letters + string.digits + "-.", min_size=1, max_size=40)
addresses = st.integers(1, 2**32 - 1).map(lambda number: str(IPv4Address(number)))
system_ids = st.binary(min_size=6, max_size=6).map(lambda i: f"{i[:2].hex()}.{i[2:4].hex()}.{i[4:].hex()}")
label_ranges = st.tuples(st.integers(16, 500_000), st.integers(1, 500_000))
nodes = st.builds(
    LsNodeSpec,
    name=names,
    router_id=addresses,
    igp_router_id=system_ids,
    asn=st.integers(1, 2**32 - 1),
    srgb=st.none() | label_ranges,
    srlb=st.none() | label_ranges,
    msd=st.none() | st.integers(0, 255),
    algorithms=st.lists(st.integers(0, 255), min_size=1, max_size=4).map(tuple),
)
links = st.builds(
    LsLinkSpec,
    local=nodes,
    remote=nodes,
    local_address=addresses,
    remote_address=addresses,
    capacity_mbps=st.floats(0.001, 1e7),
    igp_metric=st.integers(1, 2**24 - 1),
    te_metric=st.none() | st.integers(0, 2**32 - 1),
    delay_us=st.none() | st.integers(0, 2**24 - 1),
    srlgs=st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple),
    adjacency_sid=st.none() | labels,
    name=st.just("") | names,
)
prefixes = st.builds(
    LsPrefixSpec,
    node=nodes,
    prefix=st.builds(
        lambda number, length: IPv4Network((number >> (32 - length) << (32 - length), length)),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    sid_index=st.none() | st.integers(0, 2**32 - 1),
    metric=st.integers(0, 2**32 - 1),
)
epe_links = st.builds(
    EpeLinkSpec,
    border=nodes,
    peer_asn=st.integers(1, 2**32 - 1),
    peer_router_id=addresses,
    local_address=addresses,
    peer_address=addresses,
    label=labels,
    kind=st.sampled_from(PeerSid),
    link_ids=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)


def told(spec):
    """Return the object that is decoded from what the lab says, having seen it withdrawn as well."""
    nlri, attribute = encode(spec)
    update = decode_update(encode_ls_reach("127.0.2.1", nlri, attribute)[BGP_HEADER:])
    assert (dict(update.unknown_tlvs), dict(update.malformed_tlvs)) == ({}, {})
    (one,) = update.reached
    assert decode_update(encode_ls_unreach([nlri])[BGP_HEADER:]).withdrawn == (one.key,)
    return one


def ranges(spec):
    return () if spec is None else (LabelRange(*spec),)


@settings(max_examples=100, deadline=None)
@given(nodes)
def test_nodes(spec):
    node = told(spec)
    assert (str(node.key), node.key.asn) == (spec.igp_router_id, spec.asn)
    said = node.attributes
    assert (said.name, said.router_ids, said.areas) == (spec.name, (spec.router_id,), ("490001",))
    assert (said.srgb, said.srlb) == (ranges(spec.srgb), ranges(spec.srlb))
    assert said.algorithms == (spec.algorithms if spec.srgb else ())
    assert said.msd == (() if spec.msd is None else ((1, spec.msd),))


@settings(max_examples=150, deadline=None)
@given(links)
def test_links(spec):
    link = told(spec)
    assert (str(link.key.local), str(link.key.remote)) == (spec.local.igp_router_id, spec.remote.igp_router_id)
    assert (link.key.local_addresses, link.key.remote_addresses) == ((spec.local_address,), (spec.remote_address,))
    said = link.attributes
    assert said.max_mbps == pytest.approx(spec.capacity_mbps, rel=1e-7)  # float32 on the wire
    assert said.unreserved_mbps == (said.max_mbps,) * 8
    assert (said.igp_metric, said.te_metric, said.delay_us) == (spec.igp_metric, spec.te_metric, spec.delay_us)
    assert (said.srlgs, said.name) == (spec.srlgs, spec.name)
    assert [sid.value for sid in said.adjacency_sids] == ([] if spec.adjacency_sid is None else [spec.adjacency_sid])
    assert all(sid.is_label and sid.is_local and not sid.is_protected for sid in said.adjacency_sids)


@settings(max_examples=100, deadline=None)
@given(prefixes)
def test_prefixes(spec):
    prefix = told(spec)
    assert (prefix.key.prefix, str(prefix.key.node)) == (spec.prefix, spec.node.igp_router_id)
    said = prefix.attributes
    assert said.metric == spec.metric
    assert [(sid.value, sid.is_label, sid.is_node) for sid in said.sids] == (
        [] if spec.sid_index is None else [(spec.sid_index, False, True)]
    )


@settings(max_examples=100, deadline=None)
@given(epe_links)
def test_peering_links(spec):
    link = told(spec)
    assert (link.key.local.bgp_router_id, link.key.local.asn) == (spec.border.router_id, spec.border.asn)
    assert (link.key.remote.bgp_router_id, link.key.remote.asn) == (spec.peer_router_id, spec.peer_asn)
    assert (link.key.local_addresses, link.key.remote_addresses) == ((spec.local_address,), (spec.peer_address,))
    ids = spec.link_ids if spec.kind is PeerSid.ADJACENCY else (None, None)
    assert (link.key.local_id, link.key.remote_id) == ids
    (sid,) = link.attributes.peer_sids
    assert (sid.kind, sid.value, sid.is_label, sid.is_local) == (int(spec.kind), spec.label, True, True)
