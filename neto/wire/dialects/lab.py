"""The emulated WAN's routers: FRR's grammar, of pathd with weights and per-flow colours, and a commit.

Policies are replaced whole inside one commit, so a head-end goes from the old paths to the new ones at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from neto.errors import WireError
from neto.model.plan import AnnouncementMove, PolicyMove
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey, Segment, SegmentList, SrPolicy
from neto.wire import route_map
from neto.wire.dialects.base import OURS, Reading, list_name, policy_name

DETAIL = "show sr-te policy detail"
RUNNING = "show running-config"
ROUTES = "show bgp ipv4 unicast detail json"

MIN_LABEL, MAX_LABEL = 16, 1048575  # RFC 3032 §2.1 keeps 0..15
MAX_U32 = 4294967295
MAX_DSCP = 63
MAX_SIDS = 10
EVERY_OTHER_DSCP = -1

_NUMBER = r"\d{1,10}"
_ADDRESS = r"\d{1,3}(?:\.\d{1,3}){3}"
_NAME = rf"{OURS}[\w.-]{{1,120}}"
_ALLOWED = re.compile(
    "|".join(
        (
            *map(re.escape, (DETAIL, RUNNING, ROUTES)),
            "configure terminal|segment-routing|traffic-eng|exit|end|commit|abort",
            rf"(?:no )?segment-list {_NAME}",
            rf"index {_NUMBER} mpls label {_NUMBER}",
            rf"(?:no )?policy color {_NUMBER} endpoint {_ADDRESS}",
            rf"name {_NAME}",
            rf"candidate-path preference 100 name {_NAME} explicit segment-list {_NAME} weight {_NUMBER}",
            rf"per-flow (?:default|dscp \d{{1,2}}) color {_NUMBER}",
            *route_map.ALLOWED,
        )
    ),
    re.ASCII,
)

_POLICY = re.compile(
    rf"Endpoint: (?P<endpoint>{_ADDRESS})  Color: (?P<colour>{_NUMBER})  Name: (?P<name>\S*)  "
    r"BSID: (?:-|\d+)  Status: (?:Active|Inactive)",
    re.ASCII,
)
_PATH = re.compile(
    rf"  [* ] Preference: {_NUMBER}  Name: \S+  Type: explicit  Segment-List: (?P<list>\S+)  Protocol-Origin: \w+",
    re.ASCII,
)
_LABELS = re.compile(
    rf"      Weight: (?P<weight>{_NUMBER})  Labels: (?P<labels>{_NUMBER}(?:/{_NUMBER})*)  Valid: (?:yes|no)", re.ASCII
)
_PER_FLOW = re.compile(rf"    Per-Flow: (?:default|dscp (?P<dscp>\d{{1,2}}))  Color: (?P<colour>{_NUMBER})", re.ASCII)
_CONFIGURED_LIST = re.compile(
    rf"^ *segment-list (?P<name>{_NAME})$(?P<body>(?:\n *index {_NUMBER} mpls label {_NUMBER}$)*)",
    re.ASCII | re.MULTILINE,
)
_INDEX = re.compile(r"label (\d+)", re.ASCII)
_COLOUR = re.compile(rf"(?:^| )Color:(?:\d{{2}}:)?(?P<colour>{_NUMBER})(?= |$)", re.ASCII)


class LabDialect:
    """The dialect `lab` of the inventory."""

    name = "lab"
    device_type = "cisco_ios"
    max_weight = MAX_U32
    weight_grain = 1000
    steers_by_dscp = True
    adjusts = True
    window = 40
    enter = ("configure terminal", "segment-routing", "traffic-eng")
    enter_adjusting = ("configure terminal",)
    commit = ("commit",)
    abandon = ("abort",)
    leave = ("end",)
    show_policies = (DETAIL, RUNNING)
    show_routes = (ROUTES,)
    error_pattern = re.compile(r"^% .*", re.MULTILINE)

    def prompt(self, router: str) -> re.Pattern[str]:
        """See Dialect."""
        return re.compile(rf"^{re.escape(router)}(?:\([\w-]+\))?# ", re.MULTILINE)

    def allowed(self, line: str) -> bool:
        """See Dialect."""
        return _ALLOWED.fullmatch(line) is not None

    def render(self, moves: Sequence[PolicyMove], running: Reading) -> tuple[str, ...]:
        """See Dialect."""
        wanted = dict(running.state.policies)
        changed: dict[PolicyKey, SrPolicy | None] = {}
        for move in moves:
            if move.policy is not None:
                _check(move.policy)
                wanted[move.key] = move.policy
            else:
                wanted.pop(move.key, None)
            if running.state.policies.get(move.key) != move.policy:
                changed[move.key] = move.policy
        used = {list_name(each.segments) for policy in wanted.values() for each in policy.segment_lists}
        return (
            *(line for policy in changed.values() if policy for line in self._lists(policy, running)),
            *(line for key, policy in changed.items() for line in self._policy(key, policy)),
            *(f"no segment-list {name}" for name in sorted(running.segment_lists.keys() - used)),
        )

    def adjust(self, moves: Sequence[AnnouncementMove], running: Reading) -> tuple[str, ...]:
        """See Dialect."""
        return route_map.lines(moves, running.out)

    @staticmethod
    def _lists(policy: SrPolicy, running: Reading) -> Iterator[str]:
        for each in policy.segment_lists:
            name, labels = list_name(each.segments), tuple(segment.label for segment in each.segments)
            if running.segment_lists.get(name) == labels:
                continue
            yield f"no segment-list {name}"  # somebody may have edited it
            yield f"segment-list {name}"
            for position, label in enumerate(labels, start=1):
                yield f"index {10 * position} mpls label {label}"
            yield "exit"

    @staticmethod
    def _policy(key: PolicyKey, policy: SrPolicy | None) -> Iterator[str]:
        yield f"no policy color {key.colour} endpoint {key.endpoint}"
        if policy is None:
            return
        name = policy_name(key)
        yield f"policy color {key.colour} endpoint {key.endpoint}"
        yield f"name {name}"
        for each in policy.segment_lists:
            path = f"candidate-path preference 100 name {name} explicit"
            yield f"{path} segment-list {list_name(each.segments)} weight {each.weight}"
        for dscp, colour in policy.per_flow:
            yield f"per-flow {'default' if dscp == EVERY_OTHER_DSCP else f'dscp {dscp}'} color {colour}"
        yield "exit"

    def parse(self, outputs: Mapping[str, str], headend: str, community: str) -> Reading:
        """See Dialect."""
        blocks = _blocks(outputs.get(DETAIL, ""), headend)
        ours = {block.key: SrPolicy(block.key, block.lists, block.per_flow) for block in blocks if block.is_ours}
        others = [block for block in blocks if not block.is_ours]
        borrowed = {name for block in others for name in block.names}  # lists of ours that others use stay
        configured = {
            found["name"]: tuple(map(int, _INDEX.findall(found["body"])))
            for found in _CONFIGURED_LIST.finditer(outputs.get(RUNNING, ""))
            if found["name"] not in borrowed
        }
        routes = _routes(outputs.get(ROUTES, ""), headend, community)
        out = route_map.read(outputs.get(RUNNING, ""), headend)
        state = ForwardingState(ours, routes, out.adjustments)
        return Reading(state, frozenset(block.key for block in others), configured, out)


DIALECT = LabDialect()


def _check(policy: SrPolicy) -> None:
    """Raise ValueError when these routers cannot be told this policy."""
    if not 1 <= policy.key.colour <= MAX_U32 or str(IPv4Address(policy.key.endpoint)) != policy.key.endpoint:
        raise ValueError(f"{policy.key} is no policy of these routers")
    if bool(policy.segment_lists) == bool(policy.per_flow):
        raise ValueError(f"{policy.key} needs either segment lists or per-flow colours")
    for each in policy.segment_lists:
        labels = [segment.label for segment in each.segments]
        if not 1 <= len(labels) <= MAX_SIDS or not all(MIN_LABEL <= label <= MAX_LABEL for label in labels):
            raise ValueError(f"{policy.key}: labels {labels} cannot be imposed")
        if not 1 <= each.weight <= MAX_U32:
            raise ValueError(f"{policy.key}: weight {each.weight} is out of range")
    if len({each.segments for each in policy.segment_lists}) < len(policy.segment_lists):
        raise ValueError(f"{policy.key} has the same segment list twice")
    if sorted(dict(policy.per_flow).items()) != list(policy.per_flow):
        raise ValueError(f"{policy.key}: per-flow mapping is not sorted, or maps a code point twice")
    for dscp, colour in policy.per_flow:
        if not EVERY_OTHER_DSCP <= dscp <= MAX_DSCP or not 1 <= colour <= MAX_U32:
            raise ValueError(f"{policy.key}: per-flow dscp {dscp} to colour {colour} is out of range")


@dataclass
class _Block:
    """One policy while its lines are read."""

    key: PolicyKey
    name: str
    names: tuple[str, ...] = ()  # of its segment lists
    pending_list: str = ""  # a candidate path whose labels come next
    lists: tuple[SegmentList, ...] = ()
    per_flow: tuple[tuple[int, int], ...] = ()

    @property
    def is_ours(self) -> bool:
        """Tell whether the daemon made it."""
        return self.name.startswith(OURS)

    def take(self, line: str) -> bool:
        """Read one line of the policy; False when it is none."""
        if found := _PATH.fullmatch(line):
            complete, self.pending_list = not self.pending_list, found["list"]
            self.names += (found["list"],)
            return complete and not self.per_flow
        if self.pending_list and (found := _LABELS.fullmatch(line)):
            self.pending_list = ""
            segments = tuple(Segment(int(label)) for label in found["labels"].split("/"))
            self.lists += (SegmentList(segments, int(found["weight"])),)
            return True
        if found := _PER_FLOW.fullmatch(line):
            dscp = EVERY_OTHER_DSCP if found["dscp"] is None else int(found["dscp"])
            self.per_flow = tuple(sorted((*self.per_flow, (dscp, int(found["colour"])))))
            return not self.lists and not self.pending_list
        return False


def _blocks(text: str, headend: str) -> list[_Block]:
    """Read the detail text: every policy, ours and others'."""
    blocks: list[_Block] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line == "No SR Policies to display.":
            continue
        if found := _POLICY.fullmatch(line):
            key = PolicyKey(headend, int(found["colour"]), found["endpoint"])
            if any(block.key == key for block in blocks):
                raise WireError(f"{headend}: {DETAIL}: line {number}: policy shown twice: {line!r:.200}")
            blocks.append(_Block(key, found["name"]))
        elif not blocks or not blocks[-1].take(line):
            raise WireError(f"{headend}: {DETAIL}: line {number}: not understood: {line!r:.200}")
    for block in blocks:
        if block.pending_list or not (block.lists or block.per_flow):
            raise WireError(f"{headend}: {DETAIL}: policy {block.name or block.key}: labels are missing")
    return blocks


