"""`neto-allocation/1`: an allocation as a JSON document, written by `neto solve` and read by `neto transition`.

Rates are Mbit/s, delays µs. Paths run from source to target; only those that carry something are written. Segments are
names of nodes, or `link:ID` for a segment that pins one link.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neto.errors import InputError, Problem
from neto.model.allocation import Allocation, ClassReport, PathSet
from neto.model.demand import Demand
from neto.model.sr import Segment, SidKind
from neto.model.topology import Link, Node, NodeKind, Topology

FORMAT = "neto-allocation/1"
_CLOSE = 1e-6  # relative difference between two sums that are meant to be equal


def allocation_document(
    allocation: Allocation, segments: Mapping[int, Sequence[Segment]], seconds: float
) -> dict[str, Any]:
    """Return the document. segments: of each path row that carries something."""
    links = allocation.topology.links
    loads = allocation.load_mbps
    paths = allocation.paths
    demands = []
    for row, demand in enumerate(allocation.demands):
        used = [p for p in range(paths.demand_start[row], paths.demand_start[row + 1]) if allocation.rate_mbps[p] > 0]
        demands.append(
            {
                "id": demand.id,
                "class": demand.traffic_class,
                "source": demand.source,
                "target": demand.target,
                "requested_mbps": demand.rate_mbps,
                "allocated_mbps": float(allocation.allocated_mbps[row]),
                "paths": [
                    {
                        "links": [links[link].id for link in paths.path(path)],
                        "rate_mbps": float(allocation.rate_mbps[path]),
                        "delay_us": float(paths.delay_us[path]),
                        "segments": [_segment(segment) for segment in segments[path]],
                    }
                    for path in used
                ],
            }
        )
    return {
        "format": FORMAT,
        "links": [
            {
                "id": link.id,
                "source": link.source,
                "target": link.target,
                "capacity_mbps": link.capacity_mbps,
                "load_mbps": float(load),
            }
            for link, load in zip(links, loads, strict=True)
        ],
        "demands": demands,
        "solver": {
            "seconds": seconds,
            "classes": [
                {"class": each.traffic_class, "seconds": each.seconds, "status": each.status}
                for each in allocation.classes
            ],
        },
    }


def _segment(segment: Segment) -> str:
    return segment.name if segment.kind is SidKind.NODE else f"link:{segment.name}"


def read_allocation(path: Path, topology: Topology) -> Allocation:
    """Read an allocation on `topology`; links of the file that end at no node of it are peering links behind it.

    Classes are in order of precedence as the file's solver lists them, and then as demands name them. Raises
    InputError with every problem found: what is no number, unknown, torn, or adds up to something else than it says.
    """
    document = _load(path)
    reader = _Reader(str(path), topology)
    allocation = reader.allocation(document)
    if reader.problems:
        raise InputError(reader.problems)
    return allocation


def _load(path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
        return found

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except OSError as error:
        raise InputError([Problem(str(path), 0, "", f"cannot be read: {error.strerror}")]) from error
    except json.JSONDecodeError as error:
        raise InputError([Problem(str(path), error.lineno, "", f"is not JSON: {error.msg}")]) from error
    except RecursionError as error:
        raise InputError([Problem(str(path), 0, "", "is nested too deeply")]) from error
    except ValueError as error:
        raise InputError([Problem(str(path), 0, "", f"cannot be used: {error}")]) from error


class _Reader:
    """Turns the document into nouns; notes every problem and goes on with a harmless value."""

    def __init__(self, file: str, topology: Topology) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._topology = topology

    def allocation(self, document: Any) -> Allocation:
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            self._wrong("format", f"is not an allocation; accepted: an object whose format is {FORMAT}")
            document = {}
        loads: dict[str, tuple[str, float]] = {}
        joint = self._joint(document, loads) if document else self._topology
        demands: list[Demand] = []
        routes: list[list[tuple[tuple[int, ...], float, float]]] = []
        seen: dict[tuple[str, str], str] = {}
        for row, item in enumerate(self._list(document, "demands", "demands") if document else ()):
            key = f"demands[{row}]"
            demand = self._demand(item, key)
            name = (demand.traffic_class, demand.id)
            if seen.setdefault(name, key) != key:
                self._wrong(key, f"{demand.traffic_class}/{demand.id} is already {seen[name]}; accepted: a new id")
            demands.append(demand)
            routes.append(self._paths(item, key, demand, joint))
        return self._assemble(joint, demands, routes, self._classes(document, demands), loads)

    def _assemble(
        self,
        joint: Topology,
        demands: Sequence[Demand],
        routes: Sequence[Sequence[tuple[tuple[int, ...], float, float]]],
        classes: Sequence[tuple[str, float, str]],
        loads: Mapping[str, tuple[str, float]],
    ) -> Allocation:
        flat = [route for each in routes for route in each]
        paths = PathSet(
            np.concatenate([[0], np.cumsum([len(each) for each in routes])]).astype(np.int64),
            np.concatenate([[0], np.cumsum([len(links) for links, _, _ in flat])]).astype(np.int64),
            np.array([link for links, _, _ in flat for link in links], dtype=np.int32),
            np.array([delay for _, _, delay in flat], dtype=np.float64),
        )
        rate = np.array([rate for _, rate, _ in flat], dtype=np.float64)
        given = np.bincount(paths.demand_of, rate, minlength=len(demands))
        reports = []
        for name, seconds, status in classes:
            mine = [row for row, demand in enumerate(demands) if demand.traffic_class == name]
            wanted = sum(demands[row].rate_mbps for row in mine)
            reports.append(ClassReport(name, status, seconds, wanted, float(given[mine].sum())))
        allocation = Allocation(joint, tuple(demands), paths, rate, tuple(reports))
        if not self.problems:
            for link, (key, said) in loads.items():
                carried = float(allocation.load_mbps[joint.link_row[link]])
                self._same(said, carried, key, "the sum over the paths")
        return allocation

    def _joint(self, document: Mapping[str, Any], loads: dict[str, tuple[str, float]]) -> Topology:
        """Check the links against the graph and put peering links behind it. Fills `loads`: key and load by link."""
        nodes, links = list(self._topology.nodes), list(self._topology.links)
        isps: set[str] = set()
        for row, item in enumerate(self._list(document, "links", "links")):
            key = f"links[{row}]"
            name, source, target = (self._text(item, field, key) for field in ("id", "source", "target"))
            capacity = self._number(item, "capacity_mbps", key)
            load = self._number(item, "load_mbps", key)
            if name in loads:
                self._wrong(f"{key}.id", f"{name!r} stands twice; accepted: a new id")
            loads[name] = (f"{key}.load_mbps", load)
            known = self._topology.link_row.get(name)
            if known is not None:
                link = self._topology.links[known]
                if (link.source, link.target) != (source, target):
                    said = f"{name!r} runs from {source!r} to {target!r}; in the graph from {link.source!r} to "
                    self._wrong(key, f"{said}{link.target!r}")
                self._same(capacity, link.capacity_mbps, f"{key}.capacity_mbps", "that of the graph")
            elif source not in self._topology.node_row or target in self._topology.node_row:
                said = f"{name!r} is no link of the graph, nor one from a node of it to an ISP"
                self._wrong(f"{key}.id", f"{said}; accepted: links of the graph, peering links")
            else:
                links.append(Link(name, source, target, capacity, igp_metric=0))
                if target not in isps:
                    isps.add(target)
                    nodes.append(Node(target, NodeKind.ISP))
        return Topology(tuple(nodes), tuple(links)) if not self.problems else self._topology

    def _demand(self, item: Any, key: str) -> Demand:
        source = self._text(item, "source", key)
        if source and source not in self._topology.node_row:
            self._wrong(f"{key}.source", f"{source!r} is no node of the graph; accepted: a node of it")
        return Demand(
            self._text(item, "id", key),
            self._text(item, "class", key),
            source,
            self._text(item, "target", key),
            self._number(item, "requested_mbps", key),
        )

    def _paths(
        self, item: Any, key: str, demand: Demand, joint: Topology
    ) -> list[tuple[tuple[int, ...], float, float]]:
        found: list[tuple[tuple[int, ...], float, float]] = []
        for row, path in enumerate(self._list(item, "paths", f"{key}.paths")):
            where = f"{key}.paths[{row}]"
            links = self._path_links(path, where, demand, joint)
            rate = self._number(path, "rate_mbps", where)
            delay = self._number(path, "delay_us", where)
            if any(links == other for other, _, _ in found):
                self._wrong(where, "stands twice for this demand; accepted: each path once")
            found.append((links, rate, delay))
        allocated = self._number(item, "allocated_mbps", key)
        self._same(allocated, sum(rate for _, rate, _ in found), f"{key}.allocated_mbps", "the sum over the paths")
        if allocated > demand.rate_mbps * (1 + _CLOSE) + _CLOSE:
            self._wrong(f"{key}.allocated_mbps", f"{allocated:g} is more than requested; accepted: at most that")
        return found

    def _path_links(self, path: Any, key: str, demand: Demand, joint: Topology) -> tuple[int, ...]:
        """Link rows of a path that runs, without a loop, from the demand's source to its target."""
        rows = []
        at = demand.source
        visited = {at}
        for hop, name in enumerate(self._list(path, "links", f"{key}.links")):
            row = joint.link_row.get(name) if isinstance(name, str) else None
            if row is None:
                self._wrong(f"{key}.links[{hop}]", f"{name!r:.80} is no link; accepted: the id of a link")
                return ()
            link = joint.links[row]
            if link.source != at or link.target in visited:
                problem = f"comes back to {link.target!r}" if link.source == at else f"does not start at {at!r}"
                self._wrong(f"{key}.links[{hop}]", f"{name!r} {problem}; accepted: a path without loops")
                return ()
            at = link.target
            visited.add(at)
            rows.append(row)
        kind = joint.nodes[joint.node_row[at]].kind if at in joint.node_row else NodeKind.ROUTER
        if at != demand.target and (kind is NodeKind.ROUTER or demand.target in joint.node_row):
            self._wrong(f"{key}.links", f"ends at {at!r}; accepted: a path to {demand.target!r}")
        return tuple(rows)

    def _classes(self, document: Mapping[str, Any], demands: Sequence[Demand]) -> list[tuple[str, float, str]]:
        """Name, seconds and status of each class, highest first."""
        found: dict[str, tuple[str, float, str]] = {}
        solver = document.get("solver", {})
        listed = self._list(solver, "classes", "solver.classes") if solver else ()
        for row, item in enumerate(listed):
            key = f"solver.classes[{row}]"
            name = self._text(item, "class", key)
            if name in found:
                self._wrong(f"{key}.class", f"{name!r} stands twice; accepted: each class once")
            found[name] = (name, self._number(item, "seconds", key), self._text(item, "status", key))
        for demand in demands:
            found.setdefault(demand.traffic_class, (demand.traffic_class, 0.0, ""))
        return list(found.values())

    def _wrong(self, key: str, message: str) -> None:
        self.problems.append(Problem(self._file, 0, key, message))

    def _same(self, said: float, found: float, key: str, what: str) -> None:
        if abs(said - found) > _CLOSE * max(abs(said), abs(found), 1.0):
            self._wrong(key, f"{said:g} is not {what}, {found:g}")

    def _list(self, item: Any, field: str, key: str) -> list[Any]:
        value = item.get(field) if isinstance(item, dict) else None
        if isinstance(value, list):
            return value
        self._wrong(key, "is missing or not a list; accepted: a list")
        return []

    def _text(self, item: Any, field: str, key: str) -> str:
        value = item.get(field) if isinstance(item, dict) else None
        if isinstance(value, str) and value:
            return value
        self._wrong(f"{key}.{field}", f"{value!r:.80} is not accepted; accepted: a name")
        return ""

    def _number(self, item: Any, field: str, key: str) -> float:
        value = item.get(field) if isinstance(item, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max:
            return float(value)
        self._wrong(f"{key}.{field}", f"{value!r:.80} is not accepted; accepted: a finite number, at least 0")
        return 0.0
