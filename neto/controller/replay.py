"""Replay a plan on the router state alone: what is the worst that each step can come to, whatever order routers act in.

Knows nothing of how the plan was made. Demand that the moves of a step touch in the same way is tried in every
combination of moved and unmoved; the worst of each link is taken per such group and summed, which is exact where no
two groups share a move and never too low.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, product

import numpy as np

from neto.controller.forwarding import Forwarding
from neto.model.demand import PrefixDemand
from neto.model.plan import Move, PolicyMove, RouteMove
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey
from neto.model.topology import Mbps


def after_moves(state: ForwardingState, moves: Iterable[Move]) -> ForwardingState:
    """Return the state once all these moves are done."""
    policies, routes = dict(state.policies), dict(state.routes)
    for move in moves:
        if isinstance(move, RouteMove):
            if move.route is None:
                routes.pop(move.key, None)
            else:
                routes[move.key] = move.route
        elif move.policy is None:
            policies.pop(move.key, None)
        else:
            policies[move.key] = move.policy
    return ForwardingState(policies, routes)


def step_peak(
    forwarding: Forwarding, state: ForwardingState, moves: Sequence[Move], demand: Sequence[PrefixDemand]
) -> Mbps:
    """(classes, links) highest Mbit/s of the traffic down to each class while these moves happen in any order."""
    moved = {move.key: move for move in moves}
    heads = {move.key.headend for move in moves}
    groups: dict[tuple[Move, ...], list[PrefixDemand]] = {}
    for row in demand:
        touching = _touching(forwarding, state, row, moved) if row.source in heads else ()
        groups.setdefault(touching, []).append(row)
    peak = np.zeros((len(forwarding.class_row), len(forwarding.joint.links)))
    for touching, rows in groups.items():
        worst = np.zeros_like(peak)
        for chosen in product((False, True), repeat=len(touching)):
            mixture = after_moves(_around(state, rows, touching), compress(touching, chosen))
            np.maximum(worst, np.cumsum(forwarding.loads(mixture, rows), axis=0), out=worst)
        peak += worst
    return peak


def _touching(
    forwarding: Forwarding,
    state: ForwardingState,
    row: PrefixDemand,
    moved: Mapping[PolicyKey | RouteKey, Move],
) -> tuple[Move, ...]:
    """Return the moves that can change where this row of demand goes, in any mixture."""
    key = RouteKey(row.source, row.prefix)
    routes: list[Route | None] = [state.routes.get(key)]
    keys: list[PolicyKey | RouteKey] = [key]
    change = moved.get(key)
    if isinstance(change, RouteMove):
        routes.append(change.route)
    for route in routes:
        if route is None:
            continue
        steering = PolicyKey(route.key.headend, route.colour, route.next_hop)
        policy_move = moved.get(steering)
        new = after_moves(state, [policy_move]) if isinstance(policy_move, PolicyMove) else state
        traffic_class = forwarding.row_of(row.traffic_class)
        keys += [steering, *(forwarding.policy_key(one, route, traffic_class) for one in (state, new))]
    return tuple(moved[key] for key in dict.fromkeys(keys) if key in moved)


def _around(state: ForwardingState, rows: Sequence[PrefixDemand], touching: Sequence[Move]) -> ForwardingState:
    """Return the part of the state that these rows can see, which is small, so that mixtures are cheap to make."""
    if not touching:
        return state
    keys = {RouteKey(row.source, row.prefix) for row in rows}
    heads = {row.source for row in rows}
    return ForwardingState(
        {key: policy for key, policy in state.policies.items() if key.headend in heads},
        {key: state.routes[key] for key in keys if key in state.routes},
    )
