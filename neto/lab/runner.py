"""The emulated WAN as a foreground process, with the daemon beside it when asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from neto.agents import leash
from neto.errors import NetoError
from neto.lab.control import SOCKET, Control
from neto.lab.scenario import Scenario
from neto.lab.world import World

GOODBYE_S = 20.0  # for the daemon to withdraw and leave
LEGACY_S = 15.0  # for its routes to be gone from every router

Process = asyncio.subprocess.Process

_log = structlog.get_logger("lab")


async def run_lab(scenario: Scenario, directory: Path, daemon_command: list[str] | None) -> int:
    """Run until told to stop, or until the daemon beside it gives up.

    directory: for keys and the control socket. daemon_command: arguments of `neto` to run beside the WAN, once it
    listens; it is told to leave first. One that is killed ends nothing: that is an experiment.
    Returns the exit code: 0 when every router ended on legacy forwarding, 1 when one did not, the daemon's when that
    gave up. Raises NetoError when the lab cannot listen.
    """
    world = World(scenario, directory)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await _start(world)
        async with asyncio.TaskGroup() as work:
            parts = [
                work.create_task(world.run(), name="world"),
                work.create_task(Control(world, directory / SOCKET).run(), name="control"),
            ]
            async with _beside(daemon_command) as daemon:
                gave_up = await _until(stop, daemon)
            legacy = await _on_legacy(world)
            for part in parts:
                part.cancel()
    except* NetoError as errors:
        raise errors.exceptions[0] from None
    finally:
        await world.stop()
    return gave_up or (0 if legacy else 1)


async def _start(world: World) -> None:
    scenario = world.scenario
    try:
        await world.start()
    except OSError as error:
        raise NetoError(f"the lab cannot listen: {error} (does another one run? try --port-offset)") from error
    wan = sum(bool(cable.target) for cable in scenario.cables)
    _log.info(
        "lab.ready",
        routers=len(scenario.routers),
        links=wan,
        peering_links=len(scenario.cables) - wan,
        demands=len(world.demands),
        gbps=round(sum(world.ledger.state.offered_mbps) / 1000, 1),
    )
    over = world.overloaded()
    _log.info("lab.legacy", over_capacity=len(over), links=" ".join(over))


@contextlib.asynccontextmanager
async def _beside(arguments: list[str] | None) -> AsyncIterator[Process | None]:
    """Run the daemon: out of reach of the terminal's Ctrl-C, told to leave at the end, and when we are killed."""
    if arguments is None:
        yield None
        return
    death = str(int(signal.SIGTERM))
    command = [sys.executable, "-I", leash.__file__, str(os.getpid()), death, sys.executable, "-m", "neto", *arguments]
    daemon = await asyncio.create_subprocess_exec(*command, start_new_session=True)
    try:
        yield daemon
    finally:
        if daemon.returncode is None:
            daemon.terminate()
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await daemon.wait()
            except TimeoutError:
                _log.error("daemon.does_not_leave", killed_after_s=GOODBYE_S)
                daemon.kill()
                await daemon.wait()


async def _until(stop: asyncio.Event, daemon: Process | None) -> int:
    """Wait for Ctrl-C, or for the daemon to give up; return its exit code then."""
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        if daemon is not None:
            ending = asyncio.create_task(daemon.wait(), name="daemon ends")
            await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                ending.cancel()
            elif (status := ending.result()) > 0:
                _log.error("daemon.gave_up", status=status)
                return status
            else:
                _log.warning("daemon.ended", status=status, next="`neto run` starts another; Ctrl-C ends the lab")
        await stopping
    finally:
        stopping.cancel()
    return 0


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
