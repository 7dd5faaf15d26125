"""From raw messages of several speakers to one topology: who is believed, when, and what is counted."""

from __future__ import annotations

import asyncio
import time
from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.agents.monitoring.bgpls import BgpLsAgent
from neto.lab.bgp_update import encode_ls_reach, encode_ls_unreach
from neto.lab.bgpls import EpeLinkSpec, LsLinkSpec, LsNodeSpec, LsPrefixSpec, encode

MAIN, SPARE = "127.0.2.1", "127.0.2.2"
TTL_S, QUIET_S = 300.0, 3.0


def router(number):
    return LsNodeSpec(f"r{number}", f"10.255.0.{number}", f"0000.0000.{number:04}")


def cable(a, b, **said):
    return [
        LsLinkSpec(router(x), router(y), f"10.{x}.{y}.1", f"10.{y}.{x}.1", 1000.0, **said) for x, y in ((a, b), (b, a))
    ]


NETWORK = [router(1), router(2), *cable(1, 2)]


def reached(*specs):
    return [encode_ls_reach("127.0.2.1", *encode(spec))[19:] for spec in specs]


def withdrawn(*specs):
    return encode_ls_unreach([encode(spec)[0] for spec in specs])[19:]


END_OF_RIB = withdrawn()


class Watched:
    """An agent, and how often it said that something changed."""

    def __init__(self, *speakers):
        self.changes = 0
        self.agent = BgpLsAgent(speakers or (MAIN, SPARE), TTL_S, self._changed, quiet_s=QUIET_S)

    def _changed(self):
        self.changes += 1

    def tell(self, speaker, messages, now):
        for message in messages:
            self.agent.raw_update(speaker, message, now)

    def connect(self, speaker, specs, now):
        self.agent.peer_up(speaker, now)
        self.tell(speaker, [*reached(*specs), END_OF_RIB], now)

    @property
    def names(self):
        topology = self.agent.topology()
        return None if topology is None else [node.name for node in topology.nodes]


def test_nothing_is_known_before_a_speaker_has_told_everything():
    watched = Watched()
    watched.agent.peer_up(MAIN, 0)
    watched.tell(MAIN, reached(*NETWORK), 0)
    watched.agent.tick(1)
    assert (watched.agent.active, watched.names, watched.changes) == (None, None, 0)
    assert watched.agent.peer_sids() == {}
    assert watched.agent.problems == ()
    watched.tell(MAIN, [END_OF_RIB], 2)
    assert (watched.agent.active, watched.names, watched.changes) == (MAIN, ["r1", "r2"], 1)


def test_a_speaker_without_end_of_rib_is_complete_when_it_falls_silent():
    watched = Watched()
    watched.agent.peer_up(MAIN, 0)
    watched.tell(MAIN, reached(*NETWORK[:2]), 1)
    watched.agent.tick(1 + QUIET_S - 0.1)
    assert watched.agent.active is None
    watched.tell(MAIN, reached(*NETWORK[2:]), 3.9)
    watched.agent.tick(1 + QUIET_S)
    assert watched.agent.active is None
    watched.agent.tick(3.9 + QUIET_S)
    assert (watched.agent.active, watched.agent.counters["quiet_ends"]) == (MAIN, 1)


def test_a_speaker_that_says_nothing_at_all_is_not_complete():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    watched.agent.peer_down(MAIN, 10)
    watched.agent.peer_up(MAIN, 20)
    watched.agent.tick(20 + 10 * QUIET_S)
    assert watched.names == ["r1", "r2"]  # what it told before
    assert not watched.agent._speakers[MAIN].is_complete


def test_a_speaker_that_sees_nothing_is_not_believed():
    watched = Watched()
    watched.connect(MAIN, [], 0)
    watched.connect(SPARE, NETWORK, 0)
    assert watched.agent.active == SPARE


def test_the_preferred_speaker_is_active_and_the_spare_takes_over_at_once():
    watched = Watched()
    watched.connect(SPARE, [router(7)], 0)
    watched.connect(MAIN, NETWORK, 1)
    assert (watched.agent.active, watched.names) == (MAIN, ["r1", "r2"])
    watched.agent.peer_down(MAIN, 2)
    assert (watched.agent.active, watched.names) == (SPARE, ["r7"])
    watched.connect(MAIN, NETWORK, 3)
    assert watched.agent.active == MAIN
    assert watched.agent.counters["switches"] == 4
    assert watched.changes == 4


def test_news_of_the_spare_is_no_news():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    watched.connect(SPARE, NETWORK, 1)
    watched.tell(SPARE, reached(router(3)), 2)
    assert (watched.names, watched.changes) == (["r1", "r2"], 1)


def test_with_no_speaker_the_one_heard_last_is_believed_until_its_time_is_over():
    watched = Watched()
    watched.connect(MAIN, [router(1)], 0)
    watched.connect(SPARE, [router(2)], 5)
    watched.agent.peer_down(MAIN, 6)
    watched.agent.peer_down(SPARE, 7)
    watched.agent.tick(7 + TTL_S - 1)
    assert (watched.agent.active, watched.names) == (SPARE, ["r2"])
    assert any("before its session ended" in problem for problem in watched.agent.problems)
    watched.agent.tick(7 + TTL_S)
    assert (watched.agent.active, watched.names) == (None, None)


