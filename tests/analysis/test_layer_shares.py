"""Where a metric stands still nothing is attributed, and the reason names model, metric and what to do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mechshift_core.analysis.layer_shares import shares_by_layer


def sample(after: np.ndarray[Any, Any], metric: str) -> Any:
    """Two models on three of four examples, with an edge from each of three layers."""
    scores = {"before": np.array([[1.0, -1.0, 2.0]] * 3), "after": after}
    answers = SimpleNamespace(clean_metric=np.array([-3.0, -0.5, 0.0, -0.25]))
    sides = tuple((name, SimpleNamespace(model=f"model-{name}", answers=answers)) for name in scores)
    graph = SimpleNamespace(
        receivers=[SimpleNamespace(layer=2)],
        sources=[SimpleNamespace(layer=layer) for layer in (-1, 0, 1)],
        edge_index=(np.array([0, 1, 2]), None),
    )
    return SimpleNamespace(
        graph=graph,
        sides=sides,
        side=dict(sides).__getitem__,
        scores=scores.__getitem__,
        ids=lambda _: np.array([0, 2, 3]),
        dataset=SimpleNamespace(metric=metric),
    )


@pytest.mark.parametrize("metric", ["log_probability", "logit_difference"])
def test_examples_without_attribution_are_said_with_their_metric(metric: str) -> None:
    after = np.array([[1.0, 0.5, 0.25], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    with pytest.raises(
        ValueError, match="'model-after' has no attribution at all on 2 of 3 selected examples"
    ) as caught:
        shares_by_layer(sample(after, metric))
    said = str(caught.value)
    assert f"the metric '{metric}' does not move there (its value is -0.25 to 0)" in said
    assert said.endswith("use `metric: logit_difference`") == (metric == "log_probability")


def test_shares_of_all_other_examples_sum_to_one() -> None:
    after = np.array([[1.0, 0.5, 0.25]] * 3)
    found = shares_by_layer(sample(after, "log_probability"))
    assert {side: share.sum(axis=1).round(12).tolist() for side, share in found.items()} == {
        "before": [1.0] * 3,
        "after": [1.0] * 3,
    }
