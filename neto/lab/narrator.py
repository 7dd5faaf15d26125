"""What the emulated WAN says while it runs: a line for every change that a person would want to see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog

from neto.lab.accounting import START, Episode, Ledger
from neto.lab.state import RouterState

SHARE_STEP = 0.005  # a change of the steered share worth a line

_log = structlog.get_logger("lab")


class Narrator:
    """Compares what is with what it last told."""

    def __init__(self, states: Mapping[str, RouterState], ledger: Ledger) -> None:
        self._states = states
        self._ledger = ledger
        self._touched: set[str] = set()
        self._routes = {name: dict(state.routes) for name, state in states.items()}
        self._policies = {name: dict(state.policies) for name, state in states.items()}
        self._share = 0.0

    def touch(self, router: str) -> None:
        """Look at a router's routes and policies at the next tick."""
        self._touched.add(router)

    def episodes(self, changed: Iterable[Episode]) -> None:
        """Tell which links fill up or clear."""
        for episode in changed:
            worst = f"{episode.worst:.1%}"
            if episode.ended is None:
                _log.warning("link.over_capacity", link=episode.link, full=worst)
            else:
                _log.info("link.clear", link=episode.link, after_s=_s(episode.ended - episode.began), was=worst)

    def tick(self) -> None:
        """Tell what routers learned since the last tick, and how much is steered now."""
        touched = sorted(self._touched)
        self._touched.clear()
        self._tell_routes(touched)
        self._tell_policies(touched)
        share = self.steered_share
        settled = share != self._share and share in {0.0, 1.0}
        if settled or abs(share - self._share) >= SHARE_STEP:
            _log.info("traffic.steered", share=f"{share:.1%}", was=f"{self._share:.1%}")
            self._share = share

    def summary(self, now: float) -> None:
        """Tell how things stand."""
        ledger = self._ledger
        utilisation = ledger.utilisation()
        worst = max(utilisation, key=utilisation.__getitem__, default="")
        account = ledger.since(START, now)
        _log.info(
            "lab.stands",
            steered=f"{self.steered_share:.0%}",
            routes=sum(len(state.routes) for state in self._states.values()),
            policies=sum(len(state.policies) for state in self._states.values()),
            over_capacity=len(ledger.overloaded()),
            fullest=f"{worst} {utilisation.get(worst, 0.0):.0%}",
            loss_mbps=round(sum(ledger.state.lost_mbps.values())),
            lost_gbit=round(sum(account.lost_mbit.values()) / 1000, 1),
            worst_delay_ms=" ".join(
                f"{name}={delay / 1000:.0f}"
                for name, delay in zip(ledger.classes, ledger.state.worst_delay_us, strict=False)
            ),
        )

    @property
    def steered_share(self) -> float:
        """Share of the offered traffic that follows a policy of the daemon's."""
        offered = sum(self._ledger.state.offered_mbps)
        return min(1.0, self._ledger.state.steered_mbps / offered) if offered else 0.0

    def _tell_routes(self, touched: list[str]) -> None:
        arrived, withdrawn, routers = 0, 0, []
        for name in touched:
            before, after = self._routes[name], self._states[name].routes
            new = sum(before.get(prefix) != route for prefix, route in after.items())
            gone = len(before.keys() - after.keys())
            if new or gone:
                arrived, withdrawn = arrived + new, withdrawn + gone
                routers.append(name)
                self._routes[name] = dict(after)
        if routers:
            now = sum(len(state.routes) for state in self._states.values())
            _log.info("routes.changed", arrived=arrived, withdrawn=withdrawn, now=now, routers=" ".join(routers))

    def _tell_policies(self, touched: list[str]) -> None:
        new, changed, removed, routers = 0, 0, 0, []
        for name in touched:
            before, after = self._policies[name], self._states[name].policies
            if before == after:
                continue
            new += len(after.keys() - before.keys())
            removed += len(before.keys() - after.keys())
            changed += sum(before[key] != policy for key, policy in after.items() if key in before)
            routers.append(name)
            self._policies[name] = dict(after)
        if routers:
            now = sum(len(state.policies) for state in self._states.values())
            told = {"new": new, "changed": changed, "removed": removed, "now": now}
            _log.info("policies.committed", **told, routers=" ".join(routers))


def _s(seconds: float) -> str:
    return f"{seconds:.1f}"
