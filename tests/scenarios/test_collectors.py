"""The whole loop with a collector between the routers and the daemon, over a real broker."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "services"))

from mosquitto import Mosquitto, needed

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]


@pytest.fixture
def broker(tmp_path):
    needed()
    directory = tmp_path / "broker"
    directory.mkdir()
    made = Mosquitto(directory)
    made.start()
    yield made
    made.close()


def test_the_daemon_runs_on_what_a_collector_tells_and_says_when_it_is_silent(site, broker):
    where = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nkeepalive_s = 5\n'
    site.edit("neto.toml", "[netflow]\n", f'{where}[netflow]\nleaves = ["fra"]\nlate_s = 2\n')
    text = (site.directory / "config" / "neto-collector.toml").read_text()
    for old, new in (
        ("port = 1883", f"port = {broker.port}"),
        ("127.0.0.1:2055", f"127.0.0.1:{2055 + site.offset}"),
        ("resend_s = 60", "resend_s = 5"),
    ):
        assert old in text
        text = text.replace(old, new)
    (site.directory / "config" / "neto-collector.toml").write_text(text)
    collector = site.start("collector", "collector", config="config/neto-collector.toml")
    daemon = site.start("daemon", "run")
    site.until("everything is steered", lambda: site.steered() > 0.999, 90)
    demand = site.show("demand")
    assert demand["missing_leaves"] == demand["missing_exporters"] == []
    assert demand["total_mbps"] > 10_000
    broker.kill()
    site.until("it is missed", lambda: "collector fra is silent" in site.show("alarms"), 40)
    assert site.steered() > 0.999
    broker.start()
    site.until("it is heard again", lambda: "collector fra is silent" not in site.show("alarms"), 40)
    assert site.steered() > 0.999
    for process in (daemon, collector):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, site.log("collector")
