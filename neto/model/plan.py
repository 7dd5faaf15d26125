"""A change, cut into steps that are safe in whatever order routers act inside them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from neto.model.announcement import Adjustment, AnnouncementKey
from neto.model.sr import PolicyKey, Route, RouteKey, SrPolicy


class MoveKind(StrEnum):
    """In the order in which they may share a plan: install before steering, removal after."""

    INSTALL_POLICY = "install-policy"  # inert: carries nothing yet
    REPLACE_POLICY = "replace-policy"  # atomic on its head-end
    ROUTE = "route"  # announce, change or withdraw
    REMOVE_POLICY = "remove-policy"  # nothing is steered into it any more
    ANNOUNCEMENT = "announcement"  # what a neighbour is told; no load that leaves depends on it


@dataclass(frozen=True, slots=True)
class PolicyMove:
    """Bring one policy on one head-end to `policy`; None removes it."""

    kind: MoveKind
    key: PolicyKey
    policy: SrPolicy | None


@dataclass(frozen=True, slots=True)
class RouteMove:
    """Bring one prefix on one head-end to `route`; None withdraws it."""

    key: RouteKey
    route: Route | None
    kind: MoveKind = MoveKind.ROUTE


@dataclass(frozen=True, slots=True)
class AnnouncementMove:
    """Bring one announcement to `adjustment`; None leaves it as the operator has it. Never in a step with others."""

    key: AnnouncementKey
    adjustment: Adjustment | None
    kind: MoveKind = MoveKind.ANNOUNCEMENT


Move = PolicyMove | RouteMove | AnnouncementMove


@dataclass(frozen=True, slots=True)
class Step:
    """Moves without order, and a barrier after them: all acknowledged and read back."""

    moves: tuple[Move, ...]
    worst_utilisation: float  # highest load / capacity over every mixture of moved and unmoved
    worst_link: str = ""


class Urgency(StrEnum):
    """Repair goes before optimisation."""

    REPAIR = "repair"
    OPTIMISE = "optimise"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps from what runs to what should. No steps: nothing to do."""

    urgency: Urgency
    steps: tuple[Step, ...]
    stuck: str = ""  # why the plan stops short of its target; "" when it reaches it
