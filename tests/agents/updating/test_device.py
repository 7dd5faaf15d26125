"""Real netmiko against real SSH servers on loopback: the emulated routers, and impostors of them."""

import asyncio
import socket
import threading
from copy import deepcopy
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import asyncssh
import pytest

from neto.agents.updating.device import DeviceAgents, SshSettings
from neto.errors import DeviceError, DeviceTimeoutError, LeaseLostError
from neto.lab.configuration import CandidateList, PolicyConfig
from neto.lab.keys import make_keys
from neto.lab.ssh import serve_router
from neto.lab.state import LabRoute, RouterState
from neto.lab.told import Told, bordering
from neto.model.announcement import Adjustment, AnnouncementKey
from neto.model.inventory import Router
from neto.model.plan import AnnouncementMove, MoveKind, PolicyMove
from neto.model.sr import PolicyKey, Route, RouteKey, Segment, SegmentList, SrPolicy

COMMUNITY = "65000:900"


def free_port(address):
    """A place to listen that no other run of these tests has."""
    with socket.create_server((address, 0)) as probe:
        return probe.getsockname()


def policy(headend, colour, *stacks, endpoint="10.255.0.5"):
    key = PolicyKey(headend, colour, endpoint)
    return SrPolicy(key, tuple(SegmentList(tuple(map(Segment, labels)), weight) for labels, weight in stacks))


def install(wanted):
    return PolicyMove(MoveKind.INSTALL_POLICY, wanted.key, wanted)


def remove(wanted):
    return PolicyMove(MoveKind.REMOVE_POLICY, wanted.key, None)


def leads():
    """The check of a daemon that still leads."""


class Wan:
    """Routers that listen, and the agents that talk to them."""

    def __init__(self, directory: Path, names, **timeouts):
        self.ports = {name: free_port(f"127.0.8.{row}") for row, name in enumerate(names, start=1)}
        self.keys = make_keys(directory, self.ports)
        self.states = {name: RouterState(name, f"10.255.0.{row}") for row, name in enumerate(names, start=1)}
        self.servers = {}
        self.settings = SshSettings("neto", self.keys.client_key, self.keys.known_hosts, **timeouts)
        self.routers = [
            Router(name, "site", self.states[name].loopback, "lab", "127.0.0.1", ssh_address=host, ssh_port=port)
            for name, (host, port) in self.ports.items()
        ]
        self.agents = DeviceAgents(self.routers, self.settings, COMMUNITY)

    async def serve(self, name, host_key=None):
        host, port = self.ports[name]
        self.servers[name] = await serve_router(
            self.states[name], host, port, host_key or self.keys.host_key(name), self.keys.authorized_keys
        )

    async def stop(self, name):
        server = self.servers.pop(name)
        server.close()
        await server.wait_closed()

    async def __aenter__(self):
        for name in self.ports:
            await self.serve(name)
        return self

    async def __aexit__(self, *_):
        await self.agents.close()
        for name in tuple(self.servers):
            await self.stop(name)


@pytest.fixture
async def wan(tmp_path):
    async with Wan(tmp_path, ["nyc1"], connect_timeout_s=10) as wan:
        yield wan


def policies(wan, name="nyc1"):
    """What the router forwards by."""
    return {key: each.segment_lists or each.per_flow for key, each in wan.states[name].policies.items()}


async def test_what_was_pushed_is_what_the_router_forwards_by_and_what_is_read_back(wan):
    gold = policy("nyc1", 1001, ((16003, 16005), 70), ((16004, 24001, 16005), 30))
    flows = SrPolicy(PolicyKey("nyc1", 1000, "10.255.0.5"), per_flow=((-1, 1003), (46, 1001)))
    await wan.agents.apply("nyc1", [install(gold), install(flows)], leads)
    assert policies(wan) == {
        (1001, "10.255.0.5"): (((16003, 16005), 70), ((16004, 24001, 16005), 30)),
        (1000, "10.255.0.5"): ((-1, 1003), (46, 1001)),
    }
    assert (await wan.agents.read("nyc1")).policies == {gold.key: gold, flows.key: flows}


