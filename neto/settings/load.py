"""Everything an operator wrote, read in one go: neto.toml and the files it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from neto.errors import InputError, Problem
from neto.model.intent import Ingress, Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering
from neto.settings import prometheus
from neto.settings.intents import load_intents
from neto.settings.inventory import load_inventory, router_names
from neto.settings.latency import Latency
from neto.settings.main import Mqtt, Settings
from neto.settings.peering import load_peering, misplaced
from neto.settings.schema import check, duplicates, unknown
from neto.settings.toml import TomlFile, read_toml
from neto.wire.dialects import dialect, names

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
    problems += leaves_problems(file, "netflow", settings.netflow.leaves, settings.mqtt)
    if problems:
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
            "mqtt": settings.mqtt and absolute(settings.mqtt, base),
            "latency": settings.latency and _latency_files(settings.latency, base),
        }
    )


def _latency_files(latency: Latency, base: Path) -> Latency:
    files = {name: base / at for name in ("token_file", "csv") if (at := getattr(latency, name))}
    sources = tuple(prometheus.absolute(each, base) for each in latency.prometheus)
    return latency.model_copy(update={**files, "prometheus": sources})


def _tellers(path: Path, settings: Settings, inventory: Inventory) -> list[Problem]:
    """Find borders that are no routers of ours, share an address or tell twice, and samples that no broker brings."""
    file = read_toml(path)
    problems = []
    routers = settings.bmp.router if settings.bmp else ()
    problems += duplicates(file, ("bmp", "router"), "name", [router.name for router in routers])
    problems += duplicates(file, ("bmp", "router"), "address", [router.address for router in routers])
    problems += [
        file.problem(("bmp", "router", row, "name"), unknown("router", router.name, list(inventory.router)))
        for row, router in enumerate(routers)
        if router.name not in inventory.router
    ]
    by_bmp = {router.name for router in routers}
    tellers = settings.ibgp.router if settings.ibgp else ()
    problems += duplicates(file, ("ibgp", "router"), "name", [router.name for router in tellers])
    for row, teller in enumerate(tellers):
        if teller.name not in inventory.router:
            message = unknown("router", teller.name, list(inventory.router))
            problems.append(file.problem(("ibgp", "router", row, "name"), message))
        elif teller.name in by_bmp:
            message = f"{teller.name!r} tells its routes by BMP already; accepted: one of the two"
            problems.append(file.problem(("ibgp", "router", row, "name"), message))
    if settings.latency and settings.latency.mqtt and settings.mqtt is None:
        problems.append(file.problem(("latency", "mqtt"), "needs a broker; accepted: with a table [mqtt]"))
    problems += prometheus.problems(file, settings.latency.prometheus if settings.latency else ())
    return problems


def absolute(mqtt: Mqtt, base: Path) -> Mqtt:
    """Return the same with its files as absolute paths."""
    files = ("password_file", "ca_file", "certificate_file", "key_file")
    return mqtt.model_copy(update={name: base / at for name in files if (at := getattr(mqtt, name))})


def leaves_problems(file: TomlFile, table: str, leaves: Sequence[str], mqtt: Mqtt | None) -> list[Problem]:
    """Find leaves that are named twice, or that no broker brings here; and files that TLS alone can use."""
    problems = []
    if leaves and mqtt is None:
        problems.append(file.problem((table, "leaves"), "needs a broker; accepted: with a table [mqtt]"))
    if len(set(leaves)) < len(leaves):
        twice = next(name for name in leaves if leaves.count(name) > 1)
        problems.append(file.problem((table, "leaves"), f"{twice!r} is named twice"))
    if mqtt is not None:
        problems += [
            file.problem(("mqtt", name), "is of no use without TLS; accepted: with tls = true")
            for name in ("ca_file", "certificate_file", "key_file")
            if getattr(mqtt, name) and not mqtt.tls
        ]
        if mqtt.password_file and mqtt.username is None:
            problems.append(file.problem(("mqtt", "password_file"), "needs a username; accepted: with username"))
        if mqtt.key_file and not mqtt.certificate_file:
            problems.append(
                file.problem(("mqtt", "key_file"), "needs its certificate; accepted: with certificate_file")
            )
    return problems


def load_config(path: Path) -> Config:
    """Read neto.toml and all that it names.

    Raises InputError with the problems of every file; a file that names routers is checked against those that the
    inventory names, even when the inventory has problems of its own.
    """
    settings = load_settings(path)
    inventory, intents, peering, problems = read_network(settings.inventory, settings.intents, settings.peering)
    if inventory:
        problems += _sessions(path, settings, inventory) + _tellers(path, settings, inventory)
    if problems or inventory is None or intents is None or peering is None:
        raise InputError(problems)
    return Config(path=path, settings=settings, inventory=inventory, intents=intents, peering=peering)


def read_network(
    inventory_path: Path, intents_path: Path, outside: Path | None
) -> tuple[Inventory | None, Intents | None, Peering | None, list[Problem]]:
    """Read what is said of the network; None for what has problems, with the problems of all."""
    problems: list[Problem] = []

    def attempt(load: Callable[[], Read]) -> Read | None:
        try:
            return load()
        except InputError as error:
            problems.extend(error.problems)
            return None

    inventory = attempt(lambda: load_inventory(inventory_path))
    routers = list(inventory.router) if inventory else router_names(inventory_path)
    intents = attempt(lambda: load_intents(intents_path, routers))
    peering = attempt(lambda: load_peering(outside, routers)) if outside else Peering()
    if outside and inventory and peering:
        problems += _clashes(outside, inventory, peering) + misplaced(outside, inventory, peering)
    if intents and peering:
        problems += _isps(intents_path, intents, peering)
    if inventory and intents and peering and outside and intents.ingress is Ingress.APPLY:
        problems += _unadjustable(inventory_path, outside, inventory, peering)
    if inventory and intents and peering and any(each.prefixes for each in intents.classes):
        problems += _parts(intents_path, inventory, intents, peering)
    return inventory, intents, peering, problems


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


def _isps(path: Path, intents: Intents, peering: Peering) -> list[Problem]:
    """Find wishes of ISPs that the peering file does not have."""
    file, names = read_toml(path), [isp.name for isp in peering.isps]
    return [
        file.problem(("isp", row, "name"), unknown("ISP of the peering file", each.name, names))
        for row, each in enumerate(intents.isps)
        if each.name not in names
    ]


def _unadjustable(path: Path, outside: Path, inventory: Inventory, peering: Peering) -> list[Problem]:
    """Find measured links at which no announcement can be adjusted, though the intents ask for it."""
    file, problems = read_toml(outside), []
    borders = {link.node for link in peering.links if link.interface is not None}
    able = [name for name in names() if dialect(name).adjusts]
    for row, router in enumerate(inventory.routers):
        if router.name in borders and router.dialect not in able:
            message = f'{router.dialect!r} cannot adjust announcements of {router.name}, which ingress = "apply" needs'
            accepted = f"; accepted: {', '.join(able)}" if able else ""
            problems.append(read_toml(path).problem(("router", row, "dialect"), message + accepted))
    seen: dict[tuple[str, str], str] = {}
    for row, link in enumerate(peering.links):
        if link.interface is None:
            continue
        if not link.peer_address:
            message = 'is missing; accepted: the address of the ISP\'s side, which ingress = "apply" needs'
            problems.append(file.problem(("peering_link", row, "peer_address"), message))
        elif (first := seen.setdefault((link.node, link.peer_address), link.name)) != link.name:
            message = (
                f'{link.peer_address} at {link.node} already is {first}\'s; ingress = "apply" needs one of its own'
            )
            problems.append(file.problem(("peering_link", row, "peer_address"), message))
    return problems


def _parts(path: Path, inventory: Inventory, intents: Intents, peering: Peering) -> list[Problem]:
    """Find prefixes of classes that hold no more than a part of what is counted as one destination."""
    file = read_toml(path)
    ours = (prefix for router in inventory.routers for prefix in router.prefixes)
    counted = {*ours, *(prefix for group in peering.groups for prefix in group.prefixes)}
    problems = []
    for row, each in enumerate(intents.classes):
        for prefix in each.prefixes:
            around = (prefix.supernet(new_prefix=length) for length in range(prefix.prefixlen - 1, -1, -1))
            within = next((wider for wider in around if wider in counted), None)
            if prefix not in counted and within is not None:
                message = f"{prefix} is a part of {within}; accepted: prefixes as they are counted, or shorter ones"
                problems.append(file.problem(("class", row, "prefixes"), message))
    return problems


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
