"""From tables of routes to what can leave where: the best path of every border, exits of every prefix, groups.

An exit is an eBGP table whose peer is the far end of a peering link; of what a border tells us itself, it is a route
whose next hop is that far end. Prefixes with the same origin AS and the same set of exits are one group: whatever is
decided for one of them is as good for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.bestpath import Columns, Rows, Source, best_rows
from neto.agents.monitoring.rib import NONE, PATH_BITS, Identity, Rib, Table
from neto.model.peering import PeeringLink, Prefix
from neto.wire.bgp import Attributes, covering_keys, prefix_of
from neto.wire.bmp import View

MOST_PATHS = 64  # of a prefix in one table; those with the lowest identifiers

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BorderRoutes:
    """Candidates of one border."""

    sources: tuple[Source, ...]
    candidates: Rows  # (sources, prefixes) row of the attributes, -1: none
    up: bool  # its session
    changed_s: float  # when that came up or went down, or last told of a table that is not whole yet


@dataclass(frozen=True, eq=False)
class RibCopy:
    """All that is needed to decide, taken at one moment: it can be worked on in a thread."""

    keys: tuple[int | None, ...]  # (prefixes,) None: nobody announces it
    attributes: tuple[Attributes | None, ...]
    borders: Mapping[str, BorderRoutes]
    changes: int


def copy(rib: Rib, before: RibCopy | None = None) -> RibCopy:
    """Copy what usable tables hold. Of a peer that is told before and after policy, what is after it counts.

    before: an earlier copy, of which is taken what has not changed: tables, when none has.
    """
    size = len(rib.prefixes.values)
    borders = {}
    same = before is not None and before.changes == rib.changes
    for name, border in rib.borders.items():
        telling = (table.heard_s for table in border.tables.values() if not table.complete)
        changed_s = max((border.changed_s, *telling))
        if before is not None and same and name in before.borders:
            borders[name] = replace(before.borders[name], up=border.up, changed_s=changed_s)
            continue
        tables = _preferred(border.usable())
        rows: list[Rows] = []
        sources: list[Source] = []
        for table in tables:
            told = _matrix(table, size)
            rows += told
            source = Source(table.peer.address, table.peer.bgp_id, table.internal, table.view is None)
            sources += [source] * len(told)
        matrix = np.stack(rows) if rows else np.empty((0, size), np.int32)
        borders[name] = BorderRoutes(tuple(sources), matrix, border.up, changed_s)
    if before is not None and same:
        return replace(before, borders=borders)
    return RibCopy(tuple(rib.prefixes.values), tuple(rib.attributes.values), borders, rib.changes)


def _preferred(tables: Sequence[Table]) -> list[Table]:
    post: set[Identity] = {table.peer[:3] for table in tables if table.view is View.IN_POST}
    return [table for table in tables if table.view is View.IN_POST or table.peer[:3] not in post]


def _matrix(table: Table, size: int) -> list[Rows]:
    """Return the table as rows of candidates: one, or as many as the prefix with most paths has."""
    row = np.full(size, NONE, np.int32)
    told = np.array(table.rows, np.int32)
    row[: len(told)] = told[:size]
    if not table.more:
        return [row]
    keys = np.fromiter(table.more, np.int64, len(table.more))
    order = np.argsort(keys)
    prefixes = keys[order] >> PATH_BITS
    attributes = np.fromiter(table.more.values(), np.int32, len(keys))[order]
    first = np.concatenate(([0], np.flatnonzero(np.diff(prefixes)) + 1))
    place = np.arange(len(keys)) - np.repeat(first, np.diff(np.append(first, len(keys))))  # among those of the prefix
    layers = np.full((min(int(place.max()) + 1, MOST_PATHS), size), NONE, np.int32)
    held = place < MOST_PATHS
    layers[place[held], prefixes[held]] = attributes[held]
    return [*([row] if (row != NONE).any() else []), *layers]


@dataclass(frozen=True, eq=False)
class RouteTable:
    """What can leave where.

    prefixes: rows that somebody announces, in order of the prefixes. links: peering links that are exits of some.
    """

    keys: tuple[int, ...]  # (prefixes,) prefix keys, sorted
    links: tuple[str, ...]
    exits: Bools  # (prefixes, links)
    origin: npt.NDArray[np.int64]  # (prefixes,) AS number; 0: told differently by different exits, or ours
    best: Mapping[str, Rows]  # by border: (prefixes,) row of the attributes of its best path, -1: none
    attributes: tuple[Attributes | None, ...]
    told: frozenset[str]  # links whose table is known, be it empty

    @cached_property
    def row(self) -> Mapping[int, int]:
        """Row of a prefix by its key."""
        return {key: row for row, key in enumerate(self.keys)}

    def carries(self, column: int, prefix: Prefix) -> bool:
        """Whether a link announces a prefix or one around it."""
        rows = (self.row.get(key) for key in covering_keys(prefix))
        return any(row is not None and self.exits[row, column] for row in rows)

    def prefix(self, row: int) -> Prefix:
        """Return a prefix."""
        return prefix_of(self.keys[row])

    def largest_groups(self, most: int) -> list[dict[str, object]]:
        """Return the groups with most prefixes: origin AS, exits, how many, and the first of them."""
        group = self.groups()
        numbers, first, counts = np.unique(group, return_index=True, return_counts=True)
        order = [at for at in np.argsort(-counts, kind="stable").tolist() if numbers[at] >= 0][:most]
        return [
            {
                "origin_as": int(self.origin[first[at]]),
                "exits": [link for link, there in zip(self.links, self.exits[first[at]], strict=True) if there],
                "prefixes": int(counts[at]),
                "first": str(self.prefix(int(first[at]))),
            }
            for at in order
        ]

    def groups(self) -> npt.NDArray[np.int64]:
        """Number of each prefix's group, (prefixes,): the same where origin and exits are. -1: there is no exit."""
        if not len(self.keys):
            return np.empty(0, np.int64)
        told = np.concatenate([np.packbits(self.exits, axis=1), self.origin.astype(">i8")[:, None].view(np.uint8)], 1)
        whole = np.ascontiguousarray(told).view(np.dtype((np.void, told.shape[1]))).ravel()
        _, first, group = np.unique(whole, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))  # groups are numbered as they come
        return np.where(self.exits.any(axis=1), order[group], -1)


