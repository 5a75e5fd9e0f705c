"""How far the model after is from the model before on the same prompts: streams, representations, predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import (
    Measured,
    Results,
    Rows,
    joined,
    located,
    mean_estimate,
    mean_interval,
    mean_intervals_of,
)
from mechshift_core.analysis.read_at import read_apart
from mechshift_core.analysis.samples import Sample
from mechshift_core.interventions.movement.read import READ, Both, both_read, unlike
from mechshift_core.interventions.movement.representations import measure_representations, representation_rows
from mechshift_core.interventions.movement.section import Movement
from mechshift_core.spec import Spec
from stats.distances import cosine_distance, kl_divergence

Floats = npt.NDArray[np.float64]


def measure_movement(sample: Sample, spec: Spec, own: Movement, results: Results) -> Measured:
    """Rows of all tables of the kind, and its measures; or why the models can't be compared."""
    both = both_read(sample, results)
    if isinstance(both, str):
        return _nothing(sample, own, both)
    rows = {
        "residual_shift": _stream_rows(sample, spec, own, both),
        "representation_similarity": representation_rows(sample, spec, own, both),
        "prediction_shift": [_prediction_row(sample, spec, own, both)],
    }
    return joined([*(take(sample, spec, own, both) for take in _MEASURED.values())], **rows)


def measure_movement_shift(sample: Sample, spec: Spec, own: Movement, results: Results) -> Measured:
    """The measures that some hypothesis names, without the tables, as hypotheses are tested with them."""
    both = both_read(sample, results)
    if isinstance(both, str):
        return Measured(problems=dict.fromkeys(_MEASURED, both))
    tested = {hypothesis.measure for hypothesis in spec.hypotheses}
    return joined(take(sample, spec, own, both) for name, take in _MEASURED.items() if name in tested)


def _nothing(sample: Sample, own: Movement, reason: str) -> Measured:
    """A row of each table that says why there is nothing."""
    base: dict[str, object] = {
        **sample.labels(),
        "intervention": own.name,
        "n": 0,
        "status": reason,
        "low": None,
        "high": None,
    }
    place: dict[str, object] = {"token_role": READ, "layer": None}
    lacking = ("kl", "kl_reverse", "reverse_low", "reverse_high", "same_token")
    rows: dict[str, Rows] = {
        "residual_shift": [base | place | {"distance": None, "length_ratio": None}],
        "representation_similarity": [base | place | {"cka": None, "biased": None}],
        "prediction_shift": [base | dict.fromkeys(lacking)],
    }
    return Measured(rows=rows, problems=dict.fromkeys(_MEASURED, reason))


def _one_location(sample: Sample, spec: Spec, measure: str, values: Floats, own: Movement) -> Measured:
    """The location of one value of each prompt, which compares both models and so has no sides."""
    one = mean_estimate(sample, spec, measure, "shift", values)
    found = replace(one, method=f"{own.name}: {one.method}")
    return Measured(estimates=(found,), replicated={measure: located(sample, spec, measure, values)})


def _measure_streams(sample: Sample, spec: Spec, own: Movement, both: Both) -> Measured:
    """1 - cosine at the position read, mean over the streams that the layers have written to."""
    lacking = read_apart(sample, spec) or _unlike_streams(sample, both)
    if lacking:
        return Measured(problems={"residual_shift": lacking})
    distances = [cosine_distance(*pair) for pair in both.streams(READ)]
    return _one_location(sample, spec, "residual_shift", np.mean(distances[1:], axis=0), own)


def _measure_predictions(sample: Sample, spec: Spec, own: Movement, both: Both) -> Measured:
    """KL(before || after) of the predictions."""
    lacking = unlike(sample, "vocabularies", both.vocabulary)
    if lacking:
        return Measured(problems={"prediction_shift": lacking})
    return _one_location(sample, spec, "prediction_shift", kl_divergence(*both.predictions()), own)


_MEASURED: Mapping[str, Callable[[Sample, Spec, Movement, Both], Measured]] = {
    "residual_shift": _measure_streams,
    "representation_similarity": measure_representations,
    "prediction_shift": _measure_predictions,
}
"""Measure that hypotheses can name -> what computes it."""


def _unlike_streams(sample: Sample, both: Both) -> str:
    return unlike(sample, "hidden sizes", both.hidden) or unlike(sample, "numbers of streams", both.layers)


def _stream_rows(sample: Sample, spec: Spec, own: Movement, both: Both) -> Rows:
    """A row for each role and stream."""
    lacking = _unlike_streams(sample, both)
    if lacking:
        return [*_nothing(sample, own, lacking).rows["residual_shift"]]
    apart = read_apart(sample, spec)
    rows: Rows = [*_nothing(sample, own, apart).rows["residual_shift"]] if apart else []
    for role in both.roles:
        if role == READ and apart:
            continue
        kept = both.present(role)
        if not len(kept):
            continue
        streams = list(both.streams(role))
        distances = np.stack([cosine_distance(*pair) for pair in streams], axis=1)
        found = mean_intervals_of(sample, spec, distances, sample.selected[kept])
        for layer, pair in enumerate(streams):
            low, high = float(found.low[layer]), float(found.high[layer])
            rows.append(
                {
                    **sample.labels(),
                    "intervention": own.name,
                    "token_role": role,
                    "layer": layer,
                    "distance": float(found.estimate[layer]),
                    "low": None if np.isnan(low) else low,
                    "high": None if np.isnan(high) else high,
                    "length_ratio": _length_ratio(*pair),
                    "n": len(kept),
                    "status": "ok",
                }
            )
    return rows


def _length_ratio(before: Floats, after: Floats) -> float | None:
    own, other = (np.linalg.norm(one, axis=1) for one in (before, after))
    return float(np.median(other / own)) if own.all() else None


def _prediction_row(sample: Sample, spec: Spec, own: Movement, both: Both) -> dict[str, object]:
    lacking = unlike(sample, "vocabularies", both.vocabulary)
    if lacking:
        return _nothing(sample, own, lacking).rows["prediction_shift"][0]
    before, after = both.predictions()
    there, back = (mean_interval(sample, spec, kl_divergence(*pair)) for pair in ((before, after), (after, before)))
    return {
        **sample.labels(),
        "intervention": own.name,
        "kl": there.estimate,
        "low": there.low,
        "high": there.high,
        "kl_reverse": back.estimate,
        "reverse_low": back.low,
        "reverse_high": back.high,
        "same_token": float((before.argmax(axis=1) == after.argmax(axis=1)).mean()),
        "n": sample.n,
        "status": "ok",
    }