async def test_routes_of_ours_are_read_back_and_others_are_not(wan):
    ours, theirs = IPv4Network("10.5.0.0/18"), IPv4Network("10.6.0.0/18")
    wan.states["nyc1"].routes[ours] = LabRoute(ours, "10.255.0.5", 1000, 1500, ("65000:900", "no-export"))
    wan.states["nyc1"].routes[theirs] = LabRoute(theirs, "10.255.0.6", 200, 1600, ("65000:9001",))
    key = RouteKey("nyc1", ours)
    assert (await wan.agents.read("nyc1")).routes == {key: Route(key, "10.255.0.5", 1500)}


PEER = "100.64.1.2"
KEY = AnnouncementKey("nyc1", PEER, IPv4Network("10.1.0.0/18"))
PREPENDED = AnnouncementMove(KEY, Adjustment(KEY, prepend=(65000,)))


async def test_an_announcement_is_adjusted_and_read_back_and_no_policy_is_touched(wan):
    router = wan.servers["nyc1"].router
    router.running.out = bordering(65000, {PEER: 64500})
    await wan.agents.apply("nyc1", [install(policy("nyc1", 1001, ((16003,), 1)))], leads)
    before = policies(wan)
    await wan.agents.apply("nyc1", [PREPENDED], leads)
    assert router.running.out.told(PEER, KEY.prefix) == Told(prepended=1)
    assert (await wan.agents.read("nyc1")).announcements == {KEY: PREPENDED.adjustment}
    await wan.agents.apply("nyc1", [AnnouncementMove(KEY, None)], leads)
    assert router.running.out == bordering(65000, {PEER: 64500})
    assert policies(wan) == before


async def test_a_neighbour_whose_policy_is_somebody_elses_is_left_alone(wan):
    router = wan.servers["nyc1"].router
    router.running.out = bordering(65000, {PEER: 64500})
    router.running.out.neighbours[PEER] = 64500, "MINE"
    before = deepcopy(router.running)
    with pytest.raises(DeviceError, match="it is MINE, which is not NetO's"):
        await wan.agents.apply("nyc1", [PREPENDED], leads)
    assert router.running == before
    assert (await wan.agents.read("nyc1")).announcements == {}


async def test_a_replacement_is_atomic(wan):
    old, new = policy("nyc1", 1001, ((16003, 16005), 1)), policy("nyc1", 1001, ((16004, 16005), 2), ((16005,), 1))
    await wan.agents.apply("nyc1", [install(old)], leads)
    seen = []

    def watch():
        seen.append(policies(wan)[1001, "10.255.0.5"])

    await wan.agents.apply("nyc1", [install(new)], watch)
    assert len(seen) >= 3
    assert set(seen) == {(((16003, 16005), 1),)}  # until the commit, and then at once:
    assert policies(wan)[1001, "10.255.0.5"] == (((16004, 16005), 2), ((16005,), 1))
    assert set(wan.servers["nyc1"].router.running.segment_lists) == {"NETO-16004-16005", "NETO-16005"}


async def test_a_repeated_push_sends_nothing(wan):
    gold = policy("nyc1", 1001, ((16003,), 1))
    checks = []
    await wan.agents.apply("nyc1", [install(gold)], lambda: checks.append("first"))
    await wan.agents.apply("nyc1", [install(gold)], lambda: checks.append("second"))
    assert checks.count("first") == 3  # before anything, before the lines, before the commit
    assert checks.count("second") == 1  # nothing was left to say


async def test_removing_leaves_nothing_of_ours_behind_and_everything_of_others(wan):
    gold = policy("nyc1", 1001, ((16003,), 1))
    router = wan.servers["nyc1"].router
    theirs = [
        lambda to: to.segment_lists.update(OTHERS={10: 16009}),
        lambda to: to.policies.update({(7, "10.255.0.9"): _others_policy()}),
    ]
    router.commit(theirs)
    await wan.agents.apply("nyc1", [install(gold)], leads)
    await wan.agents.apply("nyc1", [remove(gold)], leads)
    assert list(wan.states["nyc1"].policies) == [(7, "10.255.0.9")]
    assert router.running.segment_lists == {"OTHERS": {10: 16009}}
    assert (await wan.agents.read("nyc1")).policies == {}


