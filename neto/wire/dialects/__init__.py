"""One file per router dialect: what is said to a router, and what it says back.

A file here that defines `DIALECT` is a dialect under the file's name; nothing else registers it.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from neto.wire.dialects.base import Dialect


@cache
def names() -> tuple[str, ...]:
    """Dialects that a router can have in the inventory."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "base"))


@cache
def dialect(name: str) -> Dialect:
    """Return the dialect of this name.

    Raises KeyError when there is none.
    """
    if name not in names():
        raise KeyError(name)
    found: Dialect = import_module(f"{__name__}.{name}").DIALECT
    return found
