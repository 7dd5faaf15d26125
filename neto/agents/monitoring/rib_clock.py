"""What becomes of routes as time passes, whoever tells them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from neto.agents.monitoring.rib import Rib

_PERIOD_S = 1.0  # between two looks at the clock


async def keep_time(rib: Rib, on_change: Callable[[], None]) -> None:
    """Let a table's time pass, until cancelled. on_change: called when that changed it."""
    while True:
        await asyncio.sleep(_PERIOD_S)
        before = rib.changes
        rib.tick(time.monotonic())
        if rib.changes != before:
            on_change()
