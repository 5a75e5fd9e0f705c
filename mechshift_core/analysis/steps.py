"""How far the statistics have come."""

from __future__ import annotations

from mechshift_core.progress import Progress


class Steps:
    """Counts the steps of the statistics and tells what each is.

    Args:
        progress: Called with (what is being computed, steps done, steps in all); None tells nobody.
        total: Steps in all.
    """

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def begin(self, what: str) -> None:
        """A step begins; the one before it is done."""
        if self._progress is not None:
            self._progress(f"statistics: {what}", min(self._done, self._total), self._total)
        self._done += 1
