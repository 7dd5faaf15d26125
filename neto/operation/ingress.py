"""What comes in by peering links, and which announcements to make less attractive where it is too much.

Other networks decide where traffic enters: this is advice for people, one change at a time, each to be measured before
the next. A link is measured where the operator tells its `interface` and flow records of its border come.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neto.controller.ingress import Advice, advise
from neto.model.announcement import Change
from neto.model.demand import DemandMatrix
from neto.model.intent import Ingress, Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering, PeeringLink

Document = dict[str, Any]
_MUCH = 0.01  # of what is known to come in at a border


def ingress(
    demand: DemandMatrix, peering: Peering, usable: Peering, inventory: Inventory, intents: Intents
) -> Document:
    """Return links with what comes in by them, and the changes to make, the first first.

    usable: the part of the peering that is borne out. What lists exits and now has none is no way in either: it is
    shown, and nothing is meant to move there.
    """
    if intents.ingress is Ingress.OFF:
        return {"mode": str(intents.ingress), "links": [], "proposals": [], "missing": [], "closed": []}
    missing = {link.name: why for link in peering.links if (why := _unmeasured(link, demand, inventory))}
    links = [link for link in peering.links if link.name not in missing]
    own = [(router.name, prefix) for router in inventory.routers for prefix in router.prefixes]
    closed = {each.peering_link for each in peering.egresses} - {each.peering_link for each in usable.egresses}
    advice = _advice(links, own, demand, peering, closed)
    rows = [_row(link, index, advice) for index, link in enumerate(links)]
    order = sorted(range(len(rows)), key=lambda index: -float(rows[index]["inbound_mbps"] / rows[index]["limit_mbps"]))
    return {
        "mode": str(intents.ingress),
        "links": [rows[index] for index in order],
        "proposals": [
            {
                "peering_link": links[each.link].name,
                "prefix": str(own[each.prefix][1]),
                "router": own[each.prefix][0],
                "change": str(each.change),
                "how": _how(each.change, links[each.link]),
                "rate_mbps": each.rate_mbps,
            }
            for each in advice.proposals
        ],
        "missing": [*(f"{link}: {why}" for link, why in missing.items()), *_unlisted(links, advice, demand)],
        "closed": sorted(closed.intersection(link.name for link in links)),
    }


def _unmeasured(link: PeeringLink, demand: DemandMatrix, inventory: Inventory) -> str:
    """Say why it is not known what comes in by a link; "" when it is."""
    if link.interface is None:
        return "no interface is given in the peering file"
    border = inventory.router.get(link.node)
    if border is None or not border.exporters:
        return f"no exporters of {link.node} are given in the inventory"
    return f"{link.node} tells no flows now" if link.node in demand.missing_exporters else ""


def _unlisted(links: list[PeeringLink], advice: Advice, demand: DemandMatrix) -> list[str]:
    """Say which borders take in much that goes to no prefix we know: it may have come by a link, and is not in it."""
    inbound: dict[str, float] = {}
    for link, rate_mbps in zip(links, advice.before_mbps.tolist(), strict=True):
        inbound[link.node] = inbound.get(link.node, 0.0) + rate_mbps
    return [
        f"{each.source}: {each.rate_mbps:,.1f} Mbit/s toward prefixes that no file lists, in whichever way it came"
        for each in demand.unknown
        if each.source in inbound and each.rate_mbps > _MUCH * inbound[each.source]
    ]


def _advice(
    links: list[PeeringLink], own: list[tuple[str, Any]], demand: DemandMatrix, peering: Peering, closed: set[str]
) -> Advice:
    """Ask for advice; the last column is what goes to no prefix of ours: it is there, and cannot be moved."""
    row = {link.name: index for index, link in enumerate(links)}
    column = {each: index for index, each in enumerate(own)}
    rates = np.zeros((len(links), len(own) + 1))
    for each in demand.inbound:
        if each.peering_link in row:
            rates[row[each.peering_link], column.get((each.target, each.prefix), len(own))] += each.rate_mbps
    announced = np.zeros(rates.shape, np.bool_)
    for index, link in enumerate(links):
        some = frozenset() if link.name in closed else None if link.announced is None else frozenset(link.announced)
        announced[index, :-1] = [some is None or prefix in some for _, prefix in own]
    isps = {isp.name: number for number, isp in enumerate(peering.isps)}
    return advise(
        rates,
        announced,
        np.array([_limit(link) for link in links]),
        np.array([isps[link.isp] for link in links], np.int64),
        np.array([bool(link.lower_community) for link in links], np.bool_),
    )


def _limit(link: PeeringLink) -> float:
    return link.capacity_mbps if link.inbound_limit_mbps is None else link.inbound_limit_mbps


def _row(link: PeeringLink, index: int, advice: Advice) -> Document:
    """One link as people see it: before, and, if the advice is taken, after at best, and between which bounds."""
    limit, inbound = _limit(link), float(advice.before_mbps[index])
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