def test_half_a_table_is_never_believed():
    """The session drops in the middle, and what was told before it runs out."""
    watched = Watched(MAIN)
    watched.connect(MAIN, NETWORK, 0)
    watched.agent.peer_down(MAIN, 10)
    watched.agent.peer_up(MAIN, TTL_S)
    watched.tell(MAIN, reached(router(1)), TTL_S)
    watched.agent.peer_down(MAIN, TTL_S + 1)
    assert watched.names == ["r1", "r2"]
    watched.agent.tick(10 + TTL_S)
    assert watched.names is None


def test_a_change_is_told_and_a_measurement_is_not():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    watched.tell(MAIN, reached(*cable(1, 2, delay_us=500)), 1)
    assert watched.changes == 1
    assert [link.delay_us for link in watched.agent.topology().links] == [500.0, 500.0]
    watched.tell(MAIN, [withdrawn(*NETWORK[2:])], 2)
    assert watched.changes == 2
    assert watched.agent.topology().links == ()


def test_a_switch_to_a_speaker_that_tells_the_same_is_no_news():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    watched.connect(SPARE, list(reversed(NETWORK)), 1)
    before = watched.agent.topology()
    watched.agent.peer_down(MAIN, 2)
    assert (watched.agent.active, watched.agent.counters["switches"]) == (SPARE, 2)
    assert watched.agent.topology() == before
    watched.tell(SPARE, reached(router(3)), 3)
    assert watched.changes == 2
    watched.connect(MAIN, [*NETWORK, router(3)], 4)
    watched.agent.tick(5)
    assert (watched.agent.active, watched.changes) == (MAIN, 2)


def test_a_switch_to_a_speaker_that_measures_otherwise_is_no_news():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    watched.connect(SPARE, [*NETWORK, *cable(1, 2, delay_us=500)], 1)
    watched.agent.peer_down(MAIN, 2)
    assert [link.delay_us for link in watched.agent.topology().links] == [500.0, 500.0]
    assert watched.changes == 1


def test_what_is_told_and_makes_no_difference_is_no_news():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    watched.tell(MAIN, reached(LsPrefixSpec(router(1), IPv4Network("10.1.0.0/18"), metric=5)), 1)
    watched.tell(MAIN, reached(*cable(1, 3)), 2)  # nothing is told of router 3
    watched.agent.tick(3)
    assert watched.changes == 1


def test_new_peer_sids_are_news():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    peering = EpeLinkSpec(router(1), 64500, "192.0.2.1", "198.51.100.1", "198.51.100.2", 25001)
    watched.tell(MAIN, reached(peering), 1)
    assert (watched.changes, watched.agent.peer_sids()) == (2, {("r1", "198.51.100.2"): 25001})


def test_of_a_burst_the_first_change_is_told_at_once_and_the_rest_together():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    watched.tell(MAIN, reached(router(3)), 10.0)
    assert watched.changes == 2
    watched.tell(MAIN, reached(*map(router, range(4, 9))), 10.1)
    assert len(watched.names) == 8
    watched.agent.tick(10.2)
    assert watched.changes == 2
    watched.agent.tick(10.5)
    assert watched.changes == 3
    watched.agent.tick(11.5)
    assert watched.changes == 3


def test_a_link_that_is_lost_is_told_once_though_both_directions_are_withdrawn():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    for at, each in enumerate(cable(1, 2)):
        watched.tell(MAIN, [withdrawn(each)], 10.0 + at / 10)
    watched.agent.tick(11)
    assert (watched.changes, watched.agent.topology().links) == (2, ())


def test_a_message_that_cannot_be_read_is_counted_told_and_survived():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    watched.tell(MAIN, [b"\0\0\0\xff", *reached(router(3))], 1)
    assert watched.names == ["r1", "r2", "r3"]
    assert watched.agent.counters["wire_errors"] == 1
    assert any(MAIN in problem and "could not be read" in problem for problem in watched.agent.problems)
    watched.agent.peer_down(MAIN, 2)
    watched.connect(MAIN, NETWORK, 3)
    assert watched.agent.problems == ()


def test_strangers_are_counted_and_not_heard():
    watched = Watched()
    watched.agent.peer_up("127.0.9.9", 0)
    watched.tell("127.0.9.9", reached(*NETWORK), 0)
    watched.agent.peer_down("127.0.9.9", 0)
    assert watched.agent.counters["strangers"] == 6
    assert watched.agent.counters["updates"] == 0


