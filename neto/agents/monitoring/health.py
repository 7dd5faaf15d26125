"""How well exporters are heard: what was lost, overtaken or could not be read, and whose clock is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

from neto.agents.monitoring.clocks import Clocks
from neto.model.demand import ExporterHealth
from neto.wire.netflow import Decoder
from neto.wire.netflow.sequence import Losses
from neto.wire.netflow.templates import IPFIX, SFLOW, V5, V9

MAX_LOSS = 0.05  # share of what an exporter sent

_Domain = tuple[str, int, int]  # exporter, version, observation domain
_NAMES = {V5: "v5", V9: "v9", IPFIX: "ipfix", SFLOW: "sflow"}


class Health:
    """Reads what the decoder and the clocks remember. max_loss: the share lost beyond which a router is in doubt."""

    def __init__(self, decoder: Decoder, clocks: Clocks, *, max_loss: float = MAX_LOSS) -> None:
        self._decoder = decoder
        self._clocks = clocks
        self._max_loss = max_loss
        self._before: dict[_Domain, Losses] = {}
        self._given_up_before: Counter[str] = Counter()

    def rows(self, router_of: Mapping[str, str]) -> list[ExporterHealth]:
        """One for each exporter and domain. router_of: by exporter."""
        waiting = self._waiting()
        return [
            ExporterHealth(
                router=router_of.get(exporter, ""),
                exporter=exporter,
                version=_NAMES.get(version, str(version)),
                domain=domain,
                messages=losses.messages,
                lost=_lost(losses),
                lost_share=_share(losses),
                gaps=losses.gaps,
                late=losses.late,
                restarts=losses.restarts,
                waiting_sets=waiting[exporter],
                undecoded_sets=self._decoder.given_up.get(exporter, 0),
                clock_ahead_s=self._clocks.skew_s((exporter, version, domain)),
                lost_samples=_lost_samples(losses),
                dropped_samples=losses.samples_dropped,
            )
            for (exporter, version, domain), losses in self._losses().items()
        ]

    def doubts(self, router_of: Mapping[str, str]) -> dict[str, str]:
        """Routers that told too little since this was last asked, and why we know."""
        now = self._losses()
        lost: dict[str, Losses] = defaultdict(Losses)
        for key, losses in now.items():
            before = self._before.get(key, Losses())
            each = lost[router_of.get(key[0], "")]
            each.units += max(0, losses.units - before.units)
            each.missing += max(0, _lost(losses) - _lost(before))
            each.samples += max(0, losses.samples - before.samples)
            each.samples_missing += max(0, _lost_samples(losses) - _lost_samples(before))
            each.samples_dropped += max(0, losses.samples_dropped - before.samples_dropped)
        given_up = Counter(self._decoder.given_up)
        undecoded: Counter[str] = Counter()
        for exporter, sets in (given_up - self._given_up_before + self._waiting()).items():
            undecoded[router_of.get(exporter, "")] += sets
        self._before, self._given_up_before = now, given_up
        doubts = {
            router: f"{_share(losses):.0%} of what its exporters sent was lost on the way"
            for router, losses in lost.items()
            if _share(losses) > self._max_loss
        }
        for router, losses in lost.items():
            if _share_of_samples(losses) > self._max_loss:
                doubts.setdefault(router, f"{_share_of_samples(losses):.0%} of its samples were lost or dropped")
        for router, sets in undecoded.items():
            doubts.setdefault(router, f"{sets} sets of flows have no template yet")
        return {router: why for router, why in doubts.items() if router}

    def _losses(self) -> dict[_Domain, Losses]:
        return {
            (exporter, version, domain): replace(sequence.losses)
            for exporter, state in self._decoder.exporters.items()
            for (version, domain), sequence in state.sequences.items()
        }

    def _waiting(self) -> Counter[str]:
        waiting: Counter[str] = Counter()
        for (exporter, _), sets in self._decoder.waiting.items():
            waiting[exporter] += sets
        return waiting


def _lost(losses: Losses) -> int:
    return max(0, losses.missing - losses.recovered)


def _lost_samples(losses: Losses) -> int:
    return max(0, losses.samples_missing - losses.samples_recovered)


def _share_of_samples(losses: Losses) -> float:
    """Share of the samples that were taken, or were to be, that did not come."""
    gone = _lost_samples(losses) + losses.samples_dropped
    return gone / (losses.samples + gone) if gone else 0.0


def _share(losses: Losses) -> float:
    """Share of what was sent that did not come."""
    sent = losses.units + _lost(losses)
    return _lost(losses) / sent if sent else 0.0
