"""Slopes of the layer-wise shift over depth, in groups of models and tasks, and their differences, by their own units.

A slope over depth is taken of every prompt on every pair of models first: the layers of a prompt, whose shifts sum to
zero, are one number then, and no unit of their own. These slopes vary

    over prompts, which all pairs of a task share;  over prompt x pair;
    over pairs (a training seed in a role);  over task x pair.

Contrasts are of the means of every pair on every task. Two inferences follow:

over prompts and seeds:
    with S seeds the contrast is made for every seed, and varies over seeds with S - 1 degrees of freedom (Welch's where
    roles have seeds of their own): all that is particular to pairs, to task x pair and to prompt x pair is in it,
    whatever their sizes, and no variance has to be fitted that could come out as zero. What prompts add that all seeds
    share comes on top (`stats.two_way`).
over prompts, for these seeds:
    below five seeds, where the spread over seeds can't be told: the contrast is made for every prompt, paired over
    pairs, and varies over prompts. It says nothing about models of another seed.

Tasks are taken as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from stats.hypothesis_tests import TestResult, difference_test
from stats.minimums import MINIMUM_CLUSTERS
from stats.mixed_columns import as_frame, level_codes, number_column
from stats.multiplicity import holm
from stats.options import Share, checked
from stats.prompt_means import mean_replicates
from stats.replicates import Replicated, linear_contrast

Kind: TypeAlias = Literal["slope", "difference", "difference in differences"]
KINDS: tuple[Kind, ...] = ("slope", "difference", "difference in differences")
COLUMNS = ("slope", "prompt", "task", "pair", "role", "seed")
"""What the table of slopes has, and besides them the factors, where they are others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeContrast:
    """A slope or a difference of slopes.

    Attributes:
        kind: What it is.
        levels: Factor -> the level it is taken at, or `first - second`.
        over: What its error is over: `prompts and seeds`, or `prompts` alone, for these seeds; of prompts that are
            drawn in clusters, these, e.g. `templates and seeds`.
        seed: The seed that it is of; None for the mean over all of them.
        seeds: Number of seeds in it, by the group that has the fewest.
        test: Against zero.
        p_corrected: Holm-adjusted p over the means over all seeds; None for a single seed.
        message: What to keep in mind.
    """

    kind: Kind
    levels: Mapping[str, str]
    over: str
    seed: str | None
    seeds: int
    test: TestResult
    p_corrected: float | None
    message: str


@dataclass(frozen=True, slots=True)
class _Part:
    """The slopes of one pair on one task."""

    task: str
    pair: str
    role: str
    seed: str
    levels: Mapping[str, str]
    mean: Replicated


@checked
def slope_contrasts(
    slopes: pl.DataFrame,
    *,
    factors: Mapping[str, tuple[str, str]],
    cluster: str | None = None,
    strata: str | None = None,
    confidence: Share = 0.95,
    each_seed: bool = True,
) -> tuple[SlopeContrast, ...]:
    """Every slope, then every difference of slopes, then the difference in differences, each followed by its seeds.

    Within a group the pairs and tasks have equal weights.

    Args:
        slopes: One row for each prompt on each pair and task, as `stats.slope_frame` makes it: `COLUMNS` and the
            factors. Prompts of one task that have the same label are the same prompt; tasks share none.
        factors: At most two factors with the two levels that are compared, first minus second, e.g.
            `{"role": ("treatment", "control")}`. One of which a level does not occur is left out.
        cluster: Column of what the prompts are drawn with, e.g. `template`; prompts are drawn one by one by default.
        strata: Column of the prompts' stratum, e.g. `template` where templates are fixed (:mod:`stats.strata`).
        confidence: Of the two-sided intervals.
        each_seed: Whether the seeds follow; the means over all of them are the same without.

    Raises:
        ValueError: if a column is missing, has gaps or is of the wrong type, a prompt has two rows on a pair and task,
            a pair and task has two roles, seeds or levels of a factor, or there are more than two factors.
    """
    data = slopes if isinstance(slopes, pl.DataFrame) else as_frame(slopes)
    if len(factors) > 2:
        raise ValueError(f"factors: expected at most 2, got {', '.join(factors)}")
    if cluster is not None and strata is not None:
        raise ValueError("expected strata or clusters, got both")
    parts = _parts(data, tuple(factors), cluster, strata)
    unit = "prompts" if cluster is None else f"{cluster}s"
    used = {name: levels for name, levels in factors.items() if set(levels) <= {part.levels[name] for part in parts}}
    found: list[SlopeContrast] = []
    for size in range(len(used) + 1):
        for across in itertools.combinations(used, size):
            within = [name for name in used if name not in across]
            for chosen in itertools.product(*(used[name] for name in within)):
                at = dict(zip(within, chosen, strict=True))
                named = at | {name: " - ".join(used[name]) for name in across}
                levels = {name: named[name] for name in used}
                groups = _groups(at, {name: used[name] for name in across})
                found += _with_seeds(KINDS[size], levels, groups, parts, confidence, each_seed, unit)
    means = [i for i, one in enumerate(found) if one.seed is None]
    for i, p in zip(means, holm([found[i].test.p for i in means]), strict=True):
        found[i] = replace(found[i], p_corrected=p)
    return tuple(found)


