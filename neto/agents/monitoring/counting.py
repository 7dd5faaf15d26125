"""Flow records into windows: what becomes of each, in one pass over the columns of a batch.

What is decided here is told in `demand`, `classify`, `spread` and `lookup`; this is how it is done for many at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.lookup import NONE, Tables, find4, find6
from neto.agents.monitoring.spread import lifetime, passed
from neto.agents.monitoring.tally import Slots, put
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

    own: (destinations,) row of the source that a destination is behind, else NONE. class_of_dscp: (64,).
    core: ascending, row of a source << 32 | number of an interface inside the WAN.
    """

    sources: int
    destinations: int
    classes: int
    own: Numbers
    class_of_dscp: Numbers
    core: Numbers


class Times(NamedTuple):
    """When it is, and which windows there are, by number."""

    now: float
    window_s: float
    reach: int  # windows back that a record is cut into
    reach_s: float  # a life that ended longer ago is not believed
    by_arrival: bool
    base: int  # of the tally
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
def count(  # noqa: C901, PLR0912, PLR0915  one pass: a call that takes arrays would cost more than its work
    records: Records,
    first: int,
    tables: Tables,
    classes: Classes,
    times: Times,
    slots: Slots,
    account: Numbers,
    by_age: Numbers,
    unknown: Numbers,
    unknown_octets: Numbers,
) -> tuple[int, int, int]:
    """Count records from `first` on.

    slots: of a tally, added to. account: (ACCOUNTS,) octets, added to. by_age: (reach,) octets by windows ago,
    added to. unknown, unknown_octets: (records,) written from the front: numbers of prefixes.
    Returns the record at which the slots were full (not counted), how many unknown there are, and the latest window.
    """
    source, octets, dscp, in_if = records.source, records.octets, records.dscp, records.in_if
    egress, family, dst4, dst6 = records.egress, records.family, records.dst4, records.dst6
    start, end, skew = records.start, records.end, records.skew_s
    root, branches, highs, lows, rows6 = tables.root, tables.branches, tables.high, tables.low, tables.rows
    sources, destinations, kinds = classes.sources, classes.destinations, classes.classes
    own, class_of_dscp, core = classes.own, classes.class_of_dscp, classes.core
    now, window_s, reach, reach_s = times.now, times.window_s, times.reach, times.reach_s
    keys, sums, used = slots.keys, slots.sums, slots.used
    size = sources * destinations * kinds
    stride = size + sources + 1
    newest = int(np.floor(now / window_s))
    earliest = newest - reach
    of_unknown = 0
    latest = -(1 << 62)
    most_used = len(keys) // 8 * 5 - reach - 2
    for index in range(first, len(octets)):
        if used[0] > most_used:
            return index, of_unknown, latest
        amount = int(octets[index])
        if amount == 0:
            continue
        row = int(source[index])
        ignored = egress[index]
        if not ignored and len(core):
            wanted = (row << 32) | int(np.int64(in_if[index]))
            at = int(np.searchsorted(core, wanted))
            ignored = at < len(core) and core[at] == wanted
        if ignored:
            account[IGNORED] += amount
            continue
        # Where it goes.
        found = NONE
        if family[index] == _V4:
            found = find4(root, branches, int(np.int64(dst4[index])))
        elif family[index] == _V6:
            found = find6(highs, lows, rows6, dst6[index, 0], dst6[index, 1])
        known = found != NONE and row < sources
        if known and own[found] == row:
            account[LOCAL] += amount
            continue
        if known:
            key = (row * destinations + found) * kinds + int(class_of_dscp[dscp[index] % _DSCPS])
            account[MATCHED] += amount
        else:
            key = size + row
            account[UNKNOWN] += amount
            prefix = 0
            if family[index] == _V4:
                prefix = int(np.int64(dst4[index])) >> 8
            elif family[index] == _V6:
                prefix = int(np.int64(dst6[index, 0] >> np.uint64(16))) | FAMILY
            unknown[of_unknown], unknown_octets[of_unknown] = prefix | (row << ROW), amount
            of_unknown += 1
        # When it was sent.
        begun, ended = lifetime(start[index], end[index], skew[index], now, reach_s)
        last = max(int(np.floor(ended / window_s)), earliest)
        window = max(int(np.floor(begun / window_s)), earliest)
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
            if not times.by_arrival:
                if window < times.sent_from:
                    account[BEFORE] += piece
                    account[MATCHED if known else UNKNOWN] -= piece
                elif piece:
                    if window < times.oldest:
                        account[LATE] += piece
                    counted_in = max(window, times.oldest)
                    latest = max(latest, counted_in)
                    put(keys, sums, used, (counted_in - times.base) * stride + key, piece)
            if window >= last:
                break
            window += 1
        if times.by_arrival:
            counted_in = max(newest, times.oldest)
            latest = max(latest, counted_in)
            put(keys, sums, used, (counted_in - times.base) * stride + key, amount)
    return len(octets), of_unknown, latest
