"""What every store promises, whatever database is behind it."""

import asyncio

import pytest

from neto.errors import LeaseLostError, StoreError
from neto.store.protocol import CycleState, Event, Process, TaskEntry
from neto.store.sqlite import open_store

ME, YOU = Process(11, 111, "here"), Process(22, 222, "here")


@pytest.fixture(params=["sqlite"])
def opener(request, tmp_path):
    """Opens the same store again and again."""
    return {"sqlite": lambda **options: open_store(tmp_path / "neto.db", **options)}[request.param]


@pytest.fixture
async def store(opener):
    async with await opener() as opened:
        yield opened


@pytest.fixture
async def epoch(store):
    return await store.take_lead(ME, 1.0, at=1000.0)


async def test_nobody_leads_a_new_store(store):
    leader = await store.leader()
    assert (leader.epoch, leader.process.pid) == (0, 0)


async def test_every_taking_begins_a_new_epoch_and_names_its_leader(opener):
    async with await opener() as mine, await opener() as yours:
        assert [await mine.take_lead(ME, 1.0, at=1.0), await yours.take_lead(YOU, 2.0, at=2.0)] == [1, 2]
        leader = await mine.leader()
        assert (leader.epoch, leader.process, leader.beat_s) == (2, YOU, 2.0)


async def test_a_beat_is_seen_by_the_other_process(opener):
    async with await opener() as mine, await opener() as yours:
        await mine.beat(await mine.take_lead(ME, 1.0, at=1.0), 7.25)
        assert (await yours.leader()).beat_s == 7.25


async def test_who_resigned_leads_no_more_but_the_epoch_stays(store, epoch):
    await store.resign(epoch)
    leader = await store.leader()
    assert (leader.epoch, leader.process.pid) == (epoch, 0)


WRITES = {
    "beat": lambda store, epoch: store.beat(epoch, 5.0),
    "resign": lambda store, epoch: store.resign(epoch),
    "begin_cycle": lambda store, epoch: store.begin_cycle(epoch, 2.0, b"{}", portion=0.5),
    "decide_cycle": lambda store, epoch: store.decide_cycle(epoch, 1, b"{}", urgency="repair"),
    "finish_cycle": lambda store, epoch: store.finish_cycle(epoch, 1, 3.0, CycleState.DONE, ""),
    "put_document": lambda store, epoch: store.put_document(epoch, "demand", b"{}", at=2.0),
    "put_documents": lambda store, epoch: store.put_documents(epoch, {"demand": b"{}"}, at=2.0),
    "record_tasks": lambda store, epoch: store.record_tasks(epoch, [TaskEntry(1, 0, "nyc1", "routes", "done", 1)]),
    "add_event": lambda store, epoch: store.add_event(epoch, Event(2.0, "alarm", "demand.lost")),
}


async def everything(store):
    """Whatever a store can tell."""
    return (
        await store.leader(),
        await store.document("demand"),
        await store.cycles(100),
        await store.cycle(1),
        await store.tasks(1),
        await store.events(100),
    )


@pytest.mark.parametrize("write", WRITES)
async def test_a_deposed_leader_writes_nothing(opener, write):
    async with await opener() as mine, await opener() as yours:
        old = await mine.take_lead(ME, 1.0, at=1.0)
        new = await yours.take_lead(YOU, 2.0, at=2.0)
        await yours.begin_cycle(new, 1.0, b"{}", portion=0.0)
        before = await everything(mine)
        with pytest.raises(LeaseLostError):
            await WRITES[write](mine, old)
        assert await everything(mine) == before


@pytest.mark.parametrize("write", WRITES)
async def test_the_leader_writes_all_of_it(store, epoch, write):
    await store.begin_cycle(epoch, 1.0, b"{}", portion=0.0)
    before = await everything(store)
    await WRITES[write](store, epoch)
    assert await everything(store) != before


