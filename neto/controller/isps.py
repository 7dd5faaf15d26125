"""What operators want of ISPs: whom to prefer, whom to avoid, and how much each may carry.

None of it is worth traffic that is not carried. A preference is a delay that exits of other ISPs are taken to have on
top of their own: it tells between exits, never against bounds. What an ISP may carry is one capacity that all its links
share; when something cannot be placed within that, the allocation is made anew without it, with the exits of that ISP
as far as those that are avoided: then no more leaves there than must.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neto.controller.allocation import allocate
from neto.controller.deadline import Deadline
from neto.controller.igp import Split
from neto.controller.peering import whole
from neto.controller.world import World
from neto.model.allocation import Allocation, PathSet
from neto.model.demand import Demand
from neto.model.topology import Link, Mbps, Microseconds, Node, NodeKind, Topology

_AVOIDED_US = 10e6  # farther than any exit is
_SLACK = 0.05  # by which demand may push an ISP over what it may carry before something moves for that
_ROUNDING = 1e-6
_BEYOND = " beyond"  # in no operator's name


class Isps:
    """The wishes of one snapshot. Inert where there are none."""

    def __init__(self, world: World) -> None:
        self._world = world
        rules = {rule.name: rule for rule in world.snapshot.intents.isps}
        names = [node.name for node in world.joint.nodes if node.kind is NodeKind.ISP]
        self._names = names
        row = {name: number for number, name in enumerate(names)}
        target = [world.joint.nodes[node].name for node in world.joint.target]
        self.isp_of: NDArray[np.int64] = np.array([row.get(name, -1) for name in target], np.int64)  # (links,)
        outside = sum(each.rate_mbps for each in world.demand if whole(each.target) in world.groups)
        self.cap_mbps: Mbps = np.full(len(names), np.inf)  # (isps,)
        preferred, avoided = np.zeros(len(names)), np.zeros(len(names), np.bool_)
        for number, name in enumerate(names):
            if name in rules:
                rule = rules[name]
                self.cap_mbps[number] = min(rule.commit_mbps, rule.max_share * outside)
                preferred[number], avoided[number] = rule.prefer_us, rule.avoid
        self._further = preferred.max(initial=0.0) - preferred + avoided * _AVOIDED_US  # (isps,)
        self.wanted = bool(self._further.any() or np.isfinite(self.cap_mbps).any())

    def further_us(self, split: Split) -> float:
        """Return how much farther than it is traffic is taken to be that spreads so, on the mean."""
        return float(split[1] @ self._of_links(self._further)[split[0]]) if self.wanted else 0.0

    def over(self, load_mbps: Mbps) -> NDArray[np.bool_]:
        """(links,) whether a link is one of an ISP that carries more than it may, and some. load_mbps: (links,)."""
        carried = self._carried(load_mbps)
        return self._of_links((carried > self.cap_mbps * (1 + _SLACK)).astype(np.float64)) > 0

    def allocate(
        self,
        demands: Sequence[Demand],
        paths: PathSet,
        room: Mbps,
        base: Mbps,
        running: Mbps,
        min_gain: float,
        deadline: Deadline,
    ) -> Allocation:
        """Allocate as the operator wishes. base: (links,) Mbit/s that are given. The others as `allocate` has them."""
        world = self._world

        def made(joint: Topology, paths: PathSet, room: Mbps, further: Microseconds | None) -> Allocation:
            asked = joint, demands, world.classes, paths, room
            return allocate(*asked, running=running, min_gain=min_gain, deadline=deadline, further_us=further)

        if not self.wanted:
            return made(world.joint, paths, room, None)
        capped = np.flatnonzero(np.isfinite(self.cap_mbps))
        left = np.maximum(self.cap_mbps - self._carried(base), 0.0)
        isp = self._isp_of(paths)
        wide, through = _with_caps(world.joint, paths, [self._names[row] for row in capped], isp, capped)
        within = made(wide, through, np.concatenate([room, left[capped]]), np.append(self._further, 0.0)[isp])
        within = replace(within, topology=world.joint, paths=paths, prices=())
        if not len(capped) or not _lacks(within):
            return within
        further = self._further + np.isfinite(self.cap_mbps) * _AVOIDED_US
        free = made(world.joint, paths, room, np.append(further, 0.0)[isp])
        return free if free.rate_mbps.sum() > within.rate_mbps.sum() * (1 + _ROUNDING) else within

    def _of_links(self, of_isps: NDArray[np.float64]) -> NDArray[np.float64]:
        """(links,) what is so for the ISP of each; 0 for links inside the WAN."""
        return np.append(of_isps, 0.0)[self.isp_of]

    def _carried(self, load_mbps: Mbps) -> Mbps:
        """(isps,) Mbit/s."""
        inside = self.isp_of < 0
        return np.bincount(self.isp_of[~inside], load_mbps[~inside], minlength=len(self._names)).astype(np.float64)

    def _isp_of(self, paths: PathSet) -> NDArray[np.int64]:
        """(paths,) row of the ISP that each leaves by; -1: none."""
        last = paths.path_start[1:] - 1
        some = np.diff(paths.path_start) > 0
        return (
            np.where(some, self.isp_of[paths.links[np.where(some, last, 0)]], -1) if len(paths.links) else last * 0 - 1
        )


def _lacks(allocation: Allocation) -> bool:
    return any(each.allocated_mbps < each.requested_mbps * (1 - _ROUNDING) for each in allocation.classes)


def _with_caps(
    joint: Topology, paths: PathSet, names: Sequence[str], isp: NDArray[np.int64], capped: NDArray[np.int64]
) -> tuple[Topology, PathSet]:
    """Put one more link behind each of these ISPs, for what all its links carry together; and into the paths."""
    if not names:
        return joint, paths
    beyond = tuple(Node(name + _BEYOND, kind=NodeKind.ISP) for name in names)
    links = tuple(Link(name + _BEYOND, name, name + _BEYOND, np.inf, igp_metric=0) for name in names)
    row = np.full(max(isp.max(initial=-1), capped.max()) + 2, -1)
    row[capped] = len(joint.links) + np.arange(len(capped))
    more = row[isp]  # (paths,)
    counts = np.diff(paths.path_start) + (more >= 0)
    path_start = np.concatenate([[0], np.cumsum(counts)])
    at = path_start[1:][more >= 0] - 1
    whole_links = np.empty(path_start[-1], paths.links.dtype)
    old = np.ones(len(whole_links), np.bool_)
    old[at] = False
    whole_links[old], whole_links[at] = paths.links, more[more >= 0]
    wide = Topology(joint.nodes + beyond, joint.links + links)
    return wide, PathSet(paths.demand_start, path_start, whole_links, paths.delay_us)
