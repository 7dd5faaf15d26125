"""Flow exports of every emulated router: what has entered there since it last exported, to the octet.

Each demand leaves as a few five-tuples. Octets are counted exactly and exported in whole samples, what is left over
waits for the next time, so that nothing is rounded away in the long run.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from neto.lab.export import Exporter, Flow
from neto.lab.scenario import INSIDE, Scenario

SHARES = (0.6, 0.4)  # how a demand divides into five-tuples
PACKET_OCTETS = 1000
TEMPLATES_S = 5.0  # a collector that starts later than we is blind for so long
NO_PREFIX = IPv4Network("192.0.2.0/32")  # where traffic comes from at a router that originates nothing

Key = tuple[str, IPv4Network, int]  # source router, prefix, code point


@dataclass(slots=True)
class _Counter:
    mbps: Mapping[int, float] = field(default_factory=dict)  # by ifIndex
    since: float = 0.0
    octets: dict[tuple[int, int], float] = field(default_factory=dict)  # by ifIndex and flow

    def advance(self, now: float) -> None:
        seconds = max(0.0, now - self.since)
        for in_if, mbps in self.mbps.items():
            for flow, share in enumerate(SHARES):
                had = self.octets.get((in_if, flow), 0.0)
                self.octets[in_if, flow] = had + mbps * share * 1e6 / 8 * seconds
        self.since = now


class Meter:
    """Counts what enters at each router. Sans-IO; times are unix seconds."""

    def __init__(self, scenario: Scenario) -> None:
        self._home = {r.name: r.prefixes[0] if r.prefixes else NO_PREFIX for r in scenario.routers}
        self._grain = scenario.sampling
        self._counters: dict[str, dict[Key, _Counter]] = defaultdict(dict)
        self._exported = {router.name: 0.0 for router in scenario.routers}

    def rate(self, key: Key, mbps: Mapping[int, float], now: float) -> None:
        """Set the rate of one demand from now on, by the ifIndex at which it enters."""
        counter = self._counters[key[0]].setdefault(key, _Counter(since=now))
        counter.advance(now)
        counter.mbps = mbps

    def take(self, router: str, now: float) -> list[Flow]:
        """Return what has entered at a router since the last time, in whole samples."""
        begins, self._exported[router] = self._exported[router] or now, now
        flows = []
        for (_, prefix, dscp), counter in self._counters[router].items():
            counter.advance(now)
            for (in_if, flow), waiting in counter.octets.items():
                octets = int(waiting) // self._grain * self._grain
                if octets:
                    counter.octets[in_if, flow] -= octets
                    flows.append(self._flow(router, prefix, dscp, in_if, flow, octets, (begins, now)))
        return flows

    def _flow(
        self,
        router: str,
        prefix: IPv4Network,
        dscp: int,
        in_if: int,
        number: int,
        octets: int,
        time: tuple[float, float],
    ) -> Flow:
        return Flow(
            src=_address(self._home[router] if in_if == INSIDE else NO_PREFIX, number + 1),
            dst=_address(prefix, number + 1),
            octets=octets,
            packets=max(1, octets // PACKET_OCTETS),
            tos=dscp << 2,
            in_if=in_if,
            out_if=2,
            start=time[0],
            end=time[1],
        )


class FlowExports:
    """Sends what the meter counted, each router from its own address, in turn through the interval."""

    def __init__(self, scenario: Scenario, meter: Meter, clock: Callable[[], float]) -> None:
        self._scenario = scenario
        self._meter = meter
        self._clock = clock
        self._exporters = {
            r.name: Exporter(r.netflow, r.number, sampling=scenario.sampling, template_every_s=TEMPLATES_S)
            for r in scenario.routers
        }

    async def run(self) -> None:
        """Export until cancelled. Raises OSError when an address is not ours to send from."""
        loop = asyncio.get_running_loop()
        spacing = self._scenario.export_s / len(self._scenario.routers)
        sockets: dict[str, socket.socket] = {}
        try:
            for router in self._scenario.routers:
                sockets[router.name] = _socket(router.bgp[0])
            due = loop.time()
            for name in itertools.cycle(sockets):
                due = max(due + spacing, loop.time() - self._scenario.export_s)  # what is long overdue is let go
                await asyncio.sleep(due - loop.time())
                now = self._clock()
                for packet in self._exporters[name].packets(self._meter.take(name, now), now):
                    _send(sockets[name], packet, self._scenario.collector)
        finally:
            for each in sockets.values():
                each.close()


def _address(prefix: IPv4Network, number: int) -> IPv4Address:
    return IPv4Address(int(prefix.network_address) + number % prefix.num_addresses)


def _socket(address: str) -> socket.socket:
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        out.setblocking(False)
        out.bind((address, 0))
    except BaseException:
        out.close()
        raise
    return out


def _send(out: socket.socket, packet: bytes, to: tuple[str, int]) -> None:
    """Send a datagram; with no collector there it goes nowhere, as flow exports do."""
    try:
        out.sendto(packet, to)
    except OSError:
        return
