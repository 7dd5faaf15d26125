"""Datagrams in slots, and who sent them."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from neto.agents.monitoring import slots as module
from neto.agents.monitoring.slots import SLOTS, PeerTable, Slots

ADDRESSES = ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.2", "fe80::1", *(f"10.0.{n}.1" for n in range(200))]


def test_senders_are_found_by_address_however_it_is_written():
    slots = Slots()
    for sender in (
        "192.0.2.2",
        "::ffff:192.0.2.1",
        "2001:db8::1",
        "fe80::1%lo",
        "192.0.2.9",
        "2001:db8::2",
        "10.0.77.1",
    ):
        slots.put(b"x", sender)
    assert slots.peers(PeerTable(ADDRESSES)).tolist() == [2, 0, 1, 3, -1, -1, 81]
    assert slots.peers(PeerTable([])).tolist() == [-1] * 7
    assert [slots.sender(n) for n in (0, 1, 4, 5)] == ["192.0.2.2", "192.0.2.1", "192.0.2.9", "2001:db8::2"]


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_are_received_in_order_and_what_finds_no_slot_waits(host, one_by_one, monkeypatch):
    if one_by_one:
        monkeypatch.setattr(module, "_recvmmsg", lambda: None)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        receiver.bind((host, 0))
        receiver.setblocking(False)
        sender.connect(receiver.getsockname())
        sent = [bytes([n % 251]) * (n % 1500) for n in range(SLOTS + 3)]
        for packet in sent:
            sender.send(packet)
        slots, got = Slots(), []
        for whole in (False, True):
            assert slots.receive(receiver) is whole
            got += [slots.packets[n, : slots.lengths[n]].tobytes() for n in range(slots.count)]
            assert not np.any(slots.peers(PeerTable([host])))
            slots.clear()
        assert got == sent
