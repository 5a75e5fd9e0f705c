"""What becomes of answers over the denoising steps, and how far a model's confidence can be believed.

All prompts of a task count, whichever the spec selects: among those that are selected for being answered correctly no
answer is overwritten, and accuracy says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Results, Rows, joined, mean_interval
from mechshift_core.analysis.paired import bounded, paired_shift
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored, halves
from mechshift_core.interventions.denoising_path.section import DenoisingPath
from mechshift_core.spec import Spec
from stats.confidence import Reliability, brier_scores, reliability
from stats.decision import AnswerPaths, answer_paths
from stats.rates import binomial_rate, clustered_rate

Floats = npt.NDArray[np.float64]
MEASURES = ("overwritten", "brier")
SETS = "answers of this task are sets of tokens: that a model is not sure of one of them is no error"


@dataclass(frozen=True, eq=False, slots=True)
class Paths:
    """One model on the prompts on which it is read.

    Attributes:
        steps: Number of steps of each [n].
        right: Whether the most likely token is an answer [n, S]; `confidence` is its probability.
        brier: Brier scores [n, S]. What lies beyond a prompt's last step means nothing.
        sets: Whether some prompt has several answers.
    """

    steps: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]
    confidence: Floats
    brier: Floats
    sets: bool

    @property
    def within(self) -> npt.NDArray[np.bool_]:
        """Whether a prompt has a step [n, S]."""
        return np.asarray(np.arange(self.right.shape[1]) < self.steps[:, None])

    @property
    def mean_brier(self) -> Floats:
        """Brier score of each prompt, mean over its steps [n]."""
        return np.asarray(np.where(self.within, self.brier, 0).sum(axis=1) / self.steps)


def all_prompts(sample: Sample) -> Sample:
    """The sample with all prompts of its task that have a state at the inference budget, right or wrong."""
    if sample.rule == "none":
        return sample
    selected, after = sample.having_states, None
    if sample.selected_after is not None:
        selected, after = halves(selected, sample.dataset, sample.seed)
    return replace(sample, selected=selected, selected_after=after, rule="none", known={})


def measure_paths(selected: Sample, spec: Spec, own: DenoisingPath, results: Results) -> Measured:
    """Rows of `answer_paths`, `confidence` and `reliability`; `overwritten` and `brier`."""
    sample = all_prompts(selected)
    read = {side: _read(sample, side, stored) for side, stored in results.items() if isinstance(stored, Stored)}
    rows: dict[str, Rows] = {"answer_paths": [], "confidence": [], "reliability": []}
    for side, one in read.items() if sample.n else ():
        labels = {**sample.labels(), "model": sample.side(side).model, "side": side, "intervention": own.name}
        rows["answer_paths"] += [labels | row for row in _outcome_rows(sample, side, one)]
        for step in range(one.right.shape[1]):
            found, bins = _step_rows(sample, spec, own, side, one, step)
            rows["confidence"].append(labels | found)
            rows["reliability"] += [labels | row for row in bins]
    return joined([measure_path_shifts(selected, spec, own, results)], **rows)


def measure_path_shifts(selected: Sample, spec: Spec, own: DenoisingPath, results: Results) -> Measured:
    """`overwritten` and `brier`, prompt by prompt, as hypotheses are tested with them."""
    sample = all_prompts(selected)
    problem = next((stored for stored in results.values() if isinstance(stored, str)), sample.too_few)
    if problem:
        return Measured(problems=dict.fromkeys(MEASURES, problem))
    read = {side: _read(sample, side, stored) for side, stored in results.items() if isinstance(stored, Stored)}
    brier = paired_shift(sample, spec, "brier", {side: one.mean_brier for side, one in read.items()}, source=own.name)
    return joined([_overwritten(sample, spec, own, read), bounded(brier)])


def _overwritten(sample: Sample, spec: Spec, own: DenoisingPath, read: Mapping[str, Paths]) -> Measured:
    single = [side for side, one in read.items() if one.steps.max() == 1]
    if single:
        reason = f"every answer is read in one denoising step ({sample.reading.budget}): nothing can be overwritten"
        return Measured(problems={"overwritten": f"{' and '.join(single)}: {reason}"})
    paths: dict[str, AnswerPaths] = {side: answer_paths(one.right, one.steps) for side, one in read.items()}
    nulls = {side: float(one.null.mean()) for side, one in paths.items()}
    nulls["shift"] = nulls["after"] - nulls["before"]
    found = paired_shift(
        sample,
        spec,
        "overwritten",
        {side: one.overwritten.astype(np.float64) for side, one in paths.items()},
        references={side: {"null": null} for side, null in nulls.items()},
        source=own.name,
        limits=(0.0, 1.0),
    )
    return replace(found, replicated={name: replace(one, counted=True) for name, one in found.replicated.items()})


def _read(sample: Sample, side: str, stored: Stored) -> Paths:
    ids = sample.ids(side)
    steps = stored.tensors["steps"][ids]
    longest = int(steps.max(initial=0))
    found = {name: values[:longest, ids].T for name, values in stored.tensors.items() if name != "steps"}
    answers = [sample.dataset.examples[number].answer_ids for number in ids]
    right = np.zeros(found["top"].shape, dtype=bool)
    for row, own in enumerate(answers):
        right[row] = np.isin(found["top"][row], own)
    flat = brier_scores(found["answer"].ravel(), found["others"].ravel()) if right.size else np.zeros(0)
    brier, sets = flat.reshape(right.shape), any(len(own) > 1 for own in answers)
    return Paths(steps, right, found["confidence"], brier, sets)


def _outcome_rows(sample: Sample, side: str, read: Paths) -> Iterator[dict[str, object]]:
    paths = answer_paths(read.right, read.steps)
    shares = {"kept": paths.kept, "corrected": paths.corrected, "overwritten": paths.overwritten}
    shares["never"] = ~np.any([*shares.values()], axis=0)
    clusters = sample.clusters(sample.ids(side))
    for outcome, those in shares.items():
        if clusters is None:
            rate = binomial_rate(those)
        else:
            rate = clustered_rate([those[clusters == one].tolist() for one in np.unique(clusters)])
        yield {"outcome": outcome, "share": rate.value, "low": rate.low, "high": rate.high, "n": rate.n}


def _step_rows(
    sample: Sample, spec: Spec, own: DenoisingPath, side: str, read: Paths, step: int
) -> tuple[dict[str, object], Rows]:
    """The row of `confidence` of a step, over the prompts that have it, and the rows of its bins."""
    having = np.flatnonzero(read.steps > step)
    examples = sample.ids(side)[having]
    confidence, right, brier = (
        values[having, step].astype(np.float64) for values in (read.confidence, read.right, read.brier)
    )
    scored = mean_interval(sample, spec, brier, examples=examples)
    gap = mean_interval(sample, spec, confidence - right, examples=examples)
    clusters = sample.clusters(examples)
    bins = None if read.sets else reliability(confidence, right > 0, cluster=clusters, bins=own.bins, seed=sample.seed)
    row: dict[str, object] = {
        "step": step + 1,
        "accuracy": float(right.mean()),
        "confidence": float(confidence.mean()),
        "gap": gap.estimate,
        "gap_low": gap.low,
        "gap_high": gap.high,
        "brier": scored.estimate,
        "low": scored.low,
        "high": scored.high,
        **{name: getattr(bins, name, None) for name in ("ece", "squared", "null", "null_low", "null_high")},
        "n": len(having),
        "status": SETS if bins is None else "ok",
    }
    return row, [] if bins is None else [{"step": step + 1, **one} for one in _bin_rows(bins)]


def _bin_rows(found: Reliability) -> Iterator[dict[str, object]]:
    for number in range(len(found.count)):
        yield {
            "bin": number + 1,
            **{name: float(getattr(found, name)[number]) for name in ("confidence", "accuracy", "low", "high")},
            "n": int(found.count[number]),
        }