async def test_a_document_is_the_latest_of_its_kind(store, epoch):
    await store.put_document(epoch, "demand", {"mbps": 1}, at=5.0)
    await store.put_documents(epoch, {"demand": {"mbps": 2}, "peers": []}, at=6.0)
    document = await store.document("demand")
    assert (document.json(), document.at, document.epoch) == ({"mbps": 2}, 6.0, epoch)
    assert await store.document("topology") is None


async def test_documents_are_written_together_or_not_at_all(store, epoch):
    await store.put_document(epoch, "demand", {"mbps": 1}, at=5.0)
    with pytest.raises(StoreError):
        await store.put_documents(epoch, {"demand": {"mbps": 2}, "": {}}, at=6.0)
    assert (await store.document("demand")).json() == {"mbps": 1}


async def test_a_cycle_is_kept_from_input_to_outcome(store, epoch):
    cycle_id = await store.begin_cycle(epoch, 10.0, {"topology": "t"}, portion=0.25)
    begun = await store.cycle(cycle_id)
    assert (begun.cycle.state, begun.snapshot, begun.decision) == (CycleState.DECIDING, b'{"topology":"t"}', None)
    await store.decide_cycle(epoch, cycle_id, {"plan": "p"}, urgency="repair")
    assert (await store.cycle(cycle_id)).cycle.state is CycleState.PUSHING
    await store.finish_cycle(epoch, cycle_id, 12.0, CycleState.DONE, "clean")
    stored = await store.cycle(cycle_id)
    assert (stored.cycle.began, stored.cycle.ended, stored.cycle.state) == (10.0, 12.0, CycleState.DONE)
    assert (stored.cycle.epoch, stored.cycle.portion) == (epoch, 0.25)
    assert (stored.cycle.urgency, stored.cycle.outcome) == ("repair", "clean")
    assert stored.decision == b'{"plan":"p"}'
    assert await store.cycle(cycle_id + 1) is None


async def test_a_cycle_ends_once(store, epoch):
    cycle_id = await store.begin_cycle(epoch, 10.0, b"{}", portion=0.0)
    await store.finish_cycle(epoch, cycle_id, 11.0, CycleState.FAILED, "no")
    with pytest.raises(StoreError, match=f"no cycle {cycle_id} that is open"):
        await store.finish_cycle(epoch, cycle_id, 12.0, CycleState.DONE, "yes")
    with pytest.raises(StoreError, match="waits for a decision"):
        await store.decide_cycle(epoch, cycle_id, b"{}", urgency="repair")
    assert (await store.cycle(cycle_id)).decision is None


async def test_who_takes_over_abandons_what_was_left_open(store, epoch):
    await store.begin_cycle(epoch, 10.0, b"{}", portion=0.0)
    ended = await store.begin_cycle(epoch, 11.0, b"{}", portion=0.0)
    await store.finish_cycle(epoch, ended, 12.0, CycleState.DONE, "clean")
    await store.take_lead(YOU, 2.0, at=20.0)
    assert [(c.state, c.ended) for c in await store.cycles(9)] == [
        (CycleState.DONE, 12.0),
        (CycleState.ABANDONED, 20.0),
    ]


async def test_only_the_latest_cycles_are_kept_and_listed_newest_first(opener):
    async with await opener(keep_cycles=3) as store:
        epoch = await store.take_lead(ME, 1.0, at=1.0)
        ids = []
        for at in range(6):
            ids.append(await store.begin_cycle(epoch, float(at), {"at": at}, portion=0.0))
            await store.record_tasks(epoch, [TaskEntry(ids[-1], 0, "nyc1", "routes", "verified", 1)])
        assert [cycle.id for cycle in await store.cycles(100)] == ids[:2:-1]
        assert [cycle.id for cycle in await store.cycles(2)] == ids[:3:-1]
        assert await store.cycle(ids[2]) is None
        assert (await store.cycle(ids[3])).snapshot == b'{"at":3}'
        assert (list(await store.tasks(ids[2])), len(await store.tasks(ids[3]))) == ([], 1)


