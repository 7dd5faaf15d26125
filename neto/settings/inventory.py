"""inventory.toml -> Inventory."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from neto.errors import InputError, Problem
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Prefix
from neto.settings.schema import Endpoint, Ipv4, Name, Section, check, duplicates, unknown
from neto.settings.toml import TomlFile, read_toml
from neto.wire.dialects import names as dialect_names


def prefix(value: object) -> Prefix:
    """Read a prefix; host bits below its length are refused, for one of the two was not meant."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str) or "/" not in value:
        raise ValueError("is not a prefix; accepted: an address and a length, as in 192.0.2.0/24")
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"{error}; accepted: an address and a length, as in 192.0.2.0/24") from error


PrefixText = Annotated[IPv4Network | IPv6Network, BeforeValidator(prefix)]


class _Site(Section):
    name: Name
    region: Name


class _Router(Section):
    name: Name
    site: Name
    router_id: Ipv4
    dialect: str
    bgp: Endpoint
    ssh: Endpoint
    exporters: tuple[Ipv4, ...] = Field(default=(), strict=False)
    core_interfaces: tuple[Annotated[int, Field(ge=1, le=0xFFFFFFFF)], ...] = Field(default=(), strict=False)
    prefixes: tuple[PrefixText, ...] = Field(default=(), strict=False)
    frozen: bool = False
    max_policies: Annotated[int, Field(ge=1)] | None = None


class _File(Section):
    site: tuple[_Site, ...] = Field(min_length=1, strict=False)
    router: tuple[_Router, ...] = Field(min_length=1, strict=False)


def load_inventory(path: Path) -> Inventory:
    """Read and check the inventory.

    Raises InputError with every problem found.
    """
    file = read_toml(path)
    read, problems = check(_File, file)
    if read is None:
        raise InputError(problems)
    problems += _references(file, read)
    if problems:
        raise InputError(sorted(problems, key=lambda problem: problem.line))
    return Inventory(
        sites=tuple(Site(site.name, site.region) for site in read.site),
        routers=tuple(
            Router(
                name=router.name,
                site=router.site,
                router_id=router.router_id,
                dialect=router.dialect,
                bgp_address=router.bgp.address,
                bgp_port=router.bgp.port,
                ssh_address=router.ssh.address,
                ssh_port=router.ssh.port,
                exporters=router.exporters,
                core_interfaces=frozenset(router.core_interfaces),
                prefixes=router.prefixes,
                frozen=router.frozen,
                max_policies=router.max_policies,
            )
            for router in read.router
        ),
    )


def router_names(path: Path) -> list[str]:
    """Return the names of routers in an inventory that may have problems: what other files are checked against."""
    try:
        rows = read_toml(path).data.get("router", [])
    except InputError:
        return []
    if not isinstance(rows, list):
        return []
    return [row["name"] for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]


def _references(file: TomlFile, read: _File) -> list[Problem]:
    problems = duplicates(file, "site", "name", [site.name for site in read.site])
    for key in ("name", "router_id"):
        problems += duplicates(file, "router", key, [getattr(router, key) for router in read.router])
    sites = [site.name for site in read.site]
    seen_exporters: dict[str, str] = {}
    seen_prefixes: dict[Prefix, str] = {}
    for row, router in enumerate(read.router):
        here = ("router", row)
        if router.site not in sites:
            problems.append(file.problem((*here, "site"), unknown("site", router.site, sites)))
        if router.dialect not in dialect_names():
            message = unknown("dialect", router.dialect, dialect_names())
            problems.append(file.problem((*here, "dialect"), message))
        for exporter in router.exporters:
            owner = seen_exporters.setdefault(exporter, router.name)
            if owner != router.name:
                problems.append(file.problem((*here, "exporters"), f"{exporter} is already an exporter of {owner}"))
        for each in router.prefixes:
            owner = seen_prefixes.setdefault(each, router.name)
            if owner != router.name:
                problems.append(file.problem((*here, "prefixes"), f"{each} is already originated by {owner}"))
    return problems
