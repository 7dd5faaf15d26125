"""A router's command line, typed at without a network."""

import json
from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.lab.cli import Commit, Session
from neto.lab.router import LabRouter, OtherRoute
from neto.lab.state import LabPolicy, LabRoute, RouterState

TRANSCRIPT = """\
nyc1# show sr-te policy detail
No SR Policies to display.

nyc1# conf t
nyc1(config)# segment-routing
nyc1(config-sr)# traffic-eng
nyc1(config-sr-te)# segment-list north
nyc1(config-sr-te-segment-list)# index 20 mpls label 16005
nyc1(config-sr-te-segment-list)# index 10 mpls label 24001
nyc1(config-sr-te-segment-list)# index 10 mpls label 3
% Invalid label 3: (16-1048575) is accepted
nyc1(config-sr-te-segment-list)# segment-list south
nyc1(config-sr-te-segment-list)# index 10 mpls label 16005
nyc1(config-sr-te-segment-list)# exit
nyc1(config-sr-te)# policy color 101 endpoint 10.255.0.5
nyc1(config-sr-te-policy)# name gold
nyc1(config-sr-te-policy)# candidate-path preference 100 name c explicit segment-list north weight 3
nyc1(config-sr-te-policy)# candidate-path preference 100 name c explicit segment-list south weight 1
nyc1(config-sr-te-policy)# policy color 100 endpoint 10.255.0.5
nyc1(config-sr-te-policy)# per-flow dscp 46 color 101
nyc1(config-sr-te-policy)# per-flow default color 102
nyc1(config-sr-te-policy)# do show sr-te policy detail
No SR Policies to display.

nyc1(config-sr-te-policy)# commit
Commit complete.
nyc1(config-sr-te-policy)# do show sr-te policy detail

Endpoint: 10.255.0.5  Color: 100  Name:   BSID: -  Status: Active
    Per-Flow: dscp 46  Color: 101
    Per-Flow: default  Color: 102

Endpoint: 10.255.0.5  Color: 101  Name: gold  BSID: -  Status: Active
    Preference: 100  Name: c  Type: explicit  Segment-List: north  Protocol-Origin: Local
      Weight: 3  Labels: 24001/16005  Valid: no
  * Preference: 100  Name: c  Type: explicit  Segment-List: south  Protocol-Origin: Local
      Weight: 1  Labels: 16005  Valid: yes

nyc1(config-sr-te-policy)# configure
% Unknown command: configure
nyc1(config-sr-te-policy)# end
nyc1# show run
Building configuration...

Current configuration:
!
hostname nyc1
!
segment-routing
 traffic-eng
  segment-list north
   index 10 mpls label 24001
   index 20 mpls label 16005
  exit
  segment-list south
   index 10 mpls label 16005
  exit
  policy color 100 endpoint 10.255.0.5
   per-flow dscp 46 color 101
   per-flow default color 102
  exit
  policy color 101 endpoint 10.255.0.5
   name gold
   candidate-path preference 100 name c explicit segment-list north weight 3
   candidate-path preference 100 name c explicit segment-list south weight 1
  exit
 exit
exit
!
end
nyc1# show
% Command incomplete: show
nyc1# s v e
% Unknown command: s v e
nyc1# ping 10.0.0.1
% Unknown command: ping 10.0.0.1
nyc1# te
% Command incomplete: te
"""


def router(**options):
    return LabRouter(RouterState("nyc1", "10.255.0.1"), **options)


def enter(session, line):
    said = session.enter(line)
    return said.finish() if isinstance(said, Commit) else said


def play(session, lines):
    """What a terminal would show."""
    shown = []
    for line in lines:
        prompt = session.prompt
        said = enter(session, line)
        shown.append(f"{prompt}{line}\n" + (f"{said}\n" if said else ""))
    return "".join(shown)


def configured(session, *lines):
    for line in ("configure terminal", "segment-routing", "traffic-eng", *lines):
        assert enter(session, line) == "", line
    return session


SOUTH = ("segment-list south", "index 10 mpls label 16005")
GOLD = (
    "policy color 101 endpoint 10.255.0.5",
    "candidate-path preference 100 name c explicit segment-list south weight 1",
)


