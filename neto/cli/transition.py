"""`neto transition`: the steps from one offline allocation to another in which nothing is overloaded."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console, Group, RenderableType

from neto.cli.output import write_json
from neto.cli.plan_view import links_by_step
from neto.cli.tables import mbps, percent, table
from neto.controller.deadline import NEVER, Deadline
from neto.controller.reallocation import Reallocation, reallocate
from neto.errors import InputError, Problem
from neto.model.allocation import Allocation
from neto.model.demand import Demand
from neto.model.topology import Topology
from neto.wire.allocation_file import read_allocation
from neto.wire.plan_file import FilePlanStep, plan_document
from neto.wire.repetita import read_graph

_NAMED = 5  # things that a message names at most
_ROUNDING = 1e-6


def transition(
    graph: Annotated[Path, typer.Option("--graph", help="The topology, a REPETITA .graph.")],
    from_file: Annotated[Path, typer.Option("--from", help="The allocation that runs, from `neto solve --json`.")],
    to_file: Annotated[Path, typer.Option("--to", help="The allocation to reach: the same demands.")],
    headroom: Annotated[
        float,
        typer.Option(
            "--headroom",
            help="Share of every link that allocations are meant to leave free, so that moves have room. Moves use "
            "it: in a step a link may fill up, to its capacity or to what it carries already if that is more. An "
            "allocation that leaves less is named, since it makes plans longer.",
        ),
    ] = 0.1,
    limit: Annotated[
        float | None, typer.Option("--limit", help="Seconds, after which the first plan that was found has to do.")
    ] = None,
    json_out: Annotated[str | None, typer.Option("--json", help="Write the plan here; - for standard output.")] = None,
) -> None:
    """Plan offline: the fewest steps in which no link is overloaded, whatever order routers act in.

    Where nothing can move otherwise, the lowest class is sent slower between two steps, by as little as possible,
    and the plan says so. Exit code 1: there is no safe plan.
    """
    if not (math.isfinite(headroom) and 0 <= headroom < 1):
        accepted = f"{headroom} is out of range; accepted: at least 0, less than 1"
        raise InputError([Problem("command line", 0, "--headroom", accepted)])
    if limit is not None and not limit > 0:
        raise InputError([Problem("command line", 0, "--limit", f"{limit} is out of range; accepted: more than 0")])
    topology = read_graph(graph)
    now, then = _read(topology, from_file, to_file)
    joint = _joined(now, then, to_file)
    classes = [each.traffic_class for each in now.classes]
    deadline = NEVER if limit is None else Deadline.after(limit)
    found = reallocate(joint, classes, now, then, deadline)
    notes = _notes(found, late=deadline.passed)
    for name, allocation in (("--from", now), ("--to", then)):
        tight = _tight(allocation, headroom)
        if tight:
            print(f"neto: {name} leaves less than {headroom:.0%} free on {_some(tight)}", file=sys.stderr)
    if found.way.blocked:
        names = _some([joint.links[link].id for link in found.way.blocked])
        print(f"neto: no safe plan: whatever moves next would overload {names}", file=sys.stderr)
        raise typer.Exit(1)
    if json_out is not None:
        write_json(json_out, json.dumps(plan_document(_steps(joint, now, found), notes), allow_nan=False))
    if json_out != "-":
        Console().print(_view(joint, found, notes))


def _read(topology: Topology, from_file: Path, to_file: Path) -> tuple[Allocation, Allocation]:
    """Read both allocations, the second in the order of the first; raise InputError with all that is wrong."""
    read: list[Allocation] = []
    problems: list[Problem] = []
    for file in (from_file, to_file):
        try:
            read.append(read_allocation(file, topology))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    now, then = read
    problems = list(_differences(now, then, str(from_file), str(to_file)))
    if problems:
        raise InputError(problems)
    rows = {_name(demand): row for row, demand in enumerate(then.demands)}
    return now, _in_order(then, [rows[_name(demand)] for demand in now.demands])


def _differences(now: Allocation, then: Allocation, from_file: str, to_file: str) -> Iterator[Problem]:
    """Say in what the demands are not the same; how much they ask for may differ."""
    here, there = ({_name(demand): demand for demand in each.demands} for each in (now, then))
    same = f"accepted: the demands of {from_file}"
    for name in sorted(here.keys() - there.keys()):
        yield Problem(to_file, 0, name, f"is missing; {same}")
    for name in sorted(there.keys() - here.keys()):
        yield Problem(to_file, 0, name, f"is not in {from_file}; {same}")
    for name in sorted(here.keys() & there.keys()):
        old, new = here[name], there[name]
        if (old.source, old.target) != (new.source, new.target):
            said = f"runs from {new.source} to {new.target}, before from {old.source} to {old.target}"
            yield Problem(to_file, 0, name, f"{said}; {same}")
    order, other = ([each.traffic_class for each in allocation.classes] for allocation in (now, then))
    if order != other and not here.keys() ^ there.keys():
        said = f"{', '.join(other)} is another order of precedence"
        yield Problem(to_file, 0, "solver.classes", f"{said}; accepted: {', '.join(order)}")


def _in_order(allocation: Allocation, rows: Sequence[int]) -> Allocation:
    paths = allocation.paths
    spans = [range(int(paths.demand_start[row]), int(paths.demand_start[row + 1])) for row in rows]
    keep = np.array([path for span in spans for path in span], dtype=np.int64)
    links = [paths.path(int(path)) for path in keep]
    return Allocation(
        allocation.topology,
        tuple(allocation.demands[row] for row in rows),
        type(paths)(
            np.cumsum([0, *map(len, spans)]).astype(np.int64),
            np.cumsum([0, *map(len, links)]).astype(np.int64),
            np.array([link for path in links for link in path], dtype=np.int32),
            paths.delay_us[keep],
        ),
        allocation.rate_mbps[keep],
        allocation.classes,
    )


def _joined(now: Allocation, then: Allocation, to_file: Path) -> Topology:
    """Return the links of both: peering links stand in the files, and each file may have its own."""
    here, there = now.topology, then.topology
    problems = [
        Problem(
            str(to_file), 0, f"links.{link.id}", "is another link than before; accepted: the same ends and capacity"
        )
        for link in there.links
        if link.id in here.link_row and here.links[here.link_row[link.id]] != link
    ]
    if problems:
        raise InputError(problems)
    return Topology(
        here.nodes + tuple(node for node in there.nodes if node.name not in here.node_row),
        here.links + tuple(link for link in there.links if link.id not in here.link_row),
    )


def _name(demand: Demand) -> str:
    return f"{demand.traffic_class}/{demand.id}"


def _tight(allocation: Allocation, headroom: float) -> list[str]:
    """Name the links that an allocation fills beyond the headroom, the fullest first."""
    used = allocation.load_mbps / allocation.topology.capacity_mbps
    over = np.flatnonzero(used > (1 - headroom) * (1 + _ROUNDING))
    return [allocation.topology.links[link].id for link in over[np.argsort(-used[over], kind="stable")]]


def _notes(found: Reallocation, *, late: bool) -> list[str]:
    notes = []
    if late and found.way.bound < len(found.way.states):
        notes.append(f"the time was up; at least {found.way.bound} steps are needed")
    if found.way.at_once:
        notes.append(
            "some steps rely on a head-end changing all paths of a demand at the same instant: packets that are "
            "still under way on the old paths are not counted twice"
        )
    if found.way.lowered_mbps > 0:
        lowered = f"{found.way.lowered_mbps:.6g}"
        notes.append(f"nothing could move otherwise: the lowest class is sent {lowered} Mbit/s slower in between")
    return notes


def _steps(joint: Topology, now: Allocation, found: Reallocation) -> list[FilePlanStep]:
    return [
        FilePlanStep(
            {
                _name(now.demands[row]): {
                    tuple(joint.links[link].id for link in path): rate for path, rate in rates.items()
                }
                for row, rates in moves.items()
            },
            float(used.max(initial=0.0)),
        )
        for moves, used in zip(found.moves(), found.utilisation, strict=True)
    ]


def _view(joint: Topology, found: Reallocation, notes: Sequence[str]) -> RenderableType:
    shifts = found.way.shifts
    rows = []
    for number, (moves, used) in enumerate(zip(found.moves(), found.utilisation, strict=True), start=1):
        worst = joint.links[int(used.argmax())].id if len(used) else "-"
        rate = sum(sum(rates.values()) for rates in moves.values())
        rows.append((str(number), str(len(moves)), mbps(rate), percent(float(used.max(initial=0.0))), worst))
    columns = ("step", "demands that move", "their Mbit/s", "worst utilisation", "on link")
    title = f"{len(rows)} {'step' if len(rows) == 1 else 'steps'}, each safe in any order"
    if len(rows) > 1 and found.way.bound == len(rows):
        title += "; rates that only move from old to new need as many"
    before = shifts.loads(shifts.before)[-1] / shifts.capacity
    links = links_by_step([link.id for link in joint.links], before, found.utilisation)
    return Group(table(title, columns, rows, right=columns[:4]), "", links, *notes)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
