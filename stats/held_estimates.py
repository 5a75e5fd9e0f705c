"""An estimate held against its record: on the same prompts exactly, on others as a sample; see stats.regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stats.baseline import Recorded
from stats.estimate_differences import difference_of, error_of_difference
from stats.hypothesis_tests import difference_test, tost

Outcome = Literal[
    "unchanged", "equivalent", "consistent", "undecided", "new", "regressed", "missing", "redefined",
]  # fmt: skip
ROUNDING = 1e-5
"""Relative difference of two records that is their rounding to six digits."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What two estimates have in common.

    Attributes:
        prompts: Whether the prompts are the same.
        others: The recorded models that are not among those of the run.
        random: Whether both are about training seeds beyond their own.
    """

    prompts: bool
    others: tuple[str, ...]
    random: bool

    @property
    def exact(self) -> bool:
        """Whether the difference has no sampling error, as far as it is known."""
        return self.prompts and not (self.others and self.random)

    @property
    def words(self) -> str:
        """What the two do not share, where they are samples of their own."""
        return "on other prompts" if not self.prompts else "of other models"

    @property
    def untold(self) -> str:
        """That nothing is known of how much models differ; empty where they do not, or it is."""
        if not self.others or self.random:
            return ""
        named = ", ".join(self.others[:3]) + ", ..." * (len(self.others) > 3)
        return f"other weights than recorded ({named}): how much training seeds differ is in no interval"


@dataclass(frozen=True, slots=True)
class Held:
    """What came of an estimate.

    Attributes:
        reason: Why, where it is not equivalent.
        low: Lower end of the interval of the difference (`high`: upper end); None where it has no sampling error.
        tolerance: What the difference is held against; `basis` says where it comes from.
    """

    outcome: Outcome
    reason: str = ""
    tolerance: float | None = None
    basis: str = ""
    low: float | None = None
    high: float | None = None


def held(
    recorded: Recorded,
    found: Recorded,
    samples: Samples,
    given: float | None,
    *,
    share: float = 1.0,
    width: float = 0.0,
) -> Held:
    """Hold an estimate against its record.

    Args:
        recorded: What the baseline has, with an estimate.
        found: The same of the run.
        samples: What the two have in common.
        given: The tolerance; None for the declared margin, or what their errors say.
        share: Of the level, at which a regression is tested: below 1 where several tests can fail a finding.
        width: Half of an interval that stands in where the record's own has none.
    """
    if samples.exact:
        return _exactly(recorded, found, given, width)
    return _as_sample(recorded, found, given, samples.words, share)


def testable(recorded: Recorded, found: Recorded) -> bool:
    """Whether the difference of two samples can be tested."""
    return (
        error_of_difference(recorded, found) is not None
        and difference_of(recorded, found, confidence=found.confidence) is not None
    )


def _difference(recorded: Recorded, found: Recorded) -> float:
    assert recorded.estimate is not None and found.estimate is not None
    return found.estimate - recorded.estimate


def _exactly(recorded: Recorded, found: Recorded, given: float | None, width: float) -> Held:
    difference = _difference(recorded, found)
    tolerance, basis = _tolerance(recorded, given)
    if tolerance is None and recorded.low is not None and recorded.high is not None:
        own = (recorded.high - recorded.low) / 2
        # An interval of no width says that every unit gave the same value, and nothing of how far that may move.
        tolerance, basis = (
            (own, "half of the recorded interval") if own > 0 else (width, "half of the average's interval")
        )
    if not tolerance:
        rounding = abs(difference) <= ROUNDING * abs(recorded.estimate or 0.0)
        reason = "there is neither a margin nor an interval to hold the difference against"
        return Held("equivalent") if rounding else Held("undecided", reason)
    if abs(difference) <= tolerance * (1 + 1e-9):
        return Held("equivalent", "", tolerance, basis)
    reason = f"it differs by {difference:+.3g}, more than {tolerance:.3g} ({basis})"
    return Held("regressed", reason, tolerance, basis)


def _as_sample(recorded: Recorded, found: Recorded, given: float | None, words: str, share: float) -> Held:
    difference = _difference(recorded, found)
    tolerance, basis = _tolerance(recorded, given)
    alpha = 1 - found.confidence
    level = alpha * share
    error = error_of_difference(recorded, found)
    interval = difference_of(recorded, found, confidence=1 - level)
    if error is None or interval is None:
        lacking = "a standard error" if error is None else "an interval"
        return Held("undecided", f"{words.partition(' ')[2]}, and {lacking} is lacking", tolerance, basis)
    (se, df), ends = error, (interval.low, interval.high)
    at = f", at a level of {level:.3g} since each part is tested too" if share < 1 else ""
    if tolerance is None:
        test = difference_test(difference, se, df, confidence=1 - level)
        assert test.p is not None
        basis, tolerance = f"sampling error of the difference{at}", interval.high - difference
        if test.p < level:
            return Held(
                "regressed", f"it differs by {difference:+.3g} {words}, p = {test.p:.3g}{at}", tolerance, basis, *ends
            )
        return Held("consistent", "", tolerance, basis, *ends)
    test = tost(difference, se, df, margin=tolerance, confidence=found.confidence)
    if test.p is not None and test.p < alpha:
        return Held("equivalent", "", tolerance, basis, *ends)
    within = f"within ±{tolerance:.3g} ({basis}) {words}"
    if test.p_opposite is not None and test.p_opposite < level:
        return Held("regressed", f"it differs by {difference:+.3g}, not {within}{at}", tolerance, basis, *ends)
    return Held("undecided", f"whether it is the same {within} can't be told", tolerance, basis, *ends)


def _tolerance(recorded: Recorded, given: float | None) -> tuple[float | None, str]:
    if given is not None:
        return given, "given tolerance"
    return (None, "") if recorded.margin is None else (recorded.margin, "declared margin")
