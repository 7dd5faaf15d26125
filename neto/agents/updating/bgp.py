"""Steering routes, announced to head-ends over exabgp.

The agent remembers what each head-end should have and says it again when a session comes back: exabgp itself
repeats nothing. It never originates a prefix that the operator has not listed, a more-specific of one least of all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import structlog

from neto.agents.exabgp_link import RefusedError
from neto.errors import DeviceError
from neto.model.inventory import Router
from neto.model.peering import Prefix
from neto.model.plan import RouteMove
from neto.model.sr import Route, RouteKey
from neto.wire import exabgp as wire

Check = Callable[[], None]  # raises LeaseLostError
RETRY_S = 0.5  # before a head-end that could not be told is told again

_log = structlog.get_logger()


class Commands(Protocol):
    """What takes our commands: ExaBgp."""

    async def command(self, lines: Sequence[str], check: Check) -> None:
        """Send commands, calling check before each line."""


class RouteAgent:
    """The routes of all head-ends. `run` re-announces; `peer_up` and `peer_down` tell it of sessions."""

    def __init__(
        self,
        exabgp: Commands,
        routers: Iterable[Router],
        allowed: Iterable[Prefix],
        community: str,
        check: Check,
        *,
        graceful_restart: bool = False,
    ) -> None:
        """Build it.

        allowed: the prefixes that may be announced, exactly these. community: what our routes carry, "65000:900".
        check: called before every line that `run` sends of its own accord.
        graceful_restart: routers hold routes of an earlier daemon; they are told that ours are complete
        (End-of-RIB) only after `resume` has said what should be there.
        """
        self.counters: Counter[str] = Counter()
        self._exabgp = exabgp
        self._check = check
        self._address = {router.name: router.bgp_address for router in routers}
        self._headend = {address: name for name, address in self._address.items()}
        self._allowed = frozenset(allowed)
        self._marks = wire.communities(community)
        self._graceful_restart = graceful_restart
        self._resumed = False
        self._announced: dict[RouteKey, Route] = {}
        self._unsure: set[RouteKey] = set()  # sent and not confirmed: may be out there
        self._up: set[str] = set()  # head-ends
        self._returned: set[str] = set()  # head-ends to be told everything
        self._work = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def announced(self) -> Mapping[RouteKey, Route]:
        """What exabgp has taken from us, and head-ends should therefore have."""
        return MappingProxyType(self._announced)

    @property
    def up(self) -> frozenset[str]:
        """Head-ends whose session is established."""
        return frozenset(self._up)

    def allow(self, prefixes: Iterable[Prefix]) -> None:
        """Replace the prefixes that may be announced; what is announced already stays until it is withdrawn."""
        self._allowed = frozenset(prefixes)

    def peer_up(self, address: str) -> None:
        """A session came up: its head-end has nothing of ours, or what an earlier daemon told it."""
        if headend := self._headend.get(address):
            self._up.add(headend)
            self._returned.add(headend)
            self._work.set()

    def peer_down(self, address: str, reason: str) -> None:
        """A session went down: its head-end is, or soon will be, on legacy forwarding."""
        if headend := self._headend.get(address):
            self._up.discard(headend)
            self._returned.discard(headend)
            _log.warning("bgp.down", headend=headend, reason=reason)

    async def run(self) -> None:
        """Tell head-ends that come back what they should have."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._returned:
                headend = self._returned.pop()
                try:
                    async with self._turn:
                        await self._tell_again(headend)
                except DeviceError as error:
                    self.counters["reannouncements_failed"] += 1
                    _log.warning("bgp.reannounce_failed", headend=headend, error=str(error))
                    await asyncio.sleep(RETRY_S)
                    if headend in self._up:  # otherwise its session, or exabgp, went again: it will be back
                        self._returned.add(headend)

    async def resume(self, routes: Mapping[RouteKey, Route]) -> None:
        """Take over: these routes, read back from the routers, are what should be announced.

        Head-ends are told them, then that this is all; what else they kept of an earlier daemon then goes.
        A route whose prefix is no longer listed is left out.
        """
        async with self._turn:
            mine = {key for key in routes if key.prefix in self._allowed and key.headend in self._address}
            self._unsure |= self._announced.keys() - mine
            self._announced = {key: routes[key] for key in mine}
            self._resumed = True
        self._returned |= self._up
        self._work.set()

    async def apply(self, moves: Sequence[RouteMove], check: Check) -> None:
        """Announce and withdraw. Returns when exabgp has taken all of it; only a read-back shows the router's view.

        check: called before every line; what it raises passes through.
        Raises DeviceError naming the head-end: before anything is sent when its session is down or a move is not
        ours to make, afterwards when exabgp refused; DeviceTimeoutError when the outcome is not known.
        A route that was to be withdrawn is not announced again, whatever the outcome.
        """
        async with self._turn:
            for move in moves:
                if move.route is None:
                    self._forget(move.key)
            lines = {self._line(move): move for move in moves}
            self._unsure |= {move.key for move in moves}
            try:
                await self._exabgp.command(list(lines), check)
            except RefusedError as error:
                self._settle(move for line, move in lines.items() if line not in error.lines)
                headend = lines[error.lines[0]].key.headend
                raise DeviceError(headend, f"exabgp refused {error.lines[0]!r}") from error
            self._settle(lines.values())

    async def withdraw_all(self, check: Check | None = None) -> None:
        """Withdraw everything from every head-end that can be reached; the others have lost it with their session.

        Raises DeviceError when exabgp refused or is not there.
        """
        async with self._turn:
            self._unsure |= self._announced.keys()
            self._announced.clear()
            reachable = sorted(key for key in self._unsure if key.headend in self._up)
            lines = [wire.withdraw(self._address[key.headend], key) for key in reachable]
            await self._exabgp.command(lines, check or self._check)
            self._unsure.difference_update(reachable)
            self.counters["withdrawals"] += len(lines)
            _log.info("bgp.withdrew_all", routes=len(lines))

    def _line(self, move: RouteMove) -> str:
        """Return the command for a move, or refuse it."""
        headend = move.key.headend
        if headend not in self._address:
            raise DeviceError(headend, "is not in the inventory")
        if headend not in self._up:
            raise DeviceError(headend, "its BGP session is down")
        try:
            return self._command(self._address[headend], move)
        except ValueError as error:
            self.counters["moves_refused"] += 1
            raise DeviceError(headend, f"not announced: {error}") from error

    def _command(self, address: str, move: RouteMove) -> str:
        if move.route is None:
            return wire.withdraw(address, move.key)
        if move.route.key != move.key or move.key.prefix not in self._allowed:
            raise ValueError(f"{move.key.prefix} is not listed; accepted: exactly the prefixes that are")
        return wire.announce(address, move.route, self._marks)

    def _settle(self, moves: Iterable[RouteMove]) -> None:
        """Remember what exabgp took."""
        for move in moves:
            self._unsure.discard(move.key)
            if move.route is None:
                self.counters["withdrawals"] += 1
            else:
                self._announced[move.key] = move.route
                self.counters["announcements"] += 1

    def _forget(self, key: RouteKey) -> None:
        if self._announced.pop(key, None):
            self._unsure.add(key)

    async def _tell_again(self, headend: str) -> None:
        """Say everything to one head-end.

        What was sent as a session went down may lie in exabgp still, to go out with the next one: withdraw that.
        """
        address = self._address[headend]
        routes = [route for key, route in sorted(self._announced.items()) if key.headend == headend]
        unsure = [key for key in sorted(self._unsure) if key.headend == headend]
        lines = [wire.withdraw(address, key) for key in unsure if key not in self._announced]
        lines += [wire.announce(address, route, self._marks) for route in routes]
        complete = self._graceful_restart and self._resumed
        if complete:
            lines.append(wire.end_of_rib(address))
        await self._exabgp.command(lines, self._check)
        self._unsure.difference_update(unsure)
        self.counters["reannouncements"] += len(routes)
        _log.info("bgp.told", headend=headend, routes=len(routes), end_of_rib=complete)
