"""NetO's NetFlow agent beside other collectors: the same packets, loss-free, each pinned to the same core.

The figure is a ratio of flows for each second of CPU time in one run, the receivers taking turns. A receiver stands
still while its queue is filled, so that it works at full speed whoever is the faster, sender or receiver.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial

import numpy as np
import pytest

from .account import check
from .mixed import mixed
from .packets import uniform
from .receivers import FORCED, Nfacctd, Nfcapd, Ours, pin_sender, unpin_sender
from .report import Report
from .sender import NOTHING, Sender, add
from .table import table

FLOWS = int(os.environ.get("NETO_BENCH_FLOWS", "2000000"))  # in a stream
ROUNDS = int(os.environ.get("NETO_BENCH_ROUNDS", "3"))
WARM_S = float(os.environ.get("NETO_BENCH_WARM_S", "80"))  # until octets count when they were sent
# A round's share of FLOWS: where it would take minutes, less; more for NetO, which has work for each window as well.
SHARE = {"nfcapd": 1.0, "nfacctd": 0.05}
OURS = 5.0
ASKED = {"v5": (1.0, 1.5), "v9": (2.0, 3.0), "ipfix": (2.0, 3.0)}  # beside nfcapd: same buffer, and forced
VERSIONS = {"v5": 5, "v9": 9, "ipfix": 10}

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


class Turns:
    """One stream to one receiver: what it took, round by round."""

    def __init__(self, receiver, stream) -> None:
        self.receiver, self._sender = receiver, Sender(stream, receiver.port)
        share = SHARE.get(receiver.name, OURS)
        self._packets = max(1, int(stream.packets * FLOWS * share / stream.first_flow[-1]))
        self.sent, self.took_s, self.used_s, self.rates = NOTHING, 0.0, 0.0, []
        self._began_s = 0.0
        receiver.preambles += self._sender.preamble()
        receiver.drained()

    def warm(self) -> None:
        """Let it have something, unmeasured."""
        self.receiver.burst(self._sender, min(2000, self._packets))
        self.receiver.drained()
        self._began_s = self.receiver.cpu_s

    def round(self) -> None:
        """Send a round's packets, in bursts."""
        began_s, sent = self.receiver.cpu_s, NOTHING
        while sent.packets < self._packets:
            burst, took_s = self.receiver.burst(self._sender, self._packets - sent.packets)
            sent, self.took_s = add(sent, burst), self.took_s + took_s
        self.receiver.drained()
        used_s = self.receiver.cpu_s - began_s
        self.used_s += used_s
        self.rates.append(sent.flows / used_s / 1e6)
        self.sent = add(self.sent, sent)

    @property
    def rate(self) -> float:
        """Million flows a CPU second since `warm`, what was done between the rounds included."""
        return self.sent.flows / (self.receiver.cpu_s - self._began_s) / 1e6

    @property
    def row(self):
        return (
            self.receiver.name,
            f"{self.receiver.buffer >> 20} MiB",
            f"{self.rate:.3f}",
            f"{self.sent.flows / self.used_s / 1e6:.3f}",
            f"{min(self.rates):.3f} - {max(self.rates):.3f}",
            f"{self.sent.flows / self.took_s / 1e6:.3f}",
            f"{self.receiver.dropped}",
            f"{self.receiver.rss_mb:.0f}",
        )

    def close(self) -> None:
        self._sender.close()


HEAD = ("receiver", "buffer", "M flows / CPU s", "in rounds", "by round", "M flows / s, queue", "dropped", "MB")


@pytest.fixture(scope="module")
def report() -> Iterator[Report]:
    made = Report()
    made.say(f"\n{pin_sender()}; {FLOWS:,} flows a stream, {ROUNDS} rounds")
    yield made
    unpin_sender()


@pytest.fixture(scope="module")
def prefixes(tmp_path_factory):
    """Return the table, and the file it is in."""
    made = table()
    return made, made.save(tmp_path_factory.mktemp("table") / "table.npz")


@pytest.fixture
def stack(tmp_path) -> Iterator[ExitStack]:
    """What is to be ended, and what peers store to be forgotten after it."""
    with ExitStack() as held:
        held.callback(shutil.rmtree, tmp_path)
        yield held


