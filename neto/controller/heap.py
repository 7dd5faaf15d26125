"""A binary heap in two arrays, for compiled kernels: least key first."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from neto.jit import compiled


@compiled
def push(keys: NDArray[Any], items: NDArray[Any], size: int, key: float, item: int) -> int:
    """Put an item in; return the new size."""
    slot = size
    while slot > 0:
        parent = (slot - 1) >> 1
        if keys[parent] <= key:
            break
        keys[slot] = keys[parent]
        items[slot] = items[parent]
        slot = parent
    keys[slot] = key
    items[slot] = item
    return size + 1


@compiled
def drop_first(keys: NDArray[Any], items: NDArray[Any], size: int) -> int:
    """Take the first item off; return the new size."""
    size -= 1
    key = keys[size]
    item = items[size]
    slot = 0
    while True:
        child = 2 * slot + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[slot] = keys[child]
        items[slot] = items[child]
        slot = child
    keys[slot] = key
    items[slot] = item
    return size
