"""Datagrams in slots -> octets in windows: decodes what came, and has it counted."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from neto.agents.monitoring.classify import Classifier
from neto.agents.monitoring.demand import FlowAggregator
from neto.agents.monitoring.slots import PeerTable, Slots
from neto.model.intent import Intents, TrafficClass
from neto.model.inventory import Inventory
from neto.model.peering import Peering
from neto.wire.netflow import Decoder
from neto.wire.netflow.bulk import BulkDecoder, Single

_HEARD_S = 0.25  # after which is told who was heard


class Intake:
    """Takes in the datagrams of some exporters.

    routers: by exporter, whose address is written as `ipaddress` writes it.
    """

    def __init__(self, decoder: Decoder, aggregator: FlowAggregator, routers: Mapping[str, str]) -> None:
        self._aggregator = aggregator
        self._bulk = BulkDecoder(decoder, list(routers))
        self._table = PeerTable(list(routers))
        self._routers = tuple(routers.values())
        self._sources = np.array([aggregator.source_row(router) for router in self._routers], np.int64)
        self._skews_s: npt.NDArray[np.float64] = np.zeros(0)  # by row of a domain
        self._heard = 0.0  # when it was last told who was heard
        self._came = 0.0  # when datagrams were last taken in

    def take(self, slots: Slots, now: float) -> tuple[list[str], list[tuple[str, str]]]:
        """Take in every datagram that is there, at `now` (unix seconds).

        Returns the address of each datagram's sender that is no exporter; and exporter and problem, for each datagram
        that could not be read as a whole.
        """
        peers = slots.peers(self._table)
        strangers = [slots.sender(slot) for slot in np.flatnonzero(peers < 0).tolist()] if peers.min() < 0 else []
        problems = []
        if self._aggregator.window_of(now) != self._aggregator.window_of(self._came):
            self.hear(now)  # before a window closes
        self._came = now
        self._aggregator.roll(now)
        for part in self._bulk.read(slots.packets, slots.lengths[: slots.count], peers, now):
            if isinstance(part, Single):
                row = int(peers[part.packet])
                for flows in part.decoded.flows:
                    self._aggregator.add(flows, self._routers[row], now)
                if part.decoded.problems:
                    problems.append((self._bulk.exporters[row], str(part.decoded.problems[0])))
            else:
                if len(self._skews_s) != len(self._bulk.domains):
                    self._hear_clocks(now)
                self._aggregator.count(part, self._sources, self._skews_s, now)
        if not 0 <= now - self._heard < _HEARD_S:
            self.hear(now)
        return strangers, problems

    def hear(self, now: float) -> None:
        """Tell who was heard, and take in what export times say of exporters' clocks."""
        self._heard = now
        heard = self._bulk.heard
        for row in np.flatnonzero(heard.any(axis=1)).tolist():
            messages, told, untold = heard[row].tolist()
            if messages:
                self._aggregator.note_heard(self._routers[row], self._came)
            self._aggregator.note_sampling(self._routers[row], told, untold)
        heard[:] = 0
        self._hear_clocks(now)

    def _hear_clocks(self, now: float) -> None:
        domains, ahead_s = self._bulk.domains, self._bulk.ahead_s
        if len(self._skews_s) != len(domains):
            self._skews_s = np.resize(self._skews_s, len(domains))
        for row in np.flatnonzero(np.isfinite(ahead_s[: len(domains)])).tolist():
            export_s = now + float(ahead_s[row])
            self._skews_s[row] = self._aggregator.clocks.told(domains[row], export_s, now)
            ahead_s[row] = -np.inf


def warm() -> None:
    """Have the kernels compiled, or fetched from where an earlier process left them: seconds, the first time."""
    space = Classifier(Inventory((), ()), Peering(), Intents((TrafficClass("any"),)))
    intake = Intake(Decoder(), FlowAggregator(space, 1.0), {"192.0.2.1": ""})
    template = struct.pack("!HHHHHH", 0, 12, 256, 1, 1, 4)
    data = struct.pack("!HHI", 256, 8, 1)
    slots = Slots()
    for sets in (template, template, template, data):
        packet = struct.pack("!HHIIII", 9, 1, 0, 0, 0, 0) + sets
        slots.put(packet, "192.0.2.1")
    sample = struct.pack("!10I", 1, 32, 1, 1, 1, 0, 0, 1, 2, 0)  # of sFlow; the first datagram lacks a second one
    for samples in (2, 1, 1):
        slots.put(struct.pack("!7I", 5, 1, 1, 0, samples, 0, samples) + sample, "192.0.2.1")
    intake.take(slots, 0.0)
