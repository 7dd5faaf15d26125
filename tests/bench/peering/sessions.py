"""Full tables by BGP: a speaker that tells a file of UPDATEs, and FRR's bgpd that takes them beside us."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.wire.bgp.octets import attributes, capability, message, open_body, sequence, update, word

BGPD = Path("/usr/lib/frr/bgpd")
PORT = 17988
OPEN, UPDATE, KEEPALIVE = 1, 2, 4
TELL = """
import socket, sys, threading, time
address, port, first, told = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3]), open(sys.argv[4], "rb").read()
alive = bytes.fromhex(sys.argv[5])
server = socket.create_server((address, port))
print("listens", flush=True)
connection, _ = server.accept()
connection.sendall(first + alive)
def drain():
    try:
        while connection.recv(1 << 16):
            pass
    except OSError:
        pass  # it hung up
threading.Thread(target=drain, daemon=True).start()
time.sleep(1)  # for its KEEPALIVE
for at in range(0, len(told), 1 << 16):
    connection.sendall(told[at : at + (1 << 16)])
while True:
    try:
        connection.sendall(alive)
    except OSError:
        break  # likewise
    time.sleep(2)
"""


def paths(border: int, prefixes: int, peers: int):
    """Attributes and first row of four prefixes each, by peer: as `bench_routes.table` tells them."""
    chance = random.Random(border)
    for number in range(peers):
        for at in range(0, prefixes, 4):
            steps = (chance.randrange(1, 60000) for _ in range(chance.randrange(1, 5)))
            pairs = [(64500 + number, chance.randrange(100)) for _ in range(3)]
            path = sequence(64500 + number, *steps, at + 1)
            told = attributes(path, f"192.0.2.{number + 1}", med=chance.randrange(4), communities=pairs)
            yield number, told, range(at, min(at + 4, prefixes))


def prefix(at: int, path_id: int | None) -> bytes:
    return (b"" if path_id is None else word(path_id)) + b"\x18" + word((11 << 16) + at, 3)


def write(files: dict[int | None, Path], border: int, prefixes: int, peers: int) -> None:
    """Write what each peer tells, or all of it with path identifiers where there is one file, by None."""
    several = None in files
    out = {number: file.open("wb") for number, file in files.items()}
    for number, told, rows in paths(border, prefixes, peers):
        path_id = number + 1 if several else None
        body = update(told, b"".join(prefix(at, path_id) for at in rows))
        out[None if several else number].write(message(UPDATE, body))
    for file in out.values():
        file.write(message(UPDATE, update()))
        file.close()


def speaker(address: str, asn: int, file: Path, *, several: bool) -> subprocess.Popen:
    told = capability(1, b"\0\x01\0\x01") + capability(65, word(asn))
    told += capability(69, b"\0\x01\x01\x02") if several else b""
    first = message(OPEN, open_body(asn, address, told))
    command = [sys.executable, "-c", TELL, address, str(PORT), first.hex(), str(file), message(KEEPALIVE, b"").hex()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "listens\n"
    return process


def hang_up(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


def frr(directory: Path, asns: dict[str, int], routes: int) -> tuple[float, float]:
    """Return seconds until bgpd has taken all routes of these peers, by address, and its memory then, MB."""
    lines = "".join(
        f" neighbor {address} remote-as {asn}\n neighbor {address} port {PORT}\n"
        f" neighbor {address} disable-connected-check\n neighbor {address} timers connect 1\n"
        for address, asn in asns.items()
    )
    (directory / "bgpd.conf").write_text(
        f"router bgp 65000\n bgp router-id 10.255.0.1\n no bgp ebgp-requires-policy\n{lines}"
        " address-family ipv4 unicast\n"
        + "".join(f"  neighbor {address} route-map nothing out\n" for address in asns)
        + " exit-address-family\nroute-map nothing deny 10\n"
    )
    process = subprocess.Popen(
        [
            *(BGPD, "-S", "-n", "-Z", "-p", str(PORT), "-l", "127.0.9.51", "-P", "0"),
            *("-f", directory / "bgpd.conf", "-i", directory / "pid", "--vty_socket", directory),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    began = time.perf_counter()
    try:
        while True:
            time.sleep(0.2)
            command = ["vtysh", "--vty_socket", directory, "-d", "bgpd", "-c", "show bgp ipv4 unicast summary json"]
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            peers = json.loads(said or "{}").get("peers", {}) if said.lstrip().startswith("{") else {}
            if sum(each.get("pfxRcd", 0) for each in peers.values()) == routes:
                took = time.perf_counter() - began
                status = Path(f"/proc/{process.pid}/status").read_text()
                memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
                return took, memory / 1024
    finally:
        process.kill()
        process.wait()
