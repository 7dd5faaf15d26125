"""Many packets at once: what they say goes into columns, without an object for any of them.

The kernel reads packets whose every set is of a known flow template, or was read before and changed nothing. At any
other it stops, and says so: the decoder of single packets reads that one, and the kernel goes on after it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neto.jit import Whole, compiled, eight_octets, nth
from neto.wire.netflow import plans as p
from neto.wire.netflow import sequence
from neto.wire.netflow.plans import Plans
from neto.wire.netflow.sequence import Arrival
from neto.wire.netflow.templates import FIRST_DATA_SET, IPFIX, MAX_FIELDS, V5, V9, VARIABLE

Octets = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Unsigned = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Column = npt.NDArray[Any]  # of any of these, or of others

# Why the kernel stopped.
AT_END, AT_OTHER, AT_UNRESOLVED, FULL = range(4)
# Totals it adds to.
T_MESSAGES, T_RECORDS, T_TEMPLATES, T_OPTIONS, T_GAPS, T_LATE, T_RESTARTS, T_LOST_PACKETS, T_LOST_FLOWS = range(9)
TOTALS = 9
# What is asked for at AT_UNRESOLVED.
ASKED_VERSION, ASKED_DOMAIN, ASKED_TEMPLATE = range(3)

MOST_SETS = 512  # in a packet that is read here
KNOWN = -2  # in place of a layout's row: the whole set was read before
_GONE = -1
_LONGEST_INTERVAL = 1 << 32
_WRAP, _HALF = 1 << 32, 1 << 31  # of 32-bit numbers
_NTP_TO_UNIX_S = 2_208_988_800
_V5_RECORD, _V5_HEADER, _V9_HEADER, _IPFIX_HEADER = 48, 24, 20, 16
_SHORTEST_HEADER = _IPFIX_HEADER
NO_UPTIME = -1
# Of each exporter: messages, and records whose sampling was told or not.
MESSAGES, TOLD, NOT_TOLD = range(3)
HEARD = 3
# Of a header, and of a set.
VERSION, BEGIN, END, NUMBER, DOMAIN, UPTIME_MS = range(6)
HEAD = 6
ROW, FROM, TO, RECORDS = range(4)
_SET_HEADER = 4
_LONG = 255
_V6 = 6
_DOUBLE = 8  # octets of a float64

_judge = compiled(sequence.judge)
_GAP, _LATE, _RESTART = Arrival.GAP.value, Arrival.LATE.value, Arrival.RESTART.value


class Streams(NamedTuple):
    """What is known of sets, by row: flow sets of one exporter, domain and template; or sets that were read before.

    key: (slots, 2) uint64, row: (slots,), -1 where a slot is free: a hash table with open addressing. layout: row of
    its plan, KNOWN, or -1 when it must be asked for again. sequence: row of the domain's sequence. interval: what it is
    sampled by when neither record, sampler nor interface tell; 0: not told. samplers, interfaces: (rows, 2) where
    their intervals stand in `number` (ascending) and `number_interval`. boot_s: when uptime began, NaN: not told.
    counts: (rows, 2) template and options records of a set that was read before. used: since it was last asked.
    """

    key: Unsigned
    row: Int32s
    layout: Int32s
    sequence: Int32s
    interval: Floats
    samplers: Int32s
    interfaces: Int32s
    boot_s: Floats
    counts: Int32s
    used: Octets
    number: Unsigned
    number_interval: Floats


class Columns(NamedTuple):
    """Flow records, (room,) each; what `batch.Batch` wants of them."""

    peer: Int32s
    domain: Int32s  # row of the domain's sequence
    octets: Unsigned
    sampling: Floats
    dscp: Octets
    in_if: Unsigned
    egress: npt.NDArray[np.bool_]
    family: Octets
    dst4: npt.NDArray[np.uint32]
    dst6: Unsigned  # (room, 2), in host order; left as it was where the family is not 6
    start: Floats
    end: Floats


@compiled
def find(keys: Unsigned, rows: Int32s, a: np.uint64, b: np.uint64) -> int:
    """Row of a key; -1 when there is none."""
    mask = np.uint64(len(rows) - 1)
    slot = _mixed(a, b) & mask
    while rows[slot] >= 0:
        if keys[slot, 0] == a and keys[slot, 1] == b:
            return int(rows[slot])
        slot = (slot + np.uint64(1)) & mask
    return -1


@compiled
def insert(keys: Unsigned, rows: Int32s, a: np.uint64, b: np.uint64, row: int) -> None:
    """Give a key that has none a row; there must be free slots."""
    mask = np.uint64(len(rows) - 1)
    slot = _mixed(a, b) & mask
    while rows[slot] >= 0:
        slot = (slot + np.uint64(1)) & mask
    keys[slot, 0], keys[slot, 1] = a, b
    rows[slot] = row


@compiled
def template_key(peer: Whole, version: Whole, domain: Whole, template: Whole) -> tuple[np.uint64, np.uint64]:
    """Key of the sets of one template."""
    return (np.uint64(peer) << np.uint64(32)) | np.uint64(domain), (np.uint64(version) << np.uint64(16)) | np.uint64(
        template
    )


@compiled
def set_key(
    peer: Whole, version: Whole, domain: Whole, packet: Octets, at: Whole, length: Whole
) -> tuple[np.uint64, np.uint64]:
    """Key of a set as a whole, its header included."""
    digest = (np.uint64(domain) << np.uint64(32)) | np.uint64(length)
    for octet in range(at, at + length):
        digest = (digest ^ np.uint64(packet[octet])) * np.uint64(0x100000001B3)
        digest ^= digest >> np.uint64(29)
    tag = (np.uint64(1) << np.uint64(63)) | (np.uint64(peer) << np.uint64(8)) | np.uint64(version)
    return digest, tag


@compiled
def _mixed(a: np.uint64, b: np.uint64) -> np.uint64:
    mixed = (a * np.uint64(0x9E3779B97F4A7C15)) ^ (b * np.uint64(0xC2B2AE3D27D4EB4F))
    return mixed ^ (mixed >> np.uint64(31))


@compiled
def _number(packet: Octets, at: Whole, length: Whole) -> np.uint64:
    """An unsigned number of 0 to 8 octets."""
    if length == 0:
        return np.uint64(0)
    return eight_octets(packet, at) >> np.uint64(64 - 8 * length)


@compiled
def _zeros(packet: Octets, begin: Whole, end: Whole) -> bool:
    for octet in range(begin, end):  # noqa: SIM110  all() is slower compiled
        if packet[octet]:
            return False
    return True


@compiled
def _opened(packet: Octets, length: int, head: Int64s) -> float:
    """Read the header into `head`: (HEAD,). Returns the export time in unix seconds; NaN: not for here."""
    version = np.int64(_number(packet, 0, 2)) if length >= _SHORTEST_HEADER else 0
    head[VERSION] = version
    if version == V5 and length >= _V5_HEADER:
        head[BEGIN], head[END] = _V5_HEADER, _V5_HEADER + np.int64(_number(packet, 2, 2)) * _V5_RECORD
        if head[END] == _V5_HEADER or head[END] > length or not _zeros(packet, head[END], length):
            return np.nan
        head[UPTIME_MS] = np.int64(_number(packet, 4, 4))
        head[NUMBER], head[DOMAIN] = np.int64(_number(packet, 16, 4)), np.int64(_number(packet, 20, 2))
        return float(_number(packet, 8, 4)) + float(_number(packet, 12, 4)) / 1e9
    if version == V9 and length >= _V9_HEADER:
        head[BEGIN], head[END] = _V9_HEADER, length
        head[UPTIME_MS] = np.int64(_number(packet, 4, 4))
        head[NUMBER], head[DOMAIN] = np.int64(_number(packet, 12, 4)), np.int64(_number(packet, 16, 4))
        return float(_number(packet, 8, 4))
    if version == IPFIX:
        head[BEGIN], head[END] = _IPFIX_HEADER, np.int64(_number(packet, 2, 2))
        if head[END] < _IPFIX_HEADER or head[END] > length or not _zeros(packet, head[END], length):
            return np.nan
        head[UPTIME_MS] = NO_UPTIME
        head[NUMBER], head[DOMAIN] = np.int64(_number(packet, 8, 4)), np.int64(_number(packet, 12, 4))
        return float(_number(packet, 4, 4))
    return np.nan


@compiled
def _find_sets(
    packet: Octets, peer: int, head: Int64s, keys: Unsigned, rows: Int32s, layout: Int32s, sets: Int64s, asked: Int64s
) -> int:
    """Frame a message's sets into `sets`: (MOST_SETS, 4), row, begin and end each.

    Returns how many there are, or, less than none, why it stopped: -AT_OTHER, -AT_UNRESOLVED.
    """
    version, domain, at, end = head[VERSION], head[DOMAIN], head[BEGIN], head[END]
    asked[ASKED_VERSION], asked[ASKED_DOMAIN], asked[ASKED_TEMPLATE] = version, domain, 0
    if version == V5:
        a, b = template_key(peer, version, domain, 0)
        row = find(keys, rows, a, b)
        if row < 0 or layout[row] == _GONE:
            return -AT_UNRESOLVED
        sets[0, ROW], sets[0, FROM], sets[0, TO] = row, at, end
        return 1
    count = 0
    while end - at >= _SET_HEADER:
        template, octets = np.int64(_number(packet, at, 2)), np.int64(_number(packet, at + 2, 2))
        if octets < _SET_HEADER or at + octets > end or count == MOST_SETS:
            break
        row = -1
        if template >= FIRST_DATA_SET:
            a, b = template_key(peer, version, domain, template)
            row = find(keys, rows, a, b)
        if row < 0 or layout[row] == _GONE:  # templates or options that were read before, perhaps
            a, b = set_key(peer, version, domain, packet, at, octets)
            row = find(keys, rows, a, b)
        if row < 0 or layout[row] == _GONE:
            asked[ASKED_TEMPLATE] = template
            return -AT_UNRESOLVED if template >= FIRST_DATA_SET else -AT_OTHER
        sets[count, ROW], sets[count, FROM], sets[count, TO] = row, at + _SET_HEADER, at + octets
        count += 1
        at += octets
    return count if count and _zeros(packet, at, end) else -AT_OTHER


@compiled
def _count_varying(packet: Octets, at: Whole, end: int, shortest: int, fields: Int32s) -> int:
    """How many records of varying lengths a set holds; -1: the last one runs over its end."""
    count = 0
    while end - at >= shortest:
        for field in fields:
            at = _after(packet, at, field, end)
        if at > end:
            return -1
        count += 1
    return count


@compiled
def read(  # noqa: C901, PLR0912, PLR0915  one pass: a call that takes arrays would cost more than its work
    packets: Octets,
    lengths: Int64s,
    peers: Int32s,
    first: int,
    streams: Streams,
    plans: Plans,
    sequences: Int64s,
    ahead_s: Floats,
    now: float,
    out: Columns,
    filled: int,
    totals: Int64s,
    heard: Int64s,
    asked: Int64s,
) -> tuple[int, int, int]:
    """Read packets from `first` on.

    packets: (packets, octets). lengths, peers: (packets,); a packet of peer -1 is left out. sequences: (domains,
    sequence.STATE), changed. ahead_s: (domains,) raised to the most that an export time was ahead of `now`. filled:
    rows of `out` that are taken. totals: (TOTALS,) added to. heard: (peers, HEARD) added to.
    Returns why it stopped, at which packet (not read), and how many rows of `out` are taken then.
    """
    # Taken out of their tuples once: a kernel counts references to an array each time it is.
    to_peer, to_domain, to_octets, to_sampling = out.peer, out.domain, out.octets, out.sampling
    to_dscp, to_in_if, to_egress, to_family = out.dscp, out.in_if, out.egress, out.family
    to_dst4, to_dst6, to_start, to_end = out.dst4, out.dst6, out.start, out.end
    plans_length, plans_place, plans_told_as = plans.length, plans.place, plans.told_as
    plans_field_start, plans_field = plans.field_start, plans.field
    streams_key, streams_row, streams_layout, streams_sequence = (
        streams.key,
        streams.row,
        streams.layout,
        streams.sequence,
    )
    streams_interval, streams_samplers, streams_interfaces = streams.interval, streams.samplers, streams.interfaces
    streams_boot_s, streams_counts, streams_used = streams.boot_s, streams.counts, streams.used
    numbers, intervals = streams.number, streams.number_interval
    head, sets = np.empty(HEAD, np.int64), np.empty((MOST_SETS, 4), np.int64)
    field_at, stands = np.empty(MAX_FIELDS + 1, np.int64), np.empty(p.PLACES, np.int64)
    bits, bits4 = np.empty(1, np.uint64), np.empty(1, np.uint32)
    for index in range(first, len(lengths)):
        peer = int(peers[index])
        if peer < 0:
            continue
        packet = packets[index]
        export_s = _opened(packet, int(lengths[index]), head)
        if np.isnan(export_s):
            return AT_OTHER, index, filled
        count = _find_sets(packet, peer, head, streams_key, streams_row, streams_layout, sets, asked)
        if count < 0:
            return -count, index, filled
        version, uptime_ms = head[VERSION], head[UPTIME_MS]
        flows, options, templates = 0, 0, 0
        for which in range(count):
            row = sets[which, ROW]
            layout = streams_layout[row]
            streams_used[row] = 1
            if layout == KNOWN:
                templates += streams_counts[row, 0]
                options += streams_counts[row, 1]
                continue
            begin, end = plans_field_start[layout], plans_field_start[layout + 1]
            records = (sets[which, TO] - sets[which, FROM]) // plans_length[layout]
            if end > begin:
                fields = plans_field[begin:end]
                records = _count_varying(packet, sets[which, FROM], sets[which, TO], plans_length[layout], fields)
                if records < 0:
                    return AT_OTHER, index, filled
            sets[which, RECORDS] = records
            flows += records
        if filled + flows > len(to_octets):
            return FULL, index, filled
        # The records.
        domain_row = streams_sequence[sets[0, ROW]]
        for which in range(count):
            row = sets[which, ROW]
            layout = streams_layout[row]
            if layout == KNOWN:
                continue
            begin = plans_field_start[layout]
            fields = plans_field_start[layout + 1] - begin
            where = sets[which, FROM]
            boot_s = streams_boot_s[row]
            size = plans_place[layout]
            told_as = plans_told_as[layout]
            samplers_begin, samplers_end = streams_samplers[row, 0], streams_samplers[row, 1]
            interfaces_begin, interfaces_end = streams_interfaces[row, 0], streams_interfaces[row, 1]
            asks = told_as[4] > 0 or samplers_end > samplers_begin or interfaces_end > interfaces_begin
            alike = streams_interval[row]
            if version == V5:
                asks, alike = False, float(_number(packet, 22, 2) & np.uint64(0x3FFF))
            for place in range(p.PLACES):
                stands[place] = size[place, 0]
            starts_in, ends_in, tos_shift, told_family = told_as[0], told_as[1], told_as[2], told_as[3]
            octets = np.int64(plans_length[layout])
            told, left = 0, sets[which, RECORDS]
            while left:
                base, records = where, left  # of fixed lengths all are read at once, column by column
                if fields:
                    base, records = 0, 1
                    for field in range(fields):
                        field_at[field] = where
                        where = _after(packet, where, plans_field[begin + field], sets[which, TO])
                    for place in range(p.PLACES):
                        stands[place] = field_at[size[place, 0]]
                upto = filled + records
                _fill(to_peer, peer, filled, upto)
                _fill(to_domain, domain_row, filled, upto)
                _fill(to_family, told_family, filled, upto)
                if told_family == p.EITHER:
                    for each in range(records):
                        to_family[filled + each] = _family(packet, base + each * octets, stands, size)
                at, wide = base + stands[p.OCTETS], size[p.OCTETS, 1]
                _read_numbers(packet, at, octets, wide, 0, to_octets, filled, upto)
                at, wide = base + stands[p.TOS], size[p.TOS, 1]
                _read_numbers(packet, at, octets, wide, tos_shift, to_dscp, filled, upto)
                at, wide = base + stands[p.IN_IF], size[p.IN_IF, 1]
                _read_numbers(packet, at, octets, wide, 0, to_in_if, filled, upto)
                at, wide = base + stands[p.DST4], size[p.DST4, 1]
                _read_numbers(packet, at, octets, wide, 0, to_dst4, filled, upto)
                at, wide = base + stands[p.DIRECTION], size[p.DIRECTION, 1]
                if wide:
                    for each in range(filled, upto):
                        to_egress[nth(each)] = _number(packet, at, wide) == np.uint64(1)
                        at += octets
                else:
                    _fill(to_egress, False, filled, upto)
                at = base + stands[p.DST6]
                if size[p.DST6, 1]:
                    for each in range(filled, upto):
                        to_dst6[nth(each), 0], to_dst6[nth(each), 1] = (
                            eight_octets(packet, at),
                            eight_octets(packet, at + 8),
                        )
                        at += octets
                elif told_family in (_V6, p.EITHER):
                    for each in range(filled, upto):
                        to_dst6[nth(each), 0], to_dst6[nth(each), 1] = np.uint64(0), np.uint64(0)
                clock = export_s, uptime_ms, boot_s, base + stands[p.INIT_MS], size[p.INIT_MS, 1]
                at, wide = base + stands[p.START], size[p.START, 1]
                _read_times(packet, at, octets, wide, starts_in, clock, to_start, filled, upto)
                at, wide = base + stands[p.END], size[p.END, 1]
                _read_times(packet, at, octets, wide, ends_in, clock, to_end, filled, upto)
                if asks:
                    sampler, of_sampler = np.uint64(0), -1.0  # the last one that was asked for: most sets have one
                    for each in range(records):
                        at = base + each * octets
                        interval = _own_interval(packet, at, stands, size, bits, bits4) if told_as[4] else 0.0
                        if interval == 0.0 and samplers_end > samplers_begin:
                            named = _number(packet, at + stands[p.SAMPLER], size[p.SAMPLER, 1])
                            if named != sampler or of_sampler < 0.0:
                                of_sampler = _of_number(numbers, intervals, samplers_begin, samplers_end, named)
                                sampler = named
                            interval = of_sampler
                        if interval == 0.0 and interfaces_end > interfaces_begin:
                            named = _number(packet, at + stands[p.INTERFACE], size[p.INTERFACE, 1])
                            interval = _of_number(numbers, intervals, interfaces_begin, interfaces_end, named)
                        if interval == 0.0:
                            interval = alike
                        told += interval > 0.0
                        to_sampling[filled + each] = max(interval, 1.0)
                else:
                    _fill(to_sampling, max(alike, 1.0), filled, upto)
                    told += records if alike > 0.0 else 0
                filled = upto
                left -= records
            heard[peer, TOLD] += told
            heard[peer, NOT_TOLD] += sets[which, RECORDS] - told
        # The message as a whole.
        ahead_s[domain_row] = max(ahead_s[domain_row], export_s - now)
        heard[peer, MESSAGES] += 1
        totals[T_MESSAGES] += 1
        totals[T_RECORDS] += flows
        totals[T_TEMPLATES] += templates
        totals[T_OPTIONS] += options
        units, others = flows + options, flows
        if version == V9:
            units, others = 1, 1
        arrival, missing = _judge(sequences[domain_row], head[NUMBER], units, others)
        totals[T_GAPS] += arrival == _GAP
        totals[T_LATE] += arrival == _LATE
        totals[T_RESTARTS] += arrival == _RESTART
        totals[T_LOST_PACKETS if version == V9 else T_LOST_FLOWS] += missing
    return AT_END, len(lengths), filled


@compiled
def resume(
    packets: Octets,
    lengths: Int64s,
    peers: Int32s,
    first: int,
    key: Unsigned,
    row: Int32s,
    layout: Int32s,
    sequence: Int32s,
    interval: Floats,
    samplers: Int32s,
    interfaces: Int32s,
    boot_s: Floats,
    counts: Int32s,
    used: Octets,
    number: Unsigned,
    number_interval: Floats,
    length: Int32s,
    place: Int32s,
    told_as: Int32s,
    field_start: Int32s,
    field: Int32s,
    sequences: Int64s,
    ahead_s: Floats,
    now: float,
    peer: Int32s,
    domain: Int32s,
    octets: Unsigned,
    sampling: Floats,
    dscp: Octets,
    in_if: Unsigned,
    egress: npt.NDArray[np.bool_],
    family: Octets,
    dst4: npt.NDArray[np.uint32],
    dst6: Unsigned,
    start: Floats,
    end: Floats,
    filled: int,
    totals: Int64s,
    heard: Int64s,
    asked: Int64s,
) -> tuple[int, int, int]:
    """Do as `read` does. Arrays that stand by themselves take half as long to hand over as tuples of them."""
    streams = Streams(
        *(key, row, layout, sequence, interval, samplers, interfaces, boot_s, counts, used, number, number_interval)
    )
    plans = Plans(length, place, told_as, field_start, field)
    out = Columns(peer, domain, octets, sampling, dscp, in_if, egress, family, dst4, dst6, start, end)
    return read(
        packets, lengths, peers, first, streams, plans, sequences, ahead_s, now, out, filled, totals, heard, asked
    )


@compiled
def _after(packet: Octets, at: Whole, octets: Whole, end: Whole) -> Whole:
    """Where a field ends that begins at `at`; beyond `end` when it does."""
    if octets != VARIABLE:
        return at + octets
    if at >= end:
        return end + 1
    length = int(packet[at])
    at += 1
    if length == _LONG:
        if at + 2 > end:
            return end + 1
        length = int(_number(packet, at, 2))
        at += 2
    return at + length


@compiled
def _family(packet: Octets, base: int, stands: Int64s, size: Int32s) -> int:
    """What of both families is not all zeros; IPv4 when both are or neither is."""
    six, four = False, False
    for place in (p.SRC6, p.DST6):
        if size[place, 1] and not _zeros(packet, base + stands[place], base + stands[place] + 16):
            six = True
    for place in (p.SRC4, p.DST4):
        if size[place, 1] and not _zeros(packet, base + stands[place], base + stands[place] + 4):
            four = True
    return 6 if six and not four else 4


@compiled
def _fill(to: Column, value: Whole | float, begin: int, end: int) -> None:
    for row in range(begin, end):
        to[nth(row)] = value


@compiled
def _read_numbers(
    packet: Octets, at: Whole, step: Whole, octets: Whole, shift: int, to: Column, begin: int, end: int
) -> None:
    """Read an unsigned number of 0 to 8 octets of each record, `step` octets apart, less its last `shift` bits."""
    right, kept = np.uint64(0), np.uint64(0)  # of no octets nothing is kept
    if octets:
        right, kept = np.uint64(64 - 8 * octets + shift), ~kept
    for row in range(begin, end):
        to[nth(row)] = (eight_octets(packet, at) >> right) & kept
        at += step


@compiled
def _read_times(  # noqa: C901, PLR0912  one branch for each unit
    packet: Octets,
    at: Whole,
    step: Whole,
    octets: Whole,
    unit: int,
    clock: tuple[float, int, float, Whole, int],
    to: Floats,
    begin: int,
    end: int,
) -> None:
    """Read the start or end of each record as unix seconds, NaN where it is not told, as `_read_numbers` does.

    clock: of the exporter: time and uptime, -1 when it does not tell that, at export, and when uptime began; and where
    its first record tells when uptime began, in milliseconds, and the octets of that.
    """
    export_s, uptime_ms, boot_s, init, init_octets = clock
    ages = unit == p.UPTIME and not init_octets and uptime_ms >= 0
    since, parts = 0.0, 1e3  # seconds = since + number / parts
    if unit == p.NTP:
        since, parts = -_NTP_TO_UNIX_S, _WRAP
    elif unit == p.SECONDS:
        parts = 1.0
    elif unit == p.BEFORE_EXPORT:
        since, parts = export_s, -1e6
    elif ages:
        since, parts = export_s, -1e3
    elif unit == p.UPTIME and not init_octets:
        since = boot_s
    elif unit == p.NO_TIME:
        since = np.nan
    right, kept = np.uint64(0), np.uint64(0)  # of no octets nothing is kept
    if octets:
        right, kept = np.uint64(64 - 8 * octets), ~kept
    if ages:
        for row in range(begin, end):
            age_ms = (uptime_ms - np.int64((eight_octets(packet, at) >> right) & kept) + _HALF) % _WRAP - _HALF
            to[nth(row)] = since + float(age_ms) / parts
            at += step
    elif unit == p.UPTIME and init_octets:
        init_right = np.uint64(64 - 8 * init_octets)
        for row in range(begin, end):
            told = ((eight_octets(packet, at) >> right) & kept) + (eight_octets(packet, init) >> init_right)
            to[nth(row)] = float(told) / parts
            at += step
            init += step
    else:
        for row in range(begin, end):
            to[nth(row)] = since + float((eight_octets(packet, at) >> right) & kept) / parts
            at += step


@compiled
def _own_interval(  # noqa: C901  one branch for each way to tell it
    packet: Octets,
    base: int,
    stands: Int64s,
    size: Int32s,
    bits: Unsigned,
    bits4: npt.NDArray[np.uint32],
) -> float:
    """One packet of how many was looked at, by the record's own word; 0: it says nothing usable."""
    for place in (p.INTERVAL_A, p.INTERVAL_B):
        if size[place, 1]:
            told = float(_number(packet, base + stands[place], size[place, 1]))
            if 1.0 <= told <= _LONGEST_INTERVAL:
                return told
    looked_at = float(_number(packet, base + stands[p.PACKET_INTERVAL], size[p.PACKET_INTERVAL, 1]))
    if size[p.PACKET_INTERVAL, 1] and size[p.PACKET_SPACE, 1]:
        space = float(_number(packet, base + stands[p.PACKET_SPACE], size[p.PACKET_SPACE, 1]))
        told = (looked_at + space) / looked_at if looked_at > 0 else 0.0
        if 1.0 <= told <= _LONGEST_INTERVAL:
            return told
    if size[p.SIZE, 1] and size[p.POPULATION, 1]:
        part = float(_number(packet, base + stands[p.SIZE], size[p.SIZE, 1]))
        told = float(_number(packet, base + stands[p.POPULATION], size[p.POPULATION, 1])) / part if part > 0 else 0.0
        if 1.0 <= told <= _LONGEST_INTERVAL:
            return told
    if size[p.PROBABILITY, 1]:
        if size[p.PROBABILITY, 1] == _DOUBLE:
            bits[0] = _number(packet, base + stands[p.PROBABILITY], 8)
            chance = bits.view(np.float64)[0]
        else:
            bits4[0] = np.uint32(_number(packet, base + stands[p.PROBABILITY], 4))
            chance = np.float64(bits4.view(np.float32)[0])
        told = 1.0 / chance if chance > 0 else 0.0
        if 1.0 <= told <= _LONGEST_INTERVAL:
            return told
    alone = size[p.PACKET_SPACE, 1] == 0  # then some mean the interval by it; by 1 nobody
    return looked_at if alone and 1.0 < looked_at <= _LONGEST_INTERVAL else 0.0


@compiled
def _of_number(numbers: Unsigned, intervals: Floats, begin: int, end: int, number: np.uint64) -> float:
    """Interval of a number, 0 where it is not known; numbers ascend from `begin` to `end`."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if numbers[middle] < number:
            low = middle + 1
        else:
            high = middle
    if low < end and numbers[low] == number:
        return float(intervals[low])
    return 0.0
