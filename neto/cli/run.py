"""`neto run`: the daemon."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from neto import log
from neto.cli.options import DEFAULT_CONFIG, ConfigOption
from neto.daemon import Daemon
from neto.settings.load import Config, load_config

ObserveOption = Annotated[bool, typer.Option("--observe", help="Compute and show; never push.")]


def run(config: ConfigOption = DEFAULT_CONFIG, *, observe: ObserveOption = False) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; a second one on the same state directory waits as the standby."""
    read = load_config(config)
    log.configure(read.settings.log.level, read.settings.log.format)
    if not asyncio.run(_serve(read, observe=observe)):
        raise typer.Exit(1)


async def _serve(config: Config, *, observe: bool) -> bool:
    return await Daemon(config, observe=observe).run()
