"""Bytes in are bytes out: in the matrix, in the unknown row, or counted as left out. Exactly, however many there are.

The oracle sums the exported columns with numpy and Python integers, before any of them was packed.
"""

from __future__ import annotations

import struct
import time
from ipaddress import ip_network

import numpy as np
import pytest

from neto.agents.monitoring.classify import Classifier
from neto.agents.monitoring.demand import FlowAggregator
from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Peering
from neto.wire.netflow import Decoder

T0 = 1_800_000_000
SAMPLING = 1000
ROUTERS = tuple(
    Router(
        *(f"r{n}", "s", "", "lab", ""),
        exporters=(f"192.0.2.{n}",),
        prefixes=(ip_network((10 << 24 | n << 16, 16)),),
        core_interfaces=frozenset({7}),
    )
    for n in range(20)
)
INTENTS = Intents((TrafficClass("gold", frozenset({46})), TrafficClass("rest")))
COLUMNS = {"src": ">u4", "dst": ">u4", "octets": ">u4", "tos": "u1", "in_if": ">u2", "direction": "u1"}
RECORD = np.dtype(list({**COLUMNS, "start": ">u8", "end": ">u8"}.items()))
FIELDS = ((8, 4), (12, 4), (1, 4), (5, 1), (10, 2), (61, 1), (152, 8), (153, 8))
SETUP = struct.pack("!HHHH", 2, 8 + 4 * len(FIELDS), 256, len(FIELDS)) + b"".join(
    struct.pack("!HH", *field) for field in FIELDS
)
OPTIONS = struct.pack("!HHHHHHHHH", 3, 18, 257, 2, 1, 149, 4, 34, 4) + struct.pack("!HHII", 257, 12, 0, SAMPLING)


def message(*sets):
    body = b"".join(sets)
    return struct.pack("!HHIII", 10, 16 + len(body), T0, 0, 0) + body


def flows(chance, count, now_ms):
    """Flows of every kind: known, local and unknown destinations, WAN interfaces, egress; short, long, odd times."""
    rows = np.zeros(count, RECORD)
    rows["dst"] = (10 << 24) + (chance.integers(0, 24, count) << 16) + chance.integers(0, 1 << 16, count)
    rows["octets"] = chance.integers(0, 1 << 32, count)
    rows["tos"] = chance.choice([0, 46 << 2, 255], count)
    rows["in_if"] = chance.integers(5, 8, count)
    rows["direction"] = chance.random(count) < 0.1
    rows["end"] = now_ms - chance.choice([0, 500, 30_000, 10**12], count, p=[0.6, 0.2, 0.19, 0.01])
    rows["start"] = rows["end"] - chance.choice([0, 1000, 60_000, 10**9], count, p=[0.3, 0.4, 0.25, 0.05])
    return rows


def conserved(total, active_timeout_s=60.0, batch=1200):
    chance = np.random.default_rng(3)
    decoder = Decoder()
    windows = []
    classifier = Classifier(Inventory((Site("s", "eu"),), ROUTERS), Peering(), INTENTS)
    aggregator = FlowAggregator(classifier, 10.0, active_timeout_s=active_timeout_s, closed=windows.append)
    aggregator.roll(T0)
    expected = dict.fromkeys(("received", "ignored", "local", "unknown", "matched"), 0)
    by_source = dict.fromkeys(range(len(ROUTERS)), 0)
    done, spent = 0, 0.0
    while done < total:
        now = T0 + done * 300 / total
        n = int(chance.integers(len(ROUTERS)))
        rows = flows(chance, batch, int(now * 1000))
        octets, to = rows["octets"].astype(np.uint64) * np.uint64(SAMPLING), (rows["dst"] >> 16) & 255
        ignored = (rows["direction"] == 1) | (rows["in_if"] == 7)
        masks = {"received": np.ones(batch, bool), "ignored": ignored, "local": ~ignored & (to == n)}
        masks |= {"unknown": ~ignored & (to >= 20), "matched": ~ignored & (to != n) & (to < 20)}
        for name, mask in masks.items():
            expected[name] += int(octets[mask].sum())
        by_source[n] += int(octets[masks["matched"]].sum())
        packed = rows.tobytes()
        packet = message(SETUP, OPTIONS, struct.pack("!HH", 256, 4 + len(packed)) + packed)
        (decoded,) = decoder.decode(packet, f"192.0.2.{n}", now).flows
        began = time.perf_counter()
        aggregator.add(decoded, f"r{n}", now)
        spent += time.perf_counter() - began
        done += batch
    aggregator.flush(T0 + 301)
    account = aggregator.account
    for name in ("received", "ignored", "local"):
        assert getattr(account, name) == expected[name]
    assert account.matched + account.unknown + account.before == expected["matched"] + expected["unknown"]
    assert sum(int(window.octets.sum()) for window in windows) == account.matched
    assert sum(sum(window.unknown.values()) for window in windows) == account.unknown
    left_out = 0
    for n, counted in by_source.items():
        cells = sum(int(w.octets[w.space.source_rows(w.cells) == n].sum()) for w in windows)
        assert cells <= counted
        left_out += counted - cells
    assert left_out == expected["matched"] - account.matched
    assert account.before == 0 if active_timeout_s == 0 else 0 < account.before < account.received / 4
    return spent / total


@pytest.mark.parametrize("active_timeout_s", [0.0, 60.0])
def test_every_octet_of_a_hundred_thousand_flows_is_accounted_for(active_timeout_s):
    conserved(100_000, active_timeout_s)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_octet_of_ten_million_flows_is_accounted_for():
    print(f"\n{conserved(10_000_000) * 1e9:.0f} ns a flow in the aggregator")  # noqa: T201
