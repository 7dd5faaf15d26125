"""What an emulated router has really been told: the only thing its forwarding looks at.

Plain labels and addresses, nothing of the daemon's nouns: the lab judges the daemon and must not share its reading.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network


@dataclass(frozen=True, slots=True)
class LabPolicy:
    """A committed SR policy: weighted label stacks, or a per-flow mapping to colours of the same endpoint."""

    colour: int
    endpoint: str
    name: str = ""
    segment_lists: tuple[tuple[tuple[int, ...], int], ...] = ()  # (labels, weight)
    per_flow: tuple[tuple[int, int], ...] = ()  # (dscp, colour); dscp -1: every other code point


@dataclass(frozen=True, slots=True)
class LabRoute:
    """A route received over BGP from the daemon."""

    prefix: IPv4Network
    next_hop: str
    local_preference: int
    colour: int | None
    communities: tuple[str, ...] = ()  # "65000:900", "no-export"


@dataclass(slots=True)
class RouterState:
    """One emulated router. `policies` changes by commit only, `routes` by BGP only."""

    name: str
    loopback: str
    policies: dict[tuple[int, str], LabPolicy] = field(default_factory=dict)  # by (colour, endpoint)
    routes: dict[IPv4Network, LabRoute] = field(default_factory=dict)
    # What tests can ask of it:
    delay_s: float = 0.0  # every commit takes this long
    deaf: bool = False  # accepts a commit and never answers
    half_done: bool = False  # applies the first policy of a commit, then fails
