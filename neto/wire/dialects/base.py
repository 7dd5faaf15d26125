"""What every router dialect answers: how to say a change, what may be said at all, and how to read what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from neto.model.plan import AnnouncementMove, PolicyMove
from neto.model.sr import ForwardingState, PolicyKey, Segment
from neto.wire.route_map import OutPolicies

OURS = "NETO-"  # every name that we give to anything on a router begins like this


@dataclass(frozen=True, slots=True)
class Reading:
    """What one router says it has."""

    state: ForwardingState = field(default_factory=ForwardingState)  # ours only
    foreign: frozenset[PolicyKey] = frozenset()  # policies that somebody else configured: never touched
    segment_lists: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # ours, used or not: name -> labels
    out: OutPolicies = field(default_factory=OutPolicies)  # by which neighbours are told


class Dialect(Protocol):
    """A kind of router. Implementations are stateless and do no I/O."""

    name: str
    device_type: str  # netmiko's
    max_weight: int  # a segment list's weight is a whole number from 1 to this
    weight_grain: int  # finest share that forwarding tells apart is 1 / this
    steers_by_dscp: bool  # one route can serve several classes by a per-flow policy
    adjusts: bool  # announcements can be adjusted neighbour by neighbour
    window: int  # lines that may be sent ahead of their answers
    enter: tuple[str, ...]  # lines that begin a change; nothing acts before `commit` where that has a line
    enter_adjusting: tuple[str, ...]  # likewise for a change of announcements; of no use where none can be adjusted
    commit: tuple[str, ...]
    abandon: tuple[str, ...]  # lines that forget what is staged and leave configuration mode
    leave: tuple[str, ...]  # lines that leave configuration mode after a commit
    show_policies: tuple[str, ...]
    show_routes: tuple[str, ...]
    error_pattern: re.Pattern[str]  # finds in an answer what the router complains of

    def prompt(self, router: str) -> re.Pattern[str]:
        """Pattern of the prompt of the router of this name, in any mode, from the start of a line (re.M)."""

    def render(self, moves: Sequence[PolicyMove], running: Reading) -> tuple[str, ...]:
        """Say what brings `running` to where the moves want it: lines between `enter` and `commit`.

        Repeating it does no harm. Empty when there is nothing to do. Segment lists of ours that nothing uses any
        more are removed too.
        Raises ValueError when a move cannot be said: a label, weight or colour that the platform does not have.
        """

    def adjust(self, moves: Sequence[AnnouncementMove], running: Reading) -> tuple[str, ...]:
        """Say what adjusts announcements: lines between `enter_adjusting` and `commit`. Repeating it does no harm.

        Raises ValueError when a move cannot be said, or what that neighbour is told is not ours to add to.
        """

    def parse(self, outputs: Mapping[str, str], headend: str, community: str) -> Reading:
        """Read what show commands printed, by command; those not given count as empty.

        community: what the daemon's routes carry, as in "65000:900".
        Raises WireError, naming the line, on text that this dialect does not know.
        """

    def allowed(self, line: str) -> bool:
        """Tell whether this line may ever be sent to a router: a list of shapes, everything else is refused."""


def list_name(segments: Sequence[Segment]) -> str:
    """Name a segment list by its labels, so that one name never means two paths and a change never edits a path."""
    return OURS + "-".join(str(segment.label) for segment in segments)


def policy_name(key: PolicyKey) -> str:
    """Name a policy by what identifies it on its head-end."""
    return f"{OURS}{key.colour}-{key.endpoint}"
