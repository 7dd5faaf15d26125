"""Full tables of several borders over BMP: how long until they can be decided on, and in how much memory.

Four borders connect at once, each with two ISPs and 100,000 prefixes of each, told one prefix a message as FRR does.
Beside it the same octets are only read from the sockets, and only cut into messages: what the decoding adds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neto.agents.monitoring.bmp import BmpAgent
from neto.agents.monitoring.exits import copy, route_table
from neto.agents.monitoring.rib import Rib
from neto.model.peering import PeeringLink
from neto.wire.bmp import BmpStream
from tests.wire.bgp.octets import attributes, bmp, monitoring, peer, peer_up, sequence, tlv, update, word

BORDERS, PEERS = 4, 2
PREFIXES = int(os.environ.get("NETO_BENCH_PREFIXES", "100000"))
SEND = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), source_address=(sys.argv[3], 0))
connection.sendfile(open(sys.argv[4], "rb"))
sys.stdin.read()
"""

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]


def table(border: int, file: Path) -> None:
    """One border's session: origins of some prefixes each, paths and communities that differ by origin and peer."""
    chance = random.Random(border)
    with file.open("wb") as out:
        out.write(bmp(4, tlv(2, b"border") + tlv(1, b"bench")))
        for number in range(PEERS):
            head = peer(f"192.0.2.{number + 1}", asn=64500 + number, bgp_id=f"192.0.2.{number + 1}", flags=0x40)
            out.write(bmp(3, peer_up(head)))
            told = b""
            for at in range(PREFIXES):
                if at % 4 == 0:
                    path = sequence(
                        64500 + number, *(chance.randrange(1, 60000) for _ in range(chance.randrange(1, 5))), at + 1
                    )
                    pairs = [(64500 + number, chance.randrange(100)) for _ in range(3)]
                    told = attributes(path, med=chance.randrange(4), communities=pairs)
                out.write(bmp(0, monitoring(update(told, b"\x18" + word((11 << 16) + at, 3)), head)))
            out.write(bmp(0, monitoring(update(), head)))


def memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def heard(files: list[Path]) -> tuple[float, float, int]:
    """Return seconds until every table is whole and decided on, seconds of that for the decision, and the groups."""
    links = [
        PeeringLink(f"l{border}{number}", f"b{border}", "isp", 1.0, peer_address=f"192.0.2.{number + 1}")
        for border in range(BORDERS)
        for number in range(PEERS)
    ]
    rib = Rib(65000, 900)
    agent = BmpAgent(("127.0.0.1", 0), {f"127.0.7.{n + 1}": f"b{n}" for n in range(BORDERS)}, rib, lambda: None)
    task = asyncio.create_task(agent.run())
    while agent.bound is None:  # noqa: ASYNC110 it has no event
        await asyncio.sleep(0.01)
    senders = [send(agent.bound, number, file) for number, file in enumerate(files)]
    began = time.perf_counter()
    while sum(len(border.usable()) for border in rib.borders.values()) < BORDERS * PEERS:  # noqa: ASYNC110 counted once done
        await asyncio.sleep(0.05)
    told = time.perf_counter()
    table = await asyncio.to_thread(route_table, copy(rib), links)
    groups = int(table.groups().max()) + 1
    ended = time.perf_counter()
    assert table.exits.sum() == BORDERS * PEERS * PREFIXES
    for sender in senders:
        sender.communicate()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return ended - began, ended - told, groups


async def only_read(files: list[Path], feed) -> float:
    """Return seconds to take the same octets from sockets, without a meaning."""
    total = sum(file.stat().st_size for file in files)
    got, done = 0, asyncio.Event()

    async def serve(reader, writer):
        nonlocal got
        each = feed()
        while octets := await reader.read(1 << 16):
            each(octets)
            got += len(octets)
            if got == total:
                done.set()
                break
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        senders = [send(server.sockets[0].getsockname(), number, file) for number, file in enumerate(files)]
        began = time.perf_counter()
        await done.wait()
        took = time.perf_counter() - began
        for sender in senders:
            sender.communicate()
    return took


def send(to, number: int, file: Path):
    command = [sys.executable, "-c", SEND, to[0], str(to[1]), f"127.0.7.{number + 1}", str(file)]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


async def test_full_tables_of_four_borders(tmp_path):
    files = [tmp_path / f"{number}" for number in range(BORDERS)]
    for number, file in enumerate(files):
        table(number, file)
    before = memory_mb()
    took, decision, groups = await heard(files)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    read = await only_read(files, lambda: lambda _: None)
    cut = await only_read(files, lambda: BmpStream().feed)
    routes = BORDERS * PEERS * PREFIXES
    print()
    print(f"{BORDERS} borders x {PEERS} ISPs x {PREFIXES} prefixes: {routes} routes in {groups} groups")
    print(f"usable after {took:.1f} s ({took / routes * 1e6:.1f} us a route), of which the decision {decision:.2f} s")
    print(f"only read {read:.1f} s, read and cut into messages {cut:.1f} s: decoding and keeping is x{took / cut:.1f}")
    print(f"memory: {before:.0f} MB before, {after:.0f} MB at most")
    assert after < 1024
