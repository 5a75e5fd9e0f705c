"""The account of a task's prompts: how many there are, how many can be used, and why others can't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mechshift_core.tasks.encoding import UNKNOWN_WORD
from mechshift_core.tasks.unknown import told

LISTED = 5
"""Line numbers that are listed for each reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptAccount:
    """How many prompts of a task were asked for, looked at, aligned and read.

    Attributes:
        task: Name of the task.
        asked: Prompts that the spec asks for: `examples`, or every line of a data set.
        found: Pairs that were looked at: the lines of a data set, or the draws of a generated task.
        aligned: Pairs of them that can be used: tokenised with equal lengths, each clean prompt once.
        read: Aligned ones that models are run on, the others were not drawn.
        dropped: Reason -> number of pairs that are not aligned; `found - aligned` in all.
        lines: Reason -> numbers of the first such lines of a data set.
        generated: Whether the task is generated; else it is a data set.
        unknown: Words of dropped pairs that are not in the vocabulary, each with the known one that comes closest.
        words: The bank that a generated task drew from; None where it has a single one.
        templates: Templates among the prompts that are read.
    """

    task: str
    asked: int
    found: int
    aligned: int
    read: int
    dropped: Mapping[str, int]
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    generated: bool = True
    words: str | None = None
    templates: int = 0

    def __str__(self) -> str:
        """E.g. `38 of 40 aligned (2 x a word is not in the vocabulary, lines 3, 7: 'Kim', 'Ann')`, `200 of 300 drawn`.

        Of a task with several banks also which one it drew from: `200 of 200 aligned; natural words, 24 templates`.
        """
        if self.words is None:
            return self._counts()
        return f"{self._counts()}; {self.words} words, {self.templates} template{'s' if self.templates != 1 else ''}"

    def _counts(self) -> str:
        reasons = "; ".join(
            f"{count} x {reason}{self._where(reason)}{self._which(reason)}" for reason, count in self.dropped.items()
        )
        why = f" ({reasons})" if reasons else ""
        if self.read < self.aligned:
            origin = f", from {self.aligned} aligned{why}" if why else ""
            return f"{self.read} of {self.found} drawn{origin}"
        short = f"; {self.asked} asked for" if self.asked > self.found else ""
        return f"{self.aligned} of {self.found} aligned{why}{short}"

    def to_json(self) -> dict[str, object]:
        """The account as plain values; `lines` is null where the task is generated."""
        return {
            "task": self.task,
            "asked": self.asked,
            "found": self.found,
            "aligned": self.aligned,
            "read": self.read,
            "words": self.words,
            "templates": self.templates,
            "dropped": [
                {"reason": reason, "count": count, "lines": None if self.generated else [*self.lines.get(reason, ())]}
                | ({"unknown": dict(self.unknown)} if self._which(reason) else {})
                for reason, count in self.dropped.items()
            ],
        }

    def _which(self, reason: str) -> str:
        return f": {told(self.unknown)}" if reason == UNKNOWN_WORD and self.unknown else ""

    def _where(self, reason: str) -> str:
        numbers = self.lines.get(reason, ())
        if not numbers:
            return ""
        more = ", ..." if self.dropped[reason] > LISTED else ""
        return f", line{'s' if self.dropped[reason] > 1 else ''} {', '.join(map(str, numbers[:LISTED]))}{more}"
