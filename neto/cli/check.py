"""`neto check`: every problem of every file at once, before anything acts on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from neto.errors import InputError
from neto.settings.load import load_config

ConfigOption = Annotated[Path, typer.Option("--config", help="The daemon's settings.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def check(config: ConfigOption = Path("neto.toml"), *, as_json: JsonOption = False) -> None:
    """Read settings, inventory, intents and peering; name every problem with file, line, key and what is accepted."""
    try:
        loaded = load_config(config)
    except InputError as error:
        if as_json:
            problems = [{"file": p.file, "line": p.line, "key": p.key, "message": p.message} for p in error.problems]
            print(json.dumps({"ok": False, "problems": problems}, indent=1))
            raise typer.Exit(2) from error
        raise
    facts = {
        "sites": len(loaded.inventory.sites),
        "routers": len(loaded.inventory.routers),
        "classes": len(loaded.intents.classes),
        "isps": len(loaded.peering.isps),
        "peering links": len(loaded.peering.links),
        "prefix groups": len(loaded.peering.groups),
    }
    if as_json:
        print(json.dumps({"ok": True, **facts}, indent=1))
    else:
        print(f"{config}: good: " + ", ".join(f"{count} {what}" for what, count in facts.items()))
