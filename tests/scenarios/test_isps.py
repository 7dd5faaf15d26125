"""ISPs that lose what they are sent, as far as the daemon as a process is concerned."""

from __future__ import annotations

import pytest

from tests.scenarios.test_loop import run_to_full

pytestmark = pytest.mark.timeout(240)

CYCLES_OF_PROBES = 2  # of 2 s each, in which probes a second apart see it three times
OF_B = ("fra-b-1", "sfo-b-1", "tyo-b-1")


def test_an_isp_that_blackholes_is_left_and_no_other_link_is_overloaded(site):
    table = '\n[latency]\ncsv = "state/lab/samples.csv"\ncsv_period_s = 0.5\n'
    site.config.write_text(site.config.read_text() + table)
    site.ask("scale", factor=0.5)  # so that the other ISP can take it all
    run_to_full(site)
    site.until("delays are measured", lambda: site.show("latency")["estimates"], 20)
    assert sent(site) > 0
    cycles = site.log("daemon").count("cycle.done")

    site.ask("mark", name="dark")
    site.ask("blackhole", isp="isp-b")
    assert site.ask("status")["lost_mbps"]["blackholed"] > 0
    site.until("nothing is sent to isp-b", lambda: sent(site) == 0, 30)
    done = site.log("daemon").count("cycle.done") - cycles
    assert site.ask("since", name="dark")["over_seconds"] == {}
    assert done <= CYCLES_OF_PROBES + 1
    assert "blackholed" not in site.ask("status")["lost_mbps"]
    assert "eu-eyeballs through fra-b-1: probes are lost" in site.show("alarms")


def sent(site):
    """Mbit/s onto the links of isp-b, by the lab's own account."""
    return sum(link["load_mbps"] for link in site.ask("status")["links"] if link["link"] in OF_B)
