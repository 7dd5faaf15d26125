"""How much traffic a plan can move, at most: what decides whether a person has to look first."""

from __future__ import annotations

from neto.model.plan import MoveKind, PolicyMove, RouteMove
from neto.model.snapshot import Decision, Snapshot
from neto.model.sr import RouteKey


def moved_share(decision: Decision, snapshot: Snapshot) -> float:
    """Return the share of the measured traffic that a plan touches, 0..1.

    Traffic is touched when its route changes, or when a policy to its present next hop is replaced on its head-end.
    Which of that really takes other links is not asked: the limit is about what a mistake could reach.
    """
    moves = [move for step in decision.plan.steps for move in step.moves]
    flipped = {move.key for move in moves if isinstance(move, RouteMove)}
    replaced = {
        (move.key.headend, move.key.endpoint)
        for move in moves
        if isinstance(move, PolicyMove) and move.kind is MoveKind.REPLACE_POLICY
    }
    total = touched = 0.0
    for rate in snapshot.demand.rates:
        total += rate.rate_mbps
        key = RouteKey(rate.source, rate.prefix)
        route = snapshot.running.routes.get(key)
        if key in flipped or (route is not None and (rate.source, route.next_hop) in replaced):
            touched += rate.rate_mbps
    return touched / total if total > 0 else 0.0
