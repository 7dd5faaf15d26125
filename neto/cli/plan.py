"""`neto plan`: the latest plan step by step, and how full every link gets in each step, worked out from what is stored.

The loads are not what the daemon wrote down: the stored inputs of the cycle are replayed here, every mixture of moved
and unmoved, so that they can be compared with what it said.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console, Group
from rich.text import Text

from neto.cli import tables
from neto.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from neto.cli.plan_view import links_by_step
from neto.controller.replay import after_moves, step_peak
from neto.controller.world import World
from neto.errors import NetoError
from neto.model.snapshot import Decision, Snapshot
from neto.model.topology import Mbps
from neto.operation.shift import moved_share
from neto.settings.load import load_settings
from neto.settings.main import Safety
from neto.store.codec import decode
from neto.store.sqlite_read import open_reader


@dataclass(frozen=True, eq=False, slots=True)
class _Review:
    """A stored plan, replayed."""

    document: dict[str, Any]  # as `neto show plan` has it
    links: tuple[str, ...]
    before: Mbps  # (links,) load / capacity
    steps: list[Mbps]  # (links,) highest load / capacity of each step
    shift: float  # share of the traffic that it touches
    pushed: bool  # whether any of it was


def plan(config: ConfigOption = DEFAULT_CONFIG, *, as_json: JsonOption = False) -> None:
    """Show the latest plan: its moves, and the worst utilisation of each link in each step.

    Exit code 1: the plan is over the shift limit, and waits for `neto approve`.
    """
    settings = load_settings(config)
    found = asyncio.run(_read(settings.state_dir / "neto.db"))
    moves = sum(len(step["moves"]) for step in found.document["steps"])
    held = _held(settings.safety, moves, found)
    if as_json:
        print(json.dumps(_told(found, held), indent=1))
    else:
        head = Text(f"touches {found.shift:.1%} of the traffic (accepted: {settings.safety.max_shift:.0f}%)")
        waits = [Text(f"waits for `neto approve`: {held}", style="red")] if held else []
        table = links_by_step(found.links, found.before, found.steps)
        Console().print(Group(tables.plan(found.document), "", table, "", head, *waits))
    if held:
        raise typer.Exit(1)


async def _read(store: Path) -> _Review:
    """Read the latest plan and the cycle that it belongs to, and replay it."""
    async with await open_reader(store) as reader:
        document = await reader.document("plan")
        if document is None:
            raise NetoError("the store has no plan yet: nothing had to be changed so far")
        told = document.json()
        stored = await reader.cycle(told["cycle"])
        tasks = await reader.tasks(told["cycle"])
    if stored is None or stored.decision is None:
        raise NetoError(f"cycle {told['cycle']} is not kept any more; `neto show plan` has what was said about it")
    return _replayed(told, decode(stored.snapshot, Snapshot), decode(stored.decision, Decision), pushed=len(tasks) > 0)


def _replayed(told: dict[str, Any], snapshot: Snapshot, decision: Decision, *, pushed: bool) -> _Review:
    world = World(snapshot)
    capacity, state = world.joint.capacity_mbps, snapshot.running
    before = world.forwarding.loads(state, world.demand).sum(axis=0) / capacity
    steps = []
    for step in decision.plan.steps:
        steps.append(step_peak(world.forwarding, state, step.moves, world.demand)[-1] / capacity)
        state = after_moves(state, step.moves)
    links = tuple(link.id for link in world.joint.links)
    return _Review(told, links, before, steps, moved_share(decision, snapshot), pushed)


def _held(safety: Safety, moves: int, found: _Review) -> str:
    """Say why a person has to look first; "" when nobody has to, or the plan has begun."""
    if found.pushed or not moves:
        return ""
    if moves > safety.max_moves:
        return f"{moves} moves (accepted: {safety.max_moves})"
    if found.shift * 100 > safety.max_shift:
        return f"moves {found.shift:.0%} of the traffic (accepted: {safety.max_shift:.0f}%)"
    return ""


def _told(found: _Review, held: str) -> dict[str, Any]:
    ways = np.array([found.before, *found.steps]).T
    links = [
        {"id": name, "before": shares[0], "steps": shares[1:]}
        for name, shares in zip(found.links, ways.tolist(), strict=True)
    ]
    return {**found.document, "links": links, "shift": found.shift, "held": held}
