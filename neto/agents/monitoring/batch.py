"""Flow records of one exporter as the columns that are counted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neto.wire.netflow import Flows
from neto.wire.netflow.kernel import Columns

Halves = npt.NDArray[np.uint64]


def columns_of(flows: Flows) -> Columns:
    """Return the records of one exporter and domain, each of row 0."""
    count, dst4, dst6 = len(flows), flows.dst4, flows.dst6
    return Columns(
        peer=np.zeros(count, np.int32),
        domain=np.zeros(count, np.int32),
        octets=flows.octets,
        sampling=flows.sampling,
        dscp=(flows.tos >> np.uint64(2)).astype(np.uint8),
        in_if=flows.in_if,
        egress=flows.egress,
        family=flows.family,
        dst4=np.zeros(count, np.uint32) if dst4 is None else dst4,
        dst6=np.zeros((count, 2), np.uint64) if dst6 is None else halves(dst6),
        start=flows.start,
        end=flows.end,
    )


def halves(addresses: npt.NDArray[np.bytes_]) -> Halves:
    """IPv6 addresses, (n,) S16 in network order, as (n, 2) numbers."""
    return np.ascontiguousarray(addresses, "S16").view(">u8").reshape(-1, 2).astype(np.uint64)