_Groups: TypeAlias = list[tuple[int, dict[str, str]]]


def _groups(at: Mapping[str, str], across: Mapping[str, tuple[str, str]]) -> _Groups:
    """Sign and levels of every group of a contrast."""
    return [
        ((-1) ** sum(chosen), {**at, **{name: pair[i] for (name, pair), i in zip(across.items(), chosen, strict=True)}})
        for chosen in itertools.product((0, 1), repeat=len(across))
    ]


def _with_seeds(
    kind: Kind,
    levels: Mapping[str, str],
    groups: _Groups,
    parts: Sequence[_Part],
    confidence: float,
    each_seed: bool,
    unit: str,
) -> list[SlopeContrast]:
    whole = _weighted(groups, parts)
    if not whole:
        return []
    fewest = min(len({part.seed for part in members}) for members in _by_cell(whole).values())
    mean = _contrast(kind, levels, whole, None, fewest, confidence, unit)
    seeds = list(dict.fromkeys(part.seed for part in parts if any(part is one for one, _ in whole)))
    if len(seeds) < 2 or not each_seed:
        return [mean]
    cells = _by_cell(whole).keys()
    single = [(seed, _weighted(groups, [part for part in parts if part.seed == seed])) for seed in seeds]
    return [
        mean,
        *(
            _contrast(kind, levels, own, seed, 1, confidence, unit)
            for seed, own in single
            if _by_cell(own).keys() == cells
        ),
    ]


def _weighted(groups: _Groups, parts: Sequence[_Part]) -> list[tuple[_Part, float]]:
    """The parts of a contrast with their weights; none where a group has no part."""
    found: list[tuple[_Part, float]] = []
    for sign, at in groups:
        members = [part for part in parts if all(part.levels[name] == level for name, level in at.items())]
        if not members:
            return []
        found += [(part, sign / len(members)) for part in members]
    return found


def _by_cell(weighted: Sequence[tuple[_Part, float]]) -> dict[tuple[str, str], list[_Part]]:
    """The parts by what they are replications of over the seeds: a role on a task."""
    found: dict[tuple[str, str], list[_Part]] = {}
    for part, _ in weighted:
        found.setdefault((part.role, part.task), []).append(part)
    return found


