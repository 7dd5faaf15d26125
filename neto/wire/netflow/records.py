"""Flow records as columns; the only place where an exporter's units and clocks turn into ours.

A column is made when it is asked for, from a view over the packet: whoever needs four columns pays for four.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neto.wire.netflow import elements as e

Unsigned = npt.NDArray[np.uint64]
Float = npt.NDArray[np.float64]

_NTP_TO_UNIX_S = 2_208_988_800  # 1900 to 1970
LONGEST_INTERVAL = 1 << 32
_FRACTION = 1 << 32  # of a second, in an NTP timestamp


@dataclass(frozen=True, slots=True)
class Clock:
    """What a message's header says of time."""

    export_s: float  # unix seconds at which it left
    uptime_ms: int | None = None  # of the exporter, then; None: not told (IPFIX)
    boot_s: float | None = None  # unix seconds at which the exporter's uptime began, when options tell


class Records:
    """Records of one layout: (records,) rows of known elements."""

    __slots__ = ("rows",)

    def __init__(self, rows: npt.NDArray[np.void]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def has(self, element: int) -> bool:
        """Whether these records tell an element."""
        return str(element) in (self.rows.dtype.names or ())

    def unsigned(self, element: int) -> Unsigned:
        """One element that is told, as (records,) uint64."""
        column = self.rows[str(element)]
        if column.ndim == 1:
            return column.astype(np.uint64)
        value = np.zeros(len(column), np.uint64)  # 3, 5, 6 or 7 octets
        for octet in column.T:
            value = value << np.uint64(8) | octet
        return value

    def first(self, elements: tuple[int, ...]) -> Unsigned:
        """The first of these elements that is told; zeros when none is."""
        for element in elements:
            if self.has(element):
                return self.unsigned(element)
        return np.zeros(len(self), np.uint64)

    def interval(self) -> Float:
        """One packet of how many was looked at, (records,); NaN where the record does not say.

        An interval of 0 says nothing: it must not turn octets into none.
        """
        told = np.full(len(self), np.nan)
        for element in e.INTERVAL:
            if self.has(element):
                _fill(told, self.unsigned(element).astype(np.float64), np.ones(len(self)))
        if self.has(e.PACKET_INTERVAL) and self.has(e.PACKET_SPACE):
            looked_at = self.unsigned(e.PACKET_INTERVAL).astype(np.float64)
            _fill(told, looked_at + self.unsigned(e.PACKET_SPACE), looked_at)
        if self.has(e.SIZE) and self.has(e.POPULATION):
            size = self.unsigned(e.SIZE).astype(np.float64)
            _fill(told, self.unsigned(e.POPULATION).astype(np.float64), size)
        if self.has(e.PROBABILITY):
            with np.errstate(all="ignore"):  # what is no number is none here either
                chance = self.rows[str(e.PROBABILITY)].astype(np.float64)
            _fill(told, np.ones(len(self)), chance)
        if self.has(e.PACKET_INTERVAL) and not self.has(e.PACKET_SPACE):  # some mean the interval by it; by 1 nobody
            alone = self.unsigned(e.PACKET_INTERVAL).astype(np.float64)
            _fill(told, np.where(alone > 1, alone, 0.0), np.ones(len(self)))
        return told

    def sampler(self) -> Unsigned | None:
        """Number of the sampler that picked each record's packets; None when the records do not say."""
        for element in e.SAMPLER:
            if self.has(element):
                return self.unsigned(element)
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """The flow records of one data set.

    sampling: (records,) float64, at least 1: multiply octets and packets by it; 1 where nothing was told.
    sampling_told: (records,) bool.
    """

    exporter: str
    version: int  # 5, 9, 10, or templates.SFLOW
    domain: int  # observation domain, source id, sub-agent, or v5's engine type << 8 | id
    template: int  # 0 for v5 and sFlow
    records: Records
    clock: Clock
    sampling: Float
    sampling_told: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.records)

    @property
    def octets(self) -> Unsigned:
        """As exported, before sampling is applied; 0 where not told."""
        return self.records.first(e.OCTETS)

    @property
    def packets(self) -> Unsigned:
        """As exported, before sampling is applied; 0 where not told."""
        return self.records.first(e.PACKETS)

    @property
    def tos(self) -> Unsigned:
        """The whole byte, DSCP << 2; 0 where not told."""
        if not any(map(self.records.has, e.TOS)) and self.records.has(e.DSCP):
            return self.records.unsigned(e.DSCP) << np.uint64(2)
        return self.records.first(e.TOS)

    @property
    def in_if(self) -> Unsigned:
        """0 where not told."""
        return self.records.first(e.IN_IF)

    @property
    def out_if(self) -> Unsigned:
        """0 where not told."""
        return self.records.first(e.OUT_IF)

    @property
    def egress(self) -> npt.NDArray[np.bool_]:
        """Whether the flow was observed where it left; False where not told."""
        return np.equal(self.records.first((e.DIRECTION,)), 1)

    @property
    def family(self) -> npt.NDArray[np.uint8]:
        """4, 6, or 0 for a record without addresses. A record with room for both has what is not all zeros."""
        v4, v6 = (any(map(self.records.has, pair)) for pair in (e.SRC4 + e.DST4, e.SRC6 + e.DST6))
        if not (v4 and v6):
            return np.full(len(self), 4 if v4 else 6 if v6 else 0, np.uint8)
        is_v6 = np.zeros(len(self), np.bool_)
        for pair in (e.SRC6, e.DST6):
            column = self._column(pair)
            if column is not None:
                is_v6 |= column != b""
        for pair in (e.SRC4, e.DST4):
            column = self._column(pair)
            if column is not None:
                is_v6 &= column == 0
        return np.where(is_v6, np.uint8(6), np.uint8(4))

    @property
    def src4(self) -> npt.NDArray[np.uint32] | None:
        """(records,) in host order, right where `family` is 4; None when no record tells."""
        return self._v4(e.SRC4)

    @property
    def dst4(self) -> npt.NDArray[np.uint32] | None:
        """(records,) in host order, right where `family` is 4; None when no record tells."""
        return self._v4(e.DST4)

    @property
    def src6(self) -> npt.NDArray[np.bytes_] | None:
        """(records,) S16 in network order, right where `family` is 6; None when no record tells."""
        return self._column(e.SRC6)

    @property
    def dst6(self) -> npt.NDArray[np.bytes_] | None:
        """(records,) S16 in network order, right where `family` is 6; None when no record tells."""
        return self._column(e.DST6)

    @property
    def start(self) -> Float:
        """Unix seconds of the first packet, (records,); NaN where not told."""
        return self._time(0)

    @property
    def end(self) -> Float:
        """Unix seconds of the last packet, (records,); NaN where not told."""
        return self._time(1)

    def _column(self, pair: tuple[int, int]) -> npt.NDArray[Any] | None:
        for element in pair:
            if self.records.has(element):
                return self.records.rows[str(element)]
        return None

    def _v4(self, pair: tuple[int, int]) -> npt.NDArray[np.uint32] | None:
        column = self._column(pair)
        return None if column is None else column.astype(np.uint32)

    def _time(self, which: int) -> Float:
        """Start (0) or end (1), from the first unit that is told."""
        for pair, seconds in _TIMES:
            if self.records.has(pair[which]):
                return seconds(self, self.records.unsigned(pair[which]))
        return np.full(len(self), np.nan)

    def _before_export(self, microseconds: Unsigned) -> Float:
        return self.clock.export_s - microseconds / 1e6

    def _from_uptime(self, uptime_ms: Unsigned) -> Float:
        """Turn ms of the exporter's uptime, 32 bits that wrap every 49.7 days, into unix seconds."""
        if self.records.has(e.SYSTEM_INIT_MS):
            return (self.records.unsigned(e.SYSTEM_INIT_MS) + uptime_ms) / 1e3
        if self.clock.uptime_ms is not None:
            age_ms = (self.clock.uptime_ms - uptime_ms.astype(np.int64)).astype(np.uint32).astype(np.int32)
            return self.clock.export_s - age_ms / 1e3
        if self.clock.boot_s is not None:
            return self.clock.boot_s + uptime_ms / 1e3
        return np.full(len(self), np.nan)


