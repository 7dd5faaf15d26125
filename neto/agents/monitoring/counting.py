"""Flow records into windows: what becomes of each, for many at once.

What is decided here is told in `demand`, `classify`, `counted`, `spread` and `tally`. Each step goes over some thousand
records before the next one does: a loop that does one thing waits less for memory, and guesses its branches better.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.lookup import NONE, Tables, find_all
from neto.agents.monitoring.spread import spread
from neto.agents.monitoring.tally import most as most_used
from neto.agents.monitoring.tally import put
from neto.jit import compiled
from neto.model.demand_window import Numbers
from neto.wire.netflow.kernel import Columns

Floats = npt.NDArray[np.float64]
Unsigned = npt.NDArray[np.uint64]

# What octets are accounted for as.
RECEIVED, IGNORED, LOCAL, UNKNOWN, MATCHED, BEFORE, LATE = range(7)
ACCOUNTS = 7
# What `count` says of where it came to.
AT, USED, OF_UNKNOWN, LATEST = range(4)
STATE = 4
PIECES = 1 << 15  # that records are cut into at once, at most

_V4, _V6 = 4, 6
_DSCPS = 64
FAMILY, ROW = 1 << 62, 48  # of an unknown prefix's number: IPv6, and where its source's row stands
MOST_OCTETS = float(1 << 46)  # in one record, sampling applied; more is no measurement (70 terabytes)


class Interfaces(NamedTuple):
    """Some interfaces of each router, and a row that each stands for.

    start: (routers + 1,) where a router's begin. number: (interfaces,) ifIndex. row: (interfaces,).
    """

    start: Numbers
    number: Unsigned
    row: Numbers


class Classes(NamedTuple):
    """What a classifier knows: cells are (source, destination, class). The first sources are the routers.

    own: (of the first destinations and one more,) row of the source that each is behind. class_of_dscp: (64,).
    class_to: (destinations,) class of what goes there whatever its code point, NONE: by that; (0,): always by that.
    core: interfaces inside the WAN. marked: those where all that comes in is of a class. entry: those of peering links,
    with the source that each is.
    """

    sources: int
    destinations: int
    classes: int
    own: Numbers
    class_of_dscp: Numbers
    class_to: npt.NDArray[np.int8]
    core: Interfaces
    marked: Interfaces
    entry: Interfaces


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


class Sums(NamedTuple):
    """What records are added to.

    account: (ACCOUNTS,) octets. implausible: (1,) octets. by_age: (reach,) octets by windows ago. folded:
    (destinations,) destination that each is counted as; (0,): all as themselves. tail: (destinations,) octets of those
    that are counted as others. unknown, unknown_octets: (room,) written from the front: numbers of prefixes, octets.
    """

    account: Numbers
    implausible: Floats
    by_age: Numbers
    folded: npt.NDArray[np.int32]
    tail: Numbers
    unknown: Numbers
    unknown_octets: Numbers


class Scratch(NamedTuple):
    """What one step leaves for the next, (PIECES,) each."""

    found: Numbers  # destination that holds an address, NONE for none
    counted: Numbers  # destination that it is counted as
    keys: Numbers  # number within a window; NONE where nothing is counted
    octets: Numbers
    window: Numbers  # that a record's life begins in
    last: Numbers  # that it ends in
    begun: Floats  # unix seconds
    lasted: Floats
    numbers: Numbers  # of pieces
    pieces: Numbers  # octets
    slot: Numbers


def scratch() -> Scratch:
    """Room for any records."""
    whole = np.empty((9, PIECES), np.int64)
    real = np.empty((2, PIECES))
    return Scratch(*whole[:6], *real, *whole[6:])


@compiled
def count(
    columns: Columns,
    sources: Numbers,
    skews_s: Floats,
    tables: Tables,
    classes: Classes,
    times: Times,
    most: float,
    tails: int,
    sums: Sums,
    scratch: Scratch,
    slots: Numbers,
    state: Numbers,
) -> None:
    """Count records in the cells and windows of the tally's hash table, until it wants more room, or `sums` does.

    sources: (peers,) rows. skews_s: (domains,) by how much each clock is ahead of ours. most: octets that a record may
    tell of. tails: 1 to add to `sums.tail`, else 0. slots: as in `tally`. state: (STATE,) record to go on with, slots
    that are used, `unknown` that are used, latest window; changed.
    """
    at_once = max(PIECES // (times.reach + 2), 1)
    records = len(columns.octets)
    while state[AT] < records:
        begin = state[AT]
        end = min(begin + at_once, records)
        if state[USED] + PIECES > most_used(len(slots)) or state[OF_UNKNOWN] + end - begin > len(sums.unknown):
            return
        n = end - begin
        found, counted, keys, octets = scratch.found[:n], scratch.counted[:n], scratch.keys[:n], scratch.octets[:n]
        window, last, begun, lasted = scratch.window[:n], scratch.last[:n], scratch.begun[:n], scratch.lasted[:n]
        find_all(tables, columns.family[begin:end], columns.dst4[begin:end], columns.dst6[begin:end], found)
        _fold(sums.folded, found, counted)
        state[OF_UNKNOWN] = _assign(
            columns, begin, sources, classes, most, found, counted, sums, int(state[OF_UNKNOWN]), keys, octets
        )
        if tails:
            _add_tails(sums.tail, found, counted, octets)
        domain, told_start, told_end = columns.domain[begin:end], columns.start[begin:end], columns.end[begin:end]
        now, window_s, reach = times.now, times.window_s, times.reach
        spread(domain, told_start, told_end, skews_s, now, window_s, reach, window, last, begun, lasted)
        cells = classes.sources * classes.destinations * classes.classes
        pieces, latest = _cut(
            keys, octets, window, last, begun, lasted, cells, times, sums, scratch.numbers, scratch.pieces
        )
        state[LATEST] = max(state[LATEST], latest)
        state[USED] += put(slots, scratch.numbers[:pieces], scratch.pieces[:pieces], scratch.slot)
        state[AT] = end


@compiled
def _fold(folded: npt.NDArray[np.int32], found: Numbers, counted: Numbers) -> None:
    """Find which destination each is counted as."""
    for index in range(len(found)):
        counted[index] = found[index]
    if len(folded):
        for index in range(len(found)):
            counted[index] = folded[max(found[index], 0)]


@compiled
def _assign(  # noqa: C901, PLR0912, PLR0915  one pass: what becomes of a record is one decision
    columns: Columns,
    begin: int,
    sources: Numbers,
    classes: Classes,
    most: float,
    found: Numbers,
    counted: Numbers,
    sums: Sums,
    of_unknown: int,
    keys: Numbers,
    weighed: Numbers,
) -> int:
    """Number each record's cell, or, after the cells, the row of its source where no prefix holds its destination.

    keys: (records,) written; NONE for what is another's to tell, never crosses the WAN or is none. weighed: (records,)
    written: octets with sampling applied. Returns how many unknown prefixes there are now.
    """
    # Taken out of their tuples once: a kernel counts references to an array each time it is.
    peer, octets, sampling, dscp = columns.peer, columns.octets, columns.sampling, columns.dscp
    in_if, egress, family, dst4, dst6 = columns.in_if, columns.egress, columns.family, columns.dst4, columns.dst6
    own, class_of_dscp, class_to = classes.own, classes.class_of_dscp, classes.class_to
    core_start, core = classes.core.start, classes.core.number
    marked_start, marked, marked_class = classes.marked.start, classes.marked.number, classes.marked.row
    rows, destinations, kinds = classes.sources, classes.destinations, classes.classes
    entry_start, entry, entry_row = classes.entry.start, classes.entry.number, classes.entry.row
    account, unknown, unknown_octets = sums.account, sums.unknown, sums.unknown_octets
    enters = len(entry) > 0
    owned, rules, marks, cells = len(own) - 1, len(class_to) > 0, len(marked) > 0, rows * destinations * kinds
    received, ignored, local, nowhere, beyond = 0, 0, 0, 0, 0.0
    for index in range(len(found)):
        at = begin + index
        told = float(octets[at]) * sampling[at]
        if not told <= most:
            beyond += told
            keys[index], weighed[index] = NONE, 0
            continue
        amount, row, to = int(np.rint(told)), int(sources[peer[at]]), int(found[index])
        received += amount
        weighed[index] = amount
        kind = int(class_of_dscp[dscp[at] % _DSCPS])
        inside = False
        if row < rows:
            for place in range(core_start[row], core_start[row + 1]):
                inside |= core[place] == in_if[at]
        if rules and to != NONE and class_to[to] != NONE:
            kind = int(class_to[to])
        if marks and row < rows:
            for place in range(marked_start[row], marked_start[row + 1]):
                if marked[place] == in_if[at]:
                    kind = int(marked_class[place])
        source = row
        if enters and row < rows:
            for place in range(entry_start[row], entry_start[row + 1]):
                if entry[place] == in_if[at]:
                    source = int(entry_row[place])
        key = (source * destinations + counted[index]) * kinds + kind
        stays = (own[min(to, owned)] == source) & (to < owned)  # what comes in here is measured wherever it goes
        if egress[at] | inside | stays | (to == NONE) | (row >= rows) | (amount == 0):  # few
            key = NONE
            if egress[at] or inside:
                ignored += amount
            elif to == NONE or row >= rows:
                if amount:
                    nowhere += amount
                    key = cells + row
                    unknown[of_unknown] = _prefix(family[at], dst4[at], dst6[at, 0]) | (row << ROW)
                    unknown_octets[of_unknown] = amount
                    of_unknown += 1
            else:
                local += amount
        keys[index] = key
    account[RECEIVED] += received
    account[IGNORED] += ignored
    account[LOCAL] += local
    account[UNKNOWN] += nowhere
    account[MATCHED] += received - ignored - local - nowhere
    sums.implausible[0] += beyond
    return of_unknown


@compiled
def _add_tails(tail: Numbers, found: Numbers, counted: Numbers, octets: Numbers) -> None:
    for index in range(len(found)):
        if counted[index] != found[index] and found[index] != NONE:
            tail[found[index]] += octets[index]


@compiled
def _cut(  # noqa: C901  what is counted when is one decision
    keys: Numbers,
    octets: Numbers,
    window: Numbers,
    last: Numbers,
    begun: Floats,
    lasted: Floats,
    cells: int,
    times: Times,
    sums: Sums,
    numbers: Numbers,
    pieces: Numbers,
) -> tuple[int, int]:
    """Cut records at the ends of windows.

    keys: as `_assign` writes them; those from `cells` on are unknown. numbers, pieces: written from the front: window *
    stride + key, window 0 being the tally's first, and octets. Returns how many there are, and the latest window.
    """
    account, by_age = sums.account, sums.by_age
    window_s, reach, base, stride = times.window_s, times.reach, times.base, times.stride
    oldest, sent_from, by_arrival = times.oldest, times.sent_from, times.by_arrival
    newest = int(np.floor(times.now / window_s))
    count, latest = 0, -(1 << 62)
    for index in range(len(keys)):
        key, amount, at, until = keys[index], octets[index], window[index], last[index]
        if key == NONE:
            continue
        told = 0
        while True:
            by_then = amount
            if at < until:  # what has passed by the end of the window
                share = ((at + 1) * window_s - begun[index]) / lasted[index]
                by_then = int(amount * min(max(share, 0.0), 1.0))
            piece = by_then - told
            told = by_then
            age = max(newest - at, 0)
            if age < reach:
                by_age[age] += piece
            counted_in = max(at, oldest)
            if by_arrival:
                piece = amount if at >= until else 0
                counted_in = max(newest, oldest)
            elif at < sent_from:
                account[BEFORE] += piece
                account[MATCHED if key < cells else UNKNOWN] -= piece
                piece = 0
            elif at < oldest:
                account[LATE] += piece
            numbers[count], pieces[count] = (counted_in - base) * stride + key, piece
            count += piece > 0
            if piece > 0:
                latest = max(latest, counted_in)
            if at >= until:
                break
            at += 1
    return count, latest


@compiled
def _prefix(family: int, dst4: int, high: np.uint64) -> int:
    """Number of the /24 or /48 that holds an address; 0 for no address."""
    if family == _V4:
        return int(np.int64(dst4) >> 8)
    if family == _V6:
        return int(np.int64(high >> np.uint64(16)) | FAMILY)
    return 0
