"""A table of destinations: a million IPv4 prefixes with the Internet's lengths, 200,000 IPv6 ones, in 512 groups.

The first groups are sites, each a router that exports flows and originates a prefix of either family; the others are
prefix groups outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import numpy as np

from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Peering, PrefixGroup

SITES, GROUPS = 200, 512
CORE = frozenset({1, 2})  # interfaces of every router that lead into the WAN
DSCPS = (0, 10, 18, 26, 34, 46)
_CLASSES = (("gold", {46}), ("silver", {26, 34}), ("bronze", {10, 18}), ("rest", set()))
_LENGTHS4 = dict(
    zip(
        (8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24),
        (0.02, 0.04, 0.1, 0.3, 0.6, 1.2, 2, 13, 8, 14, 25, 44, 52, 110, 100, 630),
        strict=True,
    )
)
_LENGTHS6 = {29: 3, 32: 12, 36: 5, 40: 8, 44: 10, 46: 4, 47: 3, 48: 55}
_NOT_OUTSIDE = (0, 10, 100, 127)  # first octets; the flows to nowhere go to 100.64.0.0/10


@dataclass(frozen=True, eq=False)
class Table:
    """Prefixes outside, in no order: (prefixes,) each."""

    begins4: np.ndarray  # uint32
    lengths4: np.ndarray  # uint8
    begins6: np.ndarray  # uint64, the upper half
    lengths6: np.ndarray

    def save(self, file: Path) -> Path:
        np.savez(file, **vars(self))
        return file


def load(file: Path) -> Table:
    with np.load(file) as columns:
        return Table(**columns)


def table(prefixes4=1_000_000, prefixes6=200_000, seed=1) -> Table:
    chance = np.random.default_rng(seed)
    lengths = _drawn(chance, _LENGTHS4, prefixes4 * 5 // 4)
    begins = chance.integers(1 << 24, 224 << 24, lengths.size, np.uint64) >> (32 - lengths) << (32 - lengths)
    outside = ~np.isin(begins >> 24, _NOT_OUTSIDE)
    begins4, lengths4 = _some(chance, begins[outside], lengths[outside], prefixes4)
    lengths = _drawn(chance, _LENGTHS6, prefixes6 * 5 // 4)
    begins = 0x24 << 56 | chance.integers(0, 1 << 56, lengths.size, np.uint64)
    begins6, lengths6 = _some(chance, begins >> (64 - lengths) << (64 - lengths), lengths, prefixes6)
    return Table(begins4.astype(np.uint32), lengths4.astype(np.uint8), begins6, lengths6.astype(np.uint8))


def _drawn(chance, weights, count):
    share = np.array(list(weights.values())) / sum(weights.values())
    return chance.choice(np.array(list(weights), np.uint64), count, p=share)


def _some(chance, begins, lengths, count):
    """Different ones, in no order."""
    _, first = np.unique(np.stack([begins, lengths]), axis=1, return_index=True)
    chosen = chance.permutation(first)[:count]
    assert chosen.size == count
    return begins[chosen], lengths[chosen]


def address(number: int) -> str:
    """Where router `number` exports from."""
    return f"127.0.1.{number + 1}"


def prefix4(site: int) -> IPv4Network:
    return IPv4Network((10 << 24 | site << 16, 16))


def prefix6(site: int) -> IPv6Network:
    return IPv6Network(((0x20010DB8 << 32 | site << 16) << 64, 48))


def nouns(table: Table) -> tuple[Inventory, Peering, Intents]:
    """Return what an operator would have written."""
    routers = tuple(
        Router(
            *(f"r{n}", f"s{n}", "", "lab", ""),
            exporters=(address(n),),
            core_interfaces=CORE,
            prefixes=(prefix4(n), prefix6(n)),
        )
        for n in range(SITES)
    )
    of4 = list(map(IPv4Network, zip(table.begins4.tolist(), table.lengths4.tolist(), strict=True)))
    of6 = [
        IPv6Network((begin << 64, length))
        for begin, length in zip(table.begins6.tolist(), table.lengths6.tolist(), strict=True)
    ]
    outside = GROUPS - SITES
    groups = tuple(PrefixGroup(f"g{n}", (*of4[n::outside], *of6[n::outside])) for n in range(outside))
    sites = tuple(Site(f"s{n}", "eu") for n in range(SITES))
    classes = tuple(TrafficClass(name, frozenset(dscps)) for name, dscps in _CLASSES)
    return Inventory(sites, routers), Peering(groups=groups), Intents(classes)


def networks_file(table: Table, file: Path) -> Path:
    """Write the same table as pmacct reads it."""
    with file.open("w") as out:
        out.writelines(f"{net}\n" for n in range(SITES) for net in (prefix4(n), prefix6(n)))
        octets = table.begins4.astype(">u4").view(np.uint8).reshape(-1, 4).tolist()
        out.writelines(
            "{}.{}.{}.{}/{}\n".format(*each, length)
            for each, length in zip(octets, table.lengths4.tolist(), strict=True)
        )
        out.writelines(
            f"{begin >> 48:x}:{begin >> 32 & 65535:x}:{begin >> 16 & 65535:x}:{begin & 65535:x}::/{length}\n"
            for begin, length in zip(table.begins6.tolist(), table.lengths6.tolist(), strict=True)
        )
    return file
