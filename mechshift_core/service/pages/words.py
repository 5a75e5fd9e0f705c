"""Times, sizes and states in words."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

STATES = {
    "queued": "waits for its turn",
    "running": "is computed now",
    "cancelling": "is about to end",
    "complete": "has ended, nothing is missing",
    "partial": "has ended, some of it failed",
    "failed": "has failed",
    "cancelled": "was cancelled",
    "died": "its process is gone, and is started again",
    "unfinished": "has not come to an end",
}
"""State -> what it means."""
VERDICTS = ("supported", "refuted", "inconclusive", "not estimable")
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float | None) -> str:
    """E.g. `3 min 20 s`: the two largest units; empty where there is none."""
    if seconds is None:
        return ""
    left = max(0, round(seconds))
    for number, (size, name) in enumerate(_UNITS):
        if left >= size:
            text = f"{left // size} {name}"
            if number + 1 < len(_UNITS) and (rest := left % size // _UNITS[number + 1][0]):
                text += f" {rest} {_UNITS[number + 1][1]}"
            return text
    return "less than 1 s"


def ago(moment: str | None) -> str:
    """How long ago a time was: `5 min ago`; empty where it is not known."""
    found = _read(moment)
    if found is None:
        return ""
    seconds = (datetime.now(UTC) - found).total_seconds()
    if seconds < 5:
        return "just now"
    for size, name in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {name} ago"
    return "just now"


def clock(moment: str | None) -> str:
    """A time as one reads it: `2026-01-31 12:30 UTC`."""
    found = _read(moment)
    return "" if found is None else f"{found:%Y-%m-%d %H:%M} UTC"


def query_of(**values: str | bool | None) -> str:
    """What stands behind the path of an address: `?a=1&b=2`, without what is empty."""
    kept = {name: "1" if value is True else value for name, value in values.items() if value}
    return f"?{urlencode(kept)}" if kept else ""


def plural(count: int, one: str, many: str = "") -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _read(moment: str | None) -> datetime | None:
    if not moment:
        return None
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
