"""The set that is as unlike the uniform one as networks are: 200 exporters, v9 and IPFIX, each with four templates.

Eight makers order their fields differently, and all number their templates alike. Exporters and templates come in
random order, IPv6 mixed in, one packet of five with two sets. Each exporter has two samplers, told by options.
"""

from __future__ import annotations

import struct

import numpy as np

from .flows import flows
from .packets import IPV4, TEMPLATE, Field, Packet, Set, Stream, layout, message, stream, templates
from .table import SITES

_MAKERS, _MOST_OCTETS, _MOST_RECORDS = 8, 1400, 24
_IPV6 = "src6 dst6 src_port dst_port protocol tos flags direction in_if out_if next_hop6"
_SHORT4 = "src4 dst4 src_port dst_port protocol tos in_if out_if"
_SHORT6 = "src6 dst6 src_port dst_port protocol tos in_if out_if"
_KINDS = ((IPV4, (8, 8)), (_SHORT4, (4, 4)), (_IPV6, (8, 8)), (_SHORT6, (8, 4)))
_SHARES = (0.5, 0.25, 0.15, 0.1)
_EXTRAS = ("src_as dst_as", "src_mask dst_mask", "src_vlan dst_vlan", "icmp")
_OPTIONS = TEMPLATE + len(_KINDS)
_SAMPLER = {9: Field("sampler", 48, 1), 10: Field("sampler", 302, 8)}  # FLOW_SAMPLER_ID; selectorId


def mixed(table, flow_count: int, seed=3) -> Stream:
    """Make packets with so many flows, a few more or less."""
    chance = np.random.default_rng(seed)
    versions = [9 if n % 2 else 10 for n in range(SITES)]
    layouts = [each for maker in range(_MAKERS) for each in _of_maker(maker, chance)]
    intervals = chance.choice((1, 10, 100, 1000, 4096), (SITES, 2))
    packets, made = [], 0
    while made < flow_count:
        exporter = int(chance.integers(SITES))
        kinds = chance.choice(len(_KINDS), 1 + (chance.random() < 0.2), p=_SHARES, replace=False)
        sets = []
        for kind in kinds.tolist():
            row = exporter % _MAKERS * len(_KINDS) + kind
            fit = min(_MOST_RECORDS, _MOST_OCTETS // layouts[row].dtype.itemsize)
            sets.append(Set(row, fit // len(kinds), int(chance.integers(1, 3))))
        packets.append(Packet(exporter, tuple(sets)))
        made += sum(each.records for each in sets)
    told = [(packet.exporter, each) for packet in packets for each in packet.sets]
    counts = [each.records for _, each in told]
    exporters = np.repeat([exporter for exporter, _ in told], counts)
    six = np.repeat([each.layout % len(_KINDS) > 1 for _, each in told], counts)
    sampling = intervals[exporters, np.repeat([each.sampler - 1 for _, each in told], counts)]
    preamble = []
    for exporter, version in enumerate(versions):
        first = exporter % _MAKERS * len(_KINDS)
        preamble.append((exporter, templates(version, layouts[first : first + len(_KINDS)])))
        preamble.append((exporter, _options(version, intervals[exporter].tolist())))
    columns = flows(table, exporters, six=six)
    return stream(packets, versions, layouts, columns, preamble, data_before=2, sampling=sampling)


def _of_maker(maker, chance):
    """Return four templates; even makers' are of IPFIX, as the even exporters are."""
    version = 9 if maker % 2 else 10
    for kind, (names, counters) in enumerate(_KINDS):
        chosen = f"{names} {_EXTRAS[maker // 2]}".split() if kind in (0, 2) else names.split()
        ordered = " ".join(chance.permutation(chosen)) if maker > 1 else " ".join(chosen)
        yield layout(version, ordered, counters, _SAMPLER[version])._replace(number=TEMPLATE + kind)


def _options(version: int, intervals) -> bytes:
    """Tell what samplers 1 and 2 leave out."""
    if version == 9:  # RFC 3954 section 6.1; one in `interval`, at random
        fields = struct.pack("!HHHHHHHHHHH", _OPTIONS, 4, 12, 1, 4, 48, 1, 49, 1, 50, 4)
        rows = [struct.pack("!IBBI", 0, n, 2, each) for n, each in enumerate(intervals, 1)]
        return message(9, [(1, fields), (_OPTIONS, b"".join(rows))], 1)
    # RFC 7011 section 3.4.2.2, RFC 5477 section 8.2: one packet taken, `interval` - 1 left out
    fields = struct.pack("!HHHHHHHHHHH", _OPTIONS, 4, 1, 302, 8, 304, 2, 305, 4, 306, 4)
    rows = [struct.pack("!QHII", n, 1, 1, each - 1) for n, each in enumerate(intervals, 1)]
    return message(10, [(3, fields), (_OPTIONS, b"".join(rows))])
