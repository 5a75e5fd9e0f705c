"""Lengths of time in words, the same wherever a time is told: before a run, while it goes, and of what is left."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def roughly(seconds: float) -> str:
    """A time in words: `less than a minute`, `about 5 min`, `about 8 h`, `about 3 days`.

    Args:
        seconds: How long; minutes are told up to 90, hours up to 48.
    """
    if seconds < MINUTE:
        return "less than a minute"
    if seconds < 1.5 * HOUR:
        return f"about {seconds / MINUTE:.0f} min"
    return f"about {seconds / HOUR:.0f} h" if seconds < 2 * DAY else f"about {seconds / DAY:.0f} days"
