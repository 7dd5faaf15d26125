"""What the runner asks of the parts around it. Each is met by a part as it is; tests meet them with their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from neto.model.plan import AnnouncementMove, PolicyMove, RouteMove
from neto.model.sr import ForwardingState
from neto.store.protocol import TaskEntry

Check = Callable[[], None]  # raises LeaseLostError


class PolicyAgent(Protocol):
    """The way to the routers' command lines."""

    async def apply(self, headend: str, moves: Sequence[PolicyMove | AnnouncementMove], check: Check) -> None:
        """Push moves as one, calling check before anything leaves.

        Raises DeviceTimeoutError when the outcome is not known, DeviceError when the router refused.
        """

    async def read(self, headend: str) -> ForwardingState:
        """Policies, routes and adjustments of ours, as the router shows them. Raises DeviceError or WireError."""


class RouteAgent(Protocol):
    """The way to the routers' BGP sessions."""

    async def apply(self, moves: Sequence[RouteMove], check: Check) -> None:
        """Announce and withdraw, calling check before every line; raises as above."""


class Journal(Protocol):
    """The part of the store that is written here."""

    async def record_tasks(self, epoch: int, entries: Sequence[TaskEntry]) -> None:
        """Write journal entries in one transaction."""


class Fence(Protocol):
    """This process's lease."""

    @property
    def epoch(self) -> int:
        """What it leads with."""

    @property
    def lost(self) -> asyncio.Event:
        """Set once another process leads."""

    def check(self) -> None:
        """Raise LeaseLostError unless this process leads now."""
