"""`neto transition` from files to files; the judge reads the documents alone."""

from __future__ import annotations

import json
import random
import sys
from itertools import pairwise

import pytest

from neto.cli.main import main

NODES = ("a", "b", "c", "d")
EDGES = [(s, t) for s in range(4) for t in range(4) if s != t]
GRAPH = "\n".join(
    [
        "NODES 4\nlabel x y",
        *(f"{name} 0 0" for name in NODES),
        f"\nEDGES {len(EDGES)}\nlabel src dest weight bw delay",
        *(f"{NODES[s]}{NODES[t]} {s} {t} 1 100000 10" for s, t in EDGES),
        "",
    ]
)


def document(demands, classes, links=()):
    """demands: (class, id, source, target, {path "ab,bc": rate})."""
    known = {f"{NODES[s]}{NODES[t]}": (NODES[s], NODES[t], 100.0) for s, t in EDGES}
    known |= {row[0]: row[1:] for row in links}
    load = dict.fromkeys(known, 0.0)
    rows = []
    for traffic_class, name, source, target, paths in demands:
        for path, rate in paths.items():
            for link in path.split(","):
                load[link] += rate
        rows.append(
            {
                "id": name,
                "class": traffic_class,
                "source": source,
                "target": target,
                "requested_mbps": sum(paths.values()),
                "allocated_mbps": sum(paths.values()),
                "paths": [
                    {"links": path.split(","), "rate_mbps": rate, "delay_us": 10, "segments": []}
                    for path, rate in paths.items()
                ],
            }
        )
    return {
        "format": "neto-allocation/1",
        "links": [
            {"id": link, "source": s, "target": t, "capacity_mbps": capacity, "load_mbps": load[link]}
            for link, (s, t, capacity) in known.items()
        ],
        "demands": rows,
        "solver": {"seconds": 0, "classes": [{"class": name, "seconds": 0, "status": "optimal"} for name in classes]},
    }


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command on two documents: exit code, plan, what was printed."""

    def run(now, then, *options):
        (tmp_path / "g.graph").write_text(GRAPH)
        (tmp_path / "a.json").write_text(now if isinstance(now, str) else json.dumps(now))
        (tmp_path / "b.json").write_text(then if isinstance(then, str) else json.dumps(then))
        monkeypatch.chdir(tmp_path)
        arguments = ["--graph", "g.graph", "--from", "a.json", "--to", "b.json", "--json", "plan.json", *options]
        monkeypatch.setattr(sys, "argv", ["neto", "transition", *arguments])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
        plan = tmp_path / "plan.json"
        return code, json.loads(plan.read_text()) if plan.exists() else None, capsys.readouterr()

    return run


def paths_of(doc):
    return {
        f"{demand['class']}/{demand['id']}": {tuple(path["links"]): path["rate_mbps"] for path in demand["paths"]}
        for demand in doc["demands"]
    }


def judge(now, then, plan, lowered=()):
    """Replay the plan: every mixture within capacity, every rate kept, B at the end. Returns the worst of each step."""
    assert plan["format"] == "neto-plan/1"
    capacity = {link["id"]: link["capacity_mbps"] for link in now["links"]}
    states = [paths_of(now)]
    for step in plan["steps"]:
        moves = {}
        for move in step["moves"]:
            moves[move["demand"]] = {tuple(path["links"]): path["rate_mbps"] for path in move["paths"]}
        assert len(moves) == len(step["moves"]) > 0
        states.append(states[-1] | moves)
    assert states[-1] == paths_of(then)
    worst = []
    for (before, after), step in zip(pairwise(states), plan["steps"], strict=True):
        peak = dict.fromkeys(capacity, 0.0)
        load = dict.fromkeys(capacity, 0.0)
        for demand, paths in before.items():
            for path in {*paths, *after[demand]}:
                for link in path:
                    load[link] += paths.get(path, 0.0)
                    peak[link] += max(paths.get(path, 0.0), after[demand].get(path, 0.0))
        for link, most in peak.items():
            assert most <= max(capacity[link], load[link]) * (1 + 1e-6)
        worst.append(max(most / capacity[link] for link, most in peak.items()))
        assert step["worst_utilisation"] == pytest.approx(worst[-1])
    for demand, old in states[0].items():
        least = min(sum(old.values()), sum(states[-1][demand].values()))
        if demand.split("/")[0] not in lowered:
            assert all(sum(state[demand].values()) >= least * (1 - 1e-6) for state in states)
    return worst


def random_documents(rng, fill):
    """The same demands on other paths, the fullest link of both at `fill`."""
    demands = []
    for row in range(6):
        source, target = rng.sample(range(4), 2)
        via = [node for node in range(4) if node not in (source, target)]
        ways = [NODES[source] + NODES[target]]
        ways += [f"{NODES[source]}{NODES[node]},{NODES[node]}{NODES[target]}" for node in via]
        name, rate = rng.choice(["gold", "bronze"]), rng.uniform(1, 9)
        demands.append((name, f"d{row}", NODES[source], NODES[target], ways, rate))
    docs = []
    for _ in range(2):
        rows = []
        for traffic_class, name, source, target, ways, rate in demands:
            used = rng.sample(ways, rng.randint(1, 2))
            share = rng.random()
            parts = [share, 1 - share] if len(used) == 2 else [1.0]
            rates = {way: rate * part for way, part in zip(used, parts, strict=True)}
            rows.append((traffic_class, name, source, target, rates))
        docs.append(rows)
    most = max(link["load_mbps"] for rows in docs for link in document(rows, ["gold", "bronze"])["links"])
    scaled = [
        [(*row[:4], {way: rate * fill * 100 / most for way, rate in row[4].items()}) for row in rows] for rows in docs
    ]
    return [document(rows, ["gold", "bronze"]) for rows in scaled]


def test_plans_of_random_allocations_hold_for_a_judge_that_knows_the_files_only(run):
    rng = random.Random(1)
    steps = []
    for _ in range(15):
        now, then = random_documents(rng, 0.9)
        code, plan, _ = run(now, then)
        assert code == 0
        judge(now, then, plan)
        steps.append(len(plan["steps"]))
    assert max(steps) > 1


SWAP = [("x", "one", "a", "b", {"ab": 100.0}), ("x", "two", "a", "b", {"ac,cb": 100.0})]
SWAPPED = [("x", "one", "a", "b", {"ac,cb": 100.0}), ("x", "two", "a", "b", {"ab": 100.0})]


def test_where_nothing_can_move_the_lowest_class_is_lowered_and_the_plan_says_so(run):
    now, then = document(SWAP, ["x"]), document(SWAPPED, ["x"])
    code, plan, printed = run(now, then)
    assert code == 0
    judge(now, then, plan, lowered=("x",))
    assert any("slower" in note for note in plan["notes"])
    assert "slower" in printed.out


def test_a_higher_class_is_never_lowered_so_there_may_be_no_safe_plan(run):
    bronze = ("y", "three", "d", "c", {"dc": 10.0})
    now, then = document([*SWAP, bronze], ["x", "y"]), document([*SWAPPED, bronze], ["x", "y"])
    code, plan, printed = run(now, then)
    assert code == 1
    assert plan is None
    assert "ab" in printed.err
    assert "no safe plan" in printed.err


def test_the_same_allocation_twice_needs_no_step(run):
    now = document(SWAP, ["x"])
    assert run(now, now)[:2] == (0, {"format": "neto-plan/1", "steps": []})


def test_rates_and_requests_may_change(run):
    now = document([("x", "one", "a", "b", {"ab": 60.0}), ("x", "two", "a", "b", {"ac,cb": 90.0})], ["x"])
    then = document([("x", "one", "a", "b", {"ab": 95.0}), ("x", "two", "a", "b", {"ad,db": 20.0})], ["x"])
    code, plan, _ = run(now, then)
    assert code == 0
    judge(now, then, plan)


def test_peering_links_count_as_links(run):
    links = [("p1", "b", "isp", 50.0), ("p2", "c", "isp", 50.0)]
    ways = {"ab,p1": 45.0}, {"ac,p2": 45.0}
    now = document([("x", "one", "a", "group", ways[0]), ("x", "two", "a", "group", ways[1])], ["x"], links)
    then = document([("x", "one", "a", "group", ways[1]), ("x", "two", "a", "group", ways[0])], ["x"], links)
    code, plan, _ = run(now, then)
    assert code == 0
    judge(now, then, plan)
    assert len(plan["steps"]) == 9  # 10 % slack on both exits


def test_an_allocation_with_less_headroom_than_said_is_named(run):
    now, then = document(SWAP[:1], ["x"]), document(SWAPPED[:1], ["x"])
    assert "--from leaves less than 10% free on ab" in run(now, then)[2].err
    assert run(now, then, "--headroom", "0")[2].err == ""


@pytest.mark.parametrize(
    ("then", "named"),
    [
        (SWAP[:1], "x/two"),
        ([*SWAP, ("x", "three", "a", "b", {})], "x/three"),
        ([SWAP[0], ("x", "two", "a", "c", {"ac": 1.0})], "x/two"),
    ],
)
def test_other_demands_are_bad_input(run, then, named):
    code, plan, printed = run(document(SWAP, ["x"]), document(then, ["x"]))
    assert code == 2
    assert plan is None
    assert named in printed.err
    assert "b.json" in printed.err


def test_another_order_of_classes_is_bad_input(run):
    rows = [("x", "one", "a", "b", {"ab": 1.0}), ("y", "one", "a", "b", {"ab": 1.0})]
    code, _, printed = run(document(rows, ["x", "y"]), document(rows, ["y", "x"]))
    assert code == 2
    assert "x, y" in printed.err


def test_a_peering_link_of_another_capacity_is_bad_input(run):
    rows = [("x", "one", "a", "group", {"ab,p1": 1.0})]
    one, other = (document(rows, ["x"], [("p1", "b", "isp", capacity)]) for capacity in (50.0, 60.0))
    code, _, printed = run(one, other)
    assert code == 2
    assert "links.p1" in printed.err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "neto-plan/1"}', '{"format": NaN}'])
def test_a_file_that_is_no_allocation_is_bad_input(run, text):
    code, plan, printed = run(document(SWAP, ["x"]), text)
    assert code == 2
    assert plan is None
    assert "b.json" in printed.err


@pytest.mark.parametrize("headroom", ["-0.1", "1", "nan"])
def test_a_headroom_out_of_range_is_bad_input(run, headroom):
    code, _, printed = run(document(SWAP, ["x"]), document(SWAPPED, ["x"]), "--headroom", headroom)
    assert code == 2
    assert "--headroom" in printed.err


def test_the_view_names_each_link_in_each_step(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    one = [("gold", "x", "a", "b", {"ab": 90}), ("gold", "y", "a", "b", {"ac,cb": 90})]
    other = [("gold", "x", "a", "b", {"ac,cb": 90}), ("gold", "y", "a", "b", {"ab": 90})]
    code, _, printed = run(document(one, ["gold"]), document(other, ["gold"]))
    assert code == 0
    assert "9 steps, each safe in any order" in printed.out
    row = next(line for line in printed.out.splitlines() if line.startswith("ab "))
    assert row.split()[1:] == ["90.0%", *["100.0%"] * 9]


def test_when_the_time_is_up_the_plan_holds_all_the_same(run):
    for seed in range(5):
        now, then = random_documents(random.Random(seed), 0.97)
        code, plan, _ = run(now, then, "--limit", "1e-9")
        assert code == 0
        judge(now, then, plan)


def test_a_limit_of_nothing_is_bad_input(run):
    code, _, printed = run(*random_documents(random.Random(1), 0.9), "--limit", "0")
    assert code == 2
    assert "--limit" in printed.err
