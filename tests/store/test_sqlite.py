"""What only the SQLite store can do wrong: files, locks, crashes."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from neto.errors import StoreError
from neto.store.protocol import CycleState, Process
from neto.store.schema import MIGRATIONS
from neto.store.sqlite import add_action, open_store
from neto.store.sqlite_read import open_reader

ME = Process(11, 111, "here")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "neto.db"


@pytest.fixture
async def filled(path):
    """A store that a daemon has left."""
    async with await open_store(path) as store:
        epoch = await store.take_lead(ME, 1.0, at=1.0)
        for text in ("first", "second"):
            await store.begin_cycle(epoch, 1.0, {"text": text}, portion=0.0)
        await store.put_documents(epoch, {"demand": {"text": "d"}, "peers": {"text": "p"}}, at=1.0)
    return path


def outside(path, sql, *values):
    """Do something to the file behind the store's back."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(sql, values).fetchall()
        db.commit()
    return rows


async def test_every_commit_is_logged_and_synced(path):
    async with await open_store(path) as store:
        settings = [
            next(iter(await store._writing.execute_fetchall(f"PRAGMA {name}")))[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert settings == ["wal", 2, 1]  # 2: FULL


async def test_the_file_is_private(path):
    async with await open_store(path):
        assert path.stat().st_mode & 0o007 == 0


async def test_every_table_is_strict(filled):
    tables = outside(filled, "SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND schema = 'main'")
    assert len(tables) > 5
    assert [name for name, strict in tables if not strict and not name.startswith("sqlite_")] == []


async def test_a_store_of_a_newer_release_is_left_alone(filled):
    outside(filled, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = filled.read_bytes()
    for opening in (open_store(filled), open_reader(filled), add_action(filled, "ann", "legacy", {}, at=1.0)):
        with pytest.raises(StoreError, match="newer release"):
            await opening
    assert filled.read_bytes() == before


async def test_another_programs_database_is_left_alone(path):
    outside(path, "PRAGMA application_id = 7")
    with pytest.raises(StoreError, match="another program"):
        await open_store(path)


async def test_a_file_that_is_no_database_is_refused_and_named(path):
    path.write_bytes(b"not a database" * 1000)
    for opening in (open_store(path), open_reader(path)):
        with pytest.raises(StoreError, match=str(path)):
            await opening


async def test_commands_make_no_store(path):
    for opening in (open_reader(path), add_action(path, "ann", "legacy", {}, at=1.0)):
        with pytest.raises(StoreError, match="there is no store"):
            await opening
    assert not path.exists()


@pytest.mark.parametrize(
    ("damage", "named", "intact"),
    [
        ("UPDATE bodies SET body = zeroblob(length(body)) WHERE cycle = 1", "snapshot of cycle 1", "cycle 2"),
        ("UPDATE documents SET body = x'00' WHERE kind = 'demand'", "document demand", "document peers"),
        ("UPDATE documents SET digest = zeroblob(16) WHERE kind = 'demand'", "document demand", "document peers"),
    ],
)
async def test_a_damaged_body_is_named_and_spares_the_others(filled, damage, named, intact):
    outside(filled, damage)
    async with await open_reader(filled) as reader:
        readings = {
            "cycle 1": lambda: reader.cycle(1),
            "cycle 2": lambda: reader.cycle(2),
            "document demand": lambda: reader.document("demand"),
            "document peers": lambda: reader.document("peers"),
        }
        with pytest.raises(StoreError, match=f"{named} is damaged"):
            await readings[named.removeprefix("snapshot of ")]()
        assert await readings[intact]() is not None


async def test_a_reader_sees_the_last_commit_while_a_writer_is_in_the_middle_of_the_next(filled):
    async with await open_store(filled) as store:
        with closing(sqlite3.connect(filled, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE leader SET epoch = 99")
            async with await open_reader(filled) as reader:
                async with asyncio.timeout(2):  # far below what a reader that waits for a lock would wait
                    assert (await reader.leader()).epoch == 1
                    await store.beat(1, 6.5)  # nor does a beat wait
                    assert (await reader.leader()).beat_s == 6.5
            writer.execute("ROLLBACK")


async def test_a_reader_in_the_middle_of_reading_makes_no_writer_wait(filled):
    async with await open_store(filled) as store:
        with closing(sqlite3.connect(f"file:{filled}?mode=ro", uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM documents").fetchone() == (2,)
            async with asyncio.timeout(2):
                await store.put_document(1, "topology", {}, at=2.0)
            assert reader.execute("SELECT count(*) FROM documents").fetchone() == (2,)


async def test_a_reader_writes_nothing(filled):
    async with await open_reader(filled) as reader:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reader._reading.execute_fetchall("DELETE FROM cycles")


@contextlib.contextmanager
def public_copy(path):
    """A copy of a store in a directory that everybody can get to; pytest's own are closed further up."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        for file in path.parent.iterdir():
            shutil.copy(file, name)
        yield Path(name)


def open_to_all(directory):
    for file in directory.iterdir():
        file.chmod(0o644)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
@pytest.mark.parametrize("daemon_runs", [False, True])
async def test_somebody_who_may_only_read_the_directory_can_look(filled, daemon_runs):
    look = """
import asyncio, os, sys
import concurrent.futures.thread  # while the interpreter's own files can be read
from pathlib import Path
from neto.store.sqlite_read import open_reader
async def main():
    async with await open_reader(Path(sys.argv[1])) as reader:
        print([cycle.id for cycle in await reader.cycles(5)], (await reader.leader()).epoch)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
asyncio.run(main())
"""
    with public_copy(filled) as there:
        async with contextlib.AsyncExitStack() as daemon:
            if daemon_runs:
                await daemon.enter_async_context(await open_store(there / "neto.db"))
            open_to_all(there)
            looker = await asyncio.create_subprocess_exec(
                sys.executable, "-c", look, there / "neto.db", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            assert (await looker.communicate())[0] == b"[2, 1] 1\n"


async def test_an_action_reaches_a_running_daemon(filled):
    async with await open_store(filled) as store:
        seq = await add_action(filled, "ann", "legacy", {"site": "nyc"}, at=3.0)
        assert [(action.seq, action.what) for action in await store.actions_after(0)] == [(seq, "legacy")]


async def test_two_daemons_that_start_at_once_make_one_store(path):
    stores = await asyncio.gather(*(open_store(path) for _ in range(4)))
    try:
        assert sorted([await store.take_lead(ME, 1.0, at=1.0) for store in stores]) == [1, 2, 3, 4]
    finally:
        for store in stores:
            await store.close()


async def test_a_full_disk_is_a_store_error_and_the_store_goes_on_afterwards(filled):
    async with await open_store(filled) as store:
        await store._writing.execute_fetchall("PRAGMA max_page_count = 1")  # SQLite's own way to be full
        with pytest.raises(StoreError, match="full"):
            await store.begin_cycle(1, 1.0, os.urandom(100_000).hex(), portion=0.0)
        await store._writing.execute_fetchall("PRAGMA max_page_count = 100000")
        assert (await store.cycle(await store.begin_cycle(1, 1.0, b"{}", portion=0.0))).snapshot == b"{}"


async def kill_writers(path: Path, rounds: int) -> int:
    """Kill a writer in the middle again and again; return how many cycles it said were committed."""
    committed = 0
    for round_number in range(rounds):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, Path(__file__).with_name("writer.py"), path, stdout=subprocess.PIPE
        )
        assert await writer.stdout.readline()
        await asyncio.sleep(0.003 + 0.0137 * (round_number % 9))
        writer.kill()
        said = [int(line) for line in (await writer.stdout.read()).split()]
        await writer.wait()
        committed += len(said) + 1
        async with await open_reader(path) as reader:
            cycles = {cycle.id: cycle for cycle in await reader.cycles(1000)}
            for cycle_id in cycles:
                stored = await reader.cycle(cycle_id)  # its checksum is looked at
                assert (stored.decision is None) == (stored.cycle.state is CycleState.DECIDING) or (
                    stored.cycle.state is CycleState.ABANDONED
                )
                assert len(await reader.tasks(cycle_id)) in {0, 9}
            assert all(cycles[cycle_id].state is CycleState.DONE for cycle_id in said[-10:])
            left, right = await reader.document("left"), await reader.document("right")
            assert left.json() == right.json()
        assert outside(path, "PRAGMA integrity_check") == [("ok",)]
        assert outside(path, "PRAGMA foreign_key_check") == []
    return committed


async def test_a_writer_killed_in_the_middle_damages_nothing_and_loses_nothing_it_committed(path):
    assert await kill_writers(path, rounds=5) > 5


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_writer_killed_300_times_damages_nothing(path):
    assert await kill_writers(path, rounds=300) > 300
