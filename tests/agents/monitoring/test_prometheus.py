"""A Prometheus as source of samples: one that behaves, and one that does not."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from structlog.testing import capture_logs

from neto.agents.monitoring.latency import LatencyTable
from neto.agents.monitoring.prometheus import LARGEST_ANSWER, Prometheus
from neto.settings.latency import PrometheusSource
from neto.settings.prometheus import source
from neto.wire.prometheus import read
from tests.agents.monitoring.test_latency import NOW, PEERING


class Server(ThreadingHTTPServer):
    """Speaks HTTP by the standard library; `says` decides what, by (form, headers) -> (status, body)."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        self.asked, self.says = [], lambda *_: (200, vector())
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_):
        """Clients may hang up."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        form = {
            name: value
            for name, (value,) in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()
        }
        self.server.asked.append((self.path, form, dict(self.headers)))
        status, body = self.server.says(form, self.headers)
        self.send_response(status)
        self.end_headers()
        for piece in [body] if isinstance(body, bytes) else body:
            self.wfile.write(piece)
            self.wfile.flush()

    def log_message(self, *_):
        pass


def series(value="0.01", ts=NOW, link="fra-a", vantage="fra1", prefix="192.0.2.0/24", **more):
    return {"metric": {"vantage": vantage, "peering_link": link, "prefix": prefix, **more}, "value": [ts, value]}


def ranged(count=6, value="0.01", every_s=10, **labels):
    one = series(**labels)
    return {"metric": one["metric"], "values": [[NOW - every_s * at, value] for at in reversed(range(count))]}


def vector(*told, kind="vector"):
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": told}}).encode()


@contextlib.contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server():
    with serving() as server:
        yield server


def asking(server, **settings):
    told = {"url": f"http://127.0.0.1:{server.server_port}", "query": "rtt", "interval_s": 1.0} | settings
    table = LatencyTable(PEERING)
    return Prometheus(source(PrometheusSource.model_validate(told)), table, now=lambda: NOW), table


def counted(table):
    return {name: count for name, count in table.counters.items() if count}


async def test_samples_of_a_vector_are_taken_with_the_time_of_the_query(server):
    server.says = lambda form, _: (200, vector(series(ts=float(form["time"]))))
    prometheus, table = asking(server, url=f"http://127.0.0.1:{server.server_port}/prom/", timeout_s=7.0)
    await prometheus.ask()
    assert counted(table) == {"accepted": 1, "prometheus_answers": 1}
    assert prometheus.doubt == ""
    path, form, headers = server.asked[0]
    assert path == "/prom/api/v1/query"
    assert form == {"query": "rtt", "time": f"{NOW:.3f}", "timeout": "7.000"}
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in headers


async def test_samples_of_a_range_are_taken_once(server):
    server.says = lambda *_: (200, vector(ranged(), kind="matrix"))
    prometheus, table = asking(server)
    await prometheus.ask()
    await prometheus.ask()
    assert counted(table) == {"accepted": 6, "repeated": 6, "prometheus_answers": 2}
    assert prometheus.doubt == ""
    (found,) = table.copy().estimates(NOW)
    assert (found.peering_link, found.prefix_group, found.rtt_ms) == ("fra-a", "eu", 10.0)


async def test_losses_are_asked_at_the_same_moment_and_close_exits(server):
    def says(form, _):
        if form["query"] == "rtt":
            return 200, vector(ranged(link="lon-a", vantage="lon1"), kind="matrix")
        lost = ranged(3, "1")
        return 200, vector(lost, ranged(value="0", link="lon-a", vantage="lon1"), kind="matrix")

    server.says = says
    prometheus, table = asking(server, loss_query="1 - up", unit="ms")
    await prometheus.ask()
    assert [form["query"] for _, form, _ in server.asked] == ["rtt", "1 - up"]
    assert len({form["time"] for _, form, _ in server.asked}) == 1
    assert table.copy().failing(NOW) == {("fra-a", "eu"): 1.0}
    assert table.copy().estimates(NOW)[0].rtt_ms == 0.01


async def test_an_answer_that_tells_nothing_or_old_news_alone_is_a_doubt(server):
    prometheus, table = asking(server)
    await prometheus.ask()
    assert prometheus.doubt.endswith("told nothing; accepted: a query that some series match")
    server.says = lambda *_: (200, vector(ranged(3, every_s=500), kind="matrix"))
    await prometheus.ask()
    assert (table.counters["accepted"], table.counters["old"], prometheus.doubt) == (2, 1, "")
    server.says = lambda *_: (200, vector(series(ts=NOW - 1000)))
    await prometheus.ask()
    assert prometheus.doubt.endswith("told what is not taken: old")


async def test_a_token_is_borne_and_read_anew_each_time(server, tmp_path):
    token = tmp_path / "token"
    prometheus, _ = asking(server, token_file=token)
    for text in ("first\n", "second\nmore\n"):
        token.write_text(text)
        await prometheus.ask()
    assert [headers["Authorization"] for _, _, headers in server.asked] == ["Bearer first", "Bearer second"]


async def test_a_user_says_who_it_is(server, tmp_path):
    (tmp_path / "password").write_text("p:w\n")
    prometheus, _ = asking(server, username="neto", password_file=tmp_path / "password")
    await prometheus.ask()
    assert server.asked[0][2]["Authorization"] == "Basic " + base64.b64encode(b"neto:p:w").decode()


@pytest.mark.parametrize("secret", [b"", b"\n", b"a\x00b", b"\xff\xfe", b"two words\r\x0b", None])
async def test_a_secret_that_is_none_is_told_and_never_sent(server, tmp_path, secret):
    file = tmp_path / "token"
    if secret is not None:
        file.write_bytes(secret)
    prometheus, table = asking(server, token_file=file)
    await prometheus.ask()
    assert (server.asked, table.counters["prometheus_failures"]) == ([], 1)
    assert str(file) in prometheus.doubt
    assert "two words" not in prometheus.doubt


ERROR = json.dumps({"status": "error", "errorType": "bad_data", "error": "1:3: parse error"}).encode()
HUGE = [b'{"status": "success", "x": "', *[b"x" * (1 << 20)] * (LARGEST_ANSWER >> 20), b'"}']


@pytest.mark.parametrize(
    ("status", "body", "counter", "why"),
    [
        (500, b"", "prometheus_failures", "HTTP status 500; accepted: 200"),
        (400, ERROR, "prometheus_failures", "HTTP status 400, 'bad_data: 1:3: parse error'; accepted: 200"),
        (401, b"<html>", "prometheus_failures", "HTTP status 401; accepted: 200"),
        (302, b"", "prometheus_failures", "HTTP status 302; accepted: 200"),
        (200, HUGE, "prometheus_failures", f"more than {LARGEST_ANSWER} octets"),
        (200, ERROR, "malformed", "status is 'error', 'bad_data: 1:3: parse error'; accepted: success"),
        (200, b"<html>", "malformed", "not Prometheus's JSON"), (200, b"", "malformed", "not Prometheus's JSON"),
        (200, b'{"status": "\xff"}', "malformed", "not Prometheus's JSON"),
        (200, vector(NOW, "1", kind="scalar"), "malformed", "the query makes a 'scalar'; accepted: vector or matrix"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_counted_told_and_adds_nothing_until_it_is_good_again(
    server, status, body, counter, why
):
    prometheus, table = asking(server)
    server.says = lambda *_: (200, vector(ranged(), kind="matrix"))
    await prometheus.ask()
    before = table.copy().estimates(NOW)
    server.says = lambda *_: (status, body)
    await prometheus.ask()
    assert counted(table) == {"accepted": 6, "prometheus_answers": 1, counter: 1}
    assert prometheus.doubt.startswith(f"samples from http://127.0.0.1:{server.server_port}: ")
    assert why in prometheus.doubt
    assert table.copy().estimates(NOW) == before
    server.says = lambda *_: (200, vector(ranged(), kind="matrix"))
    await prometheus.ask()
    assert prometheus.doubt == ""


@pytest.mark.parametrize(
    ("told", "counter", "why"),
    [
        (series("NaN"), "refused", "refused, the first because 192.0.2.0/24 behind fra-a from fra1: rtt_ms nan;"),
        (series("+Inf"), "refused", "rtt_ms inf"), (series(ts=NOW + 60), "future", "not taken: future"),
        (series(link="x"), "unknown_link", "not taken: unknown_link"),
        (series(vantage="lon1"), "unknown_vantage", "not taken: unknown_vantage"),
        (series(prefix="203.0.113.0/24"), "unknown_prefix", "not taken: unknown_prefix"),
        ({"metric": {"job": "x"}, "value": [NOW, "1"]}, "refused", "has no label 'vantage'; its labels: 'job'"),
    ],
)  # fmt: skip
async def test_what_is_no_sample_of_ours_is_counted_told_and_spoils_no_other(server, told, counter, why):
    server.says = lambda *_: (200, vector(told, series()))
    prometheus, table = asking(server)
    await prometheus.ask()
    assert counted(table) == {"accepted": 1, "prometheus_answers": 1, counter: 1}
    assert why in prometheus.doubt


@pytest.mark.parametrize("drips", [False, True])
async def test_an_answer_that_is_slow_is_given_up_at_the_deadline(server, drips):
    ended = threading.Event()

    def slowly():
        while not ended.wait(0.02):
            yield b" " if drips else b""

    server.says = lambda *_: (200, slowly())
    prometheus, table = asking(server, timeout_s=0.2)
    try:
        async with asyncio.timeout(10):
            await prometheus.ask()
    finally:
        ended.set()
    assert counted(table) == {"prometheus_failures": 1}
    assert prometheus.doubt.endswith("no answer within 0.2 s")


async def test_a_doubt_is_logged_once_and_so_is_its_end(server):
    prometheus, _ = asking(server)
    with capture_logs() as logged:
        for status in (200, 500, 500, 400, 200, 200):
            server.says = lambda *_, status=status: (status, vector(series()))
            await prometheus.ask()
    assert [(each["event"], each.get("why", "")[:15]) for each in logged] == [
        ("latency.prometheus_doubted", "HTTP status 500"),
        ("latency.prometheus_doubted", "HTTP status 400"),
        ("latency.prometheus_answers", ""),
    ]


async def test_one_that_is_away_moves_nothing_and_is_asked_again(server):
    prometheus, table = asking(server, url="http://127.0.0.1:1")
    await prometheus.ask()
    assert counted(table) == {"prometheus_failures": 1}
    assert "Connect call failed" in prometheus.doubt

    server.says = lambda *_: (500, b"") if len(server.asked) == 1 else (200, vector(series()))
    prometheus, table = asking(server)
    task = asyncio.create_task(prometheus.run())
    async with asyncio.timeout(20):
        while not table.counters["accepted"]:  # noqa: ASYNC110 it has no event
            await asyncio.sleep(0.02)
    assert table.counters["prometheus_failures"] == 1
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_the_event_loop_runs_while_a_large_answer_is_read_and_taken(server, monkeypatch):
    told = [series(f"0.0{number}", prefix=f"192.0.2.{number % 256}/32") for number in range(1, 5_000)]
    server.says = lambda *_: (200, vector(*told))
    prometheus, table = asking(server)
    loop_ran, turns = threading.Event(), 0

    def read_slowly(*told):
        loop_ran.clear()
        assert loop_ran.wait(10), "the loop stood still"
        return read(*told)

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            loop_ran.set()
            turns += bool(table.counters["accepted"])

    monkeypatch.setattr("neto.agents.monitoring.prometheus.read", read_slowly)
    task = asyncio.create_task(others())
    await prometheus.ask()
    task.cancel()
    assert table.counters["accepted"] == len(told)
    assert turns >= len(told) // 250
