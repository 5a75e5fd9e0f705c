"""What of a pair's similarity is inherited: from the level of unrelated models (0) to that of equal ones (1).

    inherited = (s - u) / (1 - u)

with s the similarity of the pair and u the mean over the pairs of role `unrelated` on the same task. Both are of the
same prompts, so replicates are combined one by one; the ratio is linearised at the estimates (delta method):
d inherited = ds / (1 - u) - (1 - s) du / (1 - u)^2.

All pairs of a task are counted from the same u. Where training seeds are random, how much unrelated pairs differ from
each other does not show in how the related ones do: each estimate names what it is counted from. Unrelated pairs that
share a model are not independent: :mod:`stats.over_seeds` makes up for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mechshift_core.analysis.hypotheses import Evidence
from mechshift_core.analysis.measured import Rows, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.kinds.measure import Key
from mechshift_core.spec import PairSpec, Spec
from stats.findings import Estimate
from stats.hypothesis_tests import difference_test
from stats.replicates import Reference, Replicated, linear_contrast
from stats.similarity import CLEARANCE


@dataclass(frozen=True, slots=True)
class Inherited:
    """Of one pair and task: the level of unrelated models, and what is inherited, or why that can't be said."""

    unrelated: float | None
    found: Replicated | None
    message: str = ""


def with_inherited(evidence: Evidence, found: Mapping[Key, Inherited]) -> Evidence:
    """The evidence, with what hypotheses on `inherited` are tested with."""
    added = {("inherited", *key): one.found for key, one in found.items() if one.found is not None}
    lacking = {("inherited", *key): one.message for key, one in found.items() if one.found is None}
    kept = {name: value for name, value in evidence.replicated.items() if name not in lacking}
    return replace(evidence, replicated={**kept, **added}, problems={**evidence.problems, **lacking})


def inherited(evidence: Evidence, spec: Spec) -> dict[Key, Inherited]:
    """What every related pair inherits on every task; nothing where no pair is unrelated."""
    unrelated = [pair for pair in spec.pairs if pair.unrelated]
    if not unrelated:
        return {}
    return {
        (pair.name, task.name): _of(evidence, (pair.name, task.name), unrelated)
        for pair in spec.pairs
        if not pair.unrelated
        for task in spec.tasks
    }


def _of(evidence: Evidence, key: Key, unrelated: list[PairSpec]) -> Inherited:
    task = key[1]
    base = [evidence.replicated.get(("similarity", pair.name, task)) for pair in unrelated]
    present = [one for one in base if one is not None]
    if len(present) < len(unrelated):
        reasons = [
            f"{pair.name}: {evidence.problems.get(('similarity', pair.name, task), 'no similarity')}"
            for pair, one in zip(unrelated, base, strict=True)
            if one is None
        ]
        return Inherited(None, None, f"no level of unrelated models ({'; '.join(reasons)})")
    level = linear_contrast(present, [1 / len(present)] * len(present), [task] * len(present))
    own = evidence.replicated.get(("similarity", *key))
    if own is None:
        return Inherited(level.estimate, None, evidence.problems.get(("similarity", *key), "no similarity"))
    gap = 1 - level.estimate
    if gap <= CLEARANCE * (level.se or 0.0):
        return Inherited(level.estimate, None, "unrelated models are as similar as equal ones")
    value = (own.estimate - level.estimate) / gap
    slope = -(1 - own.estimate) / gap**2
    found = Replicated(
        label=f"inherited by {key[0]} on {task}",
        estimate=value,
        replicates=None,
        se=None,
        df=own.df,
        units=min(own.units, *level.units),
        message=own.message or level.message,
        references=tuple(
            Reference(part=one, slope=slope / len(present), seed=pair.seed, models=frozenset({pair.before, pair.after}))
            for pair, one in zip(unrelated, present, strict=True)
        ),
    )
    if own.replicates is None or level.replicates is None:
        return Inherited(level.estimate, found)
    moved = (own.replicates - own.estimate) / gap
    moved += slope * (level.replicates - level.estimate)
    se = float(moved.std(ddof=1))
    df = min(own.df, *(one.df for one in present))
    found = replace(found, replicates=value + moved - moved.mean(), se=se, df=df)
    return Inherited(level.estimate, found)


def filled(rows: Rows, found: Mapping[Key, Inherited], spec: Spec) -> Rows:
    """The rows of `similarity` with the columns about unrelated pairs."""
    return [row | _columns(found.get((str(row["pair"]), str(row["task"]))), spec) for row in rows]


def _columns(one: Inherited | None, spec: Spec) -> dict[str, float | None]:
    if one is None:
        return {}
    low, high = _ends(one.found, spec)
    return {
        "unrelated": one.unrelated,
        "inherited": None if one.found is None else one.found.estimate,
        "inherited_low": low,
        "inherited_high": high,
    }


def estimates(found: Mapping[Key, Inherited], samples: Mapping[Key, Sample], spec: Spec) -> Iterator[Estimate]:
    """What is inherited, as it stands in the findings."""
    for key, one in found.items():
        if key not in samples:
            continue
        low, high = _ends(one.found, spec)
        message = one.message if one.found is None else one.found.message
        yield estimate(
            samples[key],
            spec,
            measure="inherited",
            side="between",
            value=None if one.found is None else one.found.estimate,
            low=low,
            high=high,
            method="similarity between that of unrelated pairs and 1; replicates of both, linearised; t interval",
            status="undefined" if one.found is None else "ok" if low is not None else "points only",
            message=message,
            reference={"ceiling": 1.0, "unrelated similarity": one.unrelated},
        )


def _ends(found: Replicated | None, spec: Spec) -> tuple[float | None, float | None]:
    if found is None or found.se is None:
        return None, None
    test = difference_test(found.estimate, found.se, found.df, confidence=spec.statistics.confidence)
    return test.low, test.high
