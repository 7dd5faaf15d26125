"""The real exabgp, supervised, against the lab's routers and speakers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Self

import pytest
import pytest_asyncio

from neto.agents import exabgp as supervisor
from neto.agents import exabgp_link
from neto.agents.exabgp import ExaBgp
from neto.agents.exabgp_link import RefusedError
from neto.agents.updating.bgp import RouteAgent
from neto.errors import DeviceError, LeaseLostError
from neto.lab.bgp import LsSpeaker, RouterBgp
from neto.lab.bgp_update import encode_ls_reach, encode_ls_unreach
from neto.lab.bgpls import LsLinkSpec, LsNodeSpec, encode, objects
from neto.lab.state import LabRoute, RouterState
from neto.model.inventory import Router
from neto.model.plan import RouteMove
from neto.model.sr import Route, RouteKey
from neto.wire.exabgp import (
    Event,
    ExaBgpConfig,
    Family,
    Neighbor,
    PeerDown,
    PeerUp,
    RawUpdate,
    announce,
    communities,
    withdraw,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORT = 17900
ALLOWED = [IPv4Network(f"10.{n}.0.0/18") for n in range(5, 250)]
KEY = RouteKey("nyc1", ALLOWED[0])
MARKS = communities("65000:900")
NYC = LsNodeSpec("nyc1", "10.255.0.1", "0000.0000.0001")
LON = LsNodeSpec("lon1", "10.255.0.2", "0000.0000.0002")
WIDE = LsLinkSpec(NYC, LON, "10.1.2.1", "10.1.2.2", 100_000, srlgs=tuple(range(300)), name="nyc1-lon1")


async def eventually(holds) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  what it waits for happens in other processes
            await asyncio.sleep(0.005)


async def nothing_more_happens() -> None:
    await asyncio.sleep(0.15)


@dataclass
class World:
    """Two routers, one speaker, and a daemon's BGP half."""

    directory: Path
    graceful_restart_s: int = 0
    port: int = PORT
    events: list[Event] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)  # how many routes nyc1 had after each change

    async def __aenter__(self) -> Self:
        self.nyc = RouterBgp(
            RouterState("nyc1", "10.255.0.1"),
            "127.0.9.1",
            self.port,
            65000,
            on_change=lambda: self.changes.append(len(self.nyc.state.routes)),
        )
        self.lon = RouterBgp(RouterState("lon1", "10.255.0.2"), "127.0.9.2", self.port, 65000)
        self.speaker = LsSpeaker("127.0.9.101", self.port, 65000)
        self.speaker.set(objects([NYC, LON, WIDE]))
        for lab in (self.nyc, self.lon, self.speaker):
            await lab.start()
        neighbors = [
            *(Neighbor(each.address, self.port, frozenset({Family.IPV4_UNICAST})) for each in (self.nyc, self.lon)),
            Neighbor(self.speaker.address, self.port, frozenset({Family.LINK_STATE})),
        ]
        self.exabgp = ExaBgp(
            ExaBgpConfig(
                65000,
                "10.0.0.9",
                "127.0.0.1",
                tuple(neighbors),
                hold_time_s=9,
                graceful_restart_s=self.graceful_restart_s,
            ),
            self.directory,
            self.note,
        )
        self.agent = RouteAgent(
            self.exabgp,
            [
                Router("nyc1", "nyc", "10.255.0.1", "lab", self.nyc.address, self.port),
                Router("lon1", "lon", "10.255.0.2", "lab", self.lon.address, self.port),
            ],
            ALLOWED,
            "65000:900",
            lambda: None,
            graceful_restart=bool(self.graceful_restart_s),
        )
        self.tasks = [asyncio.create_task(self.exabgp.run()), asyncio.create_task(self.agent.run())]
        await self.all_up()
        return self

    async def __aexit__(self, *_) -> None:
        await self.exabgp.stop(notify=False)
        for task in self.tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self.tasks, return_exceptions=True):
            if not isinstance(outcome, asyncio.CancelledError | None):
                raise outcome
        for lab in (self.nyc, self.lon, self.speaker):
            await lab.stop()

    def note(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, PeerUp):
            self.agent.peer_up(event.address)
        elif isinstance(event, PeerDown):
            self.agent.peer_down(event.address, event.reason)

    async def all_up(self) -> None:
        await eventually(lambda: len(self.exabgp.up) == 3 and self.nyc.established and self.lon.established)

    def updates(self) -> list[bytes]:
        return [event.body for event in self.events if isinstance(event, RawUpdate)]

    async def announce(self, *keys: RouteKey, colour: int = 1100) -> None:
        moves = [RouteMove(key, Route(key, "10.255.0.2", colour)) for key in keys]
        await self.agent.apply(moves, lambda: None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    directory = (
        tmp_path_factory.mktemp("exabgp") / "a directory; with { more } than #107 octets in its path" / ("x" * 90)
    )
    async with World(directory) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared):
    """The shared world, every session up, nothing announced, nothing counted."""
    await shared.all_up()
    await shared.agent.withdraw_all()
    await eventually(lambda: not shared.nyc.state.routes and not shared.lon.state.routes)
    shared.changes.clear()
    shared.exabgp.counters.clear()
    return shared


