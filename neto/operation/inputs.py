"""From what the agents say to one snapshot of vetted inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from neto.model.demand import DemandMatrix, PrefixDemand
from neto.model.peering import Peering
from neto.model.topology import Topology
from neto.operation.trust import judge_demand, judge_topology, never_less, stand_in


@dataclass(frozen=True, slots=True)
class TrustLimits:
    """How much an input may change at once."""

    max_topology_loss: float  # share of nodes or links
    max_demand_jump: float  # times the last good total
    demand_ttl_s: float


@dataclass
class Inputs:
    """The last good inputs, and why the newest were not believed, if so."""

    limits: TrustLimits
    topology: Topology | None = None
    demand: DemandMatrix | None = None
    topology_doubt: str = ""
    demand_doubt: str = ""
    _first_heard: dict[str, float] = field(default_factory=dict)
    _last_seen: dict[str, tuple[float, tuple[PrefixDemand, ...]]] = field(default_factory=dict)

    def hear_topology(self, new: Topology | None) -> None:
        """Take a topology, or keep the last good one and say why."""
        if new is None:
            self.topology_doubt = "no BGP-LS speaker tells a topology"
            return
        verdict = judge_topology(new, self.topology, max_loss=self.limits.max_topology_loss)
        self.topology_doubt = verdict.reason
        if verdict.believed:
            self.topology = new

    def accept_topology(self, new: Topology) -> None:
        """Believe a topology because a person said so."""
        self.topology, self.topology_doubt = new, ""

    def take_over(self, last: DemandMatrix, now: float) -> bool:
        """Go on from the demand that a leader before us worked with, unless it is too old; whether it is not."""
        if not 0 <= now - last.ends <= self.limits.demand_ttl_s:
            return False
        self.demand = replace(last, missing_exporters=frozenset(), missing_leaves=frozenset(), doubtful={})
        self._remember(self.demand, last.begins - self.limits.demand_ttl_s)
        return True

    def unheard(self, routers: Iterable[str], now: float, settle_s: float) -> list[str]:
        """Return those of the routers whose flows were never heard, or not for settle_s yet.

        An average over windows that began before a router was heard tells less than it carries.
        """
        return sorted(name for name in routers if now - self._first_heard.get(name, now) < settle_s)

    def hear_demand(self, new: DemandMatrix | None, now: float) -> None:
        """Take a demand, completed for silent exporters; or keep the last good one until it is too old.

        now: unix seconds.
        """
        if new is not None:
            verdict = judge_demand(new, self.demand, max_jump=self.limits.max_demand_jump)
            self.demand_doubt = verdict.reason
            if verdict.believed:
                raised = never_less(new, self._last_seen, self.limits.demand_ttl_s)
                self._remember(new, now)
                self.demand = stand_in(raised, self._last_seen, self.limits.demand_ttl_s)
        if self.demand is not None and now - self.demand.ends > self.limits.demand_ttl_s:
            self.demand_doubt = f"demand is older than {self.limits.demand_ttl_s:.0f} s: no longer steered by it"
            self.demand = replace(self.demand, rates=(), ends=self.demand.ends)

    @property
    def demand_gaps(self) -> list[str]:
        """Say of whom the demand that is worked with tells too little, and what is done about it."""
        if self.demand is None:
            return []
        silent = [f"collector {leaf} is silent" for leaf in sorted(self.demand.missing_leaves)]
        doubtful = [f"flows of {router}: {why}" for router, why in sorted(self.demand.doubtful.items())]
        return silent + [f"{doubt}; its demand is taken for no less than before" for doubt in doubtful]

    def _remember(self, new: DemandMatrix, now: float) -> None:
        """Keep what each router told, for when it is silent or in doubt; of one in doubt what it told before."""
        by_router: dict[str, list[PrefixDemand]] = {}
        for rate in new.rates:
            by_router.setdefault(rate.source, []).append(rate)
        for router, told in by_router.items():
            self._first_heard.setdefault(router, now)
            if router not in new.doubtful or router not in self._last_seen:
                self._last_seen[router] = (new.ends, tuple(told))


def with_peer_sids(peering: Peering, peer_sids: Mapping[tuple[str, str], int]) -> Peering:
    """Give each peering link the peer adjacency SID that BGP-LS tells for (border, peer address)."""
    links = (
        replace(link, peer_adjacency_sid=peer_sids.get((link.node, link.peer_address), link.peer_adjacency_sid))
        for link in peering.links
    )
    return replace(peering, links=tuple(links))


def with_margin(demand: DemandMatrix, margin: float) -> DemandMatrix:
    """Take every rate for larger by a share: what is measured lags behind what is, and wobbles."""
    rates = (replace(rate, rate_mbps=rate.rate_mbps * (1 + margin)) for rate in demand.rates)
    return replace(demand, rates=tuple(rates))
