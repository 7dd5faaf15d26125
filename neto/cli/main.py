"""The operator's command line: which command lives in which module, and what exit codes mean.

0 fine; 1 the answer is no (unsafe, infeasible, diverged); 2 bad input, one line per problem on standard error.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from neto.errors import InputError, NetoError

# Command -> module, and the function (or Typer of subcommands) in it. A module is imported when its command is
# asked for: `neto show` must not wait for compilers and solvers.
COMMANDS = {
    "run": ("neto.cli.run", "run"),
    "check": ("neto.cli.check", "check"),
    "show": ("neto.cli.show", "app"),
    "plan": ("neto.cli.plan", "plan"),
    "solve": ("neto.cli.solve", "solve"),
    "transition": ("neto.cli.transition", "transition"),
    "legacy": ("neto.cli.actions", "legacy"),
    "resume": ("neto.cli.actions", "resume"),
    "freeze": ("neto.cli.actions", "freeze"),
    "approve": ("neto.cli.actions", "approve"),
    "flows": ("neto.cli.flows", "flows"),
    "collector": ("neto.cli.collector", "collector"),
    "lab": ("neto.cli.lab", "app"),
}


class Commands(TyperGroup):
    """Commands found by name, in the order above."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name every command."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one command; None when there is none of this name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        found: typer.Typer | Callable[..., None] = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            single.command(cmd_name)(found)
            found = single
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def neto() -> None:
    """Run a WAN: traffic engineering and peering engineering as one decision."""


def main() -> None:
    """Entry point of `neto`."""
    try:
        app()
    except InputError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        sys.exit(2)
    except NetoError as error:
        print(f"neto: {error}", file=sys.stderr)
        sys.exit(1)
