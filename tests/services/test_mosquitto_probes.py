"""Latency samples over a real mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiomqtt
import pytest

from neto.agents.monitoring.latency import LatencyTable
from neto.agents.monitoring.probes import Probes
from neto.agents.mqtt import Broker
from tests.agents.monitoring.test_latency import NOW, PEERING
from tests.agents.monitoring.test_probes import told

pytestmark = pytest.mark.service


async def test_samples_that_probes_publish_are_taken_and_nonsense_is_counted(mosquitto):
    probes = Probes(LatencyTable(PEERING), now=lambda: NOW)
    task = asyncio.create_task(probes.subscribe(Broker("127.0.0.1", mosquitto.port), "neto-latency"))
    try:
        async with asyncio.timeout(30), aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
            while probes.counters["accepted"] < 6:
                await client.publish("neto/probe/fra1", json.dumps(told()), qos=1)
                await asyncio.sleep(0.1)
            await client.publish("neto/probe/fra1", "nonsense", qos=1)
            while probes.counters["malformed"] < 1:  # noqa: ASYNC110 it has no event
                await asyncio.sleep(0.05)
        assert probes._table.copy().estimates(NOW)[0].rtt_ms == 10.0
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
