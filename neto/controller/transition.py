"""Cut a transition into the fewest steps in which nothing is overloaded, whatever order routers act in.

A step is safe when every mixture of moved and unmoved fits (`neto.controller.shifts`): no link above its capacity, or
above what it carries already when that is more. Every shift keeps at least the lower of its old and its new rate.

One step if one is safe. Else only what is in somebody's way takes part (`contest`). Where everything can stop at any
rate, it is bundled into transfers (`transfers`) whose pace is found together with a proof that fewer steps are not
enough (`transition_paced`), and given back to shifts with few changes (`transition_settle`). Where that is not so, or
does not reach the bound and the case is small, steps are filled greedily, forwards and backwards (the rule is
symmetric, so a plan for the way back, read backwards, is a plan), cut in equal parts, and looked for one less by linear
programmes; the fewest win.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neto.controller import transition_exact as exact
from neto.controller.contest import Contest, contested
from neto.controller.deadline import NEVER, Deadline
from neto.controller.shifts import Ints, Shift, Shifts, laid_out
from neto.controller.transfers import transfers
from neto.controller.transition_greedy import greedy
from neto.controller.transition_paced import paced
from neto.controller.transition_settle import settled
from neto.model.topology import Mbps

_LEAST_STEPS = 2  # once a single one is known to be unsafe
_MOST_EQUAL_PARTS = 32
_MOST_STEPS = 64
_FEW_STRANDS = 20_000  # with more of them, what paced transfers come to is good enough
_States = list[Mbps]  # (strands,) rates after each step


@dataclass(frozen=True, eq=False, slots=True)
class Way:
    """A plan as arrays."""

    shifts: Shifts
    states: tuple[Mbps, ...]  # (strands,) Mbit/s after each step
    blocked: tuple[int, ...] = ()  # link rows that keep the steps from reaching the target, the worst first
    at_once: bool = False  # some step counts on all paths of a shift changing at the same instant
    lowered_mbps: float = 0.0  # what the lowest class gives up at the worst point between steps
    bound: int = 0  # fewer steps than this cannot be enough for rates that only move from old to new

    def moved(self) -> Iterator[Ints]:
        """Yield, for every step, the rows of the shifts that change in it."""
        rates = self.shifts.before
        for then in self.states:
            yield np.unique(np.searchsorted(self.shifts.shift_start, np.flatnonzero(then != rates), side="right") - 1)
            rates = then

    def utilisation(self) -> Iterator[Mbps]:
        """Yield, for every step, (links,) the highest load / capacity of each link over all mixtures."""
        shifts, rates = self.shifts, self.shifts.before
        for then in self.states:
            load, peak = shifts.peaks(rates, then)
            if self.at_once and (peak > shifts.limits(load)).any():
                peak = shifts.peaks(rates, then, whole=True)[1]
            yield peak[-1] / shifts.capacity
            rates = then


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """Moves that may happen in any order, and what they can come to."""

    rates_mbps: Mapping[int, tuple[float, ...]]  # by row of each shift that moves: its strands' rates afterwards
    worst_utilisation: float  # highest load / capacity over links and mixtures
    worst_link: int  # link row; -1 when there are no links


@dataclass(frozen=True, slots=True)
class Transition:
    """The steps, and what has to be said about them."""

    steps: tuple[PlannedStep, ...]
    blocked: tuple[int, ...] = ()  # link rows that keep the steps from reaching the target; none when they do
    at_once: bool = False  # some step counts on all paths of a shift changing at the same instant
    lowered_mbps: float = 0.0  # what the lowest class gives up at the worst point between steps

    @property
    def stuck(self) -> bool:
        """Whether the steps stop short of the target."""
        return bool(self.blocked)


def plan_transition(
    shifts: Sequence[Shift],
    background_mbps: Mbps,
    capacity_mbps: Mbps,
    *,
    ceiling_mbps: Mbps | None = None,
    may_lower: bool = False,
    exact_size: int = exact.SIZE,
    patience: int = _MOST_STEPS,
    deadline: Deadline = NEVER,
) -> Transition:
    """Plan the way from every shift's rates before to its rates after.

    background_mbps: (classes, links) float64, Mbit/s, traffic that does not move, highest class first.
    capacity_mbps: (links,) float64, Mbit/s. ceiling_mbps: see `Shifts`. The rest: see `find_way`.
    """
    problem = laid_out(shifts, background_mbps, capacity_mbps, ceiling_mbps)
    way = find_way(problem, may_lower=may_lower, exact_size=exact_size, patience=patience, deadline=deadline)
    steps = []
    for then, moved, used in zip(way.states, way.moved(), way.utilisation(), strict=True):
        spans = [slice(problem.shift_start[row], problem.shift_start[row + 1]) for row in moved]
        rates = {int(row): tuple(then[span].tolist()) for row, span in zip(moved, spans, strict=True)}
        steps.append(PlannedStep(rates, float(used.max(initial=0.0)), int(used.argmax()) if len(used) else -1))
    return Transition(tuple(steps), way.blocked, way.at_once, way.lowered_mbps)


def find_way(
    shifts: Shifts,
    *,
    may_lower: bool = False,
    exact_size: int = exact.SIZE,
    patience: int = _MOST_STEPS,
    deadline: Deadline = NEVER,
) -> Way:
    """Plan the way from the rates before to the rates after.

    may_lower: where nothing can move otherwise, the lowest class may be slowed down between two steps.
    exact_size: most variables of a linear programme; 0 leaves them out. patience: when counting every path by itself
    takes more steps than this, shifts may count as one whole that changes at once. deadline: when it has passed, the
    first plan that was found has to do; `Way.bound` says how far from the fewest it can be.
    The same arguments give the same plan, unless the deadline passes.
    """
    if np.array_equal(shifts.before, shifts.after):
        return Way(shifts, ())
    contest = contested(shifts, may_lower=may_lower)
    if contest is None:
        return Way(shifts, (shifts.after,), bound=1)
    found = _through_contest(contest, shifts.classes, exact_size, patience, deadline, may_lower=may_lower)
    states: _States = []
    for rates in found.states:
        state = shifts.after.copy()
        state[contest.strand] = rates
        if not np.array_equal(state, states[-1] if states else shifts.before):
            states.append(state)
    if not found.states and found.blocked:  # what is in nobody's way moves all the same
        state = shifts.after.copy()
        state[contest.strand] = contest.before
        states = [] if np.array_equal(state, shifts.before) else [state]
    return Way(shifts, tuple(states), found.blocked, found.at_once, found.lowered_mbps, found.bound)


@dataclass(frozen=True, eq=False, slots=True)
class _Found:
    """As `Way`, in terms of a contest."""

    states: _States
    blocked: tuple[int, ...] = ()
    at_once: bool = False
    lowered_mbps: float = 0.0
    bound: int = _LEAST_STEPS


def _through_contest(
    problem: Contest, classes: int, exact_size: int, patience: int, deadline: Deadline, *, may_lower: bool
) -> _Found:
    states, reached, bound = _search(problem, exact_size, deadline)
    if reached and len(states) > patience:
        at_once, shorter = _one_way(problem, problem.before, whole=True)
        if shorter and len(at_once) < len(states):
            return _Found(at_once, at_once=True)
    if reached:
        return _Found(states, bound=bound)
    at = states[-1] if states else problem.before
    at_once, reached = _one_way(problem, at, whole=True)
    if reached or not may_lower:
        blocked = () if reached else _blocked(problem, at_once[-1] if at_once else at)
        return _Found(states + at_once, blocked, at_once=bool(at_once))
    lowered = _lowered(problem, states, classes, deadline)
    if lowered is None:
        return _Found(states, _blocked(problem, at))
    return _Found(lowered[0], lowered_mbps=lowered[1])


def _search(problem: Contest, exact_size: int, deadline: Deadline) -> tuple[_States, bool, int]:
    """Return the fewest steps found with every path counted by itself, whether they reach the target, and the bound."""
    best: _States = []
    reached, bound = False, _LEAST_STEPS
    if problem.any_rate:
        moves = transfers(problem)
        answer = paced(problem, moves, deadline=deadline)
        bound = answer.bound
        if answer.parts is not None:
            states = settled(problem, moves, answer.parts)
            best, reached = states or [], states is not None
    ways = _greedy_ways(problem)
    while not reached or (len(best) > bound and len(problem.strand) <= _FEW_STRANDS and not deadline.passed):
        way = next(ways, None)
        if way is None:
            break
        states, also = way
        if not reached or (also and len(states) < len(best)):
            best, reached = states, also
    steps = len(best) if reached else exact.MOST_STEPS + 1
    while steps > bound and len(problem.strand) <= _FEW_STRANDS and not deadline.passed:
        found = exact.fewer_steps(problem, steps - 1, exact_size)
        if found is None:
            break
        best, reached, steps = found, True, steps - 1
    return best, reached, bound


def _greedy_ways(problem: Contest) -> Iterator[tuple[_States, bool]]:
    """Yield plans made greedily, and whether they reach the target."""
    yield _one_way(problem, problem.before, whole=False)
    for states in _alternatives(problem):
        yield states, True


def _one_way(problem: Contest, start: Mbps, *, whole: bool) -> tuple[_States, bool]:
    best, reached = greedy(problem, start, problem.after, whole=whole)
    if reached and len(best) <= _LEAST_STEPS:
        return best, reached
    other, also = greedy(problem, start, problem.after, whole=whole, relief_first=True)
    better = (also, -len(other)) > (reached, -len(best))
    return (other, also) if better else (best, reached)


def _alternatives(problem: Contest) -> Iterator[_States]:
    """Yield whole plans found in other ways; each is checked, since each bends a rule that it was made by."""
    for relief_first in (False, True):
        back, reached = greedy(problem, problem.after, problem.before, relief_first=relief_first)
        states = [*reversed(back[:-1]), problem.after]
        if reached and _safe(problem, states):
            yield states
    if problem.any_rate:
        for parts in range(_LEAST_STEPS, _MOST_EQUAL_PARTS + 1):
            way = [problem.before + (problem.after - problem.before) * (k / parts) for k in range(1, parts)]
            if _safe(problem, [*way, problem.after]):
                yield [*way, problem.after]
                return


def _safe(problem: Contest, states: _States) -> bool:
    return all(problem.safe(rates, then) for rates, then in zip([problem.before, *states[:-1]], states, strict=True))


def _lowered(problem: Contest, states: _States, classes: int, deadline: Deadline) -> tuple[_States, float] | None:
    """Return the steps that slow the lowest class down least, starting at once or where one gets without."""
    found = []
    for ahead in ([], states) if states else ([],):
        answer = exact.lower_and_move(
            problem, ahead[-1] if ahead else problem.before, classes=classes, deadline=deadline
        )
        if answer is not None:
            found.append((answer[1], [*ahead, *answer[0]]))
    if not found:
        return None
    lowered_mbps, best = min(found, key=lambda pair: (round(pair[0], 6), len(pair[1])))
    return best, lowered_mbps


def _blocked(problem: Contest, rates: Mbps) -> tuple[int, ...]:
    """Return the links that the rest of the way would overload, the worst first."""
    over = problem.worst(rates, problem.after, whole=True) - problem.limits(problem.loads(rates))
    rows = np.flatnonzero(over > 0)
    order = rows[np.argsort(-(over[rows] / problem.capacity[rows]), kind="stable")]
    return tuple(dict.fromkeys(int(problem.link[row]) for row in order))
