"""exabgp 5 from outside: its configuration, the lines it writes to its helper, the commands it reads.

Received UPDATEs arrive as the raw message, so nothing that exabgp does not know is lost on the way. Commands are
validated here to the last character: exabgp answers `done` to what it merely queued, its answer to an unknown command
overtakes others, and a next hop that no router accepts makes the session flap for ever.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

import msgspec

from neto.errors import WireError
from neto.model.sr import Route, RouteKey

OPEN, UPDATE = 1, 2  # message types (RFC 4271 §4.1)
MAX_TWO_OCTET_AS = 0xFFFF
MAX_UINT32 = 0xFFFFFFFF
PROCESS = "neto"  # exabgp's name for our helper


class Family(StrEnum):
    """Address families, as exabgp spells them."""

    IPV4_UNICAST = "ipv4 unicast"
    LINK_STATE = "bgp-ls bgp-ls"


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A router to connect to. Its address is its name in commands and events."""

    address: str
    port: int
    families: frozenset[Family]
    add_path: bool = False  # several routes for a prefix are welcome (RFC 7911), and its OPEN is told


@dataclass(frozen=True)
class ExaBgpConfig:
    """All sessions: iBGP, opened by us, never accepted. Raises ValueError for what exabgp could not be told."""

    asn: int
    router_id: str
    local_address: str
    neighbors: tuple[Neighbor, ...]
    hold_time_s: int = 9
    graceful_restart_s: int = 0  # how long routers keep our routes when the session drops without a NOTIFICATION

    def __post_init__(self) -> None:
        for address in (self.router_id, self.local_address, *(each.address for each in self.neighbors)):
            IPv4Address(address)
        addresses = [each.address for each in self.neighbors]
        if len(set(addresses)) < len(addresses):
            raise ValueError("two neighbors have the same address, by which alone exabgp could tell them apart")


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A session is established."""

    address: str


@dataclass(frozen=True, slots=True)
class PeerDown:
    """A session, or an attempt at one, ended. exabgp withdraws nothing: what the peer told is stale from here on."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class RawUpdate:
    """An UPDATE message as received, without its 19-octet header."""

    address: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RawOpen:
    """An OPEN message as received, without its 19-octet header; it comes before the `PeerUp` of its session."""

    address: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to one command. True says parsed and queued, no more."""

    ok: bool


Event = PeerUp | PeerDown | RawUpdate | RawOpen


class _Message(msgspec.Struct):
    category: int
    body: str


class _Address(msgspec.Struct):
    peer: str


class _Neighbor(msgspec.Struct):
    address: _Address
    state: str = ""
    reason: str = ""
    message: _Message | None = None


class _Line(msgspec.Struct):
    type: str
    neighbor: _Neighbor | None = None


_LINE = msgspec.json.Decoder(_Line)
_ANSWERS = {b"done": Ack(ok=True), b"error": Ack(ok=False)}
_NOTICES = {b"shutdown in progress"}


def parse_line(line: bytes) -> Event | Ack | None:
    """Read one line that exabgp wrote to its helper; None when it says nothing we act on.

    Raises WireError.
    """
    line = line.strip()
    if line in _ANSWERS:
        return _ANSWERS[line]
    if line in _NOTICES:
        return None
    try:
        return _event(_LINE.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
        raise WireError(f"exabgp wrote {line[:80]!r}: {error}; accepted: done, error, a JSON event") from error


def _event(line: _Line) -> Event | None:
    neighbor = line.neighbor
    if neighbor is None:
        return None
    match line.type, neighbor.state:
        case "state", "up":
            return PeerUp(neighbor.address.peer)
        case "state", "down":
            return PeerDown(neighbor.address.peer, neighbor.reason)
        case "update", _ if neighbor.message and neighbor.message.category == UPDATE:
            return RawUpdate(neighbor.address.peer, _octets(neighbor.message))
        case "open", _ if neighbor.message and neighbor.message.category == OPEN:
            return RawOpen(neighbor.address.peer, _octets(neighbor.message))
    return None


def _octets(message: _Message) -> bytes:
    return binascii.unhexlify(message.body.removeprefix("0x"))


def render(config: ExaBgpConfig, helper: Sequence[str]) -> str:
    """Return exabgp's configuration file.

    helper: the command line of the program that relays between exabgp and us.
    Raises ValueError when a word of it holds what exabgp's quoting cannot.
    """
    lines = [
        f"process {PROCESS} {{",
        f"    run {' '.join(map(_quoted, helper))};",
        "    encoder json;",
        "    respawn false;",
        "}",
    ]
    for neighbor in config.neighbors:
        lines += _neighbor(config, neighbor)
    return "\n".join(lines) + "\n"


def _neighbor(config: ExaBgpConfig, neighbor: Neighbor) -> list[str]:
    """One session.

    No adj-rib-out and no route refresh: exabgp must never repeat on its own what a leader of old once said.
    """
    graceful = bool(config.graceful_restart_s) and Family.IPV4_UNICAST in neighbor.families
    return [
        f"neighbor {neighbor.address} {{",
        f"    router-id {config.router_id};",
        f"    local-address {config.local_address};",
        f"    local-as {config.asn};",
        f"    peer-as {config.asn};",
        f"    connect {neighbor.port};",
        "    passive false;",
        f"    hold-time {config.hold_time_s};",
        "    adj-rib-in false;",
        "    adj-rib-out false;",
        f"    manual-eor {'true' if graceful else 'false'};",
        "    capability {",
        "        asn4 enable;",
        "        extended-message enable;",
        "        route-refresh disable;",
        f"        graceful-restart {config.graceful_restart_s if graceful else 'disable'};",
        f"        add-path {'receive' if neighbor.add_path else 'disable'};",
        "    }",
        *(["    add-path {", f"        {Family.IPV4_UNICAST};", "    }"] if neighbor.add_path else []),
        "    family {",
        *(f"        {family};" for family in sorted(neighbor.families)),
        "    }",
        "    api {",
        f"        processes [ {PROCESS} ];",
        "        neighbor-changes;",
        "        receive {",
        "            packets;",
        "            update;",
        *(["            open;"] if neighbor.add_path else []),
        "        }",
        "    }",
        "}",
    ]


def _quoted(word: str) -> str:
    if not re.fullmatch(r"[ -~]+", word) or set(word) & set("\"'\\"):
        raise ValueError(f"{word!r} cannot stand in exabgp's configuration; accepted: ASCII without quotes, backslash")
    return f'"{word}"'


def environment(user: str) -> dict[str, str]:
    """Return exabgp's settings: no listening socket, no command pipe, no other user, no helper that comes back."""
    settings = {
        "daemon.user": user,
        "daemon.drop": "false",
        "daemon.daemonize": "false",
        "daemon.umask": "0077",
        "tcp.bind": "",
        "api.cli": "false",
        "api.ack": "true",
        "api.respawn": "false",
        "api.terminate": "true",
        "log.level": "WARNING",
        "log.destination": "stderr",
        "log.short": "true",
    }
    return {f"exabgp.{key}": value for key, value in settings.items()}


