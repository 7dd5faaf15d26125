"""Collectors in processes of their own, all on one core: NetO's, and those that others use."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from .sender import NOTHING, Sent, add, queued
from .table import networks_file

ROOT = Path(__file__).parents[3]
BUFFER = min(4 << 20, int(Path("/proc/sys/net/core/rmem_max").read_text()))  # what everybody can have
FORCED = 64 << 20
_CORES = sorted(os.sched_getaffinity(0))
_TICKS_S = os.sysconf("SC_CLK_TCK")


def pin_sender() -> str:
    """Keep this process off the receivers' core; say what is where."""
    os.sched_setaffinity(0, _CORES[:1])
    return f"sender on core {_CORES[0]}, receivers on core {_CORES[-1]} of {len(_CORES)}"


def unpin_sender() -> None:
    os.sched_setaffinity(0, _CORES)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Receiver:
    """A process group that listens on a port of 127.0.0.1, pinned to the last core."""

    name: str
    ending = signal.SIGTERM

    def __init__(self, command, buffer: int = BUFFER, **options) -> None:
        self.port = getattr(self, "port", None) or free_port()
        self.buffer = buffer
        self.sent = NOTHING
        self.preambles = 0
        self.process = subprocess.Popen(
            command,
            **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options},
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, _CORES[-1:]),  # noqa: PLW1509 no threads here
        )

    def listening(self, seconds=120.0):
        """Wait until it listens."""
        ends = time.monotonic() + seconds
        while not _bound(self.port):
            if self.process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"{self.name} does not listen (ended with {self.process.poll()})")
            time.sleep(0.05)
        return self

    @property
    def cpu_s(self) -> float:
        """User and system time of the group so far, as the kernel charges it."""
        return sum(_ticks(pid) for pid in self._group()) / _TICKS_S

    @property
    def rss_mb(self) -> float:
        return sum(_resident_kb(pid) for pid in self._group()) / 1024

    def _group(self):
        for each in Path("/proc").iterdir():
            if each.name.isdigit() and _stat(each.name)[2:3] == [str(self.process.pid)]:
                yield each.name

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel did not hand it."""
        return queued(self.port).dropped

    def burst(self, sender, packets: int) -> tuple[Sent, float]:
        """Fill its queue while it stands still; return what was sent, and seconds to empty the queue.

        Up to 70 % of the buffer (of which the kernel grants twice what is asked, and counts what packets take).
        """
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            sent = sender.send(packets, int(1.4 * self.buffer))
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)
        began = time.perf_counter()
        while queued(self.port).octets:
            time.sleep(0.0005)
        self.sent = add(self.sent, sent)
        return sent, time.perf_counter() - began

    def drained(self) -> None:
        """Wait until it has done what it took."""
        while queued(self.port).octets:
            time.sleep(0.005)
        time.sleep(0.3)

    def stored(self) -> int | None:
        """How many flows it says it has, once it is over; None: it does not say."""
        return None

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, self.ending)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Ours(Receiver):
    """NetO's agent. buffer: 0 for its default."""

    def __init__(self, table: Path, name: str = "NetO", buffer: int = BUFFER) -> None:
        self.name, self.port = name, free_port()
        command = [sys.executable, Path(__file__).with_name("collector.py"), table, str(self.port), str(buffer)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": None, "text": True, "cwd": ROOT}
        super().__init__(command, buffer or 16 << 20, **pipes)
        self.built_s = json.loads(self.process.stdout.readline())["built_s"]

    def ask(self, what: str = "") -> dict:
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def drained(self) -> None:
        """Wait until it has counted all that was sent."""
        ends = time.monotonic() + 60
        expected = self.preambles + self.sent.packets
        while (got := self.ask()["counters"])["datagrams"] + got["kernel_drops"] < expected:
            if time.monotonic() > ends:
                raise RuntimeError(f"{self.name} took {got['datagrams']} of {expected} packets")
            time.sleep(0.02)
        time.sleep(0.3)  # what waits to be decoded with more

    def close(self) -> None:
        self.process.stdin.close()
        super().close()
        self.process.stdout.close()


class Nfcapd(Receiver):
    """nfdump's collector: stores flows as they are."""

    name = "nfcapd"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        self.port = free_port()
        super().__init__(
            ["nfcapd", "-b", "127.0.0.1", "-p", str(self.port), "-l", directory, "-B", str(BUFFER), "-t", "3600"]
        )

    @staticmethod
    def missing() -> str | None:
        return _absent("nfcapd", "nfdump")

    def stored(self) -> int:
        told = subprocess.run(
            ["nfdump", "-I", "-R", self._directory], capture_output=True, text=True, check=True, timeout=300
        )
        return sum(int(line.partition(":")[2]) for line in told.stdout.splitlines() if line.startswith("Flows:"))


class Nfacctd(Receiver):
    """pmacct's collector: sums in memory by destination's network and TOS, which is what a matrix takes."""

    name = "nfacctd"
    ending = signal.SIGKILL  # it holds everything in memory, and takes its time otherwise

    def __init__(self, directory: Path, table) -> None:
        directory.mkdir()
        self.port = free_port()
        self._pipe = directory / "imt"
        settings = {
            "daemonize": "false",
            "nfacctd_ip": "127.0.0.1",
            "nfacctd_port": self.port,
            "nfacctd_pipe_size": BUFFER,
            "nfacctd_net": "file",
            "networks_file": networks_file(table, directory / "networks"),
            "plugins": "memory",
            "aggregate": "peer_src_ip, dst_net, dst_mask, tos",
            "imt_path": self._pipe,
            "imt_buckets": 1_000_003,
            "imt_mem_pools_number": 10_000,
            "imt_mem_pools_size": 1 << 20,
            "plugin_pipe_zmq": "true",
            "plugin_pipe_zmq_profile": "micro",
            "logfile": directory / "log",
        }
        file = directory / "nfacctd.conf"
        file.write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        super().__init__(["nfacctd", "-f", file])

    @staticmethod
    def missing() -> str | None:
        return _absent("nfacctd", "pmacct")

    def octets(self) -> int:
        """Return the sum of everything that it holds."""
        told = subprocess.run(
            ["pmacct", "-s", "-p", self._pipe, "-O", "csv"], capture_output=True, text=True, check=True, timeout=300
        )
        head, *rows = told.stdout.splitlines()
        column = head.split(",").index("BYTES")
        return sum(int(row.split(",")[column]) for row in rows if row.count(",") >= column)


def _absent(*programs: str) -> str | None:
    missing = [each for each in programs if shutil.which(each, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None]
    return f"{', '.join(missing)}: not installed (tests/bench/netflow/install.sh)" if missing else None


def _bound(port: int) -> bool:
    told = "".join(Path(file).read_text() for file in ("/proc/net/udp", "/proc/net/udp6"))
    return f":{port:04X} " in told


def _stat(pid: str) -> list[str]:
    """Words of /proc/PID/stat from the state on; none when it is gone."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _ticks(pid: str) -> int:
    words = _stat(pid)
    return sum(map(int, words[11:13]))


def _resident_kb(pid: str) -> float:
    words = _stat(pid)
    return int(words[21]) * os.sysconf("SC_PAGESIZE") / 1024 if words else 0.0