async def test_updates_of_bgp_ls_arrive_byte_for_byte(world):
    sent = [encode_ls_reach("127.0.9.101", *encode(spec)) for spec in (NYC, LON, WIDE)] + [encode_ls_unreach([])]
    await eventually(lambda: len(world.updates()) >= 4)
    assert world.updates()[:4] == [message[19:] for message in sent]
    world.events.clear()
    slow = LsLinkSpec(NYC, LON, "10.1.2.1", "10.1.2.2", 10_000, name="nyc1-lon1")
    world.speaker.set(objects([NYC, slow]))
    await eventually(lambda: len(world.updates()) == 2)
    gone = encode(LON)[0]
    assert world.updates() == [encode_ls_unreach([gone])[19:], encode_ls_reach("127.0.9.101", *encode(slow))[19:]]


async def test_an_announced_route_reaches_its_headend_whole_and_no_other(world):
    await world.announce(KEY)
    await eventually(lambda: world.nyc.state.routes)
    assert world.nyc.state.routes == {
        KEY.prefix: LabRoute(KEY.prefix, "10.255.0.2", 1000, 1100, ("65000:900", "no-export"))
    }
    assert world.agent.announced == {KEY: Route(KEY, "10.255.0.2", 1100)}
    await nothing_more_happens()
    assert not world.lon.state.routes


async def test_a_changed_route_replaces_the_old_one_without_a_gap(world):
    await world.announce(KEY)
    await eventually(lambda: world.nyc.state.routes)
    await world.announce(KEY, colour=1200)
    await eventually(lambda: world.nyc.state.routes[KEY.prefix].colour == 1200)
    assert world.changes == [1, 1]


async def test_a_withdrawn_route_goes(world):
    other = RouteKey("nyc1", ALLOWED[1])
    await world.announce(KEY, other)
    await eventually(lambda: len(world.nyc.state.routes) == 2)
    await world.agent.apply([RouteMove(KEY, None)], lambda: None)
    await eventually(lambda: list(world.nyc.state.routes) == [other.prefix])
    assert list(world.agent.announced) == [other]


async def test_many_routes_go_out_in_windows(world):
    keys = [RouteKey(headend, prefix) for prefix in ALLOWED for headend in ("nyc1", "lon1")]
    await world.announce(*keys)
    await eventually(lambda: len(world.nyc.state.routes) == len(world.lon.state.routes) == len(ALLOWED))


async def test_the_refused_command_is_found_among_good_ones(world):
    await world.announce(KEY)
    await eventually(lambda: world.nyc.state.routes)
    bad = ["no such command", "neighbor 127.0.9.99 withdraw route 10.5.0.0/18"]
    lines = [withdraw("127.0.9.2", KEY), bad[0], withdraw("127.0.9.1", KEY), bad[1]]
    with pytest.raises(RefusedError, match="no such command") as refused:
        await world.exabgp.command(lines, lambda: None)
    assert refused.value.lines == tuple(bad)
    await eventually(lambda: not world.nyc.state.routes)  # the others were done


async def test_after_the_lease_is_lost_no_further_line_is_sent(world):
    """The check fails before the third line: two routes are out, and the answers left behind confuse nobody."""
    left = iter([True, True])

    def check() -> None:
        if not next(left, False):
            raise LeaseLostError

    moves = [RouteMove(key, Route(key, "10.255.0.2", 1100)) for key in (RouteKey("nyc1", p) for p in ALLOWED[:5])]
    with pytest.raises(LeaseLostError):
        await world.agent.apply(moves, check)
    await world.announce(RouteKey("lon1", ALLOWED[0]))
    await eventually(lambda: world.lon.state.routes)
    assert len(world.nyc.state.routes) == 2


async def test_a_move_toward_a_headend_that_is_down_is_refused_by_name_and_nothing_is_sent(world):
    world.lon.refusing = True
    world.lon.drop()
    await eventually(lambda: "lon1" not in world.agent.up)
    toward_lon = RouteKey("lon1", KEY.prefix)
    with pytest.raises(DeviceError, match="lon1: its BGP session is down"):
        await world.announce(KEY, toward_lon)
    await nothing_more_happens()
    assert not world.nyc.state.routes
    await eventually(lambda: world.exabgp.counters["attempts_failed"])
    assert [e.address for e in world.events if isinstance(e, PeerDown)] == ["127.0.9.2"]  # once
    world.lon.refusing = False
    await world.all_up()


