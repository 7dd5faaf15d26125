"""Whole decisions on random WANs. Oracle: a judge that forwards by labels, routes and policies, in fractions."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Network
from itertools import product

import pytest

from neto.controller import cycle
from neto.controller.cycle import CycleOptions, decide, withdraw_plan
from neto.controller.moves import Course
from neto.model.intent import TrafficClass
from neto.model.plan import MoveKind, PolicyMove, RouteMove, Urgency
from neto.model.sr import ForwardingState, RouteKey, SidKind
from neto.model.topology import Topology
from tests.controller.wans import Judge, capacities, moved, snapshot, with_demand

CLASSES = ("gold", "silver", "bronze")


def totals(loads):
    return {link: sum(each.values()) for link, each in loads.items()}


def carried_out(now, decision):
    """The snapshot once the plan is done."""
    state = now.running
    for step in decision.plan.steps:
        state = moved(state, step.moves)
    return replace(now, running=state)


def assert_safe(now, plan, rng, admitted=None, orders=2):
    """Carry each step out one move after the other, in random orders and in the order of most harm."""
    judge, capacity = Judge(now), capacities(now)
    state = now.running
    for step in plan.steps:
        start = judge.loads(state)
        worst = 0.0
        for each in range(orders):
            waiting = list(step.moves)
            rng.shuffle(waiting)
            partial = state
            while waiting:
                if each == 0 and len(waiting) < 7:  # greedily the next move that fills the fullest link most
                    waiting.sort(key=lambda move, at=partial: fullest(judge.loads(moved(at, [move])), capacity))
                partial = moved(partial, [waiting.pop()])
                loads = judge.loads(partial)
                worst = max(worst, fullest(loads, capacity))
                for link, by_class in loads.items():
                    for level in range(3):
                        down_to = sum(by_class.get(name, 0.0) for name in CLASSES[: level + 1])
                        before = sum(start.get(link, {}).get(name, 0.0) for name in CLASSES[: level + 1])
                        allowed = admitted[link][level] if admitted else 0.0
                        assert down_to <= max(capacity[link], before, allowed) * (1 + 1e-6)
        assert worst <= step.worst_utilisation * (1 + 1e-6)
        state = moved(state, step.moves)
    return state


def fullest(loads, capacity):
    return max(sum(each.values()) / capacity[link] for link, each in loads.items())


def admissible(now, state):
    """What the target itself puts on links, by class downwards: a plan may not be blamed for that."""
    loads = Judge(now).loads(state)
    return {
        link: [sum(loads.get(link, {}).get(name, 0.0) for name in CLASSES[: level + 1]) for level in range(3)]
        for link in capacities(now)
    }


@pytest.mark.parametrize("seed", range(5))
def test_a_ramp_is_safe_in_any_order_ends_within_capacity_and_rests(seed):
    rng = random.Random(seed)
    now = snapshot(rng, busiest=1.2)
    for portion in (0.25, 0.6, 1.0):
        now = replace(now, portion=portion)
        decision = decide(now)
        admitted = admissible(now, decision.target) if decision.unplaced else None
        assert_safe(now, decision.plan, rng, admitted)
        before = now
        now = carried_out(now, decision)
        loads = totals(Judge(now).loads(now.running))
        predicted = dict(zip((link.id for link in decision.joint.links), decision.predicted_mbps, strict=True))
        assert all(predicted[link] == pytest.approx(loads.get(link, 0.0), abs=1e-6) for link in predicted)
        steered = sum(
            row.rate_mbps for row in now.demand.rates if RouteKey(row.source, row.prefix) in now.running.routes
        )
        assert steered <= sum(row.rate_mbps for row in now.demand.rates) * (portion + 1e-9)
        assert now.running.routes.keys() >= before.running.routes.keys()
    now = carried_out(now, decide(now))  # where not everything fits, what runs now may leave a gain to take
    assert decision.plan.stuck or decide(now).plan.steps == ()


def test_steps_leave_a_margin_where_they_can():
    """Demand is measured, not known: what is planned to fill a link to the brim may overload it."""
    fuller = 0
    for seed in range(6):
        now = snapshot(random.Random(seed), busiest=0.99)
        bold, careful = (
            max(step.worst_utilisation for step in decide(now, CycleOptions(margin=margin)).plan.steps)
            for margin in (0.0, 0.05)
        )
        assert careful <= bold * (1 + 1e-6)
        fuller += careful < bold
    assert fuller


@pytest.mark.parametrize("seed", range(4))
def test_what_cannot_be_placed_yet_is_not_begun_with(seed):
    decision = decide(snapshot(random.Random(seed), busiest=1.5, portion=0.6))
    assert decision.target.routes
    assert decision.unplaced == ()


def test_a_step_that_fails_its_audit_is_not_in_the_plan(monkeypatch):
    """Whatever the planner may come to: here it does everything at once."""
    now = carried_out(first := snapshot(random.Random(2), busiest=0.95), decide(first))
    later = with_demand(now, random.Random(5), 1.1)
    goal = decide(later).target

    def careless(_forwarding, _demand, running, goal, _pace):
        course = Course(running)
        policies = {*running.policies, *goal.policies}
        course.add([PolicyMove(MoveKind.REPLACE_POLICY, key, goal.policies.get(key)) for key in sorted(policies)])
        return course

    monkeypatch.setattr(cycle, "plan_moves", careless)
    plan = decide(later).plan
    assert goal != now.running
    assert plan.steps == ()
    assert "audit" in plan.stuck
    assert "overload" in plan.stuck


@pytest.mark.parametrize("seed", range(3))
def test_a_portion_settles_once_what_could_not_be_placed_has_found_its_place(seed):
    now = snapshot(random.Random(seed), busiest=1.2, portion=0.6)
    for _ in range(4):
        now = carried_out(now, decide(now))
    assert decide(now).plan.steps == ()


def test_at_full_portion_what_overloaded_links_by_itself_fits():
    """The point of it all, over many networks: no link is over capacity once everything is steered."""
    relieved = 0
    for seed in range(10):
        rng = random.Random(seed)
        now = snapshot(rng, busiest=1.15)
        assert max(totals(Judge(now).loads(now.running)).values()) > 600
        decision = decide(now)
        after = carried_out(now, decision)
        used = fullest(Judge(after).loads(after.running), capacities(now))
        if not decision.unplaced and not decision.plan.stuck:
            assert used <= 1.0
            relieved += 1
    assert relieved >= 6


@pytest.mark.parametrize("seed", range(3))
def test_demand_that_changes_is_followed_safely(seed):
    rng = random.Random(100 + seed)
    now = carried_out(first := snapshot(rng, busiest=0.9), decide(first))
    for _ in range(3):
        now = with_demand(now, rng, rng.uniform(0.7, 1.0))
        decision = decide(now)
        assert_safe(now, decision.plan, rng, admissible(now, decision.target) if decision.unplaced else None)
        now = carried_out(now, decision)


def test_the_same_snapshot_gives_the_same_decision():
    one, other = (decide(snapshot(random.Random(3), busiest=1.1)) for _ in range(2))
    assert one.target == other.target
    assert one.plan == other.plan
    assert one.unplaced == other.unplaced


def test_small_changes_of_demand_do_not_earn_a_change():
    rng = random.Random(7)
    now = carried_out(first := snapshot(rng, busiest=1.15), decide(first))
    assert any(len(policy.segment_lists) > 1 for policy in now.running.policies.values())
    rates = tuple(replace(row, rate_mbps=row.rate_mbps * rng.uniform(0.98, 1.02)) for row in now.demand.rates)
    assert decide(replace(now, demand=replace(now.demand, rates=rates))).plan.steps == ()


def without_link(now, link):
    """Both directions of a link are gone from the topology."""
    one = now.topology.links[now.topology.link_row[link]]
    pair = {(one.source, one.target), (one.target, one.source)}
    left = tuple(each for each in now.topology.links if (each.source, each.target) not in pair)
    return replace(now, topology=Topology(now.topology.nodes, left))


@pytest.mark.parametrize("seed", range(3))
def test_a_lost_link_is_repaired_first_and_safely(seed):
    rng = random.Random(200 + seed)
    now = carried_out(first := snapshot(rng, busiest=0.6), decide(first))
    pinned = {
        segment.name
        for policy in now.running.policies.values()
        for one in policy.segment_lists
        for segment in one.segments
        if segment.kind is SidKind.ADJACENCY
    }
    link = min(pinned) if pinned else now.topology.links[0].id
    broken = without_link(now, link)
    decision = decide(broken)
    if pinned:
        assert decision.plan.urgency is Urgency.REPAIR
    assert_safe(broken, decision.plan, rng, admissible(broken, decision.target) if decision.unplaced else None)
    repaired = carried_out(broken, decision)
    if not decision.plan.stuck:
        judge = Judge(repaired)
        for key, policy in repaired.running.policies.items():
            target = next(row.target for row in repaired.demand.rates if row.source == key.headend)
            for one in policy.segment_lists:
                assert judge.follow(key.headend, target, tuple(each.label for each in one.segments)) is not None
        assert decide(repaired).plan.urgency is Urgency.OPTIMISE


def test_a_lost_router_takes_its_targets_and_head_end_with_it():
    rng = random.Random(11)
    now = carried_out(first := snapshot(rng, busiest=0.6), decide(first))
    gone = "r2"
    left = Topology(
        tuple(node for node in now.topology.nodes if node.name != gone),
        tuple(link for link in now.topology.links if gone not in (link.source, link.target)),
    )
    broken = replace(now, topology=left)
    decision = decide(broken)
    assert_safe(broken, decision.plan, rng, admissible(broken, decision.target) if decision.unplaced else None)
    assert all(move.key.headend != gone for step in decision.plan.steps for move in step.moves)
    assert all(gone not in (link.source, link.target) for link in decision.joint.links)


@pytest.mark.parametrize("seed", range(3))
def test_the_way_back_is_safe_and_leaves_nothing(seed):
    rng = random.Random(300 + seed)
    now = carried_out(first := snapshot(rng, busiest=0.95), decide(first))
    plan = withdraw_plan(now)
    assert plan.urgency is Urgency.WITHDRAW
    left = assert_safe(now, plan, rng)
    if not plan.stuck:
        assert left == ForwardingState()
        kinds = [{move.kind for move in step.moves} for step in plan.steps]
        assert kinds[-1] == {MoveKind.REMOVE_POLICY}
        assert all(MoveKind.REMOVE_POLICY not in kind for kind in kinds[:-1])


def test_the_way_back_to_an_overload_is_admitted_since_plain_forwarding_is_all_there_is():
    now = carried_out(first := snapshot(random.Random(2), busiest=1.2), decide(first))
    plan = withdraw_plan(now)
    state = assert_safe(now, plan, random.Random(1), admissible(now, ForwardingState()))
    assert not plan.stuck
    assert state == ForwardingState()


def test_portion_nothing_withdraws_everything():
    now = carried_out(first := snapshot(random.Random(4), busiest=0.8), decide(first))
    decision = decide(replace(now, portion=0.0))
    assert decision.target == ForwardingState()
    assert carried_out(now, decision).running == ForwardingState()


def test_policies_come_before_routes_and_go_after_them():
    now = snapshot(random.Random(5), busiest=0.9)
    decision = decide(now)
    first = decision.plan.steps[0]
    assert {move.kind for move in first.moves} == {MoveKind.INSTALL_POLICY}
    state = now.running
    for step in decision.plan.steps:
        for move in step.moves:
            if isinstance(move, RouteMove) and move.route:
                steering = [key for key in state.policies if key.colour == move.route.colour]
                assert any((key.headend, key.endpoint) == (move.key.headend, move.route.next_hop) for key in steering)
        state = moved(state, step.moves)


@pytest.mark.parametrize("seed", range(3))
def test_no_step_replaces_a_policy_and_moves_a_route_onto_it(seed):
    rng = random.Random(400 + seed)
    now = snapshot(rng, busiest=1.1, portion=0.5)
    mixed = 0
    for portion in (0.4, 0.7, 1.0):
        now = with_demand(replace(now, portion=portion), rng, 1.0)
        decision = decide(now, CycleOptions(min_gain=-9.0))  # nothing is kept for its own sake
        state = now.running
        kinds = {move.kind for step in decision.plan.steps for move in step.moves}
        mixed += {MoveKind.REPLACE_POLICY, MoveKind.ROUTE} <= kinds
        for step in decision.plan.steps:
            replaced = {move.key for move in step.moves if move.kind is MoveKind.REPLACE_POLICY}
            for move in step.moves:
                if isinstance(move, RouteMove):
                    for route in (state.routes.get(move.key), move.route):
                        if route is not None:
                            ends = {
                                key
                                for key in replaced
                                if (key.headend, key.endpoint) == (route.key.headend, route.next_hop)
                                and key.colour // 100 == route.colour // 100
                            }
                            assert not ends
            state = moved(state, step.moves)
        now = carried_out(now, decision)
    assert mixed


def test_frozen_routers_are_left_as_they_are_and_count_as_given():
    rng = random.Random(6)
    now = carried_out(first := snapshot(rng, busiest=0.9, portion=0.5), decide(first))
    frozen = replace(
        with_demand(now, rng, 0.9), portion=1.0, intents=replace(now.intents, frozen=frozenset({"r0", "r1"}))
    )
    decision = decide(frozen)
    assert decision.plan.steps
    assert not {move.key.headend for step in decision.plan.steps for move in step.moves} & {"r0", "r1"}
    for kept, ran in ((decision.target.policies, now.running.policies), (decision.target.routes, now.running.routes)):
        assert {k: v for k, v in kept.items() if k.headend in ("r0", "r1")} == {
            k: v for k, v in ran.items() if k.headend in ("r0", "r1")
        }
    assert_safe(frozen, decision.plan, rng, admissible(frozen, decision.target) if decision.unplaced else None)


def test_excluded_prefixes_and_what_nobody_listed_are_never_steered():
    now = snapshot(random.Random(8), busiest=0.8)
    excluded = IPv4Network("10.3.0.0/20")
    strange = replace(now.demand.rates[0], prefix=IPv4Network("203.0.113.0/24"))
    now = replace(
        now,
        intents=replace(now.intents, excluded_prefixes=(excluded,)),
        demand=replace(now.demand, rates=(*now.demand.rates, strange)),
    )
    decision = decide(now)
    routes = decision.target.routes
    assert routes
    assert not any(key.prefix.subnet_of(excluded) for key in routes)
    assert not any(key.prefix == strange.prefix for key in routes)
    steered = sum(row.rate_mbps for row in now.demand.rates if RouteKey(row.source, row.prefix) in routes)
    assert sum(demand.rate_mbps for demand in decision.allocation.demands) == pytest.approx(steered)


def test_a_router_is_never_told_itself_as_next_hop():
    for seed in range(6):
        now = snapshot(random.Random(seed), busiest=0.9)
        own = {router.name: router.router_id for router in now.inventory.routers}
        for key, route in decide(now).target.routes.items():
            assert route.next_hop != own[key.headend]


@pytest.mark.parametrize("seed", range(3))
def test_drained_links_and_routers_are_passed_by(seed):
    rng = random.Random(500 + seed)
    now = carried_out(first := snapshot(rng, busiest=0.5), decide(first))
    drained = replace(
        now,
        intents=replace(now.intents, drained_links=frozenset({"r0>r1", "r1>r0"}), drained_nodes=frozenset({"r3"})),
    )
    decision = decide(drained)
    after = carried_out(drained, decision)
    assert not decision.plan.stuck
    judge = Judge(after)
    for row in after.demand.rates:
        if RouteKey(row.source, row.prefix) not in after.running.routes:
            continue
        spread = judge.spread(after.running, row)
        assert not {"r0>r1", "r1>r0"} & spread.keys()
        if "r3" not in (row.source, row.target):
            assert not any("r3" in link.split(">") for link in spread)


def test_what_does_not_fit_is_said_with_its_bottleneck():
    now = snapshot(random.Random(1), busiest=3.0)
    decision = decide(now)
    assert decision.unplaced
    names = {link.id for link in decision.joint.links}
    for line in decision.unplaced:
        assert any(name in line for name in names)
        assert "fair share" in line


def test_a_bound_that_no_path_meets_is_said_and_the_nearest_is_used():
    now = snapshot(random.Random(9), busiest=0.5)
    tight = (TrafficClass("gold", frozenset({46}), max_delay_us=1.0), *now.intents.classes[1:])
    decision = decide(replace(now, intents=replace(now.intents, classes=tight)))
    assert any("gold" in line and "bounds" in line for line in decision.warnings)
    assert decision.target.routes


def test_a_peering_link_without_a_place_is_said():
    now = snapshot(random.Random(9), busiest=0.5)
    lost = replace(now.peering.links[0], name="lost", node="nowhere")
    decision = decide(replace(now, peering=replace(now.peering, links=(*now.peering.links, lost))))
    assert any("lost" in line and "nowhere" in line for line in decision.warnings)


def test_every_path_is_within_the_depth_of_its_head_end_and_weights_sum_to_the_grain():
    now = snapshot(random.Random(10), busiest=1.1)
    assert max(len(one.segments) for policy in decide(now).target.policies.values() for one in policy.segment_lists) > 1
    shallow = Topology(tuple(replace(node, max_sid_depth=1) for node in now.topology.nodes), now.topology.links)
    decision = decide(replace(now, topology=shallow), CycleOptions())
    assert decision.target.policies
    for policy in decision.target.policies.values():
        assert all(len(one.segments) <= 1 for one in policy.segment_lists)
        if policy.segment_lists:
            assert sum(one.weight for one in policy.segment_lists) == 100
            assert len(policy.segment_lists) <= 4


def test_in_small_steps_every_subset_of_moves_fits():
    """All 2**moves mixtures, not only those that orders pass through."""
    tried = 0
    for seed in range(8):
        now = snapshot(random.Random(600 + seed), nodes=4, busiest=1.1, prefixes=1)
        decision = decide(now)
        judge, capacity, state = Judge(now), capacities(now), now.running
        admitted = admissible(now, decision.target) if decision.unplaced else None
        for step in decision.plan.steps:
            if len(step.moves) <= 7 and any(isinstance(move, RouteMove) for move in step.moves):
                start = totals(judge.loads(state))
                worst = 0.0
                for chosen in product((False, True), repeat=len(step.moves)):
                    subset = [move for move, on in zip(step.moves, chosen, strict=True) if on]
                    for link, load in totals(judge.loads(moved(state, subset))).items():
                        allowed = admitted[link][2] if admitted else 0.0
                        assert load <= max(capacity[link], start.get(link, 0.0), allowed) * (1 + 1e-6)
                        worst = max(worst, load / capacity[link])
                assert step.worst_utilisation == pytest.approx(worst)
                tried += 1
            state = moved(state, step.moves)
    assert tried
