"""`neto solve` from files to files, checked against what the files say rather than against the code."""

from __future__ import annotations

import json
import sys
from collections import defaultdict

import pytest

from neto.cli.main import main
from neto.wire.allocation_file import read_allocation
from neto.wire.repetita import read_graph

GRAPH = """NODES 4
label x y
london 0 0
paris 1 0
frankfurt 2 0
oslo 3 0

EDGES 8
label src dest weight bw delay
lp 0 1 10 1000000 400
pl 1 0 10 1000000 400
pf 1 2 10 1000000 500
fp 2 1 10 1000000 500
lf 0 2 30 400000 700
fl 2 0 30 400000 700
fo 2 3 10 1000000 900
of 3 2 10 1000000 900
"""
GOLD = "DEMANDS 2\nlabel src dest bw\na 0 2 900000\nb 1 1 5000\n"
BRONZE = "DEMANDS 2\nlabel src dest bw\na 0 2 900000\nc 0 3 300000\n"
PEERING = """
[[isp]]
name = "isp-a"
asn = 64500
[[peering_link]]
name = "fra-a-1"
node = "frankfurt"
isp = "isp-a"
capacity_mbps = 500
[[peering_link]]
name = "par-a-1"
node = "paris"
isp = "isp-a"
capacity_mbps = 100
[[prefix_group]]
name = "eu-eyeballs"
prefixes = ["192.0.2.0/24"]
[[egress]]
prefix_group = "eu-eyeballs"
peering_link = "fra-a-1"
delay_us = 8200
[[egress]]
prefix_group = "eu-eyeballs"
peering_link = "par-a-1"
delay_us = 100
[[demand]]
id = "d1"
class = "silver"
source = "london"
prefix_group = "eu-eyeballs"
rate_mbps = 250
"""


@pytest.fixture
def files(tmp_path):
    for name, text in (("g.graph", GRAPH), ("gold", GOLD), ("bronze", BRONZE), ("peering.toml", PEERING)):
        (tmp_path / name).write_text(text)
    return tmp_path


