"""The only shapes a move may have, whatever decided on it.

The last look before anything is pushed. It shares nothing with the controller but the operator's own lists: a prefix
that is not listed, a more-specific one least of all, is announced to nobody, and what neighbours are told beside an
announcement is what the operator listed for that neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from neto.model.announcement import Adjustment
from neto.model.inventory import Inventory
from neto.model.peering import Peering, PeeringLink, Prefix
from neto.model.plan import AnnouncementMove, Move, MoveKind, PolicyMove, RouteMove
from neto.model.sr import SegmentList, SrPolicy

_LABELS = range(16, 1 << 20)  # the first sixteen mean something else (RFC 3032 §2.1)
_COLOURS = range(1, 1 << 32)  # RFC 9256 §2.1
_DSCP = range(-1, 64)  # -1: every other
_MOST_SEGMENTS = 16
_MED = range(1 << 32)  # RFC 4271 §5.1.4
_MOST_PREPENDED = 10


@dataclass(frozen=True)
class Listed:
    """What the operator has listed: routers, their addresses, and prefixes."""

    routers: frozenset[str]
    addresses: frozenset[str]
    prefixes: frozenset[Prefix]
    own: frozenset[Prefix] = frozenset()  # of the prefixes those that routers of ours originate
    links: Mapping[tuple[str, str], PeeringLink] = field(default_factory=dict)  # by border and address of the peer
    asn: int = 0  # ours

    def __call__(self, move: Move) -> str:
        """Say why a move must not be made; "" when it may."""
        if move.key.headend not in self.routers:
            return "is not in the inventory"
        if isinstance(move, AnnouncementMove):
            return self._announcement(move)
        return self._policy(move) if isinstance(move, PolicyMove) else self._route(move)

    def _policy(self, move: PolicyMove) -> str:
        if move.kind is MoveKind.ROUTE or (move.kind is MoveKind.REMOVE_POLICY) != (move.policy is None):
            return f"a {move.kind} move does not say what becomes of its policy"
        if move.key.colour not in _COLOURS:
            return f"colour {move.key.colour} is out of range"
        if move.policy is None:
            return ""
        if move.policy.key != move.key:
            return f"policy {move.policy.key.colour} under the key of {move.key.colour}"
        if move.key.endpoint not in self.addresses:
            return f"endpoint {move.key.endpoint} is no router's loopback"
        return _content(move.policy)

    def _route(self, move: RouteMove) -> str:
        if move.key.prefix not in self.prefixes:
            return f"prefix {move.key.prefix} is not listed (accepted: exactly the prefixes that are)"
        if move.route is None:
            return ""
        if move.route.key != move.key:
            return f"route {move.route.key.prefix} under the key of {move.key.prefix}"
        if move.route.next_hop not in self.addresses:
            return f"next hop {move.route.next_hop} is no router's loopback"
        return "" if move.route.colour in _COLOURS else f"colour {move.route.colour} is out of range"

    def _announcement(self, move: AnnouncementMove) -> str:
        """What is listed no more may still be taken back."""
        if move.kind is not MoveKind.ANNOUNCEMENT:
            return f"a {move.kind} move of an announcement"
        if move.adjustment is None:
            return ""
        if move.adjustment.key != move.key:
            return f"adjustment of {move.adjustment.key.prefix} under the key of {move.key.prefix}"
        link = self.links.get((move.key.headend, move.key.peer))
        if link is None:
            return f"neighbour {move.key.peer} is at the far end of no peering link"
        if move.key.prefix not in self.own or (link.announced is not None and move.key.prefix not in link.announced):
            return f"prefix {move.key.prefix} is not announced through {link.name} (accepted: exactly the listed ones)"
        return self._added(move.adjustment, link)

    def _added(self, adjustment: Adjustment, link: PeeringLink) -> str:
        if sum((bool(adjustment.community), adjustment.med is not None, bool(adjustment.prepend))) != 1:
            return "an adjustment is a community, a MED, or AS numbers to prepend"
        if adjustment.community and adjustment.community != link.lower_community:
            return f"community {adjustment.community} is not the lower_community of {link.name}"
        if adjustment.med is not None and adjustment.med not in _MED:
            return f"MED {adjustment.med} is out of range"
        if len(adjustment.prepend) > _MOST_PREPENDED or set(adjustment.prepend) - {self.asn}:
            return f"{adjustment.prepend} is prepended (accepted: {self.asn}, up to {_MOST_PREPENDED} times)"
        return ""


def listed(inventory: Inventory, peering: Peering, asn: int = 0) -> Listed:
    """Return the rule for these files. asn: ours, the only one that may be prepended; 0: none may."""
    outside = (group.prefixes for group in peering.groups)
    return Listed(
        routers=frozenset(router.name for router in inventory.routers),
        addresses=frozenset(router.router_id for router in inventory.routers),
        prefixes=frozenset(chain.from_iterable([*(r.prefixes for r in inventory.routers), *outside])),
        own=frozenset(chain.from_iterable(r.prefixes for r in inventory.routers)),
        links={(link.node, link.peer_address): link for link in peering.links if link.peer_address},
        asn=asn,
    )


def _content(policy: SrPolicy) -> str:
    if bool(policy.segment_lists) == bool(policy.per_flow):
        return "a policy has either segment lists or a mapping of code points"
    for dscp, colour in policy.per_flow:
        if dscp not in _DSCP or colour not in _COLOURS or colour == policy.key.colour:
            return f"code point {dscp} cannot be mapped to colour {colour}"
    return next((why for each in policy.segment_lists if (why := _list(each))), "")


def _list(each: SegmentList) -> str:
    if each.weight < 1:
        return f"weight {each.weight} is out of range"
    if not 1 <= len(each.segments) <= _MOST_SEGMENTS:
        return f"{len(each.segments)} segments in a list (accepted: 1 to {_MOST_SEGMENTS})"
    return next((f"label {s.label} is out of range" for s in each.segments if s.label not in _LABELS), "")
