"""What people see of what comes in by peering links: how much, what to change, what was changed and what it brought.

Other networks decide where traffic enters: advice is one change at a time, each to be measured before the next.
"""

from __future__ import annotations

from typing import Any

from neto.controller.ingress import Advice
from neto.model.announcement import Change
from neto.model.demand import DemandMatrix
from neto.model.intent import Ingress, Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering, PeeringLink
from neto.operation.adjusting import Adjusting
from neto.operation.inbound import Survey, survey

Document = dict[str, Any]


def ingress(
    demand: DemandMatrix, peering: Peering, usable: Peering, inventory: Inventory, intents: Intents
) -> Document:
    """Return links with what comes in by them, and the changes to make, the first first.

    usable: the part of the peering that is borne out.
    """
    if intents.ingress is Ingress.OFF:
        return {"mode": str(intents.ingress), "links": [], "proposals": [], "missing": [], "closed": [], "applied": []}
    found = survey(demand, peering, usable, inventory)
    return _document(found, found.advice(), intents.ingress)


def adjusted_ingress(found: Survey, adjusting: Adjusting, now: float) -> Document:
    """Return the same where changes are made by themselves, with those that were."""
    document = _document(found, adjusting.advice(found, now), Ingress.APPLY)
    return {**document, "applied": adjusting.rows(now)}


def _document(found: Survey, advice: Advice, mode: Ingress) -> Document:
    rows = [_row(found, index, advice) for index in range(len(found.links))]
    return {
        "mode": str(mode),
        "links": sorted(rows, key=lambda row: -float(row["inbound_mbps"] / row["limit_mbps"])),
        "proposals": [
            {
                "peering_link": found.links[each.link].name,
                "prefix": str(found.own[each.prefix][1]),
                "router": found.own[each.prefix][0],
                "change": str(each.change),
                "how": _how(each.change, found.links[each.link]),
                "rate_mbps": each.rate_mbps,
            }
            for each in advice.proposals
        ],
        "missing": list(found.missing),
        "closed": sorted(found.closed.intersection(found.row)),
        "applied": [],
    }


def _row(found: Survey, index: int, advice: Advice) -> Document:
    """One link as people see it: before, and, if the advice is taken, after at best, and between which bounds."""
    link, limit = found.links[index], float(found.limit_mbps[index])
    inbound = float(advice.before_mbps[index])
    return {
        "peering_link": link.name,
        "border": link.node,
        "isp": link.isp,
        "limit_mbps": limit,
        "inbound_mbps": inbound,
        "after_mbps": float(advice.after_mbps[index]),
        "least_mbps": float(advice.least_mbps[index]),
        "most_mbps": float(advice.most_mbps[index]),
        "state": _state(inbound, float(advice.most_mbps[index]), limit, stays=index in advice.over),
    }


def _state(inbound_mbps: float, most_mbps: float, limit_mbps: float, *, stays: bool) -> str:
    if inbound_mbps > limit_mbps:
        return "stays over" if stays else "over"
    return "may be over" if most_mbps > limit_mbps else "ok"


def _how(change: Change, link: PeeringLink) -> str:
    """Say what to change in the announcement."""
    if change is Change.COMMUNITY:
        return f"announce it there with community {link.lower_community}"
    if change is Change.MED:
        return "announce it there with a higher MED"
    return "announce it there with your AS once more in the path"
