"""Latency samples -> a robust estimate for each prefix group behind each peering link. Sans-IO.

The estimate is a median with its distribution-free confidence interval: of k samples in order, the i-th from below and
the i-th from above hold the median unless more than k - i of them fell on one side of it, which is a matter of tossing
coins (the sign test; Conover, Practical Nonparametric Statistics, §3.2). No distribution is assumed, and a minority of
absurd samples moves neither.

Samples count from the vantage that is the link's own border: what others measure holds their way to it as well.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from neto.model.latency import LatencyEstimate
from neto.model.peering import Peering, Prefix
from neto.wire.samples import Sample

_CONFIDENCE = 0.95
_PER_PAIR = 101  # newest samples that are kept of one group behind one link
_HOLDERS = 50_000  # prefixes of samples of which it is remembered who has them
_AHEAD_S = 5.0  # that a probe's clock may be


@dataclass(frozen=True, slots=True)
class LatencyRules:
    """Which samples count, and which say that what is sent is lost."""

    max_age_s: float = 900.0
    min_samples: int = 6  # below that no interval holds the median with 95 %
    closing_loss: float = 0.5  # share that counts as lost
    closing_samples: int = 3  # that many running


@dataclass(frozen=True, eq=False, slots=True)
class LatencySamples:
    """The samples of one moment; these may be worked on in a thread."""

    rules: LatencyRules
    samples: Mapping[tuple[str, str], Sequence[Sample]]  # by link and group
    newest: Mapping[tuple[str, Prefix], Sequence[Sample]]  # by link and listed prefix
    group: Mapping[Prefix, str]  # of each listed prefix

    def estimates(self, now: float) -> list[LatencyEstimate]:
        """Return what is known at `now`, by link and group; nothing of pairs with too few samples."""
        found = []
        for (link, group), told in sorted(self.samples.items()):
            fresh = [sample for sample in told if now - sample.ts <= self.rules.max_age_s]
            rtts = sorted(sample.rtt_ms for sample in fresh if sample.rtt_ms is not None)
            if len(rtts) < self.rules.min_samples:
                continue
            below, confidence = interval(len(rtts))
            probes = sum(sample.n for sample in fresh)
            found.append(
                LatencyEstimate(
                    peering_link=link,
                    prefix_group=group,
                    rtt_ms=(rtts[(len(rtts) - 1) // 2] + rtts[len(rtts) // 2]) / 2,
                    low_ms=rtts[below],
                    high_ms=rtts[-1 - below],
                    confidence=confidence,
                    loss=sum(sample.loss * sample.n for sample in fresh) / probes,
                    samples=len(rtts),
                    probes=probes,
                    age_s=max(0.0, now - max(sample.ts for sample in fresh)),
                )
            )
        return found

    def failing(self, now: float) -> dict[tuple[str, str], float]:
        """Return the (link, group) pairs that lose what is sent, with the share of the probed prefixes that they lose.

        A prefix is lost through a link when its newest samples there say so, one like the other, and another link's do
        not: what fails behind every link is its own end, or our probes. Of a prefix that no other link's samples tell
        of, its group's stand in, if all that is probed of the group through this link fails.
        """
        dead: dict[str, set[Prefix]] = {}  # by link
        alive: dict[str, set[Prefix]] = {}
        for (link, prefix), told in self.newest.items():
            fresh = [sample for sample in told if now - sample.ts <= self.rules.max_age_s]
            if any(sample.loss < self.rules.closing_loss for sample in fresh):
                alive.setdefault(link, set()).add(prefix)
            elif len(fresh) == self.rules.closing_samples:
                dead.setdefault(link, set()).add(prefix)
        reached = {prefix for prefixes in alive.values() for prefix in prefixes}
        groups_reached = {self.group[prefix] for prefix in reached}
        measured_by = Counter(prefix for told in (dead, alive) for prefixes in told.values() for prefix in prefixes)
        found = {}
        for link, prefixes in dead.items():
            ways = Counter(self.group[prefix] for prefix in alive.get(link, ()))
            by_group: dict[str, list[Prefix]] = {}
            for prefix in prefixes:
                by_group.setdefault(self.group[prefix], []).append(prefix)
            for group, gone in by_group.items():
                alone = not ways[group] and group in groups_reached
                lost = sum(prefix in reached or (alone and measured_by[prefix] == 1) for prefix in gone)
                if lost:
                    found[link, group] = lost / (len(gone) + ways[group])
        return found


class LatencyTable:
    """The newest samples of every group behind every peering link.

    on_lost: called when samples begin to say that a link loses what is sent to a group, or to a part of it.
    """

    def __init__(
        self, peering: Peering, rules: LatencyRules | None = None, on_lost: Callable[[], None] | None = None
    ) -> None:
        names = ("accepted", "future", "old", "unknown_link", "unknown_prefix", "unknown_vantage", "repeated")
        self.counters: Counter[str] = Counter(dict.fromkeys((*names, "malformed", "refused"), 0))
        self._rules = rules or LatencyRules()
        self._samples: dict[tuple[str, str], deque[Sample]] = {}
        self._newest: dict[tuple[str, Prefix], tuple[Sample, ...]] = {}  # of each prefix, to tell which one is lost
        self._on_lost = on_lost
        self._lost: dict[tuple[str, str], set[Prefix]] = {}  # by link and group, as `on_lost` has it
        self.reload(peering)

    def reload(self, peering: Peering) -> None:
        """Take other links and groups; samples of those that are gone are forgotten."""
        self._border = {link.name: link.node for link in peering.links}
        self._group: Mapping[Prefix, str] = {
            prefix: group.name for group in peering.groups for prefix in group.prefixes
        }
        self._holders: dict[Prefix, Prefix | None] = {}  # what `_holding` found
        groups = {group.name for group in peering.groups}
        self._samples = {
            pair: told for pair, told in self._samples.items() if pair[0] in self._border and pair[1] in groups
        }
        self._newest = {
            (link, prefix): told
            for (link, prefix), told in self._newest.items()
            if link in self._border and prefix in self._group
        }
        self._lost.clear()

    def add(self, samples: Iterable[Sample], now: float) -> Counter[str]:
        """Take samples that came at `now` (unix seconds); what is not to be believed is counted and left out.

        Returns how many were accepted, and how many left out by why.
        """
        came: Counter[str] = Counter()
        for sample in samples:
            prefix = self._holding(sample.prefix)
            why = self._doubt(sample, prefix, now)
            if not why and prefix is not None:
                group = self._group[prefix]
                told = self._samples.setdefault((sample.peering_link, group), deque(maxlen=_PER_PAIR))
                if _among(told, sample):
                    why = "repeated"
                else:
                    told.append(sample)
                    self._keep(sample, prefix)
            came[why or "accepted"] += 1
        self.counters.update(came)
        return came

    def copy(self) -> LatencySamples:
        """Return the samples as they are now."""
        samples = {pair: tuple(told) for pair, told in self._samples.items()}
        return LatencySamples(self._rules, samples, dict(self._newest), self._group)

    def _keep(self, sample: Sample, prefix: Prefix) -> None:
        """Count a sample among the newest of its prefix, if it is."""
        rules, link = self._rules, sample.peering_link
        told = sorted((*self._newest.get((link, prefix), ()), sample), key=lambda each: each.ts)
        newest = self._newest[link, prefix] = tuple(told[-rules.closing_samples :])
        lost = self._lost.setdefault((link, self._group[prefix]), set())
        if any(each.loss < rules.closing_loss for each in newest):
            lost.discard(prefix)
        elif len(newest) == rules.closing_samples:
            begins = not lost
            lost.add(prefix)
            if begins and self._on_lost is not None:
                self._on_lost()

    def _doubt(self, sample: Sample, prefix: Prefix | None, now: float) -> str:
        """Say why a sample is not to be believed; "" when it is."""
        border = self._border.get(sample.peering_link)
        checks = (
            ("future", sample.ts > now + _AHEAD_S),
            ("old", now - sample.ts > self._rules.max_age_s),
            ("unknown_link", border is None),
            ("unknown_vantage", sample.vantage != border),
            ("unknown_prefix", prefix is None),
        )
        return next((why for why, holds in checks if holds), "")

    def _holding(self, prefix: Prefix) -> Prefix | None:
        """Return the prefix, or the one around it, that a group has; None when there is none."""
        if prefix not in self._holders:
            if len(self._holders) >= _HOLDERS:
                self._holders.clear()
            around = (prefix.supernet(new_prefix=length) for length in range(prefix.prefixlen, -1, -1))
            self._holders[prefix] = next((each for each in around if each in self._group), None)
        return self._holders[prefix]


def _among(told: Iterable[Sample], sample: Sample) -> bool:
    """Whether a sample is one of those: what differs most is looked at first."""
    ts, rtt_ms = sample.ts, sample.rtt_ms
    return any(each.rtt_ms == rtt_ms and each.ts == ts and each == sample for each in told)


def interval(count: int) -> tuple[int, float]:
    """Return how many samples lie outside the interval at each end, and the chance that it holds the median.

    The narrowest that does with 95 %; of few samples all, with the chance that has. count: samples, at least 1.
    """
    outside, tail = 0, 0.5**count  # chance that the median is below the sample next to the end
    while outside + 1 <= (count - 1) // 2:
        wider = tail + math.comb(count, outside + 1) * 0.5**count
        if 1 - 2 * wider < _CONFIDENCE:
            break
        outside, tail = outside + 1, wider
    return outside, 1 - 2 * tail
