"""ISPs that lose what they are sent and sessions that flap, as far as the daemon as a process is concerned."""

from __future__ import annotations

import pytest

from tests.scenarios.test_loop import run_to_full

pytestmark = pytest.mark.timeout(240)

B = ("fra1", "sfo1", "tyo1")  # borders of isp-b
EU, CLOUD = "198.51.100.", "198.1"  # prefixes of two groups that both leave by fra-b-1
LOST = "eu-eyeballs through fra-b-1: probes are lost"
OFTEN = "eu-eyeballs through fra-b-1: probes were lost too often"
FULL_TABLE = 100_000
OF_B = ("fra-b-1", "sfo-b-1", "tyo-b-1")


def test_an_isp_that_blackholes_is_left_and_no_other_link_is_overloaded(site):
    site.edit("neto.toml", "period_s = 2 ", "period_s = 15 ")  # longer than three probes a second apart take
    run_measured(site)
    assert sent(site) > 0
    begins = len(site.log("daemon"))

    site.ask("mark", name="dark")
    site.ask("blackhole", isp="isp-b")
    assert site.ask("status")["lost_mbps"]["blackholed"] > 0
    site.until("nothing is sent to isp-b", lambda: sent(site) == 0, 30)
    before, nudged, after = site.log("daemon")[begins:].partition("borders and probes")
    assert nudged
    assert before.count("cycle.done") <= 1
    assert after.count("cycle.done") <= 2  # a later one's samples may come while the first groups leave
    assert site.ask("since", name="dark")["over_seconds"] == {}
    assert "blackholed" not in site.ask("status")["lost_mbps"]
    assert "eu-eyeballs through fra-b-1: probes are lost" in site.show("alarms")


def test_an_isp_that_loses_one_group_keeps_the_others_on_the_same_link(site):
    run_measured(site)
    site.until("both leave by fra-b-1", lambda: all(steered_onto(site, "fra-b-1", net) > 0 for net in (EU, CLOUD)), 30)
    site.ask("mark", name="dark")
    for time in (1, 2):
        site.ask("blackhole", isp="isp-b", group="eu-eyeballs")
        site.until("the group has left", lambda: steered_onto(site, "fra-b-1", EU) == 0, 30)
        site.until("people are told", lambda: LOST in str(site.show("alarms")), 30)
        assert opened(site) == {"eu-eyeballs": ["lon-a-1", "nyc-a-1"], "cloud": sorted([*OF_B, "nyc-a-1"])}
        assert steered_onto(site, "fra-b-1", CLOUD) > 0
        site.ask("blackhole", isp="isp-b", group="eu-eyeballs", heals=True)
        if time == 1:
            site.until("the exit is open again", lambda: "fra-b-1" in opened(site)["eu-eyeballs"], 30)
    site.until("it is held down", lambda: OFTEN in str(site.show("alarms")), 30)
    two_cycles(site)
    assert opened(site) == {"eu-eyeballs": ["lon-a-1", "nyc-a-1"], "cloud": sorted([*OF_B, "nyc-a-1"])}
    assert steered_onto(site, "fra-b-1", EU) == 0
    assert steered_onto(site, "fra-b-1", CLOUD) > 0
    assert "cloud" not in str(site.show("alarms"))
    assert site.ask("since", name="dark")["over_seconds"] == {}


def test_a_session_that_flaps_is_left_and_stays_left_with_full_tables_told(site):
    """Borders of isp-b tell 100,000 prefixes each; one of their sessions goes down and comes back twice."""
    tell_full_tables(site)
    site.until("fra-b-1 is used", lambda: sent(site, "fra-b-1") > 0, 30)

    site.ask("mark", name="flaps")
    site.ask("flap", link="fra-b-1", times=2, period_s=2.5)
    site.until("it is held down", lambda: "fra-b-1: its BGP session came and went too often" in site.show("alarms"), 60)
    site.until("it flaps no more", lambda: not site.ask("status")["sessions_down"], 30)
    cycles = site.log("daemon").count("cycle.done")
    site.until("the daemon has decided again", lambda: site.log("daemon").count("cycle.done") >= cycles + 2, 30)
    assert steered_onto(site, "fra-b-1") == 0
    assert site.ask("since", name="flaps")["over_seconds"] == {}


