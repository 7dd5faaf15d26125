"""`neto show`: what the daemon knows and does, from the store, whether it runs or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.text import Text

from neto.cli import tables
from neto.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from neto.errors import NetoError
from neto.settings.load import load_settings
from neto.store.protocol import Reader
from neto.store.sqlite_read import open_reader

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
HISTORY = 30
HealthOption = Annotated[bool, typer.Option("--health", help="How well exporters are heard.")]

Fetch = Callable[[Reader], Awaitable[Any]]
Render = Callable[[Any], RenderableType]


def document(kind: str) -> Fetch:
    """Fetch the latest document of a kind; with when it was written."""

    async def fetch(reader: Reader) -> Any:
        found = await reader.document(kind)
        if found is None:
            raise NetoError(f"the store has no {kind} yet: the daemon has not got so far")
        return found.json()

    return fetch


async def _status(reader: Reader) -> Any:
    leader = await reader.leader()
    status = await reader.document("status")
    return {**asdict(leader), "status": status.json() if status else None, "at": status.at if status else None}


async def _tasks(reader: Reader) -> Any:
    """Journal of the latest cycle that pushed anything."""
    for cycle in await reader.cycles(HISTORY):
        entries = await reader.tasks(cycle.id)
        if entries:
            return [{**asdict(entry), "step": entry.step + 1} for entry in entries]  # people count from one
    return []


async def _history(reader: Reader) -> Any:
    cycles = [asdict(cycle) for cycle in await reader.cycles(HISTORY)]
    events = [asdict(event) for event in await reader.events(HISTORY)]
    return {"cycles": cycles, "events": events}


async def _alarms(reader: Reader) -> Any:
    status = await reader.document("status")
    return status.json()["alarms"] if status else []


def _render_leader(told: Any) -> RenderableType:
    process, status = told["process"], told["status"]
    who = f"process {process['pid']} on {process['host'].split('/')[0]}" if process["pid"] else "nobody now"
    lines = [Text(f"epoch {told['epoch']}: {who}")]
    if status:
        operation = status["operation"]
        lines.append(Text(f"{operation['mode']}, portion {operation['portion']:.0%}"))
    return Group(*lines)


def _render_alarms(told: Any) -> RenderableType:
    if not told:
        return Text("no alarm", style="green")
    return Group(*(Text(line, style="red") for line in told))


def _render_history(told: Any) -> RenderableType:
    return Group(tables.generic("Cycles")(told["cycles"]), "", tables.generic("Events")(told["events"]))


WHAT: dict[str, tuple[str, Fetch, Render]] = {
    "topology": ("Nodes and links, as BGP-LS tells them.", document("topology"), tables.topology),
    "allocation": ("Who gets what over which path; how full each link is.", document("allocation"), tables.allocation),
    "peering": ("Peering links, and the exits of each prefix group.", document("peering"), tables.peering),
    "routes": (
        "What border routers' peers announce, and which exits are open for it.",
        document("routes"),
        tables.routes,
    ),
    "ingress": (
        "What comes in by peering links, and what to change where it is too much.",
        document("ingress"),
        tables.ingress,
    ),
    "latency": ("How far groups are behind peering links, as measured.", document("latency"), tables.latency),
    "plan": ("The last change, step by step.", document("plan"), tables.plan),
    "tasks": ("What was pushed to which device for it.", _tasks, tables.generic("Tasks")),
    "peers": ("Sessions: BGP, BGP-LS, flow exporters, command lines.", document("peers"), tables.generic("Peers")),
    "leader": ("Who leads, and how far the daemon goes.", _status, _render_leader),
    "alarms": ("What is not as it should be.", _alarms, _render_alarms),
    "history": ("The latest cycles and events.", _history, _render_history),
}


def _add(name: str, text: str, fetch: Fetch, render: Render) -> None:
    @app.command(name, help=text)
    def command(config: ConfigOption = DEFAULT_CONFIG, *, as_json: JsonOption = False) -> None:
        _show(config, fetch, render, as_json=as_json)


def _show(config: Path, fetch: Fetch, render: Render, *, as_json: bool) -> None:
    told, standing = asyncio.run(_read(config, fetch))
    if as_json:
        print(json.dumps(told, indent=1))
    else:
        console = Console()
        console.print(render(told))
        console.print(Text(standing, style="dim"))


async def _read(config: ConfigOption, fetch: Fetch) -> tuple[Any, str]:
    """Return what was asked for, and how fresh it is."""
    async with await open_reader(load_settings(config).state_dir / "neto.db") as reader:
        status, leader = await reader.document("status"), await reader.leader()
        written = tables.ago(status.at) if status else "never"
        leads = "" if leader.process.pid else "; no daemon leads now"
        return await fetch(reader), f"as of {written}{leads}"


@app.command("demand", help="Measured demand, and what could not be told.")
def demand(config: ConfigOption = DEFAULT_CONFIG, *, health: HealthOption = False, as_json: JsonOption = False) -> None:
    """Show the demand, or how well it is heard."""
    fetch = document("demand")
    _show(config, _health_of(fetch) if health else fetch, tables.health if health else tables.demand, as_json=as_json)


def _health_of(fetch: Fetch) -> Fetch:
    async def health(reader: Reader) -> Any:
        told = await fetch(reader)
        return {name: told[name] for name in ("health", "doubtful", "missing_exporters", "missing_leaves", "counters")}

    return health


for _name, (_text, _fetch, _render) in WHAT.items():
    _add(_name, _text, _fetch, _render)
