"""How documents look on a terminal: one renderer for each kind that `neto show` knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Document = dict[str, Any]
FULL = 1.0  # utilisation over which a link drops
HIGH = 0.9


def table(
    title: str, columns: Iterable[str], rows: Iterable[Iterable[RenderableType]], *, right: Iterable[str]
) -> Table:
    """A table with the columns in `right` set flush right."""
    flush = set(right)
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in flush else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def mbps(value: float) -> str:
    """12345.678 as 12,345.7."""
    return f"{value:,.1f}"


def percent(share: float) -> Text:
    """A share, red when it is over the whole and yellow when it is near."""
    style = "bold red" if share > FULL + 1e-9 else "yellow" if share > HIGH + 1e-9 else ""
    return Text(f"{share:.1%}", style=style)


def ms(microseconds: float) -> str:
    """Microseconds as milliseconds."""
    return f"{microseconds / 1000:.1f}"


def ago(then: float) -> str:
    """How long ago a unix time was."""
    seconds = max(0.0, time.time() - then)
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"  # noqa: PLR2004 two minutes


def topology(document: Document) -> RenderableType:
    """Nodes, links, and what was refused."""
    nodes = table(
        "Nodes",
        ("name", "router id", "node SID", "SID depth"),
        (
            (n["name"], n["router_id"], str(n["node_sid"] or "-"), str(n["max_sid_depth"]))
            for n in sorted(document["nodes"], key=lambda n: str(n["name"]))
        ),
        right=("node SID", "SID depth"),
    )
    rows = table(
        "Links",
        ("id", "from", "to", "Mbit/s", "delay ms", "metric", "adj. SID", "SRLGs"),
        (
            (
                link["id"],
                link["source"],
                link["target"],
                mbps(link["capacity_mbps"]),
                ms(link["delay_us"]),
                str(link["igp_metric"]),
                str(link["adjacency_sid"] or "-"),
                " ".join(map(str, link["srlgs"])),
            )
            for link in sorted(document["links"], key=lambda link: (str(link["source"]), str(link["target"])))
        ),
        right=("Mbit/s", "delay ms", "metric", "adj. SID"),
    )
    refused = [Text(f"refused: {problem}", style="red") for problem in document["problems"]]
    return Group(nodes, "", rows, *refused)


def demand(document: Document) -> RenderableType:
    """Rates, largest first, and what could not be told."""
    rates = sorted(document["rates"], key=lambda rate: -float(rate["rate_mbps"]))
    rows = table(
        "Demand",
        ("from", "to", "class", "Mbit/s"),
        (
            *((r["source"], r["target"], r["class"], mbps(r["rate_mbps"])) for r in rates),
            *(
                (u["source"] or "-", Text("unknown", style="yellow"), "-", mbps(u["rate_mbps"]))
                for u in document["unknown"]
            ),
        ),
        right=("Mbit/s",),
    )
    unknown = table(
        "Unknown: the largest destinations that no prefix of the inventory or of the peering holds",
        ("from", "prefix", "Mbit/s, at least"),
        ((u["source"] or "-", u["prefix"], mbps(u["rate_mbps"])) for u in document["unknown_prefixes"]),
        right=("Mbit/s, at least",),
    )
    total = f"total {mbps(document['total_mbps'])} Mbit/s, measured {ago(document['ends'])}"
    notes = [Text(f"{total}; unknown {mbps(document['unknown_mbps'])} Mbit/s"), *_silences(document)]
    parts: list[RenderableType] = [rows, "", unknown, ""] if document["unknown_prefixes"] else [rows, ""]
    return Group(*parts, *notes, _counters(document))


def health(document: Document) -> RenderableType:
    """How well each exporter is heard, and whose demand is in doubt for it."""
    return Group(generic("Exporters")(document["health"]), "", *_silences(document), _counters(document))


def _silences(document: Document) -> list[Text]:
    """Who told nothing, or too little."""
    notes = []
    if document["missing_exporters"]:
        notes.append(Text(f"silent exporters: {', '.join(document['missing_exporters'])}", style="yellow"))
    if document["missing_leaves"]:
        notes.append(Text(f"silent collectors: {', '.join(document['missing_leaves'])}", style="yellow"))
    return notes + [Text(f"{router}: {why}", style="yellow") for router, why in sorted(document["doubtful"].items())]


def _counters(document: Document) -> Text:
    counters = ", ".join(f"{name} {count}" for name, count in sorted(document["counters"].items()) if count)
    return Text(f"collector: {counters or 'nothing yet'}", style="dim")


def allocation(document: Document) -> RenderableType:
    """Classes, the fullest links, and a verdict on the first line."""
    worst = sorted(document["links"], key=lambda link: -float(link["utilisation"]))
    over = [link for link in worst if link["utilisation"] > FULL + 1e-9]
    verdict = f"{len(over)} links over capacity" if over else "no link over capacity"
    head = Text(f"portion {100 * document['portion']:.0f} %, {verdict}", style="bold red" if over else "bold green")
    classes = table(
        "Classes, highest first",
        ("class", "asked Mbit/s", "given Mbit/s", "share", "worst delay ms", "status"),
        (
            (
                c["class"],
                mbps(c["requested_mbps"]),
                mbps(c["allocated_mbps"]),
                f"{c['allocated_mbps'] / c['requested_mbps']:.1%}" if c["requested_mbps"] else "-",
                ms(_worst_delay(document, c["class"])),
                c["status"],
            )
            for c in document["classes"]
        ),
        right=("asked Mbit/s", "given Mbit/s", "share", "worst delay ms"),
    )
    links = table(
        "Links, fullest first",
        ("id", "from", "to", "Mbit/s", "load", "of it legacy", "full"),
        (
            (
                link["id"],
                link["source"],
                link["target"],
                mbps(link["capacity_mbps"]),
                mbps(link["load_mbps"]),
                mbps(link["legacy_mbps"]),
                percent(link["utilisation"]),
            )
            for link in worst
        ),
        right=("Mbit/s", "load", "of it legacy", "full"),
    )
    unplaced = [Text(f"not placed: {line}", style="yellow") for line in document["unplaced"]]
    warnings = [Text(f"warning: {line}", style="yellow") for line in document["warnings"]]
    return Group(head, "", classes, "", links, *unplaced, *warnings)


def _worst_delay(document: Document, name: str) -> float:
    used = (path["delay_us"] for d in document["demands"] if d["class"] == name for path in d["paths"])
    return float(max(used, default=0.0))


def peering(document: Document) -> RenderableType:
    """Peering links, and the exits of each group."""
    links = table(
        "Peering links",
        ("name", "border", "ISP", "Mbit/s", "load", "full", "state"),
        (
            (
                link["name"],
                link["node"],
                link["isp"],
                mbps(link["capacity_mbps"]),
                mbps(link["load_mbps"]),
                percent(link["load_mbps"] / link["capacity_mbps"]),
                "up" if link["up"] else Text("not signalled", style="red"),
            )
            for link in document["links"]
        ),
        right=("Mbit/s", "load", "full"),
    )
    groups = table(
        "Exits",
        ("prefix group", "from", "through (Mbit/s)"),
        (
            (g["prefix_group"], g["source"], ", ".join(f"{name} {mbps(rate)}" for name, rate in g["exits"].items()))
            for g in document["groups"]
        ),
        right=(),
    )
    return Group(links, "", groups)


def plan(document: Document) -> RenderableType:
    """Steps with their moves."""
    head = f"cycle {document['cycle']}, {document['urgency']}: {len(document['steps'])} steps"
    stuck = [Text(f"stops short: {document['stuck']}", style="red")] if document["stuck"] else []
    steps = [
        table(
            f"Step {number}: {len(step['moves'])} moves, worst link {step['worst_link'] or '-'} "
            f"at {step['worst_utilisation']:.1%} in any order",
            ("device", "kind", "what", "becomes"),
            ((m["device"], m["kind"], m["subject"], m["becomes"]) for m in step["moves"]),
            right=(),
        )
        for number, step in enumerate(document["steps"], start=1)
    ]
    body: list[RenderableType] = [Text(head, style="bold"), *stuck]
    for step in steps:
        body += ["", step]
    return Group(*body)


def routes(document: Document) -> RenderableType:
    """Links with what they announce, open exits, and the largest groups that there are by themselves."""
    groups = [
        {"prefix group": g["prefix_group"], "open": " ".join(g["open"]) or "-", "closed": " ".join(g["closed"]) or "-"}
        for g in document["groups"]
    ]
    found = [
        {
            "origin AS": g["origin_as"] or "-",
            "prefixes": g["prefixes"],
            "first": g["first"],
            "exits": " ".join(g["exits"]),
        }
        for g in document["found"]
    ]
    return Group(
        generic("Peering links, as routes tell them")(document["links"]),
        "",
        generic("Listed prefix groups, and their exits")(groups),
        "",
        generic("Prefixes that share origin and exits, the largest groups")(found),
        "",
        _counted(document),
    )


def ingress(document: Document) -> RenderableType:
    """Links with what comes in, what to change, and what is not known."""
    if document["mode"] == "off":
        return Text('off: the intents say ingress = "off"')
    state = {"ok": "green", "may be over": "yellow", "over": "red", "stays over": "bold red"}
    links = table(
        "What comes in by peering links, Mbit/s",
        ("peering link", "border", "ISP", "limit", "now", "full", "after", "between", "state"),
        (
            (
                link["peering_link"],
                link["border"],
                link["isp"],
                f"{link['limit_mbps']:,.0f}",
                f"{link['inbound_mbps']:,.0f}",
                percent(link["inbound_mbps"] / link["limit_mbps"]),
                f"{link['after_mbps']:,.0f}",
                _between(link["least_mbps"], link["most_mbps"]),
                Text(link["state"], style=state[link["state"]]),
            )
            for link in document["links"]
        ),
        right=("limit", "now", "full", "after", "between"),
    )
    by_itself = document["mode"] == "apply"
    advice = table(
        "To be changed, the first next" if by_itself else "Change one after the other, and look again before the next",
        ("", "on link", "prefix", "of", "Mbit/s", "how"),
        (
            (str(number), e["peering_link"], e["prefix"], e["router"], mbps(e["rate_mbps"]), e["how"])
            for number, e in enumerate(document["proposals"], start=1)
        ),
        right=("Mbit/s",),
    )
    parts: list[RenderableType] = [links] if document["links"] else [Text("no link is measured")]
    if document["proposals"]:
        parts += ["", advice, Text("after: if all of it moves to where there is most room; else between those two")]
    if document["applied"]:
        parts += ["", _applied(document["applied"])]
    if document["closed"]:
        parts += [
            "",
            *(Text(f"closed: {link}: no exit leads out there now", style="yellow") for link in document["closed"]),
        ]
    if document["missing"]:
        parts += ["", *(Text(f"not measured: {line}", style="yellow") for line in document["missing"])]
    return Group(*parts)


def _applied(rows: list[Document]) -> RenderableType:
    """Changes that NetO made, and what they brought."""
    return table(
        "Announcements that are changed",
        ("on link", "prefix", "how", "since", "was to leave, Mbit/s", "left", "stays until"),
        (
            (
                row["peering_link"],
                row["prefix"],
                row["how"],
                ago(row["since"]),
                "not known" if row["expected_mbps"] is None else mbps(row["expected_mbps"]),
                Text(row["fault"], style="red") if row["fault"] else _left(row),
                f"at least {time.strftime('%H:%M:%S', time.localtime(row['stays_until']))}",
            )
            for row in rows
        ),
        right=("was to leave, Mbit/s", "left"),
    )


def _left(row: Document) -> str:
    if row["expected_mbps"] is None:
        return "not known"
    return "not measured yet" if row["left"] is None else f"{max(row['left'], 0.0):.0%}"


def _between(least_mbps: float, most_mbps: float) -> str:
    ends = f"{least_mbps:,.0f}", f"{most_mbps:,.0f}"
    return "-".join(dict.fromkeys(ends))


def latency(document: Document) -> RenderableType:
    """Estimates, and what they move."""
    return Group(
        generic("Latency: median, and the interval that holds it with 95 %")(document["estimates"]),
        "",
        generic("Groups that latency moves, or is about to")(document["moved"]),
        "",
        _counted(document),
    )


def _counted(document: Document) -> Text:
    counters = ", ".join(f"{name} {count}" for name, count in sorted(document["counters"].items()) if count)
    return Text(f"counted: {counters or 'nothing yet'}", style="dim")


def generic(title: str) -> Callable[[Any], RenderableType]:
    """Render a list of flat rows as it is."""

    def render(rows: list[Document]) -> RenderableType:
        if not rows:
            return Text(f"{title}: none")
        columns = list(rows[0])
        return table(title, columns, ([_cell(row.get(c)) for c in columns] for row in rows), right=())

    return render


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return time.strftime("%H:%M:%S", time.localtime(value)) if value > 1e9 else f"{value:.3g}"  # noqa: PLR2004 a unix time
    return str(value)
