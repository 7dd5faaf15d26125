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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from neto.model.latency import LatencyEstimate
from neto.model.peering import Peering, Prefix
from neto.wire.samples import Sample

_CONFIDENCE = 0.95
_PER_PAIR = 101  # newest samples that are kept of one group behind one link
_NEWEST, _BLACKHOLE = 3, 0.5  # so many samples in a row that lost so much
_AHEAD_S = 5.0  # that a probe's clock may be


@dataclass(frozen=True, slots=True)
class LatencyRules:
    """Which samples count."""

    max_age_s: float = 900.0
    min_samples: int = 6  # below that no interval holds the median with 95 %


@dataclass(frozen=True, eq=False, slots=True)
class LatencySamples:
    """The samples of one moment; these may be worked on in a thread."""

    rules: LatencyRules
    samples: Mapping[tuple[str, str], Sequence[Sample]]  # by link and group

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

    def failing(self, now: float) -> frozenset[tuple[str, str]]:
        """Return the (link, group) pairs that lose what is sent: their newest samples say so, one like the other.

        Not those of a group that fails behind every link that is measured: that is its end, or our probes.
        """
        dead: set[tuple[str, str]] = set()
        alive: set[str] = set()
        for pair, told in self.samples.items():
            newest = sorted((s for s in told if now - s.ts <= self.rules.max_age_s), key=lambda s: -s.ts)[:_NEWEST]
            if len(newest) == _NEWEST and all(sample.loss >= _BLACKHOLE for sample in newest):
                dead.add(pair)
            elif newest:
                alive.add(pair[1])
        return frozenset(pair for pair in dead if pair[1] in alive)


class LatencyTable:
    """The newest samples of every group behind every peering link."""

    def __init__(self, peering: Peering, rules: LatencyRules | None = None) -> None:
        names = ("accepted", "future", "old", "unknown_link", "unknown_prefix", "unknown_vantage", "repeated")
        self.counters: Counter[str] = Counter(dict.fromkeys((*names, "malformed", "refused"), 0))
        self._rules = rules or LatencyRules()
        self._samples: dict[tuple[str, str], deque[Sample]] = {}
        self.reload(peering)

    def reload(self, peering: Peering) -> None:
        """Take other links and groups; samples of those that are gone are forgotten."""
        self._border = {link.name: link.node for link in peering.links}
        self._group: Mapping[Prefix, str] = {
            prefix: group.name for group in peering.groups for prefix in group.prefixes
        }
        groups = {group.name for group in peering.groups}
        self._samples = {
            pair: told for pair, told in self._samples.items() if pair[0] in self._border and pair[1] in groups
        }

    def add(self, samples: Iterable[Sample], now: float) -> None:
        """Take samples that came at `now` (unix seconds); what is not to be believed is counted and left out."""
        for sample in samples:
            group = self._holding(sample.prefix)
            why = self._doubt(sample, group, now)
            if not why:
                told = self._samples.setdefault((sample.peering_link, group), deque(maxlen=_PER_PAIR))
                if sample in told:
                    why = "repeated"
                else:
                    told.append(sample)
            self.counters[why or "accepted"] += 1

    def copy(self) -> LatencySamples:
        """Return the samples as they are now."""
        return LatencySamples(self._rules, {pair: tuple(told) for pair, told in self._samples.items()})

    def _doubt(self, sample: Sample, group: str, now: float) -> str:
        """Say why a sample is not to be believed; "" when it is."""
        border = self._border.get(sample.peering_link)
        checks = (
            ("future", sample.ts > now + _AHEAD_S),
            ("old", now - sample.ts > self._rules.max_age_s),
            ("unknown_link", border is None),
            ("unknown_vantage", sample.vantage != border),
            ("unknown_prefix", not group),
        )
        return next((why for why, holds in checks if holds), "")

    def _holding(self, prefix: Prefix) -> str:
        """Return the group that has the prefix or one around it; "" when there is none."""
        for length in range(prefix.prefixlen, -1, -1):
            group = self._group.get(prefix.supernet(new_prefix=length))
            if group:
                return group
        return ""


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
