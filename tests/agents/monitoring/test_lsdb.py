"""How long what a speaker told is believed: through sessions that end, come back, and tell something else."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from neto.agents.monitoring.lsdb import LinkStateDatabase
from neto.wire.bgpls import LsUpdate
from tests.agents.monitoring.networks import half, link, node

TTL_S = 300.0
R1, R2, R3 = node(1), node(2), node(3)
CABLE = link(1, 2, 1)
END_OF_RIB = LsUpdate(end_of_rib=True)


def told(*objects):
    return LsUpdate(reached=objects)


def withdrawn(*objects):
    return LsUpdate(withdrawn=tuple(each.key for each in objects))


def names(database):
    return [each.name for each in database.topology().nodes]


def connected(*objects, now=0.0):
    database = LinkStateDatabase(TTL_S)
    database.session_up(now)
    database.apply(told(*objects), now)
    database.apply(END_OF_RIB, now)
    return database


def test_what_is_told_is_there_and_what_is_withdrawn_is_not():
    database = connected(R1, R2, *CABLE)
    assert (names(database), len(database.topology().links)) == (["r1", "r2"], 2)
    assert database.apply(withdrawn(CABLE[0]), 1)
    assert len(database.topology().links) == 0
    assert "other direction" in database.problems[0]
    assert database.apply(withdrawn(R1, R2, CABLE[1]), 1)
    assert len(database) == 0


def test_it_tells_whether_anything_changed():
    database = connected(R1)
    assert not database.apply(told(R1), 1)
    assert not database.apply(withdrawn(R2), 1)
    assert not database.apply(END_OF_RIB, 1)
    assert database.apply(told(node(1, "other")), 1)
    assert database.apply(told(R1, R2), 1)


def test_what_is_both_withdrawn_and_told_is_told():
    database = connected(R1)
    database.apply(LsUpdate(reached=(R1,), withdrawn=(R1.key,)), 1)
    assert names(database) == ["r1"]


def test_the_same_topology_object_stands_until_something_changes():
    database = connected(R1, R2)
    before = database.topology()
    database.apply(told(R1), 1)
    database.session_down(2)
    assert database.topology() is before
    database.apply(told(R3), 3)
    assert database.topology() is not before


def test_a_lost_session_is_believed_until_its_time_is_over():
    database = connected(R1)
    database.session_down(100)
    assert not database.is_synchronised
    assert not database.expire(100 + TTL_S - 0.1)
    assert names(database) == ["r1"]
    assert database.expire(100 + TTL_S)
    assert names(database) == []


def test_a_session_that_lasts_never_expires():
    database = connected(R1)
    assert not database.expire(1e9)


def test_what_is_not_told_again_by_the_end_of_rib_is_dropped():
    database = connected(R1, R2, *CABLE)
    database.session_down(10)
    database.session_up(20)
    assert database.apply(told(R1), 21) is False
    assert names(database) == ["r1", "r2"]  # still believed
    assert database.apply(END_OF_RIB, 22)
    assert names(database) == ["r1"]


def test_what_is_not_told_again_is_dropped_in_time_without_an_end_of_rib():
    database = connected(R1, R2)
    database.session_down(10)
    database.session_up(20)
    database.apply(told(R1), 21)
    database.expire(10 + TTL_S)
    assert names(database) == ["r1"]


def test_a_session_that_comes_back_unnoticed_is_a_new_one():
    database = connected(R1, R2)
    database.session_up(20)
    assert not database.is_synchronised
    database.apply(told(R1), 21)
    database.apply(END_OF_RIB, 22)
    assert names(database) == ["r1"]


def test_flapping_does_not_make_it_younger():
    database = connected(R1, R2)
    for second in range(0, 200, 20):
        database.session_down(second)
        database.session_up(second + 10)
        database.apply(told(R1), second + 11)
    database.expire(TTL_S)  # R2 was last told before second 0
    assert names(database) == ["r1"]


def test_an_update_outside_a_session_is_stale_at_once():
    database = LinkStateDatabase(TTL_S)
    database.apply(told(R1), 0)
    database.apply(END_OF_RIB, 0)
    assert not database.is_synchronised
    assert names(database) == ["r1"]
    database.expire(TTL_S)
    assert names(database) == []


def test_it_is_whole_only_once_it_was_told_everything_and_nothing_ran_out():
    database = LinkStateDatabase(TTL_S)
    database.session_up(0)
    database.apply(told(R1, R2), 0)
    assert not database.is_whole
    database.apply(END_OF_RIB, 1)
    assert database.is_whole
    database.session_down(2)
    assert database.is_whole
    database.session_up(200)
    database.apply(told(R1), 201)
    database.session_down(202)
    database.expire(2 + TTL_S)  # R2 runs out: R1 alone is not what the speaker sees
    assert names(database) == ["r1"]
    assert not database.is_whole


def test_what_is_measured_changes_the_topology_but_not_its_structure():
    database = connected(R1, R2, *CABLE)
    structure = database.structure
    slower = replace(CABLE[0], attributes=replace(CABLE[0].attributes, delay_us=900, available_mbps=1.0, loss=0.1))
    assert database.apply(told(slower), 1)
    assert database.topology().links[0].delay_us == 900.0
    assert database.structure == structure
    database.apply(told(half(1, 2, 1, igp_metric=20)), 2)
    assert database.structure > structure


class Lives(RuleBasedStateMachine):
    """Any order of events, against a model that keeps for each object when it was told and since when it is stale."""

    objects = (R1, R2, R3, *CABLE)

    def __init__(self):
        super().__init__()
        self.database = LinkStateDatabase(10.0)
        self.now = 0.0
        self.is_up = False
        self.model = {}  # object -> None (fresh) or since when it is stale

    @rule(seconds=st.floats(0, 8))
    def wait(self, seconds):
        self.now += seconds
        self.database.expire(self.now)
        self.model = {key: since for key, since in self.model.items() if since is None or self.now - since < 10.0}

    @rule()
    def up(self):
        self.database.session_up(self.now)
        self.is_up = True
        self.model = {key: self.now if since is None else since for key, since in self.model.items()}

    @precondition(lambda self: self.is_up)
    @rule()
    def down(self):
        self.database.session_down(self.now)
        self.is_up = False
        self.model = {key: self.now if since is None else since for key, since in self.model.items()}

    @precondition(lambda self: self.is_up)
    @rule(each=st.sampled_from(objects))
    def tell(self, each):
        self.database.apply(told(each), self.now)
        self.model[each.key] = None

    @precondition(lambda self: self.is_up)
    @rule(each=st.sampled_from(objects))
    def withdraw(self, each):
        assert self.database.apply(withdrawn(each), self.now) is (each.key in self.model)
        self.model.pop(each.key, None)

    @precondition(lambda self: self.is_up)
    @rule()
    def end_of_rib(self):
        self.database.apply(END_OF_RIB, self.now)
        self.model = {key: since for key, since in self.model.items() if since is None}

    @invariant()
    def the_same_objects_are_there(self):
        assert set(self.database._objects) == set(self.model)
        assert self.database._stale_since == {key: since for key, since in self.model.items() if since is not None}

    @invariant()
    def the_topology_is_of_these_objects(self):
        routers = {name for name, told_ in (("r1", R1), ("r2", R2), ("r3", R3)) if told_.key in self.model}
        topology = self.database.topology()
        assert {each.name for each in topology.nodes} == routers
        assert len(topology.links) == 2 * ({R1.key, R2.key, CABLE[0].key, CABLE[1].key} <= set(self.model))


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
