"""The whole loop, as processes, judged by the emulated WAN's own account."""

import os
import signal

import pytest

pytestmark = pytest.mark.timeout(240)

FULL_WITHIN_S = 90
ROUNDING = 1e-6


def run_to_full(site, name: str = "daemon"):
    daemon = site.start(name, "run")
    site.until("everything is steered", lambda: site.steered() > 0.999, FULL_WITHIN_S)
    site.until("the daemon knows it", lambda: site.show("leader")["status"]["operation"]["mode"] == "full", 30)
    return daemon


def test_from_overload_to_full_and_back_and_no_step_makes_anything_worse(site):
    legacy = {link["link"]: link["utilisation"] for link in site.ask("status")["links"]}
    assert sum(share > 1 for share in legacy.values()) >= 2
    site.ask("mark", name="transition")
    daemon = run_to_full(site)
    worst = site.ask("since", name="transition")["worst"]
    for link, share in worst.items():
        assert share <= max(1.0, legacy[link]) + ROUNDING, f"{link}: {share:.3f}, legacy {legacy[link]:.3f}"

    site.ask("mark", name="full")
    allocation = site.show("allocation")
    assert allocation["portion"] == 1.0
    assert all(link["utilisation"] <= 1 for link in allocation["links"])
    assert "portion 100 %, no link over capacity" in site.neto("show", "allocation").stdout
    site.until("a few more cycles went by", lambda: site.ask("since", name="full")["seconds"] > 6)
    account = site.ask("since", name="full")
    assert account["over_seconds"] == {}
    assert max(account["worst"].values()) <= 1
    assert account["late"] == []  # gold stays within its delay bound
    assert sum(account["lost_mbit"].values()) == 0

    site.ask("mark", name="leaving")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 0
    site.until("every router is on legacy forwarding", lambda: site.ask("status")["coloured_routes"] == 0, 5)


def test_a_killed_daemon_leaves_legacy_forwarding_behind_within_the_restart_time(site):
    daemon = run_to_full(site)
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()
    took = site.until("no coloured route is left", lambda: site.ask("status")["coloured_routes"] == 0, 25)
    assert took > 1, "graceful restart keeps the routes for a standby"
    assert site.steered() == 0


def test_a_standby_takes_over_from_a_killed_leader_and_nothing_falls_back(site):
    leader = run_to_full(site, "first")
    epoch = site.show("leader")["epoch"]
    site.start("second", "run")
    site.until("the standby waits", lambda: "daemon.waits_for_lease" in site.log("second"), 30)
    site.ask("mark", name="takeover")
    os.kill(leader.pid, signal.SIGKILL)
    leader.wait()
    site.until("the standby leads", lambda: site.show("leader")["epoch"] == epoch + 1, 10)
    site.until("it goes on at full", lambda: "cycle.done" in site.log("second"), 30)
    site.until("the restart time is over", lambda: site.ask("since", name="takeover")["seconds"] > 13, 30)
    assert site.steered() > 0.999
    assert site.ask("since", name="takeover")["over_seconds"] == {}


def test_a_cut_link_is_routed_around_and_nothing_stays_overloaded(site):
    run_to_full(site)
    site.ask("cut", link="nyc1-lon1")
    site.until("no link is over capacity", lambda: not site.ask("status")["over_capacity"], 30)
    site.until(
        "the daemon decided without the link",
        lambda: "nyc1-lon1" not in {link["id"] for link in site.show("allocation")["links"]},
        20,
    )
    site.until("all is steered again", lambda: site.steered() > 0.999, 30)
    site.until("it lasts", lambda: not site.ask("status")["over_capacity"], 10)
    site.ask("restore", link="nyc1-lon1")
    site.until(
        "the link is used again", lambda: "nyc1-lon1" in {link["id"] for link in site.show("allocation")["links"]}, 20
    )


def test_a_reload_with_a_mistake_keeps_what_runs_and_says_why(site):
    daemon = run_to_full(site)
    site.edit("config/intents.toml", "headroom = 0.1 ", "headroom = nan ")
    assert site.neto("check", check=False).returncode == 2
    daemon.send_signal(signal.SIGHUP)
    site.until("the mistake is named", lambda: "intents.toml:3: headroom" in site.log("daemon"), 10)
    assert daemon.poll() is None
    assert site.steered() > 0.999
    site.edit("config/intents.toml", "headroom = nan ", "headroom = 0.2 ")
    daemon.send_signal(signal.SIGHUP)
    site.until("it is taken once mended", lambda: "reload.done" in site.log("daemon"), 20)


def test_the_kill_switch_withdraws_everything_until_resume(site):
    run_to_full(site)
    site.neto("legacy")
    site.until("nothing is steered", lambda: site.ask("status")["coloured_routes"] == 0, 10)
    site.until("it says so", lambda: site.show("leader")["status"]["operation"]["mode"] == "legacy", 5)
    site.neto("resume")
    site.until("it goes on", lambda: site.steered() > 0, 30)


def test_a_deaf_router_is_unverified_and_holds_nothing_else_back_for_ever(site):
    site.edit("neto.toml", "deadline_s = 20", "deadline_s = 3")
    site.ask("trouble", router="syd1", deaf=True)
    site.start("daemon", "run")
    site.until("the router is found out", lambda: "syd1" in " ".join(site.show("alarms")), 60)
    site.ask("trouble", router="syd1")
    site.until("all is steered once it answers", lambda: site.steered() > 0.999, FULL_WITHIN_S)
