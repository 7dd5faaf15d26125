"""The judge's ledger: how full every link was, for how long, and what was lost, with nothing left out in between.

Between two changes the fluid model is constant, so everything is integrated exactly: the world enters each new state
at the moment it begins, and time is charged to the state that it ends. A state that lasted no time at all still counts
as a worst utilisation. Times are seconds of one clock of the caller's.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from neto.lab.fluid import OVER

START = "start"
MOST_MARKS = 64  # the oldest goes when there are more
MOST_EPISODES = 4096
MOST_LATE = 256  # lines kept per account


@dataclass(frozen=True, slots=True)
class State:
    """What the fluid model says of one moment."""

    load_mbps: Mapping[str, Sequence[float]]  # by link, of each class, highest first
    lost_mbps: Mapping[str, float] = field(default_factory=dict)  # by cause
    offered_mbps: Sequence[float] = ()  # by class
    delivered_mbps: Sequence[float] = ()  # by class
    steered_mbps: float = 0.0
    worst_delay_us: Sequence[float] = ()  # by class, of any part of its traffic that arrives
    late: Sequence[str] = ()  # traffic beyond the delay bound of its class, in words


@dataclass(slots=True)
class Episode:
    """One stretch of time that a link was over capacity."""

    link: str
    began: float
    worst: float  # utilisation
    ended: float | None = None


@dataclass
class Account:
    """Totals since a mark."""

    began: float
    seconds: float = 0.0
    over_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by link
    worst: dict[str, float] = field(default_factory=dict)  # utilisation, by link
    lost_mbit: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by cause
    offered_mbit: list[float] = field(default_factory=list)  # by class
    delivered_mbit: list[float] = field(default_factory=list)  # by class
    worst_delay_us: list[float] = field(default_factory=list)  # by class
    late_seconds: float = 0.0  # with anything beyond its bound
    late: set[str] = field(default_factory=set)
    episodes: list[Episode] = field(default_factory=list)  # that touch the time since the mark, in order of beginning


@dataclass(frozen=True, slots=True)
class Sample:
    """One tick, for curves."""

    at: float
    worst_link: str
    worst: float  # utilisation
    over: int  # links over capacity
    steered_mbps: float
    offered_mbps: float
    lost_mbps: float


class Ledger:
    """Everything since the start, and since each mark.

    keep: ticks that the history holds.
    """

    def __init__(
        self, capacity_mbps: Mapping[str, float], classes: Sequence[str], now: float, keep: int = 3600
    ) -> None:
        self.classes = tuple(classes)
        self.history: deque[Sample] = deque(maxlen=keep)
        self.state = State({})
        self._capacity = dict(capacity_mbps)
        self._since = now
        self._accounts: dict[str, Account] = {START: Account(now)}
        self._episodes: deque[Episode] = deque(maxlen=MOST_EPISODES)
        self._over: dict[str, Episode] = {}
        self._utilisation: dict[str, float] = {}

    def enter(self, state: State, now: float) -> list[Episode]:
        """Begin a new state; charge the time until now to the old one.

        Returns the episodes that begin or end with it.
        """
        self.advance(now)
        self.state = state
        self._utilisation = {link: sum(load) / self._capacity[link] for link, load in state.load_mbps.items()}
        changed = self._follow_episodes(now)
        for account in self._accounts.values():
            self._note(account)
        return changed

    def advance(self, now: float) -> None:
        """Charge the time until now to the present state."""
        seconds, self._since = max(0.0, now - self._since), max(now, self._since)
        for account in self._accounts.values():
            account.seconds += seconds
            if seconds:
                self._charge(account, seconds)

    def tick(self, now: float) -> None:
        """Bring everything up to date and add a sample to the history."""
        self.advance(now)
        link = max(self._utilisation, key=self._utilisation.__getitem__, default="")
        state = self.state
        self.history.append(
            Sample(
                now,
                link,
                self._utilisation.get(link, 0.0),
                len(self._over),
                state.steered_mbps,
                sum(state.offered_mbps),
                sum(state.lost_mbps.values()),
            )
        )

    def mark(self, name: str, now: float) -> None:
        """Begin an account of its own from here, with the present state in it."""
        self.advance(now)
        self._accounts.pop(name, None)
        while len(self._accounts) > MOST_MARKS:
            del self._accounts[next(each for each in self._accounts if each != START)]
        self._accounts[name] = account = Account(now)
        self._note(account)

    def since(self, name: str, now: float) -> Account:
        """Return the account that began at a mark. Raises KeyError for a mark that nobody made."""
        account = self._accounts[name]
        self.advance(now)
        account.episodes = [e for e in self._episodes if e.ended is None or e.ended >= account.began]
        return account

    def utilisation(self) -> Mapping[str, float]:
        """Load over capacity by link, now."""
        return self._utilisation

    def overloaded(self) -> list[str]:
        """Links over capacity now, by name."""
        return sorted(self._over)

    def _follow_episodes(self, now: float) -> list[Episode]:
        changed = []
        for link, share in self._utilisation.items():
            episode = self._over.get(link)
            if share > OVER:
                if episode is None:
                    episode = self._over[link] = Episode(link, now, share)
                    self._episodes.append(episode)
                    changed.append(episode)
                episode.worst = max(episode.worst, share)
            elif episode is not None:
                episode.ended = now
                changed.append(self._over.pop(link))
        return changed

    def _note(self, account: Account) -> None:
        """Write the worst of the present state into an account."""
        worst = account.worst
        for link, share in self._utilisation.items():
            if share > worst.get(link, -1.0):
                worst[link] = share
        if len(account.late) < MOST_LATE:
            account.late.update(self.state.late)
        account.worst_delay_us = _each(max, account.worst_delay_us, self.state.worst_delay_us)

    def _charge(self, account: Account, seconds: float) -> None:
        for link in self._over:
            account.over_seconds[link] += seconds
        for cause, mbps in self.state.lost_mbps.items():
            account.lost_mbit[cause] += mbps * seconds
        account.offered_mbit = _integrated(account.offered_mbit, self.state.offered_mbps, seconds)
        account.delivered_mbit = _integrated(account.delivered_mbit, self.state.delivered_mbps, seconds)
        account.late_seconds += seconds if self.state.late else 0.0


def _integrated(total: Sequence[float], rate: Sequence[float], seconds: float) -> list[float]:
    return _each(lambda so_far, mbps: so_far + mbps, total, [mbps * seconds for mbps in rate])


def _each(combine: Callable[[float, float], float], seen: Sequence[float], now: Sequence[float]) -> list[float]:
    """Combine class by class; nothing seen yet counts as zeros."""
    return [combine(*pair) for pair in zip(seen or [0.0] * len(now), now or [0.0] * len(seen), strict=True)]
