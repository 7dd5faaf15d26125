"""`neto collector` as a process, with a real broker: killed with a full spool, behind TLS, behind a password."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from ipaddress import IPv4Address, ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mosquitto import Mosquitto, needed

from neto.agents.monitoring.root import Root
from neto.agents.mqtt import Broker
from neto.lab.export import Exporter, Flow
from neto.settings.collector import load_collector
from neto.wire.demand_message import decode_window

pytestmark = [pytest.mark.service, pytest.mark.timeout(90)]

INVENTORY = """
[[site]]
name = "london"
region = "europe"
[[router]]
name = "lon1"
site = "london"
router_id = "10.255.0.1"
dialect = "lab"
bgp = "127.0.1.1:1790"
ssh = "127.0.1.1:2222"
exporters = ["127.0.1.1"]
prefixes = ["10.1.0.0/18"]
[[router]]
name = "fra1"
site = "london"
router_id = "10.255.0.2"
dialect = "lab"
bgp = "127.0.1.2:1790"
ssh = "127.0.1.2:2222"
prefixes = ["10.2.0.0/18"]
"""
SETTINGS = """
state_dir = "state"
inventory = "inventory.toml"
intents = "intents.toml"
[log]
format = "json"
[collector]
name = "lon"
resend_s = 2
[netflow]
listen = "127.0.0.1:{port}"
window_s = 0.5
active_timeout_s = {active_timeout_s}
[mqtt]
host = "127.0.0.1"
port = {broker}
keepalive_s = 5
{more}
"""


STARTED: list[subprocess.Popen[bytes]] = []


class Collector:
    """The process, and routers that export to it."""

    def __init__(self, directory, broker_port, more="", active_timeout_s=0):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.directory = directory
        (directory / "inventory.toml").write_text(INVENTORY)
        (directory / "intents.toml").write_text('[[class]]\nname = "all"\n')
        (directory / "neto-collector.toml").write_text(
            SETTINGS.format(port=self.port, broker=broker_port, more=more, active_timeout_s=active_timeout_s)
        )
        self.config = directory / "neto-collector.toml"
        self.log = directory / "log"
        self.octets = 0
        self._exporter = Exporter("ipfix", 1, template_every_s=1e9)

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "neto", "collector", "--config", self.config], stdout=log, stderr=log
            )
        STARTED.append(self.process)
        self.until(lambda: self.log.read_text().count("netflow.listening") > self.starts - 1)

    starts = 1

    def until(self, true, seconds=30):
        ends = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < ends, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def export(self, octets, lived_s=0.2):
        now = time.time()
        flow = Flow(ip_address("10.1.0.1"), IPv4Address("10.2.0.1"), octets, 1, start=now - lived_s, end=now)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.1.1", 0))
            for packet in self._exporter.packets([flow], now):
                sender.sendto(packet, ("127.0.0.1", self.port))
        self.octets += octets

    def spooled(self, table="outbox"):
        """Octets of the windows in the spool, read as anybody could."""
        with sqlite3.connect(f"file:{self.directory}/state/collector.db?mode=ro", uri=True) as db:
            bodies = [body for (body,) in db.execute(f"SELECT body FROM {table}")]  # noqa: S608 one of two names
        db.close()
        return sum(decode_window(body).demand.total for body in bodies)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.log.read_text()


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


async def at_root(collector, broker, octets):
    """Run a root until it holds so many octets; return all that it holds a moment later."""
    read = load_collector(collector.config)
    root = Root(
        ["lon"],
        *(read.inventory, read.peering, read.intents),
        *(broker, collector.directory / "root.db"),
        window_s=0.5,
        smooth=10_000,
        late_s=1.0,
        term=1,
    )
    task = asyncio.create_task(root.run())

    def held():
        return sum(window.total for window in root._ring.windows) if root._ring else 0

    try:
        async with asyncio.timeout(30):
            while held() < octets:
                assert not task.done(), task
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        return held()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_leaf_killed_with_a_full_spool_tells_all_of_it_once_and_a_clean_stop_loses_nothing(mosquitto, tmp_path):
    mosquitto.kill()
    leaf = Collector(tmp_path, mosquitto.port)
    leaf.start()
    for _ in range(8):
        leaf.export(1_000_003)
        await asyncio.sleep(0.2)
    leaf.until(lambda: leaf.spooled() == leaf.octets)
    leaf.end()  # templates are told once, and remembered
    leaf.starts = 2
    leaf.start()
    leaf.export(77)
    leaf.until(lambda: leaf.spooled() == leaf.octets)
    leaf.kill()
    leaf.starts = 3
    leaf.start()
    leaf.export(500)  # in a window that is still open when it is told to stop
    await asyncio.sleep(0.1)
    leaf.end()
    assert leaf.spooled() == leaf.octets
    leaf.starts = 4
    leaf.start()
    mosquitto.start()
    assert await at_root(leaf, Broker("127.0.0.1", mosquitto.port), leaf.octets) == leaf.octets
    leaf.until(lambda: leaf.spooled() == 0)
    leaf.end()


async def test_a_leaf_that_is_killed_while_windows_wait_for_reports_keeps_what_they_hold(mosquitto, tmp_path):
    mosquitto.kill()
    leaf = Collector(tmp_path, mosquitto.port, active_timeout_s=60)
    leaf.start()
    for _ in range(40):
        leaf.export(1_000_003, lived_s=2.0)
        await asyncio.sleep(0.15)
    leaf.kill()
    closed, opened = leaf.spooled(), leaf.spooled("opened")
    assert opened > 3_000_000
    leaf.starts = 2
    leaf.start()
    assert leaf.spooled() == closed + opened
    assert leaf.spooled("opened") == 0
    mosquitto.start()
    assert await at_root(leaf, Broker("127.0.0.1", mosquitto.port), closed + opened) == closed + opened
    leaf.end()


def certificates(directory):
    """An authority, a broker's certificate for 127.0.0.1 and a collector's, as files."""
    authority_key, authority = _certificate("authority", None, None)
    made = {"ca": (authority_key, authority)}
    for name in ("broker", "lon"):
        made[name] = _certificate(name, authority_key, authority)
    for name, (key, certificate) in made.items():
        (directory / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (directory / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _certificate(name, issuer_key, issuer):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer_key or key, hashes.SHA256())
    )
    return key, made


@pytest.fixture
def secure(tmp_path):
    """A broker that wants a certificate, a user and a password; only its user may write its windows."""
    needed()
    certificates(tmp_path)
    (tmp_path / "passwords").touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", tmp_path / "passwords", "lon", "secret"], check=True)
    broker = Mosquitto(
        tmp_path,
        f"cafile {tmp_path}/ca.crt\ncertfile {tmp_path}/broker.crt\nkeyfile {tmp_path}/broker.key\n"
        f"require_certificate true\nallow_anonymous false\npassword_file {tmp_path}/passwords",
    )
    broker.start()
    yield broker
    broker.close()


async def test_certificates_and_a_password_open_the_broker_and_their_lack_does_not(secure, tmp_path):
    from neto.agents.mqtt import tls_context  # noqa: PLC0415 beside its one use

    password = "secret"  # noqa: S105 of a broker that lives as long as this test
    (tmp_path / "password").write_text(f"{password}\n")
    files = 'ca_file = "ca.crt"\ncertificate_file = "lon.crt"\nkey_file = "lon.key"\n'
    more = f'tls = true\n{files}username = "lon"\npassword_file = "password"'
    leaf = Collector(tmp_path, secure.port, more)
    leaf.start()
    leaf.export(4321)
    tls = tls_context(*(tmp_path / name for name in ("ca.crt", "lon.crt", "lon.key")))
    broker = Broker("127.0.0.1", secure.port, username="lon", password=password, tls=tls)
    assert await at_root(leaf, broker, 4321) == 4321
    leaf.end()
    (tmp_path / "password").write_text("wrong\n")
    leaf.starts = 2
    leaf.start()
    leaf.until(lambda: "Not authorized" in leaf.log.read_text() or "not authori" in leaf.log.read_text().lower())
    leaf.end()


def test_bad_settings_are_named_with_their_lines(tmp_path):
    collector = Collector(tmp_path, 1883, 'ca_file = "ca.crt"\npassword_file = "x"')
    text = collector.config.read_text().replace('name = "lon"', 'name = "lon/1"\nleaves = ["a", "a"]')
    collector.config.write_text(text.replace('host = "127.0.0.1"', 'hots = "127.0.0.1"'))
    run = [sys.executable, "-m", "neto", "collector", "--check", "--config", collector.config]
    said = subprocess.run(run, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    assert said.returncode == 2
    assert "neto-collector.toml:8: collector.name: 'lon/1' " in said.stderr
    assert "unknown key (did you mean host?)" in said.stderr
    collector.config.write_text(text.replace("lon/1", "lon"))
    said = subprocess.run(run, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "collector.leaves: 'a' is named twice" in said.stderr
    assert "mqtt.ca_file: is of no use without TLS; accepted: with tls = true" in said.stderr
    assert "mqtt.password_file: needs a username" in said.stderr