def _routes(text: str, headend: str, community: str) -> dict[RouteKey, Route]:
    """Read bgpd's JSON: paths that carry our community and that the router has chosen."""
    if not text.strip():
        return {}
    routes: dict[RouteKey, Route] = {}
    try:
        table = json.loads(text)["routes"]
        for prefix, entry in table.items():
            for path in entry["paths"]:
                if community in path.get("community", {}).get("string", "").split() and _chosen(path):
                    route = _route(headend, prefix, path)
                    routes[route.key] = route
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise WireError(f"{headend}: {ROUTES}: {error!r:.200} in: {_where(text, error)}") from error
    return routes


def _chosen(path: Mapping[str, Any]) -> bool:
    return path["valid"] is True and path.get("bestpath", {}).get("overall") is True


def _route(headend: str, prefix: str, path: Mapping[str, Any]) -> Route:
    colour = _COLOUR.search(path["extendedCommunity"]["string"])
    if colour is None:
        raise ValueError(f"{prefix}: no colour in {path['extendedCommunity']['string']!r}")
    next_hop = IPv4Address(path["nexthops"][0]["ip"])
    local_preference = path["locPrf"]
    if not isinstance(local_preference, int):
        raise TypeError(f"{prefix}: locPrf {local_preference!r}")
    return Route(RouteKey(headend, IPv4Network(prefix)), str(next_hop), int(colour["colour"]), local_preference)


def _where(text: str, error: Exception) -> str:
    """Show the line that a JSON error is on, or how the text begins."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}: {text.splitlines()[error.lineno - 1 : error.lineno]!r:.200}"
    return repr(text[:120])
