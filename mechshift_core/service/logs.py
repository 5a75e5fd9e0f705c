"""Logs of jobs, part by part."""

from __future__ import annotations

from dataclasses import dataclass

from mechshift_core.service.jobs import Attempt, Job

MOST = 256 * 1024
"""Bytes that one answer holds."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a log.

    Attributes:
        text: What it says; bytes that are no UTF-8 are replaced.
        next: Where the part behind it begins, in bytes.
        attempt: Of which attempt it is; 0 before there is one.
    """

    text: str
    next: int
    attempt: int


def read_log(job: Job, *, offset: int = 0, attempt: int | None = None) -> Part:
    """A part of the log of an attempt, from a byte on; it ends with a whole line where it can.

    Args:
        job: Whose.
        offset: Where the part begins.
        attempt: Its number; the last one unless given.
    """
    last = job.attempt()
    found = last if attempt is None else Attempt(job.folder / "attempts" / str(attempt))
    if found is None:
        return Part("", 0, 0)
    try:
        with found.log.open("rb") as handle:
            handle.seek(offset)
            content = handle.read(MOST)
    except (OSError, OverflowError):
        return Part("", offset, found.number)
    if len(content) == MOST and b"\n" in content:
        content = content[: content.rindex(b"\n") + 1]
    content = _whole(content)
    return Part(content.decode("utf-8", errors="replace"), offset + len(content), found.number)


def _whole(content: bytes) -> bytes:
    """Without the first bytes of a character whose last ones are still to come."""
    for cut in range(1, min(4, len(content))):
        first = content[-cut]
        if first >= 0xC0:
            wanted = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            return content[:-cut] if cut < wanted else content
        if first < 0x80:
            break
    return content
