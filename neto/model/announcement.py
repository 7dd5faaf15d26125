"""What a border tells one neighbour of a prefix of ours beside the plain announcement, to make it less attractive.

An adjustment only ever adds to an announcement. None takes one back, and none says anything of other prefixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from neto.model.peering import Prefix


class Change(StrEnum):
    """How an announcement is made less attractive, the surest first."""

    COMMUNITY = "community"  # the ISP lowers its own preference
    MED = "med"  # tells apart links of one ISP (RFC 4271 §9.1.2.2)
    PREPEND = "prepend"  # an unknown share follows


@dataclass(frozen=True, slots=True, order=True)
class AnnouncementKey:
    """Where an adjustment acts: one prefix of ours, as one border announces it to one neighbour."""

    headend: str  # border router
    peer: str  # the neighbour's address
    prefix: Prefix


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What is added to one announcement: exactly one of the three."""

    key: AnnouncementKey
    community: str = ""  # as in "64500:80" (RFC 1997)
    med: int | None = None
    prepend: tuple[int, ...] = ()  # AS numbers, put before the path

    @property
    def change(self) -> Change:
        """Which of the three it is."""
        if self.community:
            return Change.COMMUNITY
        return Change.PREPEND if self.med is None else Change.MED
