"""The agent on a real socket: exports of known routers are counted, all else is counted as refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from ipaddress import ip_address, ip_network

import pytest

from neto.agents.monitoring.demand import FlowAggregator
from neto.agents.monitoring.netflow import NetflowAgent
from neto.lab.export import Exporter, Flow
from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Peering
from tests.wire.netflow import test_sflow as sflow
from tests.wire.netflow.packets import a_set, template, v9

INVENTORY = Inventory(
    (Site("s", "eu"),),
    (
        Router("nyc1", "s", "10.255.0.1", "lab", "", exporters=("127.0.1.1",)),
        Router("lon1", "s", "10.255.0.2", "lab", "", prefixes=(ip_network("10.2.0.0/18"),)),
    ),
)
INTENTS = Intents((TrafficClass("gold", frozenset({46})), TrafficClass("bronze")))
FLOW = Flow(ip_address("10.1.0.1"), ip_address("10.2.0.1"), 5_000, 5, 46 << 2, 1, 2)


@contextlib.asynccontextmanager
async def running(window_s=0.2, **options):
    agent = NetflowAgent(("127.0.0.1", 0), window_s, INVENTORY, Peering(), INTENTS, **options)
    task = asyncio.create_task(agent.run())
    await until(lambda: agent.bound)
    yield agent
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert agent.bound is None


async def until(true):
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 what is waited for is told by numbers only
            await asyncio.sleep(0.01)


def send(agent, packets, source="127.0.1.1"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        for packet in packets:
            sender.sendto(packet, agent.bound)


async def test_what_a_router_exports_becomes_demand():
    async with running(active_timeout_s=0) as agent:
        send(agent, Exporter("v9", 1, sampling=10).packets([FLOW], time.time()))
        await until(lambda: (matrix := agent.demand(time.time())) is not None and matrix.rates)
        (rate,) = agent.demand(time.time()).rates
        assert (rate.source, rate.target, rate.traffic_class) == ("nyc1", "lon1", "gold")
        assert agent.counters["octets_received"] == 5000
        assert agent.counters["datagrams"] == 2


async def test_datagrams_of_strangers_are_counted_and_not_read():
    async with running() as agent:
        send(agent, Exporter("v5").packets([FLOW], time.time()), source="127.0.1.9")
        await until(lambda: agent.counters["unknown_exporters"] == 1)
        assert agent.counters["records"] == 0


async def test_random_datagrams_are_counted_and_what_follows_is_read():
    async with running() as agent:
        send(agent, [os.urandom(n) for n in (0, 1, 20, 1400)] + [b"\0\x09" + os.urandom(900), b"\0\x0a\xff"])
        send(agent, Exporter("ipfix", 3).packets([FLOW], time.time()))
        await until(lambda: agent.counters["records"] == 1)
        assert agent.counters["errors"] >= 5


async def test_more_than_one_gulp_of_datagrams_is_read_to_the_end():
    async with running() as agent:
        exporter = Exporter("v5")
        for _ in range(200):
            send(agent, exporter.packets([FLOW], time.time()))
        await until(lambda: agent.counters["records"] == 200)
        assert agent.counters["gaps"] == agent.counters["kernel_drops"] == 0


async def test_a_reload_changes_whose_exports_are_read():
    async with running() as agent:
        await agent.reload(Inventory((), ()), Peering(), INTENTS)
        send(agent, Exporter("v5").packets([FLOW], time.time()))
        await until(lambda: agent.counters["unknown_exporters"] == 1)


async def test_templates_and_sampling_outlive_a_restart(tmp_path):
    exporter = Exporter("ipfix", 3, sampling=100, template_every_s=1e9)
    memory = tmp_path / "exporters.json"
    async with running(memory=memory) as agent:
        send(agent, exporter.packets([FLOW], time.time()))
        await until(lambda: agent.counters["records"] == 1)
    async with running(memory=memory) as agent:
        send(agent, exporter.packets([FLOW], time.time()))
        await until(lambda: agent.counters["octets_received"] == 5000)
        assert agent.counters["records_sampling_unknown"] == 0


async def test_a_memory_that_cannot_be_read_or_written_stops_nothing(tmp_path):
    memory = tmp_path / "nowhere" / "exporters.json"
    async with running(memory=memory) as agent:
        assert agent.counters["records"] == 0
    memory.parent.mkdir()
    memory.write_bytes(b"\xff junk")
    async with running(memory=memory) as agent:
        send(agent, Exporter("ipfix", 3).packets([FLOW], time.time()))
        await until(lambda: agent.counters["records"] == 1)
    assert b'"version":1' in memory.read_bytes()


async def test_the_health_of_what_is_heard_is_told_by_router():
    async with running() as agent:
        send(agent, Exporter("v9", 7).packets([FLOW], time.time()))
        await until(lambda: agent.counters["records"] == 1)
        (row,) = agent.health
        assert (row.router, row.domain, row.version, row.lost) == ("nyc1", 7, "v9", 0)


async def test_collectors_that_share_an_address_count_every_export_once():
    async with running(reuse_port=True) as one:
        shared = NetflowAgent(one.bound, 0.2, INVENTORY, Peering(), INTENTS, reuse_port=True)
        task = asyncio.create_task(shared.run())
        await until(lambda: shared.bound)
        for _ in range(40):  # each from a port of its own: the kernel deals them out
            send(one, Exporter("v5").packets([FLOW], time.time()))
        await until(lambda: one.counters["records"] + shared.counters["records"] == 40)
        assert one.counters["records"]
        assert shared.counters["records"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_datagram_of_any_size_is_read():
    async with running() as agent:
        records = a_set(256, struct.pack("!4sI", FLOW.dst.packed, 7) * 8000)
        send(agent, [v9(a_set(0, template(256, (12, 4), (1, 4))), records)])
        await until(lambda: agent.counters["octets_matched"] == 7 * 8000)
        assert agent.counters["errors"] == 0


async def test_without_recvmmsg_datagrams_are_read_one_by_one(monkeypatch):
    monkeypatch.setattr("neto.agents.monitoring.slots._recvmmsg", lambda: None)
    async with running() as agent:
        send(agent, Exporter("v9", 1, sampling=10).packets([FLOW], time.time()))
        send(agent, Exporter("v5").packets([FLOW], time.time()), source="127.0.1.9")
        await until(lambda: agent.counters["octets_received"] == 5000 and agent.counters["unknown_exporters"] == 1)


async def test_sflow_is_read_from_the_same_socket():
    async with running() as agent:
        send(agent, [sflow.datagram(sflow.sample(sflow.raw(sflow.ethernet(0x0800, sflow.ipv4(total=500)))))])
        await until(lambda: agent.counters["octets_received"] == 500_000)
        assert agent.counters["octets_matched"] == 500_000


async def test_a_fault_of_ours_does_not_end_listening(monkeypatch):
    async with running() as agent:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        whole = FlowAggregator.count
        monkeypatch.setattr(FlowAggregator, "count", lambda *_: 1 / 0)
        for sent in (1, 2, 3):
            send(agent, Exporter("v5").packets([FLOW], time.time()))
            await until(lambda sent=sent: agent.counters["datagrams"] == sent)
        monkeypatch.setattr(FlowAggregator, "count", whole)
        send(agent, Exporter("v5").packets([FLOW], time.time()))
        await until(lambda: agent.counters["octets_matched"] == 5000)
