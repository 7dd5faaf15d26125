"""exabgp's helper never makes exabgp wait, never passes half a command on, and never lets exabgp outlive the daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neto.agents import leash, relay

# Stands in for exabgp: starts the relay as its helper, says a lot, then writes down every command that it hears.
PARENT = """
import json, signal, subprocess, sys
helper, size, log = json.loads(sys.argv[1]), int(sys.argv[2]), open(sys.argv[3], "a", buffering=1)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(helper, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
line = b"x" * 999 + b"\\n"
for _ in range(size // len(line)):
    child.stdin.write(line)
log.write("said all\\n")
for command in child.stdout:
    log.write("heard " + command.decode())
    if command == b"shutdown\\n" and "deaf" not in sys.argv:
        break
else:
    signal.pause()
"""


class Stage:
    """The relay between a stand-in for exabgp and this test in the daemon's place."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        self.log.touch()
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(directory / "sock"))
        self.server.listen()
        self.server.settimeout(20)
        self.daemon: socket.socket | None = None

    def start(self, farewell: str, size: int = 0, *more: str, max_behind: int = relay.MAX_BEHIND) -> None:
        code = (
            f"import sys; sys.path.insert(0, {str(Path(relay.__file__).parent)!r}); import relay;"
            f"relay.MAX_BEHIND = {max_behind}; relay.PATIENCE_S = 0.5; sys.argv[0] = 'relay'; relay.main()"
        )
        helper = [sys.executable, "-I", "-c", code, str(self.directory / "sock"), farewell]
        self.exabgp = subprocess.Popen(
            [sys.executable, "-I", "-c", PARENT, json.dumps(helper), str(size), str(self.log), *more],
            stderr=subprocess.DEVNULL,
        )
        self.daemon, _ = self.server.accept()
        self.daemon.settimeout(20)

    def wait_for(self, *lines: str) -> None:
        until = time.monotonic() + 20
        while self.log.read_text().splitlines() != list(lines):
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.01)

    def close(self) -> None:
        self.server.close()
        if self.daemon:
            self.daemon.close()
        self.exabgp.kill()
        self.exabgp.wait()


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def test_exabgp_never_waits_for_a_daemon_that_does_not_read_and_nothing_is_lost(stage):
    size = 20_000_000
    stage.start("kill", size)
    stage.wait_for("said all")
    got = 0
    while got < size:
        chunk = stage.daemon.recv(1 << 20)
        assert chunk
        assert set(chunk) == {ord("x"), ord("\n")}
        got += len(chunk)
    assert got == size


def test_a_daemon_too_far_behind_counts_as_gone(stage):
    stage.start("kill", 20_000_000, max_behind=1_000_000)
    assert stage.exabgp.wait(20) == -signal.SIGKILL


def test_commands_pass_as_whole_lines_and_half_of_one_never(stage):
    stage.start("shutdown")
    stage.daemon.sendall(b"one\ntwo\nneighbor 127.0.1.1 withdraw route 10.0.0.0/1")
    stage.wait_for("said all", "heard one", "heard two")
    stage.daemon.sendall(b"8\nthree")
    stage.wait_for("said all", "heard one", "heard two", "heard neighbor 127.0.1.1 withdraw route 10.0.0.0/18")
    stage.daemon.close()
    assert stage.exabgp.wait(20) == 0  # it heard `shutdown`, on a line of its own
    assert stage.log.read_text().splitlines()[-2:] == [
        "heard neighbor 127.0.1.1 withdraw route 10.0.0.0/18",
        "heard shutdown",
    ]


def test_an_exabgp_that_does_not_shut_down_is_killed(stage):
    stage.start("shutdown", 0, "deaf")
    stage.wait_for("said all")
    stage.daemon.close()
    assert stage.exabgp.wait(20) == -signal.SIGKILL
    assert "heard shutdown" in stage.log.read_text()


def test_with_graceful_restart_exabgp_is_killed_unasked(stage):
    stage.start("kill")
    stage.wait_for("said all")
    stage.daemon.close()
    assert stage.exabgp.wait(20) == -signal.SIGKILL
    assert "shutdown" not in stage.log.read_text()


def test_a_daemon_that_was_never_there_ends_exabgp_too(stage):
    stage.server.close()
    (stage.directory / "sock").unlink()
    helper = [sys.executable, "-I", relay.__file__, str(stage.directory / "sock"), "shutdown"]
    stage.exabgp = subprocess.Popen([sys.executable, "-I", "-c", PARENT, json.dumps(helper), "0", str(stage.log)])
    assert stage.exabgp.wait(20) == -signal.SIGKILL


def test_a_leashed_program_dies_with_its_parent():
    leashed = [sys.executable, "-I", leash.__file__, "PARENT", str(int(signal.SIGKILL)), "/bin/sleep", "600"]
    code = (
        "import os, subprocess, sys, time\n"
        "command = [str(os.getpid()) if word == 'PARENT' else word for word in sys.argv[1:]]\n"
        "print(subprocess.Popen(command).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-I", "-c", code, *leashed], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        child = os.pidfd_open(pid)
        until = time.monotonic() + 20
        while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":  # the signal is asked for before it becomes sleep
            assert time.monotonic() < until
            time.sleep(0.01)
        parent.kill()
    try:
        while time.monotonic() < until:
            signal.pidfd_send_signal(child, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
            time.sleep(0.01)
    except (ProcessLookupError, FileNotFoundError):
        return
    finally:
        os.close(child)
    pytest.fail("it lives on")


def test_a_leash_whose_parent_is_gone_starts_nothing(tmp_path):
    started = tmp_path / "started"
    command = [sys.executable, "-I", leash.__file__, "1", str(int(signal.SIGKILL)), "/bin/touch", str(started)]
    assert subprocess.run(command, check=False, timeout=20).returncode == 1
    assert not started.exists()
