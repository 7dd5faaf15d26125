"""How the emulated WAN is watched and disturbed from outside: JSON lines over a unix socket, one answer each.

A request is {"do": NAME, ...}; the answer {"ok": true, ...} or {"ok": false, "error": TEXT}. Times are unix seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neto.errors import NetoError
from neto.lab.accounting import START
from neto.lab.world import World

Request = dict[str, Any]
Answer = dict[str, Any]
TIMEOUT_S = 10.0
SOCKET = "control.sock"


class Control:
    """Serves one world's control socket."""

    def __init__(self, world: World, path: Path) -> None:
        self._world = world
        self._path = path
        self._do: dict[str, Callable[[Request], Answer]] = {
            "status": self._status,
            "demands": self._demands,
            "inbound": self._came_in,
            "history": self._history,
            "mark": self._mark,
            "since": self._since,
            "cut": lambda request: self._cable(request, cut=True),
            "restore": lambda request: self._cable(request, cut=False),
            "delay": self._delay,
            "blackhole": self._blackhole,
            "flap": self._flap,
            "slip": self._slip,
            "scale": self._scale,
            "demand": self._demand,
            "trouble": self._trouble,
            "drop-session": self._drop_session,
        }

    async def run(self) -> None:
        """Serve until cancelled. Raises NetoError when another lab answers there, or nobody can listen."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if _answers(self._path):
            raise NetoError(f"another lab answers at {self._path}")
        self._path.unlink(missing_ok=True)
        try:
            server = await asyncio.start_unix_server(self._serve, str(self._path))
        except OSError as error:
            raise NetoError(f"the lab cannot listen at {self._path}: {error}") from error
        try:
            async with server:
                await server.serve_forever()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError):  # ValueError: a line longer than the reader takes
            while line := await reader.readline():
                writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                await writer.drain()
        writer.close()

    def answer(self, line: bytes) -> Answer:
        """Do what one line asks for."""
        try:
            request = json.loads(line)
            handler = self._do.get(request.get("do", "")) if isinstance(request, dict) else None
            if handler is None:
                return {"ok": False, "error": f"what to do is not clear; accepted: {', '.join(self._do)}"}
            self._world.settle()
            return {"ok": True, **handler(request)}
        except KeyError as error:
            return {"ok": False, "error": f"there is no {error.args[0]}"}
        except (TypeError, ValueError) as error:
            return {"ok": False, "error": str(error)}

    def _status(self, request: Request) -> Answer:
        del request
        world = self._world
        state, scenario = world.ledger.state, world.scenario
        bounds_us = {scenario.class_of[dscp]: bound for dscp, bound in scenario.delay_bound_us.items()}
        return {
            "at": world.clock(),
            "steered_share": world.steered_share,
            "coloured_routes": world.coloured_routes,
            "over_capacity": world.overloaded(),
            "offered_mbps": sum(state.offered_mbps),
            "lost_mbps": dict(state.lost_mbps),
            "late": list(state.late),
            "sessions_down": sorted(world.sessions_down),
            "blackholes": [f"{group} by {isp}" for isp, group in sorted(world.beyond.dark)],
            "scale": world.scale,
            "classes": [
                {
                    "class": name,
                    "offered_mbps": state.offered_mbps[row],
                    "delivered_mbps": state.delivered_mbps[row],
                    "worst_delay_us": state.worst_delay_us[row],
                    "max_delay_us": bounds_us[name] if bounds_us.get(name, 1e12) < 1e12 else None,  # noqa: PLR2004 inf
                }
                for row, name in enumerate(scenario.classes)
            ],
            "links": self._links(),
            "routers": [
                {
                    "router": name,
                    "session": world.bgp[name].established,
                    "routes": len(router.routes),
                    "policies": len(router.policies),
                    "delay_s": router.delay_s,
                    "deaf": router.deaf,
                    "half_done": router.half_done,
                }
                for name, router in world.states.items()
            ],
            "speakers": [
                {"speaker": address, "session": speaker.established} for address, speaker in world.speakers.items()
            ],
        }

    def _links(self) -> list[Answer]:
        world = self._world
        load, utilisation = world.ledger.state.load_mbps, world.ledger.utilisation()
        return [
            {
                "link": cable.name,
                "source": cable.source,
                "target": cable.target or cable.isp,
                "peering": not cable.target,
                "capacity_mbps": cable.capacity_mbps,
                "load_mbps": sum(load[cable.name]),
                "utilisation": utilisation[cable.name],
                "up": cable.name not in world.links_down,
            }
            for cable in world.scenario.cables
        ]

    def _demands(self, request: Request) -> Answer:
        """Every demand with where it goes, from one router or from all."""
        world, source = self._world, request.get("source")
        return {
            "demands": [
                {
                    "source": demand.source,
                    "prefix": str(demand.prefix),
                    "dscp": demand.dscp,
                    "class": world.scenario.classes[demand.class_row],
                    "mbps": world.mbps(demand),
                    "delivered_mbps": demand.delivered_mbps,
                    "delay_us": demand.way.delay_us,
                    "steered": demand.way.steered,
                    "paths": [{"links": path.links, "share": path.share} for path in demand.way.paths],
                }
                for demand in world.demands.values()
                if source in {None, demand.source}
            ]
        }

    def _came_in(self, request: Request) -> Answer:
        """What comes in by each peering link, and what borders tell otherwise than plainly."""
        del request
        return {
            "links": self._world.inbound(),
            "told": [
                {"peering_link": way.link, "prefix": str(prefix), "told": asdict(told) if told else None}
                for way, prefix, told in self._world.told()
            ],
        }

    def _history(self, request: Request) -> Answer:
        """The latest ticks, oldest first."""
        latest = list(self._world.ledger.history)[-int(request.get("ticks", 300)) :]
        return {"ticks": [asdict(sample) for sample in latest]}

    def _mark(self, request: Request) -> Answer:
        now = self._world.clock()
        self._world.ledger.mark(_text(request, "name"), now)
        return {"at": now}

    def _since(self, request: Request) -> Answer:
        name = request.get("name", START)
        try:
            account = self._world.ledger.since(name, self._world.clock())
        except KeyError:
            raise KeyError(f"mark {name}") from None
        return {
            "began": account.began,
            "seconds": account.seconds,
            "over_seconds": dict(account.over_seconds),
            "worst": account.worst,
            "lost_mbit": dict(account.lost_mbit),
            "offered_mbit": account.offered_mbit,
            "delivered_mbit": account.delivered_mbit,
            "worst_delay_us": account.worst_delay_us,
            "late_seconds": account.late_seconds,
            "late": sorted(account.late),
            "episodes": [asdict(episode) for episode in account.episodes],
        }

    def _cable(self, request: Request, *, cut: bool) -> Answer:
        name = _text(request, "link")
        try:
            (self._world.cut if cut else self._world.restore)(name)
        except KeyError:
            raise KeyError(f"link {name}; there are {', '.join(c.name for c in self._world.scenario.cables)}") from None
        return {}

    def _delay(self, request: Request) -> Answer:
        self._world.delay(_text(request, "link"), _number(request, "more_ms"))
        return {}

    def _blackhole(self, request: Request) -> Answer:
        group = _text(request, "group") if request.get("group") is not None else None
        self._world.blackhole(_text(request, "isp"), group, heals=bool(request.get("heals", False)))
        return {}

    def _flap(self, request: Request) -> Answer:
        times, period_s = int(_number(request, "times")), _number(request, "period_s")
        self._world.flap(_text(request, "link"), times, period_s)
        return {}

    def _slip(self, request: Request) -> Answer:
        self._world.slip(_text(request, "link"), _text(request, "what"))
        return {}

    def _scale(self, request: Request) -> Answer:
        self._world.scale_demand(_number(request, "factor"))
        return {}

    def _demand(self, request: Request) -> Answer:
        source, to, dscp = _text(request, "source"), _text(request, "to"), int(_number(request, "dscp"))
        self._world.set_demand(source, to, dscp, _number(request, "mbps"))
        return {}

    def _trouble(self, request: Request) -> Answer:
        """Make a router slow, deaf or half-done, or well again."""
        name = _text(request, "router")
        if name not in self._world.states:
            raise KeyError(f"router {name}; there are {', '.join(self._world.states)}")
        state = self._world.states[name]
        state.delay_s = max(0.0, float(request.get("delay_s", 0.0)))
        state.deaf = bool(request.get("deaf", False))
        state.half_done = bool(request.get("half_done", False))
        return {}

    def _drop_session(self, request: Request) -> Answer:
        name = _text(request, "router")
        try:
            self._world.drop_session(name)
        except KeyError:
            raise KeyError(f"router or speaker {name}") from None
        return {}


def ask(path: Path, request: Request) -> Answer:
    """Ask a running lab. Raises OSError when none listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as out:
        out.settimeout(TIMEOUT_S)
        out.connect(str(path))
        out.sendall(json.dumps(request).encode() + b"\n")
        with out.makefile("rb") as lines:
            line = lines.readline()
    if not line:
        raise ConnectionError("the lab hung up")
    answer: Answer = json.loads(line)
    return answer


def _answers(path: Path) -> bool:
    """Tell whether somebody listens; a socket that a killed lab left behind is nobody's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as out:
        try:
            out.connect(str(path))
        except OSError:
            return False
        return True


def _text(request: Request, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is missing")
    return value


def _number(request: Request, key: str) -> float:
    value = request.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{key} {value!r} is no number")
    return float(value)
