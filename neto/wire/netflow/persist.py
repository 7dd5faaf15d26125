"""What a decoder has learned of exporters, as a document: so that a restart is not blind until they repeat it.

Templates are written as the template records that exporters send, and read by the same parser: a file is as hostile as
a datagram. What is older than half an hour is not believed: exporters repeat templates more often than that, and may
have given their numbers to others meanwhile.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated

import msgspec

from neto.errors import WireError
from neto.wire.netflow.records import LONGEST_INTERVAL
from neto.wire.netflow.state import MAX_DOMAINS, MAX_EXPORTERS, MAX_TEMPLATES, Exporter, Exporters
from neto.wire.netflow.templates import FIRST_DATA_SET, Layout, Source, parse_options_templates, parse_templates

MAX_AGE_S = 1800.0
MAX_DOCUMENT = 64 << 20  # octets
_VERSION = 1
_MOST_TEMPLATES = 100_000  # of all exporters; those that were heard last count
_MOST_SAMPLERS = 8192  # of one exporter
_U16, _U32 = 1 << 16, 1 << 32

_Domain = Annotated[int, msgspec.Meta(ge=0, lt=_U32)]
_Number = Annotated[int, msgspec.Meta(ge=256, lt=_U16)]
_Index = Annotated[int, msgspec.Meta(ge=0)]


class _LayoutDocument(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    version: Annotated[int, msgspec.Meta(ge=9, le=10)]
    options: bool
    scope: Annotated[int, msgspec.Meta(ge=0, lt=_U16)]
    specifiers: Annotated[str, msgspec.Meta(max_length=2 * _U16, pattern="^([0-9a-f]{2})*$")]


class _SamplerDocument(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    domain: _Domain | None
    kind: Annotated[str, msgspec.Meta(pattern="^(sampler|interface|template|domain)$")]
    number: Annotated[int, msgspec.Meta(ge=0)]
    interval: Annotated[float, msgspec.Meta(ge=1, le=LONGEST_INTERVAL)]


class _ExporterDocument(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    templates: Annotated[list[tuple[_Domain, _Number, _Index]], msgspec.Meta(max_length=MAX_TEMPLATES)]
    samplers: Annotated[list[_SamplerDocument], msgspec.Meta(max_length=_MOST_SAMPLERS)]
    boots: Annotated[list[tuple[_Domain, float]], msgspec.Meta(max_length=MAX_DOMAINS)]


class _Document(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    version: int
    at: float
    layouts: list[_LayoutDocument]
    exporters: Annotated[list[_ExporterDocument], msgspec.Meta(max_length=MAX_EXPORTERS)]


class Remembered(msgspec.Struct, frozen=True):
    """What is to be written down: a copy, so that it can be encoded in a thread."""

    at: float
    sources: list[Source]
    exporters: list[_ExporterDocument]


def remember(exporters: Exporters, now: float) -> Remembered:
    """Copy what is worth keeping. now: unix seconds."""
    sources: dict[Source, int] = {}
    documents: list[_ExporterDocument] = []
    room = _MOST_TEMPLATES
    for address, exporter in reversed(list(exporters.items())):
        templates = [
            (domain, number, sources.setdefault(layout.source, len(sources)))
            for (_, domain, number), layout in exporter.templates.items()
        ]
        room -= len(templates)
        if room < 0:
            break
        samplers = [_SamplerDocument(*key, interval) for key, interval in exporter.samplers.known.items()]
        documents.append(_ExporterDocument(address, templates, samplers, list(exporter.boots.items())))
    return Remembered(now, list(sources), documents[::-1])


def encode(remembered: Remembered) -> bytes:
    """Write the document."""
    layouts = [_LayoutDocument(s.version, s.options, s.scope, s.specifiers.hex()) for s in remembered.sources]
    return msgspec.json.encode(_Document(_VERSION, remembered.at, layouts, remembered.exporters))


def restore(document: bytes, exporters: Exporters, now: float) -> int:
    """Let a new decoder know what an old one knew; return how many templates that are.

    Raises WireError when the document is damaged, of another version or too old; nothing of it is taken then.
    """
    if len(document) > MAX_DOCUMENT:
        raise WireError(f"{len(document)} octets; expected at most {MAX_DOCUMENT}")
    try:
        read = msgspec.json.decode(document, type=_Document)
    except (msgspec.DecodeError, ValueError) as error:  # msgspec leaves broken UTF-8 to Python
        raise WireError(f"no state of a flow decoder: {error}") from error
    if read.version != _VERSION:
        raise WireError(f"version {read.version}; expected {_VERSION}")
    if not 0 <= now - read.at <= MAX_AGE_S:
        raise WireError(f"written {now - read.at:.0f} s ago; expected at most {MAX_AGE_S:.0f}")
    layouts = [(layout.version, _layout(layout)) for layout in read.layouts]
    if any(index >= len(layouts) for each in read.exporters for _, _, index in each.templates):
        raise WireError("a template of a layout that is not there")
    return sum(_restore(each, exporters[each.address], layouts) for each in read.exporters)


def _restore(told: _ExporterDocument, exporter: Exporter, layouts: Sequence[tuple[int, Layout]]) -> int:
    """Let one exporter be known again; what it has told since counts for more. Returns how many templates it had."""
    count = 0
    for domain, number, index in told.templates:
        version, layout = layouts[index]
        if (version, domain, number) not in exporter.templates:
            exporter.learn((version, domain, number), layout)
            count += 1
    exporter.samplers.restore(((s.domain, s.kind, s.number), s.interval) for s in told.samplers)
    for domain, boot_s in told.boots:
        if domain not in exporter.boots:
            exporter.booted(domain, boot_s)
    return count


def _layout(told: _LayoutDocument) -> Layout:
    """Compile a layout, as from a template record of an exporter. Raises WireError."""
    source = Source(told.version, told.scope, told.options, bytes.fromhex(told.specifiers))
    parse = parse_options_templates if told.options else parse_templates
    try:
        templates = list(parse(memoryview(source.record(FIRST_DATA_SET)), told.version))
    except struct.error as error:
        raise WireError(f"a layout that is no template: {error}") from error
    if len(templates) != 1 or templates[0].layout is None:
        raise WireError("a layout that is no template")
    return templates[0].layout
