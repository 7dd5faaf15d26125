"""Datagrams -> flow records. NetFlow v5, v9 (RFC 3954), IPFIX (RFC 7011), sFlow 5.

What is malformed becomes a WireError in the answer and a number in `counters`: nothing is raised, and what stands
beside it in the same datagram is decoded still. State is kept by (exporter, version, observation domain).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from neto.errors import WireError
from neto.wire.netflow import elements as e
from neto.wire.netflow import sections, sflow, v5
from neto.wire.netflow.records import Clock, Flows, Records
from neto.wire.netflow.samples import Sources
from neto.wire.netflow.sequence import Arrival
from neto.wire.netflow.state import Exporter, Exporters, TemplateKey, WaitingRoom, WaitingSet
from neto.wire.netflow.templates import (
    FIRST_DATA_SET,
    IPFIX,
    SFLOW,
    V5,
    V9,
    Layout,
    Template,
    parse_options_templates,
    parse_templates,
)

_V9_HEADER = struct.Struct("!HHIIII")  # version, count, uptime ms, seconds, sequence, source id (RFC 3954 §5.1)
_IPFIX_HEADER = struct.Struct("!HHIII")  # version, length, seconds, sequence, domain (RFC 7011 §3.1)
_SET_HEADER = struct.Struct("!HH")  # id, length with this header
TEMPLATE_SETS = {V9: 0, IPFIX: 2}
OPTIONS_TEMPLATES = {V9: 1, IPFIX: 3}


@dataclass(slots=True)
class Counters:
    """What came in, and what became of it."""

    messages: int = 0
    records: int = 0  # flow records
    options_records: int = 0
    templates: int = 0  # template records, repeated ones too
    errors: int = 0  # things that no conforming exporter sends
    undecoded_sets: int = 0  # data sets given up for want of a template
    reserved_sets: int = 0  # sets of a kind that no version defines
    gaps: int = 0  # in sequence numbers
    lost_flows: int = 0  # v5: flows, IPFIX: data records, as sequence numbers say
    lost_packets: int = 0  # v9 and sFlow
    late_messages: int = 0
    restarts: int = 0  # of a sequence
    refused: int = 0  # messages of exporters that caused too much work, not looked at
    other_samples: int = 0  # of sFlow: counters, and packets that are not IP

    def as_dict(self) -> dict[str, int]:
        """Every counter by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one datagram said, and what it let us read of earlier ones."""

    flows: tuple[Flows, ...]
    problems: tuple[WireError, ...]


@dataclass(frozen=True, slots=True)
class _Message:
    """Header of one message, and who sent it when."""

    exporter: str
    version: int
    domain: int
    sequence: int
    clock: Clock
    now: float


class Decoder:
    """Decodes the datagrams of any number of exporters."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.sources = Sources()
        self._exporters = Exporters()
        self._waiting = WaitingRoom()

    @property
    def exporters(self) -> Exporters:
        """What is remembered of every exporter."""
        return self._exporters

    @property
    def given_up(self) -> Mapping[str, int]:
        """Data sets given up for want of a template, by exporter."""
        return self._waiting.given_up

    @property
    def waiting(self) -> Mapping[tuple[str, TemplateKey], int]:
        """Data sets that still wait, by exporter and (version, domain, template) of the template they wait for."""
        return self._waiting.counts

    def decode(self, packet: bytes, exporter: str, now: float) -> Decoded:
        """Decode one datagram.

        exporter: source address, without the port. now: when it came (seconds of any clock that goes forward).
        """
        self.expire(now)
        work = _Work()
        rest = memoryview(packet)
        first = True
        # Exporters put one message in a datagram; captures of them are found with several, one after the other.
        while first or any(rest):
            first = False
            try:
                rest = self._message(rest, exporter, now, work)
            except WireError as error:
                work.problems.append(error)
                break
        self.counters.errors += len(work.problems)
        return Decoded(tuple(work.flows), tuple(work.problems))

    def expire(self, now: float) -> None:
        """Give up data that has waited too long for its template."""
        self.counters.undecoded_sets += self._waiting.expire(now)

    def _message(self, packet: memoryview, exporter: str, now: float, work: _Work) -> memoryview:
        """Decode the message at the start of `packet`; return what follows it."""
        version = int.from_bytes(packet[:2], "big") if len(packet) >= 2 else -1  # noqa: PLR2004 the version's octets
        if version == V5:
            return self._v5(packet, exporter, now, work)
        if version == V9:
            return self._v9(packet, exporter, now, work)
        if version == IPFIX:
            return self._ipfix(packet, exporter, now, work)
        if packet[:4] == sflow.HEADER:
            return self._sflow(packet, exporter, now, work)
        if version < 0:
            raise WireError(f"{len(packet)} octets; expected a version and a header")
        raise WireError(f"version {version}; expected NetFlow 5 or 9, IPFIX (10), or sFlow 5")

    def _v5(self, packet: memoryview, exporter: str, now: float, work: _Work) -> memoryview:
        if len(packet) < v5.HEADER.size:
            raise WireError(f"v5 header of {len(packet)} octets; expected {v5.HEADER.size}")
        _, count, uptime, seconds, nanoseconds, sequence, kind, engine, sampling = v5.HEADER.unpack_from(packet)
        end = v5.HEADER.size + count * v5.LAYOUT.length
        if not count or end > len(packet):
            held = (len(packet) - v5.HEADER.size) // v5.LAYOUT.length
            raise WireError(f"v5 header says {count} records and {held} are there")
        self.counters.messages += 1
        message = _Message(
            exporter, V5, kind << 8 | engine, sequence, Clock(seconds + nanoseconds / 1e9, uptime_ms=uptime), now
        )
        rows, _ = v5.LAYOUT.view([packet[v5.HEADER.size : end]])
        interval = sampling & v5.INTERVAL_MASK
        work.flows.append(
            Flows(
                exporter,
                V5,
                message.domain,
                0,
                Records(rows),
                message.clock,
                np.full(count, max(interval, 1), np.float64),
                np.full(count, interval > 0),
            )
        )
        self.counters.records += count
        self._arrived(message, (count,))
        return packet[end:]

    def _v9(self, packet: memoryview, exporter: str, now: float, work: _Work) -> memoryview:
        if len(packet) < _V9_HEADER.size:
            raise WireError(f"v9 header of {len(packet)} octets; expected {_V9_HEADER.size}")
        _, _, uptime, seconds, sequence, domain = _V9_HEADER.unpack_from(packet)
        message = _Message(exporter, V9, domain, sequence, Clock(float(seconds), uptime_ms=uptime), now)
        self.counters.messages += 1
        self._sets(packet[_V9_HEADER.size :], message, work)
        self._arrived(message, (1,))
        return packet[len(packet) :]

    def _ipfix(self, packet: memoryview, exporter: str, now: float, work: _Work) -> memoryview:
        if len(packet) < _IPFIX_HEADER.size:
            raise WireError(f"IPFIX header of {len(packet)} octets; expected {_IPFIX_HEADER.size}")
        _, length, seconds, sequence, domain = _IPFIX_HEADER.unpack_from(packet)
        if length < _IPFIX_HEADER.size:
            raise WireError(f"IPFIX message of {length} octets; expected {_IPFIX_HEADER.size} or more")
        message = _Message(exporter, IPFIX, domain, sequence, Clock(float(seconds)), now)
        self.counters.messages += 1
        if length > len(packet):
            work.problems.append(WireError(f"IPFIX message says {length} octets and {len(packet)} are there"))
        units = self._sets(packet[_IPFIX_HEADER.size : length], message, work)
        self._arrived(message, units if length <= len(packet) else None)
        return packet[length:]

    def _sflow(self, packet: memoryview, exporter: str, now: float, work: _Work) -> memoryview:
        datagram = sflow.parse(packet)
        self.counters.messages += 1
        self.counters.other_samples += datagram.others
        message = _Message(exporter, SFLOW, datagram.sub_agent, datagram.sequence, Clock(now), now)
        rows, _ = sflow.LAYOUT.view([memoryview(datagram.rows)])
        if len(rows):
            self._emit(0, Records(rows), message, self._exporters[exporter], work)
        if datagram.problem is not None:
            work.problems.append(datagram.problem)
        domain = numbering(datagram.agent, datagram.sub_agent, exporter)
        self._arrived(replace(message, domain=domain), (1,))
        losses = self._exporters[exporter].sequence(SFLOW, domain, counts_itself=False).state
        self.sources.arrived(exporter, packet, datagram.numbered, losses)
        return packet[len(packet) :]

    def _sets(self, body: memoryview, message: _Message, work: _Work) -> tuple[int, ...] | None:
        """Decode every set of a message; return how many data records it held: all, and those of flows.

        None when that cannot be told. Flow records come last: what the message's options say of sampling and clocks
        holds for its own flows.
        """
        state = self._exporters[message.exporter]
        others: list[int | None] = []
        flow_sets: dict[tuple[int, Layout], list[memoryview]] = {}  # sets of one template are decoded as one
        try:
            for number, content in split(body):
                layout = state.template((message.version, message.domain, number))
                if layout is None:
                    others.append(self._set(number, content, message, state, work))
                elif layout.options:
                    others.append(self._options_data(number, layout, [content], message, state, work))
                else:
                    flow_sets.setdefault((number, layout), []).append(content)
        except WireError as error:  # where the next set begins is not known
            work.problems.append(error)
            others.append(None)
        of_flows = [self._flow_data(*of, contents, message, state, work) for of, contents in flow_sets.items()]
        if None in others or None in of_flows:
            return None
        flows = sum(count for count in of_flows if count is not None)
        return flows + sum(count for count in others if count is not None), flows

    def _set(self, number: int, content: memoryview, message: _Message, state: Exporter, work: _Work) -> int | None:
        """Take a set that no known template is for; return how many data records it held, None if any."""
        version = message.version
        if number >= FIRST_DATA_SET:
            key = (version, message.domain, number)
            waiting = WaitingSet(bytes(content), message.clock, message.now)
            self.counters.undecoded_sets += self._waiting.add(message.exporter, key, waiting)
            return None
        options = number == OPTIONS_TEMPLATES[version]
        if not options and number != TEMPLATE_SETS[version]:
            self.counters.reserved_sets += 1
            return None
        try:
            for template in (parse_options_templates if options else parse_templates)(content, version):
                self._learn(template, message, state, work, options=options)
        except WireError as error:
            work.problems.append(error)
        return 0

    def _learn(self, template: Template, message: _Message, state: Exporter, work: _Work, *, options: bool) -> None:
        """Remember or forget a template, and decode what waited for it."""
        self.counters.templates += 1
        layout = template.layout
        if layout is None:
            state.forget(message.version, message.domain, template.number, options=options)
            return
        key = (message.version, message.domain, template.number)
        state.learn(key, layout)
        decode = self._options_data if layout.options else self._flow_data
        for waiting in self._waiting.take(message.exporter, key):
            earlier = replace(message, clock=waiting.clock)
            decode(template.number, layout, [memoryview(waiting.body)], earlier, state, work)

    def _options_data(
        self,
        number: int,
        layout: Layout,
        contents: Sequence[memoryview],
        message: _Message,
        state: Exporter,
        work: _Work,
    ) -> int | None:
        """Take in what an exporter says of itself; return how many records it took."""
        records, whole = _view(number, layout, contents, work)
        self.counters.options_records += len(records)
        state.samplers.announced(message.domain, records)
        if len(records) and records.has(e.SYSTEM_INIT_MS):
            state.booted(message.domain, float(records.unsigned(e.SYSTEM_INIT_MS)[-1]) / 1e3)
        return len(records) if whole else None

    def _flow_data(
        self,
        number: int,
        layout: Layout,
        contents: Sequence[memoryview],
        message: _Message,
        state: Exporter,
        work: _Work,
    ) -> int | None:
        """Decode the flow records of one template; return how many there are."""
        records, whole = _view(number, layout, contents, work)
        if len(records):
            if layout.section is not None:
                records = sections.flows(records, list(layout.sections(contents)), layout.section)
            self._emit(number, records, message, state, work)
        return len(records) if whole else None

    def _emit(self, number: int, records: Records, message: _Message, state: Exporter, work: _Work) -> None:
        """Tell of flow records."""
        self.counters.records += len(records)
        domain = message.domain
        sampling, told = state.samplers.of(domain, number, records)
        clock = message.clock if message.version == V9 else replace(message.clock, boot_s=state.boot_s(domain))
        work.flows.append(Flows(message.exporter, message.version, domain, number, records, clock, sampling, told))

    def _arrived(self, message: _Message, units: tuple[int, ...] | None) -> None:
        """Compare the message's sequence number with what was expected."""
        state = self._exporters[message.exporter]
        sequence = state.sequence(message.version, message.domain, counts_itself=message.version == IPFIX)
        arrival, missing = sequence.arrived(message.sequence, units)
        counters = self.counters
        counters.gaps += arrival is Arrival.GAP
        counters.late_messages += arrival is Arrival.LATE
        counters.restarts += arrival is Arrival.RESTART
        if message.version in {V9, SFLOW}:
            counters.lost_packets += missing
        else:
            counters.lost_flows += missing


