"""The collector's passes while tables are told."""

from __future__ import annotations

import gc

import pytest

from neto.agents.monitoring.garbage import Garbage
from neto.agents.monitoring.rib import Rib
from neto.wire.bgp import UpdateReader
from neto.wire.bmp import Peer, PeerKind, View
from tests.wire.bgp.octets import attributes, nlri, update

PEER = Peer(PeerKind.GLOBAL, 0, "192.0.2.1", 64500, "192.0.2.1")


@pytest.fixture(autouse=True)
def _as_before():
    usual = gc.get_threshold()
    yield
    gc.set_threshold(*usual)
    gc.unfreeze()


def test_no_pass_over_all_objects_begins_while_tables_are_told_and_what_was_told_is_left_out_of_later_ones():
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    garbage = Garbage()
    garbage.tick(telling=False)
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, frozen)
    for _ in range(2):
        garbage.tick(telling=True)
        assert gc.get_threshold()[:2] == usual[:2]
        assert gc.get_threshold()[2] > 1_000_000
    held = [[number] for number in range(1000)]
    garbage.tick(telling=False)
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() >= frozen + len(held)


def test_a_table_is_told_from_its_first_route_to_its_end():
    usual = gc.get_threshold()
    rib = Rib(65000, 900)
    rib.session_up("b1", 0.0)
    rib.peer_up("b1", PEER, None)
    rib.tick(0.0)
    assert gc.get_threshold() == usual
    rib.update("b1", PEER, View.IN_POST, UpdateReader().read(update(attributes(), nlri("10.1.0.0/16"))), 1.0)
    rib.tick(1.5)
    assert gc.get_threshold() != usual
    rib.update("b1", PEER, View.IN_POST, UpdateReader().read(update()), 2.0)
    rib.tick(2.5)
    assert gc.get_threshold() == usual


def test_a_border_that_is_gone_before_it_has_told_everything_tells_no_more():
    usual = gc.get_threshold()
    rib = Rib(65000, 900)
    rib.session_up("b1", 0.0)
    rib.update("b1", PEER, View.IN_POST, UpdateReader().read(update(attributes(), nlri("10.1.0.0/16"))), 1.0)
    rib.tick(1.5)
    rib.session_down("b1", 2.0)
    rib.tick(2.5)
    assert gc.get_threshold() == usual
