"""Data sets whose truth is planted: what is drawn, what stays as it is, and what the draws come to on average."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mechshift_core.analysis.hypotheses import Evidence
from mechshift_core.analysis.resampled import resampled
from mechshift_core.analysis.samples import Sample, Side
from mechshift_core.analysis.sign_flips import FACTOR, LESS_IN_COMMON, NOISIER, RELATED, UNRELATED, SignFlips
from mechshift_core.execution.scores import Answers, EdgeScoreStore
from stats import linear_contrast, mean_replicates, resampling_weights
from stats.replicates import Replicated
from stats.similarity import score_similarity

TOTAL, EDGES = 30, 40


class Stored(EdgeScoreStore):
    """Scores in memory."""

    def __init__(self, scores: np.ndarray[Any, Any]) -> None:
        self._parts = [scores.astype(np.float32)]
        self._starts = np.array([0, len(scores)])


def sample(
    role: str = "treatment",
    *,
    selected: np.ndarray[Any, Any] | None = None,
    random: bool = False,
    templates: int = 6,
) -> Sample:
    rng = np.random.default_rng(3)
    mean = rng.normal(size=(2, EDGES))
    mean[1] += mean[0]
    sides = [Side("model", Stored(one + rng.normal(size=(TOTAL, EDGES))), cast("Answers", None)) for one in mean]
    examples = tuple(SimpleNamespace(template=f"t{number % templates}") for number in range(TOTAL))
    return Sample(
        pair=cast("Any", SimpleNamespace(name=role, role=role, unrelated=role == "unrelated")),
        task=cast("Any", SimpleNamespace(name="ioi")),
        dataset=cast("Any", SimpleNamespace(examples=examples)),
        graph=cast("Any", None),
        before=sides[0],
        after=sides[1],
        selected=np.arange(TOTAL) if selected is None else selected,
        spec_seed=0,
        by_template=random,
    )


def planted(of: Sample, planting: Any) -> SignFlips:
    found = SignFlips.of(of, planting)
    assert isinstance(found, SignFlips)
    return found


@pytest.mark.parametrize("role", ["treatment", "control"])
def test_deviations_keep_all_but_their_sign_and_the_noise_of_the_treatment_s_model_after_is_a_multiple(
    role: str,
) -> None:
    own = sample(role, selected=np.arange(5, 25))
    flips = planted(own, NOISIER)
    drawn = flips.draw(seed=1, repetition=0)
    assert role == "treatment" or flips.factor == 1
    real = {side: own.scores(side).astype(np.float64) for side in ("before", "after")}
    noise = []
    for side, times in (("before", 1.0), ("after", flips.factor)):
        mean, flipped = real[side].mean(axis=0), drawn.scores(side)
        products = real[side] @ real[side].T
        length = np.sqrt((products.sum() - np.trace(products)) / (20 * 19))
        assert length < np.linalg.norm(mean)
        # The direction of the model before, and the length that the other's mean has without its noise.
        target = real["before"].mean(axis=0)
        target *= length / np.linalg.norm(target)
        noise.append(times * np.linalg.norm(real[side] - mean) / length)
        ratio = (flipped - target) / (real[side] - mean)
        signs = np.sign(ratio[:, 0])
        np.testing.assert_allclose(ratio, (times * signs)[:, None] * np.ones(EDGES), rtol=2e-3, atol=2e-3)
        assert 2 < np.count_nonzero(signs > 0) < 18
        if side == "before":
            first = signs
    assert (first == signs).all()
    assert role == "control" or noise[1] / noise[0] == pytest.approx(FACTOR)
    other = planted(replace(own, pair=sample("control").pair), NOISIER).draw(seed=1, repetition=0)
    assert (np.sign(other.scores("before") - drawn.scores("before")) == 0).all()
    assert (planted(own, NOISIER).draw(seed=1, repetition=1).scores("before") != drawn.scores("before")).any()


@pytest.mark.parametrize(("role", "expected"), [("control", RELATED), ("unrelated", UNRELATED)])
def test_means_have_the_similarity_that_is_planted(role: str, expected: float) -> None:
    flips = planted(sample(role), LESS_IN_COMMON)
    before, after = flips.means["before"], flips.means["after"]
    assert before @ after / np.linalg.norm(before) / np.linalg.norm(after) == pytest.approx(expected)
    found = [
        score_similarity(
            *(flips.draw(seed=0, repetition=r).scores(side) for side in ("before", "after")), replicates=50
        )
        for r in range(100)
    ]
    values = np.array([one.estimate for one in found], dtype=np.float64)
    # Four Monte Carlo standard errors.
    assert values.mean() == pytest.approx(expected, abs=4 * values.std() / 10)


def test_templates_that_are_random_are_flipped_whole() -> None:
    own = sample(random=True)
    flips = planted(own, NOISIER)
    signs = np.sign(
        (flips.draw(seed=2, repetition=0).scores("before") - flips.means["before"])
        / (own.scores("before") - own.scores("before").mean(axis=0))
    )
    assert all(len({signs[number, 0] for number in range(TOTAL) if number % 6 == which}) == 1 for which in range(6))


def test_what_can_not_be_planted_is_a_reason() -> None:
    own = sample()
    assert SignFlips.of(replace(own, after=own.before), LESS_IN_COMMON) == (
        "both models have the same average scores: there is no direction in which they could differ"
    )
    nothing = replace(own, before=replace(own.before, scores=Stored(np.zeros((TOTAL, EDGES)))))
    assert SignFlips.of(nothing, NOISIER) == "the average scores of the model before are all zero"


TEMPLATE = np.arange(TOTAL) % 6


def of_values(values: np.ndarray[Any, Any], ids: np.ndarray[Any, Any], templates: int) -> Replicated:
    strata = np.arange(TOTAL) % templates
    return mean_replicates(values, resampling_weights(TOTAL, 20, seed=0), examples=ids, strata=strata)


@pytest.mark.long
@pytest.mark.parametrize("templates", [1, 6])
def test_prompts_drawn_anew_are_those_of_all_pairs_and_their_mean_is_that_of_the_values_drawn(templates: int) -> None:
    rng = np.random.default_rng(5)
    ids = {"a": np.arange(TOTAL), "b": np.arange(4, 27)}
    far = 10.0 * (TEMPLATE if templates > 1 else np.zeros(TOTAL))
    values = {name: rng.exponential(size=len(chosen)) + 3 + far[chosen] for name, chosen in ids.items()}
    evidence = Evidence(
        {("x", name, "ioi"): of_values(values[name], ids[name], templates) for name in ids},
        {},
        {(name, "ioi"): sample(selected=ids[name], templates=templates) for name in ids},
    )
    means, errors = [], []
    for repetition in range(400):
        found = resampled(evidence, seed=1, repetition=repetition).replicated
        for name, chosen in ids.items():
            one = found["x", name, "ioi"]
            # The contributions drawn, by hand: those of the whole set are the values around their mean.
            assert one.influence is not None and len(one.influence) == TOTAL and one.se is not None
            assert np.count_nonzero(one.influence) <= one.units <= TOTAL
            assert one.units == TOTAL or len(chosen) < TOTAL
        both = linear_contrast([found["x", "a", "ioi"], found["x", "b", "ioi"]], [1, -1], ["ioi", "ioi"])
        assert both.se is not None
        means.append(found["x", "a", "ioi"].estimate)
        errors.append(found["x", "a", "ioi"].se)
        assert found["x", "a", "ioi"].df <= TOTAL - templates
    within = [values["a"][np.arange(TOTAL) % templates == t] for t in range(templates)]
    # A template of n prompts that is drawn from has (n - 1) / n of the variance of its population.
    spread = np.sqrt(np.mean([own.var() for own in within]) / TOTAL)
    assert np.mean(means) == pytest.approx(0, abs=4 * spread / 20)
    assert np.std(means) == pytest.approx(spread, rel=0.15)
    assert np.sqrt(np.mean(np.square(np.array(errors, dtype=np.float64)))) == pytest.approx(spread, rel=0.06)
