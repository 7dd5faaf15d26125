"""What comes in by peering links, as flow records tell it: by link and prefix of ours.

A link is measured where the operator tells its `interface` and flow records of its border come.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neto.controller.ingress import Advice, Mask, Mbps, advise
from neto.model.demand import DemandMatrix
from neto.model.inventory import Inventory
from neto.model.peering import Peering, PeeringLink, Prefix

At = tuple[str, Prefix]  # peering link and prefix
_MUCH = 0.01  # of what is known to come in at a border


@dataclass(frozen=True, eq=False)
class Survey:
    """One measurement. What lists exits and now has none (`closed`) is no way in either: nothing should move there."""

    links: tuple[PeeringLink, ...]  # those that are measured
    own: tuple[tuple[str, Prefix], ...]  # routers and what they originate
    rate_mbps: Mbps  # (links, own + 1); the last column is what goes to no prefix of ours, and cannot be moved
    isps: Mapping[str, int]
    closed: frozenset[str]
    begins: float  # unix seconds
    missing: tuple[str, ...] = ()  # what is not measured, and why

    @cached_property
    def row(self) -> Mapping[str, int]:
        """Row of each link."""
        return {link.name: index for index, link in enumerate(self.links)}

    @cached_property
    def column(self) -> Mapping[Prefix, int]:
        """Column of each prefix of ours."""
        return {prefix: index for index, (_, prefix) in enumerate(self.own)}

    @cached_property
    def inbound_mbps(self) -> Mbps:
        """(links,) all that comes in."""
        return np.asarray(self.rate_mbps.sum(axis=1))

    @cached_property
    def limit_mbps(self) -> Mbps:
        """(links,) that should come in at most."""
        limits = (link.capacity_mbps if (at := link.inbound_limit_mbps) is None else at for link in self.links)
        return np.array([*limits], np.float64)

    def toward(self, prefix: Prefix) -> dict[str, float]:
        """Return what comes in toward a prefix of ours, Mbit/s by link."""
        column = self.column[prefix]
        return {link.name: float(self.rate_mbps[row, column]) for row, link in enumerate(self.links)}

    def advice(self, adjusted: Collection[At] = (), kept: Collection[At] = ()) -> Advice:
        """Say what to change.

        adjusted: what is changed already, and so no place to move to. kept: what is not to be changed.
        """
        announced = np.zeros(self.rate_mbps.shape, np.bool_)
        for row, link in enumerate(self.links):
            if link.name not in self.closed:
                told = None if link.announced is None else frozenset(link.announced)
                announced[row, :-1] = [told is None or prefix in told for _, prefix in self.own]
        return advise(
            self.rate_mbps,
            announced & ~self._mask(adjusted),
            self.limit_mbps,
            np.array([self.isps[link.isp] for link in self.links], np.int64),
            np.array([bool(link.lower_community) for link in self.links], np.bool_),
            self._mask(kept),
        )

    def _mask(self, those: Collection[At]) -> Mask:
        mask = np.zeros(self.rate_mbps.shape, np.bool_)
        for link, prefix in those:
            if link in self.row and prefix in self.column:
                mask[self.row[link], self.column[prefix]] = True
        return mask


def survey(demand: DemandMatrix, peering: Peering, usable: Peering, inventory: Inventory) -> Survey:
    """Sort what was measured. usable: the part of the peering that is borne out."""
    missing = {link.name: why for link in peering.links if (why := _unmeasured(link, demand, inventory))}
    links = tuple(link for link in peering.links if link.name not in missing)
    own = tuple((router.name, prefix) for router in inventory.routers for prefix in router.prefixes)
    row = {link.name: index for index, link in enumerate(links)}
    column = {each: index for index, each in enumerate(own)}
    rates = np.zeros((len(links), len(own) + 1))
    for each in demand.inbound:
        if each.peering_link in row:
            rates[row[each.peering_link], column.get((each.target, each.prefix), len(own))] += each.rate_mbps
    told = (*(f"{link}: {why}" for link, why in missing.items()), *_unlisted(links, rates.sum(axis=1), demand))
    closed = {each.peering_link for each in peering.egresses} - {each.peering_link for each in usable.egresses}
    isps = {isp.name: number for number, isp in enumerate(peering.isps)}
    return Survey(links, own, rates, isps, frozenset(closed), demand.begins, told)


def _unmeasured(link: PeeringLink, demand: DemandMatrix, inventory: Inventory) -> str:
    """Say why it is not known what comes in by a link; "" when it is."""
    if link.interface is None:
        return "no interface is given in the peering file"
    border = inventory.router.get(link.node)
    if border is None or not border.exporters:
        return f"no exporters of {link.node} are given in the inventory"
    return f"{link.node} tells no flows now" if link.node in demand.missing_exporters else ""


def _unlisted(links: Collection[PeeringLink], inbound_mbps: Mbps, demand: DemandMatrix) -> list[str]:
    """Say which borders take in much that goes to no prefix we know: it may have come by a link, and is not in it."""
    inbound: dict[str, float] = {}
    for link, rate_mbps in zip(links, inbound_mbps.tolist(), strict=True):
        inbound[link.node] = inbound.get(link.node, 0.0) + rate_mbps
    return [
        f"{each.source}: {each.rate_mbps:,.1f} Mbit/s toward prefixes that no file lists, in whichever way it came"
        for each in demand.unknown
        if each.source in inbound and each.rate_mbps > _MUCH * inbound[each.source]
    ]
