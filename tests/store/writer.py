"""A daemon that does nothing but write, until it is killed. Says what is committed, line by line."""

import asyncio
import os
import sys
from pathlib import Path

from neto.store.protocol import CycleState, Process, TaskEntry
from neto.store.sqlite import open_store


async def main(path: Path) -> None:
    store = await open_store(path, keep_cycles=20)
    epoch = await store.take_lead(Process(os.getpid(), 1, "here"), 1.0, at=1.0)
    filler = os.urandom(50_000).hex()
    while True:
        cycle = await store.begin_cycle(epoch, 1.0, {"filler": filler}, portion=0.0)
        await store.put_documents(epoch, {"left": cycle, "right": cycle}, at=1.0)
        await store.record_tasks(epoch, [TaskEntry(cycle, step, "nyc1", "routes", "verified", 1) for step in range(9)])
        await store.decide_cycle(epoch, cycle, {"filler": filler}, urgency="repair")
        await store.finish_cycle(epoch, cycle, 2.0, CycleState.DONE, "")
        os.write(1, b"%d\n" % cycle)


asyncio.run(main(Path(sys.argv[1])))
