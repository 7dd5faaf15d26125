"""Compile a numerical kernel on first use; later processes find the machine code beside the source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

Whole = int | np.int64  # what kernels count with
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """Compile `kernel` with numba; it runs without the GIL, so the event loop goes on meanwhile."""
    return cast("Kernel", numba.njit(cache=True, nogil=True)(kernel))


def _eight_octets(_context: Any, octets: Any, _at: Any) -> Any:
    """Say how the eight octets from a place on are loaded as one number, the first the most significant.

    For kernels only: (n,) uint8 and the place, and nothing is checked. numpy has no load that is not aligned.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)
        return builder.bswap(word)

    return types.uint64(octets, types.int64), generate


eight_octets = cast("Callable[[npt.NDArray[np.uint8], Whole], np.uint64]", intrinsic(_eight_octets))
