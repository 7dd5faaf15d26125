"""Flow records into windows: what becomes of each, in one pass over the columns of a batch.

What is decided here is told in `demand`, `classify`, `spread` and `lookup`; this is how it is done for many at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.lookup import NONE, Tables, find_all
from neto.agents.monitoring.spread import lifetime, passed
from neto.jit import compiled
from neto.model.demand_window import Numbers

Floats = npt.NDArray[np.float64]
Unsigned = npt.NDArray[np.uint64]

# What octets are accounted for as.
IGNORED, LOCAL, UNKNOWN, MATCHED, BEFORE, LATE = range(6)
ACCOUNTS = 6

_V4, _V6 = 4, 6
_DSCPS = 64
FAMILY, ROW = 1 << 62, 48  # of an unknown prefix's number: IPv6, and where its source's row stands


class Records(NamedTuple):
    """Columns of a batch, (records,) each; dst6: (records, 2)."""

    source: Numbers
    octets: Numbers  # sampling applied
    dscp: Numbers
    in_if: Unsigned
    egress: npt.NDArray[np.bool_]
    family: npt.NDArray[np.uint8]
    dst4: npt.NDArray[np.uint32]
    dst6: Unsigned
    start: Floats
    end: Floats
    skew_s: Floats


class Classes(NamedTuple):
    """What a classifier knows: cells are (source, destination, class).

    own: (of the first destinations,) row of the source that each is behind, NONE for others. class_of_dscp: (64,).
    core: numbers of interfaces inside the WAN, those of a source from core_start (sources + 1,) on.
    """

    sources: int
    destinations: int
    classes: int
    own: Numbers
    class_of_dscp: Numbers
    core_start: Numbers
    core: Unsigned


class Times(NamedTuple):
    """When it is, and which windows there are, by number."""

    now: float
    window_s: float
    reach: int  # windows back that a record is cut into
    reach_s: float  # a life that ended longer ago is not believed
    by_arrival: bool
    base: int  # of the tally
    stride: int  # numbers that a window has
    oldest: int  # that is open
    sent_from: int  # from which octets count when they were sent


@compiled
def weigh(octets: Unsigned, sampling: Floats, most: float, weighed: Numbers) -> tuple[int, float]:
    """Apply sampling. weighed: (records,) written. Returns the sum, and what is beyond `most` in a record, left out."""
    total, beyond = 0, 0.0
    for index in range(len(octets)):
        value = float(octets[index]) * sampling[index]
        if value <= most:
            whole = int(np.rint(value))
            weighed[index] = whole
            total += whole
        else:
            weighed[index] = 0
            beyond += value
    return total, beyond


@compiled
def classify(
    records: Records,
    tables: Tables,
    classes: Classes,
    account: Numbers,
    keys: Numbers,
    unknown: Numbers,
    unknown_octets: Numbers,
) -> int:
    """Number each record's cell, or, after the cells, the row of its source where no prefix holds its destination.

    account: (ACCOUNTS,) octets, added to. keys: (records,) written; NONE for what is another's to tell or never crosses
    the WAN. unknown, unknown_octets: (records,) written from the front: numbers of prefixes. Returns how many.
    """
    source, octets, dscp, in_if = records.source, records.octets, records.dscp, records.in_if
    egress, family, dst4, dst6 = records.egress, records.family, records.dst4, records.dst6
    sources, destinations, kinds = classes.sources, classes.destinations, classes.classes
    own, class_of_dscp, core_start, core = classes.own, classes.class_of_dscp, classes.core_start, classes.core
    size = sources * destinations * kinds
    find_all(tables, family, dst4, dst6, keys)  # by themselves: then many loads are under way at once
    of_unknown = 0
    for index in range(len(octets)):
        amount, row, found = int(octets[index]), int(source[index]), int(keys[index])
        keys[index] = NONE
        if egress[index] or (row < sources and _held(core, core_start[row], core_start[row + 1], in_if[index])):
            account[IGNORED] += amount
            continue
        if found == NONE or row >= sources:
            account[UNKNOWN] += amount
            keys[index] = size + row
            unknown[of_unknown] = _prefix(family[index], dst4[index], dst6[index, 0]) | (row << ROW)
            unknown_octets[of_unknown] = amount
            of_unknown += amount > 0
        elif found < len(own) and own[found] == row:
            account[LOCAL] += amount
        else:
            account[MATCHED] += amount
            keys[index] = (row * destinations + found) * kinds + int(class_of_dscp[dscp[index] % _DSCPS])
    return of_unknown


@compiled
def _prefix(family: int, address: np.uint32, high: np.uint64) -> int:
    """Number of the /24 or /48 that holds an address."""
    if family == _V4:
        return int(np.int64(address)) >> 8
    return int(np.int64(high >> np.uint64(16))) | FAMILY if family == _V6 else 0


@compiled
def _held(numbers: Unsigned, begin: int, end: int, number: np.uint64) -> bool:
    """Whether a number is among those from `begin` to `end`, which are few."""
    for at in range(begin, end):  # noqa: SIM110  any() is slower compiled
        if numbers[at] == number:
            return True
    return False


@compiled
def cut(  # noqa: C901, PLR0912  one pass: what is counted when is one decision
    records: Records,
    keys: Numbers,
    first: int,
    times: Times,
    cells: int,
    account: Numbers,
    by_age: Numbers,
    pieces: Numbers,
) -> tuple[int, int, int]:
    """Cut records, from `first` on, at the ends of windows.

    keys: as `classify` writes them; those from `cells` on are unknown. by_age: (reach,) octets by windows ago, too.
    pieces: (2, room) written from the front: window * stride + key, window 0 being the tally's first, and octets.
    Returns the record that found no room, how many pieces there are, and the latest window.
    """
    octets, start, end, skew_s = records.octets, records.start, records.end, records.skew_s
    now, window_s, reach, reach_s = times.now, times.window_s, times.reach, times.reach_s
    base, oldest, sent_from, stride = times.base, times.oldest, times.sent_from, times.stride
    newest = int(np.floor(now / window_s))
    earliest = newest - reach
    count, latest, room = 0, -(1 << 62), pieces.shape[1] - reach - 2
    for index in range(first, len(octets)):
        amount, key = int(octets[index]), int(keys[index])
        if amount == 0 or key == NONE:
            continue
        if count > room:
            return index, count, latest
        begun, ended = lifetime(start[index], end[index], skew_s[index], now, reach_s)
        window, last = max(int(np.floor(begun / window_s)), earliest), max(int(np.floor(ended / window_s)), earliest)
        told = 0
        while True:
            by_then = amount
            if window < last:
                by_then = passed(amount, window, begun, ended, window_s)
            piece = by_then - told
            told = by_then
            age = max(newest - window, 0)
            if age < reach:
                by_age[age] += piece
            counted_in = max(window, oldest)
            if times.by_arrival:
                if window >= last:
                    piece, counted_in = amount, max(newest, oldest)
                else:
                    piece = 0
            elif window < sent_from:
                account[BEFORE] += piece
                account[MATCHED if key < cells else UNKNOWN] -= piece
                piece = 0
            elif window < oldest:
                account[LATE] += piece
            if piece:
                latest = max(latest, counted_in)
                pieces[0, count], pieces[1, count] = (counted_in - base) * stride + key, piece
                count += 1
            if window >= last:
                break
            window += 1
    return len(octets), count, latest
