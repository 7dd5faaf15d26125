"""Max-min fair rates of one class, by the tier that fits: exact levels, prices, or filling.

Links come in as they are violated: first those that shortest paths overload, then those that the answer overloads. An
answer to the reduced problem that overloads nothing else is the answer to the whole one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neto.controller.contention import Contention, contend, hand_out
from neto.controller.deadline import NEVER, Deadline
from neto.controller.filling import fill
from neto.controller.flows import Floats, Flows, trimmed
from neto.controller.groups import Groups, group_levels, member_rates
from neto.controller.levels import max_min_levels
from neto.controller.prices import alpha_fair, price_splits
from neto.controller.shorten import on_shortest
from neto.controller.waterfill import waterfill
from neto.model.topology import Mbps

OPTIMAL = "optimal"
NEAR = "near max-min fair"
_SMALL = 500  # hops of all groups' paths up to which exact levels take a hundredth of a second
_OVER = 1e-7  # relative load above capacity that is rounding
_NEARLY = 0.01  # relative load above capacity that is trimmed where prices alone give the answer
_NEAR_FULL = 0.97  # links this full join those that are over: they would be next


@dataclass(frozen=True, eq=False)
class FairRates:
    """What each demand gets, and flows that carry it within capacity but for rounding."""

    rate_mbps: Mbps  # (demands,)
    flow_mbps: Mbps  # (paths,)
    status: str
    level_mbps: Mbps  # (links,) at which each link holds demands back; infinite: it is in nobody's way
    fell_back: bool = False  # what was asked for was not reached; the status says why


def fair_rates(
    flows: Flows,
    *,
    exact: bool = False,
    alpha: float = math.inf,
    deadline: Deadline = NEVER,
    known_mbps: Mbps | None = None,
) -> FairRates:
    """Return max-min fair rates: exact when the problem is small or `exact` asks for it, else close to that.

    alpha: less than infinite, alpha-fair rates instead (0 < alpha <= 4): the lower, the more is carried in all.
    Past the deadline: exact becomes close, and close becomes filled in order of delay; the status says so.
    known_mbps: (links,) level_mbps of the last answer to a similar problem: most of the work is then done.
    """
    known = np.full(len(flows.capacity_mbps), np.inf) if known_mbps is None else known_mbps
    active = np.isfinite(known) & (flows.capacity_mbps > 0)
    active |= flows.loads(on_shortest(flows, flows.demand_mbps)) > flows.capacity_mbps
    over = _OVER if math.isinf(alpha) else _NEARLY
    for _ in range(len(flows.capacity_mbps) + 1):
        if deadline.passed:
            return _filled(flows, "there was no time for fair levels")
        contention = contend(flows, active)
        small = len(contention.groups.links) <= _SMALL
        found = _solve(flows, contention, known, alpha, deadline, exact=False)
        load = flows.loads(found.flow_mbps)
        violated = (load > flows.capacity_mbps * (1 + over)) & ~active
        if not violated.any() and (exact or small) and math.isinf(alpha):  # once all links that matter are known
            found = _solve(flows, contention, found.level_mbps, alpha, deadline, exact=True)
            load = flows.loads(found.flow_mbps)
            violated = (load > flows.capacity_mbps * (1 + over)) & ~active
        if not violated.any():
            return _fitted(flows, found, load)
        active |= load > flows.capacity_mbps * _NEAR_FULL
    return _filled(flows, "no fair levels were found")


def _solve(
    flows: Flows, contention: Contention, known_mbps: Mbps, alpha: float, deadline: Deadline, *, exact: bool
) -> FairRates:
    """Solve over the active links alone."""
    groups = contention.groups
    rate = np.where(contention.free_path >= 0, flows.demand_mbps, 0.0)
    if len(groups.group_start) == 1:
        return FairRates(
            rate, hand_out(flows, contention, rate, np.zeros(0)), OPTIMAL, np.full(len(known_mbps), np.inf)
        )
    known = known_mbps[contention.active]
    link_level = np.full(len(known_mbps), np.inf)
    if math.isinf(alpha):
        priced = price_splits(groups, known)
        level, flow, status, fell_back = _max_min(groups, priced.flow_mbps, deadline, exact=exact)
    else:
        priced = alpha_fair(groups, alpha, known)
        flow = priced.flow_mbps
        level, status = group_levels(groups, groups.sums(flow)), f"near {alpha:g}-fair"
        fell_back = False
    link_level[contention.active] = priced.level_mbps
    contended = member_rates(groups, level, flows.demand_mbps, flows.weight)
    rate[groups.member] = contended[groups.member]
    return FairRates(rate, hand_out(flows, contention, rate, flow), status, link_level, fell_back)


def _max_min(groups: Groups, priced_mbps: Mbps, deadline: Deadline, *, exact: bool) -> tuple[Floats, Mbps, str, bool]:
    """Level of each group, Mbit/s on each of their paths, how good that is, and whether it was to be better."""
    flow = waterfill(groups, _splits(groups, priced_mbps))
    # Again with the splits that came true: who was stopped on one path leans on the others.
    flow = waterfill(groups, _splits(groups, flow))
    level = group_levels(groups, groups.sums(flow))
    if not exact:
        return level, flow, NEAR, False
    levels = max_min_levels(groups, float(level.min()) * (1 - 1e-9), deadline=deadline)
    if levels.complete:
        return levels.level, levels.flow_mbps, OPTIMAL, False
    why = "there was no time for exact levels" if deadline.passed else "the solver stopped on the exact levels"
    return level, flow, f"{NEAR}: {why}", True


def _splits(groups: Groups, flow_mbps: Mbps) -> Floats:
    """(paths,) share of its group's flow that each path carries."""
    carried = groups.sums(flow_mbps)[groups.group_of]
    return np.divide(flow_mbps, carried, out=np.zeros_like(flow_mbps), where=carried > 0)


def _fitted(flows: Flows, found: FairRates, load: Mbps) -> FairRates:
    """Return what fits of an answer that may exceed the capacity a little; filled instead where it is no answer."""
    if not np.isfinite(found.rate_mbps).all():
        return _filled(flows, "no fair levels were found")
    if (load <= flows.capacity_mbps * (1 + _OVER)).all():
        return found
    flow = trimmed(flows, found.flow_mbps)
    return FairRates(
        np.minimum(flows.rates(flow), found.rate_mbps), flow, found.status, found.level_mbps, found.fell_back
    )


def _filled(flows: Flows, why: str) -> FairRates:
    """Tier 0."""
    flow = fill(flows)
    nowhere = np.full(len(flows.capacity_mbps), np.inf)
    return FairRates(flows.rates(flow), flow, f"filled in order of delay: {why}", nowhere, fell_back=True)
