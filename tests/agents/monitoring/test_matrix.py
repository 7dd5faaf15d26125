"""Windows become rates: each router's mean is over the windows that heard it."""

from __future__ import annotations

from ipaddress import ip_network

import numpy as np

from neto.agents.monitoring.matrix import demand_matrix
from neto.model.demand_window import CellSpace, DemandWindow, TopPrefix

NET = ip_network("10.0.0.0/8")
SPACE = CellSpace(("a", "b"), (("x", NET),), ("gold",))


def window(number, octets, heard, **more):
    cells = np.flatnonzero(octets)
    begins = 10.0 * number
    return DemandWindow(begins, begins + 10, SPACE, cells, np.array(octets)[cells], heard=frozenset(heard), **more)


def rates(matrix):
    return {rate.source: rate.rate_mbps for rate in matrix.rates}


def test_octets_of_a_window_that_did_not_hear_their_router_make_no_rate():
    matrix = demand_matrix(
        [window(0, [1_250_000, 2_500_000], "b"), window(1, [2_500_000, 0], "ab")], SPACE, frozenset("ab")
    )
    assert rates(matrix) == {"a": 2.0, "b": 1.0}
    assert (matrix.begins, matrix.ends, matrix.missing_exporters) == (0, 20, frozenset())


def test_a_router_that_the_last_window_did_not_hear_is_missing_and_has_no_rate():
    matrix = demand_matrix([window(0, [5, 5], "ab"), window(1, [5, 5], "b")], SPACE, frozenset("ab"))
    assert set(rates(matrix)) == {"b"}
    assert matrix.missing_exporters == {"a"}


def test_the_unknown_is_a_rate_by_source_and_by_prefix_over_the_same_time():
    top = (TopPrefix("a", NET, 1_250_000),)
    windows = [
        window(0, [0, 0], "b"),
        window(1, [0, 0], "ab", unknown={"a": 2_500_000, "": 1}, top=top, missing_leaves=frozenset({"fra"})),
    ]
    matrix = demand_matrix(windows, SPACE, frozenset())
    assert [(each.source, each.rate_mbps) for each in matrix.unknown] == [("a", 2.0), ("", 4e-7)]
    assert [(each.source, each.prefix, each.rate_mbps) for each in matrix.unknown_prefixes] == [("a", NET, 1.0)]
    assert matrix.unknown_mbps == sum(each.rate_mbps for each in matrix.unknown)
    assert matrix.missing_leaves == {"fra"}
