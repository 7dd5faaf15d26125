"""One file per router dialect: what is said to a router, and what it says back."""

from __future__ import annotations

import pkgutil

NOT_DIALECTS = frozenset({"base"})


def names() -> list[str]:
    """List the dialects there are: one module each, besides what they share."""
    return [module.name for module in pkgutil.iter_modules(__path__) if module.name not in NOT_DIALECTS]