def _contrast(
    kind: Kind,
    levels: Mapping[str, str],
    weighted: Sequence[tuple[_Part, float]],
    seed: str | None,
    seeds: int,
    confidence: float,
    unit: str,
) -> SlopeContrast:
    parts = [part for part, _ in weighted]
    over_seeds = seeds >= MINIMUM_CLUSTERS
    result = linear_contrast(
        [part.mean for part in parts],
        [weight for _, weight in weighted],
        [part.task for part in parts],
        seeds=[part.seed for part in parts] if over_seeds else None,
        cells=[part.role for part in parts],
    )
    test = difference_test(result.estimate, result.se, result.df, confidence=confidence, skewness=result.skewness)
    several = len({part.pair for part in parts}) > 1 or seeds > 1
    conditional = "" if over_seeds or seed is not None or not several else _for_these(seeds, unit)
    return SlopeContrast(
        kind=kind,
        levels=dict(levels),
        over=f"{unit} and seeds" if over_seeds else unit,
        seed=seed,
        seeds=seeds,
        test=test,
        p_corrected=None,
        message="; ".join(filter(None, (conditional, result.message or test.message))),
    )


def _for_these(seeds: int, unit: str) -> str:
    these = "this seed" if seeds == 1 else f"these {seeds} seeds"
    return f"for {these}, over {unit}: fewer than {MINIMUM_CLUSTERS} seeds allow no test over seeds"


def _parts(data: pl.DataFrame, factors: Sequence[str], cluster: str | None, strata: str | None) -> list[_Part]:
    where = "slopes"
    values = number_column(data, "slope", where)
    labels = {
        name: _labels(data, name, where)
        for name in dict.fromkeys([*COLUMNS[1:], *factors, *(name for name in (cluster, strata) if name is not None)])
    }
    found = []
    for task in dict.fromkeys(labels["task"].tolist()):
        on_task = labels["task"] == task
        prompts, example = np.unique(labels["prompt"][on_task], return_inverse=True)
        drawn, within = (
            None if name is None else _by_prompt(labels[name][on_task], example, len(prompts), name)
            for name in (cluster, strata)
        )
        for pair in dict.fromkeys(labels["pair"][on_task].tolist()):
            own = labels["pair"][on_task] == pair
            one = {name: _only(labels[name][on_task][own], name, pair, task) for name in ("role", "seed", *factors)}
            mean = _mean(values[on_task][own], example[own], len(prompts), drawn, within, f"slope of {pair} on {task}")
            at = {name: one[name] for name in factors}
            found.append(_Part(task, pair, one["role"], one["seed"], at, mean))
    return found


def _labels(data: pl.DataFrame, name: str, where: str) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    if name in data.columns and data[name].n_unique() == 1 and not data[name].null_count():
        return np.full(data.height, str(data[name][0]))
    codes, levels = level_codes(data, (name,), where)
    return np.asarray(levels)[codes]


def _only(labels: np.ndarray[tuple[int], np.dtype[np.str_]], name: str, pair: str, task: str) -> str:
    if len(set(labels.tolist())) > 1:
        raise ValueError(f"slopes: expected one {name} of pair {pair!r} on task {task!r}, got {sorted({*labels})}")
    return str(labels[0])


def _by_prompt(
    labels: np.ndarray[tuple[int], np.dtype[np.str_]],
    example: np.ndarray[tuple[int], np.dtype[np.intp]],
    count: int,
    name: str,
) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """The label of every prompt of a task [count]."""
    found = np.empty(count, dtype=labels.dtype)
    found[example] = labels
    if (found[example] != labels).any():
        raise ValueError(f"slopes: expected one {name} of every prompt, got several")
    return found


def _mean(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    example: np.ndarray[tuple[int], np.dtype[np.intp]],
    count: int,
    cluster: np.ndarray[tuple[int], np.dtype[np.str_]] | None,
    strata: np.ndarray[tuple[int], np.dtype[np.str_]] | None,
    label: str,
) -> Replicated:
    if len(np.unique(example)) < len(example):
        raise ValueError(f"{label}: expected one row for each prompt, got {len(example)} for {len(np.unique(example))}")
    if len(values) < 2:
        return Replicated(
            label=label,
            estimate=float(values[0]),
            replicates=None,
            se=None,
            df=0,
            units=1,
            message=f"1 prompt(s): fewer than {MINIMUM_CLUSTERS}, no interval",
        )
    # The standard error is analytic: it takes no replicates.
    return mean_replicates(values, np.ones((1, count)), label=label, examples=example, cluster=cluster, strata=strata)
