"""`neto flows`: what an exporter really sends, from captures of it."""

from __future__ import annotations

import heapq
import itertools
import json
import math
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console, Group, RenderableType
from rich.text import Text

from neto.cli.tables import table
from neto.errors import InputError, Problem
from neto.wire.netflow import Decoder, Flows
from neto.wire.netflow.templates import SFLOW
from neto.wire.pcap import Capture, is_capture

FORMAT = "neto-flows/1"
_LARGEST = 20  # flows shown
_PROBLEMS = 20  # lines shown
_HEAD = 12  # octets that tell a capture
_NAMED_CAPTURE = frozenset({".pcap", ".pcapng", ".cap"})

Flow = dict[str, Any]


def flows(
    files: Annotated[list[Path], typer.Argument(help="Captures (.pcap), else one UDP payload a file; in this order.")],
    out: Annotated[Path | None, typer.Option("--json", help="Write every flow here; - for standard output.")] = None,
) -> None:
    """Decode captured NetFlow v5, v9, IPFIX and sFlow v5 packets."""
    reading = Reading()
    sources = [_source(path) for path in files]
    problems = [source for source in sources if isinstance(source, Problem)]
    if problems:
        raise InputError(problems)
    with _open(out) as stream:
        _write(reading.read([source for source in sources if isinstance(source, Source)]), reading, stream)
    if out is None:
        Console().print(_report(reading))


@dataclass(frozen=True, slots=True)
class Source:
    """One file: frames of a capture, or one payload."""

    path: Path
    is_capture: bool


@dataclass(slots=True)
class Reading:
    """What has been read of all files so far."""

    decoder: Decoder = field(default_factory=Decoder)
    octets: int = 0
    packets: int = 0
    damaged: int = 0  # files that stop making sense
    sampling_unknown: int = 0  # records
    problems: dict[str, tuple[str, int]] = field(default_factory=dict)  # what is wrong: where first, and how often
    skipped: Counter[str] = field(default_factory=Counter)  # frames that hold no UDP datagram
    records: Counter[tuple[str, int, int]] = field(default_factory=Counter)  # by exporter, version, domain
    largest: list[tuple[float, int, Flow]] = field(default_factory=list)  # a heap: octets before sampling, serial
    serial: Iterator[int] = field(default_factory=itertools.count)

    def read(self, sources: Sequence[Source]) -> Iterator[Flow]:
        """Yield every flow, with template state carried from file to file."""
        for source in sources:
            for exporter, payload in self._payloads(source):
                # Captured data may wait for its template to the end: no clock runs here.
                decoded = self.decoder.decode(payload, exporter, now=0.0)
                for problem in decoded.problems:
                    self._note(f"{source.path}: {exporter}", str(problem))
                for batch in decoded.flows:
                    yield from self._count(batch)

    @property
    def totals(self) -> dict[str, int]:
        """The totals of the file format."""
        counters = self.decoder.counters
        undecoded = counters.undecoded_sets + counters.reserved_sets + sum(self.decoder.waiting.values())
        return {
            "messages": counters.messages,
            "records": counters.records,
            "octets": self.octets,
            "packets": self.packets,
            "undecoded_sets": undecoded,
            "errors": counters.errors + self.damaged,
        }

    def _payloads(self, source: Source) -> Iterator[tuple[str, bytes]]:
        data = source.path.read_bytes()
        if not source.is_capture:
            yield "file", data
            return
        capture = Capture(data)
        for datagram in capture.datagrams():
            yield datagram.src, datagram.payload
        self.skipped += capture.skipped
        if capture.damage:
            self.damaged += 1
            self._note(str(source.path), capture.damage)

    def _note(self, where: str, problem: str) -> None:
        """Keep what is wrong, the first kinds of it; all of it is in the totals."""
        first, count = self.problems.get(problem, (where, 0))
        if count or len(self.problems) < _PROBLEMS:
            self.problems[problem] = (first, count + 1)

    def _count(self, batch: Flows) -> Iterator[Flow]:
        self.records[batch.exporter, batch.version, batch.domain] += len(batch)
        self.sampling_unknown += int((~batch.sampling_told).sum())
        for flow in _rows(batch):
            self.octets += flow["octets"]
            self.packets += flow["packets"]
            heapq.heappush(self.largest, (flow["octets"] * flow["sampling"], next(self.serial), flow))
            if len(self.largest) > _LARGEST:
                heapq.heappop(self.largest)
            yield flow


def _source(path: Path) -> Source | Problem:
    try:
        with path.open("rb") as file:
            source = Source(path, is_capture(file.read(_HEAD)))
    except OSError as error:
        return Problem(str(path), 0, "", f"cannot be read: {error.strerror}; accepted: a capture or a UDP payload")
    if path.suffix in _NAMED_CAPTURE and not source.is_capture:
        return Problem(str(path), 0, "", "is no capture; accepted: pcap or pcapng, or another suffix for a UDP payload")
    return source


def _open(out: Path | None) -> Any:
    """Where flows are written; nowhere without `out`."""
    if out is None:
        return nullcontext(None)
    if str(out) == "-":
        return nullcontext(sys.stdout)
    try:
        return out.open("w", encoding="utf-8")
    except OSError as error:
        raise InputError([Problem(str(out), 0, "", f"cannot be written: {error.strerror}")]) from error


