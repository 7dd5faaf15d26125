"""What lies beyond the borders: the operator's peering, as far as routes and latency bear it out.

What an operator lists is what may be used at most. Of that an exit is open for a prefix group while its peer announces
every prefix of the group, or one around it, to a border that tells its routes; exits of borders that are not to tell
any are open as listed. Routes are suspects like every input: when a peer that is up withdraws most of what it
announced at once, what it announced before stands until its time to live is over. An exit that keeps closing and
opening is held down (`operation.damping`): groups use it only while they have no other.

Delays are the operator's where nothing is measured. Where they are measured, latency moves a group as
`controller.latency_moves` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from neto.agents.monitoring.exits import RibCopy, RouteTable
from neto.controller.latency_moves import LatencyPolicy, Standing, delays_us, step
from neto.model.latency import LatencyEstimate
from neto.model.peering import Egress, Peering, PeeringLink, Prefix
from neto.operation.damping import Damping, DampingRules

_FEW = 20  # prefixes: a peer that announced fewer may withdraw them as it likes


@dataclass(frozen=True, slots=True)
class RouteTrust:
    """How much routes may change at once."""

    max_loss: float = 0.5  # share of a peer's prefixes
    ttl_s: float = 300.0  # for which what is not believed, or not known yet, is as it was before
    settle_s: float = 60.0  # after which a border has told of every peer that is up


@dataclass(frozen=True, slots=True)
class _Believed:
    """What a peer announces: a column of a table, and since when it is not what the peer says now."""

    table: RouteTable
    column: int
    count: int
    doubted_s: float | None = None


class Exits:
    """Which exits are open. Times are seconds of a clock that only goes forward.

    tellers: borders that are to tell their routes.
    """

    def __init__(
        self, tellers: frozenset[str], trust: RouteTrust, now: float, damping: DampingRules | None = None
    ) -> None:
        self.doubts: tuple[str, ...] = ()
        self.refused = 0  # tables that were not believed
        self.held: frozenset[str] = frozenset()  # links that are open and closed too often before
        self._tellers = tellers
        self._trust = trust
        self._began_s = now
        self._believed: dict[str, _Believed] = {}
        self._open: dict[str, bool] = {}
        self._damping: Damping[str] = Damping(damping)

    def hear(self, links: tuple[PeeringLink, ...], told: RibCopy | None, table: RouteTable | None, now: float) -> None:
        """Take what borders tell; the table is made of `told` and these links."""
        doubts = []
        for link in links:
            if link.node not in self._tellers:
                self._open[link.name] = True
                continue
            if table is not None and link.name in table.told:
                self._open[link.name] = True
                doubt = self._judge(link.name, table, now)
            else:
                doubt = self._silent(link, told, now)
            if doubt:
                doubts.append(doubt)
        self.held = self._damping.hear((link.name for link in links if not self._open[link.name]), now)
        self.doubts = (*doubts, *(f"{link}: its BGP session came and went too often" for link in sorted(self.held)))

    def is_open(self, link: str, prefix: Prefix) -> bool:
        """Whether a prefix may leave through a link."""
        believed = self._believed.get(link)
        if not self._open.get(link, True):
            return False
        return believed is None or believed.table.carries(believed.column, prefix)

    def _judge(self, link: str, table: RouteTable, now: float) -> str:
        """Believe what a peer announces now, or say why not."""
        column = table.links.index(link)
        count = int(table.exits[:, column].sum())
        before = self._believed.get(link)
        lost = 1 - count / before.count if before is not None and before.count >= _FEW else 0.0
        if before is None or lost <= self._trust.max_loss:
            self._believed[link] = _Believed(table, column, count)
            return ""
        since = now if before.doubted_s is None else before.doubted_s
        if now - since >= self._trust.ttl_s:
            self._believed[link] = _Believed(table, column, count)
            return ""
        self.refused += 1
        self._believed[link] = replace(before, doubted_s=since)
        return f"{link}: {lost:.0%} of its prefixes are gone at once (accepted: {self._trust.max_loss:.0%})"

    def _silent(self, link: PeeringLink, told: RibCopy | None, now: float) -> str:
        """Decide on a link of whose peer nothing is known."""
        border = told.borders.get(link.node) if told is not None else None
        known = link.name in self._believed or not self._open.get(link.name, True)
        settled = border is not None and now - border.changed_s >= self._trust.settle_s
        down = border is not None and border.up and (known or settled)
        since = self._began_s if border is None else border.changed_s
        expired = now - since >= self._trust.ttl_s
        self._open[link.name] = not (down or expired)
        if down or expired:
            self._believed.pop(link.name, None)
        if down:
            return f"{link.name}: its BGP session is down"
        return f"{link.name}: border {link.node} tells no routes"


class Latency:
    """Where measured latency has groups leave."""

    def __init__(self, policy: LatencyPolicy) -> None:
        self.standings: dict[str, Standing] = {}
        self._policy = policy

    def delays(
        self, group: str, egresses: list[Egress], estimates: Mapping[tuple[str, str], LatencyEstimate], now: float
    ) -> dict[str, float]:
        """Return the delay of each exit of a group, µs; decides on the way. now: unix seconds."""
        listed = {egress.peering_link: egress.delay_us for egress in egresses}
        measured = {link: estimates[link, group] for link in listed if (link, group) in estimates}
        usual = min(listed, key=lambda link: listed[link])  # of equal ones the first: the operator's order
        standing = step(self.standings.get(group), usual, measured, now, self._policy)
        self.standings[group] = standing
        found = delays_us(standing, list(measured.values()))
        further = max(found.values(), default=0.0)
        return {link: found.get(link, max(delay, further) if found else delay) for link, delay in listed.items()}


def outside(
    listed: Peering,
    exits: Exits,
    latency: Latency,
    estimates: list[LatencyEstimate],
    failing: Mapping[tuple[str, str], float],
    now: float,
    held: frozenset[tuple[str, str]] = frozenset(),
) -> Peering:
    """Return the peering to decide on.

    failing: (link, group) that lose what is sent, and which share of the group's prefixes. now: unix seconds. held:
    (link, group) that did so too often, as are all of links that `exits` holds. Either is for groups that have no other
    exit; of exits that all lose, those are left that lose least.
    """
    by_pair = {(each.peering_link, each.prefix_group): each for each in estimates}
    of_group: dict[str, list[Egress]] = {}
    prefixes = {group.name: group.prefixes for group in listed.groups}
    for egress in listed.egresses:
        announced = all(exits.is_open(egress.peering_link, prefix) for prefix in prefixes[egress.prefix_group])
        if announced:
            of_group.setdefault(egress.prefix_group, []).append(egress)
    found: dict[tuple[str, str], Egress] = {}
    for group, opened in of_group.items():
        least = min(failing.get((each.peering_link, group), 0.0) for each in opened)
        alive = [each for each in opened if failing.get((each.peering_link, group), 0.0) == least]
        steady = [e for e in alive if e.peering_link not in exits.held and (e.peering_link, group) not in held]
        egresses = steady or alive
        delays = latency.delays(group, egresses, by_pair, now)
        for egress in egresses:
            estimate = by_pair.get((egress.peering_link, group))
            loss = egress.loss if estimate is None else estimate.loss
            found[group, egress.peering_link] = replace(egress, delay_us=delays[egress.peering_link], loss=loss)
    kept = (found.get((egress.prefix_group, egress.peering_link)) for egress in listed.egresses)
    return replace(listed, egresses=tuple(egress for egress in kept if egress is not None))