def _others_policy():
    return PolicyConfig("BY-HAND", {"OTHERS": CandidateList(100, "c", "OTHERS", 1)})


async def test_a_policy_of_somebody_else_is_left_alone(wan):
    router = wan.servers["nyc1"].router
    router.commit(
        [
            lambda to: to.segment_lists.update(OTHERS={10: 16009}),
            lambda to: to.policies.update({(1001, "10.255.0.5"): _others_policy()}),
        ]
    )
    for move in (install(policy("nyc1", 1001, ((16003,), 1))), remove(policy("nyc1", 1001, ((16003,), 1)))):
        with pytest.raises(DeviceError, match="not ours"):
            await wan.agents.apply("nyc1", [move], leads)
    assert wan.states["nyc1"].policies[1001, "10.255.0.5"].name == "BY-HAND"


async def test_what_the_router_refuses_is_told_in_its_words_and_nothing_stays_staged(wan):
    wan.servers["nyc1"].router.max_sids = 2
    deep, fine = policy("nyc1", 1001, ((16002, 16003, 16004), 1)), policy("nyc1", 1002, ((16005,), 1))
    with pytest.raises(DeviceError, match=r"Commit failed: .*3 SIDs, at most 2") as refusal:
        await wan.agents.apply("nyc1", [install(fine), install(deep)], leads)
    assert not isinstance(refusal.value, DeviceTimeoutError)
    assert wan.states["nyc1"].policies == {}
    await wan.agents.apply("nyc1", [install(fine)], leads)  # on the same login: the refused change is not in the way
    assert list(wan.states["nyc1"].policies) == [(1002, "10.255.0.5")]
    assert wan.servers["nyc1"].sessions == 1


async def test_what_no_router_of_its_kind_can_do_is_refused_before_it_is_sent(wan):
    for wrong in (((15,), 1), ((1048576,), 1), ((16003,), 0)):
        with pytest.raises(DeviceError):
            await wan.agents.apply("nyc1", [install(policy("nyc1", 1001, wrong))], leads)
    assert wan.states["nyc1"].policies == {}


async def test_a_half_done_commit_is_an_error_and_the_next_push_mends_it(wan):
    wan.states["nyc1"].half_done = True
    wanted = [policy("nyc1", 1000 + row, ((16000 + row,), 1)) for row in range(1, 4)]
    with pytest.raises(DeviceError, match="Commit failed"):
        await wan.agents.apply("nyc1", [install(each) for each in wanted], leads)
    assert (await wan.agents.read("nyc1")).policies == {wanted[0].key: wanted[0]}
    wan.states["nyc1"].half_done = False
    await wan.agents.apply("nyc1", [install(each) for each in wanted], leads)
    assert (await wan.agents.read("nyc1")).policies == {each.key: each for each in wanted}


@pytest.mark.parametrize("lost_at", [1, 2, 3])
async def test_nothing_is_committed_once_the_lease_is_lost(wan, lost_at):
    """The check fails at its first, second or third call; the third stands right before the commit."""
    calls = []

    def check():
        calls.append(1)
        if len(calls) == lost_at:
            raise LeaseLostError

    with pytest.raises(LeaseLostError):
        await wan.agents.apply("nyc1", [install(policy("nyc1", 1001, ((16003,), 1)))], check)
    assert len(calls) == lost_at
    assert wan.states["nyc1"].policies == {}
    await wan.agents.apply("nyc1", [install(policy("nyc1", 1002, ((16003,), 1)))], leads)
    assert list(wan.states["nyc1"].policies) == [(1002, "10.255.0.5")]  # nothing had stayed staged


