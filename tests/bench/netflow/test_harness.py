"""The short form of the benchmark: few packets, no peers, the same account."""

from __future__ import annotations

from contextlib import closing

import pytest

from .account import check
from .packets import uniform
from .receivers import Ours
from .sender import Sender
from .table import table


@pytest.mark.parametrize("version", [5, 9, 10])
def test_octets_sent_are_octets_in_the_matrix_and_beside_it(tmp_path, version):
    prefixes = table(500, 100)
    ours = Ours(prefixes.save(tmp_path / "table.npz"))
    with closing(ours.listening()) as receiver, closing(Sender(uniform(version, prefixes, 5_000), ours.port)) as sender:
        receiver.preambles += sender.preamble()
        for _ in range(2):
            receiver.burst(sender, 150)
        receiver.drained()
        check(receiver)
