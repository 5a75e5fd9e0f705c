"""Shapley values and interactions of a model's strongest components, from knocking them out in combinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.indices import Compared, SideIndex, replicated_index
from mechshift_core.analysis.measured import Rows, mean_interval
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.execution.scores import Stored
from mechshift_core.interventions.ablation.section import Ablation
from mechshift_core.spec import Spec
from stats.hypothesis_tests import difference_test
from stats.shapley import Interactions, order_share_replicates, order_shares, shapley_interactions
from stats.shapley_sampling import estimated_interactions

Floats = npt.NDArray[np.float64]
_NUMBERS = ("order", "share", "null", "null_low", "null_high", "low", "high")


@dataclass(frozen=True, eq=False, slots=True)
class Combined:
    """One model's strongest components knocked out in combinations.

    Attributes:
        names: The components; `found` has their Shapley values and interactions on each selected example.
        metric: The metric of every combination on each of them, [n, 2^components]; None where they were sampled.
    """

    names: list[str]
    found: Interactions
    metric: Floats | None


def combined(sample: Sample, side: str, stored: Stored, intervention: Ablation) -> Combined:
    """What an ablation left of a side of a pair, for the selected examples."""
    settings = intervention.shapley
    assert settings is not None
    names: list[str] = stored.description["strongest_shapley"]
    metric = stored.tensors["shapley"].astype(np.float64)[:, sample.ids(side)].T
    order = min(settings.order, len(names))
    if metric.shape[1] == 2 ** len(names):
        return Combined(names, shapley_interactions(metric, order=order), metric)
    assert settings.budget is not None
    place = {stored.description["components"].index(name): number for number, name in enumerate(names)}
    sample_of = np.zeros((metric.shape[1], len(names)), dtype=bool)
    for row, members in zip(sample_of, stored.description["members_shapley"], strict=True):
        row[[place[number] for number in members]] = True
    found = estimated_interactions(metric, sample_of, order=settings.order, budget=settings.budget, seed=sample.seed)
    return Combined(names, found, None)


def shapley_rows(sample: Sample, spec: Spec, intervention: Ablation, sides: Mapping[str, Combined]) -> Rows:
    """Rows of `shapley`: every component and every set, with its interval."""
    rows: Rows = []
    for side, one in sides.items():
        labels = ablation_labels(sample, side, intervention)
        for members, values in zip(one.found.sets, one.found.values.T, strict=True):
            interval = mean_interval(sample, spec, values)
            rows.append(
                {
                    **labels,
                    "order": len(members),
                    "components": " ".join(one.names[number] for number in members),
                    "value": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                }
            )
    return rows


def order_rows(sample: Sample, spec: Spec, intervention: Ablation, sides: Mapping[str, Combined]) -> Rows:
    """Rows of `shapley_orders`: the shares of the orders, before, after and shift."""
    weights = task_weights(sample, spec.statistics.bootstrap.replicates)
    try:
        shares = {side: list(_shares(one, weights, sample.seed)) for side, one in sides.items()}
    except ValueError as error:
        return [
            {**ablation_labels(sample, side, intervention), **dict.fromkeys(_NUMBERS), "status": str(error)}
            for side in (*sides, "shift")
        ]
    rows: Rows = []
    for order, (before, after) in enumerate(zip(shares["before"], shares["after"], strict=False), start=1):
        for side, value in Compared("", before, after).sides.items():
            result = replicated_index(sample, f"share of order {order} ({side})", value)
            test = difference_test(result.estimate, result.se, result.df, confidence=spec.statistics.confidence)
            rows.append(
                {
                    **ablation_labels(sample, side, intervention),
                    "order": order,
                    "share": value.value,
                    **{name: value.reference.get(name) for name in ("null", "null_low", "null_high")},
                    "status": "ok",
                    "low": test.low,
                    "high": test.high,
                }
            )
    return rows


def _shares(one: Combined, weights: npt.NDArray[np.int64], seed: int) -> Iterator[SideIndex]:
    """The share of every order, from the first.

    Raises:
        ValueError: if not every combination was run, or none changes the mean metric.
    """
    if one.metric is None:
        raise ValueError(
            "a sample of the combinations was run: shares need all of them, and intervals do not contain the error of "
            "the sample"
        )
    found = order_shares(one.metric, seed=seed)
    replicates = order_share_replicates(one.metric, weights)
    nulls = zip(found.null.tolist(), found.null_low.tolist(), found.null_high.tolist(), strict=True)
    for value, replicated, (null, low, high) in zip(found.value.tolist(), replicates.T, nulls, strict=True):
        yield SideIndex(value, replicated, {"null": null, "null_low": low, "null_high": high})


def ablation_labels(sample: Sample, side: str, intervention: Ablation) -> dict[str, object]:
    """What a row on a side of a pair, or on the shift, says of itself and of the ablation that it is from."""
    model = None if side == "shift" else sample.side(side).model
    named = {"intervention": intervention.name, "ablation": intervention.ablation}
    return {**sample.labels(), "model": model, "side": side, **named}
