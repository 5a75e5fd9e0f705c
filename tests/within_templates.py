"""The standard error of a mean over prompts of fixed templates, and its degrees of freedom, by the definitions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np


def by_stratum(values: np.ndarray[Any, np.dtype[np.float64]], templates: Sequence[str]) -> list[list[float]]:
    """The values of each template; templates of a single prompt form one stratum, and a lone one joins all."""
    single = [template for template in templates if list(templates).count(template) == 1]
    groups: dict[str, list[float]] = defaultdict(list)
    for value, template in zip(values.tolist(), templates, strict=True):
        groups["" if template in single or len(single) == 1 else template].append(value)
    return list(groups.values())


def sem(values: np.ndarray[Any, np.dtype[np.float64]], templates: Sequence[str]) -> float:
    """Root of sum n_t s_t^2 / n^2."""
    return float(np.sqrt(sum(len(own) * np.var(own, ddof=1) for own in by_stratum(values, templates))) / len(values))


def df(values: np.ndarray[Any, np.dtype[np.float64]], templates: Sequence[str]) -> float:
    """Welch's degrees of freedom, at most those of equal variances and 1 at least."""
    groups = by_stratum(values, templates)
    parts = [(len(own) * float(np.var(own, ddof=1)), len(own)) for own in groups]
    welch = sum(v for v, _ in parts) ** 2 / sum(v**2 / (n + 1) for v, n in parts) - 2
    equal = len(values) ** 2 / sum(n**2 / (n - 1) for _, n in parts)
    return max(1.0, min(welch, equal))
