"""`neto-plan/1`: the way from one allocation to another in steps, as a JSON document written by `neto transition`.

Each move states all paths of one demand after the step, as links and Mbit/s; demands that a step does not name stay as
they are. `worst_utilisation` is the highest load / capacity of any link over all mixtures of moved and unmoved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FORMAT = "neto-plan/1"
Ways = Mapping[tuple[str, ...], float]  # rate in Mbit/s, by the ids of a path's links


@dataclass(frozen=True, slots=True)
class FilePlanStep:
    """One step."""

    moves: Mapping[str, Ways]  # by CLASS/ID of the demand
    worst_utilisation: float


def plan_document(steps: Sequence[FilePlanStep], notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the document. notes: what has to be said about the plan; left out where there is nothing to say."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "steps": [
            {
                "moves": [
                    {
                        "demand": demand,
                        "paths": [
                            {"links": list(links), "rate_mbps": rate} for links, rate in ways.items() if rate > 0
                        ],
                    }
                    for demand, ways in step.moves.items()
                ],
                "worst_utilisation": step.worst_utilisation,
            }
            for step in steps
        ],
    }
    if notes:
        document["notes"] = list(notes)
    return document
