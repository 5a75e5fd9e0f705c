"""Where in depth the circuit lies: shares per layer, their paired shift, its slope and the early share."""

from __future__ import annotations

from dataclasses import replace

from mechshift_core.analysis.layer_shares import Values, shares_by_layer
from mechshift_core.analysis.measured import Measured, Rows, located, mean_estimate, mean_interval
from mechshift_core.analysis.samples import Sample
from mechshift_core.measures.depth.section import Depth
from mechshift_core.spec import Spec
from stats.depth import depth_slope, early_share, scaled_depth


def measure_depth(sample: Sample, spec: Spec) -> Measured:
    """Rows of `layers`; `depth_slope` and `early_share` as per-prompt shifts."""
    settings = spec.measures.of(Depth)
    assert settings is not None
    shares = _shares(sample)
    if isinstance(shares, str):
        return _unmeasured(shares)
    found = _shifts(sample, spec, shares)
    sides = [
        mean_estimate(sample, spec, "early_share", side, early_share(share, settings.early))
        for side, share in shares.items()
    ]
    rows = _rows(sample, spec, {**shares, "shift": shares["after"] - shares["before"]})
    return replace(found, rows={"layers": rows}, estimates=(*sides, *found.estimates))


def measure_depth_shifts(sample: Sample, spec: Spec) -> Measured:
    """`depth_slope` and `early_share` alone, as hypotheses are tested with them."""
    shares = _shares(sample)
    return _unmeasured(shares) if isinstance(shares, str) else _shifts(sample, spec, shares)


def _shares(sample: Sample) -> dict[str, Values] | str:
    """Shares by layer, or why there are none."""
    if sample.too_few:
        return sample.too_few
    try:
        return shares_by_layer(sample)
    except ValueError as error:
        return str(error)


def _unmeasured(reason: str) -> Measured:
    return Measured(problems=dict.fromkeys(("depth_slope", "early_share"), reason))


def _shifts(sample: Sample, spec: Spec, shares: dict[str, Values]) -> Measured:
    settings = spec.measures.of(Depth)
    assert settings is not None
    early = {side: early_share(share, settings.early) for side, share in shares.items()}
    per_prompt = {
        "depth_slope": depth_slope(shares["after"] - shares["before"]),
        "early_share": early["after"] - early["before"],
    }
    return Measured(
        estimates=tuple(mean_estimate(sample, spec, name, "shift", values) for name, values in per_prompt.items()),
        replicated={name: located(sample, spec, name, values) for name, values in per_prompt.items()},
    )


def _rows(sample: Sample, spec: Spec, shares: dict[str, Values]) -> Rows:
    rows: Rows = []
    for side, values in shares.items():
        for layer, depth in enumerate(scaled_depth(values.shape[1])):
            interval = mean_interval(sample, spec, values[:, layer])
            rows.append(
                {
                    **sample.labels(),
                    "side": side,
                    "layer": layer,
                    "depth": float(depth),
                    "share": interval.estimate,
                    "n": sample.n,
                    "low": interval.low,
                    "high": interval.high,
                }
            )
    return rows
