"""What an emulated router is configured with, and what it refuses to commit.

Labels and names as typed, nothing of the daemon's nouns. Edits are staged by sessions and replayed on a copy of the
running configuration when they are committed, so two sessions never see half of each other's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field

from neto.lab.state import LabPolicy
from neto.lab.told import OutPolicies

PolicyId = tuple[int, str]  # (colour, endpoint)
EVERY_OTHER_DSCP = -1


class CommitError(Exception):
    """A configuration that the router does not take; nothing of it was applied."""


@dataclass(frozen=True, slots=True)
class CandidateList:
    """One weighted segment list of a policy's candidate path."""

    preference: int
    name: str
    segment_list: str
    weight: int


@dataclass(slots=True)
class PolicyConfig:
    """One policy as typed: weighted segment lists, or a mapping from DSCP to colour."""

    name: str = ""
    lists: dict[str, CandidateList] = field(default_factory=dict)  # by segment list, in the order typed
    per_flow: dict[int, int] = field(default_factory=dict)  # dscp: colour


@dataclass(slots=True)
class Configuration:
    """Everything that can be configured on an emulated router."""

    segment_lists: dict[str, dict[int, int]] = field(default_factory=dict)  # name: {index: label}
    policies: dict[PolicyId, PolicyConfig] = field(default_factory=dict)
    out: OutPolicies = field(default_factory=OutPolicies)

    def edited(self, edits: Iterable[Edit]) -> Configuration:
        """Return a copy with these edits replayed on it."""
        candidate = deepcopy(self)
        for edit in edits:
            edit(candidate)
        return candidate

    def labels(self, segment_list: str) -> tuple[int, ...]:
        """Label stack of a segment list, first hop first."""
        return tuple(label for _, label in sorted(self.segment_lists.get(segment_list, {}).items()))

    def check(self, max_sids: int) -> None:
        """Raise CommitError with the first thing that is wrong."""
        for fault in self._faults(max_sids):
            raise CommitError(fault)

    def lab_policy(self, key: PolicyId) -> LabPolicy:
        """Return one policy as forwarding sees it."""
        colour, endpoint = key
        policy = self.policies[key]
        stacks = tuple((self.labels(each.segment_list), each.weight) for each in policy.lists.values())
        return LabPolicy(colour, endpoint, policy.name, stacks, tuple(sorted(policy.per_flow.items())))

    def lines(self) -> Iterator[str]:
        """Yield the configuration as the lines that would make it."""
        yield from self.out.lines()
        if not (self.segment_lists or self.policies):
            return
        yield "segment-routing"
        yield " traffic-eng"
        for name in sorted(self.segment_lists):
            yield f"  segment-list {name}"
            yield from (
                f"   index {index} mpls label {label}" for index, label in sorted(self.segment_lists[name].items())
            )
            yield "  exit"
        for colour, endpoint in sorted(self.policies):
            yield f"  policy color {colour} endpoint {endpoint}"
            yield from self._policy_lines(self.policies[colour, endpoint])
            yield "  exit"
        yield " exit"
        yield "exit"

    @staticmethod
    def _policy_lines(policy: PolicyConfig) -> Iterator[str]:
        if policy.name:
            yield f"   name {policy.name}"
        for each in policy.lists.values():
            path = f"candidate-path preference {each.preference} name {each.name}"
            yield f"   {path} explicit segment-list {each.segment_list} weight {each.weight}"
        for dscp, colour in sorted(policy.per_flow.items(), reverse=True):
            yield f"   per-flow {'default' if dscp == EVERY_OTHER_DSCP else f'dscp {dscp}'} color {colour}"

    def _faults(self, max_sids: int) -> Iterator[str]:
        for (colour, endpoint), policy in self.policies.items():
            here = f"policy color {colour} endpoint {endpoint}"
            if bool(policy.lists) == bool(policy.per_flow):
                yield f"{here} needs either a candidate path or per-flow colors"
            if len({(each.preference, each.name) for each in policy.lists.values()}) > 1:
                yield f"{here} has more than one candidate path"
            yield from (f"{here}: {fault}" for fault in self._list_faults(policy, max_sids))
            for target in policy.per_flow.values():
                if target == colour or getattr(self.policies.get((target, endpoint)), "per_flow", None):
                    yield f"{here}: per-flow color {target} is itself a per-flow policy"

    def _list_faults(self, policy: PolicyConfig, max_sids: int) -> Iterator[str]:
        for name in policy.lists:
            if name not in self.segment_lists:
                yield f"segment-list {name} is in use and is not configured"
            elif not self.segment_lists[name]:
                yield f"segment-list {name} is in use and is empty"
            elif len(self.segment_lists[name]) > max_sids:
                yield f"segment-list {name} has {len(self.segment_lists[name])} SIDs, at most {max_sids} can be imposed"


Edit = Callable[[Configuration], object]
