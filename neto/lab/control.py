"""How the emulated WAN is watched and disturbed from outside: JSON lines over a unix socket, one answer each.

A request is {"do": NAME, ...}; the answer {"ok": true, ...} or {"ok": false, "error": TEXT}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neto.lab.world import World

Request = dict[str, Any]
Answer = dict[str, Any]
TIMEOUT_S = 10.0


class Control:
    """Serves one world's control socket."""

    def __init__(self, world: World, path: Path) -> None:
        self._world = world
        self._path = path
        self._do: dict[str, Callable[[Request], Answer]] = {
            "status": self._status,
            "mark": self._mark,
            "since": self._since,
            "cut": lambda request: self._cable(request, cut=True),
            "restore": lambda request: self._cable(request, cut=False),
            "scale": self._scale,
            "trouble": self._trouble,
            "drop-session": self._drop_session,
        }

    async def run(self) -> None:
        """Serve until cancelled."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, str(self._path))
        try:
            async with server:
                await server.serve_forever()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                await writer.drain()
        writer.close()

    def answer(self, line: bytes) -> Answer:
        """Do what one line asks for."""
        try:
            request = json.loads(line)
            return {"ok": True, **self._do[request["do"]](request)}
        except (KeyError, TypeError, ValueError) as error:
            return {"ok": False, "error": f"{error!s} is not known; accepted: {', '.join(self._do)} and what exists"}

    def _status(self, request: Request) -> Answer:
        del request
        world, state = self._world, self._world.ledger.state
        utilisation = world.ledger.utilisation()
        return {
            "steered_share": world.steered_share,
            "coloured_routes": world.coloured_routes,
            "over_capacity": world.overloaded(),
            "offered_mbps": state.offered_mbps,
            "astray_mbps": state.astray_mbps,
            "late": list(state.late),
            "classes": [
                {"class": name, "worst_delay_us": delay}
                for name, delay in zip(world.scenario.classes, state.worst_delay_us, strict=True)
            ],
            "links": [
                {
                    "link": cable.name,
                    "capacity_mbps": cable.capacity_mbps,
                    "load_mbps": sum(state.load_mbps[cable.name]),
                    "utilisation": utilisation[cable.name],
                    "up": cable.name not in world.links_down,
                }
                for cable in world.scenario.cables
            ],
            "routers": [
                {
                    "router": name,
                    "session": world.bgp[name].established,
                    "routes": len(router.routes),
                    "policies": len(router.policies),
                }
                for name, router in world.states.items()
            ],
        }

    def _mark(self, request: Request) -> Answer:
        self._world.ledger.mark(str(request["name"]), time.monotonic())
        return {}

    def _since(self, request: Request) -> Answer:
        account = self._world.ledger.since(str(request.get("name", "start")), time.monotonic())
        return {
            "seconds": account.seconds,
            "over_seconds": dict(account.over_seconds),
            "worst": account.worst,
            "lost_mbit": dict(account.lost_mbit),
            "episodes": [{"link": link, "utilisation": share} for _, link, share in account.episodes],
            "late": sorted(account.late),
            "worst_delay_us": account.worst_delay_us,
        }

    def _cable(self, request: Request, *, cut: bool) -> Answer:
        (self._world.cut if cut else self._world.restore)(str(request["link"]))
        return {}

    def _scale(self, request: Request) -> Answer:
        self._world.scale_demand(float(request["factor"]))
        return {}

    def _trouble(self, request: Request) -> Answer:
        """Make a router slow, deaf or half-done, or well again."""
        state = self._world.states[request["router"]]
        state.delay_s = float(request.get("delay_s", 0.0))
        state.deaf = bool(request.get("deaf", False))
        state.half_done = bool(request.get("half_done", False))
        return {}

    def _drop_session(self, request: Request) -> Answer:
        self._world.drop_session(str(request["router"]))
        return {}


def ask(path: Path, request: Request) -> Answer:
    """Ask a running lab. Raises OSError when none listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as out:
        out.settimeout(TIMEOUT_S)
        out.connect(str(path))
        out.sendall(json.dumps(request).encode() + b"\n")
        with out.makefile("rb") as lines:
            answer: Answer = json.loads(lines.readline())
            return answer
