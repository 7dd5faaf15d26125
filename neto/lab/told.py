"""What a border tells one neighbour of a prefix: its own announcement, put through the route-map toward that neighbour.

Route-maps as FRR has them (docs.frrouting.org, Route Maps): entries in order; the first that matches decides; what
matches nothing is denied, and so is everything while the map that is named is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network


@dataclass(frozen=True, slots=True)
class Told:
    """An announcement as it leaves."""

    prepended: int = 0  # AS numbers before our own
    med: int = 0
    communities: tuple[str, ...] = ()


@dataclass(slots=True)
class MapEntry:
    """One entry of a route-map as typed."""

    permits: bool
    match: str = ""  # prefix list; "": everything
    prepend: tuple[int, ...] = ()
    med: int | None = None
    community: str = ""

    def lines(self) -> Iterator[str]:
        """Yield its body as the lines that would make it, in the order in which FRR shows them."""
        if self.match:
            yield f" match ip address prefix-list {self.match}"
        if self.prepend:
            yield f" set as-path prepend {' '.join(map(str, self.prepend))}"
        if self.community:
            yield f" set community {self.community} additive"
        if self.med is not None:
            yield f" set metric {self.med}"

    def added(self) -> Told:
        """Return an announcement with what this entry adds."""
        return Told(len(self.prepend), self.med or 0, (self.community,) if self.community else ())


@dataclass(slots=True)
class OutPolicies:
    """Everything that shapes what a border tells its neighbours."""

    asn: int = 0
    neighbours: dict[str, tuple[int, str]] = field(default_factory=dict)  # address: (AS number, route-map out)
    prefix_lists: dict[str, dict[int, IPv4Network]] = field(default_factory=dict)  # name: {number: what it permits}
    route_maps: dict[str, dict[int, MapEntry]] = field(default_factory=dict)  # name: {number: entry}

    def told(self, neighbour: str, prefix: IPv4Network) -> Told | None:
        """Return what a neighbour is told of a prefix that the border announces; None: nothing."""
        _, name = self.neighbours.get(neighbour, (0, ""))
        for _, entry in sorted(self.route_maps.get(name, {}).items()):
            if not entry.match or self._permitted(entry.match, prefix):
                return entry.added() if entry.permits else None
        return None

    def _permitted(self, name: str, prefix: IPv4Network) -> bool:
        return prefix in self.prefix_lists.get(name, {}).values()

    def lines(self) -> Iterator[str]:
        """Yield the configuration as the lines that would make it."""
        if self.neighbours:
            yield f"router bgp {self.asn}"
            yield from (f" neighbor {peer} remote-as {asn}" for peer, (asn, _) in sorted(self.neighbours.items()))
            yield " !"
            yield " address-family ipv4 unicast"
            yield from (
                f"  neighbor {peer} route-map {name} out" for peer, (_, name) in sorted(self.neighbours.items())
            )
            yield " exit-address-family"
            yield "exit"
            yield "!"
        for name, permitted in sorted(self.prefix_lists.items()):
            yield from (f"ip prefix-list {name} seq {n} permit {prefix}" for n, prefix in sorted(permitted.items()))
        for name, entries in sorted(self.route_maps.items()):
            for number, entry in sorted(entries.items()):
                yield f"route-map {name} {'permit' if entry.permits else 'deny'} {number}"
                yield from entry.lines()
                yield "exit"
                yield "!"


def bordering(asn: int, neighbours: Mapping[str, int]) -> OutPolicies:
    """Return what the operator of an emulated border set up: each neighbour has a map that permits everything.

    neighbours: address -> AS number.
    """
    return OutPolicies(
        asn,
        {peer: (theirs, f"NETO-OUT-{peer}") for peer, theirs in neighbours.items()},
        route_maps={f"NETO-OUT-{peer}": {65535: MapEntry(permits=True)} for peer in neighbours},
    )
