"""ISPs that are further away, or lose what they are sent, and what probes see of that."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from neto.lab.beyond import Beyond, probe
from neto.lab.scenario import load_scenario
from neto.lab.world import World
from neto.wire.samples import read_csv

CONFIG = Path(__file__).parents[2] / "neto.toml"
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def scenario():
    return load_scenario(CONFIG)


def seen(beyond):
    return {(link, prefix): (at, rtt_ms, loss) for _, at, link, prefix, rtt_ms, loss, _ in beyond.samples(NOW)}


def test_probes_see_twice_the_delay_from_the_border_of_the_link(scenario):
    told = seen(Beyond(scenario))
    assert len(told) == sum(map(len, scenario.exits.values()))
    assert told["nyc-a-1", "192.0.2.0/26"] == ("nyc1", 18.0, 0.0)


def test_a_delay_is_added_to_all_beyond_one_link_and_taken_back(scenario):
    beyond = Beyond(scenario)
    before = seen(beyond)
    beyond.delay("nyc-a-1", 20.0)
    after = seen(beyond)
    assert after["nyc-a-1", "192.0.2.0/26"] == ("nyc1", 58.0, 0.0)
    assert {key for key in before if after[key] != before[key]} == {key for key in before if key[0] == "nyc-a-1"}
    beyond.delay("nyc-a-1", 0)
    assert seen(beyond) == before


def test_of_an_isp_that_blackholes_probes_see_nothing(scenario):
    beyond = Beyond(scenario)
    beyond.blackhole("isp-b", None, heals=False)
    told = seen(beyond)
    assert {link for (link, _), (_, rtt_ms, loss) in told.items() if (rtt_ms, loss) == ("", 1.0)} == {
        "fra-b-1",
        "sfo-b-1",
        "tyo-b-1",
    }
    beyond.blackhole("isp-b", None, heals=True)
    assert all(loss == 0.0 for _, _, loss in seen(beyond).values())


@pytest.mark.parametrize("more_ms", [-1.0, float("nan"), float("inf")])
def test_what_is_no_delay_is_refused(scenario, more_ms):
    with pytest.raises(ValueError, match="accepted: 0 or more"):
        Beyond(scenario).delay("nyc-a-1", more_ms)


def test_what_there_is_not_is_refused_with_what_there_is(scenario):
    with pytest.raises(KeyError, match="peering link nyc1-lon1; there are nyc-a-1"):
        Beyond(scenario).delay("nyc1-lon1", 1.0)
    with pytest.raises(KeyError, match="ISP nobody; there are isp-a, isp-b"):
        Beyond(scenario).blackhole("nobody", None, heals=False)
    with pytest.raises(KeyError, match="prefix group eu; there are us-eyeballs, eu-eyeballs"):
        Beyond(scenario).blackhole("isp-b", "eu", heals=False)


async def test_the_file_of_samples_is_what_the_daemon_reads(scenario, tmp_path):
    beyond, file = Beyond(scenario), tmp_path / "samples.csv"
    beyond.blackhole("isp-b", None, heals=False)
    probing = asyncio.create_task(probe(beyond, file, 0.01, lambda: NOW))
    async with asyncio.timeout(10):
        while not file.exists():  # noqa: ASYNC110 a file tells nobody that it is there
            await asyncio.sleep(0.01)
    probing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await probing
    samples, refused = read_csv(file.read_text())
    assert not refused
    assert {sample.peering_link for sample in samples if sample.loss == 1.0 and sample.rtt_ms is None} == {
        "fra-b-1",
        "sfo-b-1",
        "tyo-b-1",
    }


def test_traffic_to_an_isp_that_blackholes_loads_its_links_and_arrives_nowhere(scenario, tmp_path):
    world = World(replace(scenario, tick_s=0.05), tmp_path)
    world._stale.update(world.states)
    world.settle()
    before = world.ledger.state
    world.blackhole("isp-b")
    after = world.ledger.state
    sent = sum(sum(after.load_mbps[link]) for link in ("fra-b-1", "sfo-b-1", "tyo-b-1"))
    assert after.load_mbps == before.load_mbps
    assert 0 < after.lost_mbps["blackholed"] <= sent
    assert sum(before.delivered_mbps) - sum(after.delivered_mbps) == pytest.approx(after.lost_mbps["blackholed"])
    world.blackhole("isp-b", heals=True)
    assert world.ledger.state.lost_mbps == before.lost_mbps


def test_an_isp_may_lose_one_group_and_deliver_the_others_over_the_same_links(scenario, tmp_path):
    world = World(replace(scenario, tick_s=0.05), tmp_path)
    world._stale.update(world.states)
    world.settle()
    before = world.ledger.state
    world.blackhole("isp-b", "eu-eyeballs")
    after = world.ledger.state
    prefixes = scenario.groups["eu-eyeballs"]
    lost = sum(
        world.mbps(each) * path.share
        for each in world.demands.values()
        for path in each.way.paths
        if each.prefix in prefixes and path.links[-1] in {"fra-b-1", "sfo-b-1", "tyo-b-1"}
    )
    assert after.load_mbps == before.load_mbps
    assert lost > 0
    assert after.lost_mbps["blackholed"] == pytest.approx(lost)
    dark = {key for key, (_, _, loss) in seen(world.beyond).items() if loss}
    assert dark == {(link, str(prefixes[0])) for link, _ in scenario.exits["eu-eyeballs"] if "-b-" in link}
    world.blackhole("isp-b", heals=True)
    assert world.ledger.state.lost_mbps == before.lost_mbps


def test_traffic_is_as_late_as_what_lies_beyond_its_link(scenario, tmp_path):
    world = World(scenario, tmp_path)
    world._stale.update(world.states)
    world.settle()
    (way,) = {
        each.way for each in world.demands.values() if each.source == "nyc1" and str(each.prefix) == "192.0.2.0/26"
    }
    assert way.paths[0].links[-1] == "nyc-a-1"
    world.delay("nyc-a-1", 30.0)
    (late,) = {
        each.way for each in world.demands.values() if each.source == "nyc1" and str(each.prefix) == "192.0.2.0/26"
    }
    assert late.delay_us == way.delay_us + 30_000
