"""Flow records as columns, and what has to become of their octets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .table import CORE, DSCPS, SITES, Table

FATES = ("matched", "unknown", "ignored", "local")
_NOWHERE = 100 << 24 | 64 << 16  # 100.64.0.0/10 and 2001:dead::/32, which are in no table
_NOWHERE6 = 0x2001DEAD << 32


class Flows(NamedTuple):
    """(flows,) each; addresses are (flows, 16) octets for IPv6."""

    src4: np.ndarray
    dst4: np.ndarray
    src6: np.ndarray
    dst6: np.ndarray
    octets: np.ndarray
    packets: np.ndarray
    in_if: np.ndarray
    out_if: np.ndarray
    src_port: np.ndarray
    dst_port: np.ndarray
    protocol: np.ndarray
    tos: np.ndarray
    next_hop: np.ndarray
    next_hop6: np.ndarray
    asn: np.ndarray
    started_ms: np.ndarray  # before the export
    ended_ms: np.ndarray
    fate: np.ndarray  # row of FATES, at the router that exports it


def flows(table: Table, exporter, seed=2, *, six=None) -> Flows:
    """Make flows that the routers of these numbers export, (flows,).

    Half go to sites, nearly all others to prefixes outside by Zipf's law, 2 % to where no prefix is. Three of five
    last less than a second, one of ten up to an active timeout of 60 s; each is told within 15 s of its end.
    six: whether each is IPv6.
    """
    chance = np.random.default_rng(seed)
    n = len(exporter)
    six = np.zeros(n, bool) if six is None else six
    where = chance.choice(3, n, p=(0.5, 0.48, 0.02))  # a site, outside, nowhere
    site = chance.integers(0, SITES, n)
    host = chance.integers(0, 1 << 32, n, np.uint64)
    src4, site4 = (
        10 << 24 | each << 16 | host & 0xFFFF for each in (exporter.astype(np.uint64), site.astype(np.uint64))
    )
    row = (len(table.begins4) ** chance.random(n)).astype(np.int64) - 1
    out4 = table.begins4[row] | host & (0xFFFFFFFF >> table.lengths4[row].astype(np.uint64))
    dst4 = np.choose(where, (site4, out4, _NOWHERE | host & 0x3FFFFF))
    row = (len(table.begins6) ** chance.random(n)).astype(np.int64) - 1
    out6 = table.begins6[row] | host & (2**64 - 1 >> table.lengths6[row].astype(np.uint64))
    dst6 = np.choose(where, (_site6(site), out6, _NOWHERE6 | host))
    packets = np.minimum((chance.pareto(1.2, n) + 1) * 4, 1e5).astype(np.uint64)
    in_if = chance.integers(1, 50, n)
    lasted = np.choose(
        chance.choice(3, n, p=(0.6, 0.3, 0.1)),
        (chance.integers(0, 1000, n), chance.integers(0, 15_000, n), chance.integers(30_000, 60_000, n)),
    )
    ended = chance.integers(0, 15_000, n)
    fate = np.choose(where, (0, 0, 1))
    fate[(where == 0) & (site == exporter)] = 3
    fate[np.isin(in_if, list(CORE))] = 2
    return Flows(
        src4,
        dst4,
        _sixteen(_site6(exporter), host),
        _sixteen(dst6, host),
        packets * chance.integers(60, 1500, n, np.uint64),
        packets,
        in_if,
        chance.integers(1, 50, n),
        chance.integers(1024, 65536, n),
        chance.choice((443, 80, 8080, 53), n),
        chance.choice((6, 17), n, p=(0.85, 0.15)),
        chance.choice(DSCPS, n, p=(0.6, 0.1, 0.1, 0.08, 0.07, 0.05)) << 2,
        172 << 24 | chance.integers(0, 64, n),
        _sixteen(_site6(site), np.ones(n, np.uint64)),
        chance.integers(1, 65000, n),
        ended + lasted,
        ended,
        fate,
    )


def _site6(site):
    """Upper half of an address of each site."""
    return 0x20010DB8 << 32 | site.astype(np.uint64) << 16


def _sixteen(upper, lower):
    return np.stack([upper, lower], axis=1).astype(">u8").view(np.uint8)
