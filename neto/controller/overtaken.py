"""Whether the rest of a plan is still safe, now that demand is not what it was planned for.

The same audit as before the plan began, of the steps that have not begun yet, with the demand that is measured now.
What the target had to overload with the old demand stays admitted; nothing more is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neto.controller.audit import audit_step
from neto.controller.replay import after_moves, step_peak
from neto.controller.world import World
from neto.model.demand import DemandMatrix
from neto.model.plan import Plan
from neto.model.snapshot import Snapshot


def overtaken(planned: Snapshot, plan: Plan, begun: int, demand: DemandMatrix) -> str:
    """Say why a plan must not go on; "" when it may.

    planned: what the plan was made for. begun: steps that are done or under way. demand: as it is now.
    """
    world, now = World(planned), World(replace(planned, demand=demand))
    goal = after_moves(planned.running, (move for step in plan.steps for move in step.moves))
    admitted = np.cumsum(world.forwarding.loads(goal, world.demand), axis=0)
    state = planned.running
    for number, step in enumerate(plan.steps, start=1):
        if number > begun:
            before = np.cumsum(now.forwarding.loads(state, now.demand), axis=0)
            peak = step_peak(now.forwarding, state, step.moves, now.demand)
            wrong = audit_step(now.joint, before, peak, admitted)
            if wrong:
                return f"demand has changed: step {number} of {len(plan.steps)} no longer passes its audit: {wrong[0]}"
        state = after_moves(state, step.moves)
    return ""
