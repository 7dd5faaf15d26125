"""A real mosquitto of our own, that can be killed, frozen and started anew."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAM = Path("/usr/sbin/mosquitto")


def needed() -> None:
    """Skip loudly where there is none; fail where there must be one."""
    if not PROGRAM.exists():
        if os.environ.get("NETO_REQUIRE_SERVICES"):
            pytest.fail("mosquitto is not installed")
        pytest.skip("mosquitto is not installed: run tests/services/install.sh as root")


class Mosquitto:
    """The broker on a port of loopback, without persistence: what it holds dies with it."""

    def __init__(self, directory: Path, settings: str = "allow_anonymous true") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._configuration = directory / "mosquitto.conf"
        self._configuration.write_text(f"listener {self.port} 127.0.0.1\npersistence false\nuser root\n{settings}\n")
        self._log = (directory / "mosquitto.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen([PROGRAM, "-c", self._configuration], stdout=self._log, stderr=self._log)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        pytest.fail(f"mosquitto does not listen: {Path(self._log.name).read_text()}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, with all that it holds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self._log.close()