async def test_a_deaf_router_times_out_and_what_it_was_told_lands_all_the_same(tmp_path):
    gold = policy("nyc1", 1001, ((16003,), 1))
    async with Wan(tmp_path, ["nyc1"], connect_timeout_s=10, read_timeout_s=0.7) as wan:
        wan.states["nyc1"].deaf = True
        with pytest.raises(DeviceTimeoutError, match="nyc1: no prompt came in time"):
            await wan.agents.apply("nyc1", [install(gold)], leads)
        assert wan.agents.counters["timeouts"] == 1
        wan.states["nyc1"].deaf = False
        assert (await wan.agents.read("nyc1")).policies == {gold.key: gold}  # on a new login


async def test_a_slow_commit_lands_after_the_time_out(tmp_path):
    gold = policy("nyc1", 1001, ((16003,), 1))
    async with Wan(tmp_path, ["nyc1"], connect_timeout_s=10, read_timeout_s=0.7) as wan:
        wan.states["nyc1"].delay_s = 1.0
        with pytest.raises(DeviceTimeoutError):
            await wan.agents.apply("nyc1", [install(gold)], leads)
        assert wan.states["nyc1"].policies == {}
        while not wan.states["nyc1"].policies:  # noqa: ASYNC110  the lab's state is no event
            await asyncio.sleep(0.05)
        assert list(wan.states["nyc1"].policies) == [(1001, "10.255.0.5")]


async def test_a_router_that_is_merely_slow_is_waited_for(wan):
    wan.states["nyc1"].delay_s = 0.2
    await wan.agents.apply("nyc1", [install(policy("nyc1", 1001, ((16003,), 1)))], leads)
    assert list(wan.states["nyc1"].policies) == [(1001, "10.255.0.5")]


async def test_giving_up_cuts_the_connection_and_frees_the_router(tmp_path):
    async with Wan(tmp_path, ["nyc1"], connect_timeout_s=10, read_timeout_s=3600) as wan:
        wan.states["nyc1"].deaf = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await wan.agents.apply("nyc1", [install(policy("nyc1", 1001, ((16003,), 1)))], leads)
        wan.states["nyc1"].deaf = False
        assert len((await wan.agents.read("nyc1")).policies) == 1


async def test_a_deaf_router_holds_up_no_other(tmp_path):
    """Two threads, three calls to a router that never answers: the other router's call has a thread."""
    async with Wan(tmp_path, ["nyc1", "lon1"], connect_timeout_s=10, read_timeout_s=3600, workers=2) as wan:
        wan.states["nyc1"].deaf = True
        move = install(policy("nyc1", 1001, ((16003,), 1)))
        stuck = [asyncio.create_task(wan.agents.apply("nyc1", [move], leads)) for _ in range(3)]
        await asyncio.sleep(0)
        assert (await wan.agents.read("lon1")).policies == {}
        assert not any(task.done() for task in stuck)
        for task in stuck:
            task.cancel()
        await asyncio.wait(stuck)


async def test_a_line_that_is_not_on_the_list_is_never_sent_nor_what_stands_beside_it(wan):
    await wan.agents.read("nyc1")
    session = wan.agents._workers["nyc1"].session
    with pytest.raises(DeviceError, match="no such line is allowed: 'reload'"):
        await asyncio.to_thread(session.exchange, ["configure terminal", "reload"])
    assert "Unknown" not in await asyncio.to_thread(lambda: session.exchange(["show running-config"]).popitem()[1])


async def test_a_login_that_came_about_is_not_cut_later(wan):
    await wan.agents.read("nyc1")
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert all(timer.finished.is_set() for timer in timers)


async def test_an_impostor_is_told_nothing(tmp_path):
    async with Wan(tmp_path, ["nyc1", "lon1"], connect_timeout_s=10) as wan:
        await wan.stop("nyc1")
        await wan.serve("nyc1", host_key=wan.keys.host_key("lon1"))
        with pytest.raises(DeviceError, match="does not match"):
            await wan.agents.read("nyc1")
        pinned = wan.keys.known_hosts.read_text().splitlines()
        wan.keys.known_hosts.write_text(pinned[1] + "\n")
        with pytest.raises(DeviceError, match="not found in known_hosts"):
            await wan.agents.read("nyc1")
        wan.keys.known_hosts.unlink()
        with pytest.raises(DeviceError, match="not found in known_hosts"):
            await wan.agents.read("nyc1")


