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
    Each part is held against its own record as the average is, and the finding is what the worst of them is. On other
    prompts the average is tested at half of the level and each of the k parts on other prompts at 1 / (2 k) of it
    (Bonferroni), that each is equivalent at the level itself (intersection-union). The numbers stay the average's.

Other models (the weights of a recorded model are those of no model of the run):
    Over random training seeds both runs' models are samples of the same training, and the estimates are compared as
    those of other prompts, with errors over prompts and seeds; where the prompts are the same, what they share makes
    the interval too wide. With fixed seeds the findings are about these models: nothing is known of how much other
    seeds would differ, the comparison is as above, and it says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from stats.baseline import Baseline, Recorded, RecordedPart
from stats.held_estimates import Held, Outcome, Samples, held, testable

BAD: tuple[Outcome, ...] = ("regressed", "missing", "redefined")
"""The outcomes that a gate does not let through."""
DEFINITION = ("measure", "estimand", "test", "alternative", "margin", "null", "confidence")
"""Fields without which two estimates can't be compared."""
NUMBERS = ("estimate", "se", "df", "low", "high")
SEVERITY: tuple[Outcome, ...] = ("unchanged", "equivalent", "consistent", "undecided", "regressed")


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
    runs = _Runs(baseline, run, other_models(baseline, run), tolerance)
    compared = [
        _compare(before[name], found, runs)
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


def _same_prompts(baseline: Baseline, run: Baseline, recorded: Recorded, found: Recorded) -> bool:
    digests = [(baseline.prompts.get(task), run.prompts.get(task)) for task in found.tasks]
    if not digests or any(None in pair for pair in digests):
        return recorded.seed == found.seed
    return recorded.tasks == found.tasks and all(before == after for before, after in digests)


@dataclass(frozen=True, slots=True)
class _Runs:
    """What a finding and its parts are compared with.

    Attributes:
        others: The recorded models that are not among those of the run.
        tolerance: The one given, or None.
    """

    baseline: Baseline
    run: Baseline
    others: tuple[str, ...]
    tolerance: float | None

    def samples(self, recorded: Recorded, found: Recorded) -> Samples:
        """What two estimates have in common."""
        random = self.baseline.random_seeds and self.run.random_seeds
        return Samples(_same_prompts(self.baseline, self.run, recorded, found), self.others, random)


def _compare(recorded: Recorded, found: Recorded, runs: _Runs) -> Comparison:
    samples = runs.samples(recorded, found)

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
        lacking = _lacking(recorded, found)
        return outcome(lacking.outcome, *filter(None, [lacking.reason]))
    parts = _Parts.of(recorded, found, runs)
    whole = held(recorded, found, samples, runs.tolerance, share=parts.share_of_the_average)
    facts = {"difference": found.estimate - recorded.estimate, **_facts(whole)}
    flipped = recorded.verdict != found.verdict
    each = parts.held()
    if _equal(recorded, found) and not flipped and all(one.outcome == "unchanged" for one in each):
        return outcome("unchanged", *parts.unguarded, **facts)
    judged = max((whole.outcome, *(one.outcome for one in each)), key=SEVERITY.index)
    flip = f"the verdict was {recorded.verdict} and is {found.verdict}" if flipped else ""
    reasons = (flip, whole.reason, *(one.reason for one in each), *parts.unguarded, samples.untold)
    return outcome(judged, *filter(None, reasons), **facts)


def _lacking(recorded: Recorded, found: Recorded) -> Held:
    """What comes of two of which one at least has no estimate."""
    lost = (recorded.estimate is None) != (found.estimate is None)
    return Held("regressed", "one of the two has no estimate") if lost else Held("unchanged")


def _equal(recorded: Recorded, found: Recorded) -> bool:
    return all(getattr(recorded, name) == getattr(found, name) for name in NUMBERS)


def _facts(one: Held) -> dict[str, float | str | None]:
    return {"low": one.low, "high": one.high, "tolerance": one.tolerance, "basis": one.basis}


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a claim that is made of each task or regime: in both records, each as a finding of its own.

    Attributes:
        recorded: The whole, as it was; `found` as it is.
        pairs: Level -> the part that was recorded, what it is now, and what the two have in common.
        given: The tolerance.
        tested: How many are samples of their own whose difference can be tested.
    """

    recorded: Recorded
    found: Recorded
    pairs: Mapping[str, tuple[Recorded, Recorded | None, Samples]]
    given: float | None
    tested: int

    @classmethod
    def of(cls, recorded: Recorded, found: Recorded, runs: _Runs) -> _Parts:
        pairs: dict[str, tuple[Recorded, Recorded | None, Samples]] = {}
        now = {part.level: _alone(found, part) for part in found.parts}
        for part in recorded.parts if now else ():
            before, after = _alone(recorded, part), now.get(part.level)
            pairs[part.level] = (before, after, runs.samples(before, after or before))
        tested = sum(
            after is not None and not samples.exact and testable(before, after)
            for before, after, samples in pairs.values()
        )
        return cls(recorded, found, pairs, runs.tolerance, tested)

    @property
    def share_of_the_average(self) -> float:
        return 0.5 if self.tested else 1.0

    def held(self) -> tuple[Held, ...]:
        """What came of each."""
        return tuple(self._held(level, *pair) for level, pair in self.pairs.items())

    def _held(self, level: str, recorded: Recorded, found: Recorded | None, samples: Samples) -> Held:
        if found is None:
            return Held("regressed", f"{level}: it is not among the parts any more")
        if recorded.estimate is None or found.estimate is None:
            one = _lacking(recorded, found)
        elif _equal(recorded, found):
            one = Held("unchanged")
        else:
            low, high = self.recorded.low, self.recorded.high
            width = 0.0 if low is None or high is None else (high - low) / 2
            one = held(recorded, found, samples, self.given, share=0.5 / max(1, self.tested), width=width)
        return replace(one, reason=f"{level}: {one.reason}") if one.reason else one

    @property
    def unguarded(self) -> tuple[str, ...]:
        """What can't be held against anything, in words."""
        if self.found.parts and not self.recorded.parts:
            return ("its parts are not in the baseline, so they can move unseen: --update records them",)
        if self.recorded.parts and not self.found.parts:
            return ("an earlier version analysed the run, without its parts: `mechshift analyze RUN` adds them",)
        new = [part.level for part in self.found.parts if part.level not in self.pairs]
        return tuple(f"{level}: the baseline has no such part" for level in new)


def _alone(finding: Recorded, part: RecordedPart) -> Recorded:
    """A part as a finding of its own."""
    numbers = {name: getattr(part, name) for name in NUMBERS}
    return replace(finding, **numbers, tasks=part.tasks, parts=())
