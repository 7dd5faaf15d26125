"""Where other networks send what they have for us: by the share that the scenario gives, until announcements differ.

A border tells its ISP of each prefix, and others act on what they hear. All that came by a link leaves it when the ISP
honours a community by which it prefers the link less, or hears a lower MED on another link of ours; half of it leaves
with each AS number that is put before the path. What leaves comes in by the other links that tell the prefix and are
not made less attractive in the same way, each as far as its capacity goes; what no link tells any more is not sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network

from neto.lab.scenario import INSIDE, Scenario, WayIn
from neto.lab.told import Told

Key = tuple[str, IPv4Network, int]  # source router, prefix, code point
Tells = Callable[[WayIn, IPv4Network], Told | None]


class Inbound:
    """Outside traffic toward one emulated WAN."""

    def __init__(self, scenario: Scenario) -> None:
        self._ways = scenario.ways_in
        self._ours = frozenset(prefix for router in scenario.routers for prefix in router.prefixes)

    def diverted(self, rates: Mapping[Key, float], tells: Tells) -> dict[Key, dict[int, float]]:
        """Return what enters otherwise than by its shares: by source, prefix and code point, Mbit/s by ifIndex.

        rates: as if nothing were made less attractive. tells: what a border tells of a prefix through a peering link.
        """
        moves = list(self._moves(rates, tells))
        entering: dict[Key, dict[int, float]] = {}
        for key, _, _, _ in moves:
            entering[key] = self.usual(key, rates[key])
        for key, way, to, mbps in moves:
            entering[key][way.interface] -= mbps
            if to is not None:
                there = (to.border, *key[1:])
                enters = entering.setdefault(there, self.usual(there, rates.get(there, 0.0)))
                enters[to.interface] = enters.get(to.interface, 0.0) + mbps
        return entering

    def usual(self, key: Key, mbps: float) -> dict[int, float]:
        """Return by which ifIndex a demand enters while every link tells the same."""
        shares = {way.interface: way.share for way in self._at(key[0]) if way.share} if key[1] in self._ours else {}
        return {**{at: mbps * share for at, share in shares.items()}, INSIDE: mbps * (1 - sum(shares.values()))}

    def _at(self, border: str) -> Iterator[WayIn]:
        return (way for way in self._ways if way.border == border)

    def _moves(self, rates: Mapping[Key, float], tells: Tells) -> Iterator[tuple[Key, WayIn, WayIn | None, float]]:
        """Yield what leaves which link for which; None: nobody tells the prefix."""
        decided: dict[tuple[str, IPv4Network], tuple[float, list[tuple[WayIn, float]]]] = {}
        for key, mbps in rates.items():
            source, prefix, _ = key
            if prefix not in self._ours:
                continue
            for way in self._at(source):
                at = way.link, prefix
                if at not in decided:
                    decided[at] = self._leaving(way, prefix, tells)
                share, others = decided[at]
                if share * way.share * mbps <= 0:
                    continue
                for to, part in others:
                    yield key, way, to, mbps * way.share * share * part
                if not others:
                    yield key, way, None, mbps * way.share * share

    def _leaving(self, way: WayIn, prefix: IPv4Network, tells: Tells) -> tuple[float, list[tuple[WayIn, float]]]:
        """Return the share that leaves a link, and where to in which parts."""
        told = {each.link: each_told for each in self._ways if (each_told := self._tells(each, prefix, tells))}
        mine = told.get(way.link)
        others = [each for each in self._ways if each.link in told and each is not way]
        if mine is None:
            return 1.0, _by_capacity(others)
        if way.lower_community and way.lower_community in mine.communities:
            plain = [each for each in others if each.lower_community not in told[each.link].communities]
            return float(bool(plain)), _by_capacity(plain)
        same = [each for each in others if each.isp == way.isp and told[each.link].med < mine.med]
        if same:
            return 1.0, _by_capacity(same)
        shorter = [each for each in others if told[each.link].prepended < mine.prepended]
        return (1.0 - 0.5**mine.prepended if shorter else 0.0), _by_capacity(shorter)

    @staticmethod
    def _tells(way: WayIn, prefix: IPv4Network, tells: Tells) -> Told | None:
        listed = way.announced is None or prefix in way.announced
        return tells(way, prefix) if listed else None


def _by_capacity(ways: Iterable[WayIn]) -> list[tuple[WayIn, float]]:
    found = list(ways)
    total = sum(way.capacity_mbps for way in found)
    return [(way, way.capacity_mbps / total) for way in found]


def by_link(ways: Iterable[WayIn], entering: Iterable[tuple[str, Mapping[int, float]]]) -> dict[str, float]:
    """Sum up what comes in by each peering link. entering: source router, and Mbit/s by ifIndex."""
    name = {(way.border, way.interface): way.link for way in ways}
    total: dict[str, float] = defaultdict(float, {way.link: 0.0 for way in ways})
    for source, rates in entering:
        for interface, mbps in rates.items():
            if (source, interface) in name:
                total[name[source, interface]] += mbps
    return dict(total)
