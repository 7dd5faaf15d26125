"""The judge's ledger: how full every link was, for how long, and what was lost, with nothing left out in between.

Between two changes the fluid model is constant, so everything is integrated exactly: the world enters each new state
at the moment it begins, and time is charged to the state that it ends. A state that lasted no time at all still counts
as a worst utilisation. Over a full link the higher classes go first, and what does not fit is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OVER = 1 + 1e-9  # utilisation above which a link drops
MOST_EPISODES = 1000  # kept per mark; more are counted only


@dataclass(frozen=True, slots=True)
class State:
    """What the fluid model says of one moment."""

    load_mbps: Mapping[str, Sequence[float]]  # by link, of each class, highest first
    astray_mbps: float = 0.0  # traffic that finds no way, or a link that is physically gone
    worst_delay_us: Sequence[float] = ()  # by class, of any part of its traffic
    late: Sequence[str] = ()  # traffic of a class beyond its delay bound, in words
    steered_mbps: float = 0.0
    offered_mbps: float = 0.0


@dataclass
class Account:
    """Totals since a mark."""

    seconds: float = 0.0
    over_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by link
    worst: dict[str, float] = field(default_factory=dict)  # utilisation, by link
    lost_mbit: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by class, or "astray"
    episodes: list[tuple[float, str, float]] = field(default_factory=list)  # (when, link, utilisation) as each began
    late: set[str] = field(default_factory=set)
    worst_delay_us: list[float] = field(default_factory=list)


class Ledger:
    """Everything since the start, and since each mark."""

    def __init__(self, capacity_mbps: Mapping[str, float], classes: Sequence[str], now: float) -> None:
        self._capacity = dict(capacity_mbps)
        self._classes = tuple(classes)
        self._state = State({})
        self._since = now
        self._accounts: dict[str, Account] = {"start": Account()}
        self._over: set[str] = set()

    def enter(self, state: State, now: float) -> None:
        """Begin a new state; charge the time until now to the old one."""
        self.advance(now)
        self._state = state
        before = self._over
        self._over = {link for link, share in self.utilisation().items() if share > OVER}
        for account in self._accounts.values():
            self._note(account, self._over - before, now)

    def _note(self, account: Account, fresh: set[str], now: float) -> None:
        """Write the present state into an account; fresh: links that were not over capacity a moment ago."""
        utilisation = self.utilisation()
        for link, share in utilisation.items():
            account.worst[link] = max(account.worst.get(link, 0.0), share)
        began = [(now, link, utilisation[link]) for link in sorted(fresh)]
        account.episodes.extend(began[: MOST_EPISODES - len(account.episodes)])
        account.late.update(self._state.late)
        seen = account.worst_delay_us or [0.0] * len(self._state.worst_delay_us)
        account.worst_delay_us = [max(pair) for pair in zip(seen, self._state.worst_delay_us, strict=True)]

    def advance(self, now: float) -> None:
        """Charge the time until now to the present state."""
        seconds, self._since = max(0.0, now - self._since), max(now, self._since)
        lost = self._lost_mbps()
        for account in self._accounts.values():
            account.seconds += seconds
            for link in self._over:
                account.over_seconds[link] += seconds
            for cause, mbps in lost.items():
                account.lost_mbit[cause] += mbps * seconds

    def mark(self, name: str, now: float) -> None:
        """Begin an account of its own from here, with the present state in it."""
        self.advance(now)
        self._accounts[name] = account = Account()
        self._note(account, self._over, now)

    def since(self, name: str, now: float) -> Account:
        """Return the account that began at a mark. Raises KeyError for a mark that nobody made."""
        self.advance(now)
        return self._accounts[name]

    @property
    def state(self) -> State:
        """What is, now."""
        return self._state

    def utilisation(self) -> dict[str, float]:
        """Load over capacity by link, now."""
        return {link: sum(load) / self._capacity[link] for link, load in self._state.load_mbps.items()}

    def _lost_mbps(self) -> dict[str, float]:
        lost: dict[str, float] = defaultdict(float)
        if self._state.astray_mbps > 0:
            lost["astray"] = self._state.astray_mbps
        for link in self._over:
            room = self._capacity[link]
            for name, mbps in zip(self._classes, self._state.load_mbps[link], strict=True):
                if mbps > room:
                    lost[name] += mbps - room
                room = max(0.0, room - mbps)
        return lost
