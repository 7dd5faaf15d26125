"""`neto collector`: a leaf of the NetFlow hierarchy, or a tier of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from neto import log
from neto.collector import CollectorProcess
from neto.settings.collector import CollectorConfig, load_collector

CollectorOption = Annotated[Path, typer.Option("--config", help="The collector's settings.")]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Read the settings, say what is wrong with them, and leave.")
]


def collector(config: CollectorOption = Path("neto-collector.toml"), *, check: CheckOption = False) -> None:
    """Count flows and send the windows up over MQTT, until SIGTERM or Ctrl-C."""
    read = load_collector(config)
    if check:
        tells = f"merges {', '.join(read.settings.collector.leaves)}" if read.settings.collector.leaves else "listens"
        print(f"{config}: good: {read.settings.collector.name} {tells}")
        return
    log.configure(read.settings.log.level, read.settings.log.format)
    asyncio.run(_serve(read))


async def _serve(config: CollectorConfig) -> None:
    await CollectorProcess(config).run()
