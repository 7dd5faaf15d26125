"""A plan's progress under every order of events. Oracle: a judge with a book of its own on orders and answers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.scheduler.progress import End, Ended, Patience, Progress, Push, ReadBack, TaskState
from neto.scheduler.task import TaskKind
from tests.scheduler.plans import ROUTERS, announce, constraints, install, plan, remove

PATIENCE = Patience(reads=3)
HASTE = Patience(reads=2)
move_makers = st.sampled_from(
    [lambda device: install(device, 16001), announce, lambda device: remove(device, colour=9)]
)
steps = st.lists(
    st.lists(st.tuples(st.sampled_from(ROUTERS), move_makers), min_size=1, max_size=6).map(
        lambda chosen: [make(device) for device, make in chosen]
    ),
    max_size=3,
)


class Judge:
    """Checks each order when it is given, knowing only the plan and what it told the progress itself."""

    def __init__(self, steps, concurrency):
        self.steps = steps
        self.concurrency = concurrency
        self.open = []  # orders not yet answered
        self.pushes = {}  # task -> how often ordered
        self.reads = {}  # task -> how often told
        self.verified = set()  # tasks
        self.gave_up = set()  # tasks
        self.interrupted = False
        self.ended = None

    def verified_moves(self, number):
        return sorted(str(move) for task in self.verified if task.step == number for move in task.moves)

    def take(self, orders):
        for order in orders:
            assert self.ended is None
            if isinstance(order, Ended):
                self.check_end(order)
            else:
                self.open.append(order)
                if isinstance(order, Push):
                    self.check_push(order.task)
                    self.pushes[order.task] = self.pushes.get(order.task, 0) + 1
                busy = [each.task.device for each in self.open]
                assert len(busy) == len(set(busy)) <= self.concurrency
        assert self.open or self.ended is not None  # never stuck

    def check_push(self, task):
        assert not self.gave_up
        assert task not in self.verified
        assert self.pushes.get(task, 0) < 2
        for number in range(task.step):  # the barrier: each earlier step is verified, move by move
            assert self.verified_moves(number) == sorted(map(str, self.steps[number]))
        kinds = list(TaskKind)
        before = {str(m) for m in self.steps[task.step] if m.key.headend == task.device} - set(map(str, task.moves))
        ready = {str(m) for t in self.verified if t.step == task.step and t.device == task.device for m in t.moves}
        later = {str(m) for m in self.steps[task.step] if kind_of(m) > kinds.index(task.kind)}
        assert before - later <= ready

    def check_end(self, order):
        self.ended = order
        assert self.open == []
        whole = all(self.verified_moves(number) == sorted(map(str, step)) for number, step in enumerate(self.steps))
        assert (order.end is End.DONE) == whole
        assert (order.end is End.FAILED) == bool(self.gave_up)
        if order.end is End.INTERRUPTED:
            assert self.interrupted
            assert set(self.pushes) == self.verified


def kind_of(move):
    return {"install-policy": 0, "replace-policy": 0, "route": 1, "remove-policy": 2}[str(move.kind)]


@settings(max_examples=200, deadline=None)
@given(steps, st.integers(1, 4), st.data())
def test_whatever_happens_the_rules_are_kept(steps, concurrency, data):
    def admits(_device, busy):
        return not busy or (len(busy) < concurrency and data.draw(st.booleans(), "admits"))

    progress = Progress(plan(*steps), admits, lambda _: "", HASTE)
    judge = Judge(steps, concurrency)
    doubtful = set()
    judge.take(progress.begin())
    while judge.ended is None:
        if not judge.interrupted and data.draw(st.integers(0, 15), "interrupt at 0") == 0:
            judge.interrupted = True
            progress.interrupt("more urgent")
        order = judge.open.pop(data.draw(st.integers(0, len(judge.open) - 1), "order"))
        task = order.task
        if isinstance(order, Push):
            answer = data.draw(st.sampled_from(["acknowledged", "timed_out", "rejected"]), "push")
            if answer == "rejected":
                rejected_for_good = judge.pushes[task] == 2 or bool(judge.gave_up)
                doubtful -= {task} if rejected_for_good else set()
            else:
                doubtful.add(task)
            told = getattr(progress, answer)
            judge.take(told(task) if answer == "acknowledged" else told(task, "why"))
            continue
        assert isinstance(order, ReadBack)
        judge.reads[task] = judge.reads.get(task, 0) + 1
        answer = data.draw(st.sampled_from(["equal", "differs", "unreadable"]), "read")
        last = judge.reads[task] == HASTE.reads
        if answer == "equal":
            judge.verified.add(task)
            judge.take(progress.read(task, ()))
        elif answer == "differs":
            if last or task not in doubtful:
                judge.gave_up.add(task)
            judge.take(progress.read(task, ("policy differs",)))
        else:
            if last:
                judge.gave_up.add(task)
                doubtful.add(task)
            judge.take(progress.unreadable(task, "no answer"))
    assert progress.unverified == {task.device for task in judge.gave_up & doubtful}


def start(*moves, patience=PATIENCE, **rules):
    progress = Progress(plan(*moves), constraints(**rules).admits, lambda _: "", patience)
    return progress, progress.begin()


def test_a_plan_without_steps_is_done():
    assert start()[1] == [Ended(End.DONE)]


def test_a_rejected_push_is_tried_once_more_and_then_read_back():
    progress, (push,) = start([announce("nyc1")])
    (again,) = progress.rejected(push.task, "syntax")
    assert isinstance(again, Push)
    assert again.wait_s > 0
    assert progress.rejected(push.task, "syntax") == [ReadBack(push.task)]
    (ended,) = progress.read(push.task, ("route is missing",))
    assert (ended.end, ended.reason) == (End.FAILED, "step 1, nyc1: syntax; route is missing")
    assert progress.state(push.task) == (TaskState.DIFFERS, "syntax; route is missing")
    assert progress.unverified == frozenset()  # it was read, and nothing is under way to it


def test_a_silent_device_is_read_again_and_again_later_and_then_unverified():
    progress, (push,) = start([announce("nyc1")])
    orders, waits = progress.timed_out(push.task, "deaf"), []
    while isinstance(orders[0], ReadBack):
        waits.append(orders[0].wait_s)
        orders = progress.unreadable(push.task, "no route to host")
    assert waits == [0.0, 0.25, 1.0]
    assert orders == [Ended(End.FAILED, "step 1, nyc1: deaf; no route to host")]
    assert progress.unverified == {"nyc1"}


def test_a_late_landing_push_is_found_by_reading_again():
    progress, (push,) = start([announce("nyc1")])
    progress.timed_out(push.task, "slow")
    (reading,) = progress.read(push.task, ("route is missing",))
    assert isinstance(reading, ReadBack)
    assert progress.read(push.task, ()) == [Ended(End.DONE)]
    assert progress.state(push.task) == (TaskState.VERIFIED, "")


def test_a_push_that_timed_out_and_is_not_there_yet_may_still_land():
    progress, (push,) = start([announce("nyc1")], patience=Patience(reads=1))
    progress.timed_out(push.task, "slow")
    assert progress.read(push.task, ("route is missing",))[0].end is End.FAILED
    assert progress.unverified == {"nyc1"}


def test_waits_grow_up_to_a_bound():
    assert [Patience().before_read(reads) for reads in range(6)] == [0.0, 0.25, 1.0, 4.0, 5.0, 5.0]


def test_an_interruption_waits_for_the_step_and_stops_before_the_next():
    progress, (push,) = start([announce("nyc1")], [announce("lon1")])
    progress.interrupt("link down")
    progress.acknowledged(push.task)
    assert progress.read(push.task, ()) == [Ended(End.INTERRUPTED, "link down")]
    assert progress.steps_done == 1


def test_an_interruption_of_the_last_step_comes_too_late():
    progress, (push,) = start([announce("nyc1")])
    progress.interrupt("link down")
    progress.acknowledged(push.task)
    assert progress.read(push.task, ()) == [Ended(End.DONE)]


def test_a_step_that_is_forbidden_when_its_time_comes_is_not_begun():
    forbidden = {1: "nyc1 is outside its maintenance window"}
    progress = Progress(
        plan([announce("lon1")], [announce("nyc1")]),
        constraints().admits,
        lambda tasks: forbidden.get(tasks[0].step, ""),
        PATIENCE,
    )
    (push,) = progress.begin()
    progress.acknowledged(push.task)
    assert progress.read(push.task, ()) == [Ended(End.REFUSED, forbidden[1])]


def test_the_others_of_a_failed_step_are_still_read_back():
    progress, pushes = start([announce("nyc1"), announce("lon1"), announce("par1")], concurrency=2)
    one, other = (push.task for push in pushes)
    for task in (one, one):
        progress.rejected(task, "no")
    assert progress.read(one, ("missing",)) == []
    assert progress.acknowledged(other) == [ReadBack(other)]
    assert progress.read(other, ())[0].end is End.FAILED


def test_rules_that_never_let_a_device_in_end_the_plan():
    progress = Progress(plan([announce("nyc1")]), lambda *_: False, lambda _: "", PATIENCE)
    assert progress.begin() == [Ended(End.REFUSED, "no device may be worked on")]


def test_an_event_out_of_turn_is_our_mistake():
    progress, (push,) = start([announce("nyc1")])
    with pytest.raises(ValueError, match="nyc1 is pushing, not reading"):
        progress.read(push.task, ())
