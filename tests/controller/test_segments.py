"""Oracle: every segment list up to a length, sent through an independent forwarder."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.peering import join
from neto.controller.segments import pin_path
from neto.model.peering import Isp, Peering, PeeringLink
from neto.model.sr import SidKind
from neto.model.topology import Topology
from tests.controller.graphs import both_ways, forward_labels, networks, simple_paths, topology


def pins(net, path, labels):
    """Whether the label stack sends everything over exactly this path."""
    source = net.links[path[0]].source
    sent = forward_labels(net, source, labels)
    return sent is not None and sent[0] == {net.links[row].id: Fraction(1) for row in path}


def fewest_labels(net, path, most):
    """Length of the shortest list of any labels that pins the path; None when none up to `most` does."""
    labels = [node.node_sid for node in net.nodes if node.node_sid is not None]
    labels += [net.links[row].adjacency_sid for row in path if net.links[row].adjacency_sid is not None]
    for length in range(1, most + 1):
        if any(pins(net, path, stack) for stack in product(labels, repeat=length)):
            return length
    return None


@settings(max_examples=60, deadline=None)
@given(net=networks(most_nodes=5), data=st.data())
def test_a_path_is_pinned_by_the_fewest_segments_there_are(net, data):
    paths = [path for a in "abc" for b in "abc" if a != b for path in simple_paths(net, a, b)]
    path = data.draw(st.sampled_from(paths))
    segments = pin_path(net, path, require_labels=True)
    assert pins(net, path, [segment.label for segment in segments])
    assert fewest_labels(net, path, len(segments) - 1) is None


@settings(max_examples=60, deadline=None)
@given(net=networks(most_nodes=5), data=st.data())
def test_only_labels_that_were_told_are_used(net, data):
    silent_nodes = data.draw(st.sets(st.sampled_from([node.name for node in net.nodes])))
    silent_links = data.draw(st.sets(st.sampled_from([link.id for link in net.links])))
    net = Topology(
        tuple(replace(node, node_sid=None) if node.name in silent_nodes else node for node in net.nodes),
        tuple(replace(link, adjacency_sid=None) if link.id in silent_links else link for link in net.links),
    )
    path = data.draw(st.sampled_from(simple_paths(net, "a", "b")))
    segments = pin_path(net, path, require_labels=True)
    fewest = fewest_labels(net, path, min(3, len(path)))
    if segments is None:
        assert fewest is None
    else:
        assert pins(net, path, [segment.label for segment in segments])
        assert fewest is None or len(segments) == fewest


def test_names_and_kinds_say_what_is_pinned():
    net = topology(both_ways([("a", "b", 1), ("b", "c", 1), ("a", "c", 5), ("c", "d", 1)]))
    path = [net.link_row["a>c"], net.link_row["c>d"]]
    segments = pin_path(net, path)
    assert [(segment.kind, segment.name) for segment in segments] == [
        (SidKind.ADJACENCY, "a>c"),
        (SidKind.NODE, "d"),
    ]


def test_a_network_without_labels_is_pinned_by_name():
    net = topology(both_ways([("a", "b", 1), ("b", "c", 1)]), labels=False)
    path = [net.link_row["a>b"], net.link_row["b>c"]]
    assert [(segment.label, segment.name) for segment in pin_path(net, path)] == [(0, "c")]
    assert pin_path(net, path, require_labels=True) is None


@pytest.mark.parametrize(("sid", "expected"), [(25001, [16001, 25001]), (None, [16001])])
def test_a_peering_link_ends_the_list_with_its_peer_segment_or_nothing(sid, expected):
    wan = topology(both_ways([("a", "b", 1)]))
    link = PeeringLink("b-isp", "b", "isp", 100.0, peer_adjacency_sid=sid)
    net = join(wan, Peering(isps=(Isp("isp", 64500),), links=(link,)))
    path = [net.link_row["a>b"], net.link_row["b-isp"]]
    assert [segment.label for segment in pin_path(net, path, require_labels=True)] == expected


def test_a_peering_link_at_the_source_needs_its_peer_segment_only():
    wan = topology(both_ways([("a", "b", 1)]))
    link = PeeringLink("a-isp", "a", "isp", 100.0, peer_adjacency_sid=25001)
    net = join(wan, Peering(isps=(Isp("isp", 64500),), links=(link,)))
    (segment,) = pin_path(net, [net.link_row["a-isp"]])
    assert (segment.label, segment.kind, segment.name) == (25001, SidKind.PEER, "a-isp")


def test_an_empty_path_needs_no_segments():
    assert pin_path(topology([("a", "b", 1)]), []) == ()
