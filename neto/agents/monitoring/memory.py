"""The file in which a collector remembers its exporters over restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from neto.errors import WireError
from neto.wire.netflow.persist import MAX_DOCUMENT, Remembered, encode, remember, restore
from neto.wire.netflow.state import Exporters

SAVE_EVERY_S = 60.0

_log = structlog.get_logger("netflow")


class Memory:
    """Loads and saves what `exporters` knows. What cannot be read or written is said, and stops nothing."""

    def __init__(self, path: Path, exporters: Exporters) -> None:
        self._path = path
        self._exporters = exporters

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Know what was known, and save what is, now and then and at the end."""
        await self._load()
        saving = asyncio.create_task(self._save(), name="netflow memory")
        try:
            yield
        finally:
            saving.cancel()
            await asyncio.wait([saving])
            self._write(remember(self._exporters, time.time()))

    async def _load(self) -> None:
        """Let the exporters be known that were known when it was last saved."""
        try:
            document = await asyncio.to_thread(_read, self._path)
            templates = restore(document, self._exporters, time.time())
        except FileNotFoundError:
            return
        except (OSError, WireError) as error:
            _log.warning("netflow.memory_not_used", path=str(self._path), why=str(error))
            return
        _log.info("netflow.remembers", exporters=len(self._exporters), templates=templates)

    async def _save(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await asyncio.to_thread(self._write, remember(self._exporters, time.time()))

    def _write(self, remembered: Remembered) -> None:
        """Replace the file, whole or not at all."""
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            with fresh.open("wb") as file:
                file.write(encode(remembered))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            _log.warning("netflow.memory_not_saved", path=str(self._path), why=str(error))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_DOCUMENT + 1)
