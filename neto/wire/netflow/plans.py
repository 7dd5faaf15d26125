"""Layouts as numbers, for the kernel that reads many packets at once: where each thing stands that is read.

What `records.Flows` decides for a layout when it is asked (which of several elements counts, in which unit time is
told) is decided here once.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from neto.wire.netflow import elements as e
from neto.wire.netflow.templates import Layout

# What is read of a record. Those from OWN on say of how many packets one was looked at.
OCTETS, TOS, IN_IF, DIRECTION, SRC4, DST4, SRC6, DST6, START, END, INIT_MS, SAMPLER, INTERFACE = range(13)
OWN = 13
INTERVAL_A, INTERVAL_B, PACKET_INTERVAL, PACKET_SPACE, SIZE, POPULATION, PROBABILITY = range(OWN, 20)
PLACES = 20

# How start and end are told.
NO_TIME, MILLISECONDS, NTP, SECONDS, BEFORE_EXPORT, UPTIME = range(6)

_ROOM = 64  # rows that there is room for at first
EITHER = 46  # of `family`: records have room for both

_ELEMENTS: tuple[tuple[int, ...], ...] = (
    e.OCTETS,
    e.TOS,
    e.IN_IF,
    (e.DIRECTION,),
    e.SRC4,
    e.DST4,
    e.SRC6,
    e.DST6,
    (),
    (),
    (e.SYSTEM_INIT_MS,),
    e.SAMPLER,
    e.IN_IF[:1],
    (e.INTERVAL[0],),
    (e.INTERVAL[1],),
    (e.PACKET_INTERVAL,),
    (e.PACKET_SPACE,),
    (e.SIZE,),
    (e.POPULATION,),
    (e.PROBABILITY,),
)
_TIMES = (
    (e.MILLISECONDS, MILLISECONDS),
    (e.MICROSECONDS, NTP),
    (e.NANOSECONDS, NTP),
    (e.SECONDS, SECONDS),
    (e.BEFORE_EXPORT_US, BEFORE_EXPORT),
    (e.UPTIME_MS, UPTIME),
    ((e.EVENT_MS, e.EVENT_MS), MILLISECONDS),
)

Int32s = npt.NDArray[np.int32]
Scalar = TypeVar("Scalar", bound=np.generic)


class Plans(NamedTuple):
    """Layouts by row, as the kernel reads them.

    length: (layouts,) octets of a record, the fewest when lengths vary. place: (layouts, PLACES, 2) where each thing
    stands (the octet, or the field when lengths vary) and its octets, 0 when it is not told. told_as: (layouts, 5)
    unit of start, unit of end, bits to shift TOS right by, family (4, 6, EITHER, or 0: no addresses), whether records
    tell of sampling themselves. field_start: (layouts + 1,) where each layout's fields stand in `field`; none when
    lengths are fixed. field: octets, or VARIABLE.
    """

    length: Int32s
    place: Int32s
    told_as: Int32s
    field_start: Int32s
    field: Int32s


class Planned:
    """Layouts that were written as rows, each when it was first asked for."""

    def __init__(self) -> None:
        self._rows: dict[Layout, int] = {}
        self._fields = 0  # of all rows
        self._plans = Plans(
            length=np.zeros(_ROOM, np.int32),
            place=np.zeros((_ROOM, PLACES, 2), np.int32),
            told_as=np.zeros((_ROOM, 5), np.int32),
            field_start=np.zeros(_ROOM, np.int32),
            field=np.zeros(_ROOM, np.int32),
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, layout: Layout) -> bool:
        return layout in self._rows

    def clear(self) -> None:
        """Forget all rows; the room for them stays."""
        self._rows.clear()
        self._fields = 0

    @property
    def plans(self) -> Plans:
        """The rows; there is room for more behind them."""
        return self._plans

    def row(self, layout: Layout) -> int:
        """Find or write a layout's row."""
        row = self._rows.get(layout)
        if row is None:
            row = self._rows[layout] = len(self._rows)
            self._write(row, layout)
        return row

    def _write(self, row: int, layout: Layout) -> None:
        lengths = layout.source.fields()[1] if layout.varies else ()
        begin, end = self._fields, self._fields + len(lengths)
        length, place, told_as, field_start, field = self._plans
        self._plans = plans = Plans(
            grown(length, row + 1),
            grown(place, row + 1),
            grown(told_as, row + 1),
            grown(field_start, row + 2),
            grown(field, end),
        )
        plans.length[row] = layout.length
        plans.place[row], plans.told_as[row] = _row(layout)
        plans.field[begin:end] = lengths
        plans.field_start[row + 1] = self._fields = end


def grown(rows: npt.NDArray[Scalar], wanted: int) -> npt.NDArray[Scalar]:
    """Have room for so many rows, and when that takes more, for twice as many."""
    if wanted <= len(rows):
        return rows
    return np.concatenate([rows, np.zeros((wanted, *rows.shape[1:]), rows.dtype)])


def _row(layout: Layout) -> tuple[list[tuple[int, int]], tuple[int, int, int, int, int]]:
    stands = {each.element: (each.field if layout.varies else each.at, each.length) for each in layout.known()}
    place = [next((stands[element] for element in each if element in stands), (0, 0)) for each in _ELEMENTS]
    shift = 2
    if not place[TOS][1] and e.DSCP in stands:
        place[TOS], shift = stands[e.DSCP], 0
    kinds = []
    for which, column in ((0, START), (1, END)):
        kind = NO_TIME
        for pair, unit in _TIMES:
            if pair[which] in stands:
                place[column], kind = stands[pair[which]], unit
                break
        kinds.append(kind)
    v4, v6 = place[SRC4][1] or place[DST4][1], place[SRC6][1] or place[DST6][1]
    family = EITHER if v4 and v6 else 4 if v4 else 6 if v6 else 0
    tells = any(place[each][1] for each in range(OWN, PLACES))
    return place, (kinds[0], kinds[1], shift, family, tells)
