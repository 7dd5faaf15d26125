"""An exit that is no longer one of a prefix group is left by everything that goes there, whatever the class accepts."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from neto.controller.cycle import CycleOptions, decide
from tests.controller.wans import snapshot

OPTIONS = CycleOptions()


@pytest.mark.parametrize("seed", range(6))
def test_everything_leaves_an_exit_that_is_closed(seed):
    now = snapshot(random.Random(seed))
    first = decide(now, OPTIONS)
    used = [x.name for x in now.peering.links if first.predicted_mbps[first.joint.link_row[x.name]] > 0]
    for link in used:
        left = tuple(each for each in now.peering.egresses if each.peering_link != link)
        if {each.prefix_group for each in left} != {each.prefix_group for each in now.peering.egresses}:
            continue  # a group's only exit
        later = replace(now, peering=replace(now.peering, egresses=left), running=first.target)
        second = decide(later, OPTIONS)
        assert second.predicted_mbps[second.joint.link_row[link]] == pytest.approx(0)
