"""Cutting steps into tasks, and comparing what was read back with what was wanted."""

from dataclasses import replace as changed

import pytest

from neto.model.sr import Segment, SegmentList, SidKind
from neto.scheduler.task import Task, TaskKind, differences, tasks_of
from tests.scheduler.plans import adjust, announce, install, plan, policy, remove, replace, state, withdraw


def test_a_device_has_one_task_for_each_kind_of_agent_and_time():
    moves = [adjust("nyc1", med=1), remove("nyc1", colour=9), announce("nyc1"), install("nyc1", 16001)]
    moves += [announce("lon1"), withdraw("nyc1")]
    tasks = tasks_of(plan(moves).steps[0], 3)
    assert [(task.step, task.device, task.kind, len(task.moves)) for task in tasks] == [
        (3, "nyc1", TaskKind.POLICIES, 1),
        (3, "nyc1", TaskKind.ROUTES, 2),
        (3, "lon1", TaskKind.ROUTES, 1),
        (3, "nyc1", TaskKind.REMOVALS, 1),
        (3, "nyc1", TaskKind.ANNOUNCEMENTS, 1),
    ]
    assert sorted(map(str, moves)) == sorted(str(move) for task in tasks for move in task.moves)


def test_policies_are_installed_before_others_are_replaced():
    (task,) = tasks_of(plan([replace("nyc1", 16002, colour=1), install("nyc1", 16001, colour=2)]).steps[0], 0)
    assert [str(move.kind) for move in task.moves] == ["install-policy", "replace-policy"]


def task(*moves):
    return Task(0, "nyc1", TaskKind.POLICIES, moves)


LISTS = (SegmentList((Segment(16001), Segment(16005)), 3), SegmentList((Segment(24003),), 1))


@pytest.mark.parametrize(
    "shown",
    [
        LISTS,
        LISTS[::-1],
        (SegmentList((Segment(16001, SidKind.NODE, "lon1"), Segment(16005, SidKind.NODE, "par1")), 3), LISTS[1]),
    ],
)
def test_a_policy_with_the_same_labels_and_weights_is_the_same(shown):
    wanted = changed(install("nyc1", 1), policy=changed(policy("nyc1", 1), segment_lists=LISTS))
    there = changed(wanted, policy=changed(wanted.policy, segment_lists=shown))
    assert differences(task(wanted), state(there)) == ()


@pytest.mark.parametrize(
    "shown",
    [
        LISTS[:1],
        (*LISTS, LISTS[0]),
        (changed(LISTS[0], weight=2), LISTS[1]),
        (changed(LISTS[0], segments=LISTS[0].segments[::-1]), LISTS[1]),
        (LISTS[0], SegmentList((Segment(24004),), 1)),
    ],
)
def test_a_policy_with_other_labels_or_weights_differs(shown):
    wanted = changed(install("nyc1", 1), policy=changed(policy("nyc1", 1), segment_lists=LISTS))
    there = changed(wanted, policy=changed(wanted.policy, segment_lists=shown))
    assert differences(task(wanted), state(there)) == ("policy 1001 to 10.255.0.5 differs",)


def test_a_mapping_of_code_points_is_compared():
    wanted = changed(policy("nyc1"), segment_lists=(), per_flow=((-1, 1003), (46, 1001)))
    move = changed(install("nyc1"), policy=wanted)
    other = changed(move, policy=changed(wanted, per_flow=((-1, 1003), (46, 1002))))
    assert differences(task(move), state(move)) == ()
    assert differences(task(move), state(other)) == ("policy 1001 to 10.255.0.5 differs",)


def test_a_route_is_compared_by_next_hop_and_colour_alone():
    move = announce("nyc1", colour=1000)
    shown = changed(move, route=changed(move.route, local_preference=100))
    assert differences(task(move), state(shown)) == ()
    for other in (announce("nyc1", colour=1100), announce("nyc1", next_hop="10.255.0.4")):
        assert differences(task(move), state(other)) == ("route 10.5.0.0/18 differs",)


def test_an_adjustment_is_compared_by_all_that_it_says():
    move, name = adjust("nyc1", med=5), "announcement of 10.5.0.0/18 to 100.64.1.2"
    assert differences(task(move), state(move)) == ()
    for other in (adjust("nyc1", med=6), adjust("nyc1", prepend=(5,)), adjust("nyc1", community="5:5")):
        assert differences(task(move), state(other)) == (f"{name} differs",)
    assert differences(task(move), state(adjust("nyc1", peer="100.64.1.6", med=5))) == (f"{name} is missing",)
    assert differences(task(adjust("nyc1")), state(move)) == (f"{name} is still there",)


def test_what_should_be_there_and_is_not_and_the_reverse():
    assert differences(task(install("nyc1", 1), announce("nyc1")), state()) == (
        "policy 1001 to 10.255.0.5 is missing",
        "route 10.5.0.0/18 is missing",
    )
    assert differences(task(remove("nyc1"), withdraw("nyc1")), state(install("nyc1", 1), announce("nyc1"))) == (
        "policy 1001 to 10.255.0.5 is still there",
        "route 10.5.0.0/18 is still there",
    )
    assert differences(task(remove("nyc1"), withdraw("nyc1")), state()) == ()


def test_what_the_moves_do_not_speak_of_is_not_looked_at():
    assert differences(task(install("nyc1", 1)), state(install("nyc1", 1), install("nyc1", 2, colour=77))) == ()
