"""Exits that open and close again and again."""

from __future__ import annotations

from neto.operation.damping import Damping, DampingRules

RULES = DampingRules(hold_s=10.0, longest_s=35.0, memory_s=1000.0)


def test_once_is_no_flapping():
    damping = Damping(RULES)
    assert damping.hear({"a"}, 0.0) == set()
    assert damping.hear((), 1.0) == set()


def test_each_further_time_holds_twice_as_long_up_to_the_longest():
    damping, now, lasted = Damping(RULES), 0.0, []
    for _ in range(5):
        damping.hear({"a"}, now)
        back = now
        while damping.hear((), now + 0.5):
            now += 0.5
        lasted.append(now - back)
        now += 1.0
    assert lasted == [0.0, 9.5, 19.5, 34.5, 34.5]


def test_an_exit_that_stays_closed_has_closed_once():
    damping = Damping(RULES)
    for now in range(100):
        assert damping.hear({"a"}, float(now)) == set()
    assert damping.hear((), 100.0) == set()


def test_what_was_long_ago_is_forgotten():
    damping = Damping(RULES)
    for now in (0.0, 2.0):
        damping.hear({"a"}, now)
        damping.hear((), now + 1)
    assert damping.hear((), 3.5) == {"a"}
    assert damping.hear((), 1010.0) == set()
    damping.hear({"a"}, 1011.0)
    assert damping.hear((), 1012.0) == set()


def test_of_two_exits_only_the_one_that_flaps_is_held():
    damping = Damping(RULES)
    for now in (0.0, 2.0, 4.0):
        damping.hear({"a", "b"} if now == 0 else {"a"}, now)
        held = damping.hear((), now + 1)
    assert held == {"a"}
