"""How traffic spreads: paths with their shares, joined end to end and mixed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Path:
    """One path, as links in order, and the share of the traffic that takes it."""

    links: tuple[str, ...]
    share: float
    delay_us: float
    arrives: bool = True  # False: after the last link it has nowhere to go


@dataclass(frozen=True)
class Way:
    """How traffic spreads over paths; shares sum to 1."""

    paths: tuple[Path, ...]
    steered: bool = False  # by a policy of the daemon's

    @cached_property
    def shares(self) -> dict[str, float]:
        """Share of the traffic on each link."""
        shares: dict[str, float] = {}
        for path in self.paths:
            for link in path.links:
                shares[link] = shares.get(link, 0.0) + path.share
        return shares

    @cached_property
    def delay_us(self) -> float:
        """Worst delay of any part that arrives."""
        return max((path.delay_us for path in self.paths if path.arrives), default=0.0)

    @cached_property
    def lost(self) -> float:
        """Share that arrives nowhere."""
        return sum(path.share for path in self.paths if not path.arrives)

    def then(self, onward: Way) -> Way:
        """Go on with all of it that has got here."""
        paths = [path for path in self.paths if not path.arrives]
        for path in self.paths:
            if path.arrives:
                paths += [
                    Path(path.links + on.links, path.share * on.share, path.delay_us + on.delay_us, on.arrives)
                    for on in onward.paths
                ]
        return Way(tuple(paths), self.steered)


HERE = Way((Path((), 1.0, 0.0),))
LOST = Way((Path((), 1.0, 0.0, arrives=False),))


def along(link: str, delay_us: float) -> Way:
    """Over one link."""
    return Way((Path((link,), 1.0, delay_us),))


def mixed(parts: list[tuple[Way, float]], *, steered: bool) -> Way:
    """Shares of several ways; the weights sum to 1."""
    return Way(
        tuple(
            Path(path.links, path.share * weight, path.delay_us, path.arrives)
            for way, weight in parts
            for path in way.paths
        ),
        steered,
    )
