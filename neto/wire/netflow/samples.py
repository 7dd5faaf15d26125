"""Many sFlow datagrams at once, as `sflow` reads one: what they say goes into columns.

The kernel reads datagrams in which all is as it should be. At any other it stops: `sflow` reads that one, and tells
what is wrong with it.

Each data source of an agent numbers its samples, and says how many it dropped itself: what is not there, and what was
dropped, counts as lost in the sequence of the agent.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np

from neto.jit import Whole, compiled, eight_octets
from neto.wire.netflow import sequence as seq
from neto.wire.netflow import sflow
from neto.wire.netflow.kernel import (
    AT_END,
    AT_OTHER,
    AT_UNRESOLVED,
    FULL,
    MESSAGES,
    NOT_TOLD,
    T_GAPS,
    T_LATE,
    T_LOST_PACKETS,
    T_MESSAGES,
    T_RECORDS,
    T_RESTARTS,
    TOLD,
    Columns,
    Int32s,
    Int64s,
    Octets,
    Streams,
    Unsigned,
    find,
    insert,
)
from neto.wire.netflow.sequence import Arrival

_judge = compiled(seq.judge)

NO_SFLOW = 4  # why the kernel stopped, beside those of `kernel`
MOST_SAMPLES = 1024  # in a datagram that is read here
OTHERS = 0  # of what is counted: samples of other packets or kinds
COUNTS = 1

_SOURCES = 1 << 14  # that are known at once; beyond that all are met anew
_DROPS = seq.SAMPLES  # of a source's state, behind what is judged
_SOURCE_STATE = _DROPS + 1
_WRAP, _FAR = 1 << 32, 1 << 20
_GAP, _LATE, _RESTART = Arrival.GAP.value, Arrival.LATE.value, Arrival.RESTART.value
_GONE = -1
_HEADER = 5  # sFlow's version, as a word
_AGENT_AT = 4  # where the agent's address begins, its type first
_IPV4, _IPV6 = 4, 6  # types of sampled packets here, and what their first four bits say
_NO_PACKET = 0
# Of a sample: what it says of itself, and of its packet.
_KIND, _SOURCE, _RATE, _ENTERING, _LEAVING, _NUMBER, _DROPPED, _FAMILY, _SIZE, _TOS, _TO = range(11)
_SAMPLE = 11


class Sources:
    """What every data source's samples said last."""

    def __init__(self) -> None:
        self.key: Unsigned = np.zeros((2 * _SOURCES, 2), np.uint64)
        self.row: Int32s = np.full(2 * _SOURCES, -1, np.int32)
        self.state: Int64s = np.zeros((_SOURCES, _SOURCE_STATE), np.int64)
        self.used: Int64s = np.zeros(1, np.int64)

    def arrived(self, exporter: str, datagram: memoryview, samples: list[sflow.Numbered], losses: Int64s) -> None:
        """Judge the samples of a datagram, as the kernel does. losses: (STATE,) of the agent's sequence."""
        digest, _ = agent_key(np.frombuffer(datagram, np.uint8), salt(exporter))
        for kind, source, number, drops in samples:
            which = np.uint64(kind << 32 | source)
            _arrived(self.key, self.row, self.state, self.used, np.uint64(digest), which, number, drops, losses)


@lru_cache(4096)
def salt(exporter: str) -> np.uint64:
    """Tell exporters' agents apart."""
    return np.uint64(int.from_bytes(blake2b(exporter.encode(), digest_size=8).digest(), "big"))


