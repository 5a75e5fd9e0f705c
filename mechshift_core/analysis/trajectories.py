"""What every measure is along every trajectory: its points with joint intervals, and where it changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.hypotheses import Evidence
from mechshift_core.analysis.measured import Rows
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.kinds import testable, testables
from mechshift_core.spec import Spec, TaskSpec
from mechshift_core.spec.pairs import TrajectorySpec
from stats.change_points import (
    NO_CHANGE,
    ChangePoint,
    Halfway,
    change_point,
    halfway_point,
    no_change_of_shares,
    no_change_within_prompts,
    out_of_reach,
    wanted_draws,
)
from stats.concentration import HALF
from stats.findings import Status
from stats.multiplicity import holm
from stats.prompt_means import mean_replicates
from stats.rates import constant_band, exact_band
from stats.replicates import Replicated
from stats.trajectories import Band, Curve, joint_curve, simultaneous_band

Floats = npt.NDArray[np.float64]
ACCURACY = "accuracy"
"""Measure of the models alone: the share of all prompts that each answers correctly."""
FEWEST = 3
"""Points that a change is looked for between."""


@dataclass(frozen=True, eq=False, slots=True)
class Point:
    """A measure at one model of a trajectory.

    Attributes:
        part: Its estimate; a number where it is exactly known, None where there is none.
        n: Prompts.
        message: Why there is no estimate.
        failed: Whether that is since its computation broke.
    """

    number: int
    part: Replicated | float | None
    n: int | None = None
    message: str = ""
    failed: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Series:
    """A measure along a trajectory on a task, each model against an end of it (or alone: `none`).

    Attributes:
        right: Of accuracy whose units are prompts, whether each present model is right, [points, prompts]; else None.
        sparse: Of a mean over prompts of which most have the same value at some point, the values at the present points
            [points, prompts]; a reason where they are of other prompts at each; None of other measures.
    """

    trajectory: TrajectorySpec
    task: TaskSpec
    measure: str
    against: str
    points: tuple[Point, ...]
    right: npt.NDArray[np.bool_] | None = None
    sparse: Floats | str | None = None

    @property
    def repeats(self) -> bool:
        """Whether another series says it: the shift to the last model is the whole shift minus that from the first."""
        if self.against in ("none", self.trajectory.ends[0]):
            return False
        return not (testable(self.measure).between or testable(self.measure).distance)

    @property
    def present(self) -> list[Point]:
        """The points that have an estimate."""
        return [point for point in self.points if point.part is not None]

    @property
    def curve(self) -> Curve | None:
        """The points together; None where there are fewer than two, or one that is measured has no standard error."""
        parts = [point.part for point in self.present if point.part is not None]
        measured = [part for part in parts if isinstance(part, Replicated)]
        if len(parts) < 2 or not measured or any(part.se is None for part in measured):
            return None
        return joint_curve(parts, [self.trajectory.at[point.number] for point in self.present])


def trajectory_rows(spec: Spec, evidence: Evidence) -> dict[str, Rows]:
    """Rows of `trajectory` and `trajectory_changes`; none without trajectories."""
    points: Rows = []
    changes: Rows = []
    budget = next((one.reading.budget for one in evidence.samples.values()), "")
    every = [(series, series.curve) for series in _every_series(spec, evidence)]
    family = sum(curve is not None and not one.repeats and len(one.present) >= FEWEST for one, curve in every)
    for series, curve in every:
        band = None if curve is None else simultaneous_band(curve, confidence=_level(spec), seed=spec.seed)
        points += [{**_labels(series, budget), **row} for row in _point_rows(series, band)]
        if not series.repeats:
            changes.append({**_labels(series, budget), **_change_row(spec, series, curve, max(1, family))})
    corrected = holm([cast("float | None", row["p"]) for row in changes])
    changes = [{**row, "p_corrected": p} for row, p in zip(changes, corrected, strict=True)]
    return {"trajectory": points, "trajectory_changes": changes}


def _every_series(spec: Spec, evidence: Evidence) -> Iterator[Series]:
    known = {measure for measure, *_ in (*evidence.replicated, *evidence.problems)}
    measures = [one.name for one, _ in testables() if not one.derived and one.name in known]
    for trajectory in spec.trajectories:
        for task in spec.tasks:
            of = [
                (trajectory.pair(number, end), end) for end in trajectory.ends for number in range(len(trajectory.at))
            ]
            keys = {(pair.name, task.name) for pair, _ in of if pair is not None}
            if not keys & evidence.samples.keys():
                continue
            yield _accuracy(spec, trajectory, task, evidence)
            for measure in measures:
                if any((measure, *key) in found for key in keys for found in (evidence.replicated, evidence.problems)):
                    for end in trajectory.ends:
                        points = tuple(_points(evidence, trajectory, task, measure, end))
                        series = Series(trajectory, task, measure, end, points)
                        yield replace(series, sparse=_sparse(evidence, series))


def _points(evidence: Evidence, trajectory: TrajectorySpec, task: TaskSpec, measure: str, end: Any) -> Iterator[Point]:
    """A measure of every model with an end of the trajectory; of that one itself where it is a shift, which is 0."""
    for number in range(len(trajectory.models)):
        pair = trajectory.pair(number, end)
        if pair is None:
            if not testable(measure).between:
                yield Point(number, 0.0, message="the model with itself: exactly 0")
            continue
        key = (measure, pair.name, task.name)
        sample, part = evidence.samples.get(key[1:]), evidence.replicated.get(key)
        message = evidence.problems.get(key, "no estimate") if part is None else part.message
        failed = key in evidence.failed or sample is None
        yield Point(number, part, None if sample is None else sample.n, message, failed and part is None)


def _sparse(evidence: Evidence, series: Series) -> Floats | str | None:
    """See :class:`Series`. A model with itself has a shift of 0 on every prompt; its distance from itself is none."""
    values: dict[int, Floats] = {}
    chosen: list[npt.NDArray[np.int64]] = []
    for point in series.points:
        if isinstance(point.part, Replicated):
            pair = series.trajectory.pair(point.number, cast("Any", series.against))
            if point.part.own is None or point.part.se is None or pair is None:
                return None
            sample = evidence.samples[pair.name, series.task.name]
            chosen.append(sample.selected if sample.n == point.part.units else np.arange(sample.total))
            if len(chosen[-1]) != point.part.units:
                return None
            values[point.number] = point.part.estimate + point.part.units * point.part.own[chosen[-1]]
    if len(values) < 2 or not any(map(_most, values.values())):
        return None
    if not all(np.array_equal(chosen[0], one) for one in chosen):
        return (
            "most prompts have the same value, and the prompts are not the same ones at every model, so that nothing "
            "can be permuted within them; `select: {correct: none}` takes all"
        )
    known = [] if testable(series.measure).distance else [point.number for point in series.present]
    return np.stack([values.get(number, np.zeros(len(chosen[0]))) for number in sorted({*known, *values})])


def _most(values: Floats) -> bool:
    """Whether at least half of the prompts have the same value, but for rounding."""
    return int(np.unique(values.round(9), return_counts=True)[1].max()) >= HALF * len(values)


def _accuracy(spec: Spec, trajectory: TrajectorySpec, task: TaskSpec, evidence: Evidence) -> Series:
    """The share of all prompts of a task that each model answers correctly."""
    own = [
        sample
        for (_, name), sample in evidence.samples.items()
        if sample.pair.along == trajectory.name and name == task.name
    ]
    sides = {side.model: (sample, side) for sample in own for _, side in sample.sides}
    points: list[Point] = []
    right: list[npt.NDArray[np.bool_]] = []
    for number, model in enumerate(trajectory.models):
        if model in sides:
            sample, side = sides[model]
            right.append(np.asarray(side.answers.correct, dtype=bool))
            part = _mean_of_all(spec, sample, right[-1].astype(np.float64), f"{ACCURACY} of {model}")
            points.append(Point(number, part, sample.total, part.message))
        else:
            points.append(Point(number, None, message="its cells are missing", failed=True))
    by_prompt = spec.statistics.units.template != "random"
    return Series(trajectory, task, ACCURACY, "none", tuple(points), np.stack(right) if right and by_prompt else None)


def _mean_of_all(spec: Spec, sample: Sample, values: np.ndarray[Any, Any], label: str) -> Replicated:
    """The mean of one truth for each prompt of a task, [total].

    Few that are false tell neither skewness nor the spread within templates, so that neither is corrected for.
    """
    weights = task_weights(sample, spec.statistics.bootstrap.replicates, all_examples=True)
    cluster = sample.templates if sample.by_template else None
    found = mean_replicates(values, weights, label=label, cluster=cluster)
    return replace(found, linearised=True)


def _point_rows(series: Series, band: Band | None) -> Iterator[dict[str, object]]:
    present = series.present
    for point in series.points:
        part = point.part
        status: Status = "failed" if point.failed else "undefined"
        row: dict[str, object] = {
            "model": series.trajectory.models[point.number],
            "at": float(series.trajectory.at[point.number]),
            "n": point.n,
            "message": point.message,
        }
        if part is not None:
            at = present.index(point)
            status = "points only" if band is None else "ok"
            row["estimate"] = part.estimate if isinstance(part, Replicated) else part
            row["se"] = part.se if isinstance(part, Replicated) else 0.0
            if band is not None:
                ends = {"low": band.own_low, "high": band.own_high, "joint_low": band.low, "joint_high": band.high}
                row |= {name: float(values[at]) for name, values in ends.items()}
                row |= {} if series.right is None else _exact_ends(series.right, at, band.confidence)
                if isinstance(part, Replicated) and part.counted and part.se == 0:
                    row |= _ends_of_constant(part, len(present), band.confidence)
        yield {**row, "status": status}


def _exact_ends(right: npt.NDArray[np.bool_], at: int, confidence: float) -> dict[str, float]:
    """Of a share of prompts: where nearly all are right, their spread gives no interval, or one that is too short.

    The joint band is by Bonferroni's inequality.
    """
    points, n = right.shape
    count = int(right[at].sum())
    own, joint = (exact_band(count, n, level) for level in (confidence, 1 - (1 - confidence) / points))
    return {"low": own[0], "high": own[1], "joint_low": joint[0], "joint_high": joint[1]}


def _ends_of_constant(part: Replicated, points: int, confidence: float) -> dict[str, float]:
    """Of a shift between -1 and 1 that is the same on all prompts: what was seen in none of them may still happen."""
    own, joint = (
        constant_band(part.estimate, part.units, level, lowest=-1.0, highest=1.0)
        for level in (confidence, 1 - (1 - confidence) / points)
    )
    return {"low": own[0], "high": own[1], "joint_low": joint[0], "joint_high": joint[1]}


def _change_row(spec: Spec, series: Series, curve: Curve | None, family: int) -> dict[str, object]:
    """The change of a series, of which `family` are tested."""
    present = series.present
    empty: dict[str, object] = {"points": len(present), "p": None}
    if len(present) < FEWEST:
        few = f"{len(present)} models have an estimate: at least {FEWEST} are needed"
        return {**empty, "status": "undefined", "message": few}
    if curve is None:
        return {**empty, "status": "points only", "message": "no standard errors"}
    if isinstance(series.sparse, str):
        return {**empty, "status": "undefined", "message": series.sparse}
    permuted = series.right if series.right is not None else series.sparse
    # Of permutations comes another p, so that this one needs no more draws for the family.
    change = change_point(curve, confidence=_level(spec), family=family if permuted is None else 1, seed=spec.seed)
    if permuted is not None and change.p is not None:
        change = _permuted(spec, change, permuted, family)
    half = halfway_point(curve, confidence=_level(spec))
    lacking = len(series.points) - len(present)
    said = [change.message, half.message, f"{lacking} models have no estimate" if lacking else ""]
    return {
        **empty,
        **_of_change(change),
        **_of_half(half),
        "df": curve.df,
        "status": change.status,
        "message": "; ".join(filter(None, said)),
    }


def _permuted(spec: Spec, change: ChangePoint, values: Floats | npt.NDArray[np.bool_], family: int) -> ChangePoint:
    """The change with p of permutations within prompts, where few of these have another value than most."""
    test = no_change_of_shares if values.dtype == np.bool_ else no_change_within_prompts
    p = test(values, confidence=_level(spec), family=family, seed=spec.seed)
    changed = p < 1 - _level(spec)
    limit = out_of_reach(wanted_draws(_level(spec), family), _level(spec), family)
    message = "; ".join(filter(None, ("" if changed else NO_CHANGE, limit)))
    return replace(change, p=p, changed=changed, message=message)


def _of_change(change: ChangePoint) -> dict[str, object]:
    return {name: getattr(change, name) for name in ("before", "after", "step", "low", "high", "p")}


def _of_half(half: Halfway) -> dict[str, object]:
    return {"halfway": half.place, "halfway_low": half.low, "halfway_high": half.high}


def _labels(series: Series, budget: str) -> dict[str, object]:
    return {
        "trajectory": series.trajectory.name,
        "role": series.trajectory.role,
        "task": series.task.name,
        "regime": series.task.regime,
        "budget": budget,
        "unit": series.trajectory.unit,
        "measure": series.measure,
        "against": series.against,
    }


def _level(spec: Spec) -> float:
    return spec.statistics.confidence
