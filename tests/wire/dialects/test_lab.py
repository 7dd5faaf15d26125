"""The lab's dialect against the lab's command line: what is said is what the router then has and shows."""

import json
import re
from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.errors import WireError
from neto.lab.cli import Commit, Session
from neto.lab.router import LabRouter
from neto.lab.state import LabRoute, RouterState
from neto.model.plan import MoveKind, PolicyMove
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey, Segment, SegmentList, SrPolicy
from neto.wire.dialects import dialect, names
from neto.wire.dialects.base import Reading

LAB = dialect("lab")
COMMUNITY = "65000:900"

CONVERSATION = """\
no segment-list NETO-16003-24001
segment-list NETO-16003-24001
index 10 mpls label 16003
index 20 mpls label 24001
exit
no segment-list NETO-16005
segment-list NETO-16005
index 10 mpls label 16005
exit
no policy color 1001 endpoint 10.255.0.5
policy color 1001 endpoint 10.255.0.5
name NETO-1001-10.255.0.5
candidate-path preference 100 name NETO-1001-10.255.0.5 explicit segment-list NETO-16003-24001 weight 70
candidate-path preference 100 name NETO-1001-10.255.0.5 explicit segment-list NETO-16005 weight 30
exit
no policy color 1000 endpoint 10.255.0.5
policy color 1000 endpoint 10.255.0.5
name NETO-1000-10.255.0.5
per-flow default color 1003
per-flow dscp 46 color 1001
exit
"""
DETAIL = """

Endpoint: 10.255.0.5  Color: 7  Name: by-hand  BSID: 15001  Status: Inactive
    Preference: 10  Name: c  Type: explicit  Segment-List: NETO-16009  Protocol-Origin: Local
      Weight: 1  Labels: 16009  Valid: no

Endpoint: 10.255.0.5  Color: 1000  Name: NETO-1000-10.255.0.5  BSID: -  Status: Active
    Per-Flow: dscp 46  Color: 1001
    Per-Flow: default  Color: 1003

Endpoint: 10.255.0.5  Color: 1001  Name: NETO-1001-10.255.0.5  BSID: -  Status: Active
  * Preference: 100  Name: NETO-1001-10.255.0.5  Type: explicit  Segment-List: NETO-16003-24001  Protocol-Origin: Local
      Weight: 70  Labels: 16003/24001  Valid: yes
    Preference: 100  Name: NETO-1001-10.255.0.5  Type: explicit  Segment-List: NETO-16005  Protocol-Origin: Local
      Weight: 30  Labels: 16005  Valid: no
"""


def policy(colour, *stacks, per_flow=(), endpoint="10.255.0.5"):
    lists = tuple(SegmentList(tuple(map(Segment, labels)), weight) for labels, weight in stacks)
    return SrPolicy(PolicyKey("nyc1", colour, endpoint), lists, per_flow)


GOLD = policy(1001, ((16003, 24001), 70), ((16005,), 30))
FLOWS = policy(1000, per_flow=((-1, 1003), (46, 1001)))


def move(wanted, key=None):
    return PolicyMove(MoveKind.INSTALL_POLICY if wanted else MoveKind.REMOVE_POLICY, key or wanted.key, wanted)


def router():
    return LabRouter(RouterState("nyc1", "10.255.0.1"))


def reading(lab):
    """Ask a router for everything, as a session would."""
    session = Session(lab)
    commands = (*LAB.show_policies, *LAB.show_routes)
    return LAB.parse({command: session.enter(command) for command in commands}, "nyc1", COMMUNITY)


def push(lab, lines):
    session = Session(lab)
    for line in (*LAB.enter, *lines, *LAB.commit):
        assert LAB.allowed(line), line
        said = session.enter(line)
        text = said.finish() if isinstance(said, Commit) else said
        assert not LAB.error_pattern.search(text), (line, text)


def test_the_registry_is_the_folder():
    assert "lab" in names()
    assert "base" not in names()
    assert LAB.name == "lab"
    with pytest.raises(KeyError):
        dialect("base")


def test_what_is_said_for_two_new_policies():
    assert "\n".join(LAB.render([move(GOLD), move(FLOWS)], Reading())) + "\n" == CONVERSATION


