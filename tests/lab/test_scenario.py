"""What the example WAN promises: plain forwarding overloads it, and it need not."""

from collections import defaultdict
from pathlib import Path

import highspy
import numpy as np
import pytest

from neto.errors import InputError
from neto.lab.forwarding import Forwarding, router_states
from neto.lab.scenario import Scenario, load_scenario

CONFIG = Path(__file__).parents[2] / "neto.toml"


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario(CONFIG)


def test_it_is_a_wan_worth_running(scenario):
    assert len(scenario.routers) >= 8
    assert len(scenario.isp_asn) >= 2
    assert len({cable.source for cable in scenario.cables if not cable.target}) >= 4
    assert len(scenario.classes) == 3


def test_plain_forwarding_overloads_wan_and_peering_links(scenario):
    states = router_states(scenario.routers)
    wan = Forwarding(scenario, frozenset(cable.name for cable in scenario.cables))
    load: dict[str, float] = defaultdict(float)
    for traffic in scenario.traffic:
        way = wan.way(states[traffic.source], traffic.prefix, traffic.dscp)
        assert way.lost == 0
        for link, share in way.shares.items():
            load[link] += share * traffic.mbps
    over = [cable for cable in scenario.cables if load[cable.name] > cable.capacity_mbps]
    assert sum(bool(cable.target) for cable in over) >= 1
    assert sum(not cable.target for cable in over) >= 1
    assert len(over) >= 2


def test_everything_fits_with_room_to_spare(scenario):
    """Oracle: the least worst utilisation, as one multicommodity flow over all links, by HiGHS."""
    nodes = [router.name for router in scenario.routers]
    home = {prefix: router.name for router in scenario.routers for prefix in router.prefixes}
    group = {prefix: name for name, prefixes in scenario.groups.items() for prefix in prefixes}
    exits = {name: {link for link, _ in ways} for name, ways in scenario.exits.items()}
    rate: dict[tuple[str, str], float] = defaultdict(float)  # (target, source)
    for traffic in scenario.traffic:
        rate[home.get(traffic.prefix) or group[traffic.prefix], traffic.source] += traffic.mbps
    targets = sorted({target for target, _ in rate})
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    worst = model.addVariable(lb=0)
    flow = {(t, c.name): model.addVariable(lb=0) for t in targets for c in scenario.cables}
    for target in targets:
        for node in nodes:
            if node == target:
                continue
            out = [flow[target, c.name] for c in scenario.cables if c.source == node and _may(c, target, exits)]
            into = [flow[target, c.name] for c in scenario.cables if c.target == node]
            model.addConstr(sum(out) - sum(into) == rate.get((target, node), 0.0))
        for cable in scenario.cables:
            if not _may(cable, target, exits):
                model.addConstr(flow[target, cable.name] == 0)
    for cable in scenario.cables:
        model.addConstr(sum(flow[t, cable.name] for t in targets) <= worst * cable.capacity_mbps)
    model.minimize(worst)
    assert model.getModelStatus() == highspy.HighsModelStatus.kOptimal
    assert np.isfinite(model.val(worst))
    assert model.val(worst) < 0.8


def _may(cable, target, exits):
    return bool(cable.target) or cable.name in exits.get(target, ())


def test_a_scenario_that_cannot_be_read_says_where(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_scenario(tmp_path / "neto.toml")
    text = CONFIG.read_text().replace("config/", f"{CONFIG.parent}/config/")
    (tmp_path / "neto.toml").write_text(text.replace(f"{CONFIG.parent}/config/lab.toml", "lab.toml"))
    lab = (CONFIG.parent / "config" / "lab.toml").read_text()
    (tmp_path / "lab.toml").write_text(lab.replace('a = "nyc1"', 'a = "nowhere"', 1))
    with pytest.raises(InputError, match="'nowhere' is no router of the inventory"):
        load_scenario(tmp_path / "neto.toml")
