"""`neto lab`: the emulated WAN, and how to look at it and disturb it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.text import Text

from neto import log
from neto.cli import tables
from neto.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from neto.errors import NetoError
from neto.lab.control import SOCKET, ask
from neto.settings.load import load_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, invoke_without_command=True)

OffsetOption = Annotated[
    int, typer.Option("--port-offset", min=0, help="Added to every port, so that labs can run side by side.")
]
DaemonOption = Annotated[bool, typer.Option("--with-daemon", help="Start the daemon once the WAN listens.")]
SameConfig = Annotated[Path | None, typer.Option("--config", help="The daemon's settings.")]
Facts = dict[str, Any]


@app.callback()
def lab(
    context: typer.Context,
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    port_offset: OffsetOption = 0,
    with_daemon: DaemonOption = False,
) -> None:
    """Run the emulated WAN in the foreground; Ctrl-C ends it. With a subcommand: talk to one that runs."""
    context.obj = (config, port_offset)
    if context.invoked_subcommand is None:
        _run(config, port_offset, with_daemon=with_daemon)


def _run(config: Path, port_offset: int, *, with_daemon: bool) -> None:
    from neto.lab.runner import run_lab  # noqa: PLC0415  `neto lab status` must not wait for SSH and BGP
    from neto.lab.scenario import load_scenario  # noqa: PLC0415  likewise

    if with_daemon and port_offset:
        raise NetoError("--with-daemon goes with the ports that the configuration names: leave --port-offset out")
    settings = load_settings(config)
    log.configure(settings.log.level, settings.log.format)
    scenario = load_scenario(config, port_offset)
    daemon = ["run", "--config", str(config)] if with_daemon else None
    raise typer.Exit(asyncio.run(run_lab(scenario, _directory(settings.state_dir, port_offset), daemon)))


@app.command("status")
def status(context: typer.Context, config: SameConfig = None, *, as_json: JsonOption = False) -> None:
    """How full every link is, what is steered, and what was lost."""
    told = _ask(context, config, {"do": "status"})
    since = _ask(context, config, {"do": "since"})
    _print({**told, "since_start": since}, _status(told, since), as_json=as_json)


@app.command("demands")
def demands(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(help="Only what enters here.")] = None,
    config: SameConfig = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Every demand, over which paths it goes and what of it arrives."""
    told = _ask(context, config, {"do": "demands", "source": source})
    _print(told["demands"], _demands(told["demands"]), as_json=as_json)


@app.command("cut")
def cut(context: typer.Context, link: str, config: SameConfig = None) -> None:
    """Cut a link, both directions."""
    _ask(context, config, {"do": "cut", "link": link})
    print(f"{link} is cut")


@app.command("restore")
def restore(context: typer.Context, link: str, config: SameConfig = None) -> None:
    """Mend a link."""
    _ask(context, config, {"do": "restore", "link": link})
    print(f"{link} is mended")


@app.command("delay")
def delay(
    context: typer.Context,
    link: Annotated[str, typer.Argument(help="A peering link.")],
    ms: Annotated[float, typer.Argument(min=0, help="One way, more than the scenario says; 0 ends it.")],
    config: SameConfig = None,
) -> None:
    """Make everything beyond a peering link further away."""
    _ask(context, config, {"do": "delay", "link": link, "more_ms": ms})
    print(f"beyond {link} everything is {ms:g} ms further")


@app.command("blackhole")
def blackhole(
    context: typer.Context,
    isp: str,
    config: SameConfig = None,
    *,
    group: Annotated[str | None, typer.Option("--group", help="Only what goes to this prefix group.")] = None,
    heal: Annotated[bool, typer.Option("--heal", help="It delivers again.")] = False,
) -> None:
    """Have an ISP lose what it is sent while its sessions stay up."""
    _ask(context, config, {"do": "blackhole", "isp": isp, "group": group, "heals": heal})
    what = f" toward {group}" if group else ""
    print(f"{isp} delivers again{what}" if heal else f"{isp} loses all that it is sent{what}")


@app.command("flap")
def flap(
    context: typer.Context,
    link: Annotated[str, typer.Argument(help="A peering link.")],
    config: SameConfig = None,
    *,
    times: Annotated[int, typer.Option("--times", min=1, help="How often it goes down.")] = 5,
    period: Annotated[float, typer.Option("--period", min=0.1, help="Seconds that it is down, and up again.")] = 5.0,
) -> None:
    """Let the BGP session of a peering link go down and come back, again and again."""
    _ask(context, config, {"do": "flap", "link": link, "times": times, "period_s": period})
    print(f"the session of {link} goes down {times} times, for {period:g} s each")


@app.command("scale")
def scale(context: typer.Context, factor: float, config: SameConfig = None) -> None:
    """Multiply all demand of the scenario."""
    _ask(context, config, {"do": "scale", "factor": factor})
    print(f"all demand is {factor:g} times that of the scenario")


@app.command("demand")
def demand(
    context: typer.Context,
    source: str,
    to: Annotated[str, typer.Argument(help="A router, a prefix group, or one prefix.")],
    dscp: int,
    mbps: float,
    config: SameConfig = None,
) -> None:
    """Set the demand of one code point between a router and a target."""
    _ask(context, config, {"do": "demand", "source": source, "to": to, "dscp": dscp, "mbps": mbps})
    print(f"{source} sends {mbps:g} Mbit/s to {to} with dscp {dscp}")


