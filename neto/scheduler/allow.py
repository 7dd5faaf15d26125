"""The only shapes a move may have, whatever decided on it.

The last look before anything is pushed. It shares nothing with the controller but the operator's own lists: a prefix
that is not listed, a more-specific one least of all, is announced to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from neto.model.inventory import Inventory
from neto.model.peering import Peering, Prefix
from neto.model.plan import Move, MoveKind, PolicyMove, RouteMove
from neto.model.sr import SegmentList, SrPolicy

_LABELS = range(16, 1 << 20)  # the first sixteen mean something else (RFC 3032 §2.1)
_COLOURS = range(1, 1 << 32)  # RFC 9256 §2.1
_DSCP = range(-1, 64)  # -1: every other
_MOST_SEGMENTS = 16


@dataclass(frozen=True)
class Listed:
    """What the operator has listed: routers, their addresses, and prefixes."""

    routers: frozenset[str]
    addresses: frozenset[str]
    prefixes: frozenset[Prefix]

    def __call__(self, move: Move) -> str:
        """Say why a move must not be made; "" when it may."""
        if move.key.headend not in self.routers:
            return "is not in the inventory"
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


def listed(inventory: Inventory, peering: Peering) -> Listed:
    """Return the rule for these files."""
    outside = (group.prefixes for group in peering.groups)
    return Listed(
        routers=frozenset(router.name for router in inventory.routers),
        addresses=frozenset(router.router_id for router in inventory.routers),
        prefixes=frozenset(chain.from_iterable([*(r.prefixes for r in inventory.routers), *outside])),
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
