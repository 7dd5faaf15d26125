"""Members of a group exchange shares of their paths: loads stay as they are, splits go, and delay falls.

Of two paths that some members of a group are split over, those who lose least by the one take it alone, and those who
lose least by the other take that, until what the paths carry is used up: sorted by the difference of their delays, at
most one member stays split.
"""

from __future__ import annotations

import numpy as np

from neto.controller.delay_prices import Members
from neto.jit import compiled
from neto.model.topology import Mbps

_CRUMB = 1e-9  # share of a member's rate that is no split


@compiled
def exchange(members: Members, flow: Mbps) -> None:
    """Change flow (places,), Mbit/s of each member on each of its paths, in place."""
    for group in range(len(members.group_start) - 1):
        count = members.group_start[group + 1] - members.group_start[group]
        first, last = members.member_start[group], members.member_start[group + 1]
        if last - first == 1:
            continue
        for one in range(count):
            for other in range(one + 1, count):
                _settle_pair(members, members.place[group], count, first, last, one, other, flow)


@compiled
def _settle_pair(
    members: Members, place: int, count: int, first: int, last: int, one: int, other: int, flow: Mbps
) -> None:
    """Leave at most one of the members first..last - 1 split over two of their paths."""
    split = 0
    for member in range(last - first):
        at = place + member * count
        crumb = _CRUMB * members.rate[first + member]
        if flow[at + one] > crumb and flow[at + other] > crumb:
            split += 1
    if split <= 1:
        return
    who = np.empty(split, np.int64)
    gain = np.empty(split)
    there = 0.0
    split = 0
    for member in range(last - first):
        at = place + member * count
        crumb = _CRUMB * members.rate[first + member]
        if flow[at + one] > crumb and flow[at + other] > crumb:
            who[split] = at
            gain[split] = members.delay[at + one] - members.delay[at + other]
            there += flow[at + one]
            split += 1
    for place_in_order in np.argsort(gain, kind="mergesort"):
        at = who[place_in_order]
        sent = flow[at + one] + flow[at + other]
        taken = min(sent, there)
        if sent - taken < _CRUMB * sent:
            taken = sent
        flow[at + one] = taken
        flow[at + other] = sent - taken
        there = max(there - taken, 0.0)
