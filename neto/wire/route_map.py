"""Adjustments of announcements in FRR's grammar: entries of a route-map through which a border tells one neighbour.

The operator makes the map, `NETO-OUT-PEER`, with one entry at its end that permits everything, and has what is told go
through it: as the neighbour's own map (`neighbor PEER route-map NETO-OUT-PEER out`), or by a `call` in the map that is
there, after that has decided. Our entries come before the last, one for each prefix: each permits that prefix alone,
and adds to it. So whatever part of our lines a router has put to use, nothing is announced that was not, and nothing
is not that was. Of neighbours and of other people's maps and entries nothing is ever said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from neto.model.announcement import Adjustment, AnnouncementKey
from neto.model.plan import AnnouncementMove

MOST_ENTRIES = 9999  # the first sequence numbers are ours; what comes after them is the operator's
_MAP = "NETO-OUT-"
_LIST = "NETO-TO-"
_MOST_U32 = 4294967295
_MOST_U16 = 65535

_NUMBER = r"(?:0|[1-9]\d{0,9})"
_ADDRESS = r"\d{1,3}(?:\.\d{1,3}){3}"
_PREFIX = rf"{_ADDRESS}/\d{{1,2}}"
_LIST_NAME = rf"{_LIST}{_ADDRESS}-{_ADDRESS}-\d{{1,2}}"
ALLOWED = (
    rf"(?:no )?route-map {_MAP}{_ADDRESS} permit [1-9]\d{{0,3}}",  # never without a number: that is the whole map
    rf"match ip address prefix-list {_LIST_NAME}",
    rf"set (?:metric {_NUMBER}|as-path prepend {_NUMBER}(?: {_NUMBER}){{0,9}}|community \d{{1,5}}:\d{{1,5}} additive)",
    rf"ip prefix-list {_LIST_NAME} seq 5 permit {_PREFIX}",
    rf"no ip prefix-list {_LIST_NAME}",
)

_ENTRY = re.compile(r"route-map (?P<map>\S+) (?P<action>permit|deny) (?P<number>\d{1,5})", re.ASCII)
_PERMITS = re.compile(rf"ip prefix-list (?P<name>{_LIST}\S+) (?P<what>.*)", re.ASCII)
_BGP = re.compile(r"router bgp(?P<instance>.*)", re.ASCII)
_OUT = re.compile(rf"neighbor (?P<peer>{_ADDRESS}) route-map (?P<map>\S+) out", re.ASCII)
_SET = re.compile(
    rf"set (?:metric (?P<med>{_NUMBER})|as-path prepend (?P<path>{_NUMBER}(?: {_NUMBER})*)"
    r"|community (?P<community>\d{1,5}:\d{1,5}) additive)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class OutPolicies:
    """What a router has of ours, and toward whom more may be said."""

    adjustments: Mapping[AnnouncementKey, Adjustment] = field(default_factory=dict)
    entries: Mapping[AnnouncementKey, int] = field(default_factory=dict)  # sequence number of each
    taken: Mapping[str, frozenset[int]] = field(default_factory=dict)  # by neighbour: numbers of its map, anybody's
    trouble: Mapping[str, str] = field(default_factory=dict)  # by neighbour: why no more may be said; "": it may


def lines(moves: Sequence[AnnouncementMove], running: OutPolicies) -> tuple[str, ...]:
    """Say what brings announcements to where the moves want them. Repeating it does no harm.

    Raises ValueError when that cannot be said, or a neighbour's policy is not ours to add to.
    """
    said: list[str] = []
    taken = {peer: set(numbers) for peer, numbers in running.taken.items()}
    for move in moves:
        if running.adjustments.get(move.key) == move.adjustment:
            continue
        number = running.entries.get(move.key)
        if number is not None:
            said += _remove(move.key, number)
            taken[move.key.peer].discard(number)
        if move.adjustment is None:
            continue
        if trouble := running.trouble.get(move.key.peer, "it has none"):
            raise ValueError(f"out-policy of neighbour {move.key.peer} is left alone: {trouble}")
        mine = taken[move.key.peer]
        number = next((free for free in range(1, MOST_ENTRIES + 1) if free not in mine), None)
        if number is None:
            raise ValueError(f"out-policy of neighbour {move.key.peer} has no number left below {MOST_ENTRIES + 1}")
        mine.add(number)
        said += _add(move.adjustment, number)
    return tuple(said)


def _add(adjustment: Adjustment, number: int) -> Iterator[str]:
    """Say one entry: the prefixes first, and whom it is for before what it does."""
    key = adjustment.key
    what = _set(adjustment)
    yield f"ip prefix-list {_list(key)} seq 5 permit {key.prefix}"
    yield f"route-map {_MAP}{key.peer} permit {number}"
    yield f"match ip address prefix-list {_list(key)}"
    yield what
    yield "exit"


def _remove(key: AnnouncementKey, number: int) -> Iterator[str]:
    """Take one entry back, and only then its prefixes: an entry whose list is gone could match anything."""
    yield f"no route-map {_MAP}{key.peer} permit {number}"
    yield f"no ip prefix-list {_list(key)}"


def _list(key: AnnouncementKey) -> str:
    if not isinstance(key.prefix, IPv4Network) or str(IPv4Address(key.peer)) != key.peer:
        raise ValueError(f"{key.prefix} to {key.peer} cannot be adjusted; accepted: IPv4")
    return f"{_LIST}{key.peer}-{key.prefix.network_address}-{key.prefix.prefixlen}"


def _set(adjustment: Adjustment) -> str:
    if adjustment.community:
        parts = adjustment.community.split(":")
        if len(parts) != 2 or not all(part.isdecimal() and int(part) <= _MOST_U16 for part in parts):  # noqa: PLR2004
            raise ValueError(f"{adjustment.community} is no community")
        return f"set community {adjustment.community} additive"
    if adjustment.med is not None:
        if not 0 <= adjustment.med <= _MOST_U32:
            raise ValueError(f"MED {adjustment.med} is out of range")
        return f"set metric {adjustment.med}"
    if not adjustment.prepend or not all(1 <= asn <= _MOST_U32 for asn in adjustment.prepend):
        raise ValueError(f"{adjustment.prepend} cannot be prepended")
    return f"set as-path prepend {' '.join(map(str, adjustment.prepend))}"


@dataclass
class _Found:
    """A running configuration, as far as it concerns us."""

    maps: dict[str, dict[int, tuple[str, list[str]]]] = field(default_factory=dict)  # name: {number: (action, body)}
    lists: dict[str, list[str]] = field(default_factory=dict)  # of ours: what each permits
    out: dict[str, str] = field(default_factory=dict)  # neighbour: its map


def read(text: str, headend: str) -> OutPolicies:
    """Read a running configuration. What is not exactly as we write it is somebody else's: named, and left alone."""
    found = _found(text)
    adjustments: dict[AnnouncementKey, Adjustment] = {}
    entries: dict[AnnouncementKey, int] = {}
    trouble = {peer: _hook_trouble(peer, name, found) for peer, name in found.out.items()}
    for name, numbered in found.maps.items():
        peer = name.removeprefix(_MAP)
        if peer == name:
            continue
        for number, (action, body) in numbered.items():
            if number > MOST_ENTRIES:
                continue
            mine = _adjustment(headend, peer, action, body, found.lists)
            if mine is None or mine.key in entries:
                trouble[peer] = f"entry {number} of {name} is not as NetO writes it"
                continue
            adjustments[mine.key], entries[mine.key] = mine, number
    taken = {peer: frozenset(found.maps.get(_MAP + peer, ())) for peer in trouble}
    taken |= {key.peer: frozenset(found.maps[_MAP + key.peer]) for key in entries}
    return OutPolicies(adjustments, entries, taken, trouble)