def test_everything_that_moves_is_counted():
    watched = Watched()
    watched.connect(MAIN, NETWORK, 0)
    nlri, attribute = encode(router(1))
    odd = attribute + bytes.fromhex("fa00 0000") + bytes.fromhex("0404 0003 0aff00")  # unknown; router-id too short
    watched.tell(MAIN, [encode_ls_reach(MAIN, nlri, odd)[19:]], 1)
    watched.tell(MAIN, [encode_ls_reach(MAIN, nlri, attribute + b"\0")[19:]], 1)
    watched.tell(MAIN, [encode_ls_reach(MAIN, bytes.fromhex("0009 0000"), b"")[19:]], 1)
    watched.tell(MAIN, [withdrawn(router(1), router(2))], 2)
    watched.agent.peer_down(MAIN, 3)
    assert {name: count for name, count in watched.agent.counters.items() if count} == {
        "updates": 9,
        "objects": 6,
        "withdrawals": 2,
        "ends_of_rib": 1,
        "unknown_tlvs": 1,
        "malformed_tlvs": 1,
        "unknown_nlris": 1,
        "discarded_attributes": 1,
        "sessions_up": 1,
        "sessions_down": 1,
        "switches": 1,
    }
    assert watched.agent.unknown_tlvs == {0xFA00: 1}


async def test_time_passes_while_it_runs():
    complete = asyncio.Event()
    agent = BgpLsAgent((MAIN,), TTL_S, complete.set, quiet_s=0.01)
    agent.peer_up(MAIN, time.monotonic())
    for message in reached(*NETWORK):
        agent.raw_update(MAIN, message, time.monotonic())
    running = asyncio.create_task(agent.run(), name="topology")
    try:
        async with asyncio.timeout(10):
            await complete.wait()
    finally:
        running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert agent.active == MAIN


pairs = st.tuples(st.integers(1, 8), st.integers(1, 8)).filter(lambda pair: pair[0] < pair[1])


@settings(max_examples=60, deadline=None)
@given(st.sets(pairs, max_size=14), st.randoms(use_true_random=False))
def test_any_network_that_the_lab_tells_in_any_order_is_the_topology(cables, random):
    specs = [router(number) for number in range(1, 9)]
    specs += [LsPrefixSpec(node, IPv4Network(node.router_id), int(node.router_id[-1])) for node in specs]
    specs += [
        each
        for a, b in cables
        for each in cable(a, b, igp_metric=10 * a + b, srlgs=(a, b), adjacency_sid=24000 + 10 * a + b)
    ]
    specs.append(EpeLinkSpec(router(3), 64500, "192.0.2.1", "198.51.100.1", "198.51.100.2", 25001))
    messages = reached(*specs)
    random.shuffle(messages)
    watched = Watched()
    watched.agent.peer_up(MAIN, 0)
    watched.tell(MAIN, [*messages, END_OF_RIB], 0)
    topology = watched.agent.topology()
    assert [(node.name, node.router_id, node.node_sid) for node in topology.nodes] == [
        (f"r{number}", f"10.255.0.{number}", 16000 + number) for number in range(1, 9)
    ]
    assert {
        (link.source, link.target, link.igp_metric, link.adjacency_sid, link.srlgs, link.remote_address)
        for link in topology.links
    } == {
        (f"r{x}", f"r{y}", 10 * a + b, 24000 + 10 * a + b, frozenset((a, b)), f"10.{y}.{x}.1")
        for a, b in cables
        for x, y in ((a, b), (b, a))
    }
    assert watched.agent.peer_sids() == {("r3", "198.51.100.2"): 25001}
    assert watched.agent.problems == ()


@st.composite
def garbled(draw):
    """What a speaker says of a network, some of it with octets changed where they change what is told."""
    specs = [*NETWORK, router(3), *cable(2, 3, adjacency_sid=24001, delay_us=5, name="x")]
    specs += [LsPrefixSpec(router(n), IPv4Network(f"10.255.0.{n}"), n) for n in (1, 2, 3)]
    specs.append(EpeLinkSpec(router(1), 64500, "192.0.2.1", "198.51.100.1", "198.51.100.2", 25001))
    messages = [bytearray(message) for message in reached(*specs)]
    for _ in range(draw(st.integers(1, 9))):
        message = draw(st.sampled_from(messages))
        message[draw(st.integers(25, len(message) - 1))] = draw(st.sampled_from([0, 1, 2, 3, 4, 6, 7, 9, 0x80, 0xFF]))
    return [bytes(message) for message in draw(st.permutations(messages))]


@settings(max_examples=200, deadline=None)
@given(garbled())
def test_whatever_a_speaker_says_there_is_a_topology_that_makes_sense(messages):
    watched = Watched()
    watched.agent.peer_up(MAIN, 0)
    watched.tell(MAIN, [*messages, END_OF_RIB], 0)
    topology = watched.agent.topology()
    assert topology is not None
    nodes = [node.name for node in topology.nodes]
    assert len(nodes) == len(set(nodes))
    assert len({link.id for link in topology.links}) == len(topology.links)
    labels = [node.node_sid for node in topology.nodes if node.node_sid is not None]
    assert len(labels) == len(set(labels))
    for link in topology.links:
        assert {link.source, link.target} <= set(nodes)
        assert 0 < link.capacity_mbps < float("inf")
        assert link.igp_metric > 0
        assert any((back.source, back.target) == (link.target, link.source) for back in topology.links) or any(
            f"{link.target}" in problem for problem in watched.agent.problems
        )
    assert isinstance(watched.agent.problems, tuple)
    assert isinstance(dict(watched.agent.peer_sids()), dict)
