"""A proof of max-min fairness that needs no trust in how rates were found.

If on some path of an unsatisfied demand every full link is also used by somebody with a higher level (rate / weight),
the demand could get more at the cost of those alone, and the allocation is not max-min fair. So every one of its paths
must have a full link at which nobody has a higher level: a bottleneck (Bertsekas and Gallager, Data Networks, §6.5.2,
for one path each). With several paths that is necessary; that nobody could make room by going elsewhere as well is
what exact levels prove.
"""

from __future__ import annotations

import numpy as np

from neto.controller.flows import Bools, Floats, Flows, Ints
from neto.jit import compiled
from neto.model.topology import Mbps, Rows

_FULL = 1e-4  # relative room below which a link counts as full
_SHORT = 1e-5  # relative shortfall from which on a demand counts as unsatisfied
_EQUAL = 0.01  # relative difference of levels that is none
_USES = 1e-2  # share of a demand's rate from which on it counts as a user of a link


def envy(flows: Flows, flow_mbps: Mbps) -> Floats:
    """(demands,) by how much others are above each demand at its bottlenecks, as a ratio of levels.

    The lowest of the highest levels at the full links of each path, the highest over the paths, over the demand's own
    level. 1 or less: nobody is; infinite: it has a path with room. 0 for a demand that is satisfied or has no path.
    """
    rate = flows.rates(flow_mbps)
    level = rate / flows.weight
    room = flows.capacity_mbps - flows.loads(flow_mbps)
    full = room <= _FULL * flows.capacity_mbps
    used = flow_mbps > _USES * rate[flows.demand_of]
    top = _top_levels(flows.path_start, flows.links, used, level[flows.demand_of], len(full))
    short = rate < flows.demand_mbps * (1 - _SHORT)
    return _envy(flows.demand_start, flows.path_start, flows.links, short, level, np.where(full, top, np.inf))


def justified(flows: Flows, flow_mbps: Mbps) -> float:
    """Share of the unsatisfied demands that have a bottleneck on every path; 1 where all are satisfied."""
    envied = envy(flows, flow_mbps)
    short = envied > 0
    return float((envied[short] <= 1 + _EQUAL).mean()) if short.any() else 1.0


@compiled
def _top_levels(path_start: Ints, links: Rows, used: Bools, level: Floats, count: int) -> Floats:
    """(links,) highest level of those who use a link."""
    top = np.zeros(count)
    for path in range(len(used)):
        if used[path]:
            for hop in range(path_start[path], path_start[path + 1]):
                top[links[hop]] = max(top[links[hop]], level[path])
    return top


@compiled
def _envy(demand_start: Ints, path_start: Ints, links: Rows, short: Bools, level: Floats, top: Floats) -> Floats:
    envied = np.zeros(len(short))
    for demand in range(len(short)):
        if short[demand]:
            for path in range(demand_start[demand], demand_start[demand + 1]):
                least = np.inf
                for hop in range(path_start[path], path_start[path + 1]):
                    least = min(least, top[links[hop]])
                envied[demand] = max(envied[demand], least)
            if envied[demand] > 0:
                envied[demand] = envied[demand] / level[demand] if level[demand] > 0 else np.inf
    return envied
