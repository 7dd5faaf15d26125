"""Max-min fairness by its definition, on the whole linear program: slow, and independent of the code under test.

At each level, a demand is fixed when a program of its own shows that it cannot get more while all others keep theirs.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, hstack, vstack


def incidence(paths, links):
    """(links, paths) and (demands, paths) as sparse 0/1 matrices."""
    count = len(paths.delay_us)
    hop_path = np.repeat(np.arange(count), np.diff(paths.path_start))
    over = csr_matrix((np.ones(len(hop_path)), (paths.links, hop_path)), shape=(links, count))
    serves = csr_matrix(
        (np.ones(count), (paths.demand_of, np.arange(count))), shape=(len(paths.demand_start) - 1, count)
    )
    return over, serves


def exact_rates(paths, demand_mbps, capacity_mbps, weight=None):
    """(demands,) max-min fair rates."""
    demand = np.asarray(demand_mbps, dtype=float)
    weight = np.ones(len(demand)) if weight is None else np.asarray(weight, dtype=float)
    over, serves = incidence(paths, len(capacity_mbps))
    count = len(paths.delay_us)
    unit = max(float(demand.max(initial=0.0)), 1e-30)
    demand, capacity = demand / unit, np.asarray(capacity_mbps) / unit
    rate = np.zeros(len(demand))
    fixed = (demand <= 0) | (np.diff(paths.demand_start) == 0)
    while not fixed.all():
        # max t: serves x >= rate for the fixed, >= t w for the rest; nobody beyond its demand.
        step = np.where(fixed, 0.0, weight)
        rows = vstack([over, serves, -serves]).tocsr()
        last = csr_matrix(np.concatenate([np.zeros(len(capacity) + len(demand)), step])[:, None])
        matrix = csr_matrix(np.hstack([rows.toarray(), last.toarray()]))
        bound = np.concatenate([capacity, demand, np.where(fixed, -rate * (1 - 1e-9), 0.0)])
        cost = np.zeros(count + 1)
        cost[-1] = -1
        top = float((demand / weight)[~fixed].min())
        found = linprog(cost, matrix, bound, bounds=[(0, None)] * count + [(0, top)])
        assert found.status == 0, found.message
        level = found.x[-1]
        floor = np.where(fixed, rate, level * weight)
        held = np.zeros(len(demand), dtype=bool)
        for which in np.flatnonzero(~fixed):
            if demand[which] <= floor[which] * (1 + 1e-7):
                held[which] = True
                continue
            others = floor * (1 - 1e-9)
            more = linprog(-serves[which].toarray()[0], rows, np.concatenate([capacity, demand, -others]))
            assert more.status == 0, more.message
            held[which] = -more.fun <= floor[which] * (1 + 1e-6) + 1e-12
        assert held.any()
        rate = np.where(held, np.minimum(floor, demand), rate)
        fixed |= held
    return rate * unit


def least_delay(paths, rate_mbps, capacity_mbps):
    """Total delay x rate of the best way to carry the rates."""
    over, serves = incidence(paths, len(capacity_mbps))
    found = linprog(paths.delay_us, over, np.asarray(capacity_mbps) * (1 + 1e-9), serves, rate_mbps)
    assert found.status == 0, found.message
    return found.fun


def closeness(rate, exact, floor):
    """Soroush's q: geometric mean of how near each rate is to the exact one, rates under `floor` counting as it."""
    ratio = np.maximum(rate, floor) / np.maximum(exact, floor)
    return float(np.exp(np.log(np.minimum(ratio, 1 / ratio)).mean()))


def alpha_fair_rates(paths, demand_mbps, capacity_mbps, weight, alpha):
    """(demands,) rates that maximise the sum of weight * U(rate / weight) with U' = level ** -alpha.

    Piecewise-linear utility over a fine grid of levels, as one linear program.
    """
    demand, weight = np.asarray(demand_mbps, dtype=float), np.asarray(weight, dtype=float)
    over, serves = incidence(paths, len(capacity_mbps))
    level = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, 1500)])
    middle = np.sqrt(np.maximum(level[:-1], 1e-4) * level[1:])
    count, pieces, demands = len(paths.delay_us), len(middle), len(demand)
    cost = np.concatenate([np.zeros(count), -np.outer(weight, middle**-alpha).ravel()])
    widths = np.clip((demand / weight)[:, None], level[:-1], level[1:]) - level[:-1]
    pay = csr_matrix(np.kron(np.eye(demands), np.ones(pieces)))
    zeros = csr_matrix((len(capacity_mbps), demands * pieces))
    found = linprog(
        cost,
        A_ub=hstack([over, zeros]),
        b_ub=capacity_mbps,
        A_eq=hstack([serves, -pay.multiply(weight[:, None])]),
        b_eq=np.zeros(demands),
        bounds=[(0, None)] * count + [(0, width) for width in widths.ravel()],
    )
    assert found.status == 0, found.message
    return serves @ found.x[:count]
