"""What is torn, unknown or does not add up in an allocation file is named; what was written is read back."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from neto.errors import InputError
from neto.model.allocation import Allocation, ClassReport, PathSet
from neto.model.demand import Demand
from neto.model.sr import Segment, SidKind
from neto.model.topology import Link, Node, NodeKind, Topology
from neto.wire.allocation_file import allocation_document, read_allocation

GRAPH = Topology(
    (Node("a"), Node("b"), Node("c")),
    (Link("ab", "a", "b", 100.0, 5.0), Link("bc", "b", "c", 100.0, 5.0), Link("ac", "a", "c", 50.0, 20.0)),
)
JOINT = Topology((*GRAPH.nodes, Node("isp", NodeKind.ISP)), (*GRAPH.links, Link("out", "c", "isp", 30.0, igp_metric=0)))
ALLOCATION = Allocation(
    JOINT,
    (
        Demand("d0", "gold", "a", "c", 60.0),
        Demand("d0", "bronze", "a", "eyeballs", 40.0),
        Demand("d1", "gold", "b", "b", 1.0),
    ),
    PathSet(
        np.array([0, 2, 4, 5]), np.array([0, 2, 3, 6, 8, 8]), np.array([0, 1, 2, 0, 1, 3, 2, 3], dtype=np.int32),
        np.array([10.0, 20.0, 110.0, 120.0, 0.0]),
    ),
    np.array([40.0, 20.0, 0.0, 25.0, 1.0]),
    (ClassReport("gold", "optimal", 0.5, 61.0, 61.0), ClassReport("bronze", "optimal", 0.25, 40.0, 25.0)),
)  # fmt: skip
SEGMENTS = {
    0: (Segment(16, SidKind.NODE, "c"),),
    1: (Segment(24, SidKind.ADJACENCY, "ac"),),
    3: (Segment(24, SidKind.ADJACENCY, "ac"), Segment(25, SidKind.PEER, "out")),
    4: (),
}
DOCUMENT = allocation_document(ALLOCATION, SEGMENTS, 1.0)


def read(tmp_path, document):
    path = tmp_path / "a.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_allocation(path, GRAPH)


def keys(tmp_path, document):
    with pytest.raises(InputError) as caught:
        read(tmp_path, document)
    return [problem.key for problem in caught.value.problems]


def test_the_document_has_the_shape_that_is_promised():
    assert DOCUMENT["links"][0] == {"id": "ab", "source": "a", "target": "b", "capacity_mbps": 100.0, "load_mbps": 40.0}
    assert DOCUMENT["demands"][0] == {
        "id": "d0", "class": "gold", "source": "a", "target": "c", "requested_mbps": 60.0, "allocated_mbps": 60.0,
        "paths": [
            {"links": ["ab", "bc"], "rate_mbps": 40.0, "delay_us": 10.0, "segments": ["c"]},
            {"links": ["ac"], "rate_mbps": 20.0, "delay_us": 20.0, "segments": ["link:ac"]},
        ],
    }  # fmt: skip
    assert [path["segments"] for path in DOCUMENT["demands"][1]["paths"]] == [["link:ac", "link:out"]]
    assert DOCUMENT["solver"] == {
        "seconds": 1.0,
        "classes": [
            {"class": "gold", "seconds": 0.5, "status": "optimal"},
            {"class": "bronze", "seconds": 0.25, "status": "optimal"},
        ],
    }


def test_what_was_written_is_read_back(tmp_path):
    again = read(tmp_path, DOCUMENT)
    assert again.topology == JOINT
    assert again.demands == ALLOCATION.demands
    assert again.classes == ALLOCATION.classes
    assert again.allocated_mbps.tolist() == ALLOCATION.allocated_mbps.tolist()
    assert again.load_mbps.tolist() == ALLOCATION.load_mbps.tolist()
    assert [again.paths.path(row) for row in range(4)] == [(0, 1), (2,), (2, 3), ()]


def changed(change):
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


def put(value, *where):
    def change(document):
        at = document
        for step in where[:-1]:
            at = at[step]
        at[where[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("neto-allocation/2", "format"), "format"),
        (put(float("nan"), "demands", 0, "requested_mbps"), "demands[0].requested_mbps"),
        (put(-1, "demands", 0, "paths", 0, "rate_mbps"), "demands[0].paths[0].rate_mbps"),
        (put(True, "demands", 0, "paths", 0, "delay_us"), "demands[0].paths[0].delay_us"),
        (put(10**400, "demands", 0, "paths", 0, "delay_us"), "demands[0].paths[0].delay_us"),
        (put("60", "demands", 0, "requested_mbps"), "demands[0].requested_mbps"),
        (put(10, "demands", 0, "requested_mbps"), "demands[0].allocated_mbps"),
        (put(59, "demands", 0, "allocated_mbps"), "demands[0].allocated_mbps"),
        (put(["ab", "zz"], "demands", 0, "paths", 0, "links"), "demands[0].paths[0].links[1]"),
        (put(["ab"], "demands", 0, "paths", 0, "links"), "demands[0].paths[0].links"),
        (put(["bc"], "demands", 0, "paths", 0, "links"), "demands[0].paths[0].links[0]"),
        (put(["ac"], "demands", 0, "paths", 0, "links"), "demands[0].paths[1]"),
        (put(["ac"], "demands", 1, "paths", 0, "links"), "demands[1].paths[0].links"),
        (put("z", "demands", 0, "source"), "demands[0].source"),
        (put("gold", "demands", 1, "class"), "demands[1]"),
        (put(None, "demands", 0, "paths"), "demands[0].paths"),
        (put(99, "links", 0, "capacity_mbps"), "links[0].capacity_mbps"),
        (put(39, "links", 0, "load_mbps"), "links[0].load_mbps"),
        (put("c", "links", 0, "target"), "links[0]"),
        (put("bc", "links", 0, "id"), "links[1].id"),
        (put("b", "links", 3, "target"), "links[3].id"),
        (put([], "demands"), "links[0].load_mbps"),
        (put("gold", "solver", "classes", 1, "class"), "solver.classes[1].class"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(tmp_path, change, expected):
    assert expected in keys(tmp_path, changed(change))


@pytest.mark.parametrize("text", ["", "[", "[]", "null", '{"format": 1, "format": 2}', "[" * 100_000, "\xff"])
def test_what_is_no_allocation_is_refused(tmp_path, text):
    with pytest.raises(InputError):
        read(tmp_path, text)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_allocation(tmp_path / "absent", GRAPH)


def test_a_torn_file_is_refused_wherever_it_ends(tmp_path):
    text = json.dumps(DOCUMENT)
    for end in range(0, len(text) - 1, 17):
        with pytest.raises(InputError):
            read(tmp_path, text[:end])
