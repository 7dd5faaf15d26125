"""What border routers' peers announce, compact: for each table one small number a prefix.

A table is what one peer of one border announces in one family, before or after the border's import policy; or what a
border announces itself, to us (its view is None then). Prefixes and sets of attributes are stored once, however many
tables hold them.

Never stored, and counted: tables other than those that come in (RFC 8671 and RFC 9069 tell more), routes that carry
our own community (what we announce must not feed what we decide), and default routes unless they are wanted (one that
appears would take in every prefix there is).

When a border's session ends, its tables are stale: they count until the next session has told them anew, or until
they are too old. A peer that goes down takes its tables with it at once. Times are seconds of a clock that only goes
forward.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

from neto.agents.monitoring.garbage import Garbage
from neto.agents.monitoring.interning import Interned
from neto.wire.bgp import Attributes, Family, Open, Routes, Update
from neto.wire.bmp import Peer, PeerKind, View

NONE = -1  # row of the attributes where a table has no route
_GROW = 4096  # prefixes
_HELD = (View.IN_PRE, View.IN_POST, None)
PATH_BITS = 32  # of a path identifier (RFC 7911 §3)
_TWO_OCTETS = 0xFFFF
_GROWS = 1.01  # times as many routes as at the last look: it is still being told
_LENGTH = 0xFF  # bits of a prefix key that are its length

Identity = tuple[PeerKind, int, str]  # what tells peers of a border apart
TableKey = tuple[Identity, View | None, Family]


@dataclass(eq=False, slots=True)
class Table:
    """Routes of one peer in one family."""

    peer: Peer
    view: View | None  # None: the border told us itself
    family: Family
    rows: array[int] = field(
        default_factory=lambda: array("i"), repr=False
    )  # row of the attributes by row of the prefix
    more: dict[int, int] = field(
        default_factory=dict, repr=False
    )  # by row of the prefix << PATH_BITS | path identifier, instead of rows
    count: int = 0
    complete: bool = False  # everything was told at least once
    internal: bool = False  # iBGP
    prepended: int = 0  # AS of ours that no path can really begin with: FRR writes it (FRRouting pull 21815 ends that)
    began_s: float = 0.0  # when its first route came
    heard_s: float = 0.0  # and the last
    grown: int = 0  # routes at the last look at which they were clearly more than before
    grown_s: float = 0.0  # when that was

    def routes(self) -> list[int]:
        """Rows of the attributes of all routes, for each as often as it is used."""
        return [*self.more.values(), *(row for row in self.rows if row != NONE)]

    def prefixes(self) -> list[int]:
        """Rows of the prefixes of all routes, for each as often as there is one."""
        several = (key >> PATH_BITS for key in self.more)
        return [*several, *(at for at, row in enumerate(self.rows) if row != NONE)]


@dataclass(eq=False, slots=True)
class Border:
    """A router that tells us its tables."""

    tables: dict[TableKey, Table] = field(default_factory=dict)
    stale: dict[TableKey, Table] = field(default_factory=dict)  # of the session before
    local_as: dict[Identity, int] = field(default_factory=dict)  # that it shows to each peer that is up
    up: bool = False
    changed_s: float = 0.0  # when the session came up or went down

    def usable(self) -> list[Table]:
        """Tables to decide on: complete ones, and what was told before in place of those that are not yet."""
        whole = {key: table for key, table in self.tables.items() if table.complete}
        return list((self.stale | whole).values())


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is held at most: some 1 GB, in the worst case."""

    routes: int = 8_000_000  # in all tables together
    prefixes: int = 1_500_000
    tables: int = 128
    attribute_octets: int = 64 << 20


