"""Which prefixes are counted by themselves, where there are too many for that.

What a target's other prefixes get is counted together, exactly, as that target's rest: who sends how much to which
target in which class is never a guess. What each of the others gets is only summed, so that those that have most take
the places of those that no longer do. Prefixes that routers originate are always counted by themselves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neto.model.demand_window import CellSpace, DemandWindow, Numbers

_MOST_CELLS = 1 << 17  # in a window, beyond which fewer prefixes are counted by themselves
_FEWEST = 256
_KEPT = 0.5  # of what was measured, from one choice to the next
_LONGEST_PAUSE = 5  # windows between two choices; less at first
_LOOKS = 4  # batches, of which one is looked at for what the others get
_STAYS = 1.5  # what one that is counted is worth beside one that would be

Int32s = npt.NDArray[np.int32]


class CountedPrefixes:
    """Chooses which they are.

    folded: (destinations,) destination that each is counted as; tail: (destinations,) octets of the others, of the
    batches that were looked at. rest: (destinations,) the rest that each belongs to, itself where it is always counted
    by itself; (0,): all are, and `folded` and `tail` are as empty. most: of the others that are counted by themselves.
    """

    def __init__(self, space: CellSpace, rest: Int32s, most: int) -> None:
        self._space = space
        self._rest = rest
        self._most = self._places = most
        self._others = np.flatnonzero(rest != np.arange(len(rest)))
        self._score = np.zeros(len(rest), np.float32)
        self._batches = 0
        self._wait = self._pause = 0  # windows until the next choice, after the last one
        self.tail: Numbers = np.zeros(len(rest), np.int64)
        self.folded = rest.copy()
        self._give_places(self._others[:most])  # until something is known

    def looks(self) -> bool:
        """Whether what others get is to be summed in the next batch: in one of a few."""
        self._batches += 1
        return len(self._rest) > 0 and self._batches % _LOOKS == 0

    def learn(self, window: DemandWindow) -> None:
        """Take in what a window that was closed holds; sometimes, give the places to those that have most."""
        if not len(self._rest):
            return
        destinations = (window.cells // len(self._space.classes)) % len(self._space.destinations)
        np.add.at(self._score, destinations, window.octets.astype(np.float32))
        if len(window.cells) > _MOST_CELLS:
            self._places, self._wait = max(self._places // 2, _FEWEST), 0
        elif len(window.cells) < _MOST_CELLS // 4:
            self._places = min(self._places * 2, self._most)
        self._wait -= 1
        if self._wait < 0:
            self._pause = min(self._pause + 1, _LONGEST_PAUSE)
            self._wait = self._pause
            self._choose()

    def _choose(self) -> None:
        self._score += self.tail.astype(np.float32) * np.float32(_LOOKS)
        self.tail[:] = 0
        others = self._others
        worth = self._score[others]
        worth[self.folded[others] == others] *= np.float32(_STAYS)
        first = max(0, len(others) - self._places)
        self._give_places(others[np.argpartition(worth, first)[first:]] if first else others)
        self._score *= np.float32(_KEPT)

    def _give_places(self, chosen: npt.NDArray[np.int64]) -> None:
        self.folded[:] = self._rest
        self.folded[chosen] = chosen
