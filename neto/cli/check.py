"""`neto check`: every problem of every file at once, before anything acts on them."""

from __future__ import annotations

import json

import typer

from neto.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from neto.errors import InputError
from neto.settings.load import load_config


def check(config: ConfigOption = DEFAULT_CONFIG, *, as_json: JsonOption = False) -> None:
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
