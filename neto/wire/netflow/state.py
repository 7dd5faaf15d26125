"""What is remembered of exporters between datagrams: all of it bounded, the least recently used goes first."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from neto.wire.netflow.records import Clock
from neto.wire.netflow.sampling import Samplers
from neto.wire.netflow.sequence import Sequence
from neto.wire.netflow.templates import FIRST_DATA_SET, Layout

MAX_EXPORTERS = 4096
MAX_TEMPLATES = 1024  # of one exporter, over all its domains
MAX_DOMAINS = 1024  # of one exporter
MAX_WAITING = 1 << 20  # octets of data that came before its template
WAIT_S = 60.0  # how long it is kept for

Key = TypeVar("Key")
Value = TypeVar("Value")
TemplateKey = tuple[int, int, int]  # version, domain, template


class Exporter:
    """Templates, samplers and sequences of one exporter, by version and observation domain, not by source port."""

    __slots__ = ("_boots", "_changes", "_kinds", "_sequences", "_templates", "samplers")

    def __init__(self) -> None:
        self.samplers = Samplers()
        self._changes = 0
        self._templates: OrderedDict[TemplateKey, Layout] = OrderedDict()
        self._kinds: dict[tuple[int, int, bool], set[int]] = {}  # numbers, by version, domain and whether of options
        self._sequences: OrderedDict[tuple[int, int], Sequence] = OrderedDict()
        self._boots: OrderedDict[int, float] = OrderedDict()

    def template(self, key: TemplateKey) -> Layout | None:
        """Find a template that is in use."""
        layout = self._templates.get(key)
        if layout is not None:
            self._templates.move_to_end(key)
        return layout

    def learn(self, key: TemplateKey, layout: Layout) -> None:
        """Remember a template, in place of an older one of its number."""
        older = self._templates.get(key)
        if older is not layout:
            self._changes += 1
            if older is not None:
                self._gone(key, older)
            self._kinds.setdefault((*key[:2], layout.options), set()).add(key[2])
            self._templates[key] = layout
            if len(self._templates) > MAX_TEMPLATES:
                self._gone(*self._templates.popitem(last=False))
        self._templates.move_to_end(key)

    def forget(self, version: int, domain: int, number: int, *, options: bool) -> None:
        """Drop a withdrawn template, or with a number below 256 all of its kind in the domain (RFC 7011 §8.1)."""
        numbers = [number] if number >= FIRST_DATA_SET else list(self._kinds.get((version, domain, options), ()))
        for each in numbers:
            key = (version, domain, each)
            layout = self._templates.get(key)
            if layout is not None and layout.options == options:
                del self._templates[key]
                self._gone(key, layout)
                self._changes += 1

    def _gone(self, key: TemplateKey, layout: Layout) -> None:
        kind = (*key[:2], layout.options)
        self._kinds[kind].discard(key[2])
        if not self._kinds[kind]:
            del self._kinds[kind]

    def sequence(self, version: int, domain: int, *, counts_itself: bool) -> Sequence:
        """Find or begin the sequence of a domain."""
        key = (version, domain)
        found = self._sequences.get(key) or Sequence(counts_itself=counts_itself)
        self._changes += _remember(self._sequences, key, found, MAX_DOMAINS)
        return found

    @property
    def revision(self) -> int:
        """Another one whenever packets may mean something else than before."""
        return self._changes + self.samplers.changes

    @property
    def templates(self) -> Mapping[TemplateKey, Layout]:
        """Templates that are in use, the least recently used first."""
        return self._templates

    @property
    def boots(self) -> Mapping[int, float]:
        """When uptimes began (unix seconds), by domain."""
        return self._boots

    @property
    def sequences(self) -> Mapping[tuple[int, int], Sequence]:
        """Sequences by version and domain."""
        return self._sequences

    def booted(self, domain: int, boot_s: float) -> None:
        """Remember when the uptime of a domain began (unix seconds), as its options say."""
        self._changes += self._boots.get(domain) != boot_s
        _remember(self._boots, domain, boot_s, MAX_DOMAINS)

    def boot_s(self, domain: int) -> float | None:
        """Unix seconds at which the uptime of a domain began; None when it has not told."""
        return self._boots.get(domain)


class Exporters:
    """Every exporter, by address."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Exporter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def items(self) -> Iterable[tuple[str, Exporter]]:
        """Return what is remembered, the least recently used first."""
        return self._known.items()

    def __getitem__(self, address: str) -> Exporter:
        found = self._known.get(address) or Exporter()
        _remember(self._known, address, found, MAX_EXPORTERS)
        return found


@dataclass(frozen=True, slots=True)
class WaitingSet:
    """A data set whose template is not known yet."""

    body: bytes
    clock: Clock
    arrived: float


class WaitingRoom:
    """Data sets that came before their template, in order of arrival.

    counts: how many wait for each template.
    """

    def __init__(self) -> None:
        self._sets: OrderedDict[int, tuple[str, TemplateKey, WaitingSet]] = OrderedDict()  # by number of arrival
        self._numbers: dict[tuple[str, TemplateKey], deque[int]] = {}
        self._arrived = 0
        self.counts: Counter[tuple[str, TemplateKey]] = Counter()
        self.given_up: Counter[str] = Counter()  # sets, by exporter
        self._octets = 0

    def add(self, exporter: str, key: TemplateKey, waiting: WaitingSet) -> int:
        """Keep a set; return how many older ones were given up for it."""
        self._arrived += 1
        self._sets[self._arrived] = (exporter, key, waiting)
        self._numbers.setdefault((exporter, key), deque()).append(self._arrived)
        self.counts[exporter, key] += 1
        self._octets += _weight(waiting)
        given_up = 0
        while self._octets > MAX_WAITING:
            self._drop_oldest()
            given_up += 1
        return given_up

    def take(self, exporter: str, key: TemplateKey) -> tuple[WaitingSet, ...]:
        """Take what waits for a template."""
        if not self.counts.pop((exporter, key), 0):
            return ()
        taken = tuple(self._sets.pop(number)[2] for number in self._numbers.pop((exporter, key)))
        self._octets -= sum(map(_weight, taken))
        return taken

    def expire(self, now: float) -> int:
        """Give up what waited too long; return how many."""
        given_up = 0
        while self._sets and next(iter(self._sets.values()))[2].arrived < now - WAIT_S:
            self._drop_oldest()
            given_up += 1
        return given_up

    def _drop_oldest(self) -> None:
        _, (exporter, key, waiting) = self._sets.popitem(last=False)
        numbers = self._numbers[exporter, key]
        numbers.popleft()
        if not numbers:
            del self._numbers[exporter, key]
        if exporter in self.given_up or len(self.given_up) < MAX_EXPORTERS:
            self.given_up[exporter] += 1
        self._octets -= _weight(waiting)
        self.counts[exporter, key] -= 1
        if not self.counts[exporter, key]:
            del self.counts[exporter, key]


def _weight(waiting: WaitingSet) -> int:
    return len(waiting.body) + 256  # what Python needs beside the octets


def _remember(known: OrderedDict[Key, Value], key: Key, value: Value, limit: int) -> int:
    """Remember a value; return how many older ones went for it."""
    known[key] = value
    known.move_to_end(key)
    gone = max(0, len(known) - limit)
    for _ in range(gone):
        known.popitem(last=False)
    return gone
