"""The body of an UPDATE message -> unicast routes (RFC 4271 §4.3, RFC 4760 §3, RFC 7606, RFC 7911)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from neto.errors import WireError
from neto.wire.bgp.attributes import AttributeReader, Attributes, split_attributes
from neto.wire.bgp.nlri import Family, decode_prefixes

_FAMILIES = {b"\x00\x01\x01": Family.IPV4, b"\x00\x02\x01": Family.IPV6}
_FAMILY_SIZE = 3


class Routes(NamedTuple):
    """Prefixes by key; path identifiers beside them, or none where the peer does not use them."""

    keys: list[int]
    path_ids: list[int]


class Reach(NamedTuple):
    """Routes that share their attributes."""

    attributes: Attributes
    routes: Routes


@dataclass(slots=True)
class Update:
    """What one UPDATE says of unicast routes. Withdrawn counts first: what is also reached stays."""

    withdrawn: list[Routes] = field(default_factory=list)
    reached: list[Reach] = field(default_factory=list)
    ends: list[Family] = field(default_factory=list)  # End-of-RIB (RFC 4724 §2)
    refused: str = ""  # why routes with unusable attributes are among the withdrawn (RFC 7606 §2)
    ignored_families: int = 0  # multiprotocol attributes of other families


class UpdateReader:
    """Reads UPDATE messages of one or more peers. Holds nothing but remembered attributes."""

    def __init__(self, attributes: AttributeReader | None = None) -> None:
        self._attributes = attributes or AttributeReader()

    def read(self, body: bytes, *, as_octets: int = 4, add_path: frozenset[Family] = frozenset()) -> Update:
        """Read an UPDATE without its 19-octet header.

        add_path: families whose prefixes have path identifiers. Raises WireError when it cannot be told which routes
        it is about. Attributes that cannot be used withdraw the routes instead.
        """
        begin = 2 + int.from_bytes(body[:2], "big")
        end = begin + 2 + int.from_bytes(body[begin : begin + 2], "big")
        if len(body) < begin + 2 or len(body) < end:
            raise WireError(f"UPDATE of {len(body)} octets is cut off")
        update = Update()
        v4 = Family.IPV4 in add_path
        if begin > 2:  # noqa: PLR2004 there are some
            update.withdrawn.append(Routes(*decode_prefixes(body[2:begin], Family.IPV4, add_path=v4)))
        block = body[begin + 2 : end]
        others, reach, unreach = split_attributes(block)
        if unreach is not None:
            self._unreach(update, unreach, add_path, alone=not others and reach is None and len(body) == end)
        if end < len(body):
            routes = Routes(*decode_prefixes(body[end:], Family.IPV4, add_path=v4))
            self._reach(update, others, b"", routes, as_octets)
        if reach is not None:
            self._multiprotocol(update, others, reach, as_octets, add_path)
        if len(body) == 4:  # noqa: PLR2004 nothing in it at all
            update.ends.append(Family.IPV4)
        return update

    def _reach(self, update: Update, others: bytes, next_hop: bytes, routes: Routes, as_octets: int) -> None:
        try:
            attributes = self._attributes.read(others, next_hop, as_octets)
        except WireError as error:
            update.refused = str(error)
            update.withdrawn.append(routes)
        else:
            update.reached.append(Reach(attributes, routes))

    def _multiprotocol(
        self, update: Update, others: bytes, reach: bytes, as_octets: int, add_path: frozenset[Family]
    ) -> None:
        """MP_REACH_NLRI: family, next hop, a reserved octet, routes (RFC 4760 §3)."""
        family = _FAMILIES.get(reach[:_FAMILY_SIZE])
        if family is None:
            update.ignored_families += 1
            return
        size = reach[_FAMILY_SIZE] if len(reach) > _FAMILY_SIZE else 0
        begin = _FAMILY_SIZE + 1 + size + 1
        if len(reach) < begin:
            raise WireError(f"MP_REACH_NLRI of {len(reach)} octets is cut off")
        next_hop = reach[_FAMILY_SIZE + 1 : begin - 1]
        routes = Routes(*decode_prefixes(reach[begin:], family, add_path=family in add_path))
        if not next_hop:
            update.refused = "MP_REACH_NLRI without a next hop"
            update.withdrawn.append(routes)
        else:
            self._reach(update, others, next_hop, routes, as_octets)

    def _unreach(self, update: Update, unreach: bytes, add_path: frozenset[Family], *, alone: bool) -> None:
        """MP_UNREACH_NLRI: family, routes (RFC 4760 §4). Alone and empty it is an End-of-RIB."""
        family = _FAMILIES.get(unreach[:_FAMILY_SIZE])
        if family is None:
            update.ignored_families += 1
        elif len(unreach) > _FAMILY_SIZE:
            routes = Routes(*decode_prefixes(unreach[_FAMILY_SIZE:], family, add_path=family in add_path))
            update.withdrawn.append(routes)
        elif alone:
            update.ends.append(family)
