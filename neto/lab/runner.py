"""The emulated WAN as a foreground process, with the daemon beside it when asked."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from neto.errors import NetoError
from neto.lab.control import Control
from neto.lab.scenario import Scenario
from neto.lab.world import World

GOODBYE_S = 20.0  # for the daemon to withdraw and leave
LEGACY_S = 15.0  # for its routes to be gone from every router

_log = structlog.get_logger("lab")


async def run_lab(scenario: Scenario, directory: Path, daemon_command: list[str] | None) -> bool:
    """Run until told to stop; return whether every router ended on legacy forwarding.

    directory: for keys and the control socket. daemon_command: arguments of `neto` to run beside the WAN, once it
    listens; it is told to leave first.
    Raises NetoError when a port is taken.
    """
    world = World(scenario, directory)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await world.start()
    except OSError as error:
        await world.stop()
        raise NetoError(f"the lab cannot listen: {error} (does another one run? try --port-offset)") from error
    _log.info("lab.ready", routers=len(scenario.routers), links=len(scenario.cables), demands=len(scenario.traffic))
    over = world.overloaded()
    _log.info("lab.legacy", over_capacity=len(over), links=" ".join(over))
    tasks = [
        asyncio.create_task(world.run(), name="world"),
        asyncio.create_task(Control(world, directory / "control.sock").run(), name="control"),
    ]
    daemon: asyncio.subprocess.Process | None = None
    try:
        if daemon_command:
            command = [sys.executable, "-m", "neto", *daemon_command]
            daemon = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        await _until(stop, daemon, tasks)
        if daemon is not None:
            await _end(daemon)
        return await _on_legacy(world)
    finally:
        if daemon is not None and daemon.returncode is None:
            daemon.kill()
            await daemon.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await world.stop()


async def _until(
    stop: asyncio.Event, daemon: asyncio.subprocess.Process | None, tasks: list[asyncio.Task[None]]
) -> None:
    """Wait for Ctrl-C, for the daemon to end, or for a part of the lab to fail."""
    waits: set[asyncio.Task[Any]] = {asyncio.create_task(stop.wait()), *tasks}
    if daemon is not None:
        waits.add(asyncio.create_task(daemon.wait()))
    done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    for task in waits - set(tasks):
        task.cancel()
    if daemon is not None and daemon.returncode is not None:
        _log.error("daemon.ended", status=daemon.returncode)


async def _end(daemon: asyncio.subprocess.Process) -> None:
    """Ask the daemon to leave, and wait for it."""
    if daemon.returncode is None:
        daemon.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await daemon.wait()


async def _on_legacy(world: World) -> bool:
    """See that nothing of the daemon's is steered any more, and say so."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEGACY_S):
            await world.legacy.wait()
    left = {name: len(state.routes) for name, state in world.states.items() if state.routes}
    if left:
        _log.error("lab.not_on_legacy", routes=left)
    else:
        _log.info("lab.on_legacy", routers=len(world.states), coloured_routes=0)
    return not left
