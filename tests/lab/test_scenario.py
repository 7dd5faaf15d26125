"""What the example WAN promises: plain forwarding overloads it, and it need not."""

import math
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import highspy
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array

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


def copied(directory: Path) -> Path:
    """The example in a directory of its own; returns its neto.toml."""
    shutil.copytree(CONFIG.parent / "config", directory / "config")
    return Path(shutil.copy(CONFIG, directory))


def changed(directory: Path, file: str, old: str, new: str) -> Path:
    path = directory / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    return directory / "neto.toml"


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("lab.toml", 'a = "nyc1"', 'a = "nowhere"', "lab.toml:24: link[1].a: 'nowhere' is not known; accepted: nyc1, "),
        ("lab.toml", "capacity_mbps = 30000", "capacity_mbps = nan", "link[1].capacity_mbps: nan is not accepted"),
        ("lab.toml", "capacity_mbps = 30000", "capacity_mbps = 0", "accepted: a number, more than 0"),
        ("lab.toml", "distance_km = 450", "distance_km = -1", "link[1].distance_km: -1 is not accepted"),
        ("lab.toml", "igp_metric = 10", "igp_metric = 0", "accepted: an integer from 1"),
        ("lab.toml", "igp_metric = 10", "metric = 10", "metric: unknown key; accepted: name, a, b"),
        ("lab.toml", 'to = "lax1"', 'to = "nobody"', "demand[1].to: 'nobody' is not known"),
        ("lab.toml", "46 = 302", "64 = 302", "demand[1].mbps.64: is no code point; accepted: 0 to 63"),
        ("lab.toml", "46 = 302", "46 = inf", "demand[1].mbps.46: inf is not accepted"),
        ("lab.toml", 'nyc1 = "v9"', 'nyc1 = "v8"', "netflow.nyc1: 'v8' is not known; accepted: v5, v9, ipfix"),
        ("lab.toml", 'nyc1 = "v9"', 'nowhere = "v9"', "netflow.nowhere: unknown key"),
        ("lab.toml", 'name = "nyc1-iad1"', 'name = "nyc1-sfo1"', "'nyc1-sfo1' is already the name of a link"),
        ("lab.toml", "share = 0.5", "share = 1.5", "inbound[1].share: makes more than all that enters at nyc1"),
        ("lab.toml", 'g_link = "lon-a-1"', 'g_link = "nyc-a-1"', "inbound[2].peering_link: 'nyc-a-1' is already given"),
        ("lab.toml", 'g_link = "lon-a-1"', 'g_link = "x"', "inbound[2].peering_link: 'x' is not known; accepted: nyc"),
        ("peering.toml", "interface = 102", "", "inbound[2].peering_link: 'lon-a-1' has no interface in the peering"),
        ("peering.toml", 'isp = "isp-a"', 'isp = "isp-z"', "peering_link[1].isp: 'isp-z' is not known"),
        ("peering.toml", 'peering_link = "nyc-a-1"', 'peering_link = "x"', "egress[1].peering_link: 'x' is not known"),
        ("peering.toml", 'name = "nyc-a-1"', 'name = "nyc1-lon1"', "'nyc1-lon1' names 2 links"),
        ("inventory.toml", 'bgp = "127.0.1.1:1790"', 'bgp = "127.0.1.1"', "router[1].bgp: '127.0.1.1' is not accepted"),
        ("inventory.toml", '"10.1.0.0/18"', '"10.1.0.1/18"', "router[1].prefixes: 10.1.0.1/18 has host bits set"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_what_is_accepted(tmp_path, file, old, new, said):
    copied(tmp_path)
    with pytest.raises(InputError, match=re.escape(said)):
        load_scenario(changed(tmp_path, f"config/{file}", old, new))


def test_all_problems_are_told_at_once(tmp_path):
    copied(tmp_path)
    changed(tmp_path, "config/lab.toml", "distance_km = 450", "distance_km = -1")
    changed(tmp_path, "config/lab.toml", "46 = 302", "46 = -2")
    with pytest.raises(InputError) as told:
        load_scenario(changed(tmp_path, "config/peering.toml", "delay_us = 9000", "delay_us = -1"))
    assert {problem.key for problem in told.value.problems} == {
        "link[1].distance_km",
        "demand[1].mbps.46",
        "egress[1].delay_us",
    }


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_scenario(tmp_path / "neto.toml")


def test_the_offset_moves_every_port(scenario):
    moved = load_scenario(CONFIG, 100)
    for router, other in zip(scenario.routers, moved.routers, strict=True):
        assert (router.bgp[1] + 100, router.ssh[1] + 100) == (other.bgp[1], other.ssh[1])
    assert moved.collector[1] == scenario.collector[1] + 100
    assert [port for _, port in moved.speakers] == [port + 100 for _, port in scenario.speakers]
    with pytest.raises(InputError, match="out of range with the offset"):
        load_scenario(CONFIG, 65000)


def test_parallel_links_have_names_of_their_own(tmp_path):
    copied(tmp_path)
    second = (
        '[[link]]\nname = "atlantic-2"\na = "nyc1"\nb = "lon1"\ndistance_km = 1\ncapacity_mbps = 1\nigp_metric = 1\n'
    )
    path = changed(tmp_path, "config/lab.toml", "[[link]]", f"{second}\n[[link]]")
    names = [c.name for c in load_scenario(path).cables if {c.source, c.target} == {"nyc1", "lon1"}]
    assert sorted(names) == ["atlantic-2:lon1", "atlantic-2:nyc1", "lon1-nyc1", "nyc1-lon1"]


def test_demand_toward_a_target_spreads_over_its_prefixes(scenario):
    assert sum(scenario.spread("lon1").values()) == pytest.approx(1)
    assert [str(prefix) for prefix in scenario.spread("eu-eyeballs")][:1] == ["198.51.100.0/26"]
    assert [*scenario.spread("10.5.0.0/18").values()] == [1.0]
    with pytest.raises(KeyError):
        scenario.spread("atlantis")


def test_every_wan_link_can_fail_alone_and_all_of_it_still_fits(scenario):
    """Oracle: all simple paths within the delay bound of the class, as one linear program, by HiGHS through scipy.

    The example keeps a tenth of every link free, so the worst utilisation must stay below 0.9.
    """
    owner = {p: r.name for r in scenario.routers for p in r.prefixes}
    owner |= {p: name for name, prefixes in scenario.groups.items() for p in prefixes}
    rates: dict[tuple[str, str, float], float] = defaultdict(float)
    for each in scenario.traffic:
        bound_us = scenario.delay_bound_us.get(each.dscp, math.inf)
        rates[each.source, owner[each.prefix], bound_us] += each.mbps
    found = {pair: list(simple_paths(scenario, *pair)) for pair in {key[:2] for key in rates}}
    candidates = [
        (row, taken)
        for row, (source, target, bound_us) in enumerate(rates)
        for taken, delay_us in found[source, target]
        if delay_us <= bound_us
    ]
    ends = {cable.local_address: row for row, cable in enumerate(scenario.cables) if cable.target}
    pairs = {frozenset({row, ends[scenario.cables[row].remote_address]}) for row in ends.values()}
    for cut in [frozenset(), *pairs]:
        left = [(row, taken) for row, taken in candidates if not cut & set(taken)]
        worst = least_worst_utilisation(scenario, list(rates.values()), left)
        assert worst < 0.9, [scenario.cables[row].name for row in cut]


def least_worst_utilisation(scenario: Scenario, rates: list[float], paths: list[tuple[int, list[int]]]) -> float:
    """paths: (demand row, link rows). Column 0 is the worst utilisation."""
    columns = len(paths) + 1
    hops = [(link, column) for column, (_, taken) in enumerate(paths, start=1) for link in taken]
    hops += [(link, 0) for link in range(len(scenario.cables))]
    values = [1.0] * (len(hops) - len(scenario.cables)) + [-cable.capacity_mbps for cable in scenario.cables]
    load = csr_array((values, tuple(zip(*hops, strict=True))), shape=(len(scenario.cables), columns))
    of_demand = [row for row, _ in paths]
    served = csr_array((np.ones(len(paths)), (of_demand, np.arange(1, columns))), shape=(len(rates), columns))
    solved = linprog(np.eye(1, columns)[0], load, np.zeros(len(scenario.cables)), served, rates, method="highs")
    return solved.fun if solved.status == 0 else math.inf


def simple_paths(scenario, source: str, target: str, most_hops: int = 6) -> Iterator[tuple[list[int], float]]:
    exits = dict(scenario.exits.get(target, ()))
    open_paths = [([], source, {source}, 0.0)]
    while open_paths:
        taken, here, seen, delay_us = open_paths.pop()
        if here == target:
            yield taken, delay_us
            continue
        for row, cable in enumerate(scenario.cables):
            if cable.source != here:
                continue
            if cable.name in exits:
                yield [*taken, row], delay_us + exits[cable.name]
            elif cable.target and cable.target not in seen and len(taken) < most_hops:
                open_paths.append(([*taken, row], cable.target, seen | {cable.target}, delay_us + cable.delay_us))
