"""Prices of contended links, at which demand and capacity meet: how each group should split over its paths.

Alpha-fair allocation (Mo and Walrand, IEEE/ACM ToN 2000) maximises the sum of utilities U(rate) with
U'(rate) = level ** -alpha, level = rate / weight, within capacity. Its dual has one price y per link, and at given
prices every group answers on its own (`bids`): it takes its cheapest paths, at the level price ** (-1 / alpha). The
larger alpha, the closer to max-min fairness.

The dual, softened by letting groups share among paths that cost nearly the same,

    sum over groups of W(p),  W' = -volume,   plus   capacity @ y,

is convex; its gradient is room, capacity - load, and its Hessian comes from the groups alone and is as large as the
links that are in the way. Newton steps, taken in log y, where all numbers are of order 1 whatever the rates are, and
each link's held within a reach of its own, as in a trust region; the slope of the dual at the far end of a step tells
whether it went too far. Stages raise alpha and the strictness; prices carry over by y ** (alpha' / alpha), since at a
single bottleneck y = level ** -alpha.

For max-min fairness only the splits are used: `waterfill` turns them into rates that are fair and within capacity
whatever the prices are worth. Where a class asks for a finite alpha, the answer is the allocation, but for trimming.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neto.controller.bids import Bids, Market, answer, bids_of, flows_at
from neto.controller.flows import Floats
from neto.controller.groups import Groups
from neto.model.topology import Mbps

_STAGES = (  # alpha, power, tolerance of loads, most steps
    (1.0, 4.0, 0.2, 20),
    (4.0, 10.0, 0.2, 20),
    (4.0, 20.0, 0.05, 30),
)
_LAST = (4.0, 40.0, 0.01, 40)
_SETTLED = (4.0, 100.0, 0.002, 100)  # where the prices themselves are the answer
_REACH = 1.5  # how far a log price may move in the first step
_MOST_REACH = 20.0
_FAR = 300.0  # log prices stay within this
_NOTHING = 1e-300
_TOO_FAR = -0.5  # slope at the end of a step over that at its beginning


class Priced(NamedTuple):
    """What groups send at the prices, and the level that each link's price alone would hold them to."""

    flow_mbps: Mbps  # (paths,)
    level_mbps: Mbps  # (links,)


def price_splits(groups: Groups, known_mbps: Mbps) -> Priced:
    """Return flows whose splits over each group's paths are nearly max-min fair.

    known_mbps: (links,) levels of the last answer to a similar problem, to begin with; infinite where there was none.
    """
    return _priced(groups, _LAST, math.inf, known_mbps)


def alpha_fair(groups: Groups, alpha: float, known_mbps: Mbps) -> Priced:
    """Return flows that are nearly alpha-fair, and nearly within capacity; 0 < alpha <= 4, else nothing settles."""
    return _priced(groups, _SETTLED, alpha, known_mbps)


def _priced(groups: Groups, last: tuple[float, float, float, int], most_alpha: float, known_mbps: Mbps) -> Priced:
    """Return where the prices stand after all stages, or after the last alone when prices are known."""
    bids = bids_of(groups)
    unit = float(np.median(groups.satisfied_at))  # the level whose price is 1
    known = np.isfinite(known_mbps)
    stages: Sequence[tuple[float, float, float, int]] = (last,) if known.all() else (*_STAGES, last)
    before = min(stages[0][0], most_alpha)
    log_price = np.where(known, -before * np.log(np.where(known, known_mbps, unit) / unit), 0.0)
    for stage_alpha, power, tolerance, most_steps in stages:
        alpha = min(stage_alpha, most_alpha)
        log_price = np.clip(log_price * (alpha / before), -_FAR, _FAR)
        before = alpha
        market = Market(alpha, power, unit)
        log_price = _clear(bids, log_price, market, tolerance, most_steps)
    price, market = _scaled(log_price, market)
    level = unit * np.exp(np.clip(-log_price / before, -_FAR, _FAR))
    return Priced(flows_at(bids, price, market), level)


def _clear(bids: Bids, log_price: Floats, market: Market, tolerance: float, most_steps: int) -> Floats:
    """Return log prices (links,) at which loads come within the tolerance, or those of the last step."""
    reach = np.full(len(log_price), _REACH)
    full, curve = answer(bids, *_scaled(log_price, market))
    for _ in range(most_steps):
        over = full - 1.0
        cost = np.exp(log_price - log_price.max()) * bids.capacity
        off = float(cost @ np.abs(over)) / float(cost.sum())
        if over.max() < tolerance and (off < tolerance or _nobody_held(bids, log_price, market)):
            break
        damping = np.maximum(np.abs(over), tolerance) / reach
        step = np.clip(np.linalg.solve(curve + np.diag(damping), over), -reach, reach)
        tried = np.clip(log_price + step, -_FAR, _FAR)
        full_there, curve_there = answer(bids, *_scaled(tried, market))
        uphill = float((cost * over) @ step)
        after = float((cost * np.exp(tried - log_price) * (full_there - 1.0)) @ step)
        too_far = after < _TOO_FAR * uphill
        turned = over * (full_there - 1.0) < 0
        reach[turned] *= 0.3 if too_far else 1.0
        reach[~turned] = np.minimum(reach[~turned] * (0.7 if too_far else 2.5), _MOST_REACH)
        if not too_far:
            log_price, full, curve = tried, full_there, curve_there
    return log_price


def _scaled(log_price: Floats, market: Market) -> tuple[Floats, Market]:
    """Return prices of which the highest is 1, and the market in which they mean the same."""
    top = float(log_price.max())
    price = np.maximum(np.exp(np.maximum(log_price - top, -2 * _FAR)), _NOTHING)
    return price, market._replace(unit=market.unit * math.exp(-top / market.alpha))


def _nobody_held(bids: Bids, log_price: Floats, market: Market) -> bool:
    """Whether prices are so low that all are satisfied: a path costs at most what all links cost together."""
    most = float(np.logaddexp.reduce(log_price))
    return market.unit * math.exp(min(-most / market.alpha, _FAR)) >= float(bids.satisfied_at.max())
