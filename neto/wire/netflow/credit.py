"""How much work exporters may cause: damaged packets and new templates cost many times what records do.

What an exporter has left grows with time up to a burst. Who has nothing left is read no further than kernels read:
floods cost the sender's own exports, and a known share of a core. Packets that begin with templates have a credit of
their own, so that data before its template does not keep the template out.
"""

from __future__ import annotations

BURST_S = 0.2  # of work at once
SHARE = 0.1  # of a core, from then on
TEMPLATES, OTHERS = 0, 1  # what a packet begins with
_KINDS = 2


class Credit:
    """Seconds of work that each of some exporters may still cause, by kind of packet."""

    def __init__(self, exporters: int) -> None:
        self._left = [BURST_S] * (_KINDS * exporters)
        self._told = [0.0] * (_KINDS * exporters)  # when it was last looked at

    def is_left(self, exporter: int, kind: int, now: float) -> bool:
        """Whether an exporter may cause work at `now` (seconds of any clock)."""
        row = _KINDS * exporter + kind
        since = now - self._told[row]
        if since:
            self._told[row] = now
            if since > 0:  # a clock that is set back earns nothing
                self._left[row] = min(BURST_S, self._left[row] + SHARE * since)
        return self._left[row] > 0

    def spend(self, exporter: int, kind: int, seconds: float) -> None:
        """Take off what was worked; more than is left is owed, though no more than a burst."""
        row = _KINDS * exporter + kind
        self._left[row] = max(-BURST_S, self._left[row] - seconds)