def test_what_is_read_from_a_transcript():
    running = "".join(f" segment-list NETO-{n}\n  index 10 mpls label {n}\n exit\n" for n in (16005, 16009))
    read = LAB.parse({"show sr-te policy detail": DETAIL, "show running-config": running}, "nyc1", COMMUNITY)
    assert read.state == ForwardingState({GOLD.key: GOLD, FLOWS.key: FLOWS}, {})
    assert read.foreign == {PolicyKey("nyc1", 7, "10.255.0.5")}
    assert read.segment_lists == {"NETO-16005": (16005,)}  # 16009 is used by somebody else: no longer ours to remove


labels = st.integers(16, 1048575)
stacks = st.lists(labels, min_size=1, max_size=10).map(tuple)
few_stacks = st.sampled_from([(16001,), (16002,), (16001, 24001), (16002, 16001)])  # so that policies share them
weighted = st.dictionaries(st.one_of(few_stacks, stacks), st.integers(1, 4294967295), min_size=1, max_size=4)
colours = st.integers(1, 6)
endpoints = st.sampled_from(["10.255.0.5", "10.255.0.6"])
explicit = st.builds(lambda c, e, lists: policy(c, *lists.items(), endpoint=e), colours, endpoints, weighted)
per_flow = st.builds(  # to colours that are no per-flow policies, or the router would refuse
    lambda c, e, flows: policy(c + 100, per_flow=tuple(sorted(flows.items())), endpoint=e),
    colours,
    endpoints,
    st.dictionaries(st.integers(-1, 63), colours, min_size=1, max_size=5),
)
removals = st.builds(
    lambda c, e: (PolicyKey("nyc1", c, e), None), st.one_of(colours, colours.map(lambda c: c + 100)), endpoints
)
changes = st.lists(st.one_of(st.one_of(explicit, per_flow).map(lambda p: (p.key, p)), removals), max_size=6).map(dict)


@settings(max_examples=60, deadline=None)
@given(st.lists(changes, min_size=1, max_size=4))
def test_after_every_push_the_router_has_exactly_what_was_wanted_and_says_so(steps):
    """Oracle: a dict that is updated, and the labels in the router's own state."""
    lab, wanted = router(), {}
    for step in steps:
        push(lab, LAB.render([move(each, key) for key, each in step.items()], reading(lab)))
        wanted.update(step)
        wanted = {key: each for key, each in wanted.items() if each}
        assert reading(lab).state.policies == wanted
        assert {
            (key.colour, key.endpoint): tuple(
                (tuple(s.label for s in x.segments), x.weight) for x in each.segment_lists
            )
            for key, each in wanted.items()
        } == {key: each.segment_lists for key, each in lab.state.policies.items()}
        used = {labels for each in lab.state.policies.values() for labels, _ in each.segment_lists}
        assert {tuple(each.values()) for each in lab.running.segment_lists.values()} == used  # nothing left lying about
        assert LAB.render([move(each) for each in wanted.values()], reading(lab)) == ()


def test_a_list_that_somebody_edited_is_put_right():
    lab = router()
    push(lab, LAB.render([move(GOLD)], Reading()))
    lab.commit([lambda to: to.segment_lists["NETO-16005"].update({20: 16099})])
    assert reading(lab).state.policies != {GOLD.key: GOLD}
    push(lab, LAB.render([move(GOLD)], reading(lab)))
    assert reading(lab).state.policies == {GOLD.key: GOLD}


def test_lists_that_a_failed_commit_left_go_with_the_next_push():
    lab = router()
    lab.commit([lambda to: to.segment_lists.update({"NETO-16077": {10: 16077}, "by-hand": {10: 16078}})])
    push(lab, LAB.render([move(GOLD)], reading(lab)))
    assert sorted(lab.running.segment_lists) == ["NETO-16003-24001", "NETO-16005", "by-hand"]


@pytest.mark.parametrize(
    "wrong",
    [
        policy(0, ((16003,), 1)),
        policy(4294967296, ((16003,), 1)),
        policy(1, ((16003,), 1), endpoint="10.255.0.5\nreload"),
        policy(1, ((15,), 1)),
        policy(1, ((1048576,), 1)),
        policy(1, ((), 1)),
        policy(1, (tuple(range(16, 27)), 1)),
        policy(1, ((16003,), 0)),
        policy(1, ((16003,), 1), ((16003,), 2)),
        policy(1),
        policy(1, ((16003,), 1), per_flow=((46, 2),)),
        policy(1, per_flow=((64, 2),)),
        policy(1, per_flow=((46, 2), (46, 3))),
        policy(1, per_flow=((46, 2), (-1, 3))),
        policy(1, per_flow=((46, 0),)),
    ],
)
def test_what_these_routers_cannot_be_told_is_refused(wrong):
    with pytest.raises(ValueError):  # noqa: PT011  each message names its own fault
        LAB.render([move(wrong)], Reading())


