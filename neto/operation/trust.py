"""Inputs are suspects: what comes in is believed, replaced by the last good one, or stops everything.

A demand that fails is replaced by the last good one until its time to live; after that the part of the network that it
describes is no longer known, no longer steered, and so on legacy forwarding. A topology that lost too much at once
freezes everything: that many routers do not die together, but a speaker can (fail static, and let a person look).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from neto.model.demand import DemandMatrix, PrefixDemand
from neto.model.peering import Prefix
from neto.model.topology import Topology


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an input is believed, and if not, why."""

    believed: bool
    reason: str = ""


BELIEVED = Verdict(believed=True)


def judge_topology(new: Topology, last_good: Topology | None, *, max_loss: float) -> Verdict:
    """Refuse an empty topology, and one that lost more than `max_loss` (a share) of its nodes or links at once."""
    if not new.links:
        return Verdict(believed=False, reason="topology has no usable link")
    if last_good is None:
        return BELIEVED
    for what, before, now in (
        ("nodes", {node.name for node in last_good.nodes}, {node.name for node in new.nodes}),
        ("links", {link.id for link in last_good.links}, {link.id for link in new.links}),
    ):
        lost = len(before - now) / len(before)
        if lost > max_loss:
            reason = f"{lost:.0%} of the {what} are gone at once (accepted: {max_loss:.0%})"
            return Verdict(believed=False, reason=reason)
    return BELIEVED


def judge_demand(new: DemandMatrix, last_good: DemandMatrix | None, *, max_jump: float) -> Verdict:
    """Refuse what is not finite, an emptiness after traffic, and a total that grew by more than `max_jump` times.

    Only routers that were heard before are compared: one that begins to export is news, not a jump.
    """
    if any(not math.isfinite(rate.rate_mbps) or rate.rate_mbps < 0 for rate in new.rates):
        return Verdict(believed=False, reason="a rate is not a finite, non-negative number")
    if last_good is None:
        return BELIEVED
    known = {rate.source for rate in last_good.rates}
    before = total_mbps(last_good)
    now = math.fsum(rate.rate_mbps for rate in new.rates if rate.source in known)
    if before > 0 and now == 0:
        return Verdict(believed=False, reason="all demand vanished at once")
    if before > 0 and now > before * max_jump:
        return Verdict(believed=False, reason=f"demand grew from {before:.0f} to {now:.0f} Mbit/s at once")
    return BELIEVED


def total_mbps(demand: DemandMatrix) -> float:
    """Return the sum of all rates, Mbit/s."""
    return math.fsum(rate.rate_mbps for rate in demand.rates)


def never_less(
    new: DemandMatrix, last_seen: dict[str, tuple[float, tuple[PrefixDemand, ...]]], ttl_s: float
) -> DemandMatrix:
    """Raise what routers in doubt tell to what they last told without one: lost reports look like less traffic.

    last_seen: by router, when (unix seconds) and what it last told. What is older than ttl_s is not used.
    """
    before = {
        _atom(rate): rate
        for router in new.doubtful
        if router in last_seen and new.ends - last_seen[router][0] <= ttl_s
        for rate in last_seen[router][1]
    }
    if not before:
        return new
    raised = {_atom(rate): rate for rate in new.rates}
    for atom, rate in before.items():
        if rate.source not in new.missing_exporters and (atom not in raised or raised[atom].rate_mbps < rate.rate_mbps):
            raised[atom] = rate
    return replace(new, rates=tuple(raised.values()))


def _atom(rate: PrefixDemand) -> tuple[str, str, str, Prefix]:
    return rate.source, rate.target, rate.traffic_class, rate.prefix


def stand_in(
    new: DemandMatrix, last_seen: dict[str, tuple[float, tuple[PrefixDemand, ...]]], ttl_s: float
) -> DemandMatrix:
    """Complete a demand with the last rates of exporters that are silent now.

    last_seen: by router, when (unix seconds) and what it last told. What is older than ttl_s is not used.
    """
    filled = [
        rate
        for router in sorted(new.missing_exporters)
        if router in last_seen and new.ends - last_seen[router][0] <= ttl_s
        for rate in last_seen[router][1]
    ]
    return replace(new, rates=new.rates + tuple(filled)) if filled else new
