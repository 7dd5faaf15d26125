"""One cycle: everything that was decided on, and everything that was decided."""

from __future__ import annotations

from dataclasses import dataclass, field

from neto.model.allocation import Allocation
from neto.model.demand import DemandMatrix
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering
from neto.model.plan import Plan
from neto.model.sr import ForwardingState
from neto.model.topology import Mbps, Topology


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All inputs of a cycle, already vetted. The same snapshot gives the same decision."""

    topology: Topology  # WAN only, as BGP-LS tells it
    demand: DemandMatrix
    inventory: Inventory
    peering: Peering
    intents: Intents
    running: ForwardingState  # read back from the routers
    portion: float  # share of the measured traffic that may be steered, 0..1


@dataclass(frozen=True, eq=False)
class Decision:
    """What to do, why it is safe, and what it leaves undone."""

    joint: Topology
    allocation: Allocation  # of the steered part of the demand
    legacy_mbps: Mbps  # (links of joint,) load of what is not steered
    target: ForwardingState
    plan: Plan
    predicted_mbps: Mbps  # (links of joint,) once the plan is done: steered and legacy
    unplaced: tuple[str, ...] = field(
        default=()
    )  # one line per demand that got less than it asked, with its bottleneck
    warnings: tuple[str, ...] = field(default=())
