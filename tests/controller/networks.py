"""Small random networks and demands for the controller's tests."""

from __future__ import annotations

import numpy as np

from neto.model.topology import Link, Node, NodeKind, Topology


def network(
    seed: int,
    nodes: int = 8,
    links: int = 20,
    *,
    delays: tuple[float, ...] = (0.0, 1.0, 2.0, 5.0),
    capacities: tuple[float, ...] = (10.0, 40.0, 100.0),
) -> Topology:
    """Random directed links, parallel ones and unconnected parts included."""
    draw = np.random.default_rng(seed)
    made = []
    for row in range(links):
        source, target = draw.choice(nodes, 2, replace=False)
        made.append(
            Link(
                f"l{row}",
                f"n{source}",
                f"n{target}",
                capacity_mbps=float(draw.choice(capacities)),
                delay_us=float(draw.choice(delays)),
                igp_metric=int(draw.integers(1, 10)),
            )
        )
    return Topology(tuple(Node(f"n{row}") for row in range(nodes)), tuple(made))


def with_isp(topology: Topology, borders: list[str], isp: str = "isp", capacity_mbps: float = 50.0) -> Topology:
    """Add an ISP behind these borders; peering links are named peer0, peer1..."""
    peering = tuple(Link(f"peer{row}", border, isp, capacity_mbps) for row, border in enumerate(borders))
    return Topology((*topology.nodes, Node(isp, NodeKind.ISP)), topology.links + peering)
