"""What operators want: classes in order of precedence, bounds, and what must be left alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum

from neto.model.peering import Prefix

MOST_ALPHA = 4.0  # of a class that is not max-min fair; beyond, prices do not settle


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """Traffic that is treated alike. Precedence is the order in `Intents.classes`, highest first."""

    name: str
    dscp: frozenset[int] = frozenset()  # code points told by this class; the last class takes all others
    max_delay_us: float = math.inf  # one-way bound on a candidate path, egress delay included
    max_stretch: float = math.inf  # bound on path delay / shortest path delay
    weight: float = 1.0  # fair share per demand relative to others of the class
    headroom: float | None = None  # share of every link this class leaves free; None: `Intents.headroom`
    alpha: float = math.inf  # fairness inside the class: infinite is max-min; up to MOST_ALPHA, alpha-fair
    prefixes: tuple[Prefix, ...] = ()  # destinations to which the edge marks all traffic as of this class
    interfaces: tuple[tuple[str, int], ...] = ()  # router and ifIndex: likewise what comes in there, wherever it goes


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """Hours of the day, UTC, in which these routers may be changed. A router in no window may be changed always."""

    routers: tuple[str, ...]
    begins: time
    ends: time  # a window may run over midnight


class Ingress(StrEnum):
    """What is done about links that too much comes in by."""

    OFF = "off"
    ADVISE = "advise"  # people are told which announcements to make less attractive
    APPLY = "apply"  # they are made so, one at a time, and back


@dataclass(frozen=True, slots=True)
class PrefixSplit:
    """Prefix groups that use several exits are split over them by whole prefixes, and so far in one decision.

    What is forced, because an exit is gone, does not count against the limits.
    """

    tolerance: float = 0.05  # share of a group's traffic that an exit may be off by before prefixes move
    max_prefixes: int = 1000  # that begin to leave by an exit of their own, or change theirs, on all head-ends together
    max_shift: float = 0.2  # share of a group's traffic at a head-end that these carry


@dataclass(frozen=True, slots=True)
class IspWish:
    """What an operator wants of one ISP, as long as that costs no traffic."""

    name: str
    prefer_us: float = 0.0  # its exits are chosen over others that are nearer by less than this
    avoid: bool = False  # chosen where others have no room
    max_share: float = math.inf  # of the traffic toward all prefix groups
    commit_mbps: float = math.inf  # on all its links together: what is paid for anyway


@dataclass(frozen=True, slots=True)
class Intents:
    """One reading of the intents file."""

    classes: tuple[TrafficClass, ...]
    headroom: float = 0.1
    drained_links: frozenset[str] = frozenset()  # link ids that should carry nothing of ours
    drained_nodes: frozenset[str] = frozenset()  # routers that nothing of ours should transit
    frozen: frozenset[str] = frozenset()  # routers that must not be changed
    windows: tuple[MaintenanceWindow, ...] = ()
    excluded_prefixes: tuple[Prefix, ...] = field(default=())  # never steered
    isps: tuple[IspWish, ...] = ()
    ingress: Ingress = Ingress.ADVISE
    prefix_split: PrefixSplit | None = None  # None: groups are split by the weights of segment lists
