"""The study's own prompts drawn anew: data sets in which every estimate is about zero and errs as in the study.

A mean over prompts, or a ratio of means to first order, errs by the sum of what each prompt (or template) contributes.
Drawn with replacement, the same prompts for all pairs of a task, these contributions give estimates of zero on average
that are as skewed, as heavy-tailed and as dependent between pairs as those of the study are, and their standard errors
are computed from the prompts drawn. Of fixed templates as many prompts are drawn as there are, each template from its
own, and the errors are those within templates, as in the study.
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
from stats.strata import Strata, joined

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
    strata: dict[str, Numbers | None] = {}
    for (pair, task), numbers in units.items():
        pool[task].append(numbers)
        strata[task] = _strata(evidence.samples[pair, task])
    drawn = {task: _drawn(np.unique(np.concatenate(each)), strata[task], own, task) for task, each in pool.items()}
    found = {
        (measure, pair, task): _anew(one, drawn[task], units[pair, task], strata[task])
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


def _strata(sample: Sample) -> Numbers | None:
    """Number of the template of every prompt of the task, where templates are fixed; None without strata."""
    return None if sample.strata is None else np.unique(sample.strata, return_inverse=True)[1]


def _drawn(pool: Numbers, strata: Numbers | None, seed: int, task: str) -> Numbers:
    """As many units as there are, with replacement; each in its place, from its own stratum."""
    rng = generator(seed, "prompts drawn anew", task)
    if strata is None:
        return rng.choice(pool, size=len(pool))
    own = joined(strata[pool])
    drawn = np.empty_like(pool)
    for stratum in np.unique(own):
        places = own == stratum
        drawn[places] = rng.choice(pool[places], size=np.count_nonzero(places))
    return drawn


def _anew(one: Replicated, drawn: Numbers, units: Numbers, strata: Numbers | None) -> Replicated:
    """The estimate on the units drawn: zero, and the sum of their contributions.

    Args:
        one: The study's estimate.
        drawn: Numbers of the units drawn; those that the pair does not have are left out.
        units: Numbers of the pair's units.
        strata: Stratum of every unit of the task.
    """
    assert one.influence is not None
    kept = np.flatnonzero(np.isin(drawn, units))
    if len(kept) < 2:
        lacking = "fewer than two of its prompts were drawn"
        return replace(one, estimate=0.0, replicates=None, se=None, influence=None, message=lacking)
    study, anew = (
        Strata.made(np.zeros(len(own), dtype=np.int64) if strata is None else strata[own])
        for own in (units, drawn[kept])
    )
    # Without what they were scaled by, so that their squares added up to an unbiased variance.
    contributions = np.zeros(len(one.influence))
    contributions[units] = study.centred(one.influence[units]) / study.scale
    values = contributions[drawn[kept]] * len(units) / len(kept)
    influence, labels = np.zeros(len(drawn)), np.full(len(drawn), -1, dtype=np.int64)
    influence[kept] = anew.centred(values) * anew.scale
    labels[kept] = 0 if strata is None else strata[drawn[kept]]
    of_mean = one.own is not None
    return replace(
        one,
        estimate=float(values.sum()),
        replicates=None,
        se=float(np.linalg.norm(influence)),
        # Those of a mean follow from the prompts; a trimmed mean has those of what it keeps.
        df=float(anew.df_of(influence[kept][:, None])[0]) if of_mean else one.df,
        units=len(kept),
        influence=influence,
        strata=labels if strata is not None and anew.count > 1 else None,
        own=None if one.own is None else np.where(labels >= 0, influence, 0.0),
    )


def contributing(evidence: Evidence) -> Mapping[tuple[str, str, str], Replicated]:
    """The estimates of which the contributions of prompts are known."""
    return {name: one for name, one in evidence.replicated.items() if one.influence is not None and one.se}
