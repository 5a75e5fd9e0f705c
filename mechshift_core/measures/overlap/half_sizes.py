"""At how many prompts the top-K sets of a study are compared: one number for all pairs and tasks, since it matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mechshift_core.analysis.samples import Sample
from mechshift_core.kinds.measure import Key
from mechshift_core.measures.overlap.section import Overlap
from mechshift_core.spec import Spec
from stats.minimums import MINIMUM_PROMPTS


def with_half_size(samples: Mapping[Key, Sample], spec: Spec, *, at_most: bool = False) -> dict[Key, Sample]:
    """The samples with the number of prompts of each set that is compared.

    It is `measures.overlap.prompts`; unless given, half of the prompts of the smallest sample, of those that have
    enough for an interval. A smaller sample than these is halved by itself, and has points only.

    Args:
        samples: (pair, task) -> its sample.
        spec: The spec.
        at_most: Whether a declared number is let down to what there is: samples of A/A data are smaller than those of
            the study.
    """
    settings = spec.measures.of(Overlap)
    declared = None if settings is None else settings.prompts
    enough = [sample.n // 2 for sample in samples.values() if sample.n >= MINIMUM_PROMPTS]
    smallest = min(enough, default=None)
    size = declared if declared is not None else smallest
    if at_most and declared is not None and smallest is not None:
        size = min(declared, smallest)
    return {
        key: replace(sample, half_size=size if declared is not None or sample.n >= MINIMUM_PROMPTS else None)
        for key, sample in samples.items()
    }
