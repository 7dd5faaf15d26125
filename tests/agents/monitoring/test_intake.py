"""Datagrams in slots become windows that know who was heard in them."""

from __future__ import annotations

from ipaddress import ip_address

from neto.agents.monitoring.classify import Classifier
from neto.agents.monitoring.demand import FlowAggregator
from neto.agents.monitoring.intake import Intake
from neto.agents.monitoring.slots import Slots
from neto.lab.export import Exporter, Flow
from neto.model.peering import Peering
from neto.wire.netflow import Decoder

from .test_demand import INTENTS, INVENTORY, T0

ROUTERS = {"192.0.2.1": "nyc1", "192.0.2.2": "lon1"}
FLOW = Flow(ip_address("10.1.0.1"), ip_address("198.51.100.1"), 5_000, 5, 0, 1, 2, T0, T0)


def test_a_router_that_is_first_heard_just_before_a_window_ends_was_heard_in_it():
    aggregator = FlowAggregator(Classifier(INVENTORY, Peering(), INTENTS), 10.0, active_timeout_s=0.0)
    intake, slots = Intake(Decoder(), aggregator, ROUTERS), Slots()

    def took(sender, at):
        for packet in Exporter("v5").packets([FLOW], at):
            slots.put(packet, sender)
        intake.take(slots, at)
        slots.clear()

    aggregator.roll(T0)
    took("192.0.2.1", T0 + 9.80)
    took("192.0.2.2", T0 + 9.95)
    took("192.0.2.1", T0 + 10.05)
    (closed,) = aggregator.closed
    assert closed.heard == {"nyc1", "lon1"}
    assert closed.unknown == {"nyc1": 5000, "lon1": 5000}
    intake.hear(T0 + 20.5)
    aggregator.roll(T0 + 20.5)
    assert aggregator.closed[-1].heard == {"nyc1"}  # the other said nothing since
