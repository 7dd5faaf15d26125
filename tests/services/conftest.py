"""Services that several tests run against."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mosquitto import Mosquitto, needed


@pytest.fixture
def mosquitto(tmp_path):
    """A broker that listens."""
    needed()
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.close()
