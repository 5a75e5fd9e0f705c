"""Labels that are missing are refused with their number, in every function that takes labels."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import stats
from stats.alignment import output_alignment
from stats.checks import codes, is_missing
from stats.decision import decision_times
from stats.graph_measures import modularity, participation_coefficient
from stats.layer_shift import shift_frame, two_stage_slope
from stats.overlap import expected_jaccard_within_strata, jaccard
from stats.probes import cross_validated_probe, probeable
from stats.prompt_means import mean_replicates
from stats.rates import binomial_rate, clustered_rate
from stats.replicates import Replicated, linear_contrast
from stats.unit_weights import cluster_weights, crossed_weights, nested_weights

N = 12
TEXT: list[Any] = [f"g{i % 6}" for i in range(N)]
X = np.random.default_rng(0).normal(size=N)
SHARES = np.random.default_rng(1).dirichlet(np.ones(4), size=N)
SCORES = np.random.default_rng(2).normal(size=(N, 40))


def with_gaps(*missing: Any) -> list[Any]:
    return [*missing, *TEXT[len(missing) :]]


MISSING: dict[str, Any] = {
    "None": with_gaps(None, None),
    "NaN among text": with_gaps(float("nan"), float("nan")),
    "NaN among numbers": [np.nan, np.nan, *range(N - 2)],
    "masked text": np.ma.masked_array(TEXT, mask=[1, 1, *[0] * (N - 2)]),
    "masked numbers": np.ma.masked_array(np.arange(N) % 6, mask=[1, 1, *[0] * (N - 2)]),
    "NaT": np.array(["NaT", "NaT", *["2020-01-01", "2020-01-02"] * 5], dtype="datetime64[D]"),
    "empty text": with_gaps("", "  "),
    "pandas NA": pd.array(with_gaps(pd.NA, pd.NA), dtype="string"),
    "pandas integers": pd.array([pd.NA, pd.NA, *range(N - 2)], dtype="Int64"),
    "pandas categories": pd.Series(pd.Categorical(with_gaps(None, None))),
    "pandas times": pd.Series(pd.to_datetime([None, None, *["2020-01-01", "2020-01-02"] * 5])),
    "NaN that numpy made text of": np.array(with_gaps(np.nan, np.nan), dtype=str),
    "signalling NaN": with_gaps(Decimal("sNaN"), Decimal("NaN")),
    "polars text": pl.Series(with_gaps(None, None)),
    "polars numbers": pl.Series([None, None, *range(N - 2)]),
}
"""Kind of what is missing -> labels of which two are."""

Labelled = Callable[[Any], object]
TAKES: dict[str, Labelled] = {
    "bootstrap_interval cluster": lambda g: stats.bootstrap_interval(X, cluster=g, replicates=50),
    "bootstrap_interval within": lambda g: stats.bootstrap_interval(X, cluster=TEXT, within=g, replicates=50),
    "bootstrap_interval crossed": lambda g: stats.bootstrap_interval(X, cluster=TEXT, crossed=g, replicates=50),
    "mean_intervals strata": lambda g: stats.mean_intervals(X[:, None], strata=g, replicates=50),
    "bootstrap_interval strata": lambda g: stats.bootstrap_interval(X, strata=g, replicates=50),
    "mean_intervals cluster": lambda g: stats.mean_intervals(X[:, None], cluster=g, replicates=50),
    "equivalence_test cluster": lambda g: stats.equivalence_test(X, margin=1, cluster=g),
    "permutation_test cluster": lambda g: stats.permutation_test(X, cluster=g, permutations=50),
    "two_stage_slope unit": lambda g: two_stage_slope(SHARES, SHARES[::-1], unit=g),
    "shift_frame prompt": lambda g: shift_frame(SHARES, SHARES[::-1], prompt=g),
    "shift_frame labels": lambda g: shift_frame(SHARES, SHARES[::-1], labels={"role": g}),
    "mean_replicates cluster": lambda g: mean_replicates(X, np.ones((50, N)), cluster=g),
    "cluster_weights": lambda g: cluster_weights(g, 50, seed=0),
    "nested_weights cluster": lambda g: nested_weights(g, TEXT, 50, seed=0),
    "nested_weights within": lambda g: nested_weights(TEXT, g, 50, seed=0),
    "crossed_weights first": lambda g: crossed_weights(g, TEXT, 50, seed=0),
    "crossed_weights second": lambda g: crossed_weights(TEXT, g, 50, seed=0),
    "retention_index templates": lambda g: stats.retention_index(SCORES, SCORES, templates=g, top_k=[3], replicates=50),
    "retention_index strata": lambda g: stats.retention_index(
        SCORES[:, :N], SCORES[:, :N], strata=g, top_k=[3], replicates=50
    ),
    "between_overlap templates": lambda g: stats.between_overlap(SCORES, SCORES, templates=g, top_k=[3], replicates=50),
    "split_half_overlap templates": lambda g: stats.split_half_overlap(SCORES, SCORES, templates=g, top_k=[3]),
    "split_half_overlap strata": lambda g: stats.split_half_overlap(SCORES[:, :N], SCORES[:, :N], strata=g, top_k=[3]),
    "threshold_free_overlap templates": lambda g: stats.threshold_free_overlap(SCORES, SCORES, templates=g),
    "threshold_free_overlap strata": lambda g: stats.threshold_free_overlap(SCORES[:, :N], SCORES[:, :N], strata=g),
    "stratified_permutation_null": lambda g: stats.stratified_permutation_null(X, X, g, [3]),
    "expected_jaccard strata": lambda g: expected_jaccard_within_strata(X > 0, X > 0, g),
    "selectivity conditions": lambda g: stats.selectivity(np.abs(X)[:, None], g),
    "faithfulness_curve cluster": lambda g: stats.faithfulness_curve(
        X[None], full=X + 2, empty=X - 2, fractions=[0.5], cluster=g
    ),
    "transfer_ratio cluster": lambda g: stats.transfer_ratio(X, X, full=X + 2, empty=X - 2, cluster=g),
    "output_alignment kinds": lambda g: output_alignment(np.abs(SCORES[:, :N]), SCORES[:, :N], g),
    "probeable": probeable,
    "cross_validated_probe": lambda g: cross_validated_probe(SCORES, g),
    "modularity": lambda g: modularity(np.ones((N, N)) - np.eye(N), g),
    "participation_coefficient": lambda g: participation_coefficient(np.ones((N, N)) - np.eye(N), g),
    "linear_contrast groups": lambda g: contrast(groups=list(g)),
    "linear_contrast seeds": lambda g: contrast(seeds=list(g)),
    "linear_contrast cells": lambda g: contrast(seeds=list(range(N)), cells=list(g)),
    "fit_mixed_model group": lambda g: stats.fit_mixed_model(
        {"y": X, "g": g},  # type: ignore[arg-type]
        formula="y ~ 1",
        random="1 | g",
    ),
    "fit_mixed_model factor": lambda g: stats.fit_mixed_model(
        {"y": X, "f": g, "g": TEXT},  # type: ignore[arg-type]
        formula="y ~ C(f)",
        random="1 | g",
    ),
}
"""Every argument of a public function that labels something -> a call with labels."""


def contrast(*, groups: Any = None, seeds: Any = None, cells: Any = None) -> object:
    part = Replicated(label="x", estimate=0.0, replicates=None, se=None, df=1, units=2, influence=np.zeros(3))
    return linear_contrast([part] * N, [1.0] * N, groups or ["task"] * N, seeds=seeds, cells=cells)


@pytest.mark.parametrize("kind", MISSING)
@pytest.mark.parametrize("where", TAKES)
def test_missing_labels_are_refused_with_their_number(where: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"2 (missing|masked)") as caught:
        TAKES[where](MISSING[kind])
    assert "12" in str(caught.value)


@pytest.mark.parametrize("labels", [TEXT, tuple(TEXT), np.array(TEXT), pd.Series(TEXT), pl.Series(TEXT)])
def test_whole_labels_are_read_whatever_holds_them(labels: Any) -> None:
    found, count = codes(labels, "cluster", length=N)
    assert count == 6 and found.tolist() == [i % 6 for i in range(N)]


def test_a_mask_that_hides_nothing_is_no_gap() -> None:
    assert codes(np.ma.masked_array(TEXT, mask=[0] * N), "cluster", length=N)[1] == 6


def test_labels_of_several_types_are_refused_where_they_have_no_order() -> None:
    with pytest.raises(ValueError, match="cluster: expected labels of one type, got int, tuple"):
        codes(np.array([1, (2, 3), 1, (2, 3)], dtype=object), "cluster", length=4)


@pytest.mark.parametrize(
    "value", [None, float("nan"), float("inf"), np.nan, np.datetime64("NaT"), pd.NaT, pd.NA, "", b" "]
)
def test_what_says_nothing_is_missing(value: object) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, "0", "nan", False, (), ("a", 1), -1.5, pd.Timestamp("2020-01-01")])
def test_what_says_something_is_not_missing(value: object) -> None:
    assert not is_missing(value)


@pytest.mark.parametrize(
    "call",
    [
        lambda bad: jaccard(bad, [True, False]),
        lambda bad: jaccard([True, False], bad),
        binomial_rate,
        lambda bad: stats.edge_auroc([1.0, 2.0], bad),
        lambda bad: decision_times(np.ma.asarray(bad)[None], [2]),
    ],
)
@pytest.mark.parametrize("bad", [[np.nan, 1.0], [None, True], np.ma.masked_array([True, False], mask=[1, 0])])
def test_outcomes_and_memberships_that_are_missing_are_not_true(call: Labelled, bad: Any) -> None:
    with pytest.raises(ValueError, match="1 missing of 2"):
        call(bad)


@pytest.mark.parametrize("bad", [np.nan, None, 2])
def test_outcomes_of_repetitions_are_true_or_false(bad: Any) -> None:
    with pytest.raises(ValueError, match="outcomes"):
        clustered_rate([[True], [True, bad]])


def test_memberships_are_true_or_false() -> None:
    assert jaccard([1, 0, 1], [1.0, 0.0, 0.0]) == 0.5
    with pytest.raises(ValueError, match="first: expected true or false"):
        jaccard([2, 0], [True, False])


@pytest.mark.parametrize("call", [stats.bootstrap_interval, stats.gini])
def test_masked_numbers_are_refused(call: Labelled) -> None:
    with pytest.raises(ValueError, match="1 masked of 12"):
        call(np.ma.masked_array(np.abs(X), mask=[1, *[0] * (N - 1)]))


@pytest.mark.parametrize("values", [["a", "b"], [1j, 2j]])
def test_what_is_no_number_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="values: expected numbers, got"):
        stats.bootstrap_interval(values)


@pytest.mark.parametrize("labels", [[1, "1", 2, "2", 3, "3"] * 2, [True, "True"] * 6, [1.0, "1.0"] * 6])
def test_labels_of_several_types_are_not_made_the_same(labels: list[object]) -> None:
    with pytest.raises(ValueError, match=r"cluster: expected labels of one type, got \w+, str"):
        codes(labels, "cluster", length=12)


def test_large_numbers_are_not_made_the_same() -> None:
    assert codes([2**53, 2**53 + 1, 0.5], "cluster", length=3)[1] == 3
    assert codes([2**63 + 1, 2**63 + 2, -1], "cluster", length=3)[1] == 3
    assert codes([1, 1.0, 2], "cluster", length=3)[1] == 2


@pytest.mark.parametrize("values", [[pd.NA, 1.0], [1, 10**400], np.array([1, {}], dtype=object)])
def test_what_is_no_number_is_an_error(values: Any) -> None:
    with pytest.raises(ValueError, match="values: expected numbers, got values of "):
        stats.bootstrap_interval(values, replicates=50)
