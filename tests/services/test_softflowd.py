"""A real softflowd exports what a capture holds, over loopback, and the agent counts just that."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import subprocess
import time
from ipaddress import ip_address, ip_network

import pytest

from neto.agents.monitoring.netflow import NetflowAgent
from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory, Router, Site
from neto.model.peering import Peering

SOFTFLOWD = shutil.which("softflowd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.service
FLOWS, PACKETS = 300, 3
INVENTORY = Inventory(
    (Site("s", "eu"),),
    (
        Router("nyc1", "s", "10.255.0.1", "lab", "", exporters=("127.0.0.1",)),
        Router("lon1", "s", "10.255.0.2", "lab", "", prefixes=(ip_network("10.2.0.0/18"),)),
    ),
)
INTENTS = Intents((TrafficClass("any"),))


def capture(file) -> int:
    """Write UDP flows of different sizes; return the octets of their IP packets."""
    written = 0
    with file.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for flow in range(FLOWS):
            source = ip_address("10.1.0.1") + flow
            udp = struct.pack("!HHHH", 1000 + flow, 53, 108 + flow, 0) + bytes(100 + flow)
            header = struct.pack("!BBHIBBH", 0x45, 0, 20 + len(udp), 0, 64, 17, 0)
            frame = bytes(12) + b"\x08\0" + header + source.packed + ip_address("10.2.0.1").packed + udp
            for packet in range(PACKETS):
                out.write(struct.pack("<IIII", int(time.time()) - 5 + packet, flow, len(frame), len(frame)) + frame)
                written += 20 + len(udp)
    return written


@pytest.mark.parametrize("version", [5, 9, 10])
async def test_what_softflowd_read_is_what_the_agent_counts(tmp_path, version):
    if SOFTFLOWD is None:
        if os.environ.get("NETO_REQUIRE_SERVICES"):
            pytest.fail("softflowd is missing")
        pytest.skip("softflowd is not installed (make services)")
    octets = capture(tmp_path / "flows.pcap")
    agent = NetflowAgent(("127.0.0.1", 0), 1.0, INVENTORY, Peering(), INTENTS)
    running = asyncio.create_task(agent.run())
    async with asyncio.timeout(60):
        while agent.bound is None:  # noqa: ASYNC110 told by an attribute only
            await asyncio.sleep(0.01)
        address, port = agent.bound
        command = [SOFTFLOWD, "-r", str(tmp_path / "flows.pcap"), "-c", "none", "-n", f"{address}:{port}"]
        read = await asyncio.create_subprocess_exec(
            *command, "-v", str(version), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert await read.wait() == 0
        while agent.counters["records"] < FLOWS:  # noqa: ASYNC110 likewise
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    counters = agent.counters
    assert (counters["records"], counters["octets_received"], counters["octets_matched"]) == (FLOWS, octets, octets)
    assert counters["gaps"] == counters["late_messages"] == counters["restarts"] == counters["errors"] == 0
    assert counters["undecoded_sets"] == counters["waiting_sets"] == counters["kernel_drops"] == 0