@compiled
def agent_key(datagram: Octets, salted: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Key of an agent and sub-agent, whose octets must be there."""
    end = _AGENT_AT + 4 + (4 if datagram[_AGENT_AT + 3] == 1 else 16) + 4
    digest = salted
    for octet in range(_AGENT_AT, end):
        digest = (digest ^ np.uint64(datagram[octet])) * np.uint64(0x100000001B3)
        digest ^= digest >> np.uint64(29)
    return digest, salted | (np.uint64(3) << np.uint64(62))


@compiled
def _arrived(
    keys: Unsigned,
    rows: Int32s,
    states: Int64s,
    used: Int64s,
    agent: np.uint64,
    source: np.uint64,
    number: Whole,
    drops: Whole,
    losses: Int64s,
) -> None:
    """Judge one sample."""
    row = find(keys, rows, agent, source)
    if row < 0:
        if used[0] == len(states):
            rows[:] = -1
            used[0] = 0
        row = int(used[0])
        used[0] += 1
        states[row] = 0
        insert(keys, rows, agent, source, row)
    state = states[row]
    begun = state[seq.TOLD]
    arrival, missing = _judge(state, int(number), 1, 1)
    losses[seq.SAMPLES] += 1
    losses[seq.SAMPLES_MISSING] += missing
    losses[seq.SAMPLES_RECOVERED] += arrival == _LATE
    if arrival != _LATE:
        more = (drops - state[_DROPS]) % _WRAP
        if begun and arrival != _RESTART and more < _FAR:
            losses[seq.SAMPLES_DROPPED] += more
        state[_DROPS] = drops


@compiled
def read(  # noqa: C901, PLR0911, PLR0912, PLR0915  one pass, as in `kernel`
    packets: Octets,
    lengths: Int64s,
    peers: Int32s,
    salts: Unsigned,
    first: int,
    streams: Streams,
    sequences: Int64s,
    sources_key: Unsigned,
    sources_row: Int32s,
    sources_state: Int64s,
    sources_used: Int64s,
    ahead_s: np.ndarray[tuple[int], np.dtype[np.float64]],
    out: Columns,
    filled: int,
    totals: Int64s,
    heard: Int64s,
    counts: Int64s,
) -> tuple[int, int, int]:
    """Read datagrams from `first` on, up to the first that is not sFlow.

    salts: (peers,) uint64. sources_*: of `Sources`. counts: (COUNTS,) added to. All else as `kernel.read` has it.
    Returns why it stopped, at which datagram (not read), and how many rows of `out` are taken then.
    """
    samples = np.empty((MOST_SAMPLES, _SAMPLE), np.int64)
    for index in range(first, len(lengths)):
        peer = int(peers[index])
        if peer < 0:
            continue
        packet, length = packets[index], lengths[index]
        if length < 4 or _word(packet, 0) != _HEADER:  # noqa: PLR2004 octets of a word
            return NO_SFLOW, index, filled
        kind = _word(packet, 4)
        at = np.int64(24 if kind == 1 else 36)
        if kind not in (1, 2) or at + 4 > length:
            return AT_OTHER, index, filled
        agent, tag = agent_key(packet, salts[peer])
        stream = find(streams.key, streams.row, agent, tag)
        if stream < 0 or streams.layout[stream] == _GONE:
            return AT_UNRESOLVED, index, filled
        told = _word(packet, at)
        if told > MOST_SAMPLES:
            return AT_OTHER, index, filled
        at += 4
        count, rows = 0, np.int64(0)
        for _ in range(int(told)):
            if at + 8 > length or at + 8 + _word(packet, at + 4) > length:
                return AT_OTHER, index, filled
            form, size = _word(packet, at), _word(packet, at + 4)
            sample = samples[count]
            if form in (sflow.FLOW_SAMPLE, sflow.EXPANDED_FLOW_SAMPLE):
                if not _sample(packet, form, at + 8, at + 8 + size, sample):
                    return AT_OTHER, index, filled
                if sample[_RATE] == 0 and streams.interval[stream]:
                    return AT_OTHER, index, filled  # options may tell what the sample does not
                count += 1
                rows += sample[_FAMILY] != _NO_PACKET
            at += 8 + (size + 3) // 4 * 4
        if filled + rows > len(out.octets):
            return FULL, index, filled
        domain_row = streams.sequence[stream]
        losses = sequences[domain_row]
        streams.used[stream] = 1
        untold = 0
        for which in range(count):
            sample = samples[which]
            _arrived(
                sources_key,
                sources_row,
                sources_state,
                sources_used,
                agent,
                np.uint64(sample[_KIND] << 32 | sample[_SOURCE]),
                sample[_NUMBER],
                sample[_DROPPED],
                losses,
            )
            if sample[_FAMILY] == _NO_PACKET:
                continue
            entering, leaving = sample[_ENTERING], sample[_LEAVING]
            source = sample[_SOURCE] if sample[_KIND] == sflow.INTERFACE_SOURCE else 0
            out.peer[filled], out.domain[filled] = peer, domain_row
            out.octets[filled] = sample[_SIZE]
            out.sampling[filled] = max(sample[_RATE], 1)
            out.dscp[filled] = sample[_TOS] >> 2
            out.in_if[filled] = entering
            out.egress[filled] = source != 0 and source == leaving and leaving != entering
            out.family[filled] = sample[_FAMILY]
            to = sample[_TO]
            if sample[_FAMILY] == _IPV6:
                out.dst4[filled] = 0
                out.dst6[filled, 0], out.dst6[filled, 1] = eight_octets(packet, to), eight_octets(packet, to + 8)
            else:
                out.dst4[filled] = _word(packet, to)
            out.start[filled], out.end[filled] = np.nan, np.nan
            untold += sample[_RATE] == 0
            filled += 1
        ahead_s[domain_row] = max(ahead_s[domain_row], 0.0)
        heard[peer, MESSAGES] += 1
        heard[peer, TOLD] += rows - untold
        heard[peer, NOT_TOLD] += untold
        totals[T_MESSAGES] += 1
        totals[T_RECORDS] += rows
        counts[OTHERS] += told - rows
        arrival, missing = _judge(losses, int(_word(packet, 16 if kind == 1 else 28)), 1, 1)
        totals[T_GAPS] += arrival == _GAP
        totals[T_LATE] += arrival == _LATE
        totals[T_RESTARTS] += arrival == _RESTART
        totals[T_LOST_PACKETS] += missing
    return AT_END, len(lengths), filled


@compiled
def _sample(  # noqa: C901, PLR0911, PLR0912  one branch for each form
    packet: Octets, form: Whole, begin: Whole, end: Whole, sample: Int64s
) -> bool:
    """Read a flow sample into (_SAMPLE,); whether it is as it should be."""
    if form == sflow.FLOW_SAMPLE:
        at = begin + 32
        if at > end:
            return False
        source = _word(packet, begin + 4)
        sample[_KIND], sample[_SOURCE] = source >> 24, source & 0xFFFFFF
        sample[_RATE], sample[_DROPPED] = _word(packet, begin + 8), _word(packet, begin + 16)
        entering, leaving = _word(packet, begin + 20), _word(packet, begin + 24)
        sample[_ENTERING] = entering if entering <= sflow.INTERFACE else 0
        sample[_LEAVING] = leaving if leaving <= sflow.INTERFACE else 0
    else:
        at = begin + 44
        if at > end:
            return False
        sample[_KIND], sample[_SOURCE] = _word(packet, begin + 4), _word(packet, begin + 8)
        sample[_RATE], sample[_DROPPED] = _word(packet, begin + 12), _word(packet, begin + 20)
        sample[_ENTERING] = _word(packet, begin + 28) if _word(packet, begin + 24) == 0 else 0
        sample[_LEAVING] = _word(packet, begin + 36) if _word(packet, begin + 32) == 0 else 0
    sample[_NUMBER], sample[_FAMILY] = _word(packet, begin), _NO_PACKET
    for _ in range(int(_word(packet, at - 4))):
        if at + 8 > end or at + 8 + _word(packet, at + 4) > end:
            return False
        form, size = _word(packet, at), _word(packet, at + 4)
        record = at + 8
        if form == sflow.RAW_HEADER:
            if size < 16:  # noqa: PLR2004 octets before the header
                return False
            _raw(packet, record, record + size, sample)
        elif form == sflow.SAMPLED_IPV4:
            if size < 32:  # noqa: PLR2004 octets of the record
                return False
            sample[_FAMILY], sample[_SIZE], sample[_TOS] = _IPV4, _word(packet, record), packet[record + 31]
            sample[_TO] = record + 12
        elif form == sflow.SAMPLED_IPV6:
            if size < 56:  # noqa: PLR2004 octets of the record
                return False
            sample[_FAMILY], sample[_SIZE], sample[_TOS] = _IPV6, _word(packet, record), packet[record + 55]
            sample[_TO] = record + 24
        if sample[_FAMILY] != _NO_PACKET:
            return True
        at = record + (size + 3) // 4 * 4
    return True


@compiled
def _raw(packet: Octets, record: Whole, end: Whole, sample: Int64s) -> None:
    """Read the first octets of a packet; nothing when it is not IP, or they are too few."""
    protocol, frame, stripped = _word(packet, record), _word(packet, record + 4), _word(packet, record + 8)
    begin = record + 16
    end = min(end, begin + _word(packet, record + 12))
    at, family = begin, 0
    if protocol == sflow.BARE_IPV4:
        family = _IPV4
    elif protocol == sflow.BARE_IPV6:
        family = _IPV6
    elif protocol == sflow.ETHERNET:
        at, family = _past_ethernet(packet, begin, end)
    if at >= end or packet[at] >> 4 != family:
        return
    rest = max(frame - stripped - (at - begin), np.int64(0))
    if family == _IPV4 and at + 20 <= end:
        size = _short(packet, at + 2, end)
        sample[_TOS], sample[_TO] = packet[at + 1], at + 16
        sample[_SIZE], sample[_FAMILY] = size or rest, _IPV4
    elif family == _IPV6 and at + 40 <= end:
        size = _short(packet, at + 4, end)
        sample[_TOS], sample[_TO] = _short(packet, at, end) >> 4 & 255, at + 24
        sample[_SIZE], sample[_FAMILY] = size + 40 if size else rest, _IPV6


@compiled
def _past_ethernet(packet: Octets, begin: Whole, end: Whole) -> tuple[Whole, int]:
    """Where the network layer begins, and its version; 0 when that is not IP."""
    at = begin + 12
    kind = _short(packet, at, end)
    while kind in (0x8100, 0x88A8, 0x9100):  # VLANs
        at += 4
        kind = _short(packet, at, end)
    at += 2
    if kind in (0x8847, 0x8848):  # MPLS
        while at + 4 < end and not packet[at + 2] & 1:  # down to the bottom of the stack
            at += 4
        at += 4
        version = packet[at] >> 4 if at < end else 0
        return at, int(version) if version in (_IPV4, _IPV6) else 0
    if kind == 0x0800:  # noqa: PLR2004 EtherTypes
        return at, _IPV4
    return at, _IPV6 if kind == 0x86DD else 0  # noqa: PLR2004 EtherTypes


@compiled
def _short(packet: Octets, at: Whole, end: Whole) -> np.int64:
    """Two octets as a number; as many of them as are there."""
    if at + 2 <= end:
        return np.int64(packet[at]) << 8 | np.int64(packet[at + 1])
    return np.int64(packet[at]) if at < end else np.int64(0)


@compiled
def _word(packet: Octets, at: Whole) -> np.int64:
    return (
        np.int64(packet[at]) << 24
        | np.int64(packet[at + 1]) << 16
        | np.int64(packet[at + 2]) << 8
        | np.int64(packet[at + 3])
    )
