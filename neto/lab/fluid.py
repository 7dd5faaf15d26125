"""Traffic as a fluid: what each link is sent, what is lost where, and what arrives.

A link's load is what is sent its way when nothing is dropped before it: that is what capacity has to be compared
with. Drops are a second reckoning. A full link serves the higher classes first (strict priority queueing) and what it
drops loads nothing further on. Links can depend on each other in a ring, so shares that pass are found by iteration.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neto.lab.way import Way

Floats = NDArray[np.float64]

CUT, ASTRAY = "cut", "astray"  # causes of loss beside a full link: onto a dead link; no way on
BLACKHOLED = "blackholed"  # and: by the ISP beyond a peering link
OVER = 1 + 1e-9  # utilisation above which a link drops
_ITERATIONS = 200
_SETTLED = 1e-12
_PATIENT = 50  # iterations after which every change is halved: then a ring cannot swing for ever


class Stream(NamedTuple):
    """Traffic of one class that goes one way."""

    way: Way
    class_row: int  # 0 = highest
    mbps: float
    dark: frozenset[str] = frozenset()  # links that carry it to where all of it is lost


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of all streams."""

    load_mbps: Mapping[str, Sequence[float]]  # by link, of each class, highest first
    lost_mbps: Mapping[str, float]  # by class for what full links drop, and by CUT and ASTRAY; only what is not 0
    delivered_mbps: Floats  # (streams,)


@dataclass(frozen=True, slots=True)
class _Paths:
    """All paths of all streams, up to the first dead link."""

    stream: NDArray[np.int64]  # (paths,)
    class_row: NDArray[np.int64]  # (paths,)
    mbps: Floats  # (paths,)
    end: NDArray[np.int64]  # (paths,) 0 arrives, 1 cut, 2 astray, 3 blackholed
    start: NDArray[np.int64]  # (paths + 1,)
    links: NDArray[np.int64]  # (hops,)


class Fluid:
    """One network's links and classes."""

    def __init__(self, capacity_mbps: Mapping[str, float], classes: Sequence[str]) -> None:
        self._links = tuple(capacity_mbps)
        self._row = {link: row for row, link in enumerate(self._links)}
        self._capacity = np.array([capacity_mbps[link] for link in self._links])
        self._classes = tuple(classes)

    def flow(self, streams: Sequence[Stream], dead: Collection[str] = ()) -> Outcome:
        """Let the streams flow.

        dead: links that carry nothing, whatever routers believe.
        """
        paths = self._paths(streams, frozenset(dead))
        hop_class = np.repeat(paths.class_row, np.diff(paths.start))
        hop_mbps = np.repeat(paths.mbps, np.diff(paths.start))
        shape = len(self._classes), len(self._links)
        load = np.bincount(hop_class * shape[1] + paths.links, hop_mbps, minlength=shape[0] * shape[1]).reshape(shape)
        survives = np.ones(len(paths.mbps))
        if (load.sum(axis=0) > self._capacity * OVER).any():
            survives = self._survival(paths)
        passing = paths.mbps * survives
        lost = np.bincount(paths.class_row, paths.mbps - passing, minlength=shape[0])
        ends = np.bincount(paths.end, passing, minlength=4).tolist()
        causes = dict(zip((*self._classes, CUT, ASTRAY, BLACKHOLED), (*lost.tolist(), *ends[1:]), strict=True))
        return Outcome(
            dict(zip(self._links, load.T.tolist(), strict=True)),
            {cause: mbps for cause, mbps in causes.items() if mbps > 0},
            np.bincount(paths.stream, passing * (paths.end == 0), minlength=len(streams)).astype(np.float64),
        )

    def _paths(self, streams: Sequence[Stream], dead: frozenset[str]) -> _Paths:
        row = self._row
        stream, class_row, mbps, end, start, links = [], [], [], [], [0], []
        for number, each in enumerate(streams):
            for path in each.way.paths:
                ends = 0 if path.arrives else 2
                for link in path.links:
                    if link in dead:
                        ends = 1
                        break
                    links.append(row[link])
                    if link in each.dark:
                        ends = 3
                        break
                start.append(len(links))
                stream.append(number)
                class_row.append(each.class_row)
                mbps.append(each.mbps * path.share)
                end.append(ends)
        integers = (np.array(column, dtype=np.int64) for column in (stream, class_row, end, start, links))
        stream_of, class_of, end_of, starts, hops = integers
        return _Paths(stream_of, class_of, np.array(mbps, dtype=np.float64), end_of, starts, hops)

    def _survival(self, paths: _Paths) -> Floats:
        """(paths,) share of each path's traffic that no full link drops."""
        count, links = len(paths.mbps), len(self._links)
        length = np.diff(paths.start)
        hops = np.full((count, int(length.max())), links)  # one more link stands for none, and passes everything
        hops[np.arange(hops.shape[1]) < length[:, None]] = paths.links
        cell = paths.class_row[:, None] * (links + 1) + hops
        passes = np.ones((len(self._classes), links + 1))
        for iteration in range(_ITERATIONS):
            through = np.cumprod(passes.ravel()[cell], axis=1)
            arriving = paths.mbps[:, None] * np.concatenate([np.ones((count, 1)), through[:, :-1]], axis=1)
            sums = np.bincount(cell.ravel(), arriving.ravel(), minlength=passes.size).astype(np.float64)
            fresh = self._served(sums.reshape(passes.shape))
            if iteration >= _PATIENT:
                fresh = (fresh + passes) / 2
            change = float(np.abs(fresh - passes).max())
            passes = fresh
            if change < _SETTLED:
                break
        survival: Floats = passes.ravel()[cell].prod(axis=1)
        return survival

    def _served(self, arriving: Floats) -> Floats:
        """(classes, links + 1) share of what arrives that is sent on, the higher classes first."""
        passes = np.ones(arriving.shape)
        room = self._capacity.copy()
        for row, wants in enumerate(arriving[:, :-1]):
            sent = np.minimum(wants, room)
            np.divide(sent, wants, out=passes[row, :-1], where=wants > room)
            room -= sent
        return passes
