"""neto-collector.toml -> what one collector needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from neto.errors import InputError
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering
from neto.settings.load import absolute, leaves_problems, read_network
from neto.settings.main import FlowExports, Leaf, Log, Mqtt
from neto.settings.schema import Count, NonNegative, Positive, Section, check
from neto.settings.toml import read_toml


class Collector(Section):
    """Who it is, and who tells it."""

    name: Leaf  # no other collector of the hierarchy has it
    leaves: tuple[Leaf, ...] = Field(default=(), max_length=256, strict=False)  # a mid-tier: it merges these
    late_s: NonNegative = 75.0  # how long a window waits for the other leaves once the first has told it
    resend_s: Positive = 60.0  # how long a commit may take before a window is sent again
    spool_mb: Count = 1024  # what waits for its commit takes no more; the oldest windows go first


class CollectorSettings(Section):
    """neto-collector.toml. Paths are relative to the file."""

    state_dir: Path = Field(default=Path("state-collector"), strict=False)
    inventory: Path = Field(default=Path("config/inventory.toml"), strict=False)
    intents: Path = Field(default=Path("config/intents.toml"), strict=False)
    peering: Path | None = Field(default=None, strict=False)
    log: Log = Log()
    collector: Collector
    netflow: FlowExports = FlowExports()
    mqtt: Mqtt


@dataclass(frozen=True)
class CollectorConfig:
    """One consistent reading of all files."""

    path: Path
    settings: CollectorSettings  # paths in it are absolute
    inventory: Inventory
    intents: Intents
    peering: Peering


def load_collector(path: Path) -> CollectorConfig:
    """Read a collector's settings and all that they name.

    Raises InputError with every problem found.
    """
    file = read_toml(path)
    read, problems = check(CollectorSettings, file)
    if read is None:
        raise InputError(problems)
    problems += leaves_problems(file, "collector", read.collector.leaves, read.mqtt)
    if read.collector.name in read.collector.leaves:
        problems.append(file.problem(("collector", "leaves"), f"{read.collector.name!r} is this collector itself"))
    base = path.absolute().parent
    settings = read.model_copy(
        update={
            "state_dir": base / read.state_dir,
            "inventory": base / read.inventory,
            "intents": base / read.intents,
            "peering": base / read.peering if read.peering else None,
            "mqtt": absolute(read.mqtt, base),
        }
    )
    inventory, intents, peering, more = read_network(settings.inventory, settings.intents, settings.peering)
    problems += more
    if problems or inventory is None or intents is None or peering is None:
        raise InputError(problems)
    return CollectorConfig(path, settings, inventory, intents, peering)
