"""Decide with prefix groups split over their exits by whole prefixes.

The allocation of whole groups says which share of a group leaves where. Its prefixes are then dealt out to exits, and
the allocation is made anew with those of one exit as a target of their own: a part of the group, with colours of its
own and that exit alone. So paths through the WAN, capacities and transitions are decided as for every other target.

A prefix stays at its exit unless that is gone, or what runs does not fit any more, or the group would come nearer by
the least gain. Weights of segment lists go on to split what whole prefixes cannot: a prefix too large for any exit's
share or for the shift limit, those that the limits hold back until a later decision, and groups at a head-end for
which there is not room enough for all their traffic, or for one policy more per exit and class.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from neto.controller.path_cache import PathCache
from neto.controller.peering import Targets, exit_of, whole
from neto.controller.prefix_split import split
from neto.controller.target import CycleOptions, Target, decide_target
from neto.controller.world import World
from neto.model.intent import PrefixSplit
from neto.model.peering import Prefix
from neto.model.sr import RouteKey

Pair = tuple[str, str]  # head-end, prefix group
_ROUNDING = 1e-6
_MOST_ATTEMPTS = 5  # allocations in one decision


def decide_by_prefix(world: World, options: CycleOptions, cache: PathCache | None = None) -> Target:
    """Return the state to reach; with groups split by weights alone where the intents do not say otherwise."""
    limits = world.snapshot.intents.prefix_split
    if limits is None or not world.groups:
        return decide_target(world, options, cache)
    options = replace(options, solve_limit_s=options.solve_limit_s / _MOST_ATTEMPTS)
    free = decide_target(world, options, cache)
    asked = _Fare.of(free)
    dealer = _Dealer(world, asked, limits)
    due = {pair for pair in dealer.rates if not dealer.running.get(pair)}
    by_weights = {pair for pair, fare in asked.items() if not fare.placed}

    def attempt() -> tuple[Target, dict[Pair, _Fare]]:
        made = decide_target(World(world.snapshot, dealer.exits(due, by_weights)), options, cache)
        return made, _Fare.of(made)

    def short() -> set[Pair]:
        full = dealer.full(target)
        return {pair for pair, fare in fares.items() if not fare.placed or pair[0] in full} - by_weights

    target, fares = attempt()
    further = {pair for pair in fares.keys() & asked.keys() if fares[pair].gains(asked[pair], options.min_gain)}
    if (short() | further) - due:
        due |= short() | further
        target, fares = attempt()
    crowded = frozenset(by_weights)  # there is not room enough for them anyway
    for widely in (False, True):  # what does not fit, then all that may be in its way
        if not (short() or _is_less(target, free)):
            break
        by_weights |= short()
        if widely:
            by_weights |= dealer.beside(by_weights)
        target, fares = attempt()
    if short() or _is_less(target, free):
        return replace(free, notes=("prefix groups are split by weights: whole prefixes do not fit",))
    notes = [
        f"{group} at {headend}: split by weights, whole prefixes do not fit" for headend, group in by_weights - crowded
    ]
    return replace(target, notes=tuple(sorted(notes)))


def _is_less(target: Target, free: Target) -> bool:
    """Whether a class lacks more than it would with whole groups."""
    lacks = (
        [(each.requested_mbps - each.allocated_mbps, each.requested_mbps) for each in one.allocation.classes]
        for one in (target, free)
    )
    return any(now > then + _ROUNDING * asked for (now, asked), (then, _) in zip(*lacks, strict=True))


@dataclass(slots=True)
class _Fare:
    """How a prefix group fares at a head-end, all classes and parts together."""

    rate_mbps: float = 0.0
    placed: bool = True  # all that it asks for
    delay: float = 0.0  # sum of Mbit/s * us
    exit_mbps: dict[str, float] = field(default_factory=dict)  # in order of delay; 0: it might be used
    reached: list[set[str]] = field(default_factory=list)  # exits that each class might use

    @classmethod
    def of(cls, target: Target) -> dict[Pair, _Fare]:
        given = target.allocation
        fares: dict[Pair, _Fare] = {}
        names = [link.id for link in given.topology.links]
        for row, demand in enumerate(given.demands):
            group = whole(demand.target)
            if group in given.topology.node_row:
                continue
            fare = fares.setdefault((demand.source, group), cls())
            fare.rate_mbps += demand.rate_mbps
            fare.placed &= bool(given.allocated_mbps[row] >= demand.rate_mbps * (1 - _ROUNDING))
            reached = set()
            for path in range(int(given.paths.demand_start[row]), int(given.paths.demand_start[row + 1])):
                exit_, rate = names[given.paths.path(path)[-1]], float(given.rate_mbps[path])
                fare.exit_mbps[exit_] = fare.exit_mbps.get(exit_, 0.0) + rate
                fare.delay += rate * float(given.paths.delay_us[path])
                reached.add(exit_)
            fare.reached.append(reached)
        return fares

    @property
    def shares(self) -> dict[str, float]:
        """Mbit/s by exit, of the exits that all classes might use."""
        usable = set.intersection(*self.reached)
        return {exit_: mbps for exit_, mbps in self.exit_mbps.items() if exit_ in usable}

    def gains(self, other: _Fare, least: float) -> bool:
        """Whether another way to fare is nearer by a share of the delay."""
        if not (self.rate_mbps and other.rate_mbps):
            return False
        return self.delay / self.rate_mbps * (1 - max(least, 0.0)) > other.delay / other.rate_mbps * (1 + _ROUNDING)


@dataclass(frozen=True)
class _Dealer:
    """Deals prefixes out to exits."""

    world: World
    asked: Mapping[Pair, _Fare]  # of whole groups
    limits: PrefixSplit

    @cached_property
    def rates(self) -> Mapping[Pair, Mapping[Prefix, float]]:
        """Measured Mbit/s of each prefix that may be steered, by head-end and group."""
        rates: dict[Pair, dict[Prefix, float]] = {}
        for row in self.world.demand:
            if row.target in self.world.groups and self.world.may_steer(RouteKey(row.source, row.prefix), row.target):
                of_pair = rates.setdefault((row.source, row.target), {})
                of_pair[row.prefix] = of_pair.get(row.prefix, 0.0) + row.rate_mbps
        return rates

    @cached_property
    def running(self) -> Mapping[Pair, Mapping[Prefix, str]]:
        """Exit of each prefix that has one of its own now, by head-end and group."""
        snapshot = self.world.snapshot
        targets = Targets.of(snapshot.inventory, snapshot.peering, parts=True)
        running: dict[Pair, dict[Prefix, str]] = {}
        for key, route in snapshot.running.routes.items():
            meaning = targets.meaning(route.colour)
            group = self.world.listed.get(key.prefix, "")
            if meaning and exit_of(meaning[0]) and whole(meaning[0]) == group:
                running.setdefault((key.headend, group), {})[key.prefix] = exit_of(meaning[0])
        return running

    def exits(self, due: Collection[Pair], by_weights: Collection[Pair]) -> dict[RouteKey, str]:
        """Return the exits, as `World` takes them. due: pairs to bring nearer to their shares; the others stay."""
        dealt: dict[RouteKey, str] = {}
        left = self.limits.max_prefixes
        for pair in sorted(self.running.keys() | self.rates.keys()):
            if pair in by_weights:
                continue
            rates, running = self.rates.get(pair, {}), self.running.get(pair, {})
            quiet = {
                prefix: exit_ for prefix, exit_ in running.items() if prefix not in rates and self._is_open(pair, exit_)
            }
            dealt |= {RouteKey(pair[0], prefix): exit_ for prefix, exit_ in quiet.items()}
            shares = self.asked[pair].shares if pair in self.asked else {}
            if not running and sum(mbps > 0 for mbps in shares.values()) <= 1:
                continue
            largest = min(max(shares.values(), default=0.0), self.limits.max_shift * math.fsum(rates.values()))
            whole_ones = {prefix: rate for prefix, rate in rates.items() if prefix in running or rate <= largest}
            tolerance = self.limits.tolerance if pair in due else math.inf
            found = split(whole_ones, shares, running, replace(self.limits, tolerance=tolerance, max_prefixes=left))
            left -= len(found.moved) + len(found.begun)
            dealt |= {RouteKey(pair[0], prefix): exit_ for prefix, exit_ in found.exits.items()}
        return dealt

    def full(self, target: Target) -> set[str]:
        """Return the head-ends that would have more policies than they may."""
        most = self.world.forwarding.most_policies
        held = Counter(key.headend for key in target.state.policies)
        return {headend for headend, count in held.items() if count > most.get(headend, count)}

    def beside(self, pairs: Collection[Pair]) -> set[Pair]:
        """Return the pairs that use an exit which one of these uses."""
        exits = {exit_ for pair in pairs if pair in self.asked for exit_ in self.asked[pair].exit_mbps}
        return {pair for pair, fare in self.asked.items() if exits & fare.exit_mbps.keys()}

    def _is_open(self, pair: Pair, exit_: str) -> bool:
        row = self.world.joint.link_row.get(exit_)
        return row is not None and (pair[1], row) in self.world.egress_delay_us and not self.world.closed[row]
