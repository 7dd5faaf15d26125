"""Everything an operator wrote, read in one go: neto.toml and the files it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from neto.errors import InputError, Problem
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering
from neto.settings.intents import load_intents
from neto.settings.inventory import load_inventory, router_names
from neto.settings.main import Settings
from neto.settings.peering import load_peering
from neto.settings.schema import check
from neto.settings.toml import read_toml

Read = TypeVar("Read")


@dataclass(frozen=True)
class Config:
    """One consistent reading of all files."""

    path: Path  # of neto.toml
    settings: Settings  # paths in it are absolute
    inventory: Inventory
    intents: Intents
    peering: Peering


def load_settings(path: Path) -> Settings:
    """Read neto.toml alone; paths in it come back absolute.

    Raises InputError with every problem found.
    """
    file = read_toml(path)
    settings, problems = check(Settings, file)
    if settings is None:
        raise InputError(problems)
    base = path.absolute().parent
    ssh = settings.ssh.model_copy(
        update={"key_file": base / settings.ssh.key_file, "known_hosts": base / settings.ssh.known_hosts}
    )
    return settings.model_copy(
        update={
            "state_dir": base / settings.state_dir,
            "inventory": base / settings.inventory,
            "intents": base / settings.intents,
            "peering": base / settings.peering if settings.peering else None,
            "lab": base / settings.lab if settings.lab else None,
            "ssh": ssh,
        }
    )


def load_config(path: Path) -> Config:
    """Read neto.toml and all that it names.

    Raises InputError with the problems of every file; a file that names routers is checked against those that the
    inventory names, even when the inventory has problems of its own.
    """
    settings = load_settings(path)
    problems: list[Problem] = []

    def attempt(load: Callable[[], Read]) -> Read | None:
        try:
            return load()
        except InputError as error:
            problems.extend(error.problems)
            return None

    inventory = attempt(lambda: load_inventory(settings.inventory))
    routers = list(inventory.router) if inventory else router_names(settings.inventory)
    intents = attempt(lambda: load_intents(settings.intents, routers))
    outside = settings.peering
    peering = attempt(lambda: load_peering(outside, routers)) if outside else Peering()
    if outside and inventory and peering:
        problems += _clashes(outside, inventory, peering)
    if inventory:
        problems += _sessions(path, settings, inventory)
    if problems or inventory is None or intents is None or peering is None:
        raise InputError(problems)
    return Config(path=path, settings=settings, inventory=inventory, intents=intents, peering=peering)


def _clashes(path: Path, inventory: Inventory, peering: Peering) -> list[Problem]:
    """Find prefixes that are both behind a router of ours and outside."""
    file = read_toml(path)
    ours = {prefix: router.name for router in inventory.routers for prefix in router.prefixes}
    return [
        file.problem(("prefix_group", row, "prefixes"), f"{prefix} is already originated by {ours[prefix]}")
        for row, group in enumerate(peering.groups)
        for prefix in group.prefixes
        if prefix in ours
    ]


def _sessions(path: Path, settings: Settings, inventory: Inventory) -> list[Problem]:
    """Find addresses that two BGP sessions would share: a session is known by its address alone."""
    file = read_toml(path)
    ports = {router.bgp_address: (router.bgp_port, router.name) for router in inventory.routers}
    inside = read_toml(settings.inventory)
    seen: dict[str, str] = {}
    problems = []
    for row, router in enumerate(inventory.routers):
        first = seen.setdefault(router.bgp_address, router.name)
        if first != router.name:
            problems.append(inside.problem(("router", row, "bgp"), f"{router.bgp_address} already is {first}'s"))
    for row, speaker in enumerate(settings.bgpls.speaker):
        port, name = ports.get(speaker.address, (speaker.port, ""))
        if port != speaker.port:
            message = f"{speaker.port} is not {name}'s BGP port, {port}; accepted: one session to one address"
            problems.append(file.problem(("bgpls", "speaker", row, "port"), message))
    return problems
