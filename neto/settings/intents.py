"""intents.toml -> Intents."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from neto.errors import InputError, Problem
from neto.model.intent import MOST_ALPHA, Ingress, Intents, IspWish, MaintenanceWindow, PrefixSplit, TrafficClass
from neto.model.peering import Prefix
from neto.settings.inventory import PrefixText
from neto.settings.schema import Name, NonNegative, Positive, Section, Share, check, duplicates, unknown
from neto.settings.toml import TomlFile, read_toml

Dscp = Annotated[int, Field(ge=0, le=63)]
IfIndex = Annotated[int, Field(ge=1, le=0xFFFFFFFF)]
_SPLIT = PrefixSplit()
MAX_CLASSES = 8  # as many as routers have queues


def _clock(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise ValueError("is not a time of day; accepted: UTC as in 02:30") from error


Clock = Annotated[str, AfterValidator(_clock)]


class _Class(Section):
    name: Name
    dscp: tuple[Dscp, ...] = Field(default=(), strict=False)
    max_delay_ms: Positive | None = None
    max_stretch: Annotated[float, Field(ge=1)] | None = None
    weight: Positive = 1.0
    alpha: Annotated[float, Field(gt=0, le=MOST_ALPHA)] | None = None
    headroom: Share | None = None
    prefixes: tuple[PrefixText, ...] = Field(default=(), strict=False)
    interfaces: dict[Name, Annotated[tuple[IfIndex, ...], Field(strict=False)]] = Field(default_factory=dict)


class _Isp(Section):
    name: Name
    prefer_ms: NonNegative = 0.0
    avoid: bool = False
    max_share: Annotated[float, Field(gt=0, le=1)] | None = None
    commit_mbps: Positive | None = None


class _Maintenance(Section):
    routers: tuple[Name, ...] = Field(min_length=1, strict=False)
    begins: Clock
    ends: Clock


class _PrefixSplit(Section):
    tolerance: Share = _SPLIT.tolerance
    max_prefixes: Annotated[int, Field(ge=1)] = _SPLIT.max_prefixes
    max_shift: Annotated[float, Field(gt=0, le=1)] = _SPLIT.max_shift


class _File(Section):
    headroom: Share = 0.1
    drained_links: tuple[Name, ...] = Field(default=(), strict=False)
    drained_nodes: tuple[Name, ...] = Field(default=(), strict=False)
    frozen: tuple[Name, ...] = Field(default=(), strict=False)
    excluded_prefixes: tuple[PrefixText, ...] = Field(default=(), strict=False)
    classes: tuple[_Class, ...] = Field(alias="class", min_length=1, max_length=MAX_CLASSES, strict=False)
    isp: tuple[_Isp, ...] = Field(default=(), strict=False)
    ingress: Literal["off", "advise", "apply"] = "advise"
    maintenance: tuple[_Maintenance, ...] = Field(default=(), strict=False)
    prefix_split: _PrefixSplit | None = None


def load_intents(path: Path, routers: Collection[str]) -> Intents:
    """Read and check the intents against the routers of the inventory.

    Links are named by BGP-LS and can be gone for a while, so a drained link that is not there now is no error.
    Raises InputError with every problem found.
    """
    file = read_toml(path)
    read, problems = check(_File, file)
    if read is None:
        raise InputError(problems)
    problems += _references(file, read, list(routers))
    if problems:
        raise InputError(sorted(problems, key=lambda problem: problem.line))
    return Intents(
        classes=tuple(
            TrafficClass(
                name=each.name,
                dscp=frozenset(each.dscp),
                max_delay_us=each.max_delay_ms * 1000 if each.max_delay_ms is not None else math.inf,
                max_stretch=each.max_stretch if each.max_stretch is not None else math.inf,
                weight=each.weight,
                alpha=each.alpha if each.alpha is not None else math.inf,
                headroom=each.headroom,
                prefixes=each.prefixes,
                interfaces=tuple((router, number) for router, those in each.interfaces.items() for number in those),
            )
            for each in read.classes
        ),
        headroom=read.headroom,
        drained_links=frozenset(read.drained_links),
        drained_nodes=frozenset(read.drained_nodes),
        frozen=frozenset(read.frozen),
        windows=tuple(
            MaintenanceWindow(w.routers, _clock(str(w.begins)), _clock(str(w.ends))) for w in read.maintenance
        ),
        excluded_prefixes=read.excluded_prefixes,
        isps=tuple(
            IspWish(
                *(each.name, each.prefer_ms * 1000, each.avoid),
                max_share=math.inf if each.max_share is None else each.max_share,
                commit_mbps=math.inf if each.commit_mbps is None else each.commit_mbps,
            )
            for each in read.isp
        ),
        ingress=Ingress(read.ingress),
        prefix_split=PrefixSplit(**read.prefix_split.model_dump()) if read.prefix_split else None,
    )


def _references(file: TomlFile, read: _File, routers: list[str]) -> list[Problem]:
    problems = duplicates(file, "class", "name", [each.name for each in read.classes])
    for key in ("drained_nodes", "frozen"):
        problems += [
            file.problem((key,), unknown("router of the inventory", name, routers))
            for name in getattr(read, key)
            if name not in routers
        ]
    for row, window in enumerate(read.maintenance):
        problems += [
            file.problem(("maintenance", row, "routers"), unknown("router of the inventory", name, routers))
            for name in window.routers
            if name not in routers
        ]
    problems += duplicates(file, "isp", "name", [each.name for each in read.isp])
    problems += [
        file.problem(("isp", row, "avoid"), "and prefer_ms are of one ISP; accepted: one of them")
        for row, each in enumerate(read.isp)
        if each.avoid and each.prefer_ms
    ]
    problems += _marked_twice(file, read, routers)
    owner: dict[int, str] = {}
    for row, each in enumerate(read.classes):
        for dscp in each.dscp:
            first = owner.setdefault(dscp, each.name)
            if first != each.name:
                problems.append(file.problem(("class", row, "dscp"), f"{dscp} already tells class {first}"))
        if not each.dscp and row < len(read.classes) - 1:
            message = "is missing; accepted: code points 0..63 (only the last class takes all others)"
            problems.append(file.problem(("class", row, "dscp"), message))
    return problems


def _marked_twice(file: TomlFile, read: _File, routers: list[str]) -> list[Problem]:
    """Find what the edge cannot mark as of a class: interfaces of no router, and what is marked as of another."""
    problems, prefixes, interfaces = [], dict[Prefix, str](), dict[tuple[str, int], str]()
    for row, each in enumerate(read.classes):
        for prefix in each.prefixes:
            first = prefixes.setdefault(prefix, each.name)
            if first != each.name:
                problems.append(file.problem(("class", row, "prefixes"), f"{prefix} is already of class {first}"))
        for router, numbers in each.interfaces.items():
            if router not in routers:
                message = unknown("router of the inventory", router, routers)
                problems.append(file.problem(("class", row, "interfaces", router), message))
            for number in numbers:
                first = interfaces.setdefault((router, number), each.name)
                if first != each.name:
                    message = f"{number} of {router} is already of class {first}"
                    problems.append(file.problem(("class", row, "interfaces", router), message))
    return problems