def _milliseconds(_: Flows, value: Unsigned) -> Float:
    return value / 1e3


def _ntp(_: Flows, value: Unsigned) -> Float:
    """NTP's 32.32 fixed point seconds since 1900 (RFC 7011 §6.1.9) as unix seconds."""
    return value / _FRACTION - _NTP_TO_UNIX_S


def _seconds(_: Flows, value: Unsigned) -> Float:
    return value.astype(np.float64)


_TIMES: tuple[tuple[tuple[int, int], Callable[[Flows, Unsigned], Float]], ...] = (
    (e.MILLISECONDS, _milliseconds),
    (e.MICROSECONDS, _ntp),
    (e.NANOSECONDS, _ntp),
    (e.SECONDS, _seconds),
    (e.BEFORE_EXPORT_US, Flows._before_export),  # noqa: SLF001 the class's own
    (e.UPTIME_MS, Flows._from_uptime),  # noqa: SLF001 the class's own
    ((e.EVENT_MS, e.EVENT_MS), _milliseconds),
)


def _fill(told: Float, of: Float, looked_at: Float) -> None:
    """Write of / looked_at where nothing was told and it is an interval that a sampler can have."""
    with np.errstate(all="ignore"):
        interval = of / looked_at
        usable = np.isnan(told) & (interval >= 1) & (interval <= LONGEST_INTERVAL)
    told[usable] = interval[usable]
