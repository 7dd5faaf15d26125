"""What one BGP-LS speaker has told: a database of nodes, links and prefixes, and how long each is believed.

A speaker that is lost withdraws nothing. What it told is stale from then on: it is believed until its time to live is
over, or until the speaker, back again, has said that it has told everything (End-of-RIB) and has not told it anew.
Times are seconds of any clock that only goes forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from neto.agents.monitoring.lsmap import LsMap, draw
from neto.model.topology import Topology
from neto.wire.bgpls import LsKey, LsLink, LsObject, LsUpdate


class LinkStateDatabase:
    """Everything that one speaker tells."""

    def __init__(self, stale_ttl_s: float) -> None:
        self.is_up = False  # the session to the speaker
        self.is_synchronised = False  # it has told everything since the session came up
        self.is_whole = False  # it has told everything once, and nothing of that was given up since
        self.version = 0  # grows with every change
        self.structure = 0  # grows with every change that is not only of something measured, such as a delay
        self._stale_ttl_s = stale_ttl_s
        self._objects: dict[LsKey, LsObject] = {}
        self._stale_since: dict[LsKey, float] = {}
        self._map: tuple[int, LsMap] | None = None  # of which version

    def __len__(self) -> int:
        return len(self._objects)

    def session_up(self, now: float) -> None:
        """Begin anew: what is there has to be told again."""
        self.is_up, self.is_synchronised = True, False
        self._make_stale(now)

    def session_down(self, now: float) -> None:
        """Believe what is there for a while longer."""
        self.is_up = self.is_synchronised = False
        self._make_stale(now)

    def apply(self, update: LsUpdate, now: float) -> bool:
        """Take in an UPDATE; tell whether it changed anything.

        What is both withdrawn and told in it is told (RFC 4271 §4.3). An UPDATE outside a session is stale at once.
        """
        before = self.version
        for key in update.withdrawn:
            self._drop(key)
        for told in update.reached:
            self._tell(told)
            if not self.is_up:
                self._stale_since[told.key] = now
        if update.end_of_rib and self.is_up:
            self.complete()
        return self.version != before

    def complete(self) -> bool:
        """Take it that the speaker has told everything: drop what it told in an earlier session only."""
        self.is_synchronised = self.is_whole = True
        return self._drop_all(list(self._stale_since))

    def expire(self, now: float) -> bool:
        """Drop what has been stale for too long; tell whether there was any."""
        latest = now - self._stale_ttl_s
        due = [key for key, since in self._stale_since.items() if since <= latest]
        self.is_whole = self.is_whole and not due
        return self._drop_all(due)

    @property
    def map(self) -> LsMap:
        """What it all amounts to; the same object as long as nothing changes."""
        if self._map is None or self._map[0] != self.version:
            self._map = (self.version, draw(self._objects.values()))
        return self._map[1]

    def topology(self) -> Topology:
        """Return the routers and links that can be used."""
        return self.map.topology

    def peer_sids(self) -> Mapping[tuple[str, str], int]:
        """Return labels that steer into peering links, by (border router, peer address)."""
        return self.map.peer_sids

    @property
    def problems(self) -> Sequence[str]:
        """What was refused of what was told, and why."""
        return self.map.problems

    def _tell(self, told: LsObject) -> None:
        self._stale_since.pop(told.key, None)
        known = self._objects.get(told.key)
        if known == told:
            return
        self._objects[told.key] = told
        self.version += 1
        if known is None or _unmeasured(known) != _unmeasured(told):
            self.structure += 1

    def _drop(self, key: LsKey) -> None:
        self._stale_since.pop(key, None)
        if self._objects.pop(key, None) is not None:
            self.version += 1
            self.structure += 1

    def _drop_all(self, keys: Sequence[LsKey]) -> bool:
        for key in keys:
            self._drop(key)
        return bool(keys)

    def _make_stale(self, now: float) -> None:
        for key in self._objects:
            self._stale_since.setdefault(key, now)


def _unmeasured(told: LsObject) -> LsObject:
    """Leave out what routers measure and keep telling anew."""
    if not isinstance(told, LsLink):
        return told
    attributes = replace(
        told.attributes,
        unreserved_mbps=(),
        residual_mbps=None,
        available_mbps=None,
        utilised_mbps=None,
        delay_us=None,
        min_delay_us=None,
        max_delay_us=None,
        delay_variation_us=None,
        loss=None,
    )
    return LsLink(told.key, attributes)
