"""The root of the hierarchy: what all collectors tell, as the daemon's demand.

Its last windows are on disk, written with the names of the messages that they hold, and so outlive it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from neto.agents.monitoring.classify import cell_space, expected_exporters
from neto.agents.monitoring.matrix import demand_matrix
from neto.agents.monitoring.merger import Merged, Merger
from neto.agents.monitoring.receiver import Receiver
from neto.agents.monitoring.spool import Spool, Told
from neto.agents.mqtt import Broker
from neto.errors import WireError
from neto.model.demand import DemandMatrix, ExporterHealth
from neto.model.demand_window import CellSpace, DemandWindow, merge
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering
from neto.wire.demand_message import MAX_OCTETS, DemandMessage, Key, decode_window, encode_window

_LATE_KEPT = 30  # closed windows, at least, that late parts are still added to

_State = tuple[tuple[DemandWindow, ...], CellSpace, frozenset[str]]

_log = structlog.get_logger("root")


class Ring:
    """The sink of the root: the last windows, on disk and at hand."""

    def __init__(self, window_s: float, smooth: int, spool: Spool) -> None:
        self.counters: Counter[str] = Counter(octets_too_late=0)
        self.windows: tuple[DemandWindow, ...] = ()  # oldest first
        self._window_s = window_s
        self._keep = max(smooth, _LATE_KEPT)
        self._spool = spool
        self._by_number = dict(_readable(spool.merged()))
        self._show()

    @property
    def newest(self) -> int | None:
        """Number of the newest window; None when there is none."""
        return max(self._by_number, default=None)

    def write(self, merged: Sequence[Merged], told: Iterable[Told], at: float) -> None:
        """Add them up; late parts to the window that they are of, as long as it is kept."""
        changed: dict[int, DemandWindow] = {}
        too_late = 0
        oldest = max([*self._by_number, *(each.window for each in merged)]) - self._keep
        for each in merged:
            if each.window <= oldest:
                too_late += each.demand.total
                continue
            before = changed.get(each.window) or self._by_number.get(each.window)
            if before is not None and before.total + each.demand.total >= MAX_OCTETS:
                too_late += each.demand.total
                continue
            changed[each.window] = each.demand if before is None else _added(before, each)
        self._spool.commit(
            told,
            at,
            merged=[(number, self._body(number, window)) for number, window in changed.items()],
            keep_merged=self._keep,
        )
        self.counters["octets_too_late"] += too_late
        self._by_number.update(changed)
        for number in sorted(self._by_number)[: -self._keep]:
            del self._by_number[number]
        self._show()

    def _show(self) -> None:
        self.windows = tuple(window for _, window in sorted(self._by_number.items()))

    def _body(self, number: int, window: DemandWindow) -> bytes:
        return encode_window(DemandMessage("root", Key(0, number), self._window_s, window))


class Root:
    """The daemon's source of demand where collectors listen in its place; inert until `run`.

    path: of its spool. term: the leader's epoch: a process that led before can write no more.
    """

    def __init__(
        self,
        leaves: Collection[str],
        inventory: Inventory,
        peering: Peering,
        intents: Intents,
        broker: Broker,
        path: Path,
        *,
        window_s: float,
        smooth: int,
        late_s: float,
        term: int,
    ) -> None:
        self._broker = broker
        self._path = path
        self._term = term
        self._window_s = window_s
        self._smooth = smooth
        self._leaves = tuple(leaves)
        self._space = cell_space(inventory, peering, intents)
        self._expected = expected_exporters(inventory)
        self._merger = Merger(leaves, window_s, late_s, self._space)
        self._began = time.time()
        self._told: tuple[_State, DemandMatrix] | None = None  # the last demand, and what it is of
        self._ring: Ring | None = None
        self._receiver: Receiver | None = None

    async def run(self) -> None:
        """Receive until cancelled.

        Raises LeaseLostError when another process leads, StoreError when the spool cannot be opened.
        """
        spool = await asyncio.to_thread(Spool, self._path)
        try:
            await asyncio.to_thread(spool.begin_term, self._term)
            ring = await asyncio.to_thread(Ring, self._window_s, self._smooth, spool)
            if ring.newest is not None:
                self._merger.closed_before(ring.newest)
            self._ring = ring
            self._receiver = Receiver("root", self._leaves, self._merger, spool, ring, self._broker)
            await self._receiver.run(tick_s=min(1.0, self._window_s / 4))
        finally:
            spool.close()

    async def reload(self, inventory: Inventory, peering: Peering, intents: Intents) -> None:
        """Number cells, and expect exporters, by something else from when this returns on."""
        space = await asyncio.to_thread(cell_space, inventory, peering, intents)
        self._space = self._merger.space = space
        self._expected = expected_exporters(inventory)

    def demand(self, now: float) -> DemandMatrix | None:
        """Mean demand over the last windows; None before the first in which a leaf is sure of anything.

        now: unix seconds; tells who has been silent.
        """
        windows = self._ring.windows if self._ring else ()
        if not any(window.heard or window.missing_leaves for window in windows[-self._smooth :]):
            return None
        state = (windows, self._space, self._expected)
        if self._told is None or any(was is not now_is for was, now_is in zip(self._told[0], state, strict=True)):
            self._told = state, demand_matrix(windows[-self._smooth :], self._space, self._expected)
        matrix = self._told[1]
        return replace(matrix, missing_leaves=matrix.missing_leaves | self._silent(now))

    def _silent(self, now: float) -> frozenset[str]:
        """Leaves of which nothing came for a while."""
        heard = self._receiver.heard if self._receiver else {}
        since = now - self._merger.absent_s
        return frozenset(leaf for leaf in self._leaves if heard.get(leaf, self._began) < since)

    @property
    def health(self) -> list[ExporterHealth]:
        """How well exporters are heard, as the collectors last told it."""
        return self._receiver.health if self._receiver else []

    @property
    def counters(self) -> dict[str, int]:
        """All that came in and what became of it, by name."""
        parts = (self._merger, self._receiver, self._ring)
        return {name: count for part in parts if part for name, count in part.counters.items()}


def _readable(rows: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, DemandWindow]]:
    """Windows that an earlier process wrote; what this release cannot read is gone, and was used long ago."""
    for number, body in rows:
        try:
            yield number, decode_window(body).demand
        except WireError as error:
            _log.warning("root.window_unreadable", window=number, error=str(error))


def _added(before: DemandWindow, late: Merged) -> DemandWindow:
    """Add a late part to its window; who told it is missing no more."""
    whole = merge([before, late.demand], before.space, before.begins, before.ends)
    return replace(whole, missing_leaves=before.missing_leaves - {leaf for leaf, _ in late.told})
