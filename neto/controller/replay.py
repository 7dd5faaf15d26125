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
from neto.model.plan import AnnouncementMove, Move, PolicyMove, RouteMove
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey, SrPolicy
from neto.model.topology import Mbps


def after_moves(state: ForwardingState, moves: Iterable[Move]) -> ForwardingState:
    """Return the state once all these moves are done."""
    policies, routes, announcements = dict(state.policies), dict(state.routes), dict(state.announcements)
    for move in moves:
        if isinstance(move, AnnouncementMove):
            if move.adjustment is None:
                announcements.pop(move.key, None)
            else:
                announcements[move.key] = move.adjustment
        elif isinstance(move, RouteMove):
            if move.route is None:
                routes.pop(move.key, None)
            else:
                routes[move.key] = move.route
        elif move.policy is None:
            policies.pop(move.key, None)
        else:
            policies[move.key] = move.policy
    return ForwardingState(policies, routes, announcements)


def step_peak(
    forwarding: Forwarding, state: ForwardingState, moves: Sequence[Move], demand: Sequence[PrefixDemand]
) -> Mbps:
    """(classes, links) highest Mbit/s of the traffic down to each class while these moves happen in any order."""
    moved = {move.key: move for move in moves if not isinstance(move, AnnouncementMove)}
    heads = {key.headend for key in moved}
    near = by_headend(state, heads)
    still = []
    groups: dict[tuple[PolicyKey | RouteKey, ...], list[PrefixDemand]] = {}
    for row in demand:
        touching = _touching(forwarding, near[row.source], row, moved) if row.source in heads else ()
        if touching:
            groups.setdefault(touching, []).append(row)
        else:
            still.append(row)
    peak = np.cumsum(forwarding.loads(state, still), axis=0)
    for touching, rows in groups.items():
        for (level, link), most in _worst(
            forwarding, near[rows[0].source], [moved[key] for key in touching], rows
        ).items():
            peak[level, link] += most
    return peak


def by_headend(state: ForwardingState, heads: Iterable[str]) -> dict[str, ForwardingState]:
    """Return the part of the state that is on each of these head-ends."""
    parts = {head: ForwardingState({}, {}) for head in heads}
    policies: dict[str, dict[PolicyKey, SrPolicy]] = {head: {} for head in parts}
    routes: dict[str, dict[RouteKey, Route]] = {head: {} for head in parts}
    for key, policy in state.policies.items():
        if key.headend in policies:
            policies[key.headend][key] = policy
    for prefix, route in state.routes.items():
        if prefix.headend in routes:
            routes[prefix.headend][prefix] = route
    return {head: ForwardingState(policies[head], routes[head]) for head in parts}


def _worst(
    forwarding: Forwarding, state: ForwardingState, touching: Sequence[Move], rows: Sequence[PrefixDemand]
) -> dict[tuple[int, int], float]:
    """Return the most that these rows put on each link, by class downwards and link, over all mixtures of moves."""
    prefixes = {RouteKey(row.source, row.prefix) for row in rows}
    seen = ForwardingState(state.policies, {key: state.routes[key] for key in prefixes if key in state.routes})
    worst: dict[tuple[int, int], float] = {}
    for chosen in product((False, True), repeat=len(touching)):
        load = forwarding.loads_by_link(after_moves(seen, compress(touching, chosen)), rows)
        for link in {link for _, link in load}:
            down_to = 0.0
            for level in range(len(forwarding.class_row)):
                down_to += load.get((level, link), 0.0)
                worst[level, link] = max(worst.get((level, link), 0.0), down_to)
    return worst


def _touching(
    forwarding: Forwarding,
    state: ForwardingState,
    row: PrefixDemand,
    moved: Mapping[PolicyKey | RouteKey, Move],
) -> tuple[PolicyKey | RouteKey, ...]:
    """Return the keys of the moves that can change where this row of demand goes, in any mixture."""
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
    return tuple(key for key in dict.fromkeys(keys) if key in moved)