def settle(receivers, streams) -> None:
    """Let collectors hear flows until they count them by when they were sent."""
    with ExitStack() as held:
        senders = [held.enter_context(closing(Sender(streams, each.port))) for each in receivers]
        for receiver, sender in zip(receivers, senders, strict=True):
            receiver.preambles += sender.preamble()
        ends = time.monotonic() + WARM_S
        while time.monotonic() < ends:
            for receiver, sender in zip(receivers, senders, strict=True):
                receiver.burst(sender, 100)
            time.sleep(1.0)
    for each in receivers:
        each.drained()


def test_flows_a_second_of_one_core(report, prefixes, stack, tmp_path):
    table, file = prefixes
    own = [stack.enter_context(closing(Ours(file, *each))) for each in ((), ("NetO, forced", FORCED))]
    peers = []
    for peer in (partial(Nfcapd, tmp_path / "nfcapd"), partial(Nfacctd, tmp_path / "nfacctd", table)):
        if missing := peer.func.missing():
            report.say(f"LEFT OUT: {missing}")
        else:
            peers.append(stack.enter_context(closing(peer())))
    receivers = [*own, *peers]
    for each in receivers:
        each.listening()
    report.say(f"NetO is made for {len(table.begins4) + len(table.begins6):,} prefixes in {own[0].built_s:.1f} s")
    settle(own, uniform(10, table, 100_000, domain=7))
    for name, version in VERSIONS.items():
        stream = uniform(version, table, FLOWS)
        with ExitStack() as held:
            turns = [held.enter_context(closing(Turns(each, stream))) for each in receivers]
            for each in turns:
                each.warm()
            for _ in range(ROUNDS):
                for each in turns:
                    each.round()
            decoded = python_package(stream)
            report.say(f"\n## {name}")
            report.table(HEAD, [each.row for each in turns] + [("netflow", "-", f"{decoded:.4f}", *[""] * 5)])
            compare(report, name, {each.receiver.name: each.rate for each in turns}, decoded)
    for each in own:
        report.say(f"- {each.name}: {check(each)}")
    for each in peers:
        proved(report, each)


def compare(report, name, rates, decoded) -> None:
    """Say what was asked and measured."""
    same, forced = ASKED[name]
    if "nfcapd" in rates:
        report.at_least(f"{name}, beside nfcapd", same, rates["NetO"] / rates["nfcapd"])
        report.at_least(f"{name}, beside nfcapd, buffer forced", forced, rates["NetO, forced"] / rates["nfcapd"])
    if "nfacctd" in rates:
        report.at_least(f"{name}, beside nfacctd", 20, rates["NetO"] / rates["nfacctd"])
    if name == "v5":  # all fields of fixed size: it has no work there
        report.say(f"- v5, beside PyPI's netflow: measured {rates['NetO'] / decoded:.3g}x")
    else:
        report.at_least(f"{name}, beside PyPI's netflow", 100, rates["NetO"] / decoded)


def python_package(stream, packets=1000) -> float:
    """Million flows a CPU second that the package `netflow` decodes, in this process."""
    netflow = pytest.importorskip("netflow")
    templates = {"netflow": {}, "ipfix": {}}
    for _, each in stream.preamble[:1]:
        netflow.parse_packet(each, templates)
    chosen = [stream.packet(n) for n in range(packets)]
    began = time.process_time()
    flows = sum(len(netflow.parse_packet(each, templates).flows) for each in chosen)
    assert flows == stream.first_flow[packets]
    return flows / (time.process_time() - began) / 1e6


def proved(report, peer) -> None:
    """See that a peer has done its work as well."""
    assert peer.dropped == 0
    if peer.name == "nfacctd":
        held, sent = peer.octets(), int(peer.sent.octets.sum())
        report.say(f"- nfacctd holds {held:,} octets of {sent:,}")
        assert held == sent
    peer.close()
    if (stored := peer.stored()) is not None:
        report.say(f"- {peer.name} stored {stored:,} flows of {peer.sent.flows:,}")
        assert stored == peer.sent.flows


