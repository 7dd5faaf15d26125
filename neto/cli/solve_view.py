"""An offline allocation on a terminal: how each class fared, the fullest links, and what holds demands back."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from neto.cli.tables import mbps, ms, percent, table
from neto.controller.bottleneck import binding_links, unsatisfied
from neto.model.allocation import Allocation
from neto.model.topology import Mbps

_SHOWN = 10


def solution(allocation: Allocation, available_mbps: Mbps) -> RenderableType:
    """Classes, links and bottlenecks."""
    return Group(
        _classes(allocation),
        *_proofs(allocation),
        "",
        _links(allocation),
        "",
        *_bottlenecks(allocation, available_mbps),
    )


def _classes(allocation: Allocation) -> RenderableType:
    short = set(unsatisfied(allocation).tolist())
    carried = allocation.rate_mbps * allocation.paths.delay_us
    delay = np.bincount(allocation.paths.demand_of, carried, minlength=len(allocation.demands))
    rows = []
    for each in allocation.classes:
        mine = [row for row, demand in enumerate(allocation.demands) if demand.traffic_class == each.traffic_class]
        satisfied = sum(row not in short for row in mine)
        rows.append(
            (
                each.traffic_class,
                mbps(each.requested_mbps),
                mbps(each.allocated_mbps),
                f"{each.allocated_mbps / each.requested_mbps:.2%}" if each.requested_mbps else "-",
                f"{satisfied} of {len(mine)}",
                ms(float(delay[mine].sum()) / each.allocated_mbps) if each.allocated_mbps else "-",
                f"{each.seconds:.3f}",
                each.status,
            )
        )
    columns = ("class", "asked Mbit/s", "given Mbit/s", "share", "satisfied", "delay ms", "seconds", "status")
    return table("Classes, highest first", columns, rows, right=columns[1:-1])


def _proofs(allocation: Allocation) -> list[RenderableType]:
    """Say how good the answer is at least, class by class."""
    proofs: list[RenderableType] = []
    for each in allocation.classes:
        gap = each.delay_gap
        said = (
            "delay: how near it is to the least is unknown" if gap is None else f"delay within {gap:.2%} of the least"
        )
        if each.allocated_mbps < each.requested_mbps:
            said = f"{each.justified:.1%} of those who get less have a bottleneck on every path; {said}"
        proofs.append(Text(f"{each.traffic_class}: {said}", style="dim"))
    return proofs


def _links(allocation: Allocation) -> RenderableType:
    topology = allocation.topology
    load, capacity = allocation.load_mbps, topology.capacity_mbps
    full = np.divide(load, capacity, out=np.zeros_like(load), where=capacity > 0)
    worst = np.argsort(-full, kind="stable")[:_SHOWN]
    columns = ("id", "from", "to", "Mbit/s", "load", "full")
    rows = (
        (
            topology.links[row].id,
            topology.links[row].source,
            topology.links[row].target,
            mbps(capacity[row]),
            mbps(load[row]),
            percent(float(full[row])),
        )
        for row in worst.tolist()
    )
    return table(f"Links, the {len(worst)} fullest of {len(load)}", columns, rows, right=columns[3:])


def _bottlenecks(allocation: Allocation, available_mbps: Mbps) -> list[RenderableType]:
    """Links that are full on the shortest path of a demand that got less than it asks."""
    short = unsatisfied(allocation).tolist()
    if not short:
        return [Text("every demand is satisfied", style="bold green")]
    start = allocation.paths.demand_start
    without_path = [row for row in short if start[row] == start[row + 1]]
    binding = binding_links(allocation, available_mbps)
    held: dict[int, list[int]] = defaultdict(list)
    for row in short:
        if start[row] < start[row + 1]:
            held[int(binding[start[row]])].append(row)
    missing = np.array([demand.rate_mbps for demand in allocation.demands]) - allocation.allocated_mbps
    worst = sorted(held, key=lambda link: -float(missing[held[link]].sum()))[:_SHOWN]
    rows = []
    for link in worst:
        least = min(held[link], key=lambda row: allocation.allocated_mbps[row] / allocation.demands[row].rate_mbps)
        demand = allocation.demands[least]
        rows.append(
            (
                allocation.topology.links[link].id if link >= 0 else "(none full)",
                str(len(held[link])),
                mbps(float(missing[held[link]].sum())),
                f"{demand.traffic_class}/{demand.id}: {demand.source} to {demand.target}",
                f"{allocation.allocated_mbps[least] / demand.rate_mbps:.1%}",
            )
        )
    columns = ("full link", "demands held", "Mbit/s short", "worst off", "gets")
    title = f"Bottlenecks: {len(short)} of {len(allocation.demands)} demands get less than they ask"
    notes = [
        Text(f"{allocation.demands[row].id}: no path is within the bounds", style="yellow")
        for row in without_path[:_SHOWN]
    ]
    return [table(title, columns, rows, right=("demands held", "Mbit/s short", "gets")), *notes]
