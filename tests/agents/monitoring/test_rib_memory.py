"""What a route costs: the short form of `make bench-peering`, in octets that Python has asked for."""

from __future__ import annotations

import tracemalloc

import pytest

from neto.agents.monitoring.rib import Rib
from neto.wire.bgp import Family, UpdateReader
from neto.wire.bmp import Peer, PeerKind, View
from tests.wire.bgp.octets import attributes, sequence, update, word

BORDERS, PEERS, PREFIXES = 4, 2, 400
MOST_OCTETS = 600  # a route: of 800,000 less than 500 MB
PEER = [Peer(PeerKind.GLOBAL, 0, f"192.0.2.{n}", 64500 + n, f"192.0.2.{n}") for n in range(PEERS)]


@pytest.mark.parametrize("several", [False, True])
def test_a_route_of_which_four_share_their_attributes_costs_a_few_hundred_octets(several):
    add_path = frozenset([Family.IPV4] if several else [])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        rib, reader = Rib(65000, 900), UpdateReader()
        for border in range(BORDERS):
            rib.session_up(f"b{border}", 0.0)
            for number, peer in enumerate(PEER):
                for at in range(0, PREFIXES, 4):
                    path = sequence(64500 + number, 1 + border, 70_000 + at % 977, 100_000 + at)
                    told = attributes(path, f"192.0.2.{number}", communities=[(64500, at % 99), (64500, border)])
                    mark = word(number + 1) if several else b""
                    for one in range(at, at + 4):  # a message each, as FRR tells them
                        read = reader.read(update(told, mark + b"\x18" + word((11 << 16) + one, 3)), add_path=add_path)
                        rib.update(f"b{border}", PEER[0] if several else peer, View.IN_POST, read, 0.0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rib.routes == BORDERS * PEERS * PREFIXES
    assert after - before < MOST_OCTETS * rib.routes
