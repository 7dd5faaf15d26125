"""The BGP-LS agent: the topology, from several speakers of which one is believed at a time.

Each speaker has a database of its own. The active one is the first, in order of preference, whose session is up and
that has told everything; while there is none, the one heard last, until what it told is too old. Times are seconds of
any clock that only goes forward (`run` uses time.monotonic).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import structlog

from neto.agents.monitoring.lsdb import LinkStateDatabase
from neto.errors import WireError
from neto.model.topology import Link, Node, Topology
from neto.wire.bgpls import decode_update

_PERIOD_S = 0.2  # between two looks at the clock
_COMPARE_EVERY_S = 0.5  # at most: drawing a large network takes a while, and changes come in bursts

_News = tuple[tuple[Node, ...], tuple[Link, ...], Mapping[tuple[str, str], int]]  # nodes, links, peer SIDs

_log = structlog.get_logger()


class _Speaker:
    """One source of the topology."""

    def __init__(self, address: str, stale_ttl_s: float) -> None:
        self.address = address
        self.database = LinkStateDatabase(stale_ttl_s)
        self.heard_s = float("-inf")  # when it last told something
        self.has_told = False  # something, in this session
        self.unreadable = 0  # messages, in this session

    @property
    def is_complete(self) -> bool:
        """Tell whether it is connected and has told everything, and that is something."""
        return self.database.is_synchronised and len(self.database) > 0


class BgpLsAgent:
    """Turns what speakers send into a Topology.

    speakers: peer addresses in order of preference. on_change: called when nodes, links or peer SIDs are others than
    when it was last called, whichever speaker tells them; not when only something measured (delay, loss, load)
    changed. The first of a burst of changes calls at once, those that follow within half a second call once. quiet_s:
    a speaker that has told something and then nothing for so long counts as having told everything, for those that
    send no End-of-RIB.
    """

    def __init__(
        self,
        speakers: Sequence[str],
        stale_ttl_s: float,
        on_change: Callable[[], None],
        *,
        quiet_s: float = 3.0,
    ) -> None:
        self.counters: Counter[str] = Counter(
            dict.fromkeys(
                (
                    *("updates", "wire_errors", "objects", "withdrawals", "ends_of_rib", "quiet_ends"),
                    *("unknown_tlvs", "malformed_tlvs", "unknown_nlris", "discarded_attributes"),
                    *("sessions_up", "sessions_down", "switches", "strangers"),
                ),
                0,
            )
        )
        self.unknown_tlvs: Counter[int] = Counter()  # by type
        self._speakers = {address: _Speaker(address, stale_ttl_s) for address in speakers}
        self._on_change = on_change
        self._quiet_s = quiet_s
        self._active: _Speaker | None = None
        self._compared: tuple[str | None, int] = (None, 0)  # whose structure was last compared with what was told
        self._compared_s = float("-inf")
        self._told: _News | None = None  # what the last on_change was about

    async def run(self) -> None:
        """Let time pass, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            self.tick(time.monotonic())

    def peer_up(self, address: str, now: float) -> None:
        """A session to a speaker was established."""
        if speaker := self._known(address):
            self.counters["sessions_up"] += 1
            speaker.has_told, speaker.unreadable = False, 0
            speaker.database.session_up(now)
            self._reconsider(now)

    def peer_down(self, address: str, now: float) -> None:
        """A session to a speaker ended."""
        if speaker := self._known(address):
            self.counters["sessions_down"] += 1
            speaker.database.session_down(now)
            self._reconsider(now)

    def raw_update(self, address: str, body: bytes, now: float) -> None:
        """A speaker sent an UPDATE: its body, without the 19-octet header."""
        speaker = self._known(address)
        if speaker is None:
            return
        self.counters["updates"] += 1
        try:
            update = decode_update(body)
        except WireError as error:
            self.counters["wire_errors"] += 1
            speaker.unreadable += 1
            _log.warning("bgpls.malformed", speaker=address, error=str(error))
            return
        self.counters["objects"] += len(update.reached)
        self.counters["withdrawals"] += len(update.withdrawn)
        self.counters["ends_of_rib"] += update.end_of_rib
        self.counters["unknown_tlvs"] += sum(update.unknown_tlvs.values())
        self.counters["malformed_tlvs"] += sum(update.malformed_tlvs.values())
        self.counters["unknown_nlris"] += len(update.unknown_nlris)
        self.counters["discarded_attributes"] += update.attribute_discarded
        self.unknown_tlvs.update(update.unknown_tlvs)
        if update.reached or update.withdrawn:
            speaker.heard_s, speaker.has_told = now, True
        speaker.database.apply(update, now)
        self._reconsider(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for speaker in self._speakers.values():
            database = speaker.database
            silent = database.is_up and speaker.has_told and now - speaker.heard_s >= self._quiet_s
            if silent and not database.is_synchronised:
                self.counters["quiet_ends"] += 1
                database.complete()
            database.expire(now)
        self._reconsider(now)

    @property
    def active(self) -> str | None:
        """Address of the speaker that is believed now."""
        return self._active.address if self._active else None

    def topology(self) -> Topology | None:
        """Return what the active speaker tells; None when there is none."""
        return self._active.database.topology() if self._active else None

    def peer_sids(self) -> Mapping[tuple[str, str], int]:
        """Return labels that steer into peering links, by (border router, peer address)."""
        return self._active.database.peer_sids() if self._active else MappingProxyType({})

    @property
    def overloaded(self) -> frozenset[str]:
        """Routers that ask not to be transited."""
        return self._active.database.map.overloaded if self._active else frozenset()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it should be, and what was refused."""
        unreadable = tuple(
            f"speaker {speaker.address}: {speaker.unreadable} messages could not be read: it may be out of date"
            for speaker in self._speakers.values()
            if speaker.unreadable
        )
        if self._active is None:
            return unreadable
        stale = () if self._active.is_complete else (f"topology is what {self.active} told before its session ended",)
        return (*unreadable, *stale, *self._active.database.problems)

    def _known(self, address: str) -> _Speaker | None:
        speaker = self._speakers.get(address)
        self.counters["strangers"] += speaker is None
        return speaker

    def _choose(self) -> _Speaker | None:
        everyone = self._speakers.values()
        whole = [each for each in everyone if each.database.is_whole and len(each.database)]
        freshest = max(whole, key=lambda each: each.heard_s, default=None)
        return next((each for each in everyone if each.is_complete), freshest)

    def _reconsider(self, now: float) -> None:
        """Choose the active speaker, and pass it on when what it tells is news."""
        chosen = self._choose()
        if chosen is not self._active:
            self.counters["switches"] += 1
            _log.info("bgpls.active", speaker=chosen.address if chosen else None, before=self.active)
            self._active = chosen
        structure = (self.active, chosen.database.structure if chosen else 0)
        if structure == self._compared or now - self._compared_s < _COMPARE_EVERY_S:
            return  # what is put off is for a later tick
        self._compared, self._compared_s = structure, now
        news = _news(chosen.database) if chosen else None
        if news != self._told:
            self._told = news
            self._on_change()


def _news(database: LinkStateDatabase) -> _News:
    """Return what is worth telling: everything but what is measured."""
    topology = database.topology()
    links = tuple(replace(link, delay_us=0.0) for link in topology.links)
    return topology.nodes, links, database.peer_sids()