def test_what_comes_in_by_a_link_is_measured_and_advice_says_what_to_change(site):
    """Oracle: the lab's demands, of which half of what enters at New York toward other routers comes in by nyc-a-1."""
    site.start("daemon", "run")
    site.until("inbound is measured", lambda: site.show("ingress")["links"], 60)
    entering = {}
    for demand in site.ask("demands")["demands"]:
        if demand["source"] == "nyc1" and demand["prefix"].startswith("10."):
            entering[demand["prefix"]] = entering.get(demand["prefix"], 0.0) + demand["mbps"] / 2
    all_mbps, limit_mbps = sum(entering.values()), 5000
    enough = min((mbps, prefix) for prefix, mbps in entering.items() if all_mbps - mbps <= limit_mbps)

    def advised():
        told = site.show("ingress")
        (now,) = (row["inbound_mbps"] for row in told["links"] if row["peering_link"] == "nyc-a-1")
        assert now == pytest.approx(all_mbps, rel=0.02)  # a window may lack what is still on its way
        (only,) = told["proposals"]
        assert (only["peering_link"], only["prefix"], only["change"]) == ("nyc-a-1", enough[1], "med")
        assert only["rate_mbps"] == pytest.approx(enough[0], rel=0.02)
        assert (told["missing"], told["closed"]) == ([], [])
        return True

    site.until("all that comes in is known, and what to do about it", advised, 60)
    site.until("people see it", lambda: enough[1] in site.neto("show", "ingress").stdout, 20)

    site.ask("scale", factor=0.5)
    site.until("nothing has to change", lambda: site.show("ingress")["proposals"] == [], 60)


def test_what_comes_in_is_moved_by_an_announcement_that_is_changed_and_made_plain_again(site):
    """Oracle: the lab, which puts what is typed at its borders through route-maps of its own, and sends accordingly."""
    site.edit("config/intents.toml", 'ingress = "advise"', 'ingress = "apply"')
    site.config.write_text(site.config.read_text() + "\n[ingress]\nsettle_s = 0\nhold_s = 4\n")
    limit_mbps = 5000
    before = came_in(site)["links"]
    assert before["nyc-a-1"] > limit_mbps
    run_to_full(site)

    site.ask("mark", name="changed")
    site.until("an announcement is changed", lambda: came_in(site)["told"], 60)
    changed = came_in(site)
    (told,) = changed["told"]
    assert (told["peering_link"], told["told"]) == ("nyc-a-1", {"prepended": 0, "med": 100, "communities": []})
    assert changed["links"]["nyc-a-1"] <= limit_mbps
    assert sum(changed["links"].values()) == pytest.approx(sum(before.values()))
    (move,) = (move for step in site.show("plan")["steps"] for move in step["moves"])
    assert (move["device"], move["kind"], move["becomes"]) == ("nyc1", "announcement", "with MED 100")
    assert "with MED 100" in site.neto("plan").stdout
    site.until("what it brought is measured", lambda: applied(site)["left"] == pytest.approx(1.0, abs=0.02), 60)
    assert told["prefix"] in site.neto("show", "ingress").stdout
    two_cycles(site)
    assert came_in(site) == changed
    assert site.ask("since", name="changed")["over_seconds"] == {}

    site.ask("scale", factor=0.5)
    site.until("it is plain again", lambda: not came_in(site)["told"], 60)
    assert came_in(site)["links"] == pytest.approx({link: mbps / 2 for link, mbps in before.items()})

    site.ask("scale", factor=1.0)
    site.until("it is changed again", lambda: came_in(site)["told"] and applied(site), 90)
    since, cycles = applied(site)["since"], site.log("daemon").count("cycle.done")
    site.processes["daemon"].kill()
    site.processes["daemon"].wait(10)
    site.start("daemon", "run")
    site.until("a successor decides", lambda: site.log("daemon").count("cycle.done") > cycles, 60)
    assert applied(site)["since"] == since  # it knows what it took over
    assert came_in(site)["told"] == [told]
    site.neto("legacy")
    site.until("the kill switch makes it plain", lambda: not came_in(site)["told"], 30)
    assert came_in(site)["links"] == pytest.approx(before)


