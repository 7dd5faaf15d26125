"""Whether what was sent is what was counted."""

from __future__ import annotations

from .flows import FATES
from .receivers import Ours


def check(receiver: Ours) -> str:
    """Assert that all octets sent are in the account, each where it belongs; say it.

    Octets that were sent before the collector began to count by when they were sent are counted apart, and are of
    those that would be matched or unknown.
    """
    got = receiver.ask("matrix")
    counters, sent = got["counters"], receiver.sent
    octets = {name.removeprefix("octets_"): n for name, n in counters.items() if name.startswith("octets_")}
    told = {name: int(n) for name, n in zip(FATES, sent.octets, strict=True)}
    assert counters["datagrams"] == sent.packets + receiver.preambles, counters
    assert counters["kernel_drops"] == receiver.dropped == 0, counters
    assert got["gaps"] == 0  # in the sequence numbers of any exporter
    assert octets["received"] == sum(told.values()), (octets, told)
    assert octets["ignored"] == told["ignored"], (octets, told)
    assert octets["local"] == told["local"], (octets, told)
    assert octets["matched"] + octets["unknown"] + octets["before"] == told["matched"] + told["unknown"], (octets, told)
    assert octets["matched"] <= told["matched"], (octets, told)
    assert octets["unknown"] <= told["unknown"], (octets, told)
    assert got["counted"] == octets["matched"] + octets["unknown"], (got["counted"], octets)
    return (
        f"account over {sent.flows:,} flows: {octets['received']:,} octets sent = {octets['matched']:,} matched "
        f"+ {octets['unknown']:,} unknown + {octets['ignored']:,} ignored + {octets['local']:,} local "
        f"+ {octets['before']:,} before; in windows {got['counted']:,}: equal"
    )
