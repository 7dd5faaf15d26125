"""`neto lab`: the emulated WAN, and how to look at it and disturb it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.text import Text

from neto import log
from neto.cli import tables
from neto.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from neto.errors import NetoError
from neto.lab.control import ask
from neto.lab.runner import run_lab
from neto.lab.scenario import load_scenario
from neto.settings.load import load_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, invoke_without_command=True)

OffsetOption = Annotated[
    int, typer.Option("--port-offset", help="Added to every port, so that labs can run side by side.")
]
DaemonOption = Annotated[bool, typer.Option("--with-daemon", help="Start the daemon once the WAN listens.")]


@app.callback()
def lab(
    context: typer.Context,
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    port_offset: OffsetOption = 0,
    with_daemon: DaemonOption = False,
) -> None:
    """Run the emulated WAN in the foreground; Ctrl-C ends it. With a subcommand: talk to one that runs."""
    context.obj = config
    if context.invoked_subcommand is None:
        settings = load_settings(config)
        log.configure(settings.log.level, settings.log.format)
        scenario = load_scenario(config, port_offset)
        daemon = ["run", "--config", str(config)] if with_daemon else None
        legacy = asyncio.run(run_lab(scenario, settings.state_dir / "lab", daemon))
        raise typer.Exit(0 if legacy else 1)


@app.command("status")
def status(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """How full every link is, what is steered, and what was lost."""
    told = _ask(context, {"do": "status"})
    since = _ask(context, {"do": "since"})
    if as_json:
        print(json.dumps({**told, "since_start": since}, indent=1))
    else:
        Console().print(_status(told, since))


@app.command("cut")
def cut(context: typer.Context, link: str) -> None:
    """Cut a link, both directions."""
    _ask(context, {"do": "cut", "link": link})


@app.command("restore")
def restore(context: typer.Context, link: str) -> None:
    """Mend a link."""
    _ask(context, {"do": "restore", "link": link})


@app.command("scale")
def scale(context: typer.Context, factor: float) -> None:
    """Multiply all demand."""
    _ask(context, {"do": "scale", "factor": factor})


@app.command("trouble")
def trouble(
    context: typer.Context, router: str, *, delay_s: float = 0.0, deaf: bool = False, half_done: bool = False
) -> None:
    """Make a router's command line slow, deaf or half-done; without options it is well again."""
    request = {"do": "trouble", "router": router, "delay_s": delay_s, "deaf": deaf, "half_done": half_done}
    _ask(context, request)


@app.command("drop-session")
def drop_session(context: typer.Context, router: str) -> None:
    """End a router's BGP session without a word."""
    _ask(context, {"do": "drop-session", "router": router})


def _ask(context: typer.Context, request: dict[str, Any]) -> dict[str, Any]:
    path = load_settings(context.obj).state_dir / "lab" / "control.sock"
    try:
        answer = ask(path, request)
    except OSError as error:
        raise NetoError(f"no lab answers at {path} (`neto lab` starts one): {error.strerror}") from error
    if not answer["ok"]:
        raise NetoError(answer["error"])
    return answer


def _status(told: dict[str, Any], since: dict[str, Any]) -> Group:
    over = told["over_capacity"]
    verdict = f"{len(over)} links over capacity" if over else "no link over capacity"
    head = Text(
        f"steered {told['steered_share']:.0%} by {told['coloured_routes']} routes, {verdict}",
        style="bold red" if over else "bold green",
    )
    links = tables.table(
        "Links, fullest first",
        ("link", "Mbit/s", "load", "full", "state", "s over since start"),
        (
            (
                row["link"],
                tables.mbps(row["capacity_mbps"]),
                tables.mbps(row["load_mbps"]),
                tables.percent(row["utilisation"]),
                "up" if row["up"] else Text("cut", style="red"),
                f"{since['over_seconds'].get(row['link'], 0):.1f}",
            )
            for row in sorted(told["links"], key=lambda row: -float(row["utilisation"]))
        ),
        right=("Mbit/s", "load", "full", "s over since start"),
    )
    routers = tables.table(
        "Routers",
        ("router", "session", "routes", "policies"),
        (
            (r["router"], "up" if r["session"] else Text("down", style="red"), str(r["routes"]), str(r["policies"]))
            for r in told["routers"]
        ),
        right=("routes", "policies"),
    )
    delays = ", ".join(f"{row['class']} {row['worst_delay_us'] / 1000:.1f} ms" for row in told["classes"])
    lost = ", ".join(f"{cause} {mbit / 1000:.1f} Gbit" for cause, mbit in sorted(since["lost_mbit"].items()) if mbit)
    notes = [Text(f"worst delay: {delays}"), Text(f"lost since start: {lost or 'nothing'}")]
    notes += [Text(f"late: {line}", style="yellow") for line in told["late"]]
    return Group(head, "", links, "", routers, *notes)
