"""When measured latency may change where a prefix group leaves: little, when it is sure, and back when it was wrong.

Of what others moved by measured latency every sixth got worse, and two exits that are nearly alike would take turns.
So a group leaves its exit for a nearer one only

- when the intervals of both medians are apart by the least gain (`min_gain_ms`, and `min_gain` as a share),
- in `confirm` decisions one after another,
- and not while it is held down: for `hold_s` after a move, twice as long after each move that had to be undone.

Within `probation_s` of a move, a group whose new exit turns out further than the old one was goes back at once. A
group without samples stays where BGP has it.

What comes out are delays for the allocation, which joins them with the way through the WAN and with capacities: an
exit that has not earned the move counts as no nearer than the one in use, and is still there when that one is full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from neto.model.latency import LatencyEstimate

_FURTHER_US = 1.0  # by which an exit that has not earned a move is further than the one in use


@dataclass(frozen=True, slots=True)
class LatencyPolicy:
    """How sure one has to be."""

    min_gain_ms: float = 2.0
    min_gain: float = 0.05  # of the median in use
    more_loss: float = 0.005  # share of packets that a nearer exit may lose more; twice that is harm
    confirm: int = 3
    hold_s: float = 600.0
    longest_hold_s: float = 86400.0
    probation_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a group leaves as far as latency has a say, and what led there."""

    exit: str
    moved: bool = False  # by latency; otherwise it goes where BGP does
    candidate: str = ""  # that was nearer in the last decisions
    confirmed: int = 0  # in how many
    held_until_s: float = float("-inf")
    hold_s: float = 0.0  # how long the last hold-down was
    moved_s: float = float("-inf")
    before: LatencyEstimate | None = None  # of the exit it left, when it left it
    reverts: int = 0


def step(
    standing: Standing | None,
    bgp_exit: str,
    estimates: Mapping[str, LatencyEstimate],
    now: float,
    policy: LatencyPolicy,
) -> Standing:
    """Return where a group stands after one decision.

    standing: after the last one; None at first. bgp_exit: where BGP has it leave. estimates: by exit, of those that
    are open and measured. now: seconds of any clock that goes forward.
    """
    kept = standing or Standing(bgp_exit)
    if not kept.moved or kept.exit not in estimates:  # an exit that is gone, or not measured: BGP knows better
        kept = replace(kept, exit=bgp_exit, moved=False)
    here = estimates.get(kept.exit)
    if here is None:
        return replace(kept, candidate="", confirmed=0, before=None)
    if kept.moved and kept.before and _is_worse(here, kept.before, policy) and now - kept.moved_s <= policy.probation_s:
        return _reverted(kept, kept.before.peering_link, bgp_exit, now, policy)
    nearest = None if now < kept.held_until_s else _nearer(here, estimates, policy)
    if nearest is None:
        return replace(kept, candidate="", confirmed=0)
    confirmed = kept.confirmed + 1 if nearest == kept.candidate else 1
    if confirmed < policy.confirm:
        return replace(kept, candidate=nearest, confirmed=confirmed)
    hold_s = max(policy.hold_s, kept.hold_s)
    return Standing(
        exit=nearest,
        moved=nearest != bgp_exit,
        held_until_s=now + hold_s,
        hold_s=hold_s,
        moved_s=now,
        before=here,
        reverts=kept.reverts,
    )


def _nearer(here: LatencyEstimate, estimates: Mapping[str, LatencyEstimate], policy: LatencyPolicy) -> str | None:
    """Return the exit that is surely nearer, by the least gain; None when there is none."""
    nearest = min(estimates.values(), key=lambda each: (each.high_ms, each.peering_link))
    gain_ms = max(policy.min_gain_ms, policy.min_gain * here.rtt_ms)
    if nearest.high_ms + gain_ms > here.low_ms or nearest.loss > here.loss + policy.more_loss:
        return None
    return nearest.peering_link


def _is_worse(here: LatencyEstimate, before: LatencyEstimate, policy: LatencyPolicy) -> bool:
    """Whether a move did harm: surely further than the exit it left was, or more is lost."""
    return here.low_ms > before.high_ms or here.loss > before.loss + 2 * policy.more_loss


def _reverted(standing: Standing, back: str, bgp_exit: str, now: float, policy: LatencyPolicy) -> Standing:
    hold_s = min(2 * standing.hold_s, policy.longest_hold_s)
    return Standing(
        exit=back,
        moved=back != bgp_exit,
        held_until_s=now + hold_s,
        hold_s=hold_s,
        moved_s=now,
        reverts=standing.reverts + 1,
    )


def delays_us(standing: Standing, estimates: Sequence[LatencyEstimate]) -> dict[str, float]:
    """Return the delay beyond each measured exit of a group, as the allocation should see it.

    Nothing where the exit in use is not measured: the others cannot be compared with it.
    """
    here = next((each for each in estimates if each.peering_link == standing.exit), None)
    if here is None:
        return {}
    least_us = here.delay_us
    return {
        each.peering_link: least_us if each is here else max(each.delay_us, least_us + _FURTHER_US)
        for each in estimates
    }