def test_a_default_route_and_full_tables_that_vanish_move_nothing(site):
    """What a border says while its traffic goes on as it went: each is counted, or an alarm, and no plan begins."""
    tell_full_tables(site)
    through = steered_onto(site, "fra-b-1")
    assert through > 0
    site.until("nothing is left to do", lambda: quiet(site), 60)
    site.ask("mark", name="slips")
    plans = site.log("daemon").count("plan.begins")

    site.ask("slip", link="fra-b-1", what="default")
    site.until("it is counted", lambda: site.show("routes")["counters"]["rib_defaults"] == 1, 30)
    site.ask("slip", link="fra-b-1", what="withdraw")
    site.until("it is not believed", lambda: "fra-b-1: 100% of its prefixes are gone" in str(site.show("alarms")), 30)
    two_cycles(site)
    site.ask("slip", link="tyo-b-1", what="hang-up")
    site.until("the border is back", lambda: site.show("routes")["counters"]["sessions_up"] == len(B) + 1, 30)
    two_cycles(site)
    assert site.show("routes")["counters"]["sessions_down"] == 1

    assert site.log("daemon").count("plan.begins") == plans
    assert steered_onto(site, "fra-b-1") == pytest.approx(through, rel=0.05)
    assert site.ask("since", name="slips")["over_seconds"] == {}


def run_measured(site):
    """Have the daemon steer everything, by what the lab's probes measure."""
    table = '\n[latency]\ncsv = "state/lab/samples.csv"\ncsv_period_s = 0.5\n'
    site.config.write_text(site.config.read_text() + table)
    site.ask("scale", factor=0.5)  # so that the other ISP can take it all
    run_to_full(site)
    site.until("delays are measured", lambda: site.show("latency")["estimates"], 20)


def came_in(site):
    """What comes in by each link, and what is told otherwise than plainly, by the lab's own account."""
    told = site.ask("inbound")
    return {"links": told["links"], "told": told["told"]}


def applied(site):
    """The one change that the daemon says it made; `until` goes on while there is none."""
    rows = site.show("ingress")["applied"]
    assert len(rows) == 1
    return rows[0]


def opened(site):
    """Open exits of two groups."""
    groups = site.show("routes")["groups"]
    return {
        row["prefix_group"]: sorted(row["open"]) for row in groups if row["prefix_group"] in {"eu-eyeballs", "cloud"}
    }


def tell_full_tables(site):
    """Have the borders of isp-b tell 100,000 prefixes each, and the daemon steer everything."""
    lab = site.processes["lab"]
    lab.terminate()
    lab.wait(30)
    rows = "".join(f'[[bmp.router]]\nname = "{name}"\naddress = "127.0.7.{at}"\n' for at, name in enumerate(B, 81))
    table = f'\n[bmp]\nlisten = "127.0.0.1:{11019 + site.offset}"\nquiet_s = 1\n{rows}'
    site.config.write_text(site.config.read_text() + table)
    site.start("lab", "lab")
    site.until("the lab listens", lambda: site.ask("scale", factor=0.5), 30)
    run_to_full(site)
    site.until("all tables are told", lambda: all(told(site, link) > FULL_TABLE for link in OF_B), 60)


def two_cycles(site):
    cycles = site.log("daemon").count("cycle.done")
    site.until("the daemon has decided twice", lambda: site.log("daemon").count("cycle.done") >= cycles + 2, 30)


def quiet(site):
    """Whether two cycles begin no plan."""
    plans = site.log("daemon").count("plan.begins")
    two_cycles(site)
    return site.log("daemon").count("plan.begins") == plans


def told(site, link):
    (row,) = (row for row in site.show("routes")["links"] if row["peering_link"] == link)
    return row["prefixes"] or 0


def steered_onto(site, link, net=""):
    """Mbit/s toward prefixes that begin so that the daemon sends there, by the lab's own account."""
    return sum(
        demand["mbps"] * path["share"]
        for demand in site.ask("demands")["demands"]
        for path in demand["paths"]
        if demand["steered"] and link in path["links"] and demand["prefix"].startswith(net)
    )


def sent(site, *links):
    """Mbit/s onto these links, or all of isp-b, by the lab's own account."""
    return sum(link["load_mbps"] for link in site.ask("status")["links"] if link["link"] in (links or OF_B))