def _found(text: str) -> _Found:
    """Sort the lines: those at the margin begin a block, the others belong to it."""
    found, body, inside, family = _Found(), list[str](), False, ""
    for line in text.splitlines():
        word = line.strip()
        if not line.startswith(" "):
            body, inside, family = [], False, ""
            if entry := _ENTRY.fullmatch(word):
                found.maps.setdefault(entry["map"], {})[int(entry["number"])] = entry["action"], body
            elif permits := _PERMITS.fullmatch(word):
                found.lists.setdefault(permits["name"], []).append(permits["what"])
            elif bgp := _BGP.fullmatch(word):
                inside = " vrf " not in bgp["instance"] and " view " not in bgp["instance"]
        elif inside:
            family = word if word.startswith("address-family ") else "" if word == "exit-address-family" else family
            if family == "address-family ipv4 unicast" and (out := _OUT.fullmatch(word)):
                found.out[out["peer"]] = out["map"]
        else:
            body.append(word)
    return found


def _hook_trouble(peer: str, name: str, found: _Found) -> str:
    """Say why nothing may be added to what this neighbour is told; "" when it may."""
    mine = _MAP + peer
    if name != mine and not any(f"call {mine}" in body for _, body in found.maps.get(name, {}).values()):
        return f"it is {name}, which is not NetO's (accepted: {mine}, or one that calls it)"
    theirs = [entry for number, entry in found.maps.get(mine, {}).items() if number > MOST_ENTRIES]
    if theirs != [("permit", [])]:
        return f"{mine} has above {MOST_ENTRIES} anything else than one entry that permits everything"
    return ""


def _adjustment(
    headend: str, peer: str, action: str, body: Sequence[str], lists: Mapping[str, Sequence[str]]
) -> Adjustment | None:
    """Return what an entry adds; None when it is not one that we would write."""
    said = next((found for line in body if (found := _SET.fullmatch(line))), None)
    name = next((line.rpartition(" ")[2] for line in body if line.startswith("match ip address prefix-list ")), "")
    permitted = lists.get(name, ())
    if action != "permit" or said is None or len(permitted) != 1:
        return None
    try:
        key = AnnouncementKey(headend, peer, IPv4Network(permitted[0].removeprefix("seq 5 permit ")))
        adjustment = Adjustment(
            key,
            community=said["community"] or "",
            med=None if said["med"] is None else int(said["med"]),
            prepend=tuple(map(int, said["path"].split())) if said["path"] else (),
        )
        entry = list(_add(adjustment, 1))
    except ValueError:
        return None
    same = sorted(body) == sorted(entry[2:-1]) and f"ip prefix-list {name} {permitted[0]}" == entry[0]
    return adjustment if same else None
