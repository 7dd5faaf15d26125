"""What operators tell the daemon: stored with who and when, obeyed by whoever leads, now or next."""

from __future__ import annotations

import asyncio
import getpass
import time

from neto.cli.options import DEFAULT_CONFIG, ConfigOption
from neto.settings.load import load_settings
from neto.store.sqlite import add_action


def legacy(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Withdraw every route now and keep all traffic on legacy forwarding, until `neto resume`."""
    _say(config, "legacy", "every route is withdrawn; `neto resume` ends it")


def resume(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Go on after a freeze or after `neto legacy`."""
    _say(config, "resume", "the daemon goes on")


def freeze(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Keep what runs and push nothing, until `neto resume`."""
    _say(config, "freeze", "nothing is pushed; `neto resume` ends it")


def approve(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Let the next plan pass that is over the shift limit."""
    _say(config, "approve", "the next plan over the shift limit passes, once")


def _say(config: ConfigOption, what: str, meaning: str) -> None:
    path = load_settings(config).state_dir / "neto.db"
    seq = asyncio.run(add_action(path, getpass.getuser(), what, {}, at=time.time()))
    print(f"{what}: action {seq} is stored: {meaning}")