def test_a_session_reads_like_one_on_a_router():
    """The link behind label 24001 is down."""
    lab = router(validity=lambda labels: 24001 not in labels)
    typed = [line.partition("# ")[2] for line in TRANSCRIPT.splitlines() if line.startswith("nyc1") and "# " in line]
    assert play(Session(lab), typed) == TRANSCRIPT
    assert lab.state.policies == {
        (100, "10.255.0.5"): LabPolicy(100, "10.255.0.5", "", (), ((-1, 102), (46, 101))),
        (101, "10.255.0.5"): LabPolicy(101, "10.255.0.5", "gold", (((24001, 16005), 3), ((16005,), 1))),
    }


@pytest.mark.parametrize("leaving", ["abort", "end", "exit"])
def test_what_was_not_committed_is_forgotten(leaving):
    lab = router()
    session = configured(Session(lab), *SOUTH, *GOLD)
    while session.mode:
        enter(session, leaving)
    configured(session)
    assert enter(session, "commit") == "Commit complete."
    assert lab.state.policies == {}
    assert "segment-list" not in enter(session, "do show running-config")


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (GOLD, "policy color 101 endpoint 10.255.0.5: segment-list south is in use and is not configured"),
        ((SOUTH[0], *GOLD), "policy color 101 endpoint 10.255.0.5: segment-list south is in use and is empty"),
        ((*SOUTH, GOLD[0]), "policy color 101 endpoint 10.255.0.5 needs either a candidate path or per-flow colors"),
        (
            (*SOUTH, *GOLD, "per-flow default color 7"),
            "policy color 101 endpoint 10.255.0.5 needs either a candidate path or per-flow colors",
        ),
        (
            (SOUTH[0], *(f"index {i} mpls label 16{i:03}" for i in range(1, 12)), *GOLD),
            "policy color 101 endpoint 10.255.0.5: segment-list south has 11 SIDs, at most 10 can be imposed",
        ),
        (
            (
                *SOUTH,
                "segment-list t",
                "index 1 mpls label 17",
                *GOLD,
                GOLD[1].replace("south", "t").replace("100", "90"),
            ),
            "policy color 101 endpoint 10.255.0.5 has more than one candidate path",
        ),
        (
            ("policy color 9 endpoint 10.255.0.5", "per-flow default color 9"),
            "policy color 9 endpoint 10.255.0.5: per-flow color 9 is itself a per-flow policy",
        ),
    ],
)
def test_a_commit_that_cannot_stand_applies_nothing(lines, complaint):
    lab = router()
    session = configured(Session(lab), "segment-list fine", "index 10 mpls label 16001", *lines)
    assert enter(session, "commit") == f"% Commit failed: {complaint}"
    assert lab.state.policies == {}
    assert lab.running.segment_lists == {}


def test_a_segment_list_in_use_stays():
    lab = router()
    session = configured(Session(lab), *SOUTH, *GOLD)
    enter(session, "commit")
    enter(session, "no segment-list south")
    assert enter(session, "commit").startswith("% Commit failed: ")
    assert lab.state.policies[101, "10.255.0.5"].segment_lists == (((16005,), 1),)
    enter(session, "no policy color 101 endpoint 10.255.0.5")
    assert enter(session, "commit") == "Commit complete."  # together they can go
    assert lab.state.policies == {}


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("index 10 mpls label 1048576", "% Invalid label 1048576: (16-1048575) is accepted"),
        ("index 10 mpls label 016003", "% Invalid label 016003: (16-1048575) is accepted"),
        ("policy color 0 endpoint 10.255.0.5", "% Invalid colour 0: (1-4294967295) is accepted"),
        ("policy color 1 endpoint 10.255.0.256", "% Invalid endpoint 10.255.0.256: A.B.C.D is accepted"),
        ("no segment-list x;reload", "% Invalid name x;reload: WORD is accepted"),
        ("policy color 1", "% Command incomplete: policy color 1"),
        ("router bgp 65000", "% Unknown command: router bgp 65000"),
        ("e", "% Ambiguous command."),
        ("do configure terminal", "% Unknown command: configure terminal"),
        ("! a comment", ""),
        ("   ", ""),
    ],
)
def test_a_line_it_does_not_take_is_answered(line, answer):
    session = configured(Session(router()), "segment-list a")
    assert enter(session, line) == answer
    assert session.mode == "config-sr-te-segment-list"


def test_sessions_do_not_see_what_others_stage_and_do_not_undo_it():
    lab = router()
    one = configured(Session(lab), *SOUTH, *GOLD)
    other = configured(Session(lab), "segment-list t", "index 1 mpls label 17")
    enter(other, "commit")
    assert list(lab.running.segment_lists) == ["t"]
    enter(one, "commit")
    assert sorted(lab.running.segment_lists) == ["south", "t"]


