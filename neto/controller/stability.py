"""Keep what runs unless a change earns its churn.

Every policy may stay as it is or become what the new allocation wants. It changes when it must, or when its traffic
gets nearer by a minimum gain; then, where links are too full, the policies that relieve them most change as well. In
the end everything may have changed, which is the new allocation itself, and that fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neto.controller.igp import Split
from neto.model.topology import Mbps

_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False, slots=True)
class Choice:
    """One policy: how its traffic spreads if it stays, and if it changes."""

    traffic_class: int  # 0 = highest
    rate_mbps: float
    running: Split | None  # None: it cannot stay
    wanted: Split
    gain: float = 0.0  # share of the delay that the change saves


def changes(choices: Sequence[Choice], base_mbps: Mbps, limit_mbps: Mbps, min_gain: float) -> frozenset[int]:
    """Return the rows of the choices that change.

    base_mbps: (classes, links) what else is on the links, highest class first. limit_mbps: (classes, links) what
    the traffic down to each class may come to; where the new allocation itself comes to more, that counts.
    """
    changed = {row for row, each in enumerate(choices) if each.running is None or each.gain >= min_gain}
    load, best = base_mbps.copy(), base_mbps.copy()
    for row, each in enumerate(choices):
        _put(best, each, each.wanted, 1.0)
        _put(load, each, each.wanted if row in changed or each.running is None else each.running, 1.0)
    limit = np.maximum(np.maximum(limit_mbps, np.cumsum(best, axis=0)) * (1 + _ROUNDING), _ROUNDING)
    by_link = _by_link(choices, changed)
    given_up = np.zeros(load.shape, dtype=bool)
    while load.size:
        over = np.where(given_up, 0.0, np.cumsum(load, axis=0) / limit - 1.0)
        level, link = (int(place) for place in np.unravel_index(int(over.argmax()), over.shape))
        if over[level, link] <= 0:
            break
        relief = {
            row: _on(choices[row], choices[row].running, link) - _on(choices[row], choices[row].wanted, link)
            for row in by_link.get(link, ())
            if row not in changed and choices[row].traffic_class <= level
        }
        row = max(relief, key=lambda row: (relief[row], -row), default=-1)
        if row < 0 or relief[row] <= 0:
            given_up[level, link] = True
            continue
        changed.add(row)
        _put(load, choices[row], choices[row].running, -1.0)
        _put(load, choices[row], choices[row].wanted, 1.0)
    return frozenset(changed)


def _put(load: Mbps, choice: Choice, split: Split | None, sign: float) -> None:
    if split is not None:
        load[choice.traffic_class, split[0]] += sign * split[1] * choice.rate_mbps


def _on(choice: Choice, split: Split | None, link: int) -> float:
    if split is None:
        return 0.0
    return float(split[1][split[0] == link].sum() * choice.rate_mbps)


def _by_link(choices: Sequence[Choice], changed: set[int]) -> Mapping[int, list[int]]:
    rows: dict[int, list[int]] = {}
    for row, each in enumerate(choices):
        if row not in changed and each.running is not None:
            for link in each.running[0].tolist():
                rows.setdefault(link, []).append(row)
    return rows
