"""What the settings mean to the parts that decide."""

from __future__ import annotations

from neto.controller.cycle import CycleOptions
from neto.controller.realise import Quanta
from neto.operation.adjusting import Rules
from neto.operation.inputs import TrustLimits
from neto.operation.mode import RampPolicy
from neto.settings.main import Settings


def cycle_options(settings: Settings) -> CycleOptions:
    """Options of one decision."""
    chosen = settings.controller
    return CycleOptions(
        paths=chosen.paths,
        diverse=chosen.diverse,
        by_metric=chosen.by_metric,
        quanta=Quanta(grain=chosen.weight_grain, most_paths=chosen.max_paths),
        min_gain=chosen.min_gain,
        solve_limit_s=chosen.solve_limit_s,
    )


def trust_limits(settings: Settings) -> TrustLimits:
    """How much inputs may change at once."""
    return TrustLimits(
        max_topology_loss=settings.safety.max_topology_loss / 100,
        max_demand_jump=settings.safety.max_demand_jump,
        demand_ttl_s=settings.netflow.ttl_s,
    )


def ramp_policy(settings: Settings) -> RampPolicy:
    """Portions in shares."""
    return RampPolicy(tuple(percent / 100 for percent in settings.ramp.portions), settings.ramp.hold_cycles)


def adjusting_rules(settings: Settings) -> Rules:
    """How announcements are adjusted."""
    return Rules(asn=settings.bgp.asn, **settings.ingress.model_dump())
