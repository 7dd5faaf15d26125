"""Carry fixed rates with the least total delay.

Minimise the sum of delay x rate over the paths, every demand keeping its rate and no link going over its capacity: a
linear program with a row for each demand, solved here by what is small in it. Only links that shortest paths overload
can bind; rows come in as they are violated. Demands that cross those links alike form groups; prices of the links
(`delay_prices`) tell how each member shares among its paths; and members of a group exchange shares, which changes no
load, until few are split and the delay is least (`exchange`). The prices bound what is left to gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from neto.controller.compressed import rows_places
from neto.controller.contention import contend
from neto.controller.deadline import NEVER, Deadline
from neto.controller.delay_prices import FINE, FINEST, ROUGH, Members, Settled, answer, settle, shared
from neto.controller.exchange import exchange
from neto.controller.flows import Bools, Floats, Flows, Ints
from neto.model.topology import Mbps, Microseconds

_OVER = 1e-6  # relative load above the limit that trimming may take away
_NEAR = 0.99  # links this full join those that are over: they would be next
_HARD = 1e-12  # soft, for the dual itself
_LEAST = 1e-300
_GAP = 1e-3  # relative distance from the bound that is near enough
_FAILED = 1e-3  # prices that leave a link so much over have not settled


@dataclass(frozen=True, eq=False)
class Shortened:
    """Flows at the same rates, and by how much at most a better answer could be shorter."""

    flow_mbps: Mbps  # (paths,)
    gap: float  # relative
    price_us: Microseconds  # (links,) delay that room on each link is worth
    over: float = 0.0  # most that a link is over its limit, relative
    is_rough: bool = False  # only good to see which links are in the way


def least_delay(
    flows: Flows, flow_mbps: Mbps, deadline: Deadline = NEVER, known_us: Microseconds | None = None
) -> Shortened | None:
    """Give each demand what flow_mbps (paths,) gives it, with the least total delay.

    None: prices did not settle, or not before the deadline. known_us: (links,) price_us of the last answer to a
    similar problem, to begin with.

    No link gets more than its capacity, or than flow_mbps puts on it where that is more by rounding.
    """
    rate = flows.rates(flow_mbps)
    limit = np.maximum(flows.capacity_mbps, flows.loads(flow_mbps))
    unit = float(flow_mbps @ flows.delay_us) / max(float(rate.sum()), _LEAST)
    price = np.zeros(len(limit)) if known_us is None else np.where(limit > 0, known_us, 0.0)
    if unit <= 0:
        return Shortened(flow_mbps, 0.0, price)
    active = price > 0
    found = Shortened(on_shortest(flows, rate), 0.0, price)
    if active.any():
        contenders = _Contenders.over(flows, rate, limit, active, unit)
        found = contenders.fine(found)
    for _ in range(2 * len(limit) + 2):
        if deadline.passed or found.over > _FAILED:
            return None
        load = flows.loads(found.flow_mbps)
        more = (load > limit * (1 + _OVER)) & ~active
        if more.any():
            active = active | (load > limit * _NEAR)
            contenders = _Contenders.over(flows, rate, limit, active, unit)
            found = contenders.rough(found)
        elif found.is_rough:
            found = contenders.fine(found)
        else:
            return found
    return None


def on_shortest(flows: Flows, rate_mbps: Mbps) -> Mbps:
    """(paths,) Mbit/s when every demand takes its first path; paths are in order of delay."""
    flow = np.zeros(len(flows.demand_of))
    served = np.flatnonzero(np.diff(flows.demand_start) > 0)
    flow[flows.demand_start[served]] = rate_mbps[served]
    return flow


@dataclass(frozen=True, eq=False)
class _Contenders:
    """The demands that cross active links, as `Members`, and where each of their places is among all paths."""

    active: Bools  # (links,)
    room: Mbps  # (active links,)
    unit: float  # what Members counts delays in, microseconds
    members: Members
    path: Ints  # (places,) rows of paths
    alone: Mbps  # (paths,) of the demands that nothing stops on their shortest path
    delay_us: Floats  # (paths,)

    @classmethod
    def over(cls, flows: Flows, rate: Mbps, limit: Mbps, active: Bools, unit: float) -> _Contenders:
        contention = contend(replace(flows, demand_mbps=rate), active, by_delay=True)
        groups = contention.groups
        counts = np.diff(groups.group_start)
        among = rows_places(contention.kept_start, groups.member)
        path = contention.kept[among]
        members = Members(
            groups.group_start,
            groups.path_start,
            groups.links,
            groups.member_start,
            rate[groups.member],
            flows.delay_us[path] / unit,
            np.concatenate([[0], np.cumsum(counts * np.diff(groups.member_start))]),
        )
        alone = np.zeros(len(flows.demand_of))
        free = np.flatnonzero(contention.free_path >= 0)
        alone[contention.free_path[free]] = rate[free]
        return cls(active, limit[active], unit, members, path, alone, flows.delay_us)

    def rough(self, before: Shortened) -> Shortened:
        """Return flows that tell which links are in the way."""
        settled = settle(self.members, self.room, before.price_us[self.active] / self.unit, ROUGH)
        return self._at(settled, is_rough=True)

    def fine(self, before: Shortened) -> Shortened:
        """Return flows that are near the least delay, with the gap that their prices prove."""
        settled = settle(self.members, self.room, before.price_us[self.active] / self.unit, FINE)
        found = self._at(settled)
        if found.gap <= _GAP:
            return found
        finer = self._at(settle(self.members, self.room, settled.price, FINEST))
        return finer if finer.over <= _FAILED and finer.gap < found.gap else found

    def _at(self, settled: Settled, *, is_rough: bool = False) -> Shortened:
        """Return the flows at these prices; with few splits, and with their gap, unless they are rough."""
        flow = shared(self.members, settled.price, settled.soft)
        price = np.zeros(len(self.active))
        price[self.active] = settled.price * self.unit
        found = self.alone.copy()
        if is_rough:
            found[self.path] = flow
            return Shortened(found, math.inf, price, is_rough=True)
        exchange(self.members, flow)
        found[self.path] = flow
        bound, _, _ = answer(self.members, settled.price, _HARD)
        longer = float(flow @ self.members.delay) - (bound - float(self.room @ settled.price))
        gap = max(longer * self.unit, 0.0) / max(float(found @ self.delay_us), _LEAST)
        return Shortened(found, gap, price, settled.over)
