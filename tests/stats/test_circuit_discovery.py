from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from stats import edge_auroc, recovery_at_size

# Few distinct values, so that ties are common.
EDGES = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30).filter(
    lambda edges: len({member for _, member in edges}) == 2
)


def arrays(edges: list[tuple[int, bool]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return np.array([score for score, _ in edges], float), np.array([member for _, member in edges], bool)


@given(edges=EDGES)
def test_auroc_is_that_of_scikit_learn_on_magnitudes(edges: list[tuple[int, bool]]) -> None:
    scores, truth = arrays(edges)
    assert edge_auroc(scores, truth) == pytest.approx(roc_auc_score(truth, np.abs(scores)))


@given(edges=EDGES)
def test_recovery_counts_true_edges_among_the_first_by_magnitude(edges: list[tuple[int, bool]]) -> None:
    scores, truth = arrays(edges)
    first = sorted(range(len(scores)), key=lambda edge: (-abs(scores[edge]), edge))[: int(truth.sum())]
    # An edge without any score is not found, wherever it stands.
    assert recovery_at_size(scores, truth) == pytest.approx(np.mean([truth[e] and scores[e] != 0 for e in first]))


def test_perfect_reversed_and_constant_scores_are_one_zero_and_chance() -> None:
    truth = np.array([True, False, True, False, False])
    assert edge_auroc([-3, 1, 2, 0, 0.5], truth) == recovery_at_size([-3, 1, 2, 0, 0.5], truth) == 1
    assert edge_auroc([0, 3, 0.5, -2, 1], truth) == recovery_at_size([0, 3, 0.5, -2, 1], truth) == 0
    assert edge_auroc(np.ones(5), truth) == 0.5


def test_where_all_edges_are_true_recovery_is_one_and_auroc_undefined() -> None:
    assert recovery_at_size([1, 2, 3], np.ones(3, bool)) == 1
    with pytest.raises(ValueError, match="got 3 on and 0 off"):
        edge_auroc([1, 2, 3], np.ones(3, bool))


@pytest.mark.parametrize("measure", [edge_auroc, recovery_at_size])
@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        ([1.0, np.nan], [True, False], "got 1 NaN or infinite of 2"),
        ([1.0, np.inf], [True, False], "got 1 NaN or infinite of 2"),
        ([1.0, 2.0], [False, False], "on the circuit"),
        ([1.0, 2.0], [True, False, True], "one boolean for each of 2 edges"),
        ([1.0, 2.0], [1, 0], "one boolean for each of 2 edges, got int64"),
        ([[1.0, 2.0]], [[True, False]], "expected 1 dimension"),
        ([], [], "at least one value"),
    ],
)
def test_malformed_scores_or_truth_are_refused(
    measure: object, scores: list[float], truth: list[bool], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measure(scores, truth)  # type: ignore[operator]
