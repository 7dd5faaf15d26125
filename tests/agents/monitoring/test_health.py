"""What was lost, overtaken or could not be read is told by exporter, and puts its router in doubt."""

from __future__ import annotations

from ipaddress import IPv4Address

from neto.agents.monitoring.clocks import Clocks
from neto.agents.monitoring.health import Health
from neto.lab.export import Exporter, Flow
from neto.wire.netflow import Decoder
from tests.wire.netflow.test_samples import AGENTS, numbered
from tests.wire.netflow.test_sflow import datagram

FLOW = Flow(IPv4Address("10.1.0.1"), IPv4Address("10.2.0.1"), 1000, 1)
ROUTERS = {"192.0.2.1": "nyc1", "192.0.2.2": "nyc1", "192.0.2.3": "lon1"}
T0 = 1_800_000_000.0


class Line:
    """Exporters, and a line to them that may lose and reorder."""

    def __init__(self):
        self.decoder, self.clocks = Decoder(), Clocks()
        self.health = Health(self.decoder, self.clocks, max_loss=0.05)
        self.exporters = {}

    def packets(self, address, form, count):
        exporter = self.exporters.setdefault(address, Exporter(form, 7, template_every_s=1e9))
        return [packet for _ in range(count) for packet in exporter.packets([FLOW], T0)]

    def hears(self, address, packets):
        for packet in packets:
            for flows in self.decoder.decode(packet, address, T0).flows:
                self.clocks.told((flows.exporter, flows.version, flows.domain), flows.clock.export_s, T0)

    def row(self, address):
        (row,) = [row for row in self.health.rows(ROUTERS) if row.exporter == address]
        return row


def test_each_exporter_and_domain_has_a_row_with_what_it_lost_in_its_own_units():
    line = Line()
    for address, form in (("192.0.2.1", "v9"), ("192.0.2.3", "ipfix")):
        packets = line.packets(address, form, 21)
        line.hears(address, packets[:10] + packets[14:])
    v9, ipfix = line.row("192.0.2.1"), line.row("192.0.2.3")
    assert (v9.router, v9.version, v9.domain, v9.messages, v9.lost, v9.gaps) == ("nyc1", "v9", 7, 18, 4, 1)
    assert (ipfix.router, ipfix.version, ipfix.lost) == ("lon1", "ipfix", 4)
    assert ipfix.lost_share == 4 / 22  # an options record counts in IPFIX


def test_what_was_only_overtaken_is_not_lost():
    line = Line()
    packets = line.packets("192.0.2.1", "v9", 10)
    packets[4], packets[5] = packets[5], packets[4]
    line.hears("192.0.2.1", packets)
    row = line.row("192.0.2.1")
    assert (row.lost, row.late, row.gaps) == (0, 1, 1)
    assert line.health.doubts(ROUTERS) == {}


def test_a_router_is_in_doubt_while_it_loses_much_and_no_longer():
    line = Line()
    packets = line.packets("192.0.2.3", "ipfix", 41)
    line.hears("192.0.2.3", packets[:20])
    assert line.health.doubts(ROUTERS) == {}
    line.hears("192.0.2.3", packets[25:35])
    assert line.health.doubts(ROUTERS) == {"lon1": "33% of what its exporters sent was lost on the way"}
    line.hears("192.0.2.3", packets[35:])
    assert line.health.doubts(ROUTERS) == {}


def test_data_without_a_template_puts_its_router_in_doubt_until_the_template_comes():
    line = Line()
    packets = line.packets("192.0.2.2", "ipfix", 3)
    line.hears("192.0.2.2", packets[1:])
    assert line.health.doubts(ROUTERS) == {"nyc1": "3 sets of flows have no template yet"}
    assert line.row("192.0.2.2").waiting_sets == 3
    line.hears("192.0.2.2", packets[:1])
    assert line.health.doubts(ROUTERS) == {}


def samples(*numbers_and_drops, first=0):
    """Datagrams that all come, of one sample each."""
    return [
        datagram(numbered(number, drops=drops), sequence=first + n, agent=AGENTS[0])
        for n, (number, drops) in enumerate(numbers_and_drops)
    ]


def test_samples_that_were_lost_or_dropped_are_told_and_put_a_router_in_doubt():
    line = Line()
    line.hears("192.0.2.1", samples(*((n, 10) for n in range(1, 21))))
    assert line.health.doubts(ROUTERS) == {}
    line.hears("192.0.2.1", samples((21, 10), (24, 11), (25, 13), first=20))
    row = line.row("192.0.2.1")
    assert (row.version, row.domain, row.messages, row.lost) == ("sflow", 3, 23, 0)
    assert (row.lost_samples, row.dropped_samples) == (2, 3)
    assert line.health.doubts(ROUTERS) == {"nyc1": "62% of its samples were lost or dropped"}
    line.hears("192.0.2.1", samples((26, 13), first=23))
    assert line.health.doubts(ROUTERS) == {}
