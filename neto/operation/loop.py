"""The control loop: inputs in, one decision, one plan carried out; again, every period and whenever something happens.

Heavy thinking runs in a thread. What runs on routers is what was read back, never what was meant to be. A head-end
that could not be read, or whose session is down, is left as it is: it is frozen for this cycle, and asked again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto

import structlog

from neto.controller.cycle import decide, withdraw_plan
from neto.controller.overtaken import overtaken
from neto.controller.path_cache import PathCache
from neto.errors import DeviceError, LeaseLostError
from neto.ha.leader import Term
from neto.model.peering import Peering
from neto.model.plan import AnnouncementMove, Plan
from neto.model.snapshot import Decision, Snapshot
from neto.model.sr import ForwardingState
from neto.operation import mode, report
from neto.operation.announcing import Announcing, take_back
from neto.operation.inputs import Inputs, with_margin, with_peer_sids
from neto.operation.mode import Mode, Operation
from neto.operation.options import adjusting_rules, cycle_options, ramp_policy, trust_limits
from neto.operation.parts import (
    DemandSource,
    Devices,
    Outcome,
    PeeringSource,
    PlanRunner,
    RouteSource,
    TopologySource,
)
from neto.operation.records import ADJUSTING, Records
from neto.operation.shift import moved_share
from neto.scheduler.constraints import in_window
from neto.settings.load import Config
from neto.store.protocol import Action

READ_BACK_EVERY = 10  # cycles, when nothing asked for it sooner: what somebody else changed is found by then
MOST_POSTPONED = 3  # plans in a row that are dropped before they begin
ACTION_POLL_S = 0.5  # an operator's word takes effect within this


class Result(Enum):
    """How a cycle went, as far as the ramp is concerned."""

    CLEAN = auto()  # what should be on the routers is, read back
    WAITS = auto()  # for a person, a router, or something more urgent: no reason to grow, none to fall back
    FAILED = auto()


@dataclass(frozen=True)
class Parts:
    """What the loop drives."""

    topology: TopologySource
    demand: DemandSource
    devices: Devices
    routes: RouteSource
    runner: PlanRunner
    peers: Callable[[], list[dict[str, object]]]  # every session, for people
    outside: PeeringSource | None = None  # None: all that the operator lists may be used


class ControlLoop:
    """One leader's work. Inert until `run`."""

    def __init__(self, config: Config, parts: Parts, records: Records, term: Term, *, observe: bool) -> None:
        self._config = config
        self._parts = parts
        self._records = records
        self._term = term
        self._observe = observe
        self._log = structlog.get_logger("loop")
        settings = config.settings
        self._ramp = ramp_policy(settings)
        self._options = cycle_options(settings)
        self._paths = PathCache()
        self._inputs = Inputs(trust_limits(settings))
        self._announcing = Announcing(adjusting_rules(settings))
        self._operation = mode.begin(self._ramp, observe=observe or settings.ramp.start == "observe")
        self._running: dict[str, ForwardingState] = {}
        self._unread: dict[str, str] = dict.fromkeys(config.inventory.router, "not read yet")
        self._since_read = 0
        self._approved = False
        self._cycle_id: int | None = None
        self._began = time.time()
        self._wake = asyncio.Event()
        self._urgent = False
        self._postponed = 0
        self._plan_runs = False

    # What others say to the loop

    def nudge(self, reason: str) -> None:
        """Decide soon: the topology or a session changed. A plan that runs stops before its next step."""
        if not self._urgent:
            self._log.info("cycle.nudged", by=reason)
        self._urgent = True
        self._wake.set()
        if self._plan_runs:
            self._parts.runner.interrupt(reason)

    async def reload(self, config: Config) -> None:
        """Take a new reading of the operator's files.

        Raises whatever a decision on it raises; then the old one goes on.
        """
        snapshot = self._snapshot(config, portion=self._operation.portion)
        if snapshot is not None:
            await asyncio.to_thread(decide, snapshot, cycle_options(config.settings))
        self._config = config
        self._options = cycle_options(config.settings)
        self.nudge("reload")

    async def leave(self) -> None:
        """Go back to legacy forwarding in steps that overload nothing, as far as that goes; not while `run` runs.

        Announcements are left as the operator has them.
        """
        if self._operation.mode is not Mode.OBSERVE:
            await self._take_back()
        snapshot = self._snapshot(self._config, portion=0.0)
        if snapshot is None or self._cycle_id is None or not self._running_routes():
            return
        plan = await asyncio.to_thread(withdraw_plan, snapshot, self._options)
        self._log.info("leaving.withdraws", steps=len(plan.steps), stops_short=plan.stuck or "no")
        await self._run(plan, self._cycle_id, snapshot)

    def _running_routes(self) -> int:
        return sum(len(state.routes) for state in self._running.values())

    @property
    def operation(self) -> Operation:
        """Where the daemon stands."""
        return self._operation

    # The loop itself

    async def resume(self, stood: Operation | None) -> ForwardingState:
        """Go on where the last leader stood, if there was one: read every router back and return what they have."""
        if stood is not None and not self._observe:
            self._operation = stood
        self._announcing.restore(await self._records.adjusting())
        await self._take_over_demand()
        await self._read(self._config.inventory.router)
        return merged(self._running.values())

    async def _take_over_demand(self) -> None:
        """Decide on what the last leader knew until we know more, if what it counted by is what we count by."""
        last, config = await self._records.last_snapshot(), self._config
        if last is None or (last.inventory, last.intents.classes, last.peering.groups) != (
            *(config.inventory, config.intents.classes, config.peering.groups),
        ):
            return
        measured = with_margin(last.demand, 1 / (1 + config.settings.safety.demand_margin / 100) - 1)
        if self._inputs.take_over(measured, time.time()):
            self._log.info("demand.taken_over", age_s=round(time.time() - measured.ends))

    async def run(self) -> None:
        """Cycle until cancelled."""
        self._log.info("operation.begins", mode=str(self._operation.mode), portion=self._operation.portion)
        async with asyncio.TaskGroup() as work:
            work.create_task(self._obey(), name="operator actions")
            while True:
                await self._cycle()
                await self._rest()

    async def _rest(self) -> None:
        """Wait for the next period, or for a nudge and then until it has been quiet for a moment."""
        cycle = self._config.settings.cycle
        try:
            async with asyncio.timeout(cycle.period_s):
                await self._wake.wait()
        except TimeoutError:
            return
        while self._wake.is_set():
            self._wake.clear()
            await asyncio.sleep(cycle.settle_s)

    async def _cycle(self) -> None:
        """Go once from inputs to routers."""
        started = time.time()
        if not self._leads():
            return
        await self._read_back()
        self._listen(started)
        if self._parts.outside is not None:
            await self._parts.outside.hear(self._config.peering, started)
        await self._records.inputs(self._heard())
        if self._operation.mode is Mode.LEGACY:
            await self._fall_back()
        shown = 1.0 if self._operation.mode is Mode.OBSERVE else self._operation.portion
        snapshot = self._snapshot(self._config, portion=shown)
        unheard = self._unheard(started)
        if snapshot is None or unheard:
            waits_for = f"flows of {', '.join(unheard)}" if unheard else "a topology and a demand"
            self._log.info("cycle.waits", waits_for=waits_for)
            await self._records.waiting(self._operation, [*self._doubts(), f"waits for {waits_for}"])
            return
        decision = self._with_announcements(await asyncio.to_thread(decide, snapshot, self._options, self._paths))
        cycle = self._cycle_id = await self._records.begin(snapshot, self._operation, started)
        await self._records.decided(cycle, decision, snapshot, self._operation, self._doubts())
        result, reason = Result.WAITS, ""
        if self._operation.pushes:
            result, reason = await self._carry_out(cycle, decision, snapshot)
        before = self._operation
        if result is not Result.WAITS:
            clean = result is Result.CLEAN
            self._operation = mode.after_cycle(before, self._ramp, clean=clean, reason=reason)
        await self._records.ended(cycle, self._operation, result=result.name.lower(), reason=reason)
        self._tell(cycle, decision, before, started)
        if self._operation.portion > before.portion or (decision.plan.stuck and decision.plan.steps):
            self._wake.set()  # what can go on need not wait for the period

    def _with_announcements(self, decision: Decision) -> Decision:
        """Let a decision that has nothing to do change an announcement, if everything is as it should be."""
        doubts = self._inputs.topology_doubt or self._inputs.demand_doubt or self._unread or self._urgent
        if self._operation.mode is not Mode.FULL or decision.plan.steps or decision.plan.stuck or doubts:
            return decision
        return self._announcing.planned(decision, merged(self._running.values()), self._changeable())

    def _leads(self) -> bool:
        """Tell whether we may act now: a beat that is late says no, and the next one yes again.

        Raises LeaseLostError when another daemon leads.
        """
        try:
            self._term.check()
        except LeaseLostError as error:
            if self._term.lost.is_set():
                raise
            self._log.warning("cycle.skipped", why=str(error))
            return False
        return True

    def _listen(self, now: float) -> None:
        """Take what the monitoring agents say, as far as it is believed; what they say from now on comes too late."""
        self._urgent = False
        sources = self._parts
        self._inputs.hear_topology(sources.topology.topology())
        self._inputs.hear_demand(sources.demand.demand(now), now)
        if self._inputs.topology_doubt and self._inputs.topology is not None and self._operation.pushes:
            self._log.error("operation.freezes", why=self._inputs.topology_doubt)
            self._operation = mode.freeze(self._operation, self._inputs.topology_doubt)

    def _snapshot(self, config: Config, *, portion: float) -> Snapshot | None:
        """Return the inputs of a cycle; None while there is no topology or no demand yet."""
        if self._inputs.topology is None or self._inputs.demand is None:
            return None
        untouchable = {name for name in config.inventory.router if self._left_alone(name)}
        return Snapshot(
            topology=self._inputs.topology,
            demand=with_margin(self._inputs.demand, config.settings.safety.demand_margin / 100),
            inventory=config.inventory,
            peering=with_peer_sids(self._usable(config.peering), self._parts.topology.peer_sids()),
            intents=replace(
                config.intents,
                frozen=config.intents.frozen | untouchable,
                drained_nodes=config.intents.drained_nodes | self._parts.topology.overloaded,
            ),
            running=merged(self._running.values()),
            portion=portion,
        )

    def _usable(self, listed: Peering) -> Peering:
        """Return what of the operator's peering may be used now."""
        return listed if self._parts.outside is None else self._parts.outside.usable(listed)

    def _unheard(self, now: float) -> list[str]:
        """Return exporters to wait for: without their flows the load of links is not known, so nothing is moved.

        After the demand's time to live those that still say nothing are taken to have nothing to say. It counts from
        when their windows can be whole: of what they sent before we began, and of what they tell last.
        """
        netflow = self._config.settings.netflow
        whole_s = 2 * (netflow.active_timeout_s + netflow.window_s)
        if self._inputs.topology is None or now - self._began > netflow.ttl_s + whole_s:
            return []
        there = self._inputs.topology.node_row
        exporting = [r.name for r in self._config.inventory.routers if r.exporters and r.name in there]
        return self._inputs.unheard(exporting, now, netflow.window_s * netflow.smooth)

    def _left_alone(self, headend: str) -> bool:
        """Tell whether a router of ours cannot be changed now."""
        known = headend in self._config.inventory.router
        return known and (headend in self._unread or headend not in self._parts.routes.up)

    def _changeable(self) -> frozenset[str]:
        """Return the routers that may be changed now."""
        config, hour = self._config, datetime.now(UTC).time()
        return frozenset(
            router.name
            for router in config.inventory.routers
            if not (router.frozen or router.name in config.intents.frozen or self._left_alone(router.name))
            and in_window(router.name, config.intents.windows, hour)
        )

    async def _carry_out(self, cycle: int, decision: Decision, snapshot: Snapshot) -> tuple[Result, str]:
        """Run the plan; say whether all of it is on the routers, and if not, why."""
        plan = decision.plan
        held = self._held(decision, snapshot)
        if held:
            self._log.error("plan.held", why=held, cycle=cycle, release="neto approve")
            return Result.WAITS, held
        if plan.steps and self._urgent and self._postponed < MOST_POSTPONED:
            self._postponed += (
                1  # decided on what is no longer so; a network that never rests must not stop us for ever
            )
            return Result.WAITS, "something changed while this was decided"
        self._postponed = 0
        if plan.steps:
            self._approved = False
            worst = max(plan.steps, key=lambda step: step.worst_utilisation)
            self._log.info(
                "plan.begins",
                urgency=str(plan.urgency),
                steps=len(plan.steps),
                moves=sum(len(step.moves) for step in plan.steps),
                worst_link=worst.worst_link,
                worst_in_any_order=f"{worst.worst_utilisation:.1%}",
            )
            outcome = await self._run(plan, cycle, snapshot)
            adjusts = any(isinstance(move, AnnouncementMove) for step in plan.steps for move in step.moves)
            if adjusts:
                self._announcing.carried_out(plan, outcome)
                await self._records.remember(self._announcing.memory())
            if not outcome.done:
                self._log.warning("plan.failed", cycle=cycle, why=outcome.reason)
                if adjusts:  # what is steered is as it should be
                    return Result.WAITS, outcome.reason
                # One that gave way to something more urgent is no failure: the next starts from what was read back.
                return (Result.WAITS if self._urgent else Result.FAILED), outcome.reason
        absent = [node.name for node in snapshot.topology.nodes if self._left_alone(node.name)]
        if absent:
            return Result.WAITS, f"left alone: {', '.join(sorted(absent))}"
        # A plan that stops short is safe where it stops. It goes on from there, and when it cannot, a larger portion
        # leaves more to choose from; a smaller one would send traffic back to where it is too much.
        return (Result.WAITS if plan.stuck and plan.steps else Result.CLEAN), plan.stuck

    async def _run(self, plan: Plan, cycle: int, planned: Snapshot) -> Outcome:
        """Run a plan; what the devices said after it is what runs."""
        touched = {move.key.headend for step in plan.steps for move in step.moves}
        self._plan_runs = True
        watch = asyncio.create_task(self._watch_demand(plan, planned), name="demand during a plan")
        try:
            outcome = await self._parts.runner.run(plan, cycle)
        finally:
            self._plan_runs = False
            watch.cancel()
            await asyncio.wait([watch])
        if not watch.cancelled():
            watch.result()
        self._running.update(outcome.read)
        if not outcome.done:
            doubtful = outcome.unverified | (touched - outcome.read.keys())
            self._unread.update(dict.fromkeys(doubtful, outcome.reason))
        return outcome

    async def _watch_demand(self, plan: Plan, planned: Snapshot) -> None:
        """Stop a plan before a step that demand, as it is now, makes unsafe; ends when it has, or when cancelled.

        It was planned with a margin on every rate: what is measured is asked about without one, so it may wobble.
        """
        while True:
            await asyncio.sleep(self._config.settings.netflow.window_s)
            self._inputs.hear_demand(self._parts.demand.demand(time.time()), time.time())
            heard = self._inputs.demand
            if heard is None or heard.ends <= planned.demand.ends:
                continue
            why = await asyncio.to_thread(overtaken, planned, plan, self._parts.runner.begun, heard)
            if why:
                self._log.warning("plan.overtaken", why=why)
                self.nudge("demand")
                return

    def _held(self, decision: Decision, snapshot: Snapshot) -> str:
        """Say why a person has to look at this plan first; "" when nobody has to."""
        safety = self._config.settings.safety
        moves = sum(len(step.moves) for step in decision.plan.steps)
        if self._approved or not moves:
            return ""
        if moves > safety.max_moves:
            return f"{moves} moves (accepted: {safety.max_moves})"
        shift = moved_share(decision, snapshot)
        if shift * 100 > safety.max_shift:
            return f"moves {shift:.0%} of the traffic (accepted: {safety.max_shift:.0f}%)"
        return ""

    async def _fall_back(self) -> None:
        """Steer nothing, and add nothing to what neighbours are told: the kill switch is pulled."""
        if self._leads() and await self._take_back():
            await self._read_back()
        if self._parts.routes.announced:
            await self._withdraw_all()
            self._unread.update(dict.fromkeys(self._config.inventory.router, "withdrawn"))
            await self._read_back()

    async def _take_back(self) -> list[str]:
        """Leave announcements as the operator has them; return the borders where that was tried, to be read again."""
        inventory, intents = self._config.inventory, self._config.intents
        frozen = intents.frozen | {router.name for router in inventory.routers if router.frozen}
        deadline_s = self._config.settings.scheduler.deadline_s
        touched = await take_back(self._running, self._parts.devices, self._term.check, frozen, deadline_s)
        self._unread.update(dict.fromkeys(touched, "announcements taken back"))
        return touched

    async def _withdraw_all(self) -> None:
        """Withdraw every route; what cannot be withdrawn now is tried again with the next cycle."""
        self._log.warning("legacy.withdraws", routes=len(self._parts.routes.announced))
        try:
            if self._leads():
                await self._parts.routes.withdraw_all(self._term.check)
        except DeviceError as error:
            self._log.error("legacy.not_withdrawn", why=str(error))

    # Reading routers back

    async def _read_back(self) -> None:
        """Read routers whose state is not known, and now and then all of them."""
        self._since_read += 1
        if self._since_read >= READ_BACK_EVERY:
            self._since_read = 0
            await self._read(self._config.inventory.router)
        elif self._unread:
            await self._read(tuple(self._unread))

    async def _read(self, headends: Iterable[str]) -> None:
        async with asyncio.TaskGroup() as work:
            for headend in sorted(headends):
                work.create_task(self._read_one(headend), name=f"read {headend}")

    async def _read_one(self, headend: str) -> None:
        try:
            state = await self._parts.devices.read(headend)
        except DeviceError as error:
            if headend not in self._unread:
                self._log.warning("device.unverified", device=headend, why=str(error))
            self._unread[headend] = str(error)
            return
        if headend in self._unread:
            self._log.info("device.read", device=headend, policies=len(state.policies), routes=len(state.routes))
        self._unread.pop(headend, None)
        self._running[headend] = state

    # Operators

    async def _obey(self) -> None:
        """Carry out what operators say through the store."""
        while True:
            for action in await self._records.new_actions():
                self._operation = self._after(action)
                await self._records.obeyed(action, self._operation)
                self._log.warning("operator.said", what=action.what, who=action.who, mode=str(self._operation.mode))
                if action.what == "legacy":
                    await self._withdraw_all()  # now; the next cycle looks again
                self.nudge(f"neto {action.what}")
            await asyncio.sleep(ACTION_POLL_S)

    def _after(self, action: Action) -> Operation:
        """Return where an operator's word leaves the daemon."""
        match action.what:
            case "legacy":
                return mode.to_legacy(f"neto legacy by {action.who}")
            case "freeze":
                return mode.freeze(self._operation, f"neto freeze by {action.who}")
            case "approve":
                self._approved = True
            case "resume":
                seen = self._parts.topology.topology()
                if seen is not None:
                    self._inputs.accept_topology(seen)
                return mode.resume(self._operation, self._ramp)
        return self._operation

    # Telling

    def _heard(self) -> dict[str, object]:
        """Put what the agents say as documents."""
        documents: dict[str, object] = {"peers": self._parts.peers()}
        if self._inputs.topology is not None:
            documents["topology"] = report.topology(self._inputs.topology, self._parts.topology.problems)
        if self._inputs.demand is not None:
            source = self._parts.demand
            documents["demand"] = report.demand(self._inputs.demand, source.counters, source.health)
            config = self._config
            usable = self._usable(config.peering)
            documents["ingress"] = self._announcing.listen(
                self._inputs.demand, config, usable, self._running, self._changeable()
            )
            documents[ADJUSTING] = self._announcing.memory()
        if self._parts.outside is not None:
            documents |= self._parts.outside.documents()
        return documents

    def _doubts(self) -> list[str]:
        """List what is not as it should be."""
        doubts = [doubt for doubt in (self._inputs.topology_doubt, self._inputs.demand_doubt) if doubt]
        doubts += self._inputs.demand_gaps
        doubts += self._announcing.doubts
        doubts += self._parts.outside.doubts if self._parts.outside is not None else ()
        doubts += [f"{name} is unverified: {why}" for name, why in sorted(self._unread.items())]
        down = [name for name in self._config.inventory.router if name not in self._parts.routes.up]
        doubts += [f"BGP session to {name} is down" for name in down]
        if self._operation.reason:
            doubts.append(f"{self._operation.mode}: {self._operation.reason}")
        return doubts

    def _tell(self, cycle: int, decision: Decision, before: Operation, started: float) -> None:
        worst = max(report.links(decision), key=lambda link: float(link["utilisation"]), default=None)
        over = sum(link["utilisation"] > 1 for link in report.links(decision))
        stands = "no link over capacity" if not over else f"{over} links over capacity"
        self._log.info(
            "cycle.done",
            cycle=cycle,
            mode=str(before.mode),
            stands=f"portion {before.portion:.0%}, {stands}".replace("%", " %", 1),
            steps=len(decision.plan.steps),
            moves=sum(len(step.moves) for step in decision.plan.steps),
            worst_link=worst["id"] if worst else "-",
            worst=f"{worst['utilisation']:.1%}" if worst else "-",
            unplaced=len(decision.unplaced),
            seconds=round(time.time() - started, 2),
        )


def merged(states: Iterable[ForwardingState]) -> ForwardingState:
    """Put the states of several head-ends together."""
    all_states = list(states)
    return ForwardingState(
        policies={key: policy for state in all_states for key, policy in state.policies.items()},
        routes={key: route for state in all_states for key, route in state.routes.items()},
        announcements={key: each for state in all_states for key, each in state.announcements.items()},
    )
