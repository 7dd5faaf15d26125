"""Many packets at once: prepares what the kernel looks up, and reads singly what it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from neto.errors import WireError
from neto.wire.netflow import kernel, samples, sflow, v5
from neto.wire.netflow import plans as p
from neto.wire.netflow import sequence as seq
from neto.wire.netflow.credit import OTHERS, TEMPLATES, Credit
from neto.wire.netflow.decode import OPTIONS_TEMPLATES, TEMPLATE_SETS, Decoded, Decoder, numbering, split
from neto.wire.netflow.kernel import Columns, Int32s, Int64s, Octets, Streams
from neto.wire.netflow.plans import grown
from neto.wire.netflow.state import Exporter, TemplateKey
from neto.wire.netflow.templates import (
    FIRST_DATA_SET,
    IPFIX,
    SFLOW,
    V5,
    V9,
    Layout,
    parse_options_templates,
    parse_templates,
)

ROOM = 1 << 14  # records that are told at once
_STREAMS = 1 << 16  # that are known at once; beyond that all are asked for again
_DOMAINS = 1 << 14
_LAYOUTS = 4096
_NUMBERS = 1 << 18  # samplers and interfaces
_OUTDATED = 1 << 15  # of them
_TOUCH_S = 1.0
_LEAST_RECORD = 4  # octets; of shorter ones a packet holds so many that they are a matter of credit
_LEAST = len(sflow.HEADER)
_AGENT_ENDS = 28  # octet of a datagram at which its sub-agent has ended
_BODY = {V9: 20, IPFIX: 16}  # octets of the header
_KNOWN_VERSIONS = frozenset(_BODY)
_MOST_TEMPLATE_SETS = 4  # numbers of sets of templates and options templates are below, of either version
_REFUSED = Decoded((), (WireError("more work than an exporter may cause: packets are not looked at"),))

Domain = tuple[str, int, int]  # exporter, version, observation domain


class Single(NamedTuple):
    """A packet that was read by itself."""

    packet: int  # its row
    decoded: Decoded


class BulkDecoder:
    """Reads packets in rows, with a decoder of single packets beside it: what both remember is the same.

    exporters: addresses; a packet's peer is a row of them. timer: what work takes is measured by it, in seconds.
    """

    def __init__(
        self, decoder: Decoder, exporters: Sequence[str], *, timer: Callable[[], float] = time.thread_time
    ) -> None:
        self.decoder = decoder
        self.exporters = tuple(exporters)
        self._credit = Credit(len(self.exporters))
        self._timer = timer
        self.domains: list[Domain] = []  # by row of `Columns.domain`, until the next packets are read
        self.ahead_s = np.full(_DOMAINS, -np.inf)  # most that each domain's export times were ahead, since it was reset
        self.heard: Int64s = np.zeros((len(self.exporters), kernel.HEARD), np.int64)  # since it was reset
        self._out = _columns(ROOM)
        self._totals: Int64s = np.zeros(kernel.TOTALS, np.int64)
        self._asked: Int64s = np.zeros(3, np.int64)
        self._samples: Int64s = np.zeros(samples.COUNTS, np.int64)
        self._salts = np.array([samples.salt(exporter) for exporter in self.exporters], np.uint64)
        self._touched = 0.0
        self._revision = [-1] * len(self.exporters)  # of each exporter's state, as it was last seen
        self._adopted: list[seq.Sequence] = []  # by row
        self._domain_rows: dict[int, int] = {}  # by the sequence's id
        self._sequences: Int64s = np.zeros((_DOMAINS, seq.STATE), np.int64)
        self._planned = p.Planned()
        self._keys: list[tuple[int, TemplateKey] | None] = []  # peer and template, by row; None: a known set
        self._peer: Int32s = np.full(_STREAMS, -1, np.int32)
        self._spans: dict[tuple[int, int, str], tuple[int, int, int]] = {}  # changes of samplers, begin, end
        self._numbers = self._outdated = 0  # of all spans, and of those that hold no more
        self._streams = _streams(_STREAMS)

    def read(self, packets: Octets, lengths: Int64s, peers: Int32s, now: float) -> Iterator[Columns | Single]:
        """Read packets, and tell of their records as they are.

        packets: (packets, octets) uint8. lengths: (packets,), eight less than a row's at most. peers: (packets,)
        rows of `exporters`, -1 for a packet that is left out. Columns hold until the next are asked for.
        """
        self.decoder.expire(now)
        at, filled = 0, 0
        if self._full():
            self._forget()
        while at < len(lengths):
            why, at, filled = self._advance(packets, lengths, peers, at, filled, now)
            if why == kernel.AT_END:
                break
            if why == kernel.FULL and filled:
                yield _first(self._out, filled)
                filled = 0
                continue
            peer, kind = int(peers[at]), _kind(packets[at])
            if not self._credit.is_left(peer, kind, now):
                self.decoder.counters.refused += 1
                yield Single(at, _REFUSED)
                at += 1
                continue
            began = self._timer()
            if why != kernel.AT_UNRESOLVED or not self._resolve(peer, packets[at]):
                yield Single(at, self._single(packets[at, : lengths[at]].tobytes(), peer, now))
                at += 1
            self._credit.spend(peer, kind, self._timer() - began)
        if filled:
            yield _first(self._out, filled)
        self._count()
        if not 0 <= now - self._touched < _TOUCH_S:
            self._touched = now
            self._touch()

    def _single(self, packet: bytes, peer: int, now: float) -> Decoded:
        address = self.exporters[peer]
        decoded = self.decoder.decode(packet, address, now)
        state = self.decoder.exporters[address]
        self.heard[peer, kernel.MESSAGES] += not decoded.problems
        if state.revision != self._revision[peer]:
            self._revision[peer] = state.revision
            self._ask_again(peer)
        elif not decoded.problems and not self._full():
            self._remember_sets(packet, peer, state)
        return decoded

    def _advance(
        self, packets: Octets, lengths: Int64s, peers: Int32s, at: int, filled: int, now: float
    ) -> tuple[int, int, int]:
        """Have the kernels read what they can; return what they do."""
        why, sources = samples.NO_SFLOW, self.decoder.sources
        while why == samples.NO_SFLOW:
            why, at, filled = kernel.resume(
                *(packets, lengths, peers, at, *self._streams, *self._planned.plans, self._sequences, self.ahead_s),
                *(now, *self._out, filled, self._totals, self.heard, self._asked),
            )
            if why == kernel.AT_OTHER and lengths[at] >= _LEAST and packets[at, :_LEAST].tobytes() == sflow.HEADER:
                why, at, filled = samples.read(
                    *(packets, lengths, peers, self._salts, at, self._streams, self._sequences),
                    *(sources.key, sources.row, sources.state, sources.used, self.ahead_s, self._out, filled),
                    *(self._totals, self.heard, self._samples),
                )
        return why, at, filled

    def _resolve(self, peer: int, packet: Octets) -> bool:
        """Find what the kernel asked for; whether it is an agent or a template of flows."""
        state = self.decoder.exporters[self.exporters[peer]]
        if state.revision != self._revision[peer]:
            self._revision[peer] = state.revision
            self._ask_again(peer)
        if packet[:_LEAST].tobytes() == sflow.HEADER:
            return self._resolve_agent(peer, packet, state)
        version, domain, template = self._asked.tolist()
        layout = v5.LAYOUT if version == V5 else state.template((version, domain, template))
        if layout is None or layout.options or layout.length < _LEAST_RECORD or self._full():
            return False
        if layout.section is not None:  # the kernel reads no packets within records
            return False
        row = self._row(kernel.template_key(peer, version, domain, template), peer)
        streams, place = self._streams, self._planned.row(layout)
        domain_row = self._domain_row(peer, version, domain, state)
        plan = self._planned.plans.place[place]
        alike = state.samplers.alike(domain, template, names_sampler=bool(plan[p.SAMPLER, 1]))
        streams.interval[row] = 0.0 if alike is None else alike
        streams.samplers[row] = self._span(peer, domain, "sampler", state) if plan[p.SAMPLER, 1] else 0
        streams.interfaces[row] = self._span(peer, domain, "interface", state) if plan[p.INTERFACE, 1] else 0
        boot_s = state.boot_s(domain)
        self._streams.boot_s[row] = np.nan if boot_s is None else boot_s
        self._streams.sequence[row] = domain_row
        self._streams.layout[row] = place
        self._keys[row] = (peer, (version, domain, template))
        return True

    def _ask_again(self, peer: int) -> None:
        """Ask for all of an exporter's sets when they are met."""
        rows = len(self._keys)
        self._streams.layout[:rows][self._peer[:rows] == peer] = -1

    def _resolve_agent(self, peer: int, packet: Octets, state: Exporter) -> bool:
        if self._full():
            return False
        agent, sub_agent = sflow.agent_of(packet[:_AGENT_ENDS].data)
        domain = numbering(agent, sub_agent, self.exporters[peer])
        row = self._row(samples.agent_key(packet, self._salts[peer]), peer)
        self._streams.sequence[row] = self._domain_row(peer, SFLOW, domain, state)
        self._streams.interval[row] = bool(state.samplers.known)
        self._streams.layout[row] = kernel.KNOWN
        self._keys[row] = (peer, (SFLOW, domain, 0))
        return True

    def _remember_sets(self, packet: bytes, peer: int, state: Exporter) -> None:
        """Remember the sets of a packet that changed nothing: the kernel passes over them when they come again."""
        version, body = int.from_bytes(packet[:2], "big"), memoryview(packet)
        if version not in _KNOWN_VERSIONS:
            return
        end = int.from_bytes(packet[2:4], "big") if version == IPFIX else len(packet)
        domain = int.from_bytes(packet[_BODY[version] - 4 : _BODY[version]], "big")
        octets, at = np.frombuffer(packet, np.uint8), _BODY[version]
        for number, content in split(body[at:end]):
            counts = _counts(number, content, version, state.template((version, domain, number)))
            if counts is not None:
                key = kernel.set_key(peer, version, domain, octets, at, len(content) + 4)
                row = self._row(key, peer)
                self._streams.counts[row] = counts
                self._streams.sequence[row] = self._domain_row(peer, version, domain, state)
                self._streams.layout[row] = kernel.KNOWN
            at += len(content) + 4

    def _row(self, told: tuple[np.uint64, np.uint64], peer: int) -> int:
        key = np.uint64(told[0]), np.uint64(told[1])  # a kernel returns Python's integers
        row = int(kernel.find(self._streams.key, self._streams.row, *key))
        if row < 0:
            row = len(self._keys)
            self._keys.append(None)
            self._peer[row] = peer
            kernel.insert(self._streams.key, self._streams.row, *key, row)
        return row

    def _domain_row(self, peer: int, version: int, domain: int, state: Exporter) -> int:
        """Row of a domain, whose sequence is then kept there."""
        found = state.sequence(version, domain, counts_itself=version == IPFIX)
        row = self._domain_rows.get(id(found))
        if row is None:
            row = self._domain_rows[id(found)] = len(self.domains)
            self.domains.append((self.exporters[peer], version, domain))
            self._adopted.append(found)
            self._sequences[row] = found.state
            found.state = self._sequences[row]
        return row

    def _span(self, peer: int, domain: int, kind: str, state: Exporter) -> tuple[int, int]:
        """Where a domain's samplers or interfaces stand."""
        changes, begin, end = self._spans.get((peer, domain, kind), (-1, 0, 0))
        if changes != state.samplers.changes:
            self._outdated += end - begin
            numbers, intervals = state.samplers.numbered(domain, kind)
            begin, end = self._numbers, self._numbers + len(numbers)
            self._spans[peer, domain, kind] = (state.samplers.changes, begin, end)
            self._numbers = end
            streams = self._streams
            self._streams = streams = streams._replace(
                number=grown(streams.number, end), number_interval=grown(streams.number_interval, end)
            )
            streams.number[begin:end], streams.number_interval[begin:end] = numbers, intervals
        return begin, end

    def _count(self) -> None:
        """Add what the kernel counted to the decoder's counters."""
        counters, totals = self.decoder.counters, self._totals.tolist()
        counters.messages += totals[kernel.T_MESSAGES]
        counters.records += totals[kernel.T_RECORDS]
        counters.templates += totals[kernel.T_TEMPLATES]
        counters.options_records += totals[kernel.T_OPTIONS]
        counters.gaps += totals[kernel.T_GAPS]
        counters.late_messages += totals[kernel.T_LATE]
        counters.restarts += totals[kernel.T_RESTARTS]
        counters.lost_packets += totals[kernel.T_LOST_PACKETS]
        counters.lost_flows += totals[kernel.T_LOST_FLOWS]
        counters.other_samples += int(self._samples[samples.OTHERS])
        self._totals[:] = 0
        self._samples[:] = 0

    def _touch(self) -> None:
        """Tell what was used lately: of what is too much, the rest goes first."""
        for row in np.flatnonzero(self._streams.used[: len(self._keys)]).tolist():
            used = self._keys[row]
            if used is not None:
                peer, key = used
                state = self.decoder.exporters[self.exporters[peer]]
                state.template(key)
                state.sequence(key[0], key[1], counts_itself=key[0] == IPFIX)
        self._streams.used[:] = 0

    def _full(self) -> bool:
        return (
            len(self._keys) + kernel.MOST_SETS > _STREAMS
            or len(self.domains) + 1 >= _DOMAINS
            or len(self._planned) >= _LAYOUTS
            or self._numbers > _NUMBERS
            or self._outdated > _OUTDATED
        )

    def _forget(self) -> None:
        """Begin anew: everything is asked for when it is met."""
        for sequence in self._adopted:
            sequence.state = sequence.state.copy()
        self.domains, self._adopted = [], []
        self._domain_rows.clear()
        self._planned.clear()
        self._streams.row[:] = -1
        self._streams.layout[: len(self._keys)] = -1
        self._streams.used[: len(self._keys)] = 0
        self._keys.clear()
        self._spans.clear()
        self._numbers = self._outdated = 0


