"""A real BGP speaker, FRR's bgpd, takes the daemon's routes as they are meant, and loses them when the daemon dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from frr import BGPD, needed

PORT = 17960
DAEMON = Path(__file__).parents[1] / "agents" / "daemon.py"
CONFIGURATION = """
hostname frr
router bgp 65000
 bgp router-id 10.255.0.1
 no bgp default ipv4-unicast
 neighbor 127.0.0.1 remote-as 65000
 neighbor 127.0.0.1 passive
 address-family ipv4 unicast
  neighbor 127.0.0.1 activate
 exit-address-family
"""

pytestmark = pytest.mark.service


class Frr:
    """bgpd without root, zebra or kernel routes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        configuration = directory / "bgpd.conf"
        configuration.write_text(CONFIGURATION)
        self.process = subprocess.Popen(
            [
                *(BGPD, "-S", "-n", "-Z", "-p", str(PORT), "-l", "127.0.9.1", "-P", "0"),
                *("-f", configuration, "-i", directory / "pid", "--vty_socket", directory),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until((directory / "bgpd.vty").exists)

    def show(self, what: str) -> dict:
        command = [
            "vtysh",
            "--vty_socket",
            str(self.directory),
            "-d",
            "bgpd",
            "-c",
            f"show bgp ipv4 unicast {what} json",
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
        return json.loads(said or "{}")

    def path(self) -> dict:
        return (self.show("10.5.0.0/18").get("paths") or [{}])[0]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def wait_until(holds) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def frr():
    needed()
    with tempfile.TemporaryDirectory(prefix="neto-frr-") as directory:  # a vty socket's path must be short
        frr = Frr(Path(directory))
        yield frr
        frr.stop()


@pytest.fixture
def daemon(tmp_path):
    started = []

    def start(graceful_restart_s: int) -> subprocess.Popen:
        command = [sys.executable, DAEMON, tmp_path / str(len(started)), str(PORT), str(graceful_restart_s)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_frr_reads_next_hop_preference_communities_and_colour(frr, daemon):
    daemon(0)
    wait_until(frr.path)
    path = frr.path()
    assert [hop["ip"] for hop in path["nexthops"]] == ["10.255.0.2"]
    assert path["locPrf"] == 1000
    assert set(path["community"]["list"]) == {"65000:900", "noExport"}
    # FRR 8.4 has no word for a colour and shows an opaque extended community (type 3); later ones say "Color:1100".
    assert path["extendedCommunity"]["string"].startswith(("UNK:3", "Color:"))


def test_frr_tells_no_isp_what_we_steer(frr, daemon):
    daemon(0)
    wait_until(lambda: frr.path().get("bestpath", {}).get("overall"))
    command = ["vtysh", "--vty_socket", str(frr.directory), "-d", "bgpd", "-c", "show bgp ipv4 unicast 10.5.0.0/18"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    assert "not advertised to EBGP peer" in said


def test_kill_9_of_the_daemon_takes_its_routes_from_frr(frr, daemon):
    process = daemon(0)
    wait_until(frr.path)
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: not frr.path())


def test_with_graceful_restart_frr_keeps_the_route_until_a_successor_has_said_it_again(frr, daemon):
    process = daemon(60)
    wait_until(frr.path)
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: frr.path().get("stale"))
    daemon(60)
    seen = [True]

    def refreshed() -> bool:
        path = frr.path()
        seen.append(bool(path))
        return not path.get("stale")

    wait_until(refreshed)
    assert all(seen)
