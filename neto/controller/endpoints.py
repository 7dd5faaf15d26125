"""Which router a pair's policies end at, which is also the next hop of its routes.

For a router it is that router. For a prefix group it is the border of one of its exits, the anchor: all exits are
used by segment lists of the same policies, but a route has one next hop, and policies that fail fall back to the way
there. The anchor stays while it still carries something; else the border that carries most takes its place.

A router is never told a next hop that is its own address: it would refuse the route (RFC 4271 §5.1.3). Where a border
sends everything out at home, another border of the group lends its name.
"""

from __future__ import annotations

from collections.abc import Mapping

from neto.controller.igp import igp_of
from neto.controller.peering import whole
from neto.controller.world import World


def possible_endpoints(world: World, headend: str, target: str) -> tuple[str, ...]:
    """Return the routers that a pair's policies may end at, by distance; none when the pair cannot be steered."""
    joint = world.joint
    if target in joint.node_row:
        routers = [target]
    else:
        groups = [link for group, link in world.egress_delay_us if group == whole(target)]
        routers = list(dict.fromkeys(joint.links[link].source for link in groups))
    source = joint.node_row[headend]
    split = igp_of(joint).split
    near = [
        router
        for router in routers
        if router != headend and world.loopback(router) and split(source, joint.node_row[router]) is not None
    ]
    distance = igp_of(joint).distance[source]
    return tuple(sorted(near, key=lambda router: float(distance[joint.node_row[router]])))


def choose_endpoint(world: World, headend: str, target: str, exit_mbps: Mapping[int, float]) -> str:
    """Return the address of the endpoint. exit_mbps: what leaves through each peering link, by link row."""
    possible = possible_endpoints(world, headend, target)
    address = {world.loopback(router): router for router in possible}
    at_border: dict[str, float] = dict.fromkeys(possible, 0.0)
    for link, mbps in exit_mbps.items():
        border = world.joint.links[link].source
        if border in at_border:
            at_border[border] += mbps
    carrying = [router for router in possible if at_border[router] > 0]
    now = world.running_endpoint.get((headend, target), "")
    if address.get(now) in (carrying or possible):
        return now
    return world.loopback(max(carrying, key=lambda router: at_border[router]) if carrying else possible[0])
