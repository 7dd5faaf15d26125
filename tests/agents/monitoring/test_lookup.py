"""Longest prefix match over columns agrees with trying every prefix."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.agents.monitoring.lookup import NONE, PrefixTable

# Few distinct bits, so that prefixes nest, repeat and touch.
v4_addresses = st.integers(0, 255).map(lambda n: (n & 0xF0) << 24 | (n & 0x0F)) | st.sampled_from([0, 2**32 - 1])
v6_addresses = st.integers(0, 255).map(lambda n: (n & 0xF0) << 120 | (n & 0x0F)) | st.sampled_from([0, 2**128 - 1])
v4_prefixes = st.builds(
    lambda a, n: IPv4Network((a, n), strict=False), v4_addresses, st.sampled_from([0, 1, 4, 8, 29, 30, 31, 32])
)
v6_prefixes = st.builds(
    lambda a, n: IPv6Network((a, n), strict=False), v6_addresses, st.sampled_from([0, 1, 4, 8, 64, 125, 126, 127, 128])
)


def tried(prefixes, address):
    """Oracle: the longest prefix that holds the address, by looking at each; of equal ones the first."""
    holding = [
        (-prefix.prefixlen, row)
        for row, prefix in enumerate(prefixes)
        if prefix.version == address.version and address in prefix
    ]
    return min(holding)[1] if holding else NONE


@settings(max_examples=150, deadline=None)
@given(st.lists(v4_prefixes | v6_prefixes, max_size=12), st.lists(v4_addresses), st.lists(v6_addresses))
def test_the_longest_prefix_is_found_as_by_trying_all(prefixes, v4, v6):
    table = PrefixTable(prefixes)
    assert table.find4(np.array(v4, np.uint32)).tolist() == [tried(prefixes, IPv4Address(a)) for a in v4]
    halves = np.array([(a >> 64, a & (1 << 64) - 1) for a in v6], np.uint64).reshape(-1, 2)
    assert table.find6(halves).tolist() == [tried(prefixes, IPv6Address(a)) for a in v6]


def test_a_table_without_prefixes_finds_nothing():
    assert PrefixTable([]).find4(np.array([0, 1, 2**32 - 1], np.uint32)).tolist() == [NONE] * 3
