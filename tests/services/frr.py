"""A real FRR bgpd of our own, without root, zebra or kernel routes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

BGPD = Path("/usr/lib/frr/bgpd")
_INSTALLED = BGPD.exists()


def needed() -> None:
    """Skip loudly where there is none; fail where there must be one."""
    if not _INSTALLED:
        if os.environ.get("NETO_REQUIRE_SERVICES"):
            pytest.fail("FRR is not installed")
        pytest.skip("FRR is not installed: apt-get install --no-install-recommends frr")


class Bgpd:
    """One that listens on an address of loopback. The directory is made; its path must be short."""

    def __init__(self, directory: Path, address: str, port: int, text: str, *modules: str) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "bgpd.conf").write_text(text)
        self.process = subprocess.Popen(
            [
                *(BGPD, *(word for module in modules for word in ("-M", module))),
                *("-S", "-n", "-Z", "-p", str(port), "-l", address, "-P", "0"),
                *("-f", directory / "bgpd.conf", "-i", directory / "pid", "--vty_socket", directory),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def vtysh(self, *commands: str) -> str:
        words = [word for command in commands for word in ("-c", command)]
        command = ["vtysh", "--vty_socket", str(self.directory), "-d", "bgpd", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
