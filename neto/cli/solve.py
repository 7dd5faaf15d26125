"""`neto solve`: allocate demands from files on a topology from a file."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from neto.cli.output import write_json
from neto.cli.solve_view import solution
from neto.controller.allocation import allocate
from neto.controller.deadline import NEVER, Deadline
from neto.controller.paths import candidate_paths, take_paths
from neto.controller.peering import join, left_out
from neto.controller.segments import pin_path
from neto.errors import InputError, Problem
from neto.model.allocation import PathSet
from neto.model.demand import Demand
from neto.model.intent import MOST_ALPHA, TrafficClass
from neto.model.peering import Egress, Peering
from neto.model.topology import Topology
from neto.settings.peering import load_offline
from neto.wire.allocation_file import allocation_document
from neto.wire.repetita import line_of, read_demands, read_graph

DEFAULT_CLASS = "default"


@dataclass(frozen=True, slots=True)
class _Input:
    """What the files say, and which file each demand stands in."""

    joint: Topology
    classes: tuple[TrafficClass, ...]
    demands: tuple[Demand, ...]
    files: tuple[Path, ...]  # (demands,)
    egresses: tuple[Egress, ...]


def solve(
    graph: Annotated[Path, typer.Option("--graph", help="The topology, a REPETITA .graph.")],
    demands: Annotated[
        list[str] | None,
        typer.Option("--demands", help="CLASS=FILE, highest class first, REPETITA .demands; a bare FILE is one class."),
    ] = None,
    peering: Annotated[
        Path | None, typer.Option("--peering", help="ISPs, exits, and demands toward them (TOML).")
    ] = None,
    paths: Annotated[int, typer.Option("--paths", help="Candidate paths of each demand.")] = 4,
    headroom: Annotated[float, typer.Option("--headroom", help="Share of every link that stays free.")] = 0.0,
    max_sids: Annotated[int | None, typer.Option("--max-sids", help="Longest segment list of a path.")] = None,
    limit: Annotated[
        float | None, typer.Option("--limit", help="Seconds, after which quicker ways have to do.")
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", help="Fairness, above 0 to 4: the lower, the more in all. Left out: max-min fair."),
    ] = None,
    json_out: Annotated[
        str | None, typer.Option("--json", help="Write the allocation here; - for standard output.")
    ] = None,
    *,
    diverse: Annotated[
        bool, typer.Option("--diverse", help="One path of each demand avoids the links of the shortest.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Exactly max-min fair, however large the problem.")] = False,
) -> None:
    """Allocate offline: strict precedence of classes, max-min fair inside a class, then the least delay."""
    _check_options(paths, headroom, max_sids, alpha, limit)
    given = _read(graph, demands or [], peering, math.inf if alpha is None else alpha)
    began = time.perf_counter()
    deadline = NEVER if limit is None else Deadline.after(limit)
    candidates = candidate_paths(given.joint, given.demands, given.classes, given.egresses, paths, diverse=diverse)
    _refuse_unconnected(given, candidates)
    if max_sids is not None:
        candidates = _within_depth(given.joint, candidates, max_sids)
    available = given.joint.capacity_mbps * (1 - headroom)
    allocation = allocate(
        given.joint, given.demands, given.classes, candidates, available, exact=exact, deadline=deadline
    )
    seconds = time.perf_counter() - began
    if json_out is not None:
        used = np.flatnonzero(allocation.rate_mbps > 0).tolist()
        segments = {row: pin_path(given.joint, candidates.path(row)) for row in used}
        write_json(json_out, json.dumps(allocation_document(allocation, segments, seconds), allow_nan=False))
    if json_out != "-":
        Console().print(solution(allocation, available))


def _check_options(paths: int, headroom: float, max_sids: int | None, alpha: float | None, limit: float | None) -> None:
    wrong = (
        ("--paths", paths, paths >= 1, "at least 1"),
        ("--headroom", headroom, math.isfinite(headroom) and 0 <= headroom < 1, "at least 0, less than 1"),
        ("--max-sids", max_sids, max_sids is None or max_sids >= 1, "at least 1"),
        ("--alpha", alpha, alpha is None or 0 < alpha <= MOST_ALPHA, f"more than 0, at most {MOST_ALPHA:g}"),
        ("--limit", limit, limit is None or limit > 0, "more than 0"),
    )
    problems = [
        _option(key, f"{value} is out of range; accepted: {what}") for key, value, fine, what in wrong if not fine
    ]
    if problems:
        raise InputError(problems)


def _option(key: str, message: str) -> Problem:
    return Problem("command line", 0, key, message)


def _read(graph: Path, named: Sequence[str], peering_file: Path | None, alpha: float) -> _Input:
    """Read all files; raise InputError with the problems of all of them."""
    topology = read_graph(graph)
    problems: list[Problem] = []
    demands: list[Demand] = []
    files: list[Path] = []
    classes: dict[str, None] = {}
    for text in named:
        name, path = _class_and_file(text)
        if name in classes:
            problems.append(
                _option("--demands", f"the class {name!r} is named twice; accepted: one file for each class")
            )
        classes[name] = None
        try:
            read = read_demands(path, topology, name)
        except InputError as error:
            problems += error.problems
        else:
            demands += read
            files += [path] * len(read)
    peering = Peering()
    if peering_file is not None:
        try:
            peering, toward_isps = load_offline(peering_file, [node.name for node in topology.nodes])
        except InputError as error:
            problems += error.problems
        else:
            problems += [
                Problem(str(peering_file), 0, f"peering_link.{name}", reason)
                for name, reason in left_out(topology, peering).items()
            ]
            taken = {(demand.traffic_class, demand.id) for demand in demands}
            problems += [
                Problem(str(peering_file), 0, f"demand.{demand.id}", f"class {demand.traffic_class} has such a demand")
                for demand in toward_isps
                if (demand.traffic_class, demand.id) in taken
            ]
            demands += toward_isps
            files += [peering_file] * len(toward_isps)
            classes |= dict.fromkeys(demand.traffic_class for demand in toward_isps)
    if not named and peering_file is None:
        problems.append(_option("--demands", "is missing; accepted: CLASS=FILE or FILE, or --peering with demands"))
    if problems:
        raise InputError(problems)
    # Nobody has told labels here; exits are pinned by name all the same.
    links = tuple(replace(link, peer_adjacency_sid=0) for link in peering.links)
    joint = join(topology, replace(peering, links=links))
    return _Input(
        joint,
        tuple(TrafficClass(name, alpha=alpha) for name in classes),
        tuple(demands),
        tuple(files),
        peering.egresses,
    )


def _class_and_file(text: str) -> tuple[str, Path]:
    """Split "gold=FILE"; a bare FILE is the default class."""
    name, equals, path = text.partition("=")
    if not equals or "/" in name or not name:
        return DEFAULT_CLASS, Path(text)
    return name, Path(path)


def _refuse_unconnected(given: _Input, candidates: PathSet) -> None:
    """Raise InputError with every demand that nothing connects to its target."""
    without = np.flatnonzero(np.diff(candidates.demand_start) == 0).tolist()
    if without:
        raise InputError(_unconnected(given, without))


def _unconnected(given: _Input, rows: Sequence[int]) -> Iterator[Problem]:
    for row in rows:
        demand, file = given.demands[row], given.files[row]
        line = 0 if demand.target not in given.joint.node_row else line_of(file, demand.id)
        said = f"no path from {demand.source} to {demand.target}; accepted: demands between connected nodes"
        yield Problem(str(file), line, demand.id, said)


def _within_depth(joint: Topology, candidates: PathSet, max_sids: int) -> PathSet:
    """Leave out the paths that no list of max_sids segments pins."""
    count = len(candidates.delay_us)
    kept = [len(pin_path(joint, candidates.path(row))) <= max_sids for row in range(count)]
    return take_paths(candidates, np.array(kept, dtype=bool))
