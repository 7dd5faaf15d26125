"""REPETITA's text format: what it says is what is read, and what cannot be read is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neto.errors import InputError
from neto.model.demand import Demand
from neto.model.topology import Link
from neto.wire.repetita import read_demands, read_graph

GRAPH = """NODES 3
label x y
a -74.0 40.7
b 1 2
c 0 0

EDGES 3
label src dest weight bw delay
edge_0 0 1 10 9953280 1913
edge_1 1 0 20 1000 0
edge_2 1 2 1 0.5 2.5
"""
DEMANDS = """DEMANDS 2
label src dest bw
demand_0 0 2 300632
demand_1 2 2 0
"""


def written(path, text):
    path.write_text(text)
    return path


def problems_of(reader, path, text, *more):
    with pytest.raises(InputError) as caught:
        reader(written(path, text), *more)
    assert all(problem.file == str(path) for problem in caught.value.problems)
    return [(problem.line, problem.key) for problem in caught.value.problems]


def test_a_graph_is_read_with_its_units(tmp_path):
    topology = read_graph(written(tmp_path / "g", GRAPH))
    assert [node.name for node in topology.nodes] == ["a", "b", "c"]
    assert topology.links == (
        Link("edge_0", "a", "b", 9953.28, 1913.0, 10),
        Link("edge_1", "b", "a", 1.0, 0.0, 20),
        Link("edge_2", "b", "c", 0.0005, 2.5, 1),
    )


def test_demands_are_read_into_their_class(tmp_path):
    topology = read_graph(written(tmp_path / "g", GRAPH))
    assert read_demands(written(tmp_path / "d", DEMANDS), topology, "gold") == (
        Demand("demand_0", "gold", "a", "c", 300.632),
        Demand("demand_1", "gold", "c", "c", 0.0),
    )


def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path):
    path = tmp_path / "g"
    path.write_bytes(b"\xef\xbb\xbf" + GRAPH.replace("\n", "\r\n").encode())
    assert read_graph(path).links == read_graph(written(tmp_path / "h", GRAPH)).links


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("9953280", "nan", [(9, "bw")]),
        ("9953280", "-1", [(9, "bw")]),
        ("9953280", "1e999", [(9, "bw")]),
        ("9953280", "1_000", [(9, "bw")]),
        ("1913", "inf", [(9, "delay")]),
        ("0 1 10", "0 3 10", [(9, "dest")]),
        ("0 1 10", "-1 1 10", [(9, "src")]),
        ("0 1 10", "0 b 10", [(9, "dest")]),
        ("0 1 10", "0 0 10", [(9, "dest")]),
        ("0 1 10", "0 1 0", [(9, "weight")]),
        ("0 1 10", "0 1 1.5", [(9, "weight")]),
        ("0 1 10 9953280 1913", "0 1 10 9953280", [(9, "")]),
        ("edge_1", "edge_0", [(10, "label")]),
        ("b 1 2", "a 1 2", [(4, "label")]),
        ("b 1 2", "b one 2", [(4, "x")]),
        ("EDGES 3", "EDGES 4", [(11, "EDGES")]),
        ("EDGES 3", "EDGES 2", [(11, "EDGES")]),
        ("NODES 3", "NODES 2", [(5, "NODES")]),
        ("NODES 3", "NODES many", [(1, "NODES")]),
        ("label x y", "label y x", [(2, "NODES")]),
        ("edge_2 1 2 1 0.5 2.5\n", "edge_2 1 2 1 0.5 2.5\nDEMANDS 0\n", [(12, "")]),
    ],
)
def test_what_is_wrong_in_a_graph_is_named_with_its_line(tmp_path, old, new, expected):
    assert problems_of(read_graph, tmp_path / "g", GRAPH.replace(old, new, 1)) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0 2 300632", "0 3 300632", [(3, "dest")]),
        ("300632", "NaN", [(3, "bw")]),
        ("300632", "-0.5", [(3, "bw")]),
        ("demand_1", "demand_0", [(4, "label")]),
        ("demand_1 2 2 0\n", "", [(3, "DEMANDS")]),
        ("DEMANDS 2", "NODES 2", [(1, "DEMANDS")]),
    ],
)
def test_what_is_wrong_in_demands_is_named_with_its_line(tmp_path, old, new, expected):
    topology = read_graph(written(tmp_path / "g", GRAPH))
    assert problems_of(read_demands, tmp_path / "d", DEMANDS.replace(old, new, 1), topology, "gold") == expected


def test_all_problems_are_named_at_once(tmp_path):
    text = GRAPH.replace("9953280", "nan").replace("b 1 2", "b x 2").replace("0.5", "-5")
    assert problems_of(read_graph, tmp_path / "g", text) == [(4, "x"), (9, "bw"), (11, "bw")]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\n\n", b"{}"])
def test_a_file_that_is_no_graph_is_one_problem(tmp_path, content):
    path = tmp_path / "g"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_graph(path)
    assert len(caught.value.problems) == 1


def test_a_missing_file_is_a_problem(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_graph(tmp_path / "absent")


@given(cut=st.integers(0, len(GRAPH) - 2))
def test_a_truncated_graph_is_never_taken_for_a_whole_one(tmp_path_factory, cut):
    path = tmp_path_factory.getbasetemp() / "cut"
    path.write_text(GRAPH[:cut])
    whole = GRAPH.rstrip("\n").split("\n")
    try:
        read = read_graph(path)
    except InputError:
        return
    # Only the last number can have lost digits unnoticed.
    assert len(read.links) == 3
    assert GRAPH[:cut].split("\n")[:-1] == whole[:-1]
