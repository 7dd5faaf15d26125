"""One emulated router behind its command line: the running configuration, and how a commit changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from neto.lab.configuration import CommitError, Configuration, Edit, PolicyId
from neto.lab.state import RouterState

Validity = Callable[[tuple[int, ...]], bool]  # can this router forward along this label stack now?


@dataclass(frozen=True, slots=True)
class OtherRoute:
    """A BGP route that the daemon did not announce: what `show bgp` lists beside the daemon's."""

    prefix: IPv4Network
    next_hop: str
    as_path: str = ""
    local_preference: int = 100


OtherRoutes = Callable[[], Iterable[OtherRoute]]


@dataclass(slots=True)
class LabRouter:
    """All sessions of one router share this. `state.policies` follows `running` and nothing else."""

    state: RouterState
    max_sids: int = 10
    validity: Validity = lambda _labels: True
    other_routes: OtherRoutes = tuple
    running: Configuration = field(default_factory=Configuration)
    committed: Callable[[], None] = lambda: None  # called whenever `state.policies` has changed

    def commit(self, edits: Sequence[Edit]) -> None:
        """Apply what a session staged, all of it or nothing.

        Raises CommitError, having changed nothing; or, when the router is told to fail half-way, the first policy.
        """
        candidate = self.running.edited(edits)
        candidate.check(self.max_sids)
        if self.state.half_done:
            self._apply_first(candidate)
            self.committed()
            raise CommitError("internal error, configuration is inconsistent")
        self.running = candidate
        self.state.policies.clear()
        self.state.policies.update((key, candidate.lab_policy(key)) for key in sorted(candidate.policies))
        self.committed()

    def _apply_first(self, candidate: Configuration) -> None:
        """Do what a router does that fails in the middle: one policy changed, the rest as it was."""
        key = self._first_changed(candidate)
        if key is None:
            return
        if key not in candidate.policies:
            del self.running.policies[key]
            del self.state.policies[key]
            return
        self.running.policies[key] = candidate.policies[key]
        for name in candidate.policies[key].lists:
            self.running.segment_lists[name] = candidate.segment_lists[name]
        self.state.policies[key] = self.running.lab_policy(key)

    def _first_changed(self, candidate: Configuration) -> PolicyId | None:
        every = [*candidate.policies, *self.running.policies]
        before, after = self.running, candidate
        return next(
            (key for key in every if _shown(before, key) != _shown(after, key)),
            None,
        )


def _shown(configuration: Configuration, key: PolicyId) -> object:
    return configuration.lab_policy(key) if key in configuration.policies else None
