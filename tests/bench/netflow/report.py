"""What was asked and what was measured, printed and kept in bench-results/netflow.md."""

from __future__ import annotations

import time
from pathlib import Path

FILE = Path("bench-results/netflow.md")


class Report:
    """Lines of one run. What falls short says so; it is no failure."""

    def __init__(self) -> None:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(f"# Flow collectors, {time.strftime('%Y-%m-%d %H:%M')}\n\n")

    def say(self, line: str = "") -> None:
        print(line, flush=True)
        with FILE.open("a") as out:
            out.write(line + "\n")

    def table(self, head, rows) -> None:
        self.say()
        for row in (head, ["---"] * len(head), *rows):
            self.say("| " + " | ".join(map(str, row)) + " |")
        self.say()

    def at_least(self, what: str, asked: float, measured: float) -> None:
        self.say(f"- {what}: asked >= {asked:g}x, measured {measured:.3g}x{'' if measured >= asked else ': SHORT'}")

    def at_most(self, what: str, asked: str, measured: str, holds: bool) -> None:  # noqa: FBT001 a verdict
        self.say(f"- {what}: asked {asked}, measured {measured}{'' if holds else ': SHORT'}")