def numbering(agent: bytes, sub_agent: int, exporter: str) -> int:
    """Say in which domain an sFlow agent numbers its datagrams: behind a relay each agent does by itself."""
    family = socket.AF_INET if len(agent) == 4 else socket.AF_INET6  # noqa: PLR2004 octets of an IPv4 address
    relayed = socket.inet_ntop(family, agent) != exporter
    return int.from_bytes(agent, "big") << 32 | sub_agent if relayed else sub_agent


class _Work:
    """What has been read of the datagram at hand."""

    __slots__ = ("flows", "problems")

    def __init__(self) -> None:
        self.flows: list[Flows] = []
        self.problems: list[WireError] = []


def _view(number: int, layout: Layout, contents: Sequence[memoryview], work: _Work) -> tuple[Records, bool]:
    """See the records of sets of one template; whether they end with their sets."""
    rows, problems = layout.view(contents)
    work.problems += [WireError(f"set {number}: {problem}") for problem in problems]
    return Records(rows), not problems


def split(body: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Take a message's sets apart: (id, content).

    Zeros after the last set are padding. Raises WireError where a set cannot be framed.
    """
    at = 0
    while len(body) - at >= _SET_HEADER.size:
        number, length = _SET_HEADER.unpack_from(body, at)
        if length < _SET_HEADER.size or at + length > len(body):
            if not any(body[at:]):
                return
            raise WireError(f"set {number} at octet {at} says {length} octets; {len(body) - at} are left")
        yield number, body[at + _SET_HEADER.size : at + length]
        at += length
    if any(body[at:]):
        raise WireError(f"{len(body) - at} octets after the last set")
