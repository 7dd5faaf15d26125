"""Borders and probes, from sockets to the peering that is decided on, and to what people see."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from rich.console import Console

from neto import daemon
from neto.agents.monitoring.latency import LatencyRules
from neto.cli import tables
from neto.controller.latency_moves import LatencyPolicy
from neto.daemon import borders as borders_of
from neto.daemon import exabgp_config
from neto.model.peering import Egress, Isp, Peering, PeeringLink, PrefixGroup
from neto.operation.borders import Borders, Sources
from neto.operation.damping import DampingRules
from neto.settings.latency import Latency
from neto.settings.load import load_config
from neto.settings.main import Bgp, Bmp, Damping, Ibgp
from neto.wire.exabgp import PeerDown, PeerUp, RawOpen, RawUpdate
from tests.agents.monitoring.test_prometheus import serving, vector
from tests.wire.bgp.octets import (
    ADD_PATH_SENDS,
    AS4,
    attributes,
    bmp,
    monitoring,
    nlri,
    open_body,
    peer,
    peer_up,
    tlv,
    update,
)

BMP_PORT, HTTP_PORT = 17991, 17992
LISTED = Peering(
    isps=(Isp("isp", 64500),),
    links=(
        PeeringLink("l1", "b1", "isp", 1000.0, peer_address="192.0.2.1"),
        PeeringLink("l2", "b2", "isp", 1000.0, peer_address="192.0.2.1"),
    ),
    groups=(PrefixGroup("g", (ip_network("198.51.100.0/24"),)),),
    egresses=(Egress("g", "l1", 1000.0), Egress("g", "l2", 2000.0)),
)
BGP = Bgp(asn=65000, router_id="10.0.0.9", local_address="127.0.0.1")
BMP = Bmp.model_validate(
    {
        "listen": f"127.0.0.1:{BMP_PORT}",
        "router": [{"name": "b1", "address": "127.0.7.1"}, {"name": "b2", "address": "127.0.7.2"}],
        "quiet_s": 0.5,
    }
)
LATENCY = {"listen": f"127.0.0.1:{HTTP_PORT}", "confirm": 1}
SESSION = bmp(4, tlv(2, b"b") + tlv(1, b"")) + bmp(3, peer_up())
ROUTE = bmp(0, monitoring(update(attributes(), nlri("198.51.100.0/24"))))
END = bmp(0, monitoring(update()))


@pytest.fixture
async def borders(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    latency = Latency.model_validate(LATENCY | {"token_file": token})
    borders = Borders(Sources(BGP, BMP, latency, None), LISTED, lambda: None)
    task = asyncio.create_task(borders.run())
    yield borders
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def connected(port, source="127.0.0.1"):
    async with asyncio.timeout(10):
        while True:
            try:
                return (await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)))[1]
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


async def until(borders, holds, listed=LISTED):
    async with asyncio.timeout(10):
        while True:
            await borders.hear(listed, time.time())
            if holds():
                return
            await asyncio.sleep(0.05)


def open_(borders, listed=LISTED):
    return {each.peering_link: each.delay_us for each in borders.usable(listed).egresses}


async def test_exits_follow_routes_and_delays_follow_samples(borders):
    assert borders.usable(LISTED) is LISTED
    one, two = await connected(BMP_PORT, "127.0.7.1"), await connected(BMP_PORT, "127.0.7.2")
    one.write(SESSION + ROUTE + END)
    two.write(SESSION + ROUTE + END)
    await until(borders, lambda: not borders.doubts)
    assert open_(borders) == {"l1": 1000.0, "l2": 2000.0}
    assert [row["state"] for row in borders.peers] == ["up", "up"]

    now = time.time()
    samples = [
        {
            "ts": now - at,
            "vantage": border,
            "peering_link": link,
            "prefix": "198.51.100.0/24",
            "rtt_ms": rtt,
            "loss": 0,
            "n": 5,
        }
        for at in range(6)
        for border, link, rtt in (("b1", "l1", 30.0), ("b2", "l2", 20.0))
    ]
    body = json.dumps(samples).encode()
    probe = await connected(HTTP_PORT)
    head = f"POST /samples HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: {len(body)}\r\n\r\n"
    probe.write(head.encode() + body)
    await until(borders, lambda: open_(borders) == {"l1": 15000.0, "l2": 10000.0})

    assert borders.documents()["latency"]["moved"][0]["exit"] == "l2"

    two.write(bmp(2, peer() + b"\x04"))
    await until(borders, lambda: open_(borders) == {"l1": 15000.0})
    assert borders.doubts == ("l2: its BGP session is down",)
    documents = json.loads(json.dumps(borders.documents()))
    assert documents["routes"]["groups"] == [{"prefix_group": "g", "open": ["l1"], "closed": ["l2"]}]
    assert documents["routes"]["found"][0]["exits"] == ["l1"]
    assert documents["latency"]["moved"] == []
    shown = Console(width=200)
    with shown.capture() as told:
        shown.print(tables.routes(documents["routes"]), tables.latency(documents["latency"]))
    assert all(word in told.get() for word in ("198.51.100.0/24", "64511", "l2", "accepted 12"))
    for writer in (one, two, probe):
        writer.close()


async def test_what_is_newly_listed_is_usable_until_it_is_judged(borders):
    await borders.hear(LISTED, time.time())
    more = replace(
        LISTED,
        groups=(*LISTED.groups, PrefixGroup("h", (ip_network("203.0.113.0/24"),))),
        egresses=(*LISTED.egresses, Egress("h", "l1", 5.0)),
    )
    assert borders.usable(more) == more
    writer = await connected(BMP_PORT, "127.0.7.1")
    writer.write(SESSION + ROUTE + END)
    await until(borders, lambda: len(borders.usable(more).egresses) == 2, more)  # nobody announces h
    writer.close()


async def test_without_borders_and_probes_everything_is_as_listed():
    idle = Borders(Sources(BGP, None, None, None), LISTED, lambda: None)
    await idle.hear(LISTED, time.time())
    assert idle.usable(LISTED) == LISTED
    assert (idle.doubts, idle.peers) == ((), [])


class Probed:
    """Borders that read what probes see, and the file that they read it from."""

    def __init__(self, folder, listed=LISTED, damping=None, **rules):
        self.file, self.listed, self.began = folder / "samples.csv", listed, time.time() - 100
        latency = Latency.model_validate({"csv": self.file, "csv_period_s": 0.05} | rules)
        self.borders = Borders(Sources(BGP, None, latency, None, damping=damping or Damping()), listed, lambda: None)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.borders.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def sees(self, step, lost, holds):
        """Of every prefix behind every link the share lost[link, prefix], thrice; return the exits that are open."""
        prefixes = [str(prefix) for group in self.listed.groups for prefix in group.prefixes]
        lines = [
            f"{self.began + 10 * step + at},{link.node},{link.name},{prefix},20,{lost.get((link.name, prefix), 0)},5"
            for at in range(3)
            for link in self.listed.links
            for prefix in prefixes
        ]
        self.file.write_text("ts,vantage,peering_link,prefix,rtt_ms,loss,n\n" + "\n".join(lines) + "\n")
        await until(self.borders, lambda: self.borders.doubts == holds, self.listed)
        return [(each.prefix_group, each.peering_link) for each in self.borders.usable(self.listed).egresses]


G, H = "198.51.100.0/24", "203.0.113.0/24"
LOST = ("g through l1: probes are lost",)
OFTEN = ("g through l1: probes were lost too often",)


async def test_an_exit_whose_probes_are_lost_again_is_held_down_once_they_are_answered(tmp_path):
    async with Probed(tmp_path) as world:
        assert await world.sees(0, {("l1", G): 1}, LOST) == [("g", "l2")]
        assert await world.sees(1, {}, ()) == [("g", "l1"), ("g", "l2")]
        assert await world.sees(2, {("l1", G): 1}, LOST) == [("g", "l2")]
        assert await world.sees(3, {}, OFTEN) == [("g", "l2")]


async def test_what_an_isp_loses_of_one_group_closes_and_holds_that_group_s_exit_alone(tmp_path):
    """The link stays open for the others, and so does each group's last exit."""
    two = replace(
        LISTED,
        groups=(*LISTED.groups, PrefixGroup("h", (ip_network(H), ip_network("192.0.2.0/24")))),
        egresses=(*LISTED.egresses, Egress("h", "l1", 1000.0), Egress("h", "l2", 2000.0)),
    )
    every = [("g", "l1"), ("g", "l2"), ("h", "l1"), ("h", "l2")]
    rest = every[1:]
    async with Probed(tmp_path, two) as world:
        assert await world.sees(0, {("l1", G): 1}, LOST) == rest
        assert await world.sees(1, {}, ()) == every
        assert await world.sees(2, {("l1", G): 1}, LOST) == rest
        assert await world.sees(3, {}, OFTEN) == rest
        part = ("h through l1: probes to 50% of its prefixes are lost",)
        assert await world.sees(4, {("l1", H): 1}, (*part, *OFTEN)) == [("g", "l2"), ("h", "l2")]
        both = {("l1", G): 1, ("l2", G): 1, ("l1", H): 1, ("l2", "192.0.2.0/24"): 1}
        parts = (*part, "h through l2: probes to 50% of its prefixes are lost")
        assert await world.sees(5, both, (*parts, *OFTEN)) == [("g", "l2"), ("h", "l1"), ("h", "l2")]


