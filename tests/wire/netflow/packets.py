"""Export packets written octet by octet, for what no encoder of ours would send."""

from __future__ import annotations

import struct


def v9(*sets, domain=1, sequence=0, uptime_ms=100_000, seconds=1_000):
    return struct.pack("!HHIIII", 9, len(sets), uptime_ms, seconds, sequence, domain) + b"".join(sets)


def ipfix(*sets, domain=1, sequence=0, seconds=1_000):
    body = b"".join(sets)
    return struct.pack("!HHIII", 10, 16 + len(body), seconds, sequence, domain) + body


def v5(*records, count=None, sequence=0, sampling=0, engine=0):
    header = struct.pack(
        "!HHIIIIHH", 5, len(records) if count is None else count, 100_000, 1_000, 0, sequence, engine, sampling
    )
    return header + b"".join(records)


def v5_record(octets=1000, packets=1, tos=0):
    return struct.pack(
        "!IIIHHIIIIHHBBBBHHBBH",
        *(0x0A000001, 0x0A010001, 0, 3, 4, packets, octets, 90_000, 95_000),
        *(1, 2, 0, 0, 17, tos, 0, 0, 0, 0, 0),
    )


def a_set(number, body):
    return struct.pack("!HH", number, 4 + len(body)) + body


def specifiers(*fields):
    """(element, length) or (element, length, enterprise)."""
    return b"".join(
        struct.pack("!HH", *field) if len(field) == 2 else struct.pack("!HHI", field[0] | 0x8000, *field[1:])
        for field in fields
    )


def template(number, *fields):
    return struct.pack("!HH", number, len(fields)) + specifiers(*fields)


def v9_options_template(number, scope, options):
    return struct.pack("!HHH", number, 4 * len(scope), 4 * len(options)) + specifiers(*scope, *options)


def ipfix_options_template(number, scope, options):
    return struct.pack("!HHH", number, len(scope) + len(options), len(scope)) + specifiers(*scope, *options)


def whole(*values):
    """(value, octets) pairs, or bytes as they are, one after the other."""
    return b"".join(v if isinstance(v, bytes) else v[0].to_bytes(v[1], "big") for v in values)
