"""What all routers know of the network: the IGP, the exits, and which label means what at whom.

A view is computed for one set of links that are up, as the IGP has converged on it, and never changes.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network

from neto.lab.scenario import Cable, Scenario
from neto.lab.way import HERE, LOST, Path, Way, along


class View:
    """The network while it does not change: IGP ways, the nearest exits, and where label stacks lead."""

    def __init__(self, scenario: Scenario, up: frozenset[str]) -> None:
        self._scenario = scenario
        self._up = up
        self._by_node_label = {router.node_label: router.name for router in scenario.routers}
        self._by_local_label = {(cable.source, cable.label): cable for cable in scenario.cables}
        self.by_loopback = {router.loopback: router.name for router in scenario.routers}
        self._cable = {cable.name: cable for cable in scenario.cables}
        self._home = {prefix: router.name for router in scenario.routers for prefix in router.prefixes}
        self._group = {prefix: group for group, prefixes in scenario.groups.items() for prefix in prefixes}
        self.known = self._home.keys() | self._group.keys()
        self._into: dict[str, list[Cable]] = defaultdict(list)
        self._from: dict[str, list[Cable]] = defaultdict(list)
        for cable in scenario.cables:
            if cable.name in up and cable.target:
                self._into[cable.target].append(cable)
                self._from[cable.source].append(cable)
        self._distances: dict[str, Mapping[str, int]] = {}
        self._ways: dict[tuple[str, str], Way | None] = {}
        self._plain: dict[tuple[str, IPv4Network], Way] = {}
        self._stacks: dict[tuple[str, tuple[int, ...]], tuple[Way, str, str | None] | None] = {}

    def valid(self, headend: str, labels: tuple[int, ...]) -> bool:
        """Tell whether a head-end takes a label stack for usable: every label leads somewhere, as the IGP knows."""
        return self._walk(headend, labels) is not None

    def stack(self, headend: str, labels: tuple[int, ...], prefix: IPv4Network) -> Way:
        """Follow a label stack, and then whatever the router at its end does with the bare packet."""
        walked = self._walk(headend, labels)
        if walked is None:
            return LOST
        way, end, way_out = walked
        if way_out is None:
            return way.then(self.legacy(end, prefix))
        delay_us = dict(self._scenario.exits.get(self._group.get(prefix, ""), ())).get(way_out)
        return way.then(LOST if delay_us is None else Way((Path((), 1.0, delay_us),)))  # LOST: that ISP has no route

    def _walk(self, headend: str, labels: tuple[int, ...]) -> tuple[Way, str, str | None] | None:
        """Follow labels from a router; return the way, where it ends, and the peering link that it left through."""
        key = (headend, labels)
        if key not in self._stacks:
            self._stacks[key] = self._follow(headend, labels)
        return self._stacks[key]

    def _follow(self, headend: str, labels: tuple[int, ...]) -> tuple[Way, str, str | None] | None:
        if not labels:
            return None
        way, here = HERE, headend
        for place, label in enumerate(labels):
            node = self._by_node_label.get(label)
            if node is not None:
                part = self.path(here, node)
                if part is None:
                    return None
                way, here = way.then(part), node
                continue
            cable = self._by_local_label.get((here, label))
            if cable is None or cable.name not in self._up:
                return None
            way = way.then(along(cable.name, cable.delay_us))
            if not cable.target:
                return (way, here, cable.name) if place == len(labels) - 1 else None
            here = cable.target
        return way, here, None

    def legacy(self, router: str, prefix: IPv4Network) -> Way:
        """Forward as a router does without us."""
        key = (router, prefix)
        if key not in self._plain:
            self._plain[key] = self._forward(router, prefix)
        return self._plain[key]

    def _forward(self, router: str, prefix: IPv4Network) -> Way:
        home = self._home.get(prefix)
        if home is not None:
            return self.between(router, home)
        found: tuple[int, str, float] | None = None
        for name, delay_us in self._scenario.exits.get(self._group.get(prefix, ""), ()):
            border = self._cable[name].source
            metric = 0 if border == router else self._distance(border).get(router)
            if name in self._up and metric is not None and (found is None or metric < found[0]):
                found = (metric, name, delay_us)
        if found is None:
            return LOST
        _, name, delay_us = found
        return self.between(router, self._cable[name].source).then(along(name, delay_us))

    def between(self, source: str, target: str) -> Way:
        """Return the IGP's way between two routers; all is lost where there is none."""
        return self.path(source, target) or LOST

    def path(self, source: str, target: str) -> Way | None:
        """Return the IGP's way between two routers; None when there is none."""
        key = (source, target)
        if key not in self._ways:
            self._ways[key] = self._igp(source, target)
        return self._ways[key]

    def _igp(self, source: str, target: str) -> Way | None:
        distance = self._distance(target)
        if source not in distance:
            return None
        return Way(tuple(self._branches(source, target, distance, Path((), 1.0, 0.0))))

    def _branches(self, here: str, target: str, distance: Mapping[str, int], so_far: Path) -> Iterator[Path]:
        """Yield every equal-cost path; each router splits equally over its next links."""
        if here == target:
            yield so_far
            return
        onward = [c for c in self._from[here] if distance.get(c.target, 1 << 60) + c.metric == distance[here]]
        for cable in onward:
            taken = Path((*so_far.links, cable.name), so_far.share / len(onward), so_far.delay_us + cable.delay_us)
            yield from self._branches(cable.target, target, distance, taken)

    def _distance(self, target: str) -> Mapping[str, int]:
        """Return the IGP metric from every router that can reach `target`."""
        if target not in self._distances:
            found: dict[str, int] = {}
            queue = [(0, target)]
            while queue:
                metric, node = heapq.heappop(queue)
                if node in found:
                    continue
                found[node] = metric
                for cable in self._into[node]:
                    heapq.heappush(queue, (metric + cable.metric, cable.source))
            self._distances[target] = found
        return self._distances[target]