class Rib:
    """The tables of all borders.

    asn: our AS. own_community: value of ASN:value, which our own routes bear. limits: what is beyond them is refused
    and counted.
    stale_ttl_s: how long tables count after their session ended. quiet_s, settle_s: a table counts as told whole after
    so long a silence, or so long after its first route when it grows no more, for routers that send no End-of-RIB (FRR
    sends none for a peer that comes up later); peers that are not back so long after the session is are forgotten.
    """

    def __init__(
        self,
        asn: int,
        own_community: int,
        *,
        limits: Limits | None = None,
        stale_ttl_s: float = 300.0,
        quiet_s: float = 5.0,
        settle_s: float = 45.0,
        default_wanted: bool = False,
    ) -> None:
        names = ("routes", "withdrawals", "own", "defaults", "refused", "beyond_limit", "ends_of_rib", "quiet_ends")
        self.counters: Counter[str] = Counter(dict.fromkeys((*names, "expired", "tables_not_held"), 0))
        self.prefixes: Interned[int] = Interned(lambda _: 1)
        self.attributes: Interned[Attributes] = Interned(lambda attributes: len(attributes.key))
        self.borders: dict[str, Border] = {}
        self.routes = 0
        self.changes = 0  # grows with everything that `usable` tables may show
        self._asn = asn
        self._own = asn << 16 | own_community if asn <= _TWO_OCTETS else -1
        self._own_large = (asn, own_community, 0)
        self._limits = limits or Limits()
        self._stale_ttl_s = stale_ttl_s
        self._quiet_s = quiet_s
        self._settle_s = settle_s
        self._default_wanted = default_wanted
        self._garbage = Garbage()

    def session_up(self, border: str, now: float) -> None:
        """A border begins to tell: what it told before is stale."""
        known = self._lose(border, now)
        known.up = True

    def session_down(self, border: str, now: float) -> None:
        """A border's session ended."""
        self._lose(border, now).up = False

    def peer_up(self, border: str, peer: Peer, sent: Open | None) -> None:
        """A peer's session is up: it tells everything anew. sent: what the border said to it, where that is known."""
        known = self._border(border)
        identity = peer[:3]
        if identity in known.local_as:
            self._forget(known, identity, stale=False)
        known.local_as[identity] = sent.asn if sent else self._asn

    def peer_down(self, border: str, peer: Peer) -> None:
        """A peer's session is over, and with it all that it announced."""
        known = self._border(border)
        known.local_as.pop(peer[:3], None)
        self._forget(known, peer[:3], stale=True)

    def update(self, border: str, peer: Peer, view: View | None, update: Update, now: float) -> None:
        """A peer announced or withdrew; or the border itself, view None, in its session with us."""
        known = self._border(border)
        self.changes += 1
        self.counters["refused"] += bool(update.refused)
        for routes in update.withdrawn:
            table = self._table(known, peer, view, _family(routes), now) if routes.keys else None
            if table:
                table.heard_s = now
                self._withdraw(table, routes)
        for attributes, routes in update.reached:
            table = self._table(known, peer, view, _family(routes), now) if routes.keys else None
            if table is None:
                continue
            table.heard_s = now
            if self._own in attributes.communities or self._own_large in attributes.large_communities:
                self.counters["own"] += len(routes.keys)
                self._withdraw(table, routes)
            else:
                self._announce(table, attributes, routes)
        for family in update.ends:
            self.counters["ends_of_rib"] += 1
            table = self._table(known, peer, view, family, now)
            if table:
                self._complete(known, table)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._garbage.tick(
            telling=any(not table.complete for border in self.borders.values() for table in border.tables.values())
        )
        for border in self.borders.values():
            if not border.up:
                if border.stale and now - border.changed_s > self._stale_ttl_s:
                    self.counters["expired"] += 1
                    self._drop(border.stale, list(border.stale))
                continue
            for table in border.tables.values():
                if table.complete:
                    continue
                if table.count > table.grown * _GROWS:
                    table.grown, table.grown_s = table.count, now
                settled = now - table.began_s >= self._settle_s and now - table.grown_s >= self._quiet_s
                if settled or now - table.heard_s >= self._quiet_s:
                    self.counters["quiet_ends"] += 1
                    self._complete(border, table)
            if border.stale and now - border.changed_s >= self._settle_s:
                told = {key[0] for key in border.tables}
                self._drop(border.stale, [key for key in border.stale if key[0] not in told])

    def _border(self, name: str) -> Border:
        return self.borders.setdefault(name, Border())

    def _lose(self, name: str, now: float) -> Border:
        """Make the tables of a session stale: those that were complete, and older ones in place of the others."""
        border = self._border(name)
        unfinished = [key for key, table in border.tables.items() if not table.complete]
        self._drop(border.tables, unfinished)
        border.stale |= border.tables  # none of these is stale already: `_complete` has dropped it
        border.tables, border.local_as, border.changed_s = {}, {}, now
        self.changes += 1
        return border

    def _table(self, border: Border, peer: Peer, view: View | None, family: Family, now: float) -> Table | None:
        """Return the table, a new one where there is none yet; None for one that is not held."""
        key = (peer[:3], view, family)
        table = border.tables.get(key)
        if table is None:
            held = sum(len(each.tables) + len(each.stale) for each in self.borders.values())
            if view not in _HELD or peer.kind is PeerKind.LOC_RIB or held >= self._limits.tables:
                self.counters["tables_not_held"] += 1
                return None
            table = border.tables[key] = Table(peer, view, family, began_s=now, heard_s=now)
            local_as = border.local_as.get(peer[:3], self._asn)
            table.internal = peer.asn == local_as
            table.prepended = 0 if table.internal else local_as
        return table

    def _complete(self, border: Border, table: Table) -> None:
        table.complete = True
        self.changes += 1
        self._drop(border.stale, [key for key in [(table.peer[:3], table.view, table.family)] if key in border.stale])

    def _forget(self, border: Border, identity: Identity, *, stale: bool) -> None:
        for tables in (border.tables, border.stale) if stale else (border.tables,):
            self._drop(tables, [key for key in tables if key[0] == identity])

    def _drop(self, tables: dict[TableKey, Table], keys: list[TableKey]) -> None:
        for key in keys:
            table = tables.pop(key)
            self.changes += 1
            self.routes -= table.count
            for row in table.routes():
                self.attributes.release(row)
            for prefix in table.prefixes():
                self.prefixes.release(prefix)

    def _announce(self, table: Table, attributes: Attributes, routes: Routes) -> None:
        if table.prepended:
            attributes = attributes.without_first(table.prepended)
        for at, key in enumerate(routes.keys):
            if not key & _LENGTH and not self._default_wanted:
                self.counters["defaults"] += 1
                continue
            path_id = routes.path_ids[at] if routes.path_ids else None
            old = self._find(table, key, path_id)
            if not self._fits(old, key, attributes):
                self.counters["beyond_limit"] += 1
                self._withdraw(table, Routes([key], [] if path_id is None else [path_id]))
                continue
            self.counters["routes"] += 1
            new = self.attributes.take(attributes)
            if old == NONE:
                prefix = self.prefixes.take(key)
                table.count += 1
                self.routes += 1
            else:
                prefix = self.prefixes.find(key) or 0
                self.attributes.release(old)
            if path_id is not None:
                table.more[prefix << PATH_BITS | path_id] = new
                continue
            if prefix >= len(table.rows):
                table.rows.extend([NONE] * (prefix + _GROW - len(table.rows)))
            table.rows[prefix] = new

    def _fits(self, old: int, key: int, attributes: Attributes) -> bool:
        """Whether one more route, or other attributes of one, may be held."""
        limits = self._limits
        if old == NONE and (
            self.routes >= limits.routes or (len(self.prefixes) >= limits.prefixes and self.prefixes.find(key) is None)
        ):
            return False
        octets = self.attributes.weight + len(attributes.key)
        return octets <= limits.attribute_octets or self.attributes.find(attributes) is not None

    def _withdraw(self, table: Table, routes: Routes) -> None:
        for at, key in enumerate(routes.keys):
            path_id = routes.path_ids[at] if routes.path_ids else None
            old = self._find(table, key, path_id)
            if old == NONE:
                continue
            self.counters["withdrawals"] += 1
            prefix = self.prefixes.find(key) or 0
            if path_id is None:
                table.rows[prefix] = NONE
            else:
                del table.more[prefix << PATH_BITS | path_id]
            table.count -= 1
            self.routes -= 1
            self.attributes.release(old)
            self.prefixes.release(prefix)

    def _find(self, table: Table, key: int, path_id: int | None) -> int:
        """Row of the attributes of a route; NONE when there is no such route."""
        prefix = self.prefixes.find(key)
        if prefix is None:
            return NONE
        if path_id is not None:
            return table.more.get(prefix << PATH_BITS | path_id, NONE)
        return table.rows[prefix] if prefix < len(table.rows) else NONE


def _family(routes: Routes) -> Family:
    return Family.IPV4 if routes.keys[0] < 1 << 136 else Family.IPV6
