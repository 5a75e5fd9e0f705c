"""The study's own prompts drawn anew: data sets in which every estimate is about zero and errs as in the study.

A mean over prompts, or a ratio of means to first order, errs by the sum of what each prompt (or template) contributes.
Drawn with replacement, the same prompts for all pairs of a task, these contributions give estimates of zero on average
that are as skewed, as heavy-tailed and as dependent between pairs as those of the study are, and their standard errors
are computed from the prompts drawn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.hypotheses import Evidence
from mechshift_core.analysis.samples import Sample
from stats.replicates import Replicated
from stats.seeding import derived_seed, generator

Numbers = npt.NDArray[np.int64]


def resampled(evidence: Evidence, *, seed: int, repetition: int) -> Evidence:
    """One data set; its draws follow from the seed and the repetition's number alone.

    Args:
        evidence: The study's, of which every estimate has contributions of its prompts.
        seed: Seed of the calibration.
        repetition: Its number.
    """
    own = derived_seed(seed, "resampled", repetition)
    units = {key: _units(evidence.samples[key]) for key in {(pair, task) for _, pair, task in evidence.replicated}}
    pool: dict[str, list[Numbers]] = defaultdict(list)
    for (_, task), numbers in units.items():
        pool[task].append(numbers)
    drawn = {task: _drawn(np.unique(np.concatenate(numbers)), own, task) for task, numbers in pool.items()}
    found = {
        (measure, pair, task): _anew(one, drawn[task], units[pair, task])
        for (measure, pair, task), one in evidence.replicated.items()
    }
    return replace(evidence, replicated=found)


def _units(sample: Sample) -> Numbers:
    """Numbers of the selected examples among those of the task, or of their templates among the sorted ones."""
    selected = np.union1d(sample.selected, sample.ids("after"))
    templates = sample.clusters(selected)
    if templates is None:
        return selected
    return np.asarray(np.searchsorted(np.unique(sample.templates), np.unique(templates)), dtype=np.int64)


def _drawn(pool: Numbers, seed: int, task: str) -> Numbers:
    return generator(seed, "prompts drawn anew", task).choice(pool, size=len(pool))


def _anew(one: Replicated, drawn: Numbers, units: Numbers) -> Replicated:
    """The estimate on the units drawn: zero, and the mean of their contributions."""
    assert one.influence is not None
    kept = np.isin(drawn, units)
    count = int(kept.sum())
    if count < 2:
        lacking = "fewer than two of its prompts were drawn"
        return replace(one, estimate=0.0, replicates=None, se=None, influence=None, message=lacking)
    size = len(units)
    own = one.influence[units]
    # What the influence was scaled by, so that its squares add up to an unbiased variance.
    values = np.where(kept, one.influence[drawn] - own.mean(), 0.0) * np.sqrt((size - 1) / size) * size
    mean = float(values[kept].mean())
    influence = np.where(kept, values - mean, 0.0) / np.sqrt(count * (count - 1))
    return replace(
        one,
        estimate=mean,
        replicates=None,
        se=float(np.linalg.norm(influence)),
        df=count - 1,
        units=count,
        influence=influence,
    )


def contributing(evidence: Evidence) -> Mapping[tuple[str, str, str], Replicated]:
    """The estimates of which the contributions of prompts are known."""
    return {name: one for name, one in evidence.replicated.items() if one.influence is not None and one.se}
