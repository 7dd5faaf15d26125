"""How answers are told apart, without a router."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neto.agents.updating.session import Answers

PROMPT = re.compile(r"^nyc1(?:\([\w-]+\))?# ", re.MULTILINE)
PRINTED = "conf t\nnyc1(config)# show x\nnyc1 is up\n# not a prompt\n nyc1# nor this\nnyc1(config)# end\nnyc1# "


@given(st.lists(st.integers(0, len(PRINTED)), max_size=12).map(sorted))
def test_answers_are_the_same_however_the_text_is_cut(cuts):
    answers = Answers(["conf t", "show x", "end"], PROMPT)
    for begins, ends in zip([0, *cuts], [*cuts, len(PRINTED)], strict=True):
        answers.feed(PRINTED[begins:ends])
    assert answers.done
    assert answers.complete == [
        ("conf t", ""),
        ("show x", "nyc1 is up\n# not a prompt\n nyc1# nor this\n"),
        ("end", ""),
    ]


def test_an_echo_that_is_not_what_was_sent_is_an_error():
    answers = Answers(["no segment-list a"], PROMPT)
    with pytest.raises(ValueError, match="the router read 'no segment-list b'"):
        answers.feed("no segment-list b\nnyc1# ")
