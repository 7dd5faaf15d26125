"""An exit that is no longer one of a prefix group is left by everything that goes there, whatever the class accepts."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from neto.controller.cycle import CycleOptions, decide
from tests.controller.wans import Judge, snapshot

OPTIONS = CycleOptions()


def without(now, link):
    return replace(now.peering, egresses=tuple(each for each in now.peering.egresses if each.peering_link != link))


@pytest.mark.parametrize("busiest", [0.8, 2.5])  # room for everything, and not nearly
@pytest.mark.parametrize("seed", range(6))
def test_everything_leaves_an_exit_that_is_closed(seed, busiest):
    now = snapshot(random.Random(seed), busiest=busiest)
    first = decide(now, OPTIONS)
    used = [x.name for x in now.peering.links if first.predicted_mbps[first.joint.link_row[x.name]] > 0]
    for link in used:
        left = without(now, link)
        if {each.prefix_group for each in left.egresses} != {each.prefix_group for each in now.peering.egresses}:
            continue  # a group's only exit
        later = replace(now, peering=left, running=first.target)
        second = decide(later, OPTIONS)
        carried = Judge(later).loads(second.target).get(link, {})
        assert sum(carried.values()) == pytest.approx(0)
