"""The command line of an emulated router, a line in and text out: modes as FRR has them, and a commit.

    nyc1# configure terminal
    nyc1(config)# segment-routing
    nyc1(config-sr)# traffic-eng
    nyc1(config-sr-te)# segment-list NETO-16003
    nyc1(config-sr-te-segment-list)# index 10 mpls label 16003
    nyc1(config-sr-te-segment-list)# policy color 1001 endpoint 10.255.0.3
    nyc1(config-sr-te-policy)# candidate-path preference 100 name P explicit segment-list NETO-16003 weight 1
    nyc1(config-sr-te-policy)# commit

The grammar is pathd's (docs.frrouting.org, PATH) with weights and per-flow colours (RFC 9256 §8.6), that of route-maps
and prefix lists as far as borders need it, and a staged configuration: what is typed takes effect together at
`commit`, or never.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network

from neto.lab import show
from neto.lab.configuration import (
    EVERY_OTHER_DSCP,
    CandidateList,
    CommitError,
    Configuration,
    Edit,
    PolicyConfig,
    PolicyId,
)
from neto.lab.grammar import Command, Match, Refusal, complete, read
from neto.lab.router import LabRouter
from neto.lab.told import MapEntry

Values = Mapping[str, str]
U32 = "1-4294967295"
PERMIT, DENY = (f"route-map {{name:word}} {action} {{number:1-65535}}" for action in ("permit", "deny"))
PREFIX_LIST = "ip prefix-list {name:word}"
MOST_PREPENDED = 10
POLICY = f"policy color {{colour:{U32}}} endpoint {{endpoint:ipv4}}"

SHOW = (
    Command("show version", "show_version"),
    Command("show running-config", "show_running"),
    Command("show sr-te policy detail", "show_policies"),
    Command("show bgp ipv4 unicast detail json", "show_routes"),
    Command("terminal length {lines:0-512}", "nothing"),
    Command("terminal width {columns:0-512}", "nothing"),
)
EXEC = (
    *SHOW,
    Command("configure terminal", "configure"),
    Command("enable", "nothing"),
    Command("exit", "leave"),
    Command("quit", "leave"),
)
IN_EVERY_CONFIG_MODE = (
    Command("commit", "commit"),
    Command("abort", "abort"),
    Command("end", "abort"),
    Command("exit", "leave"),
    Command("quit", "leave"),
)
PARENT = {
    "config": "",
    "config-sr": "config",
    "config-sr-te": "config-sr",
    "config-sr-te-segment-list": "config-sr-te",
    "config-sr-te-policy": "config-sr-te",
    "config-route-map": "config",
}
COMMANDS = {
    "": EXEC,
    "config": (
        Command("segment-routing", "segment_routing"),
        Command(PERMIT, "permit_entry"),
        Command(DENY, "deny_entry"),
        Command(f"no {PERMIT}", "no_entry"),
        Command(f"no {DENY}", "no_entry"),
        Command(f"{PREFIX_LIST} seq {{number:{U32}}} permit {{prefix:word}}", "prefix_list"),
        Command(f"no {PREFIX_LIST}", "no_prefix_list"),
    ),
    "config-route-map": (
        Command("match ip address prefix-list {list:word}", "match"),
        Command("set metric {med:0-4294967295}", "set_med"),
        Command("set community {community:word} additive", "set_community"),
        *(
            Command("set as-path prepend " + " ".join(f"{{as{n}:{U32}}}" for n in range(times)), "set_prepend")
            for times in range(1, MOST_PREPENDED + 1)
        ),
    ),
    "config-sr": (Command("traffic-eng", "traffic_engineering"),),
    "config-sr-te": (
        Command("segment-list {name:word}", "segment_list"),
        Command("no segment-list {name:word}", "no_segment_list"),
        Command(POLICY, "policy"),
        Command(f"no {POLICY}", "no_policy"),
    ),
    "config-sr-te-segment-list": (Command("index {index:0-4294967295} mpls label {label:16-1048575}", "index"),),
    "config-sr-te-policy": (
        Command("name {name:word}", "policy_name"),
        Command(
            f"candidate-path preference {{preference:1-65535}} name {{name:word}} "
            f"explicit segment-list {{list:word}} weight {{weight:{U32}}}",
            "candidate_path",
        ),
        Command(f"per-flow dscp {{dscp:0-63}} color {{colour:{U32}}}", "per_flow"),
        Command(f"per-flow default color {{colour:{U32}}}", "per_flow"),
    ),
}


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit under way: wait, finish, and print what that returns, unless the router is deaf."""

    wait_s: float
    deaf: bool
    finish: Callable[[], str]


