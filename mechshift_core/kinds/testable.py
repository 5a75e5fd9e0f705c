"""What a hypothesis can name: one number of each pair and task, with the words for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mechshift_core.minimums import MINIMUM_CLUSTERS
from mechshift_core.registry import NAME

if TYPE_CHECKING:
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.hypotheses import Hypothesis
    from mechshift_core.spec.translate import Complaint
    from mechshift_core.spec.tree import Path


def nothing_wrong(*_: object) -> Iterator[Complaint]:
    """The check of what has none."""
    return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Testable:
    """A number of each pair and task that hypotheses can name as their `measure`.

    Attributes:
        name: What a spec says.
        words: What a report calls it, a noun without an article: "depth slope".
        estimand: What it is, for findings: "slope over depth of the after-minus-before shift of attribution shares";
            `{index}` stands for the index that the spec declares of its measure.
        reading: What its values mean, in a clause: "negative: attribution moves to earlier layers".
        scale: Unit and range of an estimate on one pair and task: "shift of a share; -1 to 1".
        lower: What a lower value says, in a few words that can stand alone: "earlier layers"; `higher`, a higher one.
        between: Whether it is of a pair as it is and no shift: zero is nothing in common, not nothing changed.
        distance: Whether it is how far the two models are apart, never below 0: of three models in a row, two distances
            do not say the third, as two shifts do.
        ceiling: Its value for two models that are alike (`to: ceiling`); None where it has none.
        from_chance: Whether its zero is a chance level that unrelated models need not have.
        unrelated: Whether it is measured of unrelated pairs too.
        per_prompt: Whether it is a mean of one value for each prompt, so that `statistics.location` concerns it.
        fewest: Selected prompts below which it has no interval and no test.
        choices: The fields of `sensitivity` that can change it, besides those that can change everything.
        noisy: Index that noise alone moves -> the index that hypotheses are tested with in its place.
        indices: Index that a spec can declare -> what it is in words, for `estimand`.
        derived: Whether it is computed of the measures of all pairs together.
        counted_from: Role of the pairs from whose level each value is counted; empty where from none.
        of_mass: Whether it is of shares of the attribution in edges, or in components: ranks of edges have none.
        truth: Its value where nothing differs between the models, for calibration; None where that is not known.
        noisier: Its value where both models have the same mean scores and one is noisier; None where it is not known.
        similar: Its value where the two models' mean scores have a similarity, and those of unrelated models another
            one; None where it is not known.
        checks: Why a hypothesis on it can have no value, given the path of its `measure`.
    """

    name: str
    words: str
    estimand: str
    reading: str
    scale: str
    lower: str = "lower"
    higher: str = "higher"
    between: bool = False
    distance: bool = False
    ceiling: float | None = None
    from_chance: bool = False
    unrelated: bool = False
    per_prompt: bool = False
    fewest: int = MINIMUM_CLUSTERS
    choices: frozenset[str] = frozenset()
    noisy: Mapping[str, str] = field(default_factory=dict)
    indices: Mapping[str, str] = field(default_factory=dict)
    derived: bool = False
    counted_from: str = ""
    of_mass: bool = False
    truth: float | None = None
    noisier: float | None = None
    similar: Callable[[float, float], float] | None = None
    checks: Callable[[Draft, Hypothesis, Path], Iterator[Complaint]] = nothing_wrong

    __test__ = False  # no test case of pytest

    @property
    def faults(self) -> Iterator[str]:
        """What is inconsistent about it."""
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            yield f"expected a name of lower-case letters, digits and '_' that begins with a letter, got {self.name!r}"
        try:
            self.estimand.format(index="")
        except (LookupError, ValueError, AttributeError) as error:
            yield f"`estimand` of {self.name!r} has braces other than {{index}} ({type(error).__name__}: {error})"
        for key in ("name", "words", "estimand", "reading", "scale"):
            if not getattr(self, key):
                yield f"`{key}` of a measure that hypotheses can name is empty"
        if self.per_prompt and self.between:
            yield f"{self.name!r} is of one value for each prompt and so a shift, but says `between`"


@dataclass(frozen=True, slots=True)
class Least:
    """The least number of selected prompts, and what they are needed for."""

    prompts: int
    why: str


ONE = Least(1, "for a mean")
