"""Compiled kernels are kept beside the source, and what is kept there is never a reason not to start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """
from neto.jit import compiled

@compiled
def double(number):
    return 2 * number

assert double(21) == 42
print(sum(double.stats.cache_hits.values()))
"""


@pytest.fixture
def hits(tmp_path):
    file = tmp_path / "kernel.py"
    file.write_text(KERNEL)

    def run() -> int:
        """How many kernels another process found compiled."""
        told = subprocess.run([sys.executable, file], capture_output=True, text=True, check=True, cwd=Path.cwd())
        return int(told.stdout)

    return run


def test_a_kernel_is_compiled_once(hits):
    assert (hits(), hits()) == (0, 1)


@pytest.mark.parametrize("kept", ["*.nbi", "*.nbc"])
def test_what_is_kept_and_cannot_be_read_is_compiled_anew(hits, tmp_path, kept):
    hits()
    for file in (tmp_path / "__pycache__").glob(kept):
        file.write_bytes(b"\x80\x05cno.such.module\nName\n." + file.read_bytes()[:20])
    assert (hits(), hits()) == (0, 1)