def route_table(
    told: RibCopy,
    links: Sequence[PeeringLink],
    interior: Mapping[str, Mapping[str, float]] | None = None,
) -> RouteTable:
    """Decide on all prefixes. interior: by border, IGP metric to next hops (`best_rows`)."""
    keys = np.array([row for row, key in enumerate(told.keys) if key is not None], np.int64)
    order = sorted(keys.tolist(), key=lambda row: told.keys[row] or 0)
    columns = Columns.of(told.attributes)
    names = tuple(link.name for link in links)
    exits = np.zeros((len(order), len(links)), np.bool_)
    origins = np.array([0 if a is None else a.origin_as for a in told.attributes], np.int64)
    origin = np.full(len(order), -1, np.int64)
    best = {}
    heard = set()
    for name, border in told.borders.items():
        candidates = border.candidates[:, order]
        inside = None if interior is None else interior.get(name, {})
        chosen = best_rows(candidates, border.sources, columns, inside)
        if len(border.sources):
            best[name] = np.where(chosen >= 0, candidates[chosen, np.arange(len(order))], NONE).astype(np.int32)
        else:
            best[name] = chosen
        for row, source in enumerate(border.sources):
            for column, link in enumerate(links):
                there = _through(link, name, source, candidates[row], columns)
                if there is None:
                    continue
                heard.add(link.name)
                exits[:, column] |= there
                said = origins[candidates[row]]
                origin = np.where(there & (origin < 0), said, origin)
                origin = np.where(there & (origin != said), 0, origin)
    return RouteTable(
        keys=tuple(told.keys[row] or 0 for row in order),
        links=names,
        exits=exits,
        origin=np.maximum(origin, 0),
        best=best,
        attributes=told.attributes,
        told=frozenset(heard),
    )


def _through(link: PeeringLink, border: str, source: Source, candidates: Rows, columns: Columns) -> Bools | None:
    """Tell which routes of a row of candidates leave through a link, (prefixes,); None when its peer tells none here.

    A border that tells its routes itself does not say which of its sessions are up: a peer with no route is not there.
    """
    if link.node != border or not link.peer_address:
        return None
    there = candidates >= 0
    if not source.itself:
        return there if not source.internal and link.peer_address == source.address else None
    if link.peer_address not in columns.hops or not there.any():
        return None
    there &= columns.hop[candidates] == columns.hops.index(link.peer_address)
    return there if there.any() else None