@pytest.mark.parametrize(
    "line",
    [
        "reload",
        "write erase",
        "no router bgp 65000",
        "configure terminal; reload",
        "commit\nreload",
        "segment-list NETO-1\n",
        "segment-list SOMEBODY",
        "no segment-list SOMEBODY",
        "name SOMEBODY",
        "no policy color 1",
        "no segment-routing",
        "no traffic-eng",
        "candidate-path preference 200 name NETO-1 explicit segment-list NETO-1 weight 1",
        "candidate-path preference 100 name NETO-1 explicit segment-list SOMEBODY weight 1",
        "candidate-path preference 100 name NETO-1 dynamic",
        "show running-config | redirect tftp:",
        "do reload",
        "index 10 mpls label ١٦٠٠٣",
        "",
        " ",
    ],
)
def test_nothing_else_is_allowed(line):
    assert not LAB.allowed(line)


@pytest.mark.parametrize("row", range(2, len(DETAIL.splitlines())))
def test_a_line_changed_in_any_way_that_matters_is_named(row):
    rows = DETAIL.splitlines()
    if not rows[row]:
        return
    rows[row] = rows[row].replace(": ", ":: ", 1)
    with pytest.raises(WireError, match=re.escape(f"line {row + 1}:") + ".*not understood"):
        LAB.parse({"show sr-te policy detail": "\n".join(rows)}, "nyc1", COMMUNITY)


@pytest.mark.parametrize("row", [3, 4, 11, 12, 13, 14])
def test_a_line_that_is_missing_is_missed(row):
    """Labels without their path, a path without its labels."""
    rows = DETAIL.splitlines()
    del rows[row]
    with pytest.raises(WireError):
        LAB.parse({"show sr-te policy detail": "\n".join(rows)}, "nyc1", COMMUNITY)


def bgp(**changes):
    path = {
        "aspath": {"string": "Local"},
        "locPrf": 1000,
        "valid": True,
        "bestpath": {"overall": True},
        "community": {"string": "65000:900 no-export"},
        "extendedCommunity": {"string": "Color:1500"},
        "nexthops": [{"ip": "10.255.0.5"}],
    } | changes
    table = {"routes": {"10.5.0.0/18": {"prefix": "10.5.0.0/18", "paths": [path]}}}
    return LAB.parse({LAB.show_routes[0]: json.dumps(table)}, "nyc1", COMMUNITY).state.routes


def test_routes_are_read_as_the_router_has_chosen_them():
    lab = router()
    key = RouteKey("nyc1", IPv4Network("10.5.0.0/18"))
    lab.state.routes[key.prefix] = LabRoute(key.prefix, "10.255.0.5", 1000, 1500, ("65000:900", "no-export"))
    assert reading(lab).state.routes == {key: Route(key, "10.255.0.5", 1500)} == bgp()
    assert bgp(extendedCommunity={"string": "RT:1:1 Color:00:1500"}) == bgp()  # as later bgpd versions write it
    assert bgp(community={"string": "65000:9000 165000:900"}) == {}
    assert bgp(bestpath={}) == {}
    assert bgp(valid=False) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"extendedCommunity": {"string": "RT:1:1"}},
        {"nexthops": []},
        {"nexthops": [{"ip": "fe80::1"}]},
        {"locPrf": "1000"},
        {"valid": None, "nexthops": None, "community": 7},
    ],
)
def test_a_route_of_ours_that_makes_no_sense_is_an_error(changes):
    with pytest.raises(WireError, match="nyc1: show bgp ipv4 unicast detail json"):
        bgp(**changes)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["routes", "paths", "nexthops", "community", "string", "valid"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        json_values.map(json.dumps),
        json_values.map(lambda v: json.dumps({"routes": {"10.0.0.0/8": v}})),
    )
)
def test_any_text_yields_a_reading_or_a_wire_error(text):
    for command in (*LAB.show_policies, *LAB.show_routes):
        try:
            LAB.parse({command: text}, "nyc1", COMMUNITY)
        except WireError:
            continue
