"""The routes a lab router holds from the daemon, and what it keeps of them while the daemon is away.

Graceful restart as the receiving speaker (RFC 4724 §4.2): when the TCP connection drops without a NOTIFICATION,
routes stay, marked stale, for the restart time the peer had asked for. Back in time, the peer refreshes what it
still means; End-of-RIB removes the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network

from neto.lab.bgp_message import IPV4_UNICAST, Open
from neto.lab.bgp_session import Closed, Established, Event, Received
from neto.lab.bgp_update import Update
from neto.lab.state import LabRoute

WELL_KNOWN = {0xFFFFFF01: "no-export", 0xFFFFFF02: "no-advertise", 0xFFFFFF03: "no-export-subconfed"}  # RFC 1997
STALE_S = 360.0  # a peer that came back and never says End-of-RIB keeps its stale routes no longer


class AdjRibIn:
    """Events of the session in, announcements and withdrawals out; each is told once."""

    def __init__(self, announce: Callable[[LabRoute], None], withdraw: Callable[[IPv4Network], None]) -> None:
        self.routes: dict[IPv4Network, LabRoute] = {}
        self.stale: set[IPv4Network] = set()
        self.forget_at: float | None = None  # when stale routes go, whatever happens
        self._announce = announce
        self._withdraw = withdraw

    def handle(self, event: Event, now: float) -> None:
        """Follow the session."""
        match event:
            case Established(peer):
                self._resume(peer, now)
            case Received(update):
                self._update(update)
            case Closed(_, notified, peer):
                self._lose(None if notified else peer, now)

    def tick(self, now: float) -> None:
        """Drop stale routes whose time is over."""
        if self.forget_at is not None and now >= self.forget_at:
            self._forget_stale()

    def _resume(self, peer: Open, now: float) -> None:
        if not self.stale:
            return
        if peer.graceful and IPV4_UNICAST in peer.graceful.preserved:
            self.forget_at = now + STALE_S
        else:
            self._forget_stale()

    def _update(self, update: Update) -> None:
        for prefix in update.withdrawn:
            self._remove(prefix)
        if update.attributes:
            attributes = update.attributes
            communities = tuple(
                WELL_KNOWN.get(value, f"{value >> 16}:{value & 0xFFFF}") for value in attributes.communities
            )
            for prefix in update.announced:
                route = LabRoute(
                    prefix,
                    attributes.next_hop,
                    attributes.local_preference,
                    max(attributes.colours, default=None),  # of several the highest wins (RFC 9256 §8.4.1)
                    communities,
                )
                self.stale.discard(prefix)
                if self.routes.get(prefix) != route:
                    self.routes[prefix] = route
                    self._announce(route)
        if IPV4_UNICAST in update.end_of_rib:
            self._forget_stale()

    def _lose(self, peer: Open | None, now: float) -> None:
        """peer: with whom the session was up, when it may come back to its routes."""
        self._forget_stale()  # those of an earlier restart do not survive another one
        if peer and peer.graceful and IPV4_UNICAST in peer.graceful.families:
            self.stale = set(self.routes)
            self.forget_at = now + peer.graceful.restart_s
            return
        for prefix in tuple(self.routes):
            self._remove(prefix)

    def _forget_stale(self) -> None:
        for prefix in tuple(self.stale):
            self._remove(prefix)
        self.forget_at = None

    def _remove(self, prefix: IPv4Network) -> None:
        self.stale.discard(prefix)
        if self.routes.pop(prefix, None):
            self._withdraw(prefix)
