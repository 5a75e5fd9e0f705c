"""Whether a run still finds what a baseline recorded.

A finding has regressed when its status is another one, when it is no longer there or defined otherwise, or when its
estimate is not equivalent to the recorded one. A verdict that is another one while the estimate is the same is no
evidence of a change: an effect of two standard errors is significant on every second sample. It is among the reasons,
and the outcome is that of the estimate. What equivalent means depends on the prompts:

Same prompts (the digests of the finding's tasks agree; without digests, the seeds do):
    Both estimates share their sampling error, so their difference has none, and it is held against the tolerance
    itself. The tolerance is, in this order: the one given; the test's declared margin; half the width of the recorded
    interval. Equal numbers pass whatever the tolerance.

Other prompts:
    The estimates are independent, the difference d has se = sqrt(se_1^2 + se_2^2) and Welch-Satterthwaite degrees of
    freedom. With a given tolerance or a declared margin, two one-sided tests decide: `equivalent` where they show it,
    `regressed` where the whole interval of d lies outside, `undecided` between. Without one, only a difference beyond
    sampling error (two-sided t-test at the finding's level) is a regression; otherwise the findings are `consistent`,
    which is less than equivalent. About 1 - confidence of unchanged findings fail by chance then.

Parts (a claim that is made of every task or regime):
    Each of the k parts is held against its own record as the average is, and the finding is what the worst of them is.
    On other prompts, that one has regressed is tested at 1 / (k + 1) of the level (Bonferroni, the average is one of
    them), that each is equivalent at the level itself (intersection-union). The numbers stay those of the average.

Other models (the weights of a recorded model are those of no model of the run):
    Over random training seeds both runs' models are samples of the same training, and the estimates are compared as
    those of other prompts, with errors over prompts and seeds; where the prompts are the same, what they share makes
    the interval too wide. With fixed seeds the findings are about these models: nothing is known of how much other
    seeds would differ, the comparison is as above, and it says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from stats.baseline import Baseline, Recorded, RecordedPart
from stats.estimate_differences import difference_of, error_of_difference
from stats.hypothesis_tests import difference_test, tost
from stats.verdicts import claim_verdict

Outcome = Literal[
    "unchanged", "equivalent", "consistent", "undecided", "new", "regressed", "missing", "redefined",
]  # fmt: skip
BAD: tuple[Outcome, ...] = ("regressed", "missing", "redefined")
"""The outcomes that a gate does not let through."""
DEFINITION = ("measure", "estimand", "test", "alternative", "margin", "null", "confidence")
"""Fields without which two estimates can't be compared."""
NUMBERS = ("estimate", "se", "df", "low", "high")
_SEVERITY: tuple[Outcome, ...] = ("unchanged", "equivalent", "consistent", "undecided", "regressed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A finding of a run beside its record.

    Attributes:
        recorded: What the baseline has; None if the finding is new.
        found: What the run has; None if it is missing.
        outcome: What came of it.
        difference: Found minus recorded estimate; None where one of them has none, or they can't be compared.
        low: Lower end of the interval of the difference (`high`: upper end); None where the prompts are the same.
        tolerance: What the difference is held against, in the measure's units; `basis` says where it comes from.
        same_prompts: Whether both estimates are of the same prompts.
        same_models: Whether they are of the same models, as far as that is known.
        reasons: Why it has regressed or is undecided, and a verdict that is another one, in words.
    """

    id: str
    recorded: Recorded | None
    found: Recorded | None
    outcome: Outcome
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    tolerance: float | None = None
    basis: str = ""
    same_prompts: bool = True
    same_models: bool = True
    reasons: tuple[str, ...] = ()

    @property
    def decided(self) -> bool:
        """Whether a conclusion was recorded and still stands."""
        concluded = self.found is not None and self.found.verdict in ("supported", "refuted")
        return concluded and self.outcome in ("unchanged", "equivalent", "consistent")


def compare_findings(baseline: Baseline, run: Baseline, *, tolerance: float | None = None) -> tuple[Comparison, ...]:
    """Every finding of a run beside its record, in the order of the run; then what the run has no more.

    Args:
        baseline: What was recorded.
        run: The record of the new run.
        tolerance: Largest difference that counts as none, > 0, in place of declared margins; in each measure's units.

    Raises:
        ValueError: if the tolerance is not a number > 0.
    """
    if tolerance is not None and not (tolerance > 0 and math.isfinite(tolerance)):
        raise ValueError(f"tolerance: expected a number > 0, got {tolerance}")
    before = {finding.id: finding for finding in baseline.findings}
    after = {finding.id: finding for finding in run.findings}
    others = other_models(baseline, run)
    compared = [
        _compare(before[name], found, _Samples.of(baseline, run, before[name], found, others), tolerance)
        if name in before
        else Comparison(
            id=name, recorded=None, found=found, outcome="new", reasons=("the baseline has no such finding",)
        )
        for name, found in after.items()
    ]
    return (
        *compared,
        *(
            Comparison(
                id=name, recorded=recorded, found=None, outcome="missing", reasons=("the run has no such finding",)
            )
            for name, recorded in before.items()
            if name not in after
        ),
    )


def other_models(baseline: Baseline, run: Baseline) -> tuple[str, ...]:
    """The recorded models whose weights are those of no model of the run; none where weights are not known."""
    if not run.models:
        return ()
    present = set(run.models.values())
    return tuple(name for name, digest in baseline.models.items() if digest not in present)


@dataclass(frozen=True, slots=True)
class _Samples:
    """What two estimates have in common.

    Attributes:
        prompts: Whether the prompts are the same.
        others: The recorded models that are not among those of the run.
        random: Whether both are about training seeds beyond their own.
    """

    prompts: bool
    others: tuple[str, ...]
    random: bool

    @classmethod
    def of(
        cls, baseline: Baseline, run: Baseline, recorded: Recorded, found: Recorded, others: tuple[str, ...]
    ) -> _Samples:
        random = baseline.random_seeds and run.random_seeds
        return cls(_same_prompts(baseline, run, recorded, found), others, random)

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


def _same_prompts(baseline: Baseline, run: Baseline, recorded: Recorded, found: Recorded) -> bool:
    digests = [(baseline.prompts.get(task), run.prompts.get(task)) for task in found.tasks]
    if not digests or any(None in pair for pair in digests):
        return recorded.seed == found.seed
    return recorded.tasks == found.tasks and all(before == after for before, after in digests)


def _compare(recorded: Recorded, found: Recorded, samples: _Samples, given: float | None) -> Comparison:
    def outcome(which: Outcome, *reasons: str, **facts: float | str | None) -> Comparison:
        return Comparison(
            id=found.id,
            recorded=recorded,
            found=found,
            outcome=which,
            same_prompts=samples.prompts,
            same_models=not samples.others,
            reasons=reasons,
            **facts,  # type: ignore[arg-type]
        )

    redefined = [
        f"{name.replace('_', ' ')} was {getattr(recorded, name)!r} and is {getattr(found, name)!r}"
        for name in DEFINITION
        if getattr(recorded, name) != getattr(found, name)
    ]
    if redefined:
        return outcome("redefined", *redefined)
    if recorded.status != found.status:
        return outcome("regressed", f"the status was {recorded.status} and is {found.status}")
    if recorded.estimate is None or found.estimate is None:
        lost = (recorded.estimate is None) != (found.estimate is None)
        return outcome("regressed", "one of the two has no estimate") if lost else outcome("unchanged")
    difference = found.estimate - recorded.estimate
    members = len(recorded.parts) + 1 if recorded.parts else 1
    judged, reason, facts = _held(recorded, found, samples, given, members)
    flipped = recorded.verdict != found.verdict
    parts = _parts(recorded, found, samples, given, members)
    same = all(getattr(recorded, name) == getattr(found, name) for name in NUMBERS)
    if same and not flipped and all(one == "unchanged" for one, _ in parts):
        return outcome("unchanged", difference=difference, **facts)
    judged = max((judged, *(one for one, _ in parts)), key=_SEVERITY.index)
    flip = f"the verdict was {recorded.verdict} and is {found.verdict}" if flipped else ""
    reasons = (flip, reason, *(said for _, said in parts), samples.untold)
    return outcome(judged, *filter(None, reasons), difference=difference, **facts)


def _parts(
    recorded: Recorded, found: Recorded, samples: _Samples, given: float | None, members: int
) -> list[tuple[Outcome, str]]:
    """What came of each part that was recorded, and why; nothing where none was."""
    now = {part.level: _alone(found, part) for part in found.parts}
    return [
        _part(_alone(recorded, part), now.get(part.level), part.level, samples, given, members)
        for part in recorded.parts
    ]


def _part(
    recorded: Recorded, found: Recorded | None, level: str, samples: _Samples, given: float | None, members: int
) -> tuple[Outcome, str]:
    if found is None:
        return "regressed", f"{level}: it is not among the parts any more"
    if recorded.estimate is None or found.estimate is None:
        lost = (recorded.estimate is None) != (found.estimate is None)
        return ("regressed", f"{level}: one of the two has no estimate") if lost else ("unchanged", "")
    if all(getattr(recorded, name) == getattr(found, name) for name in NUMBERS):
        return "unchanged", ""
    judged, reason, _ = _held(recorded, found, samples, given, members)
    return judged, f"{level}: {reason}" if reason else ""


def _alone(finding: Recorded, part: RecordedPart) -> Recorded:
    """A part as a finding of its own."""
    numbers = {name: getattr(part, name) for name in NUMBERS}
    return replace(finding, **numbers, parts=())


_Judged = tuple[Outcome, str, dict[str, float | str | None]]


def _held(recorded: Recorded, found: Recorded, samples: _Samples, given: float | None, members: int) -> _Judged:
    """An estimate held against its record, as one of several that each can fail the finding; both have one."""
    assert recorded.estimate is not None and found.estimate is not None
    difference = found.estimate - recorded.estimate
    if samples.exact:
        return _exactly(recorded, found, difference, given)
    judged, reason, facts = _as_samples(recorded, found, difference, given, samples.words)
    if judged != "regressed" or members == 1:
        return judged, reason, facts
    stricter = replace(found, confidence=1 - (1 - found.confidence) / members)
    judged, reason, _ = _as_samples(recorded, stricter, difference, given, samples.words)
    return judged, reason, facts


def _exactly(recorded: Recorded, found: Recorded, difference: float, given: float | None) -> _Judged:
    tolerance, basis = _tolerance(recorded, given)
    if tolerance is None and recorded.low is not None and recorded.high is not None:
        tolerance, basis = (recorded.high - recorded.low) / 2, "half of the recorded interval"
    facts: dict[str, float | str | None] = {"tolerance": tolerance, "basis": basis}
    if tolerance is None:
        return "undecided", "there is neither a margin nor an interval to hold the difference against", facts
    if abs(difference) <= tolerance * (1 + 1e-9):
        return "equivalent", "", facts
    return "regressed", f"it differs by {difference:+.3g}, more than {tolerance:.3g} ({basis})", facts


def _as_samples(recorded: Recorded, found: Recorded, difference: float, given: float | None, words: str) -> _Judged:
    tolerance, basis = _tolerance(recorded, given)
    error = error_of_difference(recorded, found)
    interval = difference_of(recorded, found, confidence=found.confidence)
    if error is None or interval is None:
        facts: dict[str, float | str | None] = {"tolerance": tolerance, "basis": basis}
        lacking = "a standard error" if error is None else "an interval"
        return "undecided", f"{words.partition(' ')[2]}, and {lacking} is lacking", facts
    (se, df), alpha = error, 1 - found.confidence
    ends = {"low": interval.low, "high": interval.high}
    if tolerance is None:
        test = difference_test(difference, se, df, confidence=found.confidence)
        assert test.p is not None
        basis = "sampling error of the difference"
        facts = {**ends, "tolerance": interval.high - difference, "basis": basis}
        if test.p < alpha:
            return "regressed", f"it differs by {difference:+.3g} {words}, p = {test.p:.3g}", facts
        return "consistent", "", facts
    test = tost(difference, se, df, margin=tolerance, confidence=found.confidence)
    facts = {**ends, "tolerance": tolerance, "basis": basis}
    verdict = claim_verdict(p=test.p, p_opposite=test.p_opposite, alpha=alpha)
    if verdict == "supported":
        return "equivalent", "", facts
    within = f"within ±{tolerance:.3g} ({basis}) {words}"
    if verdict == "refuted":
        return "regressed", f"it differs by {difference:+.3g}, not {within}", facts
    return "undecided", f"whether it is the same {within} can't be told", facts


def _tolerance(recorded: Recorded, given: float | None) -> tuple[float | None, str]:
    if given is not None:
        return given, "given tolerance"
    return (None, "") if recorded.margin is None else (recorded.margin, "declared margin")
