"""How full links get in each step of a plan, as one table: `neto plan` and `neto transition`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.text import Text

from neto.cli.tables import percent, table

SHOWN = 20  # links


def links_by_step(
    links: Sequence[str], before: NDArray[np.float64], steps: Sequence[NDArray[np.float64]]
) -> RenderableType:
    """The worst utilisation of each link before the plan and in each step, whatever order routers act in.

    before, steps: (links,) load / capacity. The fullest links first, as many as a screen takes.
    """
    ways = np.array([before, *steps]) if len(links) else np.zeros((1, 0))
    order = np.argsort(-ways.max(axis=0), kind="stable")
    order = order[ways.max(axis=0)[order] > 0]
    columns = ("link", "before", *(f"step {number}" for number in range(1, len(steps) + 1)))
    more = f", the fullest {SHOWN} of {len(order)}" if len(order) > SHOWN else ""
    rows = [(links[link], *(percent(share) for share in ways[:, link])) for link in order[:SHOWN].tolist()]
    title = Text(f"Worst utilisation in any order{more}", style="bold")
    return Group(title, table("", columns, rows, right=columns[1:]))
