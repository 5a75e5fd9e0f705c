"""Linear probes: what can be read off activations by a logistic regression, cross-validated, beside shuffled labels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stats.checks import Booleans, Floats, as_floats, codes, known_labels
from stats.options import Count, Seed, checked
from stats.seeding import generator

FOLDS = 5
ITERATIONS = 300


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Probe:
    """How well a probe that has not seen a unit says its label.

    Attributes:
        correct: Whether each unit was said correctly by the probe of the other folds, [n].
        control: Share of the shuffles in which a probe that was trained and asked on shuffled labels was right, [n].
        majority: Share of the most frequent label: what saying it always would score.
        classes: Number of labels.
    """

    correct: Booleans
    control: Floats
    majority: float
    classes: int


def probeable(labels: ArrayLike) -> Booleans:
    """Which units have labels that are frequent enough for every fold to hold one: at least :data:`FOLDS`, [n]."""
    _, inverse, counts = np.unique(known_labels(labels, "labels"), return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] >= FOLDS)


@checked
def cross_validated_probe(features: ArrayLike, labels: ArrayLike, *, shuffles: Count = 3, seed: Seed = 0) -> Probe:
    """Multinomial logistic regression (L2, C = 1, on features standardised by the training folds), in stratified folds.

    The control (Hewitt & Liang 2019, arXiv 1909.03368, in spirit) is the same procedure with the labels permuted over
    the units: what the number of features, of units and the frequencies of the labels give away by themselves.

    Args:
        features: [n, d].
        labels: [n]; each at least :data:`FOLDS` times, and at least two different ones.
        shuffles: Permutations of the labels.
        seed: Seed of the folds and the permutations.

    Raises:
        ValueError: if lengths do not match, features are not finite, or labels are too few.
    """
    x = as_floats(features, "features", dimensions=2)
    y, classes = codes(labels, "labels", length=len(x))
    counts = np.bincount(y)
    if classes < 2 or counts.min() < FOLDS:
        raise ValueError(f"labels: expected at least 2, each {FOLDS} times or more, got counts {counts.tolist()}")
    rng = generator(seed, "probe")
    folds = _folds(y, rng)
    shuffled = [rng.permutation(y) for _ in range(shuffles)]
    control = np.mean([_correct(x, labels_, _folds(labels_, rng)) for labels_ in shuffled], axis=0)
    majority = float(counts.max() / len(y))
    return Probe(correct=_correct(x, y, folds), control=control, majority=majority, classes=classes)


def _folds(y: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Fold of each unit; every label is spread over the folds as evenly as it goes."""
    fold = np.empty(len(y), dtype=np.int64)
    start = 0
    for label in range(y.max() + 1):
        members = rng.permutation(np.flatnonzero(y == label))
        fold[members] = (start + np.arange(len(members))) % FOLDS
        start += len(members)
    return fold


def _correct(x: Floats, y: NDArray[np.int64], folds: NDArray[np.int64]) -> Booleans:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    correct = np.zeros(len(y), dtype=bool)
    for fold in range(FOLDS):
        train, test = folds != fold, folds == fold
        spread = x[train].std(axis=0)
        scaled = (x - x[train].mean(axis=0)) / np.where(spread > 0, spread, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a probe that fits perfectly grows for ever
            fitted = LogisticRegression(max_iter=ITERATIONS).fit(scaled[train], y[train])
        correct[test] = fitted.predict(scaled[test]) == y[test]
    return correct
