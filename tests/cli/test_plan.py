"""`neto plan` on a stored cycle. Oracle: the judge of router state, in the orders of moves that it tries."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import pytest

from neto.cli.main import main
from neto.controller.cycle import decide
from neto.operation import report
from neto.store.protocol import Process, TaskEntry
from neto.store.sqlite import open_store
from tests.controller.wans import Judge, capacities, moved, snapshot

EXAMPLE = Path(__file__).parents[2] / "neto.toml"


@pytest.fixture
def config(tmp_path):
    """The example's settings, with a state directory of its own and a shift limit to be filled in."""

    def write(max_shift):
        text = EXAMPLE.read_text(encoding="utf-8")
        assert "[safety]" in text
        lines = [line for line in text.splitlines() if not line.startswith(("max_shift", "max_moves"))]
        lines.insert(lines.index("[safety]") + 1, f"max_shift = {max_shift}")
        (tmp_path / "neto.toml").write_text("\n".join(lines), encoding="utf-8")
        return tmp_path / "neto.toml"

    return write


def stored(tmp_path, now, decision, *, pushed=False):
    async def write():
        (tmp_path / "state").mkdir()
        async with await open_store(tmp_path / "state" / "neto.db") as store:
            epoch = await store.take_lead(Process(1, 1, "here"), 1.0, at=1.0)
            cycle = await store.begin_cycle(epoch, 1.0, now, portion=1.0)
            await store.decide_cycle(epoch, cycle, decision, urgency=str(decision.plan.urgency))
            await store.put_documents(epoch, {"plan": report.plan(decision.plan, cycle)}, at=1.0)
            if pushed:
                await store.record_tasks(epoch, [TaskEntry(cycle, 0, "r0", "routes", "verified", 1)])

    asyncio.run(write())


def run(capsys, *arguments):
    """Return exit code and standard output."""
    sys.argv = ["neto", *map(str, arguments)]
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().out


@pytest.fixture(scope="module")
def change():
    now = snapshot(random.Random(11), busiest=1.05)
    decision = decide(now)
    assert len(decision.plan.steps) > 1
    return now, decision


def test_the_worst_of_each_link_and_step_is_at_least_what_any_order_shows(config, change, tmp_path, capsys):
    now, decision = change
    stored(tmp_path, now, decision)
    code, out = run(capsys, "plan", "--config", config(100), "--json")
    assert code == 0
    told = json.loads(out)
    links = {link["id"]: link for link in told["links"]}
    judge, rng, state = Judge(now), random.Random(1), now.running
    capacity = capacities(now)
    for number, step in enumerate(decision.plan.steps):
        assert max(link["steps"][number] for link in told["links"]) == pytest.approx(step.worst_utilisation)
        for _ in range(3):
            moves = rng.sample(step.moves, len(step.moves))
            for count in range(len(moves) + 1):
                for link, loads in judge.loads(moved(state, moves[:count])).items():
                    assert sum(loads.values()) / capacity[link] <= links[link]["steps"][number] + 1e-6
        state = moved(state, step.moves)
    before = judge.loads(now.running)
    assert {link: sum(loads.values()) / capacity[link] for link, loads in before.items()} == pytest.approx(
        {name: link["before"] for name, link in links.items() if link["before"]}
    )


def test_a_plan_over_the_shift_limit_that_was_not_pushed_is_a_no(config, change, tmp_path, capsys):
    stored(tmp_path, *change)
    code, out = run(capsys, "plan", "--config", config(1))
    assert code == 1
    assert "neto approve" in out
    assert "Worst utilisation in any order" in out


def test_a_plan_that_has_begun_waits_for_nobody(config, change, tmp_path, capsys):
    stored(tmp_path, *change, pushed=True)
    code, out = run(capsys, "plan", "--config", config(1))
    assert code == 0
    assert "step 2" in out


def test_without_a_plan_that_is_said(config, tmp_path, capsys):
    async def empty():
        (tmp_path / "state").mkdir()
        async with await open_store(tmp_path / "state" / "neto.db"):
            pass

    asyncio.run(empty())
    code, _ = run(capsys, "plan", "--config", config(100))
    assert code == 1
