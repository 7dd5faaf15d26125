"""What the loop asks of the parts that it drives. Each is met by a part as it is; tests meet them with their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from neto.model.demand import DemandMatrix, ExporterHealth
from neto.model.peering import Peering
from neto.model.plan import AnnouncementMove, Plan
from neto.model.sr import ForwardingState, Route, RouteKey
from neto.model.topology import Topology

Check = Callable[[], None]  # raises LeaseLostError


class TopologySource(Protocol):
    """BGP-LS."""

    def topology(self) -> Topology | None:
        """Return the topology as the best speaker tells it; None when none does."""

    def peer_sids(self) -> Mapping[tuple[str, str], int]:
        """Labels of peering links by (border, peer address)."""

    @property
    def problems(self) -> Sequence[str]:
        """What was refused of it."""

    @property
    def overloaded(self) -> frozenset[str]:
        """Routers that ask not to be transited (the IS-IS overload bit, OSPF's stub router)."""


class DemandSource(Protocol):
    """NetFlow."""

    def demand(self, now: float) -> DemandMatrix | None:
        """Return the demand over the last windows; None before the first. now: unix seconds."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Everything that moved, and everything that was dropped."""

    @property
    def health(self) -> Sequence[ExporterHealth]:
        """How well each exporter of flows is heard, by observation domain."""


class PeeringSource(Protocol):
    """What lies beyond the borders."""

    async def hear(self, listed: Peering, now: float) -> None:
        """Take what borders and probes have told. listed: what the operator lists; now: unix seconds."""

    def usable(self, listed: Peering) -> Peering:
        """Return the part of it that may be used, with delays as they are measured."""

    @property
    def doubts(self) -> Sequence[str]:
        """What of it is not as it should be."""

    def documents(self) -> Mapping[str, object]:
        """What people see of it, by kind."""


class Devices(Protocol):
    """Command lines."""

    async def read(self, headend: str) -> ForwardingState:
        """Policies, routes and adjustments of ours on one router, as it shows them. Raises DeviceError."""

    async def apply(self, headend: str, moves: Sequence[AnnouncementMove], check: Check) -> None:
        """Adjust announcements at once, beside any plan. Raises DeviceError."""


class RouteSource(Protocol):
    """BGP toward the head-ends."""

    @property
    def announced(self) -> Mapping[RouteKey, Route]:
        """What was announced and not withdrawn."""

    @property
    def up(self) -> Collection[str]:
        """Head-ends whose session is established."""

    async def withdraw_all(self, check: Check) -> None:
        """Withdraw everything now."""


class Outcome(Protocol):
    """How a plan ended."""

    @property
    def done(self) -> bool:
        """Every step was carried out and read back."""

    @property
    def reason(self) -> str:
        """Why it was not done; "" when it was."""

    @property
    def read(self) -> Mapping[str, ForwardingState]:
        """What the devices that were touched said last, by name."""

    @property
    def unverified(self) -> frozenset[str]:
        """Devices of which nothing is certain until they are read again."""


class PlanRunner(Protocol):
    """The task scheduler."""

    async def run(self, plan: Plan, cycle: int) -> Outcome:
        """Carry a plan out, step by step."""

    def interrupt(self, reason: str) -> None:
        """Stop before the next step: something more urgent came up."""

    @property
    def begun(self) -> int:
        """Steps of the plan that runs that are done or under way; none when none runs."""