def neto(monkeypatch, capsys, *arguments):
    """Run the command; exit code, standard output, lines of standard error."""
    monkeypatch.setattr(sys, "argv", ["neto", "solve", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err.splitlines()


def check_document(document, delays=None):
    """What any answer must satisfy, from the document alone."""
    links = {link["id"]: link for link in document["links"]}
    load = defaultdict(float)
    for demand in document["demands"]:
        assert sum(path["rate_mbps"] for path in demand["paths"]) == pytest.approx(demand["allocated_mbps"])
        assert demand["allocated_mbps"] <= demand["requested_mbps"] * (1 + 1e-9)
        for path in demand["paths"]:
            assert path["rate_mbps"] > 0
            at, visited = demand["source"], {demand["source"]}
            for name in path["links"]:
                assert links[name]["source"] == at
                at = links[name]["target"]
                assert at not in visited
                visited.add(at)
                load[name] += path["rate_mbps"]
            assert at == demand["target"] or at.startswith("isp")
            if delays is not None:
                assert path["delay_us"] == pytest.approx(sum(delays[name] for name in path["links"]))
    for name, link in links.items():
        assert link["load_mbps"] == pytest.approx(load[name])
        assert link["load_mbps"] <= link["capacity_mbps"]


DELAYS = {"lp": 400, "pl": 400, "pf": 500, "fp": 500, "lf": 700, "fl": 700, "fo": 900, "of": 900}


def test_classes_are_served_in_the_order_given(files, monkeypatch, capsys):
    out = files / "out.json"
    code, shown, errors = neto(
        monkeypatch, capsys, "--graph", files / "g.graph", "--json", out,
        "--demands", f"gold={files / 'gold'}", "--demands", f"bronze={files / 'bronze'}",
    )  # fmt: skip
    assert (code, errors) == (0, [])
    assert "bronze" in shown
    document = json.loads(out.read_text())
    check_document(document, DELAYS)
    assert document["format"] == "neto-allocation/1"
    by_name = {(demand["class"], demand["id"]): demand for demand in document["demands"]}
    # 1400 Mbit/s leave london; gold takes 900 (shortest first: 400 direct), bronze shares the other 500 fairly.
    gold = by_name["gold", "a"]
    assert gold["allocated_mbps"] == pytest.approx(900)
    assert gold["paths"][0]["links"] == ["lf"]
    assert gold["paths"][0]["rate_mbps"] == pytest.approx(400)
    assert gold["paths"][0]["segments"] == ["link:lf"]  # the IGP goes by paris
    assert gold["paths"][1]["segments"] == ["frankfurt"]
    assert by_name["gold", "b"]["allocated_mbps"] == 5  # from paris to paris
    assert by_name["bronze", "a"]["allocated_mbps"] == pytest.approx(250)
    assert by_name["bronze", "c"]["allocated_mbps"] == pytest.approx(250)
    assert [each["class"] for each in document["solver"]["classes"]] == ["gold", "bronze"]
    # The reader takes what the writer wrote.
    again = read_allocation(out, read_graph(files / "g.graph"))
    assert again.load_mbps.tolist() == pytest.approx([link["load_mbps"] for link in document["links"]])
    assert [each.traffic_class for each in again.classes] == ["gold", "bronze"]


def test_a_bare_file_is_the_default_class_and_a_dash_is_standard_output(files, monkeypatch, capsys):
    code, shown, errors = neto(
        monkeypatch, capsys, "--graph", files / "g.graph", "--demands", files / "bronze", "--json", "-"
    )
    assert (code, errors) == (0, [])
    document = json.loads(shown)
    check_document(document, DELAYS)
    assert {demand["class"] for demand in document["demands"]} == {"default"}


def test_a_prefix_group_leaves_by_both_exits(files, monkeypatch, capsys):
    out = files / "out.json"
    code, _, errors = neto(
        monkeypatch, capsys, "--graph", files / "g.graph", "--json", out, "--peering", files / "peering.toml",
        "--demands", f"gold={files / 'gold'}",
    )  # fmt: skip
    assert (code, errors) == (0, [])
    document = json.loads(out.read_text())
    check_document(document)
    demand = next(demand for demand in document["demands"] if demand["class"] == "silver")
    assert demand["target"] == "eu-eyeballs"
    assert demand["allocated_mbps"] == pytest.approx(250)
    near, far = demand["paths"][:2]
    assert near["links"] == ["lp", "par-a-1"]
    assert near["delay_us"] == 500
    assert near["rate_mbps"] == pytest.approx(100)
    assert near["segments"] == ["paris", "link:par-a-1"]
    assert far["links"][-1] == "fra-a-1"
    assert {key: value for key, value in document["links"][8].items() if key != "load_mbps"} == {
        "id": "fra-a-1",
        "source": "frankfurt",
        "target": "isp-a",
        "capacity_mbps": 500.0,
    }
    again = read_allocation(out, read_graph(files / "g.graph"))
    assert [link.id for link in again.topology.links][-2:] == ["fra-a-1", "par-a-1"]


def test_headroom_stays_free(files, monkeypatch, capsys):
    code, shown, _ = neto(
        monkeypatch, capsys, "--graph", files / "g.graph", "--demands", files / "bronze", "--json", "-",
        "--headroom", "0.25",
    )  # fmt: skip
    assert code == 0
    document = json.loads(shown)
    assert max(link["load_mbps"] / link["capacity_mbps"] for link in document["links"]) == pytest.approx(0.75)


def test_paths_that_need_too_many_segments_are_not_used(files, monkeypatch, capsys):
    code, shown, _ = neto(
        monkeypatch, capsys, "--graph", files / "g.graph", "--demands", files / "bronze", "--json", "-",
        "--max-sids", "1",
    )  # fmt: skip
    assert code == 0
    document = json.loads(shown)
    check_document(document, DELAYS)
    assert all(len(path["segments"]) <= 1 for demand in document["demands"] for path in demand["paths"])
    to_oslo = next(demand for demand in document["demands"] if demand["id"] == "c")
    assert [path["links"] for path in to_oslo["paths"]] == [["lp", "pf", "fo"]]  # lf, fo would take two


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a 0 2 900000", "a 0 2 NaN", "3: bw"),
        ("a 0 2 900000", "a 0 2 -1", "3: bw"),
        ("a 0 2 900000", "a 0 9 900000", "3: dest"),
        ("DEMANDS 2", "DEMANDS 3", "4: DEMANDS"),
    ],
)
def test_bad_demands_exit_2_with_file_and_line(files, monkeypatch, capsys, old, new, expected):
    (files / "gold").write_text(GOLD.replace(old, new))
    code, shown, errors = neto(monkeypatch, capsys, "--graph", files / "g.graph", "--demands", files / "gold")
    assert (code, shown) == (2, "")
    assert len(errors) == 1
    assert errors[0].startswith(f"{files / 'gold'}:{expected}: ")


def test_a_demand_between_unconnected_nodes_exits_2(files, monkeypatch, capsys):
    (files / "g.graph").write_text(
        GRAPH.replace("EDGES 8", "EDGES 6")
        .replace("fo 2 3 10 1000000 900\n", "")
        .replace("of 3 2 10 1000000 900\n", "")
    )
    code, _, errors = neto(monkeypatch, capsys, "--graph", files / "g.graph", "--demands", files / "bronze")
    assert code == 2
    assert len(errors) == 1
    assert errors[0].startswith(f"{files / 'bronze'}:4: c: no path from london to oslo")


@pytest.mark.parametrize(
    ("options", "about"),
    [
        (("--paths", "0"), "--paths"),
        (("--headroom", "1"), "--headroom"),
        (("--headroom", "nan"), "--headroom"),
        (("--max-sids", "0"), "--max-sids"),
    ],
)
def test_an_option_out_of_range_exits_2(files, monkeypatch, capsys, options, about):
    code, _, errors = neto(monkeypatch, capsys, "--graph", files / "g.graph", "--demands", files / "gold", *options)
    assert code == 2
    assert len(errors) == 1
    assert about in errors[0]


def test_all_files_are_complained_about_at_once(files, monkeypatch, capsys):
    (files / "gold").write_text(GOLD.replace("900000", "nan"))
    (files / "peering.toml").write_text(PEERING.replace('node = "paris"', 'node = "rome"'))
    code, _, errors = neto(
        monkeypatch, capsys, "--graph", files / "g.graph", "--demands", f"gold={files / 'gold'}",
        "--demands", f"bronze={files / 'absent'}", "--peering", files / "peering.toml",
    )  # fmt: skip
    assert code == 2
    assert len(errors) == 3
    assert any("rome" in line for line in errors)


def test_no_demands_at_all_exit_2(files, monkeypatch, capsys):
    code, _, errors = neto(monkeypatch, capsys, "--graph", files / "g.graph")
    assert code == 2
    assert "--demands" in errors[0]
