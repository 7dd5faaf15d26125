"""The fluid model: where traffic goes, by what the routers have really been told and by nothing else.

A head-end looks its packet's prefix up: the longest one, then the highest local preference. The daemon's route leads
to its next hop: along the weighted, valid segment lists of the policy that its colour names, or along the IGP where
that policy is missing or broken. Without such a route the router does what routers do: IGP to the router that
originates the prefix, or to the nearest border that has an exit for it. Equal-cost paths share equally at every hop.

Only the ingress router steers: what it sends is labelled up to the end of the list or to the next hop, so routers in
between see no prefix, and at the end plain forwarding goes on. Metrics are positive and all routers share one view of
the IGP, so nothing loops.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

from neto.lab.scenario import Router, Scenario
from neto.lab.state import LabPolicy, LabRoute, RouterState
from neto.lab.view import View
from neto.lab.way import LOST, Way, mixed

OWN_PREFERENCE = 100  # local preference of what a router learned without the daemon


class Forwarding:
    """What routers do while the network does not change."""

    def __init__(self, scenario: Scenario, up: frozenset[str]) -> None:
        """up: the links that the IGP knows to be up, both directions, and peering links."""
        self._view = View(scenario, up)

    def valid(self, headend: str, labels: tuple[int, ...]) -> bool:
        """Tell whether a head-end takes a label stack for usable: every label leads somewhere, as the IGP knows."""
        return self._view.valid(headend, labels)

    def way(self, state: RouterState, prefix: IPv4Network, dscp: int) -> Way:
        """Return how a router sends traffic to a prefix of the scenario, spread evenly over its addresses."""
        return self.ways(state, [(prefix, dscp)])[0]

    def ways(self, state: RouterState, wanted: Iterable[tuple[IPv4Network, int]]) -> list[Way]:
        """Return how a router sends traffic to each of these prefixes with these code points."""
        odd = [route for prefix, route in state.routes.items() if prefix not in self._view.known]
        ways = []
        for prefix, dscp in wanted:
            parts = [
                (self._routed(state, prefix, route, dscp), share) for route, share in self._routes(state, prefix, odd)
            ]
            ways.append(parts[0][0] if len(parts) == 1 else mixed(parts, steered=any(way.steered for way, _ in parts)))
        return ways

    def _routed(self, state: RouterState, prefix: IPv4Network, route: LabRoute | None, dscp: int) -> Way:
        if route is None:
            return self._view.legacy(state.name, prefix)
        egress = self._view.by_loopback[route.next_hop]
        policy = self._policy(state, route, dscp)
        if policy is not None:
            lists = [(labels, weight) for labels, weight in policy.segment_lists if self.valid(state.name, labels)]
            total = sum(weight for _, weight in lists)
            if total:
                parts = [(self._view.stack(state.name, labels, prefix), weight / total) for labels, weight in lists]
                return mixed(parts, steered=True)
        return self._view.between(state.name, egress).then(self._view.legacy(egress, prefix))

    def _routes(
        self, state: RouterState, prefix: IPv4Network, odd: Iterable[LabRoute]
    ) -> list[tuple[LabRoute | None, float]]:
        """Return the routes that a router uses toward a prefix, each for a share of its addresses.

        None is the router's own. odd: routes of the daemon's for prefixes that nobody originates: what they hold of
        the prefix they take, and one that holds all of it counts when the router's own is gone.
        """
        odd = [route for route in odd if route.prefix.overlaps(prefix) and self._usable(state, route)]
        used: list[tuple[LabRoute | None, float]] = []
        left = 1.0
        for route in sorted(odd, key=lambda route: -route.prefix.prefixlen):
            longer = route.prefix.prefixlen - prefix.prefixlen
            if longer > 0:
                taken = sum(s for r, s in used if r is not None and r.prefix.subnet_of(route.prefix))
                used.append((route, 2.0**-longer - taken))
                left -= used[-1][1]
        best: LabRoute | None = None
        exact = state.routes.get(prefix)
        if exact is not None and exact.local_preference > OWN_PREFERENCE and self._usable(state, exact):
            best = exact
        elif odd and self._view.legacy(state.name, prefix) is LOST:
            covers = [route for route in odd if prefix.subnet_of(route.prefix)]
            best = max(covers, key=lambda route: route.prefix.prefixlen, default=None)
        return [*used, (best, left)] if left > 0 else used

    def _usable(self, state: RouterState, route: LabRoute) -> bool:
        """Tell whether a router accepts a route: its next hop is another router (RFC 4271 §5.1.3) in reach."""
        egress = self._view.by_loopback.get(route.next_hop)
        return egress is not None and egress != state.name and self._view.path(state.name, egress) is not None

    @staticmethod
    def _policy(state: RouterState, route: LabRoute, dscp: int) -> LabPolicy | None:
        """Return the policy that a route's colour names, through the mapping of code points if it has one."""
        if route.colour is None:
            return None
        policy = state.policies.get((route.colour, route.next_hop))
        if policy is None or not policy.per_flow:
            return policy
        colours = dict(policy.per_flow)
        colour = colours.get(dscp, colours.get(-1))
        return None if colour is None else state.policies.get((colour, route.next_hop))


def router_states(routers: tuple[Router, ...]) -> dict[str, RouterState]:
    """Return routers that have been told nothing."""
    return {router.name: RouterState(router.name, router.loopback) for router in routers}
