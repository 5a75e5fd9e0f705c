"""The neurons that a model owes most to: held-out scores, what drives them, and how selective they are.

Which neurons are strongest is seen on one half of the selected examples, what they score on the other: the strongest of
thousands of noisy means look stronger than they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Results, estimate, mean_interval
from mechshift_core.analysis.needs import nothing
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.interventions.neurons.section import Neurons
from mechshift_core.spec import Spec
from stats.class_selectivity import selectivity
from stats.findings import Estimate
from stats.hypothesis_tests import difference_test
from stats.minimums import FEWEST_IN_HALF
from stats.multiplicity import benjamini_hochberg
from stats.seeding import generator
from stats.split_half import draw_halves, prompts

Places = npt.NDArray[np.int64]
FEWEST = FEWEST_IN_HALF
DRIVING, TOKENS = 10, 3
"""Examples in which a neuron is most active, and their most frequent tokens that the table lists."""


@dataclass(frozen=True, eq=False, slots=True)
class _Side:
    """One model: scores and activations of the selected examples [n, neurons], and the tokens of the largest."""

    scores: npt.NDArray[np.float64]
    activations: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    texts: dict[str, str]
    strongest: Places


def measure_neurons(sample: Sample, spec: Spec, intervention: Neurons, results: Results) -> Measured:
    """Rows of `neurons`; how many of the strongest neurons both models share, beside chance."""
    stored = {side: found for side, found in results.items() if isinstance(found, Stored)}
    if not stored:
        reasons = dict.fromkeys(str(found) for found in results.values())
        return Measured(estimates=nothing(sample, spec, ["neuron_overlap"], "; ".join(reasons)).estimates)
    choosing = _half(sample)
    smaller = int(min(choosing.sum(), (~choosing).sum()))
    if smaller < FEWEST:
        few = f"{sample.selection}, of which {smaller} are in one half; at least {FEWEST} are needed in each"
        return Measured(estimates=nothing(sample, spec, ["neuron_overlap"], few).estimates)
    width = next(iter(stored.values())).tensors["score"].shape[1]
    sides = {side: _side(sample, side, found, choosing, intervention.strongest) for side, found in stored.items()}
    rows = [
        row
        for side, one in sides.items()
        for row in _rows(sample, spec, intervention, side, one, sides.get(_other(side)), ~choosing, width)
    ]
    total = next(iter(sides.values())).scores.shape[1]
    shared = (
        (_shared(sample, spec, sides["before"], sides["after"], min(intervention.strongest, total)),)
        if len(sides) == 2
        else ()
    )
    return Measured(rows={"neurons": rows}, estimates=shared)


def _other(side: str) -> str:
    return "after" if side == "before" else "before"


def _half(sample: Sample) -> npt.NDArray[np.bool_]:
    """The half of the selected examples that chooses the neurons, the same for both models, [n]."""
    chosen = prompts(sample.n, examples=sample.selected, total=sample.total, templates=sample.templates)
    return np.asarray(draw_halves(chosen, 1, generator(sample.seed, "halves of neurons"))[0])


def _side(sample: Sample, side: str, stored: Stored, choosing: npt.NDArray[np.bool_], count: int) -> _Side:
    score, activation, token = (
        stored.tensors[name].reshape(-1, stored.tensors[name].shape[-1])[:, sample.ids(side)].T
        for name in ("score", "activation", "token")
    )
    mean = np.abs(score[choosing].mean(axis=0, dtype=np.float64))
    order = np.argsort(-mean, kind="stable")[:count]
    strongest = order[mean[order] > 0]
    texts: dict[str, str] = stored.description["tokens"]
    return _Side(score.astype(np.float64), activation.astype(np.float64), token, texts, strongest)


def _rows(
    sample: Sample,
    spec: Spec,
    intervention: Neurons,
    side: str,
    own: _Side,
    other: _Side | None,
    held_out: npt.NDArray[np.bool_],
    width: int,
) -> Iterator[dict[str, object]]:
    ids = sample.ids(side)
    intervals = [
        mean_interval(sample, spec, own.scores[held_out, place], examples=ids[held_out]) for place in own.strongest
    ]
    p = [
        None if one.se is None or one.estimate is None else difference_test(one.estimate, one.se, one.clusters - 1).p
        for one in intervals
    ]
    answers = [sample.dataset.examples[number].answer for number in ids]
    selective = _selective(np.abs(own.activations[:, own.strongest]), answers, sample.seed)
    for number, (place, interval, corrected) in enumerate(
        zip(own.strongest.tolist(), intervals, benjamini_hochberg(p), strict=True)
    ):
        driving = np.argsort(-np.abs(own.activations[:, place]), kind="stable")[:DRIVING]
        yield {
            **sample.labels(),
            "model": sample.side(side).model,
            "side": side,
            "intervention": intervention.name,
            "layer": place // width,
            "neuron": place % width,
            "rank": number + 1,
            "score": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "p_corrected": corrected,
            "partner": None if other is None else float(other.scores[held_out, place].mean()),
            "tokens": _listed(own, place, driving),
            "example": int(ids[driving[0]]),
            **selective[number],
            "n": int(held_out.sum()),
        }


def _listed(own: _Side, place: int, driving: Places) -> str:
    """The tokens at which a neuron is most active in the examples that drive it, the most frequent first."""
    counted = Counter(own.tokens[driving, place].tolist())
    first = sorted(counted, key=lambda token: (-counted[token], token))[:TOKENS]
    return ", ".join(f"{own.texts[str(token)]} ({counted[token]} of {len(driving)})" for token in first)


def _selective(activity: npt.NDArray[np.float64], answers: Sequence[str], seed: int) -> list[dict[str, object]]:
    """Selectivity of each neuron for one of the answers that occur often enough; nothing where there are not two."""
    nothing: dict[str, object] = dict.fromkeys(("answer", "selectivity", "selectivity_null", "selectivity_p"))
    counts = Counter(answers)
    known = np.array([counts[answer] >= FEWEST for answer in answers])
    if len({answer for answer, keep in zip(answers, known, strict=True) if keep}) < 2:
        return [nothing] * activity.shape[1]
    found = selectivity(activity[known], np.array(answers)[known], seed=seed)
    return [
        {
            "answer": found.conditions[found.preferred[number]],
            "selectivity": float(found.value[number]),
            "selectivity_null": float(found.null[number]),
            "selectivity_p": float(found.p[number]),
        }
        for number in range(activity.shape[1])
    ]


def _shared(sample: Sample, spec: Spec, before: _Side, after: _Side, asked: int) -> Estimate:
    """Jaccard of the strongest neurons of both models; by chance, of sets of that size at random places."""
    first, second, total = len(before.strongest), len(after.strongest), before.scores.shape[1]
    shared = len(np.intersect1d(before.strongest, after.strongest))
    expected = first * second / total
    fewest = min(first, second)
    return estimate(
        sample,
        spec,
        measure="neuron_overlap",
        side="between",
        value=None if fewest < asked else shared / (2 * asked - shared),
        low=None,
        high=None,
        method=f"Jaccard of the {asked} neurons with the largest mean scores on half of the prompts",
        status="undefined" if fewest < asked else "points only",
        message=f"only {fewest} neurons have a score other than zero in a half of the prompts"
        if fewest < asked
        else "sets chosen once: no interval",
        reference={} if fewest < asked else {"chance": expected / (2 * asked - expected)},
    )