def announce(address: str, route: Route, marks: str) -> str:
    """Return the command that announces a route to one neighbor.

    marks: its communities, from `communities`. The colour goes as an extended community (RFC 9012 §4.3), of which
    exabgp has no name: type 0x03, sub-type 0x0b, flags 0 (CO 00), colour.
    Raises ValueError for a route that no router would take.
    """
    next_hop = IPv4Address(route.next_hop)
    if next_hop.is_loopback or next_hop.is_multicast or next_hop.is_reserved or next_hop in IPv4Network("0.0.0.0/8"):
        raise ValueError(f"next hop {next_hop} of {route.key.prefix}; accepted: a router's own address")
    colour = _in_range("colour", route.colour)
    preference = _in_range("local preference", route.local_preference)
    return (
        f"{_to(address)} announce route {_prefix(route.key)} next-hop {next_hop} local-preference {preference}"
        f" {marks} extended-community [ 0x030b0000{colour:08x} ]"
    )


def withdraw(address: str, key: RouteKey) -> str:
    """Return the command that withdraws a prefix from one neighbor. Raises ValueError."""
    return f"{_to(address)} withdraw route {_prefix(key)}"


def end_of_rib(address: str) -> str:
    """Return the command that says that all routes have been announced (RFC 4724 §2)."""
    return f"{_to(address)} announce eor {Family.IPV4_UNICAST}"


def teardown(address: str) -> str:
    """Return the command that ends a session with Cease/Administrative Shutdown (RFC 4486 §3).

    With graceful restart exabgp closes the connection without a word instead.
    """
    return f"{_to(address)} teardown 2"


def nothing() -> str:
    """Return a command that changes nothing: its answer says that exabgp lives, and has been once round its loop."""
    return "#"


def shutdown() -> str:
    """Return the command that ends exabgp. It closes its connections without a NOTIFICATION."""
    return "shutdown"


def communities(mark: str) -> str:
    """Return what marks our routes: NO_EXPORT (RFC 1997) and a community of ours, as in "65000:900".

    An AS number of four octets fits a large community only (RFC 8092): "4200000000:900" goes as 4200000000:900:0.
    Raises ValueError.
    """
    asn, value = (_in_range("community", int(part)) for part in mark.split(":"))
    if value > MAX_TWO_OCTET_AS:
        raise ValueError(f"community {mark}; accepted: ASN:0 to ASN:{MAX_TWO_OCTET_AS}")
    if asn > MAX_TWO_OCTET_AS:
        return f"community [ no-export ] large-community [ {asn}:{value}:0 ]"
    return f"community [ no-export {asn}:{value} ]"


def check_command(line: str) -> None:
    """Raise ValueError for what is not one command: exabgp drops a helper over a character that is not ASCII."""
    if not re.fullmatch(r"[ -~]{1,4096}", line):
        raise ValueError(f"{line[:80]!r} is no command; accepted: one line of printable ASCII")


def _to(address: str) -> str:
    return f"neighbor {IPv4Address(address)}"


def _prefix(key: RouteKey) -> IPv4Network:
    if not isinstance(key.prefix, IPv4Network):
        raise ValueError(f"prefix {key.prefix}; accepted: IPv4")  # noqa: TRY004  a value we cannot announce
    return key.prefix


def _in_range(what: str, value: int) -> int:
    if not 0 <= value <= MAX_UINT32:
        raise ValueError(f"{what} {value}; accepted: 0 to {MAX_UINT32}")
    return value
