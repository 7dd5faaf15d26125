"""How an emulated router reads a line: keywords that may be abbreviated, and values with a range.

A syntax is text such as "index {index:0-4294967295} mpls label {label:16-1048575}": words are keywords, braces are
values, `name:kind` with kind `word`, `ipv4` or `low-high`. Answers are worded as FRR words them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import AddressValueError, IPv4Address

MAX_WORD = 128
_WORD = re.compile(rf"[\w.:@/+-]{{1,{MAX_WORD}}}", re.ASCII)


@dataclass(frozen=True)
class Token:
    """One place in a syntax: a keyword, or a value with a name and a kind."""

    keyword: str = ""
    name: str = ""
    kind: str = ""

    def accepts(self, word: str) -> bool:
        """Tell whether the word can stand here."""
        if self.keyword:
            return self.keyword.startswith(word.lower())
        if self.kind == "ipv4":
            try:
                return str(IPv4Address(word)) == word
            except AddressValueError:
                return False
        if self.kind == "word":
            return _WORD.fullmatch(word) is not None
        low, high = map(int, self.kind.split("-"))
        return word.isascii() and word.isdigit() and str(int(word)) == word and low <= int(word) <= high

    def __str__(self) -> str:
        return self.keyword or {"ipv4": "A.B.C.D", "word": "WORD"}.get(self.kind, f"({self.kind})")


@dataclass(frozen=True)
class Command:
    """A line that a mode understands, and what is done with it: the name of a method of the session."""

    syntax: str
    method: str

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        """The places of its syntax."""
        return tuple(
            Token(name=found[1], kind=found[2])
            if (found := re.fullmatch(r"\{(\w+):([\w-]+)\}", part))
            else Token(keyword=part)
            for part in self.syntax.split()
        )


@dataclass(frozen=True)
class Match:
    """A line understood."""

    command: Command
    values: Mapping[str, str]


@dataclass(frozen=True)
class Refusal:
    """A line not understood, and what the router says to it."""

    text: str
    unknown: bool = False  # nothing here starts like this: an enclosing mode may still know it


def read(commands: Iterable[Command], line: str) -> Match | Refusal:
    """Find the one command that the line means."""
    words = line.split()
    left = list(commands)
    for place, word in enumerate(words):
        reached = [command for command in left if len(command.tokens) > place]
        left = [command for command in reached if command.tokens[place].accepts(word)]
        if not left:
            return _refusal(reached, place, word, line)
    whole = [command for command in left if len(command.tokens) == len(words)]
    if len(whole) == 1:
        return Match(whole[0], _values(whole[0], words))
    if whole or (words and len({command.tokens[len(words) - 1] for command in left}) > 1):
        return Refusal("% Ambiguous command.")
    return Refusal(f"% Command incomplete: {line.strip()}")


def complete(commands: Iterable[Command], line: str) -> str:
    """Say what may come next, as `?` does."""
    words = line.split()
    begun = words.pop() if words and not line.endswith(" ") else ""
    left = list(commands)
    for place, word in enumerate(words):
        left = [command for command in left if len(command.tokens) > place and command.tokens[place].accepts(word)]
    place = len(words)
    ends = not begun and any(len(command.tokens) == place for command in left)
    following = {command.tokens[place] for command in left if len(command.tokens) > place}
    shown = sorted(str(token) for token in following if not begun or token.accepts(begun))
    shown += ["<cr>"] if ends else []
    return "\n".join(f"  {each}" for each in shown) or "% There is no matched command."


def _values(command: Command, words: Sequence[str]) -> dict[str, str]:
    return {token.name: word for token, word in zip(command.tokens, words, strict=True) if token.name}


def _refusal(reached: Sequence[Command], place: int, word: str, line: str) -> Refusal:
    wanted = sorted({f"{t.name} {word}: {t} is accepted" for t in (c.tokens[place] for c in reached) if t.name})
    if wanted:
        return Refusal(f"% Invalid {wanted[0]}")
    return Refusal(f"% Unknown command: {line.strip()}", unknown=True)
