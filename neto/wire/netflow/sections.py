"""Records that hold the first octets of a sampled packet (PSAMP, RFC 5476) as flow records of one packet each.

Inline monitoring of routers exports these: what the octets say of addresses, TOS and size stands in columns then as if
the record itself had said so. What is not IP has no addresses and the octets of its frame: it is nobody's traffic that
we know, and it is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neto.wire.netflow import elements as e
from neto.wire.netflow.frames import in_ethernet, in_ip
from neto.wire.netflow.records import Records
from neto.wire.netflow.templates import Section

_TELLS: dict[tuple[int, ...], str] = {  # elements of which the first is told, where a record tells none of them
    (8,): ">u4",
    (12,): ">u4",
    (27,): "S16",
    (28,): "S16",
    e.OCTETS: ">u8",
    e.PACKETS: ">u8",
    (*e.TOS, e.DSCP): "u1",
}
_V4 = 4  # octets of an address


def flows(records: Records, sections: Sequence[memoryview], section: Section) -> Records:
    """Return records with what their sections tell. sections: (records,)."""
    dtype = records.rows.dtype
    names = dtype.names or ()
    more = [(str(of[0]), how) for of, how in _TELLS.items() if not any(str(element) in names for element in of)]
    rows: npt.NDArray[Any] = np.zeros(len(records), [*((name, dtype[name]) for name in names), *more])
    for name in names:
        rows[name] = records.rows[name]
    told = {name for name, _ in more}
    sizes = records.first((e.FRAME_SIZE,)).tolist()
    for row, octets, size in zip(rows, sections, sizes, strict=True):
        frame = size or len(octets)
        packet = in_ip(octets, frame) if section.is_ip else in_ethernet(octets, frame)
        values: dict[str, Any] = {"1": frame, "2": 1}
        if packet is not None:
            values |= {"1": packet.octets, "5": packet.tos}
            if len(packet.dst) == _V4:
                values |= {"8": int.from_bytes(packet.src, "big"), "12": int.from_bytes(packet.dst, "big")}
            else:
                values |= {"27": packet.src, "28": packet.dst}
        for name in told & values.keys():
            row[name] = values[name]
    return Records(rows)