def test_many_exporters_and_templates(report, prefixes, stack, tmp_path):
    table, file = prefixes
    own = [stack.enter_context(closing(Ours(file, name))) for name in ("uniform v9", "mixed")]
    if missing := Nfcapd.missing():
        report.say(f"LEFT OUT: {missing}")
    peers = [] if missing else [stack.enter_context(closing(Nfcapd(tmp_path / "nfcapd")))]
    receivers = [each.listening() for each in (*own, *peers)]
    settle(own, uniform(10, table, 100_000, domain=7))
    streams = [uniform(9, table, FLOWS), *[mixed(table, FLOWS // 2)] * (1 + len(peers))]
    turns = [stack.enter_context(closing(Turns(*each))) for each in zip(receivers, streams, strict=True)]
    for each in turns:
        each.warm()
    for _ in range(ROUNDS):
        for each in turns:
            each.round()
    report.say("\n## 200 exporters, 4 templates each, IPv6, sampling")
    report.table(HEAD, [each.row for each in turns])
    report.at_least("mixed, beside uniform v9", 0.5, turns[1].rate / turns[0].rate)
    if peers:
        report.say(f"- mixed, beside nfcapd: measured {turns[1].rate / turns[2].rate:.3g}x")
    for each in own:
        report.say(f"- {each.name}: {check(each)}")
    for each in peers:
        proved(report, each)


def test_the_loop_is_not_held_up(report, prefixes, stack):
    table, file = prefixes
    receiver = stack.enter_context(closing(Ours(file, "NetO, default", 0))).listening()
    settle([receiver], uniform(10, table, 100_000, domain=7))
    sender = stack.enter_context(closing(Sender(uniform(9, table, FLOWS), receiver.port)))
    receiver.preambles += sender.preamble()
    receiver.burst(sender, 1000)
    receiver.drained()
    began_s = receiver.cpu_s
    receiver.ask("ticks")
    sent, late_s = sender.pace(1e6 / 24, 20.0, 16)
    answer = receiver.ask()
    used_s = receiver.cpu_s - began_s
    counters = answer["counters"]
    p50, p99, most = (1000 * each for each in np.quantile(answer["late_s"], (0.5, 0.99, 1.0)))
    report.say("\n## The daemon's loop at 1 M flows/s for 20 s")
    report.at_most("loop lag, p99", "< 50 ms", f"{p99:.1f} ms (p50 {p50:.1f}, most {most:.1f})", p99 < 50)
    report.say(
        f"- {sent.flows:,} flows, {used_s / 20:.0%} of a core, {counters['kernel_drops']} of {sent.packets} packets "
        f"dropped; the sender was {1000 * late_s:.0f} ms late at most"
    )


def test_what_little_traffic_costs(report, prefixes, stack, tmp_path):
    table, file = prefixes
    if missing := Nfcapd.missing():
        report.say(f"LEFT OUT: {missing}")
        pytest.skip(missing)
    ours = stack.enter_context(closing(Ours(file, "NetO, default", 0))).listening()
    receivers = [ours, stack.enter_context(closing(Nfcapd(tmp_path / "nfcapd"))).listening()]
    settle(receivers[:1], uniform(10, table, 100_000, domain=7))
    stream = uniform(9, table, 500_000)
    senders = [stack.enter_context(closing(Sender(stream, each.port))) for each in receivers]
    for receiver, sender in zip(receivers, senders, strict=True):
        receiver.preambles += sender.preamble()
        receiver.burst(sender, 1000)
    used_s, rounds = [0.0, 0.0], 2
    for _ in range(rounds):
        for n, (receiver, sender) in enumerate(zip(receivers, senders, strict=True)):
            began_s = receiver.cpu_s
            sent, _ = sender.pace(1e5 / 24, 10.0, 1)
            receiver.sent = add(receiver.sent, sent)
            receiver.drained()
            used_s[n] += receiver.cpu_s - began_s
    ours, theirs = (each / rounds / 10 for each in used_s)
    report.say("\n## 100,000 flows/s for 10 s")
    ratio = ours / theirs
    told = f"{ratio:.2f} times ({ours:.1%} of a core beside {theirs:.1%})"
    report.at_most("CPU beside nfcapd", "<= 2 times", told, ratio <= 2)
    report.say(f"- {check(receivers[0])}")