async def test_the_journal_shows_where_each_task_stands_now(store, epoch):
    cycle_id = await store.begin_cycle(epoch, 1.0, b"{}", portion=0.0)
    pushing = TaskEntry(cycle_id, 1, "nyc1", "routes", "pushing", 2, began=1.0)
    other = TaskEntry(cycle_id, 0, "lon1", "policies", "verified", 1, began=0.5, ended=0.9)
    failed = TaskEntry(cycle_id, 1, "nyc1", "routes", "unverified", 2, began=1.0, ended=3.0, error="deaf")
    await store.record_tasks(epoch, [pushing, other])
    await store.record_tasks(epoch, [failed])
    assert list(await store.tasks(cycle_id)) == [other, failed]


async def test_a_journal_entry_needs_its_cycle(store, epoch):
    with pytest.raises(StoreError):
        await store.record_tasks(epoch, [TaskEntry(77, 0, "nyc1", "routes", "pushing", 1)])


async def test_actions_need_no_lease_and_are_read_in_order(store):
    first = await store.add_action("ann", "legacy", {"site": "nyc"}, at=1.0)
    second = await store.add_action("bob", "resume", {}, at=2.0)
    actions = await store.actions_after(0)
    assert [(a.seq, a.at, a.who, a.what, a.arguments) for a in actions] == [
        (first, 1.0, "ann", "legacy", {"site": "nyc"}),
        (second, 2.0, "bob", "resume", {}),
    ]
    assert [a.seq for a in await store.actions_after(first)] == [second]
    assert list(await store.actions_after(second)) == []


async def test_history_is_newest_first_and_bounded(opener):
    async with await opener(keep_events=3) as store:
        epoch = await store.take_lead(ME, 1.0, at=1.0)
        for at in range(5):
            await store.add_event(epoch, Event(float(at), "warning", "device.deaf", "nyc1", "no answer"))
        assert [event.at for event in await store.events(100)] == [4.0, 3.0, 2.0]
        assert (await store.events(1))[0] == Event(4.0, "warning", "device.deaf", "nyc1", "no answer", epoch)


async def test_a_value_out_of_range_is_refused(store, epoch):
    with pytest.raises(StoreError):
        await store.begin_cycle(epoch, 1.0, b"{}", portion=1.5)
    with pytest.raises(StoreError):
        await store.add_event(epoch, Event(1.0, "dreadful", "x"))
    assert list(await store.cycles(9)) == []


async def test_everything_is_there_after_opening_again(opener):
    async with await opener() as store:
        epoch = await store.take_lead(ME, 1.0, at=1.0)
        await WRITES["begin_cycle"](store, epoch)
        for write in ("decide_cycle", "record_tasks", "put_document", "add_event", "finish_cycle"):
            await WRITES[write](store, epoch)
        before = await everything(store)
    async with await opener() as again:
        assert await everything(again) == before


async def test_writers_at_once_do_not_mix(store, epoch):
    async def pair(value):
        await store.put_documents(epoch, {"left": value, "right": value}, at=1.0)

    async with asyncio.TaskGroup() as work:
        for value in range(20):
            work.create_task(pair(value))
            work.create_task(store.add_action("ann", "approve", {"n": value}, at=1.0))
    assert (await store.document("left")).json() == (await store.document("right")).json()
    assert len(await store.actions_after(0)) == 20


async def test_a_writer_cancelled_anywhere_leaves_all_of_its_write_or_nothing(store, epoch):
    for value in range(40):
        task = asyncio.create_task(store.put_documents(epoch, {"left": value, "right": value}, at=1.0))
        for turn in range(value % 12):
            await asyncio.sleep(0.0005 if turn % 3 else 0)
        task.cancel()
        await asyncio.wait([task])
        await store.put_document(epoch, "after", value, at=1.0)  # the store goes on
        left, right = await store.document("left"), await store.document("right")
        assert (left and left.json()) == (right and right.json())
    assert (await store.document("after")).json() == 39
