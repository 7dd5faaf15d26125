"""The short form of the benchmark: few packets, no peers, the same account."""

from __future__ import annotations

from contextlib import closing
from functools import partial

import pytest

from .account import check
from .mixed import mixed
from .packets import uniform
from .receivers import Ours
from .sender import Sender
from .table import table

STREAMS = {"v5": partial(uniform, 5), "v9": partial(uniform, 9), "ipfix": partial(uniform, 10), "mixed": mixed}


@pytest.mark.parametrize("kind", STREAMS)
def test_octets_sent_are_octets_in_the_matrix_and_beside_it(tmp_path, kind):
    prefixes = table(500, 100)
    ours = Ours(prefixes.save(tmp_path / "table.npz"))
    with closing(ours.listening()) as receiver, closing(Sender(STREAMS[kind](prefixes, 5_000), ours.port)) as sender:
        receiver.preambles += sender.preamble()
        for _ in range(2):
            receiver.burst(sender, 150)
        receiver.drained()
        check(receiver)