def _write(flows_read: Iterator[Flow], reading: Reading, stream: TextIO | None) -> None:
    """Write flows as they are read, so that a capture of any size takes no more memory; totals come last."""
    if stream is None:
        for _ in flows_read:
            pass
        return
    stream.write(f'{{"format": "{FORMAT}",\n "flows": [')
    separator = "\n  "
    for flow in flows_read:
        stream.write(separator + json.dumps(flow))
        separator = ",\n  "
    counters = reading.decoder.counters.as_dict() | {"sampling_unknown": reading.sampling_unknown}
    waiting = [
        {"exporter": exporter, "version": version, "domain": domain, "template": template, "sets": sets}
        for (exporter, (version, domain, template)), sets in reading.decoder.waiting.items()
    ]
    tail = {
        "totals": reading.totals,
        "counters": counters,
        "waiting": waiting,
        "skipped_frames": dict(reading.skipped),
        "problems": [
            {"problem": problem, "first": first, "count": count} for problem, (first, count) in reading.problems.items()
        ],
    }
    stream.write(
        "],\n " + ",\n ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in tail.items()) + "}\n"
    )


def _rows(batch: Flows) -> Iterator[Flow]:
    """The records of a batch as the file format has them."""
    columns = zip(
        _addresses(batch, batch.src4, batch.src6),
        _addresses(batch, batch.dst4, batch.dst6),
        batch.octets.tolist(),
        batch.packets.tolist(),
        batch.tos.tolist(),
        batch.in_if.tolist(),
        batch.out_if.tolist(),
        batch.sampling.tolist(),
        batch.sampling_told.tolist(),
        batch.start.tolist(),
        batch.end.tolist(),
        strict=True,
    )
    for src, dst, octets, packets, tos, in_if, out_if, sampling, told, start, end in columns:
        yield {
            "exporter": batch.exporter,
            "version": "sflow" if batch.version == SFLOW else batch.version,
            "domain": batch.domain,
            "template": batch.template,
            "src": src,
            "dst": dst,
            "octets": octets,
            "packets": packets,
            "tos": tos,
            "in_if": in_if,
            "out_if": out_if,
            "sampling": int(sampling) if sampling.is_integer() else sampling,
            "sampling_told": told,
            "start": None if math.isnan(start) else round(start, 6),
            "end": None if math.isnan(end) else round(end, 6),
        }


def _addresses(batch: Flows, v4: Any, v6: Any) -> list[str | None]:
    """Addresses as text; None where a record has none."""
    texts: list[str | None] = []
    for row, family in enumerate(batch.family.tolist()):
        if family == 4 and v4 is not None:  # noqa: PLR2004 IPv4
            texts.append(socket.inet_ntoa(int(v4[row]).to_bytes(4, "big")))
        elif family == 6 and v6 is not None:  # noqa: PLR2004 IPv6
            texts.append(socket.inet_ntop(socket.AF_INET6, bytes(v6[row]).ljust(16, b"\0")))
        else:
            texts.append(None)
    return texts


def _report(reading: Reading) -> RenderableType:
    """Totals, who exported, the largest flows, and what went wrong."""
    totals = table(
        "Totals", reading.totals, [[f"{value:,}" for value in reading.totals.values()]], right=reading.totals
    )
    exporters = table(
        "Exporters",
        ("exporter", "version", "domain", "records"),
        (
            (exporter, "sflow" if version == SFLOW else str(version), str(domain), f"{count:,}")
            for (exporter, version, domain), count in reading.records.most_common(_LARGEST)
        ),
        right=("version", "domain", "records"),
    )
    largest = table(
        "Largest flows",
        ("from", "to", "octets", "packets", "sampling", "tos", "in", "out", "exporter"),
        ([_cell(flow, key) for key in _SHOWN] for _, _, flow in sorted(reading.largest, key=lambda entry: -entry[0])),
        right=("octets", "packets", "sampling", "tos", "in", "out"),
    )
    counters = reading.decoder.counters
    notes = [
        f"sampling not told for {reading.sampling_unknown:,} of {counters.records:,} records"
        if reading.sampling_unknown
        else "",
        f"sequence numbers tell of {counters.lost_flows:,} lost records and {counters.lost_packets:,} lost packets"
        if counters.gaps
        else "",
        *(
            f"template {template} of {exporter} (version {version}, domain {domain}) never came: {sets} sets"
            for (exporter, (version, domain, template)), sets in reading.decoder.waiting.items()
        ),
        *(f"{count:,} frames skipped: {reason}" for reason, count in reading.skipped.items()),
    ]
    return Group(
        totals,
        "",
        exporters,
        "",
        largest,
        *(Text(note, style="yellow") for note in notes if note),
        *(
            Text(f"{first}: {problem}" + (f" ({count:,} times)" if count > 1 else ""), style="red")
            for problem, (first, count) in reading.problems.items()
        ),
    )


_SHOWN = ("src", "dst", "octets", "packets", "sampling", "tos", "in_if", "out_if", "exporter")


def _cell(flow: Flow, key: str) -> str:
    value = flow[key]
    if value is None:
        return "-"
    if key == "sampling" and not flow["sampling_told"]:
        return "?"
    return f"{value:,}" if key in {"octets", "packets"} else str(value)
