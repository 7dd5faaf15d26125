"""What lies beyond the peering links: how far it is, what an ISP loses there, and what probes see of it."""

from __future__ import annotations

import asyncio
import csv
import io
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from neto.lab.scenario import Scenario
from neto.wire.samples import COLUMNS

SAMPLES = "samples.csv"
_ROUNDS = 8  # the newest rounds of probes that the file holds: a reader may miss some in between
_PROBES = 10  # that a sample sums up

Row = tuple[float, str, str, str, float | str, float, int]


class Beyond:
    """The ISPs of one emulated WAN."""

    def __init__(self, scenario: Scenario) -> None:
        self.dark: frozenset[tuple[str, str]] = frozenset()  # ISPs, and groups that they take and do not deliver
        self._exits = scenario.exits
        self._groups = scenario.groups
        self._peering = {cable.name: cable for cable in scenario.cables if not cable.target}
        self._isps = frozenset(scenario.isp_asn)
        self._more_us: dict[str, float] = {}

    def delay(self, link: str, more_ms: float) -> None:
        """Make everything beyond a peering link so much further than the scenario has it, one way.

        Raises KeyError for no such peering link, ValueError for what is no delay.
        """
        if link not in self._peering:
            raise KeyError(f"peering link {link}; there are {', '.join(self._peering)}")
        if not (math.isfinite(more_ms) and more_ms >= 0):
            raise ValueError(f"{more_ms} ms is no delay; accepted: 0 or more")
        self._more_us[link] = more_ms * 1000

    def blackhole(self, isp: str, group: str | None, *, heals: bool) -> None:
        """Have an ISP lose what it is sent toward a prefix group, None for all, while its sessions stay up; or deliver.

        Raises KeyError for no such ISP or group.
        """
        if isp not in self._isps:
            raise KeyError(f"ISP {isp}; there are {', '.join(sorted(self._isps))}")
        if group is not None and group not in self._groups:
            raise KeyError(f"prefix group {group}; there are {', '.join(self._groups)}")
        meant = {(isp, each) for each in self._groups if group in {None, each}}
        self.dark = self.dark - meant if heals else self.dark | meant

    def dark_links(self, group: str) -> frozenset[str]:
        """Peering links whose ISP does not deliver to a group."""
        return frozenset(name for name, cable in self._peering.items() if (cable.isp, group) in self.dark)

    @property
    def exits(self) -> Mapping[str, tuple[tuple[str, float], ...]]:
        """Prefix group -> (peering link, delay_us) in order, as far as it is now."""
        return {
            group: tuple((link, delay_us + self._more_us.get(link, 0.0)) for link, delay_us in exits)
            for group, exits in self._exits.items()
        }

    def samples(self, now: float) -> Iterator[Row]:
        """What a probe at every border sees of every group behind every link of its own. now: unix seconds."""
        for group, exits in self.exits.items():
            dark = self.dark_links(group)
            for link, delay_us in exits:
                lost = link in dark
                rtt_ms = "" if lost else delay_us / 500
                prefix = str(self._groups[group][0])
                yield now, self._peering[link].source, link, prefix, rtt_ms, float(lost), _PROBES


async def probe(beyond: Beyond, file: Path, period_s: float, clock: Callable[[], float]) -> None:
    """Write what probes see into a file (CSV, `wire.samples`) every period until cancelled."""
    rounds: deque[list[Row]] = deque(maxlen=_ROUNDS)
    while True:
        rounds.append(list(beyond.samples(round(clock(), 3))))
        text = io.StringIO()
        csv.writer(text).writerows([COLUMNS, *(row for each in rounds for row in each)])
        await asyncio.to_thread(_replace, file, text.getvalue())
        await asyncio.sleep(period_s)


def _replace(file: Path, text: str) -> None:
    """Nobody reads half of it."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)
