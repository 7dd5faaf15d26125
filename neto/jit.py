"""Compile a numerical kernel on first use; later processes find the machine code beside the source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

Whole = int | np.int64  # what kernels count with
nth = np.uint64  # for an index that is not below zero: then a kernel does not ask whether it counts from the end
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """Compile `kernel` with numba; it runs without the GIL, so the event loop goes on meanwhile."""
    dispatcher: Any = numba.njit(nogil=True)(kernel)
    dispatcher._cache = _kept(kernel)  # noqa: SLF001  what `cache=True` does, with its own kind of cache
    return cast("Kernel", dispatcher)


class _Kept(FunctionCache):
    """What is kept beside the source; what cannot be read, as another release may have left it, is compiled anew."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return _load(self, sig, target_context)
        except Exception:  # noqa: BLE001  pickle raises whatever the names that it meets do
            _flush(self)
            return None


_load: Callable[..., Any] = FunctionCache.load_overload  # of a class without types
_flush: Callable[..., None] = FunctionCache.flush
_kept = cast("Callable[[object], _Kept]", _Kept)


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
