"""What the loop does about announcements, cycle by cycle: shows them, plans the next change, takes all of them back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import structlog

from neto.errors import DeviceError
from neto.model.demand import DemandMatrix
from neto.model.intent import Ingress
from neto.model.peering import Peering
from neto.model.plan import AnnouncementMove, Plan, Step, Urgency
from neto.model.snapshot import Decision
from neto.model.sr import ForwardingState
from neto.operation import report
from neto.operation.adjusting import Adjusting, Intended, Rules
from neto.operation.inbound import Survey, survey
from neto.operation.ingress import adjusted_ingress, ingress
from neto.operation.parts import Check, Devices, Outcome
from neto.settings.load import Config

_log = structlog.get_logger("announcements")


class Announcing:
    """Announcements of one WAN."""

    def __init__(self, rules: Rules) -> None:
        self._adjusting = Adjusting(rules)
        self._found: Survey | None = None  # where changes are made by themselves
        self._intended: Intended | None = None

    def restore(self, memory: Any) -> None:
        """Go on from what the last leader remembered, if it did."""
        if memory is not None and not self._adjusting.restore(memory):
            _log.warning("announcements.forgotten", why="what an earlier daemon remembered cannot be read")

    def memory(self) -> dict[str, Any]:
        """Return what a successor should know."""
        return self._adjusting.memory()

    def listen(
        self,
        demand: DemandMatrix,
        config: Config,
        usable: Peering,
        states: Mapping[str, ForwardingState],
        changeable: Collection[str],
    ) -> dict[str, Any]:
        """Take what comes in and what is on the borders; return what people see of it.

        usable: the part of the peering that is borne out. states: what was read back, by router. changeable: routers.
        """
        self._found = None
        if config.intents.ingress is not Ingress.APPLY:
            return ingress(demand, config.peering, usable, config.inventory, config.intents)
        now = time.time()
        self._found = survey(demand, config.peering, usable, config.inventory)
        self._adjusting.see(states, config.peering, changeable, now)
        return adjusted_ingress(self._found, self._adjusting, now)

    def planned(self, decision: Decision, running: ForwardingState, changeable: Collection[str]) -> Decision:
        """Return a decision that has nothing else to do with the next change as its plan, if there is one.

        Where the intents do not ask for changes, that is to take back what there is.
        """
        self._intended = None
        moves: tuple[AnnouncementMove, ...]
        if self._found is not None:
            self._intended = self._adjusting.next(self._found, time.time())
            moves = (self._intended.move,) if self._intended else ()
        else:
            moves = tuple(AnnouncementMove(k, None) for k in sorted(running.announcements) if k.headend in changeable)
        if not moves:
            return decision
        worst = max(report.links(decision), key=lambda link: float(link["utilisation"]), default=None)
        step = Step(moves, worst["utilisation"], worst["id"]) if worst else Step(moves, 0.0)
        return replace(decision, plan=Plan(Urgency.OPTIMISE, (step,)))

    def carried_out(self, plan: Plan, outcome: Outcome) -> None:
        """Take how the plan ended that was made here last; of any other plan nothing."""
        intended, self._intended = self._intended, None
        if intended is None or not any(intended.move in step.moves for step in plan.steps):
            return
        self._adjusting.done(intended, time.time(), "" if outcome.done else outcome.reason)
        _log.info(
            "announcement.changed" if outcome.done else "announcement.not_changed",
            purpose=intended.purpose.name.lower(),
            border=intended.move.key.headend,
            peer=intended.move.key.peer,
            prefix=str(intended.move.key.prefix),
        )

    @property
    def doubts(self) -> list[str]:
        """Say which changes did not help, or could not be made."""
        return self._adjusting.doubts(time.time()) if self._found is not None else []


async def take_back(
    states: Mapping[str, ForwardingState], devices: Devices, check: Check, frozen: Collection[str], deadline_s: float
) -> list[str]:
    """Leave every announcement as the operator has it, at once; return the borders to be read again.

    states: what was read back, by router. frozen: routers that are left alone all the same.
    """
    touched = [name for name, state in sorted(states.items()) if state.announcements and name not in frozen]

    async def one(border: str) -> None:
        moves = [AnnouncementMove(key, None) for key in sorted(states[border].announcements)]
        _log.warning("announcements.taken_back", border=border, announcements=len(moves))
        try:
            async with asyncio.timeout(deadline_s):
                await devices.apply(border, moves, check)
        except (DeviceError, TimeoutError) as error:
            _log.error("announcements.not_taken_back", border=border, why=str(error) or f"not within {deadline_s:g} s")

    await asyncio.gather(*(one(border) for border in touched))
    return touched