class Session:
    """One login. Modes and staged edits are its own; the router is shared."""

    def __init__(self, router: LabRouter) -> None:
        self.router = router
        self.mode = ""  # "": exec
        self.closed = False
        self._staged: list[Edit] = []
        self._list_name = ""  # what the innermost mode is about
        self._policy_id: PolicyId = (0, "")
        self._entry: tuple[str, int] = ("", 0)

    @property
    def prompt(self) -> str:
        """What stands before the next line."""
        return f"{self.router.state.name}({self.mode})# " if self.mode else f"{self.router.state.name}# "

    def enter(self, line: str) -> str | Commit:
        """Obey one line. Returns what is printed: "" or whole lines without the last line end."""
        if not line.strip() or line.lstrip().startswith(("!", "#")):
            return ""
        first, _, rest = line.strip().partition(" ")
        if self.mode and first == "do":
            return self._obey(read(SHOW, rest))
        refusal: Refusal | None = None
        mode = self.mode
        while True:  # a line that this mode does not know may belong to an enclosing one, as in FRR
            found = read(self._commands(mode), line)
            if isinstance(found, Match):
                self.mode = mode
                return self._obey(found)
            if refusal is None or refusal.unknown:
                refusal = found
            if not PARENT.get(mode):
                return refusal.text
            mode = PARENT[mode]

    def help(self, line: str) -> str:
        """Say what may come next in a line begun like this."""
        if self.mode and line.lstrip().startswith("do "):
            return complete(SHOW, line.lstrip().removeprefix("do "))
        return complete(self._commands(self.mode), line.lstrip())

    def _obey(self, found: Match | Refusal) -> str | Commit:
        if isinstance(found, Refusal):
            return found.text
        method: Callable[[Values], str | Commit] = getattr(self, f"_{found.command.method}")
        return method(found.values)

    @staticmethod
    def _commands(mode: str) -> tuple[Command, ...]:
        return (*COMMANDS[mode], *(IN_EVERY_CONFIG_MODE if mode else ()))

    # Exec mode.

    def _show_version(self, _values: Values) -> str:
        return show.version(self.router)

    def _show_running(self, _values: Values) -> str:
        return show.running_config(self.router)

    def _show_policies(self, _values: Values) -> str:
        return show.policy_detail(self.router)

    def _show_routes(self, _values: Values) -> str:
        return show.bgp_detail(self.router)

    def _nothing(self, _values: Values) -> str:
        return ""

    def _configure(self, _values: Values) -> str:
        self.mode = "config"
        return ""

    def _leave(self, _values: Values) -> str:
        if self.mode in {"", "config"}:
            self.closed = not self.mode
            return self._abort({}) if self.mode else ""
        self.mode = PARENT[self.mode]
        return ""

    # Configuration modes: nothing here touches the router until it is committed.

    def _commit(self, _values: Values) -> Commit:
        edits, self._staged = self._staged, []
        state = self.router.state
        return Commit(state.delay_s, state.deaf, partial(self._finish, edits))

    def _finish(self, edits: list[Edit]) -> str:
        try:
            self.router.commit(edits)
        except CommitError as error:
            self._staged = edits + self._staged  # still there to be mended or aborted
            return f"% Commit failed: {error}"
        return "Commit complete."

    def _abort(self, _values: Values) -> str:
        self._staged.clear()
        self.mode = ""
        return ""

    def _segment_routing(self, _values: Values) -> str:
        self.mode = "config-sr"
        return ""

    def _traffic_engineering(self, _values: Values) -> str:
        self.mode = "config-sr-te"
        return ""

    def _segment_list(self, values: Values) -> str:
        self._list_name = name = values["name"]
        self.mode = "config-sr-te-segment-list"
        return self._stage(lambda to: to.segment_lists.setdefault(name, {}))

    def _no_segment_list(self, values: Values) -> str:
        return self._stage(lambda to: to.segment_lists.pop(values["name"], None))

    def _index(self, values: Values) -> str:
        name = self._list_name
        index, label = int(values["index"]), int(values["label"])
        return self._stage(lambda to: to.segment_lists.setdefault(name, {}).update({index: label}))

    def _policy(self, values: Values) -> str:
        self._policy_id = key = _policy_id(values)
        self.mode = "config-sr-te-policy"
        return self._stage(lambda to: _policy(to, key))

    def _no_policy(self, values: Values) -> str:
        return self._stage(lambda to: to.policies.pop(_policy_id(values), None))

    def _policy_name(self, values: Values) -> str:
        key = self._policy_id
        return self._stage(lambda to: setattr(_policy(to, key), "name", values["name"]))

    def _candidate_path(self, values: Values) -> str:
        key = self._policy_id
        path = CandidateList(int(values["preference"]), values["name"], values["list"], int(values["weight"]))
        return self._stage(lambda to: _policy(to, key).lists.update({path.segment_list: path}))

    def _per_flow(self, values: Values) -> str:
        key = self._policy_id
        dscp = int(values.get("dscp", EVERY_OTHER_DSCP))
        return self._stage(lambda to: _policy(to, key).per_flow.update({dscp: int(values["colour"])}))

    def _permit_entry(self, values: Values) -> str:
        return self._map_entry(values, permits=True)

    def _deny_entry(self, values: Values) -> str:
        return self._map_entry(values, permits=False)

    def _map_entry(self, values: Values, *, permits: bool) -> str:
        self._entry = at = values["name"], int(values["number"])
        self.mode = "config-route-map"
        return self._stage(lambda to: _entry(to, at, permits=permits))

    def _no_entry(self, values: Values) -> str:
        return self._stage(lambda to: _no_entry(to, values["name"], int(values["number"])))

    def _prefix_list(self, values: Values) -> str:
        try:
            prefix = IPv4Network(values["prefix"])
        except ValueError:
            return f"% Malformed prefix: {values['prefix']}"
        name, number = values["name"], int(values["number"])
        return self._stage(lambda to: to.out.prefix_lists.setdefault(name, {}).update({number: prefix}))

    def _no_prefix_list(self, values: Values) -> str:
        return self._stage(lambda to: to.out.prefix_lists.pop(values["name"], None))

    def _match(self, values: Values) -> str:
        return self._set("match", values["list"])

    def _set_med(self, values: Values) -> str:
        return self._set("med", int(values["med"]))

    def _set_community(self, values: Values) -> str:
        return self._set("community", values["community"])

    def _set_prepend(self, values: Values) -> str:
        return self._set("prepend", tuple(map(int, values.values())))

    def _set(self, what: str, value: object) -> str:
        at = self._entry
        return self._stage(lambda to: setattr(_entry(to, at), what, value))

    def _stage(self, edit: Edit) -> str:
        self._staged.append(edit)
        return ""


def _policy_id(values: Values) -> PolicyId:
    return int(values["colour"]), values["endpoint"]


def _policy(configuration: Configuration, key: PolicyId) -> PolicyConfig:
    return configuration.policies.setdefault(key, PolicyConfig())


def _entry(configuration: Configuration, at: tuple[str, int], *, permits: bool | None = None) -> MapEntry:
    """Return an entry of a route-map; a new one where there is none. permits: what it becomes; None: what it is."""
    name, number = at
    entry = configuration.out.route_maps.setdefault(name, {}).setdefault(number, MapEntry(permits=True))
    entry.permits = entry.permits if permits is None else permits
    return entry


def _no_entry(configuration: Configuration, name: str, number: int) -> None:
    entries = configuration.out.route_maps.get(name, {})
    entries.pop(number, None)
    if not entries:
        configuration.out.route_maps.pop(name, None)
