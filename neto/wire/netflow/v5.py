"""NetFlow v5: one fixed header and one fixed record (Cisco, "NetFlow Export Datagram Format", version 5)."""

from __future__ import annotations

import struct

from neto.wire.netflow.templates import Field, Layout

HEADER = struct.Struct("!HHIIIIBBH")  # version, count, uptime ms, seconds, ns, flow sequence, engine type, id, sampling
INTERVAL_MASK = 0x3FFF  # of the sampling field; the upper two bits are its mode

_PADDING = 210  # paddingOctets
LAYOUT = Layout(
    [
        Field(8, 4),  # source, destination, next hop
        Field(12, 4),
        Field(15, 4),
        Field(10, 2),  # interfaces
        Field(14, 2),
        Field(2, 4),  # packets, octets
        Field(1, 4),
        Field(22, 4),  # first and last, ms of uptime
        Field(21, 4),
        Field(7, 2),  # ports
        Field(11, 2),
        Field(_PADDING, 1),
        Field(6, 1),  # TCP flags, protocol, tos
        Field(4, 1),
        Field(5, 1),
        Field(16, 2),  # AS numbers, mask lengths
        Field(17, 2),
        Field(9, 1),
        Field(13, 1),
        Field(_PADDING, 2),
    ]
)
