"""Max-min fair rates of one class, by the tier that fits: exact levels, prices, or filling.

Links come in as they are violated: first those that shortest paths overload, then those that the answer overloads. An
answer to the reduced problem that overloads nothing else is the answer to the whole one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neto.controller.contention import Contention, contend, hand_out
from neto.controller.filling import fill
from neto.controller.flows import Flows
from neto.controller.groups import group_levels, member_rates
from neto.controller.levels import max_min_levels
from neto.controller.prices import price_splits
from neto.controller.shorten import on_shortest
from neto.controller.waterfill import waterfill
from neto.model.topology import Mbps

OPTIMAL = "optimal"
NEAR = "near max-min fair"
_SMALL = 2500  # hops of all groups' paths up to which exact levels take some hundredths of a second
_OVER = 1e-7  # relative load above capacity that is rounding
_NEAR_FULL = 0.97  # links this full join those that are over: they would be next


@dataclass(frozen=True, eq=False)
class FairRates:
    """What each demand gets, and flows that carry it within capacity but for rounding."""

    rate_mbps: Mbps  # (demands,)
    flow_mbps: Mbps  # (paths,)
    status: str


def fair_rates(flows: Flows, *, exact: bool = False) -> FairRates:
    """Return max-min fair rates: exact when the problem is small or `exact` asks for it, else close to that."""
    active = flows.loads(on_shortest(flows, flows.demand_mbps)) > flows.capacity_mbps
    for _ in range(len(flows.capacity_mbps) + 1):
        contention = contend(flows, active)
        found = _solve(flows, contention, exact=exact or len(contention.groups.links) <= _SMALL)
        load = flows.loads(found.flow_mbps)
        violated = (load > flows.capacity_mbps * (1 + _OVER)) & ~active
        if not violated.any():
            return found if np.isfinite(found.rate_mbps).all() else _filled(flows)
        active |= load > flows.capacity_mbps * _NEAR_FULL
    return _filled(flows)


def _solve(flows: Flows, contention: Contention, *, exact: bool) -> FairRates:
    """Solve over the active links alone."""
    groups = contention.groups
    if len(groups.group_start) == 1:
        rate = np.where(contention.free_path >= 0, flows.demand_mbps, 0.0)
        return FairRates(rate, hand_out(flows, contention, rate, np.zeros(0)), OPTIMAL)
    flow = waterfill(groups, price_splits(groups))
    # Again with the splits that came true: who was stopped on one path leans on the others.
    carried = groups.sums(flow)[groups.group_of]
    flow = waterfill(groups, np.divide(flow, carried, out=np.zeros_like(flow), where=carried > 0))
    level = group_levels(groups, groups.sums(flow))
    status = NEAR
    if exact:
        exact_levels = max_min_levels(groups, float(level.min()) * (1 - 1e-9))
        if exact_levels.complete:
            level, flow, status = exact_levels.level, exact_levels.flow_mbps, OPTIMAL
        else:
            status = f"{NEAR}: the solver stopped on the exact levels"
    rate = np.where(contention.free_path >= 0, flows.demand_mbps, 0.0)
    contended = member_rates(groups, level, flows.demand_mbps, flows.weight)
    rate[groups.member] = contended[groups.member]
    return FairRates(rate, hand_out(flows, contention, rate, flow), status)


def _filled(flows: Flows) -> FairRates:
    """Tier 0."""
    flow = fill(flows)
    return FairRates(flows.rates(flow), flow, "filled in order of delay: no fair levels were found")
