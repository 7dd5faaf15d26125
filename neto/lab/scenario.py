"""What the emulated WAN is made of: the operator's inventory and peering, and a scenario of links and demands.

Read with plain `tomllib`, apart from the daemon's settings: the lab must not share a misreading with whom it judges.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, cast

from neto.errors import InputError, Problem
from neto.lab.export import Format

KM_PER_MS = 200.0  # light in fibre
PREFIX_SHARES = (0.4, 0.3, 0.2, 0.1)  # how a demand spreads over the first prefixes of its target; repeated as needed


@dataclass(frozen=True, slots=True)
class Router:
    """An emulated router; its number gives its labels."""

    name: str
    number: int  # 1..
    loopback: str
    bgp: tuple[str, int]
    ssh: tuple[str, int]
    prefixes: tuple[IPv4Network, ...]
    netflow: Format

    @property
    def node_label(self) -> int:
        """Label of its node SID."""
        return 16000 + self.number


@dataclass(frozen=True, slots=True)
class Cable:
    """One direction of a link, or a peering link (target "")."""

    name: str
    source: str
    target: str
    capacity_mbps: float
    delay_us: float
    metric: int
    label: int  # adjacency SID, or peer SID
    local_address: str
    remote_address: str
    srlgs: tuple[int, ...] = ()
    isp: str = ""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traffic from one router to one prefix with one code point."""

    source: str
    prefix: IPv4Network
    dscp: int
    mbps: float


@dataclass(frozen=True)
class Scenario:
    """An emulated WAN, whole."""

    asn: int
    community: str
    local_address: str  # where the daemon is
    speakers: tuple[tuple[str, int], ...]
    collector: tuple[str, int]
    routers: tuple[Router, ...]
    cables: tuple[Cable, ...]  # WAN links in both directions, then peering links
    exits: Mapping[str, tuple[tuple[str, float], ...]]  # prefix group -> (peering link, delay_us) in order
    groups: Mapping[str, tuple[IPv4Network, ...]]
    isp_asn: Mapping[str, int]
    traffic: tuple[Traffic, ...]
    delay_bound_us: Mapping[int, float]  # by code point, as the intents say it
    class_of: Mapping[int, str]  # by code point; every other: the last class
    classes: tuple[str, ...]  # highest first
    tick_s: float
    convergence_s: float
    export_s: float
    sampling: int


def load_scenario(config: Path, port_offset: int = 0) -> Scenario:
    """Read neto.toml and the files that it names.

    port_offset: added to every port that the lab listens on or sends to.
    Raises InputError naming file and key.
    """
    base = config.absolute().parent
    main = _toml(config)
    if "lab" not in main:
        raise _bad(config, "lab", "is missing; accepted: the file of the emulated WAN's scenario")
    path = base / main["lab"]
    try:
        return _build(
            main,
            _toml(base / main["inventory"]),
            _toml(base / main["peering"]) if "peering" in main else {},
            _toml(base / main["intents"]),
            _toml(path),
            port_offset,
        )
    except KeyError as error:
        raise _bad(path, str(error.args[0]), "is missing, in the scenario or in a file that it builds on") from error
    except (TypeError, ValueError) as error:
        raise _bad(path, "", str(error)) from error


def _build(
    main: dict[str, Any],
    inventory: dict[str, Any],
    peering: dict[str, Any],
    intents: dict[str, Any],
    lab: dict[str, Any],
    offset: int,
) -> Scenario:
    listen, _, port = main.get("netflow", {}).get("listen", "127.0.0.1:2055").rpartition(":")
    formats = lab.get("netflow", {})
    routers = tuple(
        Router(
            name=row["name"],
            number=number,
            loopback=row["router_id"],
            bgp=_endpoint(row["bgp"], offset),
            ssh=_endpoint(row["ssh"], offset),
            prefixes=tuple(IPv4Network(prefix) for prefix in row.get("prefixes", ())),
            netflow=_format(formats.get(row["name"], "ipfix")),
        )
        for number, row in enumerate(inventory["router"], start=1)
    )
    groups = {
        row["name"]: tuple(IPv4Network(prefix) for prefix in row["prefixes"]) for row in peering.get("prefix_group", ())
    }
    names = {router.name for router in routers}
    targets = {router.name: router.prefixes for router in routers} | groups
    classes = intents["class"]
    return Scenario(
        asn=main["bgp"]["asn"],
        community=f"{main['bgp']['asn']}:{main['bgp'].get('community', 900)}",
        local_address=main["bgp"]["local_address"],
        speakers=tuple((row["address"], row.get("port", 179) + offset) for row in main["bgpls"]["speaker"]),
        collector=(listen, int(port) + offset),
        routers=routers,
        cables=(*_links(lab["link"], names), *_peering_links(peering.get("peering_link", ()), names)),
        exits=_exits(peering.get("egress", ()), groups),
        groups=groups,
        isp_asn={row["name"]: row["asn"] for row in peering.get("isp", ())},
        traffic=tuple(_traffic(lab["demand"], names, targets)),
        delay_bound_us={
            dscp: float(row.get("max_delay_ms", math.inf)) * 1000 for row in classes for dscp in row.get("dscp", ())
        },
        class_of={dscp: row["name"] for row in classes for dscp in row.get("dscp", ())},
        classes=tuple(row["name"] for row in classes),
        tick_s=float(lab.get("tick_s", 0.2)),
        convergence_s=float(lab.get("igp_convergence_s", 0.3)),
        export_s=float(lab.get("export_s", 0.5)),
        sampling=int(lab.get("sampling", 1000)),
    )