async def test_what_loses_and_holds_is_as_the_settings_say(tmp_path):
    rules = {"closing_loss": 20.0, "closing_samples": 1}
    async with Probed(tmp_path, damping=Damping(hold_s=0.0), **rules) as world:
        for step in range(3):
            assert await world.sees(2 * step, {("l1", G): 0.2}, LOST) == [("g", "l2")]
            assert await world.sees(2 * step + 1, {("l1", G): 0.19}, ()) == [("g", "l1"), ("g", "l2")]


def test_the_settings_reach_the_rules_of_moves():
    latency = Latency(
        min_gain_ms=1.0,
        min_gain=0.25,
        more_loss=3.0,
        confirm=7,
        hold_s=5.0,
        longest_hold_s=50.0,
        probation_s=9.0,
        max_age_s=77.0,
        min_samples=8,
    )
    borders = Borders(Sources(BGP, None, latency, None), LISTED, lambda: None)
    assert borders._latency._policy == LatencyPolicy(1.0, 0.25, 0.03, 7, 5.0, 50.0, 9.0)
    assert borders._samples._rules == LatencyRules(77.0, 8, 0.5, 3)


@pytest.fixture
def prometheus():
    with serving() as server:
        yield server


async def test_samples_of_a_prometheus_move_groups_and_one_that_fails_is_a_doubt(prometheus):
    now = time.time()
    told = [
        {
            "metric": {"vantage": border, "peering_link": link, "prefix": G},
            "values": [[now - at, rtt] for at in range(6)],
        }
        for border, link, rtt in (("b1", "l1", "0.030"), ("b2", "l2", "0.020"))
    ]
    prometheus.says = lambda *_: (200, vector(*told, kind="matrix"))
    url = f"http://127.0.0.1:{prometheus.server_port}"
    asked = {"prometheus": [{"url": url, "query": "rtt[1m]", "interval_s": 1.0}], "confirm": 1}
    borders = Borders(Sources(BGP, None, Latency.model_validate(asked), None), LISTED, lambda: None)
    task = asyncio.create_task(borders.run())
    await until(borders, lambda: open_(borders) == {"l1": 15000.0, "l2": 10000.0})
    assert borders.doubts == ()
    prometheus.says = lambda *_: (500, b"")
    await until(borders, lambda: borders.doubts == (f"samples from {url}: HTTP status 500; accepted: 200",))
    assert open_(borders) == {"l1": 15000.0, "l2": 10000.0}
    assert borders.documents()["latency"]["counters"]["accepted"] == 12
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_the_daemon_hands_over_how_long_exits_are_held_down():
    config = load_config(Path(__file__).parents[2] / "neto.toml")
    settings = config.settings.model_copy(update={"latency": Latency(), "damping": Damping(hold_s=7.0, memory_s=70.0)})
    built = daemon.borders(replace(config, settings=settings), lambda: None)
    assert built._damping._rules == built._exits._damping._rules == DampingRules(7.0, 900.0, 70.0)


