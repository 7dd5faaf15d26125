"""The emulated WAN as a whole: what clients of the real protocols do to it, and what it makes of that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import time
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import asyncssh
import pytest
from structlog.testing import capture_logs

from neto.agents.monitoring.bgpls import BgpLsAgent
from neto.agents.monitoring.netflow import NetflowAgent
from neto.errors import NetoError
from neto.lab.bgp_message import IPV4_UNICAST, LINK_STATE, Open, encode_open
from neto.lab.control import Control, ask
from neto.lab.scenario import load_scenario
from neto.lab.world import World
from neto.settings.load import load_config

CONFIG = Path(__file__).parents[2] / "neto.toml"
OFFSET = 10000 + os.getpid() % 10000  # below the ports that the kernel hands out
KEEPALIVE = bytes.fromhex("ff" * 16 + "0013" + "04")
LONDON = IPv4Network("10.5.0.0/18")
LON1, NYC1 = "10.255.0.5", "10.255.0.1"
PREFIX, COLOUR = "120a0500", 1400  # 10.5.0.0/18


@pytest.fixture
def scenario():
    return replace(load_scenario(CONFIG, OFFSET), convergence_s=0.05, tick_s=0.05, export_s=0.1)


@pytest.fixture
async def world(scenario, tmp_path):
    made = World(scenario, tmp_path)
    await made.start()
    yield made
    await made.stop()


async def until(true):
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 what is waited for is told by numbers only
            await asyncio.sleep(0.01)


class Peer:
    """A BGP speaker of few words: it opens, keeps alive when asked, and collects the UPDATEs that come."""

    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer
        self.updates: list[bytes] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, address, port, family):
        peer = cls(*await asyncio.open_connection(address, port))
        peer.writer.write(encode_open(Open(65000, 90, "10.255.255.1", frozenset({family}))) + KEEPALIVE)
        collecting = asyncio.create_task(peer.collect())
        yield peer
        collecting.cancel()
        peer.writer.close()

    async def collect(self):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self.reader.readexactly(19)
                body = await self.reader.readexactly(int.from_bytes(head[16:18], "big") - 19)
                if head[18] == 2:
                    self.updates.append(body)

    def announce(self, prefix: str, next_hop: str, colour: int) -> None:
        attributes = bytes.fromhex("40010100400200400304") + socket.inet_aton(next_hop)
        attributes += bytes.fromhex("400504000003e8c01008030b0000") + struct.pack("!I", colour)
        self.update(b"", attributes, bytes.fromhex(prefix))

    def withdraw(self, prefix: str) -> None:
        self.update(bytes.fromhex(prefix), b"", b"")

    def update(self, withdrawn: bytes, attributes: bytes, nlri: bytes) -> None:
        body = struct.pack("!H", len(withdrawn)) + withdrawn + struct.pack("!H", len(attributes)) + attributes + nlri
        self.writer.write(b"\xff" * 16 + struct.pack("!HB", 19 + len(body), 2) + body)


def router(world, name):
    return next(each for each in world.scenario.routers if each.name == name)


def demand(world, dscp, source="nyc1", prefix=LONDON):
    return world.demands[source, prefix, dscp]


async def configure(world, name, tmp_path, *lines):
    host, port = router(world, name).ssh
    files = {"client_keys": [str(tmp_path / "id_ed25519")], "known_hosts": str(tmp_path / "known_hosts")}
    async with asyncssh.connect(host, port, username="neto", config=None, **files) as connection:
        process = await connection.create_process(term_type="vt100")
        process.stdin.write("\n".join(["configure terminal", "segment-routing", "traffic-eng", *lines, "commit", ""]))
        await asyncio.wait_for(process.stdout.readuntil("Commit complete."), 20)
        process.stdin.write("end\nshow sr-te policy detail\n")
        return await asyncio.wait_for(process.stdout.readuntil("Valid: yes"), 20)


async def test_traffic_moves_when_a_route_points_at_a_committed_policy_and_back_when_the_session_drops(world, tmp_path):
    host, port = router(world, "nyc1").bgp
    assert set(demand(world, 46).way.shares) == {"nyc1-lon1"}
    shown = await configure(
        world,
        "nyc1",
        tmp_path,
        "segment-list L",
        "index 1 mpls label 16002",
        "index 2 mpls label 16005",
        f"policy color {COLOUR + 1} endpoint {LON1}",
        "candidate-path preference 100 name P explicit segment-list L weight 1",
        f"policy color {COLOUR} endpoint {LON1}",
        f"per-flow dscp 46 color {COLOUR + 1}",
    )
    assert "Status: Active" in shown
    assert world.steered_share == 0  # installed, and inert
    async with Peer.to(host, port, IPV4_UNICAST) as daemon:
        daemon.announce(PREFIX, LON1, COLOUR)
        await until(lambda: world.steered_share > 0)
        assert set(demand(world, 46).way.shares) == {"nyc1-iad1", "iad1-lon1"}
        assert set(demand(world, 0).way.shares) == {"nyc1-lon1"}  # no policy for it: the IGP path
        assert world.ledger.state.steered_mbps == pytest.approx(world.mbps(demand(world, 46)))
        daemon.withdraw(PREFIX)
        await world.legacy.wait()
        daemon.announce(PREFIX, LON1, COLOUR)
        await until(lambda: world.steered_share > 0)
        world.drop_session("nyc1")  # without graceful restart the routes go with the session
        await asyncio.wait_for(world.legacy.wait(), 10)
    assert world.steered_share == 0
    assert len(world.states["nyc1"].policies) == 2


async def test_the_speakers_tell_the_topology_that_the_scenario_has(world):
    """Oracle: the daemon's own decoder and database, written apart from the lab's encoder."""
    address, port = world.scenario.speakers[0]
    agent = BgpLsAgent([address], 60.0, lambda: None)
    agent.peer_up(address, 0.0)

    def told():
        while peer.updates:
            agent.raw_update(address, peer.updates.pop(0), 0.0)
        return agent.topology()

    async with Peer.to(address, port, LINK_STATE) as peer:
        await until(lambda: told() is not None)
        assert agent.problems == ()
        links = {link.id: link for link in agent.topology().links}
        assert set(links) == {cable.name for cable in world.scenario.cables if cable.target}
        for cable in world.scenario.cables:
            if cable.target:
                link = links[cable.name]
                assert (link.source, link.target) == (cable.source, cable.target)
                assert link.capacity_mbps == pytest.approx(cable.capacity_mbps, rel=1e-6)  # a float32 on the wire
                assert link.delay_us == cable.delay_us
                assert (link.igp_metric, link.adjacency_sid) == (cable.metric, cable.label)
                assert link.srlgs == frozenset(cable.srlgs)
            else:
                assert agent.peer_sids()[cable.source, cable.remote_address] == cable.label
        sids = {node.name: node.node_sid for node in agent.topology().nodes}
        assert sids == {each.name: each.node_label for each in world.scenario.routers}
        world.cut("nyc1-lon1")
        await until(lambda: len(told().links) == len(links) - 2)
        assert not {"nyc1-lon1", "lon1-nyc1"} & {link.id for link in agent.topology().links}
        world.cut("nyc-a-1")
        await until(lambda: told() and ("nyc1", "100.64.1.2") not in agent.peer_sids())
        world.restore("nyc1-lon1")
        await until(lambda: len(told().links) == len(links))


async def test_a_cut_loses_what_is_on_the_link_until_the_igp_knows(world):
    world.scale_demand(0.5)  # nothing else loses anything
    before = world.ledger.state
    on_link = sum(before.load_mbps["nyc1-lon1"]) + sum(before.load_mbps["lon1-nyc1"])
    world.cut("lon1-nyc1")  # by either of its names
    cut = world.ledger.state
    assert cut.lost_mbps["cut"] == pytest.approx(on_link)
    assert sum(cut.load_mbps["nyc1-lon1"]) == 0
    assert sum(cut.load_mbps["lon1-fra1"]) < sum(before.load_mbps["lon1-fra1"])  # nothing arrives to go on
    await until(lambda: "cut" not in world.ledger.state.lost_mbps)
    assert set(demand(world, 46).way.shares) == {"nyc1-iad1", "iad1-lon1"}
    world.restore("nyc1-lon1")
    assert sum(world.ledger.state.load_mbps["nyc1-lon1"]) == 0  # it is up, and nobody knows yet
    await until(lambda: set(demand(world, 46).way.shares) == {"nyc1-lon1"})
    for link, load in before.load_mbps.items():
        assert world.ledger.state.load_mbps[link] == pytest.approx(load)


async def test_a_list_over_a_dead_link_is_left_for_the_igp_once_that_knows(world, tmp_path):
    over = next(cable.label for cable in world.scenario.cables if cable.name == "nyc1-lon1")
    lines = ["segment-list L", f"index 1 mpls label {over}", f"policy color {COLOUR} endpoint {LON1}"]
    path = "candidate-path preference 100 name P explicit segment-list L weight 1"
    await configure(world, "nyc1", tmp_path, *lines, path)
    host, port = router(world, "nyc1").bgp
    async with Peer.to(host, port, IPV4_UNICAST) as daemon:
        daemon.announce(PREFIX, LON1, COLOUR)
        await until(lambda: demand(world, 0).way.steered)
        world.cut("nyc1-lon1")
        assert demand(world, 0).way.steered
        assert demand(world, 0).delivered_mbps == 0
        await until(lambda: not demand(world, 0).way.steered)
        assert demand(world, 0).delivered_mbps == pytest.approx(world.mbps(demand(world, 0)))


async def test_the_daemons_collector_measures_the_demand_that_there_is(world, scenario):
    """Every form of export, from every router's own address, against the rates of the scenario.

    A window may hold one export more or less of a router; what each demand is of its router's sum does not depend
    on that.
    """
    config = load_config(CONFIG)
    agent = NetflowAgent(scenario.collector, 0.5, config.inventory, config.peering, config.intents)
    listening = asyncio.create_task(agent.run())
    await until(lambda: agent.bound)
    running = asyncio.create_task(world.run())
    await until(lambda: (found := agent.demand(time.time())) and len(found.rates) == len(world.demands))
    measured = agent.demand(time.time())
    for task in (running, listening):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert measured.unknown_mbps == 0
    assert not measured.missing_exporters
    rate = {(row.source, row.prefix, row.traffic_class): row.rate_mbps for row in measured.rates}
    offered = {
        (each.source, each.prefix, scenario.classes[each.class_row]): world.mbps(each)
        for each in world.demands.values()
    }
    assert rate.keys() == offered.keys()
    for name in world.states:
        total = sum(mbps for key, mbps in rate.items() if key[0] == name)
        truth = sum(mbps for key, mbps in offered.items() if key[0] == name)
        for key, mbps in rate.items():
            if key[0] == name:
                assert mbps / total == pytest.approx(offered[key] / truth, rel=0.05), key


@pytest.fixture
async def controlled(world, tmp_path):
    """A world with its control socket, and a function that asks there."""
    path = tmp_path / "control.sock"
    path.touch()  # what a killed lab leaves behind is in nobody's way
    serving = asyncio.create_task(Control(world, path).run())
    await until(path.is_socket)

    async def do(what, **more):
        return await asyncio.to_thread(ask, path, {"do": what, **more})

    yield do
    with pytest.raises(NetoError, match="another lab answers"):
        await Control(world, path).run()
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    assert not path.exists()


async def test_the_state_of_everything_can_be_asked_for(world, controlled):
    status = await controlled("status")
    assert status["over_capacity"] == ["fra1-bom1", "nyc-a-1", "sfo-b-1", "tyo1-sfo1"]
    assert status["steered_share"] == 0
    assert status["classes"][0]["max_delay_us"] == 160_000
    assert status["classes"][2]["max_delay_us"] is None
    assert sum(row["offered_mbps"] for row in status["classes"]) == pytest.approx(status["offered_mbps"])
    assert len(status["links"]) == len(world.scenario.cables)
    rows = (await controlled("demands", source="nyc1"))["demands"]
    assert {row["source"] for row in rows} == {"nyc1"}
    assert len((await controlled("demands"))["demands"]) == len(world.demands)
    world.ledger.tick(world.clock())
    assert (await controlled("history"))["ticks"][-1]["worst_link"] == "nyc-a-1"


async def test_demand_can_be_changed_and_its_consequences_told_since_a_mark(controlled):
    assert (await controlled("scale", factor=0.5))["ok"]
    assert (await controlled("status"))["over_capacity"] == []
    assert (await controlled("mark", name="calm"))["ok"]
    assert (await controlled("demand", source="nyc1", to="lon1", dscp=46, mbps=40_000))["ok"]
    since = await controlled("since", name="calm")
    assert since["worst"]["nyc1-lon1"] > 2
    assert [episode["link"] for episode in since["episodes"]] == ["nyc1-lon1"]
    assert time.time() - 60 < since["episodes"][0]["began"] <= time.time()
    rows = (await controlled("demands"))["demands"]
    of_it = [row["mbps"] for row in rows if (row["source"], row["dscp"], row["prefix"][:5]) == ("nyc1", 46, "10.5.")]
    assert sum(of_it) == pytest.approx(40_000)


async def test_links_and_routers_can_be_troubled_and_relieved(world, controlled):
    assert (await controlled("cut", link="nyc1-lon1"))["ok"]
    assert {link["link"] for link in (await controlled("status"))["links"] if not link["up"]} == {
        "nyc1-lon1",
        "lon1-nyc1",
    }
    assert (await controlled("restore", link="nyc1-lon1"))["ok"]
    assert all(link["up"] for link in (await controlled("status"))["links"])
    state = world.states["syd1"]
    assert (await controlled("trouble", router="syd1", delay_s=2, deaf=True, half_done=True))["ok"]
    assert (state.delay_s, state.deaf, state.half_done) == (2.0, True, True)
    await controlled("trouble", router="syd1")
    assert (state.delay_s, state.deaf, state.half_done) == (0.0, False, False)
    assert (await controlled("drop-session", router="127.0.2.1"))["ok"]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"do": "cut", "link": "nowhere"}, "there is no link nowhere; there are nyc1-iad1"),
        ({"do": "cut"}, "link is missing"),
        ({"do": "trouble", "router": "nowhere"}, "there is no router nowhere; there are nyc1"),
        ({"do": "drop-session", "router": "nowhere"}, "there is no router or speaker nowhere"),
        ({"do": "since", "name": "x"}, "there is no mark x"),
        ({"do": "scale", "factor": "x"}, "factor 'x' is no number"),
        ({"do": "scale", "factor": -1}, "-1.0 is no factor"),
        ({"do": "demand", "source": "nyc1", "to": "x", "dscp": 0, "mbps": 1}, "there is no router, prefix group or"),
        ({"do": "demand", "source": "x", "to": "lon1", "dscp": 0, "mbps": 1}, "there is no router x"),
        ({"do": "demand", "source": "nyc1", "to": "lon1", "dscp": 64, "mbps": 1}, "dscp 64, 1.0 Mbit/s; accepted"),
        ({"do": "delay", "link": "nyc1-lon1", "more_ms": 1}, "there is no peering link nyc1-lon1; there are nyc-a-1"),
        ({"do": "delay", "link": "nyc-a-1", "more_ms": -1}, "-1.0 ms is no delay; accepted: 0 or more"),
        (
            {"do": "flap", "link": "nyc1-lon1", "times": 1, "period_s": 1},
            "there is no peering link nyc1-lon1; there are",
        ),
        ({"do": "flap", "link": "nyc-a-1", "times": 0, "period_s": 1}, "accepted: at least once"),
        ({"do": "blackhole", "isp": "nobody"}, "there is no ISP nobody; there are isp-a, isp-b"),
        ({"do": "blackhole", "isp": "isp-b", "group": "x"}, "there is no prefix group x; there are us-eyeballs"),
        ({"do": "dance"}, "accepted: status, demands"),
        (None, "accepted: status"),
        ([], "accepted: status"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_what_can(scenario, tmp_path, request_, said):
    answer = Control(World(scenario, tmp_path), tmp_path / "sock").answer(json.dumps(request_).encode())
    assert not answer["ok"]
    assert said in answer["error"]


async def test_noise_on_the_control_socket_is_answered_and_survived(scenario, tmp_path):
    control = Control(World(scenario, tmp_path), tmp_path / "sock")
    for noise in (b"", b"{\n", b"\xff\n", b"1\n"):
        assert not control.answer(noise)["ok"]


@pytest.mark.usefixtures("world")
async def test_two_labs_on_the_same_ports_are_one_too_many(scenario, tmp_path):
    other = World(scenario, tmp_path / "other")
    with pytest.raises(OSError, match="ddress already in use"):
        await other.start()
    await other.stop()


async def test_what_changes_is_told_in_a_line_each(scenario, tmp_path):
    with capture_logs() as logs:
        world = World(scenario, tmp_path)
        await world.start()
        running = asyncio.create_task(world.run())
        over = "segment-list L\nindex 1 mpls label 16005\n"
        policy = f"policy color {COLOUR} endpoint {LON1}\n"
        path = "candidate-path preference 100 name P explicit segment-list L weight 1"
        await configure(world, "nyc1", tmp_path, over + policy + path)
        host, port = router(world, "nyc1").bgp
        async with Peer.to(host, port, IPV4_UNICAST) as daemon:
            daemon.announce(PREFIX, LON1, COLOUR)
            await until(lambda: any(line["event"] == "traffic.steered" for line in logs))
        await until(lambda: any(line.get("share") == "0.0%" for line in logs))
        world.scale_demand(0.5)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await world.stop()
    told = [
        json.dumps({key: value for key, value in line.items() if key not in {"log_level", "after_s"}}) for line in logs
    ]
    for line in (
        {"link": "nyc-a-1", "full": "155.4%", "event": "link.over_capacity"},
        {"new": 1, "changed": 0, "removed": 0, "now": 1, "routers": "nyc1", "event": "policies.committed"},
        {"arrived": 1, "withdrawn": 0, "now": 1, "routers": "nyc1", "event": "routes.changed"},
        {"share": "1.0%", "was": "0.0%", "event": "traffic.steered"},
        {"arrived": 0, "withdrawn": 1, "now": 0, "routers": "nyc1", "event": "routes.changed"},
        {"share": "0.0%", "was": "1.0%", "event": "traffic.steered"},
        {"factor": 0.5, "event": "demand.scaled"},
        {"link": "nyc-a-1", "was": "155.4%", "event": "link.clear"},
    ):
        assert json.dumps(line) in told