def test_a_router_that_fails_half_way_has_the_first_policy_only():
    lab = router()
    second = [line.replace("101", "102") for line in GOLD]
    session = configured(Session(lab), *SOUTH, *GOLD, *second)
    lab.state.half_done = True
    assert enter(session, "commit").startswith("% Commit failed: ")
    assert list(lab.state.policies) == [(101, "10.255.0.5")]
    lab.state.half_done = False
    assert enter(session, "commit") == "Commit complete."
    assert list(lab.state.policies) == [(101, "10.255.0.5"), (102, "10.255.0.5")]
    lab.state.half_done = True
    enter(session, "no policy color 101 endpoint 10.255.0.5")
    enter(session, "no policy color 102 endpoint 10.255.0.5")
    enter(session, "commit")
    assert list(lab.state.policies) == [(102, "10.255.0.5")]


def test_help_says_what_may_come_next():
    session = configured(Session(router()))
    assert session.help("").split() == ["abort", "commit", "end", "exit", "no", "policy", "quit", "segment-list"]
    assert session.help("policy color ").split() == ["(1-4294967295)"]
    assert session.help("se").split() == ["segment-list"]
    assert session.help("commit ").split() == ["<cr>"]
    assert session.help("nonsense x") == "% There is no matched command."


def test_routes_are_shown_in_bgpds_shape_and_the_highest_preference_is_best():
    lab = router(other_routes=lambda: [OtherRoute(IPv4Network("192.0.2.0/24"), "10.255.0.9", "64500")])
    prefix = IPv4Network("192.0.2.0/24")
    lab.state.routes[prefix] = LabRoute(prefix, "10.255.0.5", 1000, 1500, ("65000:900", "no-export"))
    shown = json.loads(enter(Session(lab), "show bgp ipv4 unicast detail json"))
    ours, theirs = shown["routes"]["192.0.2.0/24"]["paths"]
    assert ours["community"] == {"string": "65000:900 no-export", "list": ["65000:900", "noExport"]}
    assert ours["extendedCommunity"] == {"string": "Color:1500"}
    assert (ours["nexthops"][0]["ip"], ours["locPrf"]) == ("10.255.0.5", 1000)
    assert ours["bestpath"]["overall"] is True
    assert (theirs["nexthops"][0]["ip"], theirs["locPrf"], theirs["aspath"]["string"]) == ("10.255.0.9", 100, "64500")
    assert "bestpath" not in theirs


names = st.sampled_from(["a", "b", "c"])
keys = st.tuples(st.integers(1, 3), st.sampled_from(["10.0.0.1", "10.0.0.2"]))
lines = st.one_of(
    st.builds("segment-list {}\nindex {} mpls label {}".format, names, st.integers(1, 3), st.integers(16, 19)),
    st.builds("no segment-list {}".format, names),
    st.builds(
        "policy color {0[0]} endpoint {0[1]}\n"
        "candidate-path preference 100 name p explicit segment-list {1} weight {2}".format,
        keys,
        names,
        st.integers(1, 3),
    ),
    st.builds(
        "policy color {0[0]} endpoint {0[1]}\nper-flow dscp {1} color {2}".format,
        keys,
        st.integers(0, 3),
        st.integers(1, 5),
    ),
    st.builds("no policy color {0[0]} endpoint {0[1]}".format, keys),
    st.just("commit"),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(lines, max_size=25))
def test_whatever_is_typed_a_commit_is_all_or_nothing_and_the_shown_configuration_makes_the_same_router(typed):
    lab = router()
    session = configured(Session(lab))
    for line in "\n".join(typed).splitlines():
        before = dict(lab.state.policies)
        said = enter(session, line)
        if line == "commit" and said == "Commit complete.":
            for policy in lab.state.policies.values():  # whatever stands is whole
                assert bool(policy.segment_lists) != bool(policy.per_flow)
                assert all(labels for labels, _ in policy.segment_lists)
        else:
            assert lab.state.policies == before
    copy = router()
    again = Session(copy)
    enter(again, "configure terminal")
    for line in enter(session, "do show running-config").splitlines()[5:-1]:
        assert enter(again, line) == ""
    enter(again, "commit")
    assert copy.state.policies == lab.state.policies
    assert copy.running == lab.running


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\n\r"), max_size=40), max_size=8))
def test_no_line_breaks_it(typed):
    session = configured(Session(router()))
    for line in typed:
        enter(session, line)
        session.help(line)
