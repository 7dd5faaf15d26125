"""NetFlow v5: one fixed header and one fixed record (Cisco, "NetFlow Export Datagram Format", version 5)."""

from __future__ import annotations

import struct

from neto.wire.netflow.templates import fixed

HEADER = struct.Struct("!HHIIIIBBH")  # version, count, uptime ms, seconds, ns, flow sequence, engine type, id, sampling
INTERVAL_MASK = 0x3FFF  # of the sampling field; the upper two bits are its mode

_PADDING = 210  # paddingOctets
LAYOUT = fixed(
    (8, 4),  # source, destination, next hop
    (12, 4),
    (15, 4),
    (10, 2),  # interfaces
    (14, 2),
    (2, 4),  # packets, octets
    (1, 4),
    (22, 4),  # first and last, ms of uptime
    (21, 4),
    (7, 2),  # ports
    (11, 2),
    (_PADDING, 1),
    (6, 1),  # TCP flags, protocol, tos
    (4, 1),
    (5, 1),
    (16, 2),  # AS numbers, mask lengths
    (17, 2),
    (9, 1),
    (13, 1),
    (_PADDING, 2),
)
