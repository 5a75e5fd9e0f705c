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
        majority: Share of the most frequent label: what saying it always would score. Of units in groups it is the mean
            over groups of their shares.
        classes: Number of labels.
    """

    correct: Booleans
    control: Floats
    majority: float
    classes: int


def probeable(labels: ArrayLike, groups: ArrayLike | None = None) -> Booleans:
    """Which units have labels that are frequent enough for every fold to hold one: at least :data:`FOLDS`, [n].

    Args:
        labels: [n].
        groups: Group of each unit [n]; a label then counts once for each group that has it.
    """
    array = known_labels(labels, "labels")
    y, classes = codes(labels, "labels", length=len(array))
    return np.asarray(_frequencies(y, classes, _grouped(groups, len(y)))[y] >= FOLDS)


@checked
def cross_validated_probe(
    features: ArrayLike, labels: ArrayLike, *, groups: ArrayLike | None = None, shuffles: Count = 3, seed: Seed = 0
) -> Probe:
    """Multinomial logistic regression (L2, C = 1, on features standardised by the training folds), in stratified folds.

    The control (Hewitt & Liang 2019, arXiv 1909.03368, in spirit) is the same procedure with the labels permuted over
    the units: what the number of features, of units and the frequencies of the labels give away by themselves.

    Units of a group, such as the states in which one prompt is read, are alike beyond their labels. They are all in one
    fold, so that no probe is asked of a group that it was trained on; and labels are permuted within groups, so that
    the control has what a group gives away of its labels.

    Args:
        features: [n, d].
        labels: [n]; each at least :data:`FOLDS` times (in as many groups), and at least two different ones.
        groups: Group of each unit [n]; each is one of its own unless given.
        shuffles: Permutations of the labels.
        seed: Seed of the folds and the permutations.

    Raises:
        ValueError: if lengths do not match, features are not finite, or labels are too few.
    """
    x = as_floats(features, "features", dimensions=2)
    y, classes = codes(labels, "labels", length=len(x))
    of = _grouped(groups, len(x))
    counts = _frequencies(y, classes, of)
    if classes < 2 or counts.min() < FOLDS:
        where = "times" if of is None else "groups"
        raise ValueError(f"labels: expected at least 2, each {FOLDS} {where} or more, got counts {counts.tolist()}")
    rng = generator(seed, "probe")
    folds = _folds(y, rng) if of is None else _group_folds(y, of, rng)
    shuffled = [rng.permutation(y) if of is None else _permuted_within(y, of, rng) for _ in range(shuffles)]
    chance = [(one, _folds(one, rng) if of is None else folds) for one in shuffled]
    control = np.mean([_correct(x, *one) for one in chance], axis=0)
    return Probe(correct=_correct(x, y, folds), control=control, majority=_majority(y, of), classes=classes)


def _majority(y: NDArray[np.int64], of: NDArray[np.int64] | None) -> float:
    """Share of the most frequent label; of units in groups the mean over groups."""
    if of is None:
        return float(np.bincount(y).max() / len(y))
    weights = 1 / (np.bincount(of)[of] * (of.max() + 1))
    return float(np.bincount(y, weights=weights).max())


def _grouped(groups: ArrayLike | None, n: int) -> NDArray[np.int64] | None:
    return None if groups is None else codes(groups, "groups", length=n)[0]


def _frequencies(y: NDArray[np.int64], classes: int, groups: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """How often each label is there, or in how many groups [classes]."""
    if groups is None:
        return np.bincount(y, minlength=classes)
    return np.bincount(np.unique(np.column_stack([groups, y]), axis=0)[:, 1], minlength=classes)


def _group_folds(y: NDArray[np.int64], groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Fold of each unit, the same for all of a group; groups with the same labels are spread over the folds evenly."""
    labels = [tuple(sorted(y[groups == group].tolist())) for group in range(groups.max() + 1)]
    order = sorted(rng.permutation(len(labels)).tolist(), key=lambda group: labels[group])
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(order)) % FOLDS
    return fold[groups]


def _permuted_within(y: NDArray[np.int64], groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    shuffled = y.copy()
    for group in range(groups.max() + 1):
        own = np.flatnonzero(groups == group)
        shuffled[own] = rng.permutation(y[own])
    return shuffled


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
