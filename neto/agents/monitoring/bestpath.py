"""Which route a border prefers, for all prefixes at once (RFC 4271 §9.1, RFC 4456 §9).

Candidates are a matrix: a row for each table (or for each path of a prefix, where peers tell several), a column for
each prefix, in it the row of the attributes or -1. Each rule strikes candidates out; what is left at last is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import numpy as np
import numpy.typing as npt

from neto.wire.bgp import Attributes

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int32]

DEFAULT_LOCAL_PREF = 100
_NOBODY = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False, slots=True)
class Columns:
    """What the rules compare, by row of the attributes. (attributes,) each."""

    local_pref: Ints
    path_length: Ints
    origin: Ints
    med: Ints
    neighbor_as: Ints
    originator: Ints  # -1: none
    clusters: Ints
    hop: Ints  # number of the next hop
    hops: tuple[str, ...]  # by that number

    @classmethod
    def of(cls, attributes: Sequence[Attributes | None]) -> Columns:
        """Take the columns out; free rows are never looked at."""
        hops: dict[str, int] = {}
        rows = [
            (
                DEFAULT_LOCAL_PREF if a.local_pref is None else a.local_pref,
                a.path_length,
                a.origin,
                a.med or 0,
                a.neighbor_as,
                -1 if a.originator_id is None else a.originator_id,
                len(a.cluster_list),
                hops.setdefault(a.next_hop, len(hops)),
            )
            if a is not None
            else (0,) * 8
            for a in attributes
        ]
        preference, length, origin, med, neighbor, originator, clusters, hop = np.array(rows, np.int64).reshape(-1, 8).T
        return cls(preference, length, origin, med, neighbor, originator, clusters, hop, tuple(hops))


@dataclass(frozen=True, slots=True)
class Source:
    """Who told a row of candidates."""

    address: str
    bgp_id: str
    internal: bool  # iBGP
    itself: bool = False  # the router itself, to us: its eBGP routes are those that bear no ORIGINATOR_ID


def best_rows(
    candidates: Rows,
    sources: Sequence[Source],
    columns: Columns,
    interior: Mapping[str, float] | None = None,
) -> Rows:
    """Return which row of candidates each prefix's best route is in, (prefixes,); -1 where there is none.

    candidates: (tables, prefixes), row of the attributes or -1; tables of one border. interior: IGP metric from the
    border to next hops; one that is missing in it cannot be reached by iBGP (RFC 4271 §9.1.2.1). None: all are near.

    Age of a route does not count, so routers must compare identifiers as the RFC has it (`compare-routerid`). A router
    that tells its routes itself does not say whose they are: where identifiers would decide, its lowest next hop does.
    """
    if not len(sources):
        return np.full(candidates.shape[1], -1, np.int32)
    there = candidates >= 0
    told = columns.originator[candidates]
    itself = np.array([source.itself for source in sources])[:, None]
    internal = np.array([source.internal for source in sources])[:, None] & ~(itself & (told < 0))
    metric = np.zeros(candidates.shape, np.float64)
    if interior is not None:
        by_hop = np.array([interior.get(hop, np.inf) for hop in columns.hops], np.float64)
        metric = np.where(internal & there, by_hop[columns.hop[candidates]], 0.0)
        there &= np.isfinite(metric)
    ids = np.array([int(ip_address(source.bgp_id)) for source in sources], np.int64)[:, None]
    addresses = _ranks([ip_address(source.address).packed for source in sources])[:, None]
    _keep_least(there, -columns.local_pref[candidates])
    _keep_least(there, columns.path_length[candidates])
    _keep_least(there, columns.origin[candidates])
    _strike_med(there, columns.med[candidates], columns.neighbor_as[candidates])
    _keep_least(there, internal.astype(np.int64))
    _keep_least(there, metric)
    _keep_least(there, np.where(told >= 0, told, ids))
    _keep_least(there, columns.clusters[candidates])
    hops = _ranks([ip_address(hop).packed for hop in columns.hops])
    _keep_least(there, np.where(itself, hops[columns.hop[candidates]], addresses))
    return np.where(there.any(axis=0), there.argmax(axis=0), -1).astype(np.int32)


def _keep_least(there: Bools, value: Ints | npt.NDArray[np.float64]) -> None:
    """Strike out what is not least among what is there."""
    least = np.where(there, value, np.inf if value.dtype.kind == "f" else _NOBODY).min(axis=0)
    there &= value == least


def _strike_med(there: Bools, med: Ints, neighbor: Ints) -> None:
    """Strike out what has a higher MED than another from the same AS (RFC 4271 §9.1.2.2 c)."""
    for one in range(len(there)):
        there &= ~(there[one] & (neighbor == neighbor[one]) & (med > med[one]))


def _ranks(addresses: Sequence[bytes]) -> Ints:
    """Place of each address; IPv4 before IPv6."""
    order = sorted(set(addresses), key=lambda address: (len(address), address))
    place = {address: number for number, address in enumerate(order)}
    return np.array([place[address] for address in addresses], np.int64)
