"""What the daemon tells people: nouns -> plain documents for `neto show`, the store, and whoever reads JSON.

Rates are Mbit/s, delays µs, shares 0..1, times unix seconds. Every function is pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from neto.controller.peering import whole
from neto.model.allocation import Allocation
from neto.model.announcement import Adjustment
from neto.model.demand import DemandMatrix, ExporterHealth
from neto.model.peering import Peering
from neto.model.plan import AnnouncementMove, Move, Plan, PolicyMove
from neto.model.snapshot import Decision
from neto.model.sr import Route, SrPolicy
from neto.model.topology import Topology

Document = dict[str, Any]


def topology(now: Topology, problems: Sequence[str]) -> Document:
    """Nodes and links as BGP-LS tells them, and what was refused."""
    return {
        "nodes": [
            {"name": n.name, "router_id": n.router_id, "node_sid": n.node_sid, "max_sid_depth": n.max_sid_depth}
            for n in now.nodes
        ],
        "links": [
            {
                "id": link.id,
                "source": link.source,
                "target": link.target,
                "capacity_mbps": link.capacity_mbps,
                "delay_us": link.delay_us,
                "igp_metric": link.igp_metric,
                "srlgs": sorted(link.srlgs),
                "adjacency_sid": link.adjacency_sid,
            }
            for link in now.links
        ],
        "problems": list(problems),
    }


def demand(now: DemandMatrix, counters: Mapping[str, int], health: Sequence[ExporterHealth] = ()) -> Document:
    """Rates by source, target and class; what could not be told; the collector's counters and its exporters' health."""
    rates: dict[tuple[str, str, str], float] = defaultdict(float)
    for rate in now.rates:
        rates[rate.source, rate.target, rate.traffic_class] += rate.rate_mbps
    rows = [
        {"source": source, "target": target, "class": traffic_class, "rate_mbps": rate_mbps}
        for (source, target, traffic_class), rate_mbps in sorted(rates.items())
    ]
    return {
        "begins": now.begins,
        "ends": now.ends,
        "total_mbps": sum(rates.values()),
        "unknown_mbps": now.unknown_mbps,
        "unknown": [{"source": each.source, "rate_mbps": each.rate_mbps} for each in now.unknown],
        "unknown_prefixes": [
            {"source": each.source, "prefix": str(each.prefix), "rate_mbps": each.rate_mbps}
            for each in now.unknown_prefixes
        ],
        "missing_exporters": sorted(now.missing_exporters),
        "missing_leaves": sorted(now.missing_leaves),
        "doubtful": dict(now.doubtful),
        "rates": rows,
        "counters": dict(counters),
        "health": [asdict(each) for each in health],
    }


def allocation(decision: Decision, portion: float) -> Document:
    """Who got what over which path, and how full every link will be."""
    given = decision.allocation
    return {
        "portion": portion,
        "classes": [
            {
                "class": report.traffic_class,
                "status": report.status,
                "seconds": report.seconds,
                "requested_mbps": report.requested_mbps,
                "allocated_mbps": report.allocated_mbps,
            }
            for report in given.classes
        ],
        "links": links(decision),
        "demands": list(_demands(given)),
        "unplaced": list(decision.unplaced),
        "warnings": list(decision.warnings),
    }


def links(decision: Decision) -> list[Document]:
    """Predicted load of each link of the joint graph once the plan is done."""
    joint = decision.joint
    with np.errstate(divide="ignore", invalid="ignore"):
        utilisation = np.nan_to_num(decision.predicted_mbps / joint.capacity_mbps)
    return [
        {
            "id": link.id,
            "source": link.source,
            "target": link.target,
            "capacity_mbps": link.capacity_mbps,
            "load_mbps": float(decision.predicted_mbps[row]),
            "legacy_mbps": float(decision.legacy_mbps[row]),
            "utilisation": float(utilisation[row]),
        }
        for row, link in enumerate(joint.links)
    ]


def _demands(given: Allocation) -> Iterable[Document]:
    names = [link.id for link in given.topology.links]
    for row, wanted in enumerate(given.demands):
        used = range(int(given.paths.demand_start[row]), int(given.paths.demand_start[row + 1]))
        yield {
            "id": wanted.id,
            "class": wanted.traffic_class,
            "source": wanted.source,
            "target": wanted.target,
            "requested_mbps": wanted.rate_mbps,
            "allocated_mbps": float(given.allocated_mbps[row]),
            "paths": [
                {
                    "links": [names[link] for link in given.paths.path(path)],
                    "rate_mbps": float(given.rate_mbps[path]),
                    "delay_us": float(given.paths.delay_us[path]),
                }
                for path in used
                if given.rate_mbps[path] > 0
            ],
        }


def peering(decision: Decision, outside: Peering) -> Document:
    """Load of each peering link, and through which exits each prefix group leaves from each router."""
    rows = {link["id"]: link for link in links(decision)}
    exits: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    groups = {group.name for group in outside.groups}
    for wanted in _demands(decision.allocation):
        if (group := whole(wanted["target"])) in groups:
            for path in wanted["paths"]:
                exits[group, wanted["source"]][path["links"][-1]] += path["rate_mbps"]
    return {
        "links": [
            {
                "name": link.name,
                "node": link.node,
                "isp": link.isp,
                "capacity_mbps": link.capacity_mbps,
                "load_mbps": rows[link.name]["load_mbps"] if link.name in rows else 0.0,
                "up": link.name in rows,
            }
            for link in outside.links
        ],
        "groups": [
            {"prefix_group": group, "source": source, "exits": dict(sorted(shares.items()))}
            for (group, source), shares in sorted(exits.items())
        ],
    }


def plan(now: Plan, cycle: int) -> Document:
    """The steps, each with its moves in words."""
    return {
        "cycle": cycle,
        "urgency": str(now.urgency),
        "stuck": now.stuck,
        "steps": [
            {
                "moves": [move_in_words(move) for move in step.moves],
                "worst_utilisation": step.worst_utilisation,
                "worst_link": step.worst_link,
            }
            for step in now.steps
        ],
    }


def move_in_words(move: Move) -> Document:
    """One move as an operator would say it."""
    if isinstance(move, PolicyMove):
        what = policy_in_words(move.policy) if move.policy else "removed"
        subject = f"policy {move.key.colour} to {move.key.endpoint}"
    elif isinstance(move, AnnouncementMove):
        what = adjustment_in_words(move.adjustment) if move.adjustment else "as it was: nothing is added any more"
        subject = f"announcement of {move.key.prefix} to {move.key.peer}"
    else:
        what = route_in_words(move.route) if move.route else "withdrawn: back on legacy"
        subject = f"route {move.key.prefix}"
    return {"kind": str(move.kind), "device": move.key.headend, "subject": subject, "becomes": what}


def policy_in_words(policy: SrPolicy) -> str:
    """Segment lists with their shares, or the classes that a per-flow policy tells apart."""
    if policy.per_flow:
        return ", ".join(f"dscp {'other' if dscp < 0 else dscp} -> {colour}" for dscp, colour in policy.per_flow)
    total = sum(each.weight for each in policy.segment_lists)
    return "; ".join(
        f"{each.weight / total:.0%} via " + " ".join(segment.name or str(segment.label) for segment in each.segments)
        for each in policy.segment_lists
    )


def route_in_words(route: Route) -> str:
    """Next hop and colour."""
    return f"next hop {route.next_hop}, colour {route.colour}"


def adjustment_in_words(adjustment: Adjustment) -> str:
    """What is added to an announcement."""
    if adjustment.community:
        return f"with community {adjustment.community}"
    if adjustment.med is not None:
        return f"with MED {adjustment.med}"
    return f"with {' '.join(map(str, adjustment.prepend))} before the path"
