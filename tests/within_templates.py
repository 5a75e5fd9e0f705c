"""The standard error of a mean over prompts of fixed templates, by the definition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np


def sem(values: np.ndarray[Any, np.dtype[np.float64]], templates: Sequence[str]) -> float:
    """Root of sum n_t s_t^2 / n^2; templates of a single prompt form one stratum, and a lone one joins all."""
    single = [template for template in templates if list(templates).count(template) == 1]
    groups: dict[str, list[float]] = defaultdict(list)
    for value, template in zip(values.tolist(), templates, strict=True):
        groups["" if template in single or len(single) == 1 else template].append(value)
    return float(np.sqrt(sum(len(own) * np.var(own, ddof=1) for own in groups.values())) / len(values))
