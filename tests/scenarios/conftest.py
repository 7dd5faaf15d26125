"""The whole loop as processes: an emulated WAN, one daemon or two, and their own word for what happens."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neto.lab.control import ask

ROOT = Path(__file__).parents[2]
PORTS = (1790, 2222, 2055)  # of the example, moved together


class Site:
    """One lab with its configuration in a directory of its own."""

    def __init__(self, directory: Path, offset: int) -> None:
        self.directory = directory
        self.offset = offset
        self.config = directory / "neto.toml"
        self.logs: dict[str, Path] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        shutil.copytree(ROOT / "config", directory / "config")
        text = (ROOT / "neto.toml").read_text()
        self.config.write_text(text)
        for path in (self.config, directory / "config" / "inventory.toml"):
            moved = path.read_text()
            for port in PORTS:
                moved = moved.replace(f":{port}", f":{port + offset}").replace(
                    f"port = {port}", f"port = {port + offset}"
                )
            path.write_text(moved)
        self.edit("neto.toml", "period_s = 5 ", "period_s = 2 ")

    def edit(self, file: str, old: str, new: str) -> None:
        """Change a file of the configuration."""
        path = self.directory / file
        assert old in path.read_text(), f"{old!r} is not in {file}"
        path.write_text(path.read_text().replace(old, new))

    def start(self, name: str, *arguments: str, config: str = "neto.toml") -> subprocess.Popen[bytes]:
        """Start a command in the background; its output goes to a log."""
        self.logs[name] = self.directory / f"{name}.log"
        with self.logs[name].open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "neto", *arguments, "--config", str(self.directory / config)],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def neto(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "neto", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
        )

    def show(self, what: str) -> Any:
        """What `neto show` says, as JSON."""
        return json.loads(self.neto("show", what, "--json").stdout)

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Talk to the lab."""
        answer = ask(self.directory / "state" / "lab" / "control.sock", {"do": do, **more})
        assert answer["ok"], answer
        return answer

    def until(self, what: str, true: Callable[[], object], seconds: float = 60) -> float:
        """Wait until something holds; return after how many seconds it did."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            with contextlib.suppress(OSError, subprocess.CalledProcessError, AssertionError):
                if true():
                    return time.monotonic() - began
            time.sleep(0.1)
        tails = "\n".join(f"--- {name}\n{self.log(name)[-6000:]}" for name in self.logs)
        pytest.fail(f"not within {seconds} s: {what}\n{tails}")

    def log(self, name: str) -> str:
        """What a process has logged."""
        return self.logs[name].read_text(errors="replace")

    def steered(self) -> float:
        """Share of the traffic on policies, by the lab's own account."""
        return float(self.ask("status")["steered_share"])

    def end(self) -> None:
        """End what is left, children first, so that nothing outlives a test."""
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(10)


_offset = iter(range(100, 60000, 40))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A lab that runs, with nobody running it yet."""
    offset = next(_offset) + os.getpid() % 400 * 40
    made = Site(tmp_path, offset)
    try:
        made.start("lab", "lab")
        made.until("the lab listens", lambda: made.ask("status"), 30)
        yield made
    finally:
        made.end()