async def test_exabgp_repeats_nothing_of_its_own_accord(world):
    """What was announced behind the agent's back is not announced again when the session comes back."""
    await world.exabgp.command([announce("127.0.9.1", Route(KEY, "10.255.0.2", 1100), MARKS)], lambda: None)
    await eventually(lambda: world.nyc.state.routes)
    world.nyc.drop()
    await eventually(lambda: "nyc1" not in world.agent.up)
    await world.all_up()
    await nothing_more_happens()
    assert world.changes == [1, 0]


async def test_exabgp_listens_nowhere(world):
    states = tcp_states(world.exabgp._child.pid)
    assert states.count("established") == 3
    assert "listening" not in states


@pytest.mark.parametrize("notify", [False, True])
async def test_a_session_that_comes_back_is_told_its_routes_again(world, notify):
    await world.announce(KEY, RouteKey("lon1", KEY.prefix))
    await eventually(lambda: world.nyc.state.routes and world.lon.state.routes)
    world.nyc.drop(notify=notify)
    await eventually(lambda: world.changes == [1, 0, 1])
    assert world.lon.state.routes


async def test_exabgp_killed_is_started_again_and_says_everything_again(world):
    await world.announce(KEY)
    await eventually(lambda: world.nyc.state.routes)
    dead = world.exabgp._child.pid
    os.kill(dead, signal.SIGKILL)
    await eventually(lambda: world.changes == [1, 0, 1])
    assert world.exabgp._child.pid != dead
    assert PeerDown("127.0.9.101", "exabgp ended") in world.events  # nobody else says so


async def test_a_lost_helper_brings_a_new_exabgp(world):
    await world.announce(KEY)
    await eventually(lambda: world.nyc.state.routes)
    dead = world.exabgp._child.pid
    os.kill(children(dead)[0], signal.SIGKILL)
    await eventually(lambda: world.changes == [1, 0, 1])
    await eventually(lambda: not alive(dead))


async def test_a_hung_exabgp_is_replaced(world, monkeypatch):
    monkeypatch.setattr(exabgp_link, "DEADLINE_S", 0.5)
    hung = world.exabgp._child.pid
    os.kill(hung, signal.SIGSTOP)
    with pytest.raises(DeviceError, match=r"exabgp: (did not answer|is gone|ended)"):
        await world.announce(KEY)
    await eventually(lambda: not alive(hung))
    await world.all_up()


async def test_only_one_exabgp_is_left_of_all_of_them(world):
    """Run after those that killed one."""
    await eventually(lambda: children(os.getpid()) == [world.exabgp._child.pid])
    assert len(children(world.exabgp._child.pid)) == 1


async def test_nobody_else_can_read_the_configuration(world):
    directory = world.exabgp.directory
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "exabgp.conf").stat().st_mode & 0o777 == 0o600


async def test_a_clean_stop_says_goodbye_and_leaves_nothing(tmp_path):
    async with World(tmp_path, port=PORT + 1) as world:
        await world.announce(KEY)
        await eventually(lambda: world.nyc.state.routes)
        pid = world.exabgp._child.pid
        await world.exabgp.stop(notify=True)
        assert {e.reason for e in world.events if isinstance(e, PeerDown)} == {"notification sent (6,2)"}
        assert not world.nyc.state.routes
        assert not alive(pid)
        assert not world.exabgp.ready.is_set()
        with pytest.raises(DeviceError, match="not running"):
            await world.exabgp.command(["#"], lambda: None)


async def test_with_graceful_restart_a_withdrawal_before_a_clean_stop_still_gets_through(tmp_path):
    async with World(tmp_path, 60, PORT + 1) as world:
        await world.agent.resume({})
        await world.announce(*(RouteKey("nyc1", prefix) for prefix in ALLOWED))
        await eventually(lambda: len(world.nyc.state.routes) == len(ALLOWED))
        await world.agent.withdraw_all()
        await world.exabgp.stop(notify=True)
        await eventually(lambda: not world.nyc.state.routes)


async def test_with_graceful_restart_a_new_exabgp_loses_no_route(tmp_path):
    async with World(tmp_path, 60, PORT + 1) as world:
        await world.agent.resume({})
        await world.announce(KEY)
        await eventually(lambda: world.nyc.state.routes)
        os.kill(world.exabgp._child.pid, signal.SIGKILL)
        await eventually(lambda: world.nyc.routes.stale)
        await eventually(lambda: not world.nyc.routes.stale and world.nyc.established)
        await nothing_more_happens()
        assert world.changes == [1]
        assert '.sock" "kill";' in (tmp_path / "exabgp.conf").read_text()