def _kind(packet: Octets) -> int:
    """What a packet begins with."""
    version = (int(packet[0]) << 8) | int(packet[1])
    if version not in _KNOWN_VERSIONS:
        return OTHERS
    at = _BODY[version]
    return TEMPLATES if not packet[at] and packet[at + 1] < _MOST_TEMPLATE_SETS else OTHERS


def _counts(number: int, content: memoryview, version: int, layout: Layout | None) -> tuple[int, int] | None:
    """How many template and options records a set holds; None when it is another kind of set."""
    if number >= FIRST_DATA_SET:
        if layout is None or not layout.options or layout.varies:
            return None
        return 0, len(content) // layout.length
    if number == TEMPLATE_SETS[version]:
        return sum(1 for _ in parse_templates(content, version)), 0
    if number == OPTIONS_TEMPLATES[version]:
        return sum(1 for _ in parse_options_templates(content, version)), 0
    return None


def _streams(rows: int) -> Streams:
    return Streams(
        key=np.zeros((2 * rows, 2), np.uint64),
        row=np.full(2 * rows, -1, np.int32),
        layout=np.full(rows, -1, np.int32),
        sequence=np.zeros(rows, np.int32),
        interval=np.zeros(rows),
        samplers=np.zeros((rows, 2), np.int32),
        interfaces=np.zeros((rows, 2), np.int32),
        boot_s=np.zeros(rows),
        counts=np.zeros((rows, 2), np.int32),
        used=np.zeros(rows, np.uint8),
        number=np.zeros(0, np.uint64),
        number_interval=np.zeros(0),
    )


def _columns(room: int) -> Columns:
    return Columns(
        peer=np.zeros(room, np.int32),
        domain=np.zeros(room, np.int32),
        octets=np.zeros(room, np.uint64),
        sampling=np.ones(room),
        dscp=np.zeros(room, np.uint8),
        in_if=np.zeros(room, np.uint64),
        egress=np.zeros(room, np.bool_),
        family=np.zeros(room, np.uint8),
        dst4=np.zeros(room, np.uint32),
        dst6=np.zeros((room, 2), np.uint64),
        start=np.zeros(room),
        end=np.zeros(room),
    )


def _first(columns: Columns, count: int) -> Columns:
    return Columns._make(column[:count] for column in columns)
