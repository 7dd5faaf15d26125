"""Flow records of any number of exporters as the columns that are counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neto.model.demand_window import Numbers
from neto.wire.netflow import Flows

Seconds = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Columns, (records,) each. What is one for all records may be a single number."""

    source: Numbers | int  # row of the router that exported it, in the classifier's space
    octets: npt.NDArray[np.uint64]  # as exported
    sampling: Seconds  # at least 1
    dscp: Numbers
    in_if: npt.NDArray[np.uint64]
    egress: Bools  # observed where it left
    family: npt.NDArray[np.uint8]  # 4, 6, or 0: no addresses
    dst4: npt.NDArray[np.uint32] | None  # right where the family is 4
    dst6: npt.NDArray[np.bytes_] | None  # S16, right where the family is 6
    start: Seconds  # unix seconds by the exporter's clock; NaN: not told
    end: Seconds
    skew_s: Seconds | float  # by how much the exporter's clock is ahead of ours

    def __len__(self) -> int:
        return len(self.octets)


def batch_of(flows: Flows, source: int, skew_s: float) -> Batch:
    """Take the records of one exporter."""
    return Batch(
        source,
        flows.octets,
        flows.sampling,
        (flows.tos >> np.uint64(2)).astype(np.int64),
        flows.in_if,
        flows.egress,
        flows.family,
        flows.dst4,
        flows.dst6,
        flows.start,
        flows.end,
        skew_s,
    )
