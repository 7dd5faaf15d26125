"""A real Prometheus scrapes probes and is asked, with a certificate and a password, for what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import bcrypt
import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from neto.agents.monitoring.latency import LatencyTable
from neto.agents.monitoring.prometheus import Prometheus
from neto.settings.latency import PrometheusSource
from neto.settings.prometheus import source
from tests.agents.monitoring.test_latency import PEERING
from tests.services.test_mosquitto_process import certificates

pytestmark = pytest.mark.service

PROGRAM = Path("/usr/bin/prometheus")
LABELS = ("vantage", "peering_link", "prefix")
FRA, LON = ("fra1", "fra-a", "192.0.2.0/24"), ("lon1", "lon-a", "192.0.2.0/24")


class Exporter(ThreadingHTTPServer):
    """What probes tell, as Prometheus's own library writes it."""

    daemon_threads = True

    def __init__(self):
        self.registry = CollectorRegistry()
        self.rtt = Gauge("probe_rtt_seconds", "round trip", LABELS, registry=self.registry)
        self.success = Gauge("probe_success", "answered", LABELS, registry=self.registry)
        super().__init__(("127.0.0.1", 0), Metrics)


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(generate_latest(self.server.registry))

    def log_message(self, *_):
        pass


@pytest.fixture
def exporter():
    exporter = Exporter()
    thread = threading.Thread(target=exporter.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield exporter
    exporter.shutdown()
    thread.join()
    exporter.server_close()


@pytest.fixture
def url(tmp_path, exporter):
    """A Prometheus that scrapes the exporter every second and wants a certificate and a password."""
    if not PROGRAM.exists():
        if os.environ.get("NETO_REQUIRE_SERVICES"):
            pytest.fail("prometheus is not installed")
        pytest.skip("prometheus is not installed: run tests/services/install.sh as root")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    certificates(tmp_path)
    (tmp_path / "web.yml").write_text(
        "tls_server_config: {cert_file: broker.crt, key_file: broker.key, client_ca_file: ca.crt,"
        " client_auth_type: RequireAndVerifyClientCert}\n"
        f"basic_auth_users: {{neto: {bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()!r}}}\n"
    )
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 300ms}\n"
        f"scrape_configs: [{{job_name: probes, static_configs: [{{targets: ['127.0.0.1:{exporter.server_port}']}}]}}]\n"
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                PROGRAM,
                *(f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"),
                *(f"--web.config.file={tmp_path}/web.yml", f"--web.listen-address=127.0.0.1:{port}"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        else:
            pytest.fail(f"prometheus does not listen: {(tmp_path / 'log').read_text()}")
        yield f"https://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def asking(url, tmp_path, **settings):
    files = {"ca_file": "ca.crt", "certificate_file": "lon.crt", "key_file": "lon.key", "password_file": "password"}
    told = {"url": url, "interval_s": 1.0, "username": "neto"} | {name: tmp_path / at for name, at in files.items()}
    table = LatencyTable(PEERING)
    return Prometheus(source(PrometheusSource.model_validate(told | settings)), table), table


async def test_what_a_real_prometheus_saw_is_taken_with_its_own_times(url, exporter, tmp_path):
    for labels, rtt_s in ((FRA, 0.0125), (LON, 0.03)):
        exporter.rtt.labels(*labels).set(rtt_s)
        exporter.success.labels(*labels).set(1)
    ranged, table = asking(url, tmp_path, query="probe_rtt_seconds[1m]")
    task = asyncio.create_task(ranged.run())
    try:
        async with asyncio.timeout(20):
            while table.counters["accepted"] < 2 * 6:  # noqa: ASYNC110 it has no event
                await asyncio.sleep(0.1)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    found = table.copy().estimates(time.time())
    assert [(each.peering_link, each.rtt_ms) for each in found] == [("fra-a", 12.5), ("lon-a", 30.0)]
    assert ranged.doubt == ""
    assert table.counters["repeated"] >= 2 * 3  # a scrape is told again, and counts once
    assert len({sample.ts for sample in table.copy().samples["fra-a", "eu"]}) == found[0].samples

    exporter.success.labels(*FRA).set(0)
    exporter.rtt.labels(*FRA).set(float("nan"))
    ranges = {"query": "probe_rtt_seconds[1m]", "success_query": "probe_success[1m]"}
    vectors = {"query": "probe_rtt_seconds", "loss_query": "1 - probe_success"}
    for queries in (ranges, vectors):
        both, table = asking(url, tmp_path, **queries)
        async with asyncio.timeout(20):
            while table.copy().failing(time.time()) != {("fra-a", "eu"): 1.0}:
                await both.ask()
                assert both.doubt == ""
                assert table.counters["prometheus_failures"] == 0
                await asyncio.sleep(0.1)
        assert table.counters["refused"] == 0


REFUSED = [
    ({"query": "probe_rtt_seconds["}, "HTTP status 400, 'bad_data: "),
    ({"query": "1"}, "the query makes a 'scalar'; accepted: vector or matrix"),
    ({"query": "up"}, "has no label 'vantage'; its labels: '__name__, instance, job'"),
    ({"query": "up", "username": "other"}, "HTTP status 401; accepted: 200"),
    ({"query": "up", "ca_file": None}, "certificate verify failed"),
    ({"query": "up", "certificate_file": None, "key_file": None}, " alert "),
]


async def test_what_a_real_prometheus_refuses_is_told(url, tmp_path):
    for settings, why in REFUSED:
        prometheus, table = asking(url, tmp_path, **settings)
        async with asyncio.timeout(20):
            while why not in prometheus.doubt:  # it may not have scraped yet
                await prometheus.ask()
                await asyncio.sleep(0.1)
        assert table.counters["accepted"] == 0