async def test_a_router_with_another_name_is_told_nothing(tmp_path):
    """The inventory has two addresses the wrong way round: both keys are pinned, neither prompt is right."""
    async with Wan(tmp_path, ["nyc1"], connect_timeout_s=10) as wan:
        wan.states["nyc1"].name = "lon1"
        with pytest.raises(DeviceError, match="'lon1#', which is not the prompt of nyc1"):
            await wan.agents.apply("nyc1", [install(policy("nyc1", 1001, ((16003,), 1)))], leads)
        assert wan.states["nyc1"].policies == {}


async def test_a_key_that_the_router_does_not_know_is_refused(tmp_path):
    async with Wan(tmp_path / "a", ["nyc1"], connect_timeout_s=10) as wan:
        other = make_keys(tmp_path / "b", {})
        agents = DeviceAgents(wan.routers, replace(wan.settings, key_file=other.client_key), COMMUNITY)
        with pytest.raises(DeviceError, match=r"no login: .*[Aa]uthentication"):
            await agents.read("nyc1")
        await agents.close()


async def test_a_router_that_is_down_is_an_error_and_is_talked_to_again_once_it_is_back(wan):
    await wan.agents.read("nyc1")
    await wan.stop("nyc1")
    with pytest.raises(DeviceError, match=r"[Rr]efused"):
        await wan.agents.read("nyc1")
    await wan.serve("nyc1")
    assert (await wan.agents.read("nyc1")).policies == {}


async def test_a_broken_login_is_opened_again(wan):
    await wan.agents.read("nyc1")
    wan.servers["nyc1"].hang_up()
    assert (await wan.agents.read("nyc1")).policies == {}
    assert wan.servers["nyc1"].sessions == 1


async def test_a_port_that_accepts_and_says_nothing_ends_by_itself(tmp_path):
    wan = Wan(tmp_path, ["nyc1"], connect_timeout_s=0.5)
    with socket.create_server(wan.ports["nyc1"]), pytest.raises(DeviceError, match="no login"):
        await wan.agents.read("nyc1")
    await wan.agents.close()


class NeverOpens(asyncssh.SSHServer):
    """Lets everybody in and then never confirms the channel: paramiko waits an hour for that."""

    def begin_auth(self, username):  # noqa: ARG002  asyncssh's signature
        return False

    async def session_requested(self):
        await asyncio.Event().wait()


async def test_a_login_that_stalls_where_the_library_waits_for_an_hour_is_cut(tmp_path):
    wan = Wan(tmp_path, ["nyc1"], connect_timeout_s=0.25)
    async with asyncssh.listen(
        *wan.ports["nyc1"], server_factory=NeverOpens, server_host_keys=[wan.keys.host_key("nyc1")]
    ):
        with pytest.raises(DeviceError, match="no login"):
            await wan.agents.read("nyc1")
    await wan.agents.close()


async def test_many_routers_are_worked_on_at_once(tmp_path):
    names = [f"r{row}" for row in range(1, 11)]
    async with Wan(tmp_path, names, connect_timeout_s=30) as wan:
        wanted = {
            name: [policy(name, 1000 + c, ((16003, 16005), 1), ((16004,), 1)) for c in range(30)] for name in names
        }

        async def change(name):
            await wan.agents.apply(name, [install(each) for each in wanted[name]], leads)
            assert (await wan.agents.read(name)).policies == {each.key: each for each in wanted[name]}

        async with asyncio.TaskGroup() as work:
            for name in names:
                work.create_task(change(name))


async def test_calls_to_one_router_take_turns(wan):
    moves = [install(policy("nyc1", colour, ((16003,), 1))) for colour in range(1001, 1006)]
    async with asyncio.TaskGroup() as work:
        for move in moves:
            work.create_task(wan.agents.apply("nyc1", [move], leads))
    assert sorted(colour for colour, _ in wan.states["nyc1"].policies) == [1001, 1002, 1003, 1004, 1005]
    assert wan.servers["nyc1"].sessions == 1
