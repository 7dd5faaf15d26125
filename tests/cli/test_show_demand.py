"""`neto show demand`: what was measured, what could not be told, and how well it is heard."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from ipaddress import ip_network

import pytest

from neto.ha.process import this_process
from neto.model.demand import DemandMatrix, ExporterHealth, PrefixDemand, UnknownDemand, UnknownPrefix
from neto.operation import report
from neto.store.sqlite import open_store

SETTINGS = """
[bgp]
asn = 65000
router_id = "10.0.0.1"
local_address = "127.0.0.1"
[[bgpls.speaker]]
address = "127.0.2.1"
"""
MATRIX = DemandMatrix(
    *(1000.0, 1030.0, (PrefixDemand("nyc1", "lon1", "gold", ip_network("10.2.0.0/18"), 1234.5),)),
    unknown_mbps=7.5,
    missing_exporters=frozenset({"fra1"}),
    missing_leaves=frozenset({"ams"}),
    unknown=(UnknownDemand("nyc1", 7.5),),
    unknown_prefixes=(UnknownPrefix("nyc1", ip_network("203.0.113.0/24"), 6.5),),
    doubtful={"lon1": "33% of what its exporters sent was lost on the way"},
)
HEALTH = ExporterHealth("lon1", "192.0.2.77", "ipfix", 7, 100, 50, 0.33, 4, 2, 1, 3, 6, -12.5)


@pytest.fixture
def show(tmp_path):
    (tmp_path / "neto.toml").write_text(SETTINGS)
    (tmp_path / "state").mkdir()

    async def fill():
        async with await open_store(tmp_path / "state" / "neto.db") as store:
            epoch = await store.take_lead(this_process(), 0.0, 0.0)
            document = report.demand(MATRIX, {"records": 12, "errors": 0}, [HEALTH])
            await store.put_documents(epoch, {"demand": document}, at=0.0)

    asyncio.run(fill())

    def run(*arguments):
        command = [sys.executable, "-m", "neto", "show", "demand", *arguments, "--config", tmp_path / "neto.toml"]
        return subprocess.run(command, capture_output=True, text=True, check=True, env={"COLUMNS": "220"}).stdout

    return run


def test_the_unknown_is_a_row_with_its_largest_prefixes_and_the_silent_are_named(show):
    said = show()
    rows = [line.split() for line in said.splitlines()]
    assert ["nyc1", "lon1", "gold", "1,234.5"] in rows
    assert ["nyc1", "unknown", "-", "7.5"] in rows
    assert ["nyc1", "203.0.113.0/24", "6.5"] in rows
    for line in (
        "silent exporters: fra1",
        "silent collectors: ams",
        "lon1: 33% of what its exporters sent was lost on the way",
        "collector: records 12",
    ):
        assert line in said


def test_the_health_of_each_exporter_is_shown_and_told_as_json(show):
    said = show("--health")
    (row,) = [line.split() for line in said.splitlines() if "192.0.2.77" in line]
    assert row[:9] == ["lon1", "192.0.2.77", "ipfix", "7", "100", "50", "0.33", "4", "2"]
    told = json.loads(show("--health", "--json"))
    assert told["health"][0]["clock_ahead_s"] == -12.5
    assert told["missing_leaves"] == ["ams"]
    assert json.loads(show("--json"))["unknown_prefixes"][0]["prefix"] == "203.0.113.0/24"
