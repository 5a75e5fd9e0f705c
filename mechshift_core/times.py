"""Times as they stand in files and answers: UTC, ISO 8601, `2026-01-31T12:30:00Z`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal


def utc_text(unix: float | None = None, *, precision: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """A time given in seconds since 1970, or that of the call."""
    moment = datetime.now(UTC) if unix is None else datetime.fromtimestamp(unix, UTC)
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")
