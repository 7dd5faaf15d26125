"""Full tables of several borders: how long until they can be decided on, in how much memory, and how the loop lags.

Four borders tell at once, each with two ISPs and 100,000 prefixes of each: by BMP, one prefix a message as FRR does,
and by iBGP with add-path through exabgp. Beside BMP the same octets are only read from the sockets, and only cut into
messages: what the decoding adds. FRR's bgpd takes the same routes by eBGP, for a peer that is written in C.
Each way has a process of its own, so that the most memory is its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from neto.agents.exabgp import ExaBgp
from neto.agents.monitoring.bmp import BmpAgent
from neto.agents.monitoring.exits import copy, route_table
from neto.agents.monitoring.ibgp import IbgpAgent, Teller
from neto.agents.monitoring.rib import Rib
from neto.model.peering import PeeringLink
from neto.wire.bmp import BmpStream
from neto.wire.exabgp import ExaBgpConfig, Neighbor
from neto.wire.exabgp import Family as BgpFamily
from tests.bench.peering import sessions
from tests.wire.bgp.octets import attributes, bmp, monitoring, peer, peer_up, sequence, tlv, update, word

BORDERS, PEERS = 4, int(os.environ.get("NETO_BENCH_ISPS", "2"))
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


def links() -> list[PeeringLink]:
    return [
        PeeringLink(f"l{border}{number}", f"b{border}", "isp", 1.0, peer_address=f"192.0.2.{number + 1}")
        for border in range(BORDERS)
        for number in range(PEERS)
    ]


class Lag:
    """How late the loop is, looked at all the time."""

    def __init__(self) -> None:
        self.each: list[float] = []

    async def watch(self) -> None:
        while True:
            due = time.perf_counter() + 0.005
            await asyncio.sleep(0.005)
            self.each.append(time.perf_counter() - due)

    def __str__(self) -> str:
        ordered = sorted(self.each)
        return f"loop lag {ordered[len(ordered) * 99 // 100] * 1e3:.0f} ms (p99), {ordered[-1] * 1e3:.0f} ms at most"


async def decided(rib: Rib, tables: int, began: float) -> tuple[float, float, int, Lag]:
    """Return seconds until every table is whole and decided on, of that for the decision, groups, and the lag."""
    lag = Lag()
    watch = asyncio.create_task(lag.watch())
    while sum(len(border.usable()) for border in rib.borders.values()) < tables:  # noqa: ASYNC110 counted once done
        await asyncio.sleep(0.05)
    told = time.perf_counter()
    table = await asyncio.to_thread(route_table, copy(rib), links())
    groups = int((await asyncio.to_thread(table.groups)).max()) + 1
    ended = time.perf_counter()
    assert table.exits.sum() == BORDERS * PEERS * PREFIXES
    watch.cancel()
    return ended - began, ended - told, groups, lag


async def heard(files: list[Path]) -> tuple[float, float, int, Lag]:
    """Take what borders tell by BMP."""
    rib = Rib(65000, 900)
    agent = BmpAgent(("127.0.0.1", 0), {f"127.0.7.{n + 1}": f"b{n}" for n in range(BORDERS)}, rib, lambda: None)
    task = asyncio.create_task(agent.run())
    while agent.bound is None:  # noqa: ASYNC110 it has no event
        await asyncio.sleep(0.01)
    senders = [send(agent.bound, number, file) for number, file in enumerate(files)]
    began = time.perf_counter()
    figures = await decided(rib, BORDERS * PEERS, began)
    for sender in senders:
        sender.communicate()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return figures


async def announced(directory: Path) -> tuple[float, float, int, Lag]:
    """Take what borders announce by iBGP, through exabgp."""
    rib = Rib(65000, 900)
    tellers = {f"127.0.7.{n + 1}": Teller(f"b{n}") for n in range(BORDERS)}
    agent = IbgpAgent(65000, tellers, rib, lambda: None)
    ipv4 = frozenset({BgpFamily.IPV4_UNICAST})
    neighbors = tuple(Neighbor(address, sessions.PORT, ipv4, add_path=True) for address in tellers)
    config = ExaBgpConfig(65000, "10.0.0.9", "127.0.0.1", neighbors)
    exabgp = ExaBgp(config, directory / "exabgp", agent.take, room=agent.room)
    began = time.perf_counter()
    tasks = [asyncio.create_task(each.run()) for each in (agent, exabgp)]
    figures = await decided(rib, BORDERS, began)
    assert len(exabgp.up) == BORDERS
    assert exabgp.counters["restarts"] == 0
    await exabgp.stop(notify=False)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return figures


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


def alone(way, *given):
    """Run a way in a process of its own; return what it returns, and its memory before and at most, MB."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measured, way, *given).result()


def measured(way, *given):
    before = memory_mb()
    figures = asyncio.run(way(*given))
    return figures, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tell(how, figures, before, after):
    took, decision, groups, lag = figures
    routes = BORDERS * PEERS * PREFIXES
    print(f"{how}: {BORDERS} borders x {PEERS} ISPs x {PREFIXES} prefixes, {routes} routes in {groups} groups")
    print(f"  usable after {took:.1f} s ({took / routes * 1e6:.1f} us a route), of which the decision {decision:.2f} s")
    print(f"  memory: {before:.0f} MB before, {after:.0f} MB at most; {lag}")


def test_full_tables_by_ibgp_and_beside_bgpd(tmp_path):
    files = [tmp_path / f"{number}" for number in range(BORDERS)]
    speakers = []
    for number, file in enumerate(files):
        sessions.write({None: file}, number, PREFIXES, PEERS)
        speakers.append(sessions.speaker(f"127.0.7.{number + 1}", 65000, file, several=True))
    try:
        figures, before, after = alone(announced, tmp_path)
    finally:
        for process in speakers:
            sessions.hang_up(process)
    print()
    tell("iBGP through exabgp", figures, before, after)
    if sessions.BGPD.exists():
        with tempfile.TemporaryDirectory(prefix="neto-frr-") as directory:
            took, memory = beside(tmp_path, Path(directory))
        print(f"  FRR's bgpd took the same by eBGP in {took:.1f} s and {memory:.0f} MB: NetO x{figures[0] / took:.1f}")
    assert after < 1024


def beside(tmp_path, directory):
    """One bgpd and all ISPs of all borders."""
    speakers, asns = [], {}
    for border in range(BORDERS):
        files = {number: tmp_path / f"{border}-{number}" for number in range(PEERS)}
        sessions.write(files, border, PREFIXES, PEERS)
        for number, file in files.items():
            address = f"127.0.7.{10 + border * PEERS + number}"
            asns[address] = 64500 + number
            speakers.append(sessions.speaker(address, asns[address], file, several=False))
    try:
        return sessions.frr(directory, asns, BORDERS * PEERS * PREFIXES)
    finally:
        for process in speakers:
            sessions.hang_up(process)


async def test_full_tables_of_four_borders(tmp_path):
    files = [tmp_path / f"{number}" for number in range(BORDERS)]
    for number, file in enumerate(files):
        table(number, file)
    figures, before, after = await asyncio.to_thread(alone, heard, files)
    took = figures[0]
    read = await only_read(files, lambda: lambda _: None)
    cut = await only_read(files, lambda: BmpStream().feed)
    print()
    tell("BMP", figures, before, after)
    print(
        f"  only read {read:.1f} s, read and cut into messages {cut:.1f} s: decoding and keeping is x{took / cut:.1f}"
    )
    assert after < 1024
    assert took < 60
