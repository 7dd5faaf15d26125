"""Layouts as numbers, for the kernel that reads many packets at once: where each thing stands that is read.

What `records.Flows` decides for a layout when it is asked (which of several elements counts, in which unit time is
told) is decided here once.
"""

from __future__ import annotations

from typing import NamedTuple

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


def plans(layouts: list[Layout]) -> Plans:
    """Write layouts as rows."""
    rows = [_row(layout) for layout in layouts]
    fields = [[field.length for field, _ in layout.fields] if layout.varies else [] for layout in layouts]
    return Plans(
        np.array([layout.length for layout in layouts], np.int32),
        np.array([place for place, _ in rows], np.int32).reshape(-1, PLACES, 2),
        np.array([told_as for _, told_as in rows], np.int32).reshape(-1, 5),
        np.cumsum([0, *(len(each) for each in fields)]).astype(np.int32),
        np.array([length for each in fields for length in each], np.int32),
    )


def _row(layout: Layout) -> tuple[list[tuple[int, int]], tuple[int, int, int, int, int]]:
    stands: dict[int, tuple[int, int]] = {}  # by element
    at = 0
    for index, (field, is_read) in enumerate(layout.fields):
        if is_read:
            stands[field.element] = (index if layout.varies else at, field.length)
        at += field.length
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
