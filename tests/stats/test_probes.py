"""Probes find what is linearly there, say nothing about noise, and agree with scikit-learn's own cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stats.probes import FOLDS, _folds, _group_folds, cross_validated_probe, probeable
from stats.seeding import generator


def test_what_is_linearly_there_is_found_and_shuffled_labels_are_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(["mary", "john", "anna"], 40)
    centres = {name: rng.normal(size=8) * 3 for name in ("mary", "john", "anna")}
    features = np.stack([centres[name] for name in labels]) + rng.normal(size=(120, 8))
    found = cross_validated_probe(features, labels, seed=1)
    assert found.correct.mean() > 0.95
    assert found.control.mean() == pytest.approx(1 / 3, abs=0.12)
    assert found.majority == pytest.approx(1 / 3) and found.classes == 3


def test_noise_scores_as_its_control() -> None:
    rng = np.random.default_rng(1)
    scores = [
        cross_validated_probe(rng.normal(size=(60, 20)), np.repeat([0, 1], 30), seed=seed, shuffles=1).correct.mean()
        for seed in range(12)
    ]
    assert np.mean(scores) == pytest.approx(0.5, abs=0.06)


def test_it_is_scikit_learn_s_cross_validation() -> None:
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(50, 4)) * 7 + 3, rng.integers(2, size=50)
    features[:, 0] += 9 * labels
    folds = _folds(labels, generator(5, "probe"))
    assert all(np.ptp(np.bincount(folds[labels == label], minlength=FOLDS)) <= 1 for label in (0, 1))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    predicted = cross_val_predict(pipeline, features, labels, cv=PredefinedSplit(folds))
    found = cross_validated_probe(features, labels, seed=5)
    assert (found.correct == (predicted == labels)).all()


def test_rare_labels_are_said_to_be_rare_and_refused() -> None:
    labels = np.array(["a"] * 6 + ["b"] * 5 + ["c"] * 4)
    assert probeable(labels).tolist() == [True] * 11 + [False] * 4
    with pytest.raises(ValueError, match="labels: expected at least 2, each 5 times or more, got counts \\[6, 5, 4\\]"):
        cross_validated_probe(np.zeros((15, 2)), labels)
    with pytest.raises(ValueError, match="got counts \\[6\\]"):
        cross_validated_probe(np.zeros((6, 2)), ["a"] * 6)


def test_units_of_a_group_are_in_one_fold_and_nothing_leaks() -> None:
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(60), 4)
    labels = np.repeat(rng.integers(2, size=60), 4)  # decided by the group, of which the features say nothing else
    features = rng.normal(size=(60, 100))[groups] + 0.1 * rng.normal(size=(240, 100))
    assert cross_validated_probe(features, labels, seed=1).correct.mean() > 0.9  # it knows the group again
    apart = cross_validated_probe(features, labels, groups=groups, seed=1)
    assert apart.correct.mean() < 0.65
    folds = _group_folds(labels, groups, generator(3, "probe"))
    assert all(len(set(folds[groups == group])) == 1 for group in range(60))
    assert all(np.ptp(np.bincount(folds[labels == label], minlength=FOLDS)) <= 4 for label in (0, 1))


@pytest.mark.long
def test_a_count_of_masks_in_the_features_is_found_beside_a_control_within_groups() -> None:
    rng = np.random.default_rng(7)
    sizes = rng.integers(1, 5, size=50)
    groups = np.repeat(np.arange(50), sizes)
    steps = np.concatenate([np.arange(size) for size in sizes])
    prompts = rng.normal(size=(50, 12))[groups]
    planted = prompts + np.outer(steps, rng.normal(size=12)) * 4
    found = cross_validated_probe(planted, steps, groups=groups, seed=2)
    assert found.correct.mean() > 0.95 and found.classes == 4
    blind = cross_validated_probe(prompts, steps, groups=groups, seed=2, shuffles=8)
    assert blind.correct.mean() == pytest.approx(blind.control.mean(), abs=0.1)
    shares = [np.bincount(steps[groups == group], minlength=4) / sizes[group] for group in range(50)]
    assert found.majority == pytest.approx(np.mean(shares, axis=0).max())


def test_a_label_counts_once_in_each_group() -> None:
    labels, groups = ["a"] * 10 + ["b"] * 5, [0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 0, 1, 2, 3, 4]
    assert probeable(labels).all()
    assert probeable(labels, groups).tolist() == [False] * 10 + [True] * 5
    with pytest.raises(ValueError, match=r"each 5 groups or more, got counts \[4, 5\]"):
        cross_validated_probe(np.zeros((15, 2)), labels, groups=groups)
    with pytest.raises(ValueError, match="groups: expected 15 labels"):
        probeable(labels, groups[1:])
