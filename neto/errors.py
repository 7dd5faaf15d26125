"""Whose fault it is: the operator's, a peer's, or ours.

InputError    the operator's: files and options. Carries every problem at once; the command exits 2.
WireError     a peer's: bytes or text that no conforming speaker sends. Counted, logged, survived.
DeviceError   a router's: a push or a read-back that failed. Its device is unverified until read back.
LeaseLostError  another daemon leads; whoever sees it stops acting at once.
StoreError    the persistent store refused or is damaged.

Anything else is ours: it ends the process, and the standby takes over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class NetoError(Exception):
    """Base of all errors that NetO raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what an operator wrote, and what is accepted instead."""

    file: str
    line: int  # 1-based; 0 where the file has no such line (a missing key of the whole file, an unreadable file)
    key: str  # dotted, as the operator would say it: "class.gold.dscp"; "" where there is none
    message: str  # "what is wrong; accepted: what is"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class InputError(NetoError):
    """What an operator gave cannot be used. Carries every problem found, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class WireError(NetoError):
    """Bytes or text from a peer that cannot be decoded; says what was expected and where."""


class DeviceError(NetoError):
    """A router did not do, or did not confirm, what it was asked to."""

    def __init__(self, device: str, message: str) -> None:
        self.device = device
        super().__init__(f"{device}: {message}")


class DeviceTimeoutError(DeviceError):
    """A router did not answer in time, or the line to it broke: what it was last told may yet take effect."""


class LeaseLostError(NetoError):
    """This process no longer leads; nothing may be pushed or stored in its name."""


class StoreError(NetoError):
    """The persistent store refused a write or holds something damaged."""
