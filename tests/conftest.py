"""Data that is not part of the repository: tests that want it skip, and say so, where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "data"  # beside the checkout


@pytest.fixture(scope="session")
def captures():
    """Folder of captured flow export packets."""
    folder = Path(os.environ.get("NETO_DATA", BESIDE)) / "netflow"
    if not folder.is_dir():
        pytest.skip(f"no captures in {folder}; NETO_DATA says where data is")
    return folder
