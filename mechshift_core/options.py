"""Options of functions, held to their signatures; the same for every package, see :mod:`stats.options`."""

from __future__ import annotations

from stats.options import (
    Count,
    Probability,
    Seed,
    check_option,
    checked,
    checked_as,
    listing,
    suggestion,
)

__all__ = [
    "Count",
    "Probability",
    "Seed",
    "check_option",
    "checked",
    "checked_as",
    "listing",
    "suggestion",
]
