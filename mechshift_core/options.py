"""Options of functions, held to their signatures; the same for every package, see :mod:`stats.options`."""

from __future__ import annotations

from stats.options import (
    MOST_CANDIDATES,
    Count,
    Seed,
    check_option,
    checked,
    checked_as,
    listing,
    suggestion,
)

__all__ = [
    "MOST_CANDIDATES",
    "Count",
    "Seed",
    "check_option",
    "checked",
    "checked_as",
    "listing",
    "suggestion",
]