@app.command("trouble")
def trouble(
    context: typer.Context,
    router: str,
    config: SameConfig = None,
    *,
    slow: Annotated[float, typer.Option("--slow", min=0, help="Seconds that a commit takes.")] = 0.0,
    deaf: Annotated[bool, typer.Option("--deaf", help="Takes a commit and never answers.")] = False,
    half_done: Annotated[bool, typer.Option("--half-done", help="Does the first of a commit, then fails.")] = False,
) -> None:
    """Make a router's command line slow, deaf or half-done; without options it is well again."""
    _ask(context, config, {"do": "trouble", "router": router, "delay_s": slow, "deaf": deaf, "half_done": half_done})
    ills = [f"slow by {slow:g} s"] * bool(slow) + ["deaf"] * deaf + ["half-done"] * half_done
    print(f"{router} is {' and '.join(ills) or 'well'}")


@app.command("drop-session")
def drop_session(
    context: typer.Context,
    router: Annotated[str, typer.Argument(help="A router, or the address of a BGP-LS speaker.")],
    config: SameConfig = None,
) -> None:
    """End a BGP session without a word."""
    _ask(context, config, {"do": "drop-session", "router": router})
    print(f"the session of {router} is dropped")


@app.command("mark")
def mark(context: typer.Context, name: str, config: SameConfig = None) -> None:
    """Begin an account from now."""
    _ask(context, config, {"do": "mark", "name": name})
    print(f"`neto lab since {name}` tells what happens from here")


@app.command("since")
def since_mark(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A mark; the start of the lab unless given.")] = "start",
    config: SameConfig = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what happened since a mark: links over capacity, losses, delays. Exits 1 when a link was over capacity."""
    told = _ask(context, config, {"do": "since", "name": name})
    _print(told, _account(told), as_json=as_json)
    raise typer.Exit(1 if told["episodes"] else 0)


def _directory(state_dir: Path, port_offset: int) -> Path:
    """Return where a lab keeps its keys and its socket; labs with an offset have their own."""
    return state_dir / (f"lab-{port_offset}" if port_offset else "lab")


def _ask(context: typer.Context, config: Path | None, request: Facts) -> Facts:
    outer, port_offset = context.obj
    path = _directory(load_settings(config or outer).state_dir, port_offset) / SOCKET
    try:
        answer = ask(path, request)
    except OSError as error:
        raise NetoError(f"no lab answers at {path} (`neto lab` starts one): {error.strerror or error}") from error
    if not answer["ok"]:
        raise NetoError(answer["error"])
    return answer


def _print(document: Any, rendered: RenderableType, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, indent=1))
    else:
        Console().print(rendered)


def _status(told: Facts, since: Facts) -> Group:
    over = told["over_capacity"]
    verdict = f"{len(over)} links over capacity" if over else "no link over capacity"
    head = Text(
        f"steered {told['steered_share']:.1%} by {told['coloured_routes']} routes, {verdict}",
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
    classes = tables.table(
        "Classes, highest first",
        ("class", "offered Mbit/s", "arrives", "worst delay ms", "bound ms"),
        (
            (
                row["class"],
                tables.mbps(row["offered_mbps"]),
                f"{row['delivered_mbps'] / row['offered_mbps']:.2%}" if row["offered_mbps"] else "-",
                tables.ms(row["worst_delay_us"]),
                tables.ms(row["max_delay_us"]) if row["max_delay_us"] else "-",
            )
            for row in told["classes"]
        ),
        right=("offered Mbit/s", "arrives", "worst delay ms", "bound ms"),
    )
    routers = tables.table(
        "Routers",
        ("router", "session", "routes", "policies", "trouble"),
        (
            (
                row["router"],
                "up" if row["session"] else Text("down", style="red"),
                str(row["routes"]),
                str(row["policies"]),
                Text(_trouble(row), style="yellow"),
            )
            for row in told["routers"]
        ),
        right=("routes", "policies"),
    )
    return Group(head, "", classes, "", links, "", routers, *_losses(since), *_late(told["late"]))


def _trouble(row: Facts) -> str:
    told = [f"slow by {row['delay_s']:g} s"] * bool(row["delay_s"])
    return ", ".join(told + [name for name in ("deaf", "half_done") if row[name]])


def _demands(rows: list[Facts]) -> RenderableType:
    return tables.table(
        "Demands",
        ("from", "to", "dscp", "class", "Mbit/s", "arrives", "delay ms", "steered", "over"),
        (
            (
                row["source"],
                row["prefix"],
                str(row["dscp"]),
                row["class"],
                tables.mbps(row["mbps"]),
                tables.mbps(row["delivered_mbps"]),
                tables.ms(row["delay_us"]),
                "yes" if row["steered"] else "",
                ", ".join(f"{' '.join(path['links'])} ({path['share']:.0%})" for path in row["paths"]),
            )
            for row in rows
        ),
        right=("dscp", "Mbit/s", "arrives", "delay ms"),
    )


def _account(told: Facts) -> Group:
    """What happened, the verdict first."""
    episodes = told["episodes"]
    times = "once" if len(episodes) == 1 else f"{len(episodes)} times"
    verdict = f"a link was over capacity {times}" if episodes else "no link was over capacity"
    head = Text(f"in {told['seconds']:.1f} s {verdict}", style="bold red" if episodes else "bold green")
    links = tables.table(
        "Links, worst first",
        ("link", "worst", "s over"),
        (
            (link, tables.percent(share), f"{told['over_seconds'].get(link, 0):.1f}")
            for link, share in sorted(told["worst"].items(), key=lambda item: -float(item[1]))
        ),
        right=("worst", "s over"),
    )
    return Group(head, "", links, *_losses(told), *_late(told["late"]))


def _losses(account: Facts) -> list[Text]:
    lost = ", ".join(f"{cause} {mbit / 1000:.1f} Gbit" for cause, mbit in sorted(account["lost_mbit"].items()) if mbit)
    return [Text(f"lost: {lost or 'nothing'}", style="red" if lost else "")]


def _late(lines: list[str]) -> list[Text]:
    return [Text(f"late: {line}", style="yellow") for line in lines]
