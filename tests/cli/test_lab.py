"""`neto lab` as its user meets it: a process in the foreground, and commands that talk to it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neto.cli.main import app

ROOT = Path(__file__).parents[2]
PORTS = (1790, 2222, 2055)  # of the example, moved together
OFFSET = 20500 + os.getpid() % 9000  # below the ports that the kernel hands out


class Lab:
    """A configuration of its own, and the processes that were started on it."""

    def __init__(self, directory: Path, offset: int) -> None:
        self.config = directory / "neto.toml"
        self.directory = directory
        self.running: list[subprocess.Popen[str]] = []
        shutil.copytree(ROOT / "config", directory / "config")
        for source, target in (
            (ROOT / "neto.toml", self.config),
            (ROOT / "config" / "inventory.toml", directory / "config" / "inventory.toml"),
        ):
            text = source.read_text()
            for port in PORTS:
                text = text.replace(f":{port}", f":{port + offset}").replace(
                    f"port = {port}", f"port = {port + offset}"
                )
            target.write_text(text)

    def start(self, *options: str) -> subprocess.Popen[str]:
        with (self.directory / "log").open("a") as log:
            command = [sys.executable, "-m", "neto", "lab", "--config", str(self.config), *options]
            process = subprocess.Popen(command, stderr=log, stdout=log, text=True)
        self.running.append(process)
        return process

    def logged(self, event: str) -> list[dict[str, object]]:
        rows = []
        for line in (self.directory / "log").read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                row = json.loads(line)
                rows += [row] * (row["event"] == event)
        return rows

    def wait_for(self, event: str) -> None:
        deadline = time.monotonic() + 60
        while not self.logged(event):
            assert time.monotonic() < deadline, f"no {event} in {(self.directory / 'log').read_text()}"
            assert self.running[-1].poll() is None or self.logged(event), (self.directory / "log").read_text()
            time.sleep(0.05)

    def neto(self, *arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["lab", *arguments, "--config", str(self.config)], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(40)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path, OFFSET)
    yield made
    made.end()


def test_it_runs_is_looked_at_disturbed_and_ended(lab, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    process = lab.start()
    lab.wait_for("lab.legacy")
    told = lab.neto("status")
    assert "steered 0.0% by 0 routes, 4 links over capacity" in told
    fullest = next(line.split() for line in told.splitlines() if line.startswith("nyc-a-1"))
    assert (fullest[1], fullest[3], fullest[4]) == ("9,000.0", "155.4%", "up")
    assert json.loads(lab.neto("status", "--json"))["over_capacity"] == ["fra1-bom1", "nyc-a-1", "sfo-b-1", "tyo1-sfo1"]
    assert lab.neto("scale", "0.5") == "all demand is 0.5 times that of the scenario\n"
    assert "no link over capacity" in lab.neto("status")
    lab.neto("mark", "calm")
    assert "no link was over capacity" in lab.neto("since", "calm")
    assert lab.neto("cut", "nyc1-lon1") == "nyc1-lon1 is cut\n"
    assert "cut  " in lab.neto("status")
    assert lab.neto("restore", "nyc1-lon1") == "nyc1-lon1 is mended\n"
    assert lab.neto("demand", "syd1", "sin1", "46", "20000") == "syd1 sends 20000 Mbit/s to sin1 with dscp 46\n"
    assert "a link was over capacity once" in lab.neto("since", "calm", code=1)
    assert "8,000.0" in lab.neto("demands", "syd1")
    assert lab.neto("trouble", "syd1", "--slow", "2", "--deaf") == "syd1 is slow by 2 s and deaf\n"
    assert "slow by 2 s, deaf" in lab.neto("status")
    assert lab.neto("trouble", "syd1") == "syd1 is well\n"
    assert lab.neto("drop-session", "syd1") == "the session of syd1 is dropped\n"

    second = lab.start()
    assert second.wait(30) == 1
    assert "the lab cannot listen" in (lab.directory / "log").read_text()
    assert process.poll() is None

    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert lab.logged("lab.on_legacy")[0]["routers"] == 10
    assert not (lab.directory / "state" / "lab" / "control.sock").exists()


def test_without_a_lab_the_commands_say_so(lab):
    command = [sys.executable, "-m", "neto", "lab", "status", "--config", str(lab.config)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "no lab answers at" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_daemon_that_refuses_its_input_ends_the_lab_with_its_exit_code(lab):
    intents = lab.directory / "config" / "intents.toml"
    intents.write_text(intents.read_text().replace("headroom = 0.1 ", "headroom = nan "))
    assert lab.start("--with-daemon").wait(60) == 2
    assert lab.logged("daemon.gave_up")[0]["status"] == 2
    assert lab.logged("lab.on_legacy")


def test_a_daemon_beside_the_lab_leaves_first_and_none_outlives_a_lab_that_is_killed(lab):
    process = lab.start("--with-daemon")
    lab.wait_for("netflow.listening")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert lab.logged("daemon.leaves")
    assert lab.logged("lab.on_legacy")

    process = lab.start("--with-daemon")
    deadline = time.monotonic() + 60
    while len(lab.logged("netflow.listening")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    while len(lab.logged("daemon.leaves")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_offset_does_not_go_with_a_daemon_that_knows_nothing_of_it(lab):
    assert lab.start("--with-daemon", "--port-offset", "10").wait(30) == 1
    assert "leave --port-offset out" in (lab.directory / "log").read_text()
