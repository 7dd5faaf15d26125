"""Kernels are compiled before anything is asked of them: what that takes would count as an exporter's doing."""

from __future__ import annotations

import pytest

from neto.agents.monitoring.intake import warm


@pytest.fixture(scope="session", autouse=True)
def _compiled():
    warm()
