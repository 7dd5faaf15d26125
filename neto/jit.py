"""Compile a numerical kernel on first use; later processes find the machine code beside the source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """Compile `kernel` with numba; it runs without the GIL, so the event loop goes on meanwhile."""
    return cast("Kernel", numba.njit(cache=True, nogil=True)(kernel))
