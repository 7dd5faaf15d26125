"""The information elements that are read, and which stands for what (IANA IPFIX registry; v9 shares its numbers).

Where several elements can tell the same thing, they stand in order of preference, and a record's first one counts.
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """How an element is written."""

    UNSIGNED = 0  # exporters may shorten any (RFC 7011 §6.2)
    IPV4 = 1
    IPV6 = 2
    FLOAT = 3


# Octets that an element may have, by its kind, in the order of `Kind`.
LENGTHS = {Kind.UNSIGNED: range(1, 9), Kind.IPV4: (4,), Kind.IPV6: (16,), Kind.FLOAT: (4, 8)}

# Counters: of this report (delta) before of the flow's whole life (total), as observed before as changed on the way.
# initiator* (231, 298) are the firewalls' word for the direction from src to dst.
OCTETS = (1, 231, 23, 352, 85, 171)
PACKETS = (2, 298, 24, 86, 172)

TOS = (5, 55)
DSCP = 195  # six bits only
IN_IF = (10, 252)
OUT_IF = (14, 253)
DIRECTION = 61  # 0 ingress, 1 egress

SRC4, DST4 = (8, 44), (12, 45)  # an address, else its prefix
SRC6, DST6 = (27, 170), (28, 169)

# Flow start and end, by unit.
SECONDS = (150, 151)
MILLISECONDS = (152, 153)
MICROSECONDS = (154, 155)  # both as NTP timestamps (RFC 7011 §6.1.9)
NANOSECONDS = (156, 157)
BEFORE_EXPORT_US = (158, 159)
UPTIME_MS = (22, 21)
EVENT_MS = 323  # observationTimeMilliseconds: the end of what an event record reports
SYSTEM_INIT_MS = 160

# Sampling.
INTERVAL = (34, 50)  # one packet in so many
PACKET_INTERVAL, PACKET_SPACE = 305, 306  # so many packets, then so many left out (RFC 5477 §8.2)
SIZE, POPULATION = 309, 310
PROBABILITY = 311
SAMPLER = (48, 302)  # flowSamplerID, selectorId
# Of a sampled packet (PSAMP, RFC 5477 §8.4): its first octets, and how many the whole frame has.
IP_SECTION = 313
FRAME_SECTIONS = (315, 104)
FRAME_SIZE = 312

TEMPLATE_ID = 145  # scope of an options record

_UNSIGNED = (
    *OCTETS,
    *PACKETS,
    *TOS,
    DSCP,
    *IN_IF,
    *OUT_IF,
    DIRECTION,
    *SECONDS,
    *MILLISECONDS,
    *MICROSECONDS,
    *NANOSECONDS,
    *BEFORE_EXPORT_US,
    *UPTIME_MS,
    EVENT_MS,
    SYSTEM_INIT_MS,
    *INTERVAL,
    PACKET_INTERVAL,
    PACKET_SPACE,
    SIZE,
    POPULATION,
    *SAMPLER,
    FRAME_SIZE,
    TEMPLATE_ID,
)

KINDS: dict[int, Kind] = {
    **dict.fromkeys(_UNSIGNED, Kind.UNSIGNED),
    **dict.fromkeys((*SRC4, *DST4), Kind.IPV4),
    **dict.fromkeys((*SRC6, *DST6), Kind.IPV6),
    PROBABILITY: Kind.FLOAT,
}

# NetFlow v9 names scopes by numbers of their own (RFC 3954 §6.1); the ones that matter, as the element they mean.
V9_SCOPES = {2: IN_IF[0], 5: TEMPLATE_ID}
