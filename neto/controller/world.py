"""A snapshot, and everything that follows from it alone: the joint graph, what may be used, what may be steered."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from ipaddress import IPv4Network

import numpy as np
from numpy.typing import NDArray

from neto.controller.forwarding import Forwarding
from neto.controller.igp import Split
from neto.controller.peering import Targets, exit_of, join, part_name, whole
from neto.model.demand import PrefixDemand
from neto.model.peering import Egress, Prefix
from neto.model.snapshot import Snapshot
from neto.model.sr import ForwardingState, RouteKey
from neto.model.topology import NodeKind, Topology


class World:
    """A snapshot with everything that follows from it alone.

    exits: peering link of the prefixes that have one of their own, by head-end: what they are bound for is that part
    of their group. None: groups have no parts.
    """

    def __init__(self, snapshot: Snapshot, exits: Mapping[RouteKey, str] | None = None) -> None:
        self.exits = exits or {}
        self.snapshot = snapshot
        self.joint: Topology = join(snapshot.topology, snapshot.peering)
        self.classes = snapshot.intents.classes
        self.targets = Targets.of(snapshot.inventory, snapshot.peering, parts=exits is not None)
        self.forwarding = Forwarding(self.joint, snapshot.peering, snapshot.inventory, self.classes)
        self.demand = tuple(self._bound(row) for row in snapshot.demand.rates if row.rate_mbps > 0)

    def _bound(self, row: PrefixDemand) -> PrefixDemand:
        exit_ = self.exits.get(RouteKey(row.source, row.prefix))
        return replace(row, target=part_name(row.target, exit_)) if exit_ and row.target in self.groups else row

    def target_of(self, key: RouteKey) -> str:
        """Return what a prefix at a head-end is bound for, or the part of it; "" when nobody listed it."""
        target, exit_ = self.listed.get(key.prefix, ""), self.exits.get(key)
        return part_name(target, exit_) if exit_ and target in self.groups else target

    @cached_property
    def egresses(self) -> tuple[Egress, ...]:
        """All ways out of prefix groups and of their parts, in the operator's order."""
        parts = {row.target for row in self.demand if exit_of(row.target)}
        own = (replace(each, prefix_group=part_name(each.prefix_group, each.peering_link)) for each in self._open)
        return self._open + tuple(each for each in own if each.prefix_group in parts)

    @property
    def _open(self) -> tuple[Egress, ...]:
        return self.snapshot.peering.egresses

    @cached_property
    def managed(self) -> frozenset[str]:
        """Routers that may be changed and that can be reached: known to both the inventory and the topology."""
        frozen = self.snapshot.intents.frozen
        routers = self.snapshot.inventory.routers
        return frozenset(
            each.name
            for each in routers
            if not each.frozen and each.name not in frozen and each.name in self.joint.node_row
        )

    @cached_property
    def listed(self) -> Mapping[Prefix, str]:
        """Target of every prefix that may be announced: what the operator listed, never a part of it."""
        listed = {prefix: router.name for router in self.snapshot.inventory.routers for prefix in router.prefixes}
        listed |= {prefix: group.name for group in self.snapshot.peering.groups for prefix in group.prefixes}
        return listed

    @cached_property
    def groups(self) -> frozenset[str]:
        """Prefix groups, by name."""
        return frozenset(group.name for group in self.snapshot.peering.groups)

    @cached_property
    def running_endpoint(self) -> Mapping[tuple[str, str], str]:
        """Address that most routes of a head-end and target point at now, or else that its policies end at."""
        running = self.snapshot.running
        votes: dict[tuple[str, str], Counter[tuple[bool, str]]] = {}
        addresses = [(key.headend, route.colour, route.next_hop, True) for key, route in running.routes.items()]
        addresses += [(key.headend, key.colour, key.endpoint, False) for key in running.policies]
        for headend, colour, address, steers in addresses:
            meaning = self.targets.meaning(colour)
            if meaning is not None:
                votes.setdefault((headend, meaning[0]), Counter())[steers, address] += 1
        return {pair: max(sorted(count), key=lambda vote: (vote[0], count[vote]))[1] for pair, count in votes.items()}

    @cached_property
    def measured_pairs(self) -> frozenset[tuple[str, str]]:
        """Source and target of all demand there is."""
        return frozenset((source, target) for source, target, _ in self.measured)

    @cached_property
    def measured(self) -> frozenset[tuple[str, str, Prefix]]:
        """Source, target and prefix of all demand there is."""
        return frozenset((row.source, row.target, row.prefix) for row in self.demand)

    @cached_property
    def closed(self) -> NDArray[np.bool_]:
        """(links,) bool, what should carry nothing of ours: drained links, and exits at drained routers."""
        intents = self.snapshot.intents
        return np.array(
            [
                link.id in intents.drained_links or (self.is_exit(row) and link.source in intents.drained_nodes)
                for row, link in enumerate(self.joint.links)
            ],
            dtype=bool,
        )

    @cached_property
    def transit(self) -> NDArray[np.bool_]:
        """(nodes,) bool, what paths may pass through."""
        drained = self.snapshot.intents.drained_nodes
        return np.array(
            [node.kind is NodeKind.ROUTER and node.name not in drained for node in self.joint.nodes], dtype=bool
        )

    @cached_property
    def egress_delay_us(self) -> Mapping[tuple[str, int], float]:
        """Delay beyond each exit, by prefix group and link row."""
        rows = self.joint.link_row
        return {
            (each.prefix_group, rows[each.peering_link]): each.delay_us
            for each in self.snapshot.peering.egresses
            if each.peering_link in rows
        }

    def is_exit(self, link: int) -> bool:
        """Whether a link row is a peering link."""
        return self.joint.nodes[self.joint.target[link]].kind is NodeKind.ISP

    def loopback(self, router: str) -> str:
        """Return the address that names a router as an endpoint; "" when nobody has told it."""
        known = self.snapshot.inventory.router.get(router)
        row = self.joint.node_row.get(router)
        told = self.joint.nodes[row].router_id if row is not None else ""
        return known.router_id if known else told

    def delay_us(self, split: Split, target: str) -> float:
        """Return the mean delay of traffic that spreads so; inf when some of it leaves where the target is not."""
        delay_us = float(split[1] @ self.joint.delay_us[split[0]])
        for link, share in zip(split[0].tolist(), split[1].tolist(), strict=True):
            if self.is_exit(link):
                delay_us += share * self.egress_delay_us.get((whole(target), link), math.inf)
        return delay_us

    def may_steer(self, key: RouteKey, target: str) -> bool:
        """Whether the operator lets us announce this prefix to this head-end at all, and we know how to.

        Routes and labels are those of IPv4: other prefixes stay on plain forwarding.
        """
        excluded = self.snapshot.intents.excluded_prefixes
        return (
            key.headend in self.managed
            and isinstance(key.prefix, IPv4Network)
            and target != key.headend
            and whole(target) in self.targets.number
            and self.target_of(key) == target
            and not any(each.version == key.prefix.version and each.overlaps(key.prefix) for each in excluded)
            and not self._is_told_on(key)
        )

    def _is_told_on(self, key: RouteKey) -> bool:
        """Whether a border tells an ISP this prefix of ours as it learned it: it would not tell a route of ours."""
        told = self._told_on.get(key.headend, ())
        return bool(told) and key.prefix in self._own and any(some is None or key.prefix in some for some in told)

    @cached_property
    def _told_on(self) -> Mapping[str, list[tuple[Prefix, ...] | None]]:
        """Prefixes that each border tells on as it learned them, by link; None: all of ours."""
        told: dict[str, list[tuple[Prefix, ...] | None]] = {}
        for link in self.snapshot.peering.links:
            if link.announces_learned:
                told.setdefault(link.node, []).append(link.announced)
        return told

    @cached_property
    def _own(self) -> frozenset[Prefix]:
        return frozenset(prefix for router in self.snapshot.inventory.routers for prefix in router.prefixes)

    def open_to(self, split: Split, headend: str, target: str) -> bool:
        """Whether traffic of a pair may take these links: none is drained, nor is a router on the way."""
        ends = {self.joint.node_row[headend], self.joint.node_row.get(target, -1)}
        through = {int(self.joint.source[link]) for link in split[0]} - ends
        return not self.closed[split[0]].any() and all(self.transit[node] for node in through)

    def steered_by(self, state: ForwardingState) -> tuple[PrefixDemand, ...]:
        """Return the demand that a state has routes for."""
        return tuple(row for row in self.demand if RouteKey(row.source, row.prefix) in state.routes)
