"""Small random networks, and a forwarder of labelled packets that shares nothing with the code under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import networkx as nx
from hypothesis import strategies as st

from neto.model.topology import Link, Node, NodeKind, Topology


def topology(links: Sequence[tuple[str, str, int]], capacity_mbps: float = 100.0, *, labels: bool = True) -> Topology:
    """Links are (source, target, metric), named "source>target" and, where that is taken, "source>target.1"…"""
    names = list(dict.fromkeys(name for link in links for name in link[:2]))
    ids: list[str] = []
    for source, target, _ in links:
        twins = sum(known.split(".")[0] == f"{source}>{target}" for known in ids)
        ids.append(f"{source}>{target}" + (f".{twins}" if twins else ""))
    return Topology(
        nodes=tuple(
            Node(name, router_id=f"10.0.0.{row + 1}", node_sid=16000 + row if labels else None)
            for row, name in enumerate(names)
        ),
        links=tuple(
            Link(
                id=ids[row],
                source=source,
                target=target,
                capacity_mbps=capacity_mbps,
                delay_us=1000.0 * metric,
                igp_metric=metric,
                adjacency_sid=24000 + row if labels else None,
            )
            for row, (source, target, metric) in enumerate(links)
        ),
    )


def both_ways(links: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    return [one for a, b, metric in links for one in ((a, b, metric), (b, a, metric))]


@st.composite
def networks(draw: st.DrawFn, most_nodes: int = 6) -> Topology:
    """Connected, both directions of every link, low metrics so that equal-cost paths are common."""
    count = draw(st.integers(3, most_nodes))
    names = "abcdefgh"[:count]
    links = [(names[draw(st.integers(0, row - 1))], names[row], draw(st.integers(1, 3))) for row in range(1, count)]
    pairs = [(a, b) for a in names for b in names if a < b]
    extra = draw(st.lists(st.sampled_from(pairs), max_size=count + 2))
    links += [(a, b, draw(st.integers(1, 3))) for a, b in extra]
    return topology(both_ways(links))


def igp_graph(net: Topology) -> nx.MultiDiGraph:
    graph = nx.MultiDiGraph()
    routers = {node.name for node in net.nodes if node.kind is NodeKind.ROUTER}
    graph.add_nodes_from(routers)
    for link in net.links:
        if link.source in routers and link.target in routers:
            graph.add_edge(link.source, link.target, key=link.id, weight=link.igp_metric)
    return graph


_splits: dict[int, tuple[Topology, dict[tuple[str, str], dict[str, Fraction] | None]]] = {}


def igp_split(net: Topology, source: str, target: str) -> dict[str, Fraction] | None:
    """Share of the traffic on each link, by recursion over next links. Exact, and remembered."""
    _, known = _splits.setdefault(id(net), (net, {}))
    if (source, target) not in known:
        known[source, target] = _igp_split(net, source, target)
    return known[source, target]


def _igp_split(net: Topology, source: str, target: str) -> dict[str, Fraction] | None:
    graph = igp_graph(net)
    if target not in graph:
        return None
    toward = nx.single_source_dijkstra_path_length(graph.reverse(), target)
    if source not in toward:
        return None
    shares: dict[str, Fraction] = {}

    def forward(node: str, share: Fraction) -> None:
        if node == target:
            return
        nexts = [
            (after, key)
            for _, after, key, weight in graph.out_edges(node, keys=True, data="weight")
            if after in toward and toward[node] == weight + toward[after]
        ]
        for after, key in nexts:
            shares[key] = shares.get(key, Fraction(0)) + share / len(nexts)
            forward(after, share / len(nexts))

    forward(source, Fraction(1))
    return shares


def forward_labels(net: Topology, source: str, labels: Sequence[int]) -> tuple[dict[str, Fraction], str] | None:
    """Send traffic with a label stack: share on each link and where the stack ends; None when a label is unknown."""
    owners = {node.node_sid: node.name for node in net.nodes if node.node_sid is not None}
    links = {(link.source, link.adjacency_sid): link for link in net.links if link.adjacency_sid is not None}
    shares: dict[str, Fraction] = {}
    at = source
    for label in labels:
        if label in owners:
            part: Mapping[str, Fraction] | None = igp_split(net, at, owners[label])
            if part is None:
                return None
            at = owners[label]
        elif (at, label) in links:
            part = {links[at, label].id: Fraction(1)}
            at = links[at, label].target
        else:
            return None
        for link, share in part.items():
            shares[link] = shares.get(link, Fraction(0)) + share
    return shares, at


def simple_paths(net: Topology, source: str, target: str) -> list[tuple[int, ...]]:
    """Every loop-free path, as link rows."""
    graph = igp_graph(net)
    return [tuple(net.link_row[key] for _, _, key in path) for path in nx.all_simple_edge_paths(graph, source, target)]
