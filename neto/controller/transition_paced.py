"""The fewest steps for bundles of transfers, by a first-order method: which part of each bundle moves by which step.

With x[b, k] the part of bundle b that has moved after step k, a hot row is safe in step k when

    load before + what has come by step k - what has left by step k - 1  <=  limit

for every k, with 0 <= x[b, 1] <= ... <= x[b, steps] = 1. That is a linear programme; a primal-dual iteration with
diagonal steps solves it (Pock and Chambolle, ICCV 2011), the order in k kept by projection (pool adjacent violators).
It ends when a plan that is made from its iterate fits, or when its prices of rows prove that no plan of so many steps
does (Farkas): with any prices >= 0, the least that all bundles can cost being more than what the rows have to give.

The proof is about plans in which every rate moves from old to new and not back. How much is tried for each number of
steps is counted in entries, not in seconds, so that the same problem has the same answer everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neto.controller.contest import Contest
from neto.controller.deadline import NEVER, Deadline
from neto.controller.shifts import SLACK, Bools, Ints
from neto.controller.transfers import Transfers
from neto.jit import compiled
from neto.model.topology import Mbps, Rows

_MOST_STEPS = 16
_LOOK_EVERY = 20  # iterations
_ITERATIONS = 1200
_WORK = 150_000_000  # entries that all iterations together may touch
_TIGHTER = 1e-4  # of a row's capacity: what the iteration leaves free so that its end fits
_NO_WEIGHT = 1e-12
_PROOF = 1e-6  # by how much prices must exceed what the rows can give


@dataclass(frozen=True, eq=False, slots=True)
class Paced:
    """Answer: parts (steps, bundles) that have moved after each step; None when no plan was found."""

    parts: Mbps | None
    bound: int  # fewer steps than this cannot be enough


def paced(contest: Contest, moves: Transfers, *, most_steps: int = _MOST_STEPS, deadline: Deadline = NEVER) -> Paced:
    """Return the fewest steps found for all transfers."""
    bound, work = 2, _WORK
    for steps in range(2, most_steps + 1):
        if deadline.passed:
            break
        each = 2 * steps * (len(moves.row) + moves.bundles) + 1
        found, parts, proved, took = _pace(
            moves.start, moves.row, moves.mbps, moves.loose, moves.early, moves.late, contest.load, contest.capacity,
            steps, min(_ITERATIONS, max(_LOOK_EVERY, work // each)),
        )  # fmt: skip
        if found:
            return Paced(parts, bound)
        if proved and bound == steps:
            bound = steps + 1
        work = max(work - took * each, 0)
    return Paced(None, bound)


@compiled
def _pace(
    start: Ints,
    row: Rows,
    mbps: Mbps,
    loose: Bools,
    early: Mbps,
    late: Mbps,
    load: Mbps,
    capacity: Mbps,
    steps: int,
    iterations: int,
) -> tuple[bool, Mbps, bool, int]:
    """Look for a plan of so many steps.

    Returns whether there is one, the parts, whether there can be none, and how many iterations it took.
    """
    size = mbps / capacity[row]
    late_load = late.copy()
    for entry in range(len(row)):
        late_load[row[entry]] += max(mbps[entry], 0.0)
    room = np.empty((steps, len(load)))  # for what comes by step k less what leaves by step k - 1
    for step in range(steps):
        free = np.maximum(capacity, load) - load + (early if step else np.zeros_like(early))
        room[step] = (free - late_load if step == steps - 1 else free) / capacity
    part = np.empty((steps - 1, len(loose)))
    for step in range(steps - 1):
        part[step] = (step + 1.0) / steps
    price, (over_row, over_part) = np.zeros((steps, len(load))), _weights(start, row, size, steps, len(load))
    took = 0
    while True:
        plan, fits = _forward(part, start, row, mbps, early, late, load, capacity)
        if fits or took >= iterations:
            return fits, plan, False, took
        for _ in range(_LOOK_EVERY):
            _ascend(price, part, start, row, size, room, over_row, over_part)
        took += _LOOK_EVERY
        if _proves(price, start, row, size, loose, room):
            return False, plan, True, took


@compiled
def _weights(start: Ints, row: Rows, size: Mbps, steps: int, rows: int) -> tuple[Mbps, Mbps]:
    """Return one over the sums of absolute entries by row and step (steps, rows), and by bundle (bundles,)."""
    by_row, by_bundle = np.zeros((steps, rows)), np.zeros(len(start) - 1)
    for bundle in range(len(by_bundle)):
        for entry in range(start[bundle], start[bundle + 1]):
            lag = 1 if size[entry] < 0.0 else 0
            by_bundle[bundle] += abs(size[entry])
            by_row[lag : lag + steps - 1, row[entry]] += abs(size[entry])
    return 1.0 / np.maximum(by_row, _NO_WEIGHT), 1.0 / np.maximum(by_bundle, _NO_WEIGHT)


@compiled
def _ascend(
    price: Mbps, part: Mbps, start: Ints, row: Rows, size: Mbps, room: Mbps, over_row: Mbps, over_part: Mbps
) -> None:
    """One iteration, in place: parts down their prices, prices up the excess at the parts beyond."""
    between = len(part)
    excess = -room + _TIGHTER
    cost = np.empty(between)
    for bundle in range(len(start) - 1):
        _costs(cost, price, bundle, start, row, size)
        old = part[:, bundle].copy()
        for step in range(between):
            cost[step] = old[step] - cost[step] * over_part[bundle]
        _rising(cost)
        for step in range(between):
            part[step, bundle] = min(max(cost[step], 0.0), 1.0)
        for entry in range(start[bundle], start[bundle + 1]):
            lag = 1 if size[entry] < 0.0 else 0
            for step in range(between):
                excess[step + lag, row[entry]] += size[entry] * (2.0 * part[step, bundle] - old[step])
    for step in range(between + 1):
        for place in range(price.shape[1]):
            if over_row[step, place] * _NO_WEIGHT < 1.0:
                raised = price[step, place] + excess[step, place] * over_row[step, place]
                price[step, place] = max(raised, 0.0)


@compiled
def _costs(cost: Mbps, price: Mbps, bundle: int, start: Ints, row: Rows, size: Mbps) -> None:
    """Fill in what it costs at these prices when all of a bundle has moved, by step."""
    cost[:] = 0.0
    for entry in range(start[bundle], start[bundle + 1]):
        lag = 1 if size[entry] < 0.0 else 0
        for step in range(len(cost)):
            cost[step] += size[entry] * price[step + lag, row[entry]]


@compiled
def _rising(values: Mbps) -> None:
    """Bring values (n,) in place to the nearest sequence that never falls."""
    count = len(values)
    mean = np.empty(count)
    size = np.empty(count, dtype=np.int64)
    blocks = 0
    for place in range(count):
        mean[blocks], size[blocks] = values[place], 1
        blocks += 1
        while blocks > 1 and mean[blocks - 2] > mean[blocks - 1]:
            both = size[blocks - 2] + size[blocks - 1]
            mean[blocks - 2] = (mean[blocks - 2] * size[blocks - 2] + mean[blocks - 1] * size[blocks - 1]) / both
            size[blocks - 2] = both
            blocks -= 1
    place = 0
    for block in range(blocks):
        values[place : place + size[block]] = mean[block]
        place += size[block]


@compiled
def _forward(
    part: Mbps, start: Ints, row: Rows, mbps: Mbps, early: Mbps, late: Mbps, load: Mbps, capacity: Mbps
) -> tuple[Mbps, bool]:
    """Walk along the parts, taking less where a step would overload a row; say whether the rest fits the last step.

    Returns (steps, bundles) parts, all 1 in the last row.
    """
    between, bundles = part.shape
    plan = np.ones((between + 1, bundles))
    at = np.zeros(bundles)
    now = load.copy()
    for step in range(between + 1):
        room = np.maximum(capacity, now) - now
        want = np.maximum((part[step] if step < between else plan[between]) - at, 0.0)
        need = np.zeros(len(load))
        for bundle in range(bundles):
            for entry in range(start[bundle], start[bundle + 1]):
                need[row[entry]] += max(mbps[entry], 0.0) * want[bundle]
        if step == between:
            break
        for bundle in range(bundles):
            scale = 1.0
            for entry in range(start[bundle], start[bundle + 1]):
                if mbps[entry] > 0.0 and need[row[entry]] > room[row[entry]]:
                    scale = min(scale, room[row[entry]] / need[row[entry]])
            want[bundle] *= scale
            for entry in range(start[bundle], start[bundle + 1]):
                now[row[entry]] += mbps[entry] * want[bundle]
        at += want
        plan[step] = at
        if step == 0:
            now -= early
    return plan, bool((need + late <= room + SLACK * capacity).all())


@compiled
def _proves(price: Mbps, start: Ints, row: Rows, size: Mbps, loose: Bools, room: Mbps) -> bool:
    """Whether the rows cannot give, at these prices, what the bundles must cost at least."""
    cost = np.empty(len(price) - 1)
    comes, leaves = np.maximum(size, 0.0), np.minimum(size, -0.0)
    least = 0.0
    for bundle in range(len(loose)):
        if loose[bundle]:  # split in another way, what comes need not keep step with what leaves
            _costs(cost, price, bundle, start, row, comes)
            least += _cheapest(cost)
            _costs(cost, price, bundle, start, row, leaves)
        else:
            _costs(cost, price, bundle, start, row, size)
        least += _cheapest(cost)
    return bool(least - (price * room).sum() > _PROOF * price.sum())


@compiled
def _cheapest(cost: Mbps) -> float:
    """Return the least of sum(cost * x) over 0 <= x[0] <= ... <= x[-1] <= 1."""
    least = total = 0.0
    for step in range(len(cost) - 1, -1, -1):
        total += cost[step]
        least = min(least, total)
    return least
