"""Announcements made less attractive by themselves, one at a time: which is next, whether it helped, when it can go.

The first change that the advice proposes is made; then nothing, until windows that began after it was read back, and
after others had `settle_s` to act on it, are measured. Where it brought too little, or put another link over its limit,
it is taken back and held down, twice as long each time. It goes again when the link has room for what it sent
elsewhere, with `margin` to spare, and not before `hold_s`: twice as long each time it had to come back.

What runs is what was read back. What is found on a border and not remembered is gone on from: it may have sent
elsewhere all that comes in toward its prefix. Pure: times are arguments, unix seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum, auto
from ipaddress import IPv4Network
from typing import Any

import msgspec

from neto.controller.ingress import Advice
from neto.model.announcement import Adjustment, AnnouncementKey, Change
from neto.model.peering import Peering, PeeringLink
from neto.model.plan import AnnouncementMove
from neto.model.sr import ForwardingState
from neto.operation.inbound import At, Survey
from neto.operation.report import adjustment_in_words

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Rules:
    """What is said to neighbours, and how patiently."""

    asn: int  # ours
    med: int = 100
    prepend: int = 1  # times
    min_effect: float = 0.25  # share of what was to leave a link that must have left it
    margin: float = 0.1  # share of a link's limit that must stay free
    settle_s: float = 60.0
    hold_s: float = 600.0
    longest_hold_s: float = 86400.0

    def hold(self, times: int) -> float:
        """Return how long the next hold lasts, when it is the so manyth."""
        return float(min(self.hold_s * 2.0 ** max(0, min(times, 64) - 1), self.longest_hold_s))


@dataclass(frozen=True, slots=True)
class Applied:
    """A change that is on its border, and what came in before it."""

    at: float  # when it was read back
    before_mbps: Mapping[str, float]  # toward its prefix, by link; nothing: it was found on the border
    all_mbps: float = 0.0  # by all links, toward everything
    over: tuple[str, ...] = ()  # links that were over their limits
    left: float | None = None  # share of its link's traffic that left; None: not measured yet
    fault: str = ""  # why it has to go; "" while it has not

    @property
    def waits(self) -> bool:
        """Whether it is still to be measured."""
        return self.left is None and bool(self.before_mbps)


@dataclass(frozen=True, slots=True)
class Tried:
    """What is remembered of a change that is, or was, made."""

    last: float  # when something was done about it
    applied: int = 0  # times
    failed: int = 0  # times in a row
    until: float = 0.0  # not made again before
    why: str = ""


class Purpose(Enum):
    """Why an announcement is changed."""

    APPLY = auto()
    TAKE_BACK = auto()  # it did not help
    REMOVE = auto()  # it is not needed any more, or no more listed


@dataclass(frozen=True, slots=True)
class Intended:
    """What is to be done next."""

    move: AnnouncementMove
    purpose: Purpose
    record: Applied  # as it will be, or as it was


class Adjusting:
    """All changes of one WAN. Ask `next`, carry it out, tell `done`."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._applied: dict[AnnouncementKey, Applied] = {}
        self._tried: dict[AnnouncementKey, Tried] = {}
        self._perhaps: dict[AnnouncementKey, Applied] = {}  # pushed, and not known to be there
        self._running: Mapping[AnnouncementKey, Adjustment] = {}
        self._links: dict[tuple[str, str], PeeringLink] = {}
        self._changeable: frozenset[str] = frozenset()  # borders
        self._changed_at = 0.0

    def see(
        self,
        states: Mapping[str, ForwardingState],
        peering: Peering,
        changeable: Iterable[str],
        now: float,
    ) -> None:
        """Take what was read back, by router. changeable: borders that may be changed now."""
        running = {key: each for state in states.values() for key, each in state.announcements.items()}
        self._running = running
        self._links = {(link.node, link.peer_address): link for link in peering.links if link.peer_address}
        self._changeable = frozenset(changeable)
        for key in running.keys() - self._applied.keys():
            self._applied[key] = self._perhaps.pop(key, Applied(now, {}))
        for key in self._applied.keys() - running.keys():
            if key.headend in states:
                del self._applied[key]
        longest = self._rules.longest_hold_s
        past = [key for key, tried in self._tried.items() if now > max(tried.last, tried.until) + longest]
        for key in past:
            if key not in running:
                del self._tried[key]

    def next(self, found: Survey, now: float) -> Intended | None:
        """Return the one thing to do; None when there is nothing, or it has to be measured first what was done."""
        if found.begins < self._changed_at + (self._rules.settle_s if self._changed_at else 0.0):
            return None
        listed = {link.name for link in self._links.values()}
        for each, record in self._applied.items():
            if record.waits and each.prefix in found.column and record.before_mbps.keys() & listed <= found.row.keys():
                self._applied[each] = self._measured(each, record, found)
        purpose, key = self._to_go(found)
        if key is None and not any(record.waits for record in self._applied.values()):
            first = self._proposed(found, now)
            if first is not None:
                return first
            key = self._with_room(found, now)
        return None if key is None else Intended(AnnouncementMove(key, None), purpose, self._applied[key])

    def done(self, intended: Intended, now: float, trouble: str = "") -> None:
        """Remember what came of it. now: when it was read back; trouble: why it was not done, "" when it was."""
        key, self._changed_at = intended.move.key, now
        tried = replace(self._tried.get(key, Tried(now)), last=now)
        if intended.purpose is Purpose.APPLY and not trouble:
            self._applied[key] = replace(intended.record, at=now)
            tried = replace(tried, applied=tried.applied + 1)
        elif intended.purpose is Purpose.APPLY:
            self._perhaps[key] = replace(intended.record, at=now)
            tried = self._held_down(tried, f"could not be made: {trouble}", now)
        elif intended.purpose is Purpose.TAKE_BACK and not trouble:
            tried = self._held_down(tried, intended.record.fault, now)
        elif trouble:
            tried = replace(tried, why=f"could not be taken back: {trouble}", until=now + self._rules.hold_s)
        else:
            tried = replace(tried, failed=0, why="")
        self._tried[key] = tried
        if intended.move.adjustment is None and not trouble:
            self._applied.pop(key, None)

    def _held_down(self, tried: Tried, why: str, now: float) -> Tried:
        failed = tried.failed + 1
        return replace(tried, failed=failed, until=now + self._rules.hold(failed), why=why)

    # What is there

    def _measured(self, key: AnnouncementKey, record: Applied, found: Survey) -> Applied:
        """Say what a change has brought, by what comes in now."""
        link = self._name(key)
        now_mbps = found.toward(key.prefix)
        before = record.before_mbps.get(link, 0.0)
        share = before / max(sum(record.before_mbps.values()), _ROUNDING)
        expected = share * sum(now_mbps.values())  # were it not made
        still = now_mbps.get(link, 0.0)
        left = max((1 - still / most for most in (before, expected) if most > _ROUNDING), default=1.0)
        fault = ""
        if left < self._rules.min_effect:
            fault = f"only {max(left, 0.0):.0%} left {link} (accepted: {self._rules.min_effect:.0%})"
        for row, other in enumerate(found.links):
            inbound, limit = float(found.inbound_mbps[row]), float(found.limit_mbps[row])
            gained = now_mbps[other.name] - record.before_mbps.get(other.name, 0.0)
            if other.name not in (link, *record.over) and inbound - gained <= limit < inbound:
                fault = f"it put {other.name} over its limit"
        return replace(record, left=left, fault=fault)

    def _to_go(self, found: Survey) -> tuple[Purpose, AnnouncementKey | None]:
        """Find what did not help, and what is listed no more or would be said otherwise today."""
        mine = [(key, record) for key, record in self._applied.items() if key.headend in self._changeable]
        for key, record in mine:
            if record.fault:
                return Purpose.TAKE_BACK, key
        return Purpose.REMOVE, next((key for key, _ in mine if self._is_stray(key, found)), None)

    def _is_stray(self, key: AnnouncementKey, found: Survey) -> bool:
        link, running = self._links.get((key.headend, key.peer)), self._running[key]
        if link is None or link.interface is None or key.prefix not in found.column:
            return True
        listed = link.announced is None or key.prefix in link.announced
        return not listed or running != self._said(key, running.change, link)

    def _with_room(self, found: Survey, now: float) -> AnnouncementKey | None:
        """Find a change whose link has room again for what it sent elsewhere, the one with least of it first."""
        ready = []
        for key, record in self._applied.items():
            row = found.row.get(self._name(key))
            applied = self._tried.get(key, Tried(now)).applied
            if row is None or self._name(key) in found.closed or key.headend not in self._changeable:
                continue
            more = self._elsewhere(key, record, found)
            fits = found.inbound_mbps[row] + more <= found.limit_mbps[row] * (1 - self._rules.margin)
            if fits and now >= record.at + self._rules.hold(applied):
                ready.append((more, key))
        return min(ready)[1] if ready else None

    def _elsewhere(self, key: AnnouncementKey, record: Applied, found: Survey) -> float:
        """Return how much more would come in by its link, were a change not there; rather too much than too little."""
        now_mbps = found.toward(key.prefix)
        still = now_mbps[self._name(key)]
        if not record.before_mbps:
            return sum(now_mbps.values()) - still
        before = record.before_mbps.get(self._name(key), 0.0)
        share = before / max(sum(record.before_mbps.values()), _ROUNDING)
        scaled = before * min(1.0, float(found.inbound_mbps.sum()) / max(record.all_mbps, _ROUNDING))
        return max(0.0, max(share * sum(now_mbps.values()), scaled) - still)

    # What is next

    def advice(self, found: Survey, now: float) -> Advice:
        """Say what to change beside what is changed already, and what may be changed at all."""
        adjusted = {(self._name(key), key.prefix) for key in self._applied}
        return found.advice(adjusted, set(self._kept(found, now)))

    def _kept(self, found: Survey, now: float) -> Iterable[At]:
        for link in found.links:
            for _, prefix in found.own:
                tried = self._tried.get(AnnouncementKey(link.node, link.peer_address, prefix))
                held = tried is not None and now < tried.until
                if held or link.node not in self._changeable or not link.peer_address or prefix.version != 4:  # noqa: PLR2004
                    yield link.name, prefix

    def _proposed(self, found: Survey, now: float) -> Intended | None:
        proposals = self.advice(found, now).proposals
        if not proposals:
            return None
        first = proposals[0]
        link, prefix = found.links[first.link], found.own[first.prefix][1]
        key = AnnouncementKey(link.node, link.peer_address, prefix)
        over = (found.inbound_mbps > found.limit_mbps).tolist()
        record = Applied(
            now,
            found.toward(prefix),
            float(found.inbound_mbps.sum()),
            tuple(each.name for each, full in zip(found.links, over, strict=True) if full),
        )
        return Intended(AnnouncementMove(key, self._said(key, first.change, link)), Purpose.APPLY, record)

    def _said(self, key: AnnouncementKey, change: Change, link: PeeringLink) -> Adjustment:
        if change is Change.COMMUNITY:
            return Adjustment(key, community=link.lower_community)
        if change is Change.MED:
            return Adjustment(key, med=self._rules.med)
        return Adjustment(key, prepend=(self._rules.asn,) * self._rules.prepend)

    def _name(self, key: AnnouncementKey) -> str:
        """Return the peering link of a change; of one that is listed no more, who it is told to."""
        link = self._links.get((key.headend, key.peer))
        return link.name if link else f"{key.headend} to {key.peer}"

    # What people see, and what a successor goes on from

    def rows(self, now: float) -> list[dict[str, Any]]:
        """Return each change that is made, with its age and what it brought."""
        return [
            {
                "peering_link": self._name(key),
                "border": key.headend,
                "prefix": str(key.prefix),
                "how": adjustment_in_words(self._running[key]),
                "since": record.at,
                "age_s": now - record.at,
                "expected_mbps": record.before_mbps.get(self._name(key)),
                "left": record.left,
                "stays_until": record.at + self._rules.hold(self._tried.get(key, Tried(now)).applied),
                "fault": record.fault,
            }
            for key, record in sorted(self._applied.items())
            if key in self._running
        ]

    def doubts(self, now: float) -> list[str]:
        """Say which changes did not help, or could not be made."""
        return [
            f"{key.prefix} at {self._name(key)}: {tried.why}; held until {_clock(tried.until)}"
            for key, tried in sorted(self._tried.items())
            if tried.why and now < tried.until
        ]

    def memory(self) -> dict[str, Any]:
        """Return what a successor should know, as a plain document."""
        keys = sorted(self._applied.keys() | self._tried.keys())
        rows = [
            {
                "headend": key.headend,
                "peer": key.peer,
                "prefix": str(key.prefix),
                "applied": asdict(self._applied[key]) if key in self._applied else None,
                "tried": asdict(self._tried[key]) if key in self._tried else None,
            }
            for key in keys
        ]
        return {"changed_at": self._changed_at, "rows": rows}

    def restore(self, memory: Mapping[str, Any]) -> bool:
        """Go on from what a predecessor remembered; False when it cannot be read, and nothing is remembered."""
        try:
            rows = [
                (
                    AnnouncementKey(str(row["headend"]), str(row["peer"]), IPv4Network(row["prefix"])),
                    msgspec.convert(row["applied"], Applied | None),
                    msgspec.convert(row["tried"], Tried | None),
                )
                for row in memory["rows"]
            ]
            changed_at = float(memory["changed_at"])
        except (msgspec.ValidationError, KeyError, TypeError, ValueError):
            return False
        self._applied = {key: applied for key, applied, _ in rows if applied is not None}
        self._tried = {key: tried for key, _, tried in rows if tried is not None}
        self._changed_at = changed_at
        return True


def _clock(then: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(then))
