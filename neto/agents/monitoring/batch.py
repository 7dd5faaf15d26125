"""Flow records of any number of exporters as the columns that are counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neto.model.demand_window import Numbers
from neto.wire.netflow import Flows

Seconds = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Halves = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Columns, (records,) each."""

    source: Numbers  # row of the router that exported it, in the classifier's space
    octets: npt.NDArray[np.uint64]  # as exported
    sampling: Seconds  # at least 1
    dscp: Numbers
    in_if: npt.NDArray[np.uint64]
    egress: Bools  # observed where it left
    family: npt.NDArray[np.uint8]  # 4, 6, or 0: no addresses
    dst4: npt.NDArray[np.uint32]  # right where the family is 4
    dst6: Halves  # (records, 2), halves in host order, right where the family is 6
    start: Seconds  # unix seconds by the exporter's clock; NaN: not told
    end: Seconds
    skew_s: Seconds  # by how much the exporter's clock is ahead of ours

    def __len__(self) -> int:
        return len(self.octets)


def batch_of(flows: Flows, source: int, skew_s: float) -> Batch:
    """Take the records of one exporter."""
    count, dst4, dst6 = len(flows), flows.dst4, flows.dst6
    return Batch(
        np.full(count, source),
        flows.octets,
        flows.sampling,
        (flows.tos >> np.uint64(2)).astype(np.int64),
        flows.in_if,
        flows.egress,
        flows.family,
        np.zeros(count, np.uint32) if dst4 is None else dst4,
        np.zeros((count, 2), np.uint64) if dst6 is None else halves(dst6),
        flows.start,
        flows.end,
        np.full(count, skew_s),
    )


def halves(addresses: npt.NDArray[np.bytes_]) -> Halves:
    """IPv6 addresses, (n,) S16 in network order, as (n, 2) numbers."""
    return np.ascontiguousarray(addresses, "S16").view(">u8").reshape(-1, 2).astype(np.uint64)
