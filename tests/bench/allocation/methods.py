"""All that is measured, by name: NetO's allocation and its peers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from neto.controller.allocation import allocate
from neto.controller.fairness import fair_rates
from neto.controller.flows import Flows

from .fillers import adaptive_waterfiller, progressive_filling
from .instances import CLASS
from .peers import exact_levels, geometric_binner, least_delay, swan

NETO, NETO_RATES, NETO_EXACT, LEVELS = "NetO", "NetO, rates only", "NetO, exact", "exact levels, HiGHS"


@dataclass(frozen=True)
class Method:
    """Something that allocates."""

    name: str
    solve: partial  # (instance, limit_s) -> (paths,) Mbit/s
    is_program: bool = False  # a linear program over all paths


def neto(instance, limit_s, *, exact=False, alpha=math.inf):
    """Everything that a cycle does for one class, delay pass included. It keeps no time limit of its own."""
    del limit_s
    return allocate(
        instance.topology,
        instance.demands,
        (replace(CLASS, alpha=alpha),),
        instance.paths,
        instance.capacity_mbps,
        exact=exact,
    ).rate_mbps


def neto_rates(instance, limit_s):
    """Only what the peers do: rates, and some paths that carry them."""
    del limit_s
    paths, demand = instance.paths, instance.demand_mbps
    return fair_rates(
        Flows(
            paths.demand_start, paths.path_start, paths.links, paths.demand_of, demand, np.ones(len(demand)),
            paths.delay_us, instance.capacity_mbps,
        )
    ).flow_mbps  # fmt: skip


def by_peer(peer, instance, limit_s, **options):
    """Call a peer on an instance."""
    return peer(instance.capacity_mbps, instance.demand_mbps, instance.paths, limit_s=limit_s, **options)


def least_delay_of(rate_mbps, instance, limit_s):
    """Flows of least delay for these rates (demands,)."""
    return least_delay(instance.capacity_mbps, rate_mbps, instance.paths, limit_s=limit_s)


METHODS = (
    Method(NETO, partial(neto)),
    Method(NETO_RATES, partial(neto_rates)),
    Method("NetO, alpha 2", partial(neto, alpha=2.0)),
    Method("NetO, alpha 1.25", partial(neto, alpha=1.25)),
    Method(NETO_EXACT, partial(neto, exact=True)),
    Method("progressive filling, numpy", partial(by_peer, progressive_filling)),
    Method("adaptive waterfiller 10 times, numpy", partial(by_peer, adaptive_waterfiller)),
    Method("SWAN alpha 2, HiGHS simplex", partial(by_peer, swan, solver="simplex"), is_program=True),
    Method("SWAN alpha 2, HiGHS interior point", partial(by_peer, swan, solver="ipm"), is_program=True),
    Method("geometric binner, HiGHS simplex", partial(by_peer, geometric_binner, solver="simplex"), is_program=True),
    Method("geometric binner, HiGHS interior point", partial(by_peer, geometric_binner, solver="ipm"), is_program=True),
    Method(LEVELS, partial(by_peer, exact_levels), is_program=True),
)