async def test_exits_follow_the_routes_that_borders_announce_to_us():
    ibgp = Ibgp.model_validate({"router": [{"name": "b1"}, {"name": "b2"}]})
    addresses = {"b1": "127.0.9.1", "b2": "127.0.9.2"}
    borders = Borders(Sources(BGP, Bmp(quiet_s=0.5), None, None, ibgp, addresses), LISTED, lambda: None)
    task = asyncio.create_task(borders.run())
    for address in addresses.values():
        borders.session(RawOpen(address, open_body(capabilities=AS4 + ADD_PATH_SENDS)))
        borders.session(PeerUp(address))
        borders.session(RawUpdate(address, update(attributes(), nlri("198.51.100.0/24", 1))))
        borders.session(RawUpdate(address, update(attributes(), nlri("198.18.0.0/15", 2))))
        borders.session(RawUpdate(address, update()))
    await borders.room()
    await until(borders, lambda: all(link["prefixes"] == 2 for link in borders.documents()["routes"]["links"]))
    assert open_(borders) == {"l1": 1000.0, "l2": 2000.0}
    assert [(row["peer"], row["kind"], row["state"]) for row in borders.peers] == [
        ("b1", "routes by ibgp", "up"),
        ("b2", "routes by ibgp", "up"),
    ]
    borders.session(RawUpdate("127.0.9.1", update(withdrawn=nlri("198.51.100.0/24", 1))))
    await until(borders, lambda: open_(borders) == {"l2": 2000.0})
    borders.session(RawUpdate("127.0.9.2", update(withdrawn=nlri("198.51.100.0/24", 1) + nlri("198.18.0.0/15", 2))))
    await until(borders, lambda: "l2: its BGP session is down" in borders.doubts)
    borders.session(PeerDown("127.0.9.1", "reset"))
    assert borders.peers[0]["state"] == "down"
    counters = borders.documents()["routes"]["counters"]
    assert (counters["ibgp_updates"], counters["rib_withdrawals"]) == (8, 3)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_borders_that_announce_their_routes_may_send_several_in_the_session_that_steers_them(tmp_path):
    example = Path(__file__).parents[2]
    shutil.copytree(example / "config", tmp_path / "config")
    text = (example / "neto.toml").read_text() + '[[ibgp.router]]\nname = "fra1"\n'
    (tmp_path / "neto.toml").write_text(text)
    config = load_config(tmp_path / "neto.toml")
    address = config.inventory.router["fra1"].bgp_address
    assert [each.address for each in exabgp_config(config).neighbors if each.add_path] == [address]
    assert borders_of(config, lambda: None).peers == [
        {"peer": "fra1", "kind": "routes by ibgp", "address": address, "state": "down"}
    ]
