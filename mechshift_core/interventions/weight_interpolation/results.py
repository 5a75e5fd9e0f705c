"""The path between two models' weights: its curve, and the barrier as hypotheses are tested with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.linearised import labelled
from mechshift_core.analysis.measured import Measured, Results, Rows, mean_interval
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.execution.scores import Stored
from mechshift_core.interventions.weight_interpolation.section import WeightInterpolation
from mechshift_core.spec import Spec
from stats.findings import Estimate
from stats.hypothesis_tests import TestResult, difference_test
from stats.minimums import FEWEST_FOR_FOLDS
from stats.prompt_means import mean_replicates
from stats.replicates import Replicated, linear_contrast
from stats.seeding import generator
from stats.split_half import draw_halves, prompts
from stats.weight_path import PathBarrier, path_barrier

Floats = npt.NDArray[np.float64]
BARRIER = "interpolation_barrier"


@dataclass(frozen=True, eq=False, slots=True)
class _Path:
    """A path on the selected examples: values [points, n] and the barrier."""

    points: list[float]
    paradigm: str
    loss: Floats
    metric: Floats
    correct: Floats
    barrier: PathBarrier


def measure_path(sample: Sample, spec: Spec, intervention: WeightInterpolation, results: Results) -> Measured:
    """Rows of `weight_path`, as which model it is read, and the barrier."""
    rows: Rows = []
    for side, stored in results.items():
        reason = _unusable(sample, stored)
        if isinstance(stored, str) or reason:
            rows.append(_row(sample, side, intervention, status=reason))
        else:
            rows += _side_rows(sample, spec, intervention, side, _read(sample, side, stored))
    return replace(measure_barrier(sample, spec, intervention, results), rows={"weight_path": rows})


def measure_barrier(sample: Sample, spec: Spec, intervention: WeightInterpolation, results: Results) -> Measured:
    """The barrier alone, without rows, as hypotheses are tested with it."""
    estimates: list[Estimate] = []
    replicated: dict[str, Replicated] = {}
    problems: dict[str, str] = {}
    for side, stored in results.items():
        reason = _unusable(sample, stored)
        found = None if isinstance(stored, str) or reason else _read(sample, side, stored)
        tested = side == intervention.read_as
        estimates.append(_estimate(sample, spec, intervention, side, found, reason))
        if tested:
            estimates.append(replace(estimates[-1], side="between"))
        if tested and found is None:
            problems[BARRIER] = reason
        elif tested and found is not None:
            replicated[BARRIER] = _replicated(sample, spec, side, found.barrier)
    return Measured(estimates=tuple(estimates), replicated=replicated, problems=problems)


def _unusable(sample: Sample, stored: Stored | str) -> str:
    """Why a side has no numbers; empty where it has."""
    if isinstance(stored, str):
        return stored
    enough = len(stored.tensors["examples"]) >= FEWEST_FOR_FOLDS
    return "" if enough else f"{sample.selection}; halves need at least {FEWEST_FOR_FOLDS}"


def _read(sample: Sample, side: str, stored: Stored) -> _Path:
    """A stored path on the examples of a side, and its barrier; the halves are those of the circuits."""
    columns = np.searchsorted(stored.tensors["examples"], sample.ids(side))
    loss, metric, correct = (stored.tensors[name].astype(np.float64)[:, columns] for name in _TENSORS)
    templates = sample.templates[sample.ids(side)].tolist()
    chosen = prompts(loss.shape[1], examples=None, total=None, templates=templates)
    half = draw_halves(chosen, 1, generator(sample.seed, "cross-fitting"))[0]
    points: list[float] = stored.description["points"]
    barrier = path_barrier(loss, points=points, half=half)
    return _Path(points, stored.description["paradigm"], loss, metric, correct, barrier)


_TENSORS = ("loss", "metric", "correct")


def _side_rows(
    sample: Sample, spec: Spec, intervention: WeightInterpolation, side: str, path: _Path
) -> Iterator[dict[str, object]]:
    examples = sample.ids(side)
    for at, point in enumerate(path.points):
        loss = mean_interval(sample, spec, path.loss[at], examples=examples)
        excess = mean_interval(sample, spec, path.barrier.excess[at], examples=examples)
        yield _row(sample, side, intervention) | {
            "paradigm": path.paradigm,
            "point": point,
            **{"loss": loss.estimate, "low": loss.low, "high": loss.high},
            "metric": float(path.metric[at].mean()),
            "accuracy": float(path.correct[at].mean()),
            **{"excess": excess.estimate, "excess_low": excess.low, "excess_high": excess.high},
        }


def _row(sample: Sample, side: str, intervention: WeightInterpolation, *, status: str = "ok") -> dict[str, object]:
    numbers = ("point", "loss", "low", "high", "metric", "accuracy", "excess", "excess_low", "excess_high")
    return {
        **sample.labels(),
        "model": sample.side(side).model,
        "side": side,
        "intervention": intervention.name,
        "paradigm": None,
        **dict.fromkeys(numbers),
        "n": sample.n,
        "status": status,
    }


def _replicated(sample: Sample, spec: Spec, side: str, barrier: PathBarrier) -> Replicated:
    """The mean of one value per example, whatever location the spec declares for shifts.

    Its error is as much larger as the two halves' choices make it.
    """
    found = mean_replicates(
        barrier.held_out,
        task_weights(sample, spec.statistics.bootstrap.replicates, all_examples=True),
        label=f"{BARRIER} of {sample.pair.name} on {sample.task.name}",
        examples=sample.ids(side),
        cluster=sample.templates if sample.by_template else None,
        strata=sample.strata,
    )
    factor = barrier.inflation
    return replace(
        found,
        se=None if found.se is None else factor * found.se,
        influence=None if found.influence is None else factor * found.influence,
        replicates=None if found.replicates is None else found.estimate + factor * (found.replicates - found.estimate),
    )


def _interval(sample: Sample, spec: Spec, one: Replicated) -> TestResult:
    """The interval that a hypothesis on the barrier of this pair and task has."""
    skewness = linear_contrast([one], [1.0], [sample.task.name]).skewness
    found = difference_test(one.estimate, one.se, one.df, confidence=spec.statistics.confidence, skewness=skewness)
    return replace(found, message=one.message or found.message)


def _estimate(
    sample: Sample, spec: Spec, intervention: WeightInterpolation, side: str, path: _Path | None, reason: str
) -> Estimate:
    interval: TestResult | None = None
    reference: dict[str, float | None] = {}
    if path is not None:
        interval = _interval(sample, spec, _replicated(sample, spec, side, path.barrier))
        reference = {
            "alike": 0.0,
            "highest": path.barrier.height,
            "at": path.barrier.at,
            "loss before": float(path.loss[0].mean()),
            "loss after": float(path.loss[-1].mean()),
        }
    how = f"{intervention.name}: read as the model {side}, at the point that the other half of the prompts chose"
    method = how if interval is None else f"{how}; {interval.method}"
    return labelled(sample, spec, interval, reason, measure=BARRIER, side=side, method=method, reference=reference)
