"""Links that fail in the middle of a transition: never longer overloaded than if nobody had steered anything.

The emulated WAN's own ledger judges. A link that is to be used again after it was drained starts a
transition; at a random moment of it another one fails. Head-ends take their time, so that transitions last.
"""

import json
import os
import random
import signal
import sys
import time

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(0)

WATCHED_S = 5.0  # after a failure
SLOW_S = 0.8  # that a head-end takes to do what it is told
CONVERGED_S = 1.0  # after a failure: the IGP routes around it
PLANS_WITHIN_S = 4  # after a link is to be used again
LASTS_S = 1.2  # that most transitions take
SETTLES_S = 3.5  # before the daemon can know that a link is back
FULL_WITHIN_S = 120
ROUNDING_S = 0.05


def cables(site):
    """One direction of every WAN link."""
    names = [link["link"] for link in site.ask("status")["links"] if not link["peering"]]
    return [name for name in names if name <= "-".join(reversed(name.split("-")))]


def overload(account):
    """Return seconds in which any link was over capacity, those summed over links, and Mbit lost for want of room."""
    began, ended = account["began"], account["began"] + account["seconds"]
    spans = sorted((max(each["began"], began), min(each["ended"] or ended, ended)) for each in account["episodes"])
    total, until = 0.0, began
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total, sum(account["over_seconds"].values()), sum(account["lost_mbit"].values())


def legacy_alone(site, link):
    """Cut a link while nobody steers anything; return `overload` for the time that is watched.

    Once the IGP has converged nothing changes any more, so a part of that time tells the whole.
    """
    site.ask("mark", name="legacy")
    site.ask("cut", link=link)
    time.sleep(CONVERGED_S)
    site.ask("mark", name="converged")
    first = overload(site.ask("since", name="legacy"))
    time.sleep(0.2)
    account = site.ask("since", name="converged")
    longer = (WATCHED_S - CONVERGED_S) / account["seconds"]
    site.ask("restore", link=link)
    return tuple(one + longer * rate for one, rate in zip(first, overload(account), strict=True))


def settled(site):
    site.until("all is steered", lambda: site.steered() > 0.999, FULL_WITHIN_S)
    site.until("nothing is over capacity", lambda: not site.ask("status")["over_capacity"], 30)


def plan_runs(site):
    """Whether the daemon is carrying a plan out, by its log."""
    log = site.log("daemon")
    return log.rfind("plan.begins") > max(log.rfind("cycle.done"), log.rfind("plan.failed"))


def drain(site, daemon, links):
    """Tell the daemon that nothing of its traffic should be on these links."""
    intents = site.directory / "config" / "intents.toml"
    lines = intents.read_text().splitlines()
    place = next(row for row, line in enumerate(lines) if line.startswith("drained_links"))
    lines[place] = f"drained_links = {json.dumps(links)}"
    intents.write_text("\n".join(lines) + "\n")
    daemon.send_signal(signal.SIGHUP)


def fail_in_transitions(site, times, seed):
    """Return, for every failure, what NetO and what legacy forwarding alone came to, and whether a plan was running."""
    rng = random.Random(seed)
    links = cables(site)
    pairs = [rng.sample(links, 2) for _ in range(times)]
    legacy = {cut: legacy_alone(site, cut) for cut in dict.fromkeys(cut for _, cut in pairs)}
    daemon = site.start("daemon", "run")
    settled(site)
    for router in site.ask("status")["routers"]:
        site.ask("trouble", router=router["router"], delay_s=SLOW_S)
    found = []
    for drained, cut in pairs:
        drain(site, daemon, [drained, "-".join(reversed(drained.split("-")))])
        time.sleep(SETTLES_S)
        settled(site)
        drain(site, daemon, [])
        told = time.monotonic()
        site.until("the order is read", lambda: site.log("daemon").count("reload.done") == 2 * len(found) + 2, 20)
        while not plan_runs(site) and time.monotonic() - told < PLANS_WITHIN_S:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, LASTS_S))
        runs = plan_runs(site)
        site.ask("mark", name="failure")
        site.ask("cut", link=cut)
        time.sleep(WATCHED_S)
        found.append((cut, overload(site.ask("since", name="failure")), legacy[cut], runs))
        sys.stdout.write(f"{len(found)}: {found[-1]}\n")
        site.ask("restore", link=cut)
    return found


def assert_never_longer_than_legacy(found):
    """Both in seconds in which anything was over capacity and in these seconds summed over links."""
    ours, theirs = (np.array([each[which] for each in found]) for which in (1, 2))
    sys.stdout.write(
        f"{len(found)} failures, {sum(runs for *_, runs in found)} while a plan was running; of {WATCHED_S:g} s each, "
        f"longest overload {ours[:, 0].max():.2f} s, legacy alone at least {theirs[:, 0].min():.2f} s; summed over "
        f"links {ours[:, 1].sum():.1f} s, legacy {theirs[:, 1].sum():.1f} s; lost {ours[:, 2].sum():.0f} Mbit, legacy "
        f"{theirs[:, 2].sum():.0f} Mbit\n"
    )
    for cut, mine, legacy, runs in found:
        said = f"{cut} cut, {'while a plan was running' if runs else 'between plans'}: {mine}, legacy alone {legacy}"
        assert mine[0] <= legacy[0] + ROUNDING_S, said
        assert mine[1] <= legacy[1] + ROUNDING_S, said


def test_a_link_that_fails_in_a_transition_overloads_nothing_longer_than_legacy_alone(site):
    assert_never_longer_than_legacy(fail_in_transitions(site, 3, seed=1))


@pytest.mark.long
def test_two_hundred_links_that_fail_in_transitions_overload_nothing_longer_than_legacy_alone(site):
    """NETO_FAILURES makes it another number."""
    times = int(os.environ.get("NETO_FAILURES", "200"))
    assert_never_longer_than_legacy(fail_in_transitions(site, times, seed=times))