def _links(rows: list[dict[str, Any]], routers: set[str]) -> Iterator[Cable]:
    for number, row in enumerate(rows, start=1):
        a, b = row["a"], row["b"]
        for end in (a, b):
            if end not in routers:
                raise ValueError(f"link {row['name']}: {end!r} is no router of the inventory")
        subnet = f"10.254.{number // 64}.{number % 64 * 4}"
        ends = [str(next(IPv4Network(f"{subnet}/30").hosts())), str(list(IPv4Network(f"{subnet}/30").hosts())[1])]
        for direction, (source, target) in enumerate(((a, b), (b, a))):
            yield Cable(
                name=f"{source}-{target}" if row["name"] == f"{a}-{b}" else f"{row['name']}:{source}",
                source=source,
                target=target,
                capacity_mbps=float(row["capacity_mbps"]),
                delay_us=round(float(row["distance_km"]) / KM_PER_MS * 1000),
                metric=int(row["igp_metric"]),
                label=24000 + 2 * number + direction,
                local_address=ends[direction],
                remote_address=ends[1 - direction],
                srlgs=tuple(row.get("srlgs", ())),
            )


def _peering_links(rows: list[dict[str, Any]], routers: set[str]) -> Iterator[Cable]:
    for number, row in enumerate(rows, start=1):
        if row["node"] not in routers:
            raise ValueError(f"peering link {row['name']}: {row['node']!r} is no router of the inventory")
        yield Cable(
            name=row["name"],
            source=row["node"],
            target="",
            capacity_mbps=float(row["capacity_mbps"]),
            delay_us=0.0,
            metric=0,
            label=25000 + number,
            local_address=row["local_address"],
            remote_address=row["peer_address"],
            isp=row["isp"],
        )


def _exits(rows: list[dict[str, Any]], groups: Mapping[str, object]) -> dict[str, tuple[tuple[str, float], ...]]:
    return {
        group: tuple((r["peering_link"], float(r["delay_us"])) for r in rows if r["prefix_group"] == group)
        for group in groups
    }


def _traffic(
    rows: list[dict[str, Any]], routers: set[str], targets: Mapping[str, tuple[IPv4Network, ...]]
) -> Iterator[Traffic]:
    for row in rows:
        source, target = row["source"], row["to"]
        if source not in routers or not targets.get(target):
            raise ValueError(f"demand from {source!r} to {target!r}: accepted are routers and prefix groups")
        prefixes = targets[target]
        shares = [PREFIX_SHARES[place % len(PREFIX_SHARES)] for place in range(len(prefixes))]
        for dscp, mbps in row["mbps"].items():
            if not math.isfinite(mbps) or mbps < 0:
                raise ValueError(f"demand from {source} to {target}: {mbps} Mbit/s; accepted: 0 or more")
            for prefix, share in zip(prefixes, shares, strict=True):
                yield Traffic(source, prefix, int(dscp), mbps * share / sum(shares))


def _format(text: str) -> Format:
    if text in {"v5", "v9", "ipfix"}:
        return cast(Format, text)
    raise ValueError(f"netflow {text!r}; accepted: v5, v9, ipfix")


def _endpoint(text: str, offset: int) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port) + offset


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise _bad(path, "", f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _bad(path, "", f"is not TOML: {error}") from error


def _bad(path: Path, key: str, message: str) -> InputError:
    return InputError([Problem(str(path), 0, key, message)])
