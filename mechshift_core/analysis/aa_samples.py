"""A/A data of a run: one model of each pair on two random halves of its own prompts, called before and after.

The model is the one after, whose scores are what a study is about: two pairs often share the model before, and a
contrast of a model's halves with themselves would be zero whatever the halves. Where two pairs share the model after,
the second is read on its model before.

Each repetition matches the prompts of a task in twos at random, within templates (where these are fixed, an odd prompt
is left out of each) and, as far as it goes, within those that the same pairs select; the first of the two is read
before, the second after. The matching is drawn once for all pairs, so that a pair of prompts is resampled jointly for
all of them, as a prompt is in the study. There are half as many of them as the study has prompts, and their differences
are unpaired: they vary as two models do that have no more in common on a prompt than on any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.samples import Sample, Samples, Side
from stats.seeding import derived_seed, generator

Ids = npt.NDArray[np.int64]
Key = tuple[str, str]
"""Pair and task."""


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """What the halves of a pair and task are drawn from.

    Attributes:
        sample: The study's sample, with one of its models as both sides.
        pool: Ids of the prompts that it selects, on either side, ascending.
        side: Which of the two models it is: `before` or `after`.
    """

    sample: Sample
    pool: Ids
    side: str


def sources(samples: Samples) -> dict[Key, Source]:
    """The sources of the halves of every pair and task that was executed."""
    found: dict[Key, Source] = {}
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for (pair, task), sample in samples.by_pair_and_task.items():
        if pair not in chosen:
            free = [name for name, side in reversed(sample.sides) if side.model not in taken]
            chosen[pair] = free[0] if free else "after"
            taken.add(sample.side(chosen[pair]).model)
        side: Side = sample.side(chosen[pair])
        pool = np.union1d(sample.selected, sample.ids("after"))
        found[pair, task] = Source(replace(sample, before=side, after=side), pool, chosen[pair])
    return found


def draw(found: Mapping[Key, Source], *, seed: int, repetition: int) -> dict[Key, Sample]:
    """The A/A samples of one repetition; its draws follow from the seed and its number alone.

    Args:
        found: See :func:`sources`.
        seed: Seed of the calibration.
        repetition: Its number.
    """
    own = derived_seed(seed, "A/A repetition", repetition)
    tasks = dict.fromkeys(task for _, task in found)
    matched = {task: _matched({pair: s for (pair, of), s in found.items() if of == task}, own, task) for task in tasks}
    drawn: dict[Key, Sample] = {}
    for (pair, task), source in found.items():
        twos = matched[task][np.isin(matched[task], source.pool).all(axis=1)]
        drawn[pair, task] = replace(
            source.sample, selected=twos[:, 0], selected_after=twos[:, 1], spec_seed=own, known={}
        )
    return drawn


def _matched(of_task: Mapping[str, Source], seed: int, task: str) -> Ids:
    """The prompts that some pair selects in twos, [twos, 2], by the first of each; an odd one is left out."""
    sample = next(iter(of_task.values())).sample
    selected = np.stack([np.isin(np.arange(sample.total), source.pool) for source in of_task.values()])
    _, pattern = np.unique(selected, axis=1, return_inverse=True)
    _, template = np.unique(sample.templates, return_inverse=True)
    rng = generator(seed, "A/A halves", task)
    order = np.lexsort((rng.random(sample.total), pattern, template))
    order = order[np.isin(order, np.flatnonzero(selected.any(axis=0)))]
    if not sample.by_template:
        order = _even(order, template)
    twos = order[: len(order) // 2 * 2].reshape(-1, 2)
    # Two of different patterns come in the order of these: which of them is before is drawn, too.
    twos = rng.permuted(twos, axis=1)
    return twos[np.argsort(twos[:, 0])]


def _even(order: Ids, template: Ids) -> Ids:
    """The prompts in this order without the odd one of each template, so that all twos are of one template.

    Templates that are fixed are strata only where both sides have the same ones. Nothing is left out where that would
    be half of the prompts or more, as where every prompt is a template of its own.
    """
    own = template[order]
    last = np.r_[own[1:] != own[:-1], True][: len(own)]
    odd = np.bincount(own)[own] % 2 == 1
    kept = order[~(last & odd)]
    return kept if 2 * len(kept) > len(order) else order
