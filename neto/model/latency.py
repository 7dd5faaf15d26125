"""How far prefix groups are behind peering links, as measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatencyEstimate:
    """What recent samples say of one group behind one peering link."""

    peering_link: str
    prefix_group: str
    rtt_ms: float  # median
    low_ms: float  # confidence interval of the median
    high_ms: float
    confidence: float  # chance that the interval holds the median, 0..1
    loss: float  # share of probes, 0..1
    samples: int
    probes: int
    age_s: float  # of the newest sample

    @property
    def delay_us(self) -> float:
        """One way, taken as half of the round trip."""
        return self.rtt_ms * 500