async def test_cancelled_exabgp_is_gone(tmp_path):
    async with World(tmp_path, port=PORT + 1) as world:
        pid = world.exabgp._child.pid
        world.tasks[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await world.tasks[0]
        assert not alive(pid)


async def test_what_on_event_raises_ends_run_and_exabgp(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "PATIENCE_S", 0.5)

    def fail(event: Event) -> None:
        if isinstance(event, PeerUp):
            raise ZeroDivisionError

    nyc = RouterBgp(RouterState("nyc1", "10.255.0.1"), "127.0.9.1", PORT + 1, 65000)
    await nyc.start()
    neighbor = Neighbor("127.0.9.1", PORT + 1, frozenset({Family.IPV4_UNICAST}))
    exabgp = ExaBgp(ExaBgpConfig(65000, "10.0.0.9", "127.0.0.1", (neighbor,)), tmp_path, fail)
    with pytest.raises(ExceptionGroup):
        await exabgp.run()
    await nyc.stop()


async def doomed(directory: Path, port: int, graceful_restart_s: int) -> tuple[asyncio.subprocess.Process, list[int]]:
    """Start a process that hosts exabgp and has announced one route; return it and its descendants."""
    script = Path(__file__).with_name("daemon.py")
    host = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        str(directory),
        str(port),
        str(graceful_restart_s),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said = b""
    async with asyncio.timeout(20):
        while not said.startswith(b"pids "):
            said = await host.stdout.readline()
            assert said
    return host, [int(pid) for pid in said.split()[1:]]


@pytest_asyncio.fixture(loop_scope="module")
async def lone_router():
    changes: list[int] = []
    router = RouterBgp(
        RouterState("nyc1", "10.255.0.1"),
        "127.0.9.1",
        PORT + 2,
        65000,
        on_change=lambda: changes.append(len(router.state.routes)),
    )
    router.changes = changes
    await router.start()
    yield router
    await router.stop()


async def test_kill_9_of_the_daemon_takes_its_routes_along(lone_router, tmp_path):
    host, descendants = await doomed(tmp_path, PORT + 2, 0)
    await eventually(lambda: lone_router.state.routes)
    host.kill()
    await host.wait()
    await eventually(lambda: not lone_router.state.routes)
    await eventually(lambda: not any(map(alive, descendants)))
    assert len(descendants) == 2


async def test_with_graceful_restart_kill_9_leaves_routes_for_the_restart_time_and_no_longer(lone_router, tmp_path):
    host, descendants = await doomed(tmp_path, PORT + 2, 1)
    await eventually(lambda: lone_router.state.routes)
    host.kill()
    await host.wait()
    await eventually(lambda: lone_router.routes.stale)  # no NOTIFICATION was sent
    assert lone_router.state.routes
    await eventually(lambda: not any(map(alive, descendants)))
    await eventually(lambda: not lone_router.state.routes)


async def test_with_graceful_restart_a_standby_takes_over_without_a_gap(lone_router, tmp_path):
    """The router keeps the dead daemon's route until the standby, which had to find out first, has said it again."""
    host, _ = await doomed(tmp_path / "old", PORT + 2, 60)
    await eventually(lambda: lone_router.state.routes)
    host.kill()
    await host.wait()
    await eventually(lambda: lone_router.routes.stale)

    neighbor = Neighbor("127.0.9.1", PORT + 2, frozenset({Family.IPV4_UNICAST}))
    config = ExaBgpConfig(65000, "10.0.0.9", "127.0.0.1", (neighbor,), graceful_restart_s=60)
    exabgp = ExaBgp(config, tmp_path / "new", lambda event: isinstance(event, PeerUp) and agent.peer_up(event.address))
    router = Router("nyc1", "nyc", "10.255.0.1", "lab", "127.0.9.1", PORT + 2)
    agent = RouteAgent(exabgp, [router], ALLOWED, "65000:900", lambda: None, graceful_restart=True)
    tasks = [asyncio.create_task(exabgp.run()), asyncio.create_task(agent.run())]
    await eventually(lambda: agent.up)
    await nothing_more_happens()
    assert lone_router.routes.stale  # no End-of-RIB before it knows
    await agent.resume({KEY: Route(KEY, "10.255.0.2", 1100)})
    await eventually(lambda: not lone_router.routes.stale)
    assert lone_router.changes == [1]
    await agent.withdraw_all()
    await exabgp.stop(notify=True)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def tcp_states(pid: int) -> list[str]:
    """The states of a process's TCP sockets, as proc(5) tells them."""
    names = {"01": "established", "0A": "listening"}
    sockets = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [row.split() for table in ("tcp", "tcp6") for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return [names.get(row[3], row[3]) for row in rows if f"socket:[{row[9]}]" in sockets]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
