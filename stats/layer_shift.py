"""Layer-wise shift: how each prompt's attribution moved between layers, as a table for a mixed model.

    fit_mixed_model(
        shift_frame(before, after, labels={"regime": regime, "pair": pair}),
        formula="shift ~ depth * regime",
        random=["0 + depth | prompt", "0 + depth | prompt:pair", "0 + depth | pair"],
        sums_to_zero=["prompt", "pair"],
    )

Shares of a prompt sum to one and their changes to zero, so that a random intercept of prompts is zero by construction,
and only L - 1 of its L rows are independent (`sums_to_zero`); what varies is the slope over depth. On the log-ratio
scale a change is relative to the geometric mean of all layers, which does not let one layer's gain show as a loss of
all others (Aitchison 1986). The two-stage analysis, a slope for each prompt and a t-test over prompts
(`two_stage_slope`; for roles and regimes `stats.shift_contrasts`), needs no model: without other random effects, and
with a variance of the slopes above zero, both give the same estimate, standard error and degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from stats.checks import Floats, as_floats, codes, known_labels
from stats.depth import depth_slope, scaled_depth
from stats.hypothesis_tests import TestResult, difference_test
from stats.mixed_columns import as_column, one_type
from stats.options import Share, checked
from stats.resampling import MINIMUM_CLUSTERS, clustered_mean

Labels: TypeAlias = Sequence[Any] | NDArray[Any]
ShiftScale: TypeAlias = Literal["share", "log-ratio"]

_SUM_TOLERANCE = 1e-6


@checked
def shift_frame(
    before: ArrayLike,
    after: ArrayLike,
    *,
    prompt: Labels | None = None,
    labels: Mapping[str, Labels] | None = None,
    scale: ShiftScale = "share",
    replacement: Share | None = None,
) -> pl.DataFrame:
    """One row for each prompt and layer.

    Args:
        before: Shares of the model before [n, L], non-negative, rows sum to one; L >= 2.
        after: Shares of the model after, of the same prompts in the same order.
        prompt: Label of each row [n]; 0..n-1 by default. A prompt may have several rows, e.g. one for each seed.
        labels: Further columns, one value for each row [n], e.g. regime, role and seed.
        scale: `share` for the difference of shares, `log-ratio` for that of their centred log-ratios.
        replacement: For log-ratios, what a share of zero is replaced by; see :func:`centred_log_ratio`.

    Returns:
        prompt, the labels, layer, depth (-1/2 to 1/2) and shift (after minus before), ordered by row, then layer.

    Raises:
        ValueError: if shapes or lengths do not match, shares are negative or do not sum to one, a label has a reserved
            name, or a replacement is given for shares or is too large.
    """
    shift = _shift(before, after, scale, replacement)
    layers = shift.shape[1]
    return pl.DataFrame(
        {
            **_labelled(len(shift), prompt, labels, ("layer", "depth", "shift"), layers),
            "layer": np.tile(np.arange(layers), len(shift)),
            "depth": np.tile(scaled_depth(layers), len(shift)),
            "shift": shift.ravel(),
        }
    )


@checked
def slope_frame(
    before: ArrayLike,
    after: ArrayLike,
    *,
    prompt: Labels | None = None,
    labels: Mapping[str, Labels] | None = None,
    scale: ShiftScale = "share",
    replacement: Share | None = None,
) -> pl.DataFrame:
    """One row for each prompt: the slope of its shift over depth, as :func:`stats.slope_contrasts` takes it.

    Args:
        before: Shares of the model before [n, L], non-negative, rows sum to one; L >= 2.
        after: Shares of the model after, of the same prompts in the same order.
        prompt: Label of each row [n], as are `labels`, `scale` and `replacement`: see :func:`shift_frame`.
        labels: Further columns, e.g. task, pair, role, seed and regime.
        scale: `share` or `log-ratio`.
        replacement: For log-ratios, what a share of zero is replaced by.

    Returns:
        prompt, the labels, and slope (:func:`stats.depth_slope`).

    Raises:
        ValueError: as :func:`shift_frame`.
    """
    slopes = depth_slope(_shift(before, after, scale, replacement))
    return pl.DataFrame({**_labelled(len(slopes), prompt, labels, ("slope",), 1), "slope": slopes})


def _labelled(
    n: int, prompt: Labels | None, labels: Mapping[str, Labels] | None, taken: Sequence[str], times: int
) -> dict[str, pl.Series]:
    """Columns of labels, each value `times` times."""
    columns: dict[str, Labels] = {"prompt": np.arange(n) if prompt is None else prompt, **(labels or {})}
    reserved = [name for name in ("prompt", *taken) if name in (labels or {})]
    if reserved:
        names = f"{', '.join(('prompt', *taken[:-1]))} and {taken[-1]}"
        raise ValueError(f"labels: expected other names than {names}, got {', '.join(reserved)}")
    long = {}
    for name, values in columns.items():
        known_labels(values, name)
        series = one_type(as_column(name, values), "labels")
        if len(series) != n:
            raise ValueError(f"{name}: expected {n} labels, one for each row of the shares, got {len(series)}")
        long[name] = series.gather(np.repeat(np.arange(n), times))
    return long


@checked
def centred_log_ratio(shares: ArrayLike, *, replacement: Share | None = None) -> Floats:
    """Logarithms of shares [n, L] minus their mean over layers.

    Zeros are first replaced by `replacement`, and the other shares of the row multiplied by 1 - its total, so that rows
    still sum to one and ratios between the others stay (Martin-Fernandez et al. 2003).

    Args:
        shares: Non-negative, rows sum to one.
        replacement: Between 0 and 1; 1 / L^2 by default. Results depend on it where there are zeros: vary it.

    Raises:
        ValueError: if shares are negative or do not sum to one, or the replacements would fill a row.
    """
    array = _shares(shares, "shares")
    delta = 1 / array.shape[1] ** 2 if replacement is None else replacement
    zero = array == 0
    filled = delta * zero.sum(axis=1, keepdims=True)
    if filled.max() >= 1:
        raise ValueError(
            f"replacement: expected less than 1 in all, got {delta} for each of {int(zero.sum(axis=1).max())} zeros"
        )
    logs = np.log(np.where(zero, delta, array * (1 - filled)))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


@checked
def two_stage_slope(
    before: ArrayLike,
    after: ArrayLike,
    *,
    unit: Labels | None = None,
    scale: ShiftScale = "share",
    replacement: Share | None = None,
    confidence: Share = 0.95,
) -> TestResult:
    """Mean over prompts of the slope of the shift over depth, with a one-sample t-test over units.

    Negative: attribution moved towards early layers.

    Args:
        before: Shares of the model before [n, L].
        after: Shares of the model after [n, L].
        unit: Independent unit of each row [n], e.g. its prompt where prompts have several rows; every row by default.
            The standard error is cluster-robust with units - 1 degrees of freedom; with rows as units it is that of the
            t-test.
        scale: As for :func:`shift_frame`, as is `replacement`.
        replacement: For log-ratios, what a share of zero is replaced by.
        confidence: Of the two-sided interval.

    Raises:
        ValueError: as :func:`shift_frame`.
    """
    slopes = depth_slope(_shift(before, after, scale, replacement))
    n = len(slopes)
    code, units = (np.arange(n), n) if unit is None else codes(unit, "unit", length=n)
    mean, se, _, _ = clustered_mean(slopes, code, units)
    if units < MINIMUM_CLUSTERS:
        result = difference_test(mean, None, None, confidence=confidence)
        return replace(result, se=se, message=f"{units} unit(s): fewer than {MINIMUM_CLUSTERS}, no test")
    return replace(
        difference_test(mean, se, units - 1, confidence=confidence), method="slope for each row, t-test over units"
    )


def _shift(before: ArrayLike, after: ArrayLike, scale: ShiftScale, replacement: float | None) -> Floats:
    if scale == "share" and replacement is not None:
        raise ValueError("replacement: only for log-ratios, shares of zero need none")
    first, second = _shares(before, "before"), _shares(after, "after")
    if first.shape != second.shape:
        raise ValueError(f"after: expected the shape of before, {first.shape}, got {second.shape}")
    if scale == "log-ratio":
        first, second = (centred_log_ratio(x, replacement=replacement) for x in (first, second))
    return np.asarray(second - first)


def _shares(values: ArrayLike, name: str) -> Floats:
    array = as_floats(values, name, dimensions=2)
    if array.shape[1] < 2:
        raise ValueError(f"{name}: expected at least 2 layers, got {array.shape[1]}")
    negative = int((array < 0).any(axis=1).sum())
    off = int((np.abs(array.sum(axis=1) - 1) > _SUM_TOLERANCE).sum())
    if negative or off:
        raise ValueError(
            f"{name}: expected shares (non-negative, rows sum to one), got {negative} row(s) with negative values and "
            f"{off} with another sum of {len(array)}"
        )
    return array
