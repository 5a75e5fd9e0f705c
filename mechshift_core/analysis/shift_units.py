"""Over which units the effects of a model of the layer-wise shift vary, and whether the model lets them.

Slopes over depth vary over prompts, prompt x pair, pairs and task x pair. A test of an effect holds only if the model
has a random slope for each of these that the effect varies over: roles are compared between pairs, regimes between
tasks, both on the same prompts. Pairs stand for training seeds; over fewer than five of them nothing is generalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from stats.minimums import MINIMUM_CLUSTERS
from stats.mixed_basis import Column
from stats.mixed_results import MixedModelFit

Unit: TypeAlias = tuple[str, ...]
PROMPT: Unit = ("prompt",)
PROMPT_PAIR: Unit = ("prompt", "pair")
PAIR: Unit = ("pair",)
TASK_PAIR: Unit = ("task", "pair")
OF_PAIRS, OF_TASKS = frozenset(("role", "pair", "seed")), frozenset(("task", "regime", "template"))
"""Columns that are properties of a pair, and of a task."""


@dataclass(frozen=True, slots=True)
class Untested:
    """Effects that can't be tested in a model.

    Attributes:
        terms: Their names.
        reasons: Why, in words.
    """

    terms: frozenset[str]
    reasons: tuple[str, ...]


def untested(fit: MixedModelFit, frame: pl.DataFrame) -> Untested:
    """Which effects of a fit vary over units that the model, or the study, does not have enough of.

    Args:
        fit: The model of the rows of `frame`.
        frame: The columns prompt, pair, task, role and seed of every row.
    """
    pairs, tasks = frame["pair"].n_unique(), frame["task"].n_unique()
    needed = {column.name: _units(column, pairs, tasks) for column in fit.design.columns}
    seeds = _fewest_seeds(frame)
    if pairs > 1 and seeds < MINIMUM_CLUSTERS:
        few = f"{seeds} seed{'s' if seeds > 1 else ''} a role"
        reason = (
            f"no tests of effects: they vary over pairs, which come from {few}, and from fewer than {MINIMUM_CLUSTERS} "
            "nothing can be said about others; the slopes below are for these seeds, over prompts"
        )
        return Untested(frozenset(needed), (reason,))
    variances = {(row["group"], row["term"]): row["variance"] or 0.0 for row in fit.variances.iter_rows(named=True)}
    has: dict[Unit, bool] = {}
    for unit in {unit for units in needed.values() for unit in units}:
        same = [group for group in fit.groups if _same(frame, tuple(group.split(":")), unit)]
        slopes = [variances[group, "depth"] for group in same if (group, "depth") in variances]
        if slopes:
            has[unit] = max(slopes) > 0
        if frame.select(unit).n_unique() == fit.n:  # it is the residual
            has[unit] = True
    lacking: dict[Unit, set[str]] = {}
    for name, units in needed.items():
        for unit in units:
            if not has.get(unit, False):
                lacking.setdefault(unit, set()).add(name)
    reasons = []
    absent = [unit for unit in lacking if unit not in has]
    if absent:
        entries = ", ".join(f"`0 + depth | {':'.join(unit)}`" for unit in absent)
        reasons.append(
            f"no tests of {_listed(set().union(*(lacking[unit] for unit in absent)), needed)}: they vary over "
            f"{', '.join(' x '.join(unit) for unit in absent)}, for which the model has no random slopes; {entries} "
            "would let them (`random: units` has all)"
        )
    zero = [unit for unit in lacking if unit in has]
    if zero:
        reasons.append(
            f"no tests of {_listed(set().union(*(lacking[unit] for unit in zero)), needed)}: the variance over "
            f"{', '.join(' x '.join(unit) for unit in zero)} is estimated as zero, which it need not be, and tests "
            "would take it to be; those of the slopes below do not rest on it"
        )
    return Untested(frozenset().union(*lacking.values()), tuple(reasons))


def _units(column: Column, pairs: int, tasks: int) -> list[Unit]:
    """The units that an effect varies over."""
    if pairs == 1:
        return [PROMPT]
    factors = {factor.removeprefix("C(").removesuffix(")") for factor, _ in column.levels}
    units = [PROMPT_PAIR] if factors & OF_PAIRS else [PROMPT, PROMPT_PAIR]
    if not factors & OF_TASKS:
        units.append(PAIR)
    return [*units, TASK_PAIR] if tasks > 1 else units


def _fewest_seeds(frame: pl.DataFrame) -> int:
    """Number of seeds of the role that has the fewest."""
    counts: list[int] = frame.group_by("role").agg(pl.col("seed").n_unique())["seed"].to_list()
    return min(counts)


def _same(frame: pl.DataFrame, one: Unit, other: Unit) -> bool:
    """Whether two groupings divide the rows in the same way."""
    if any(name not in frame.columns for name in one):
        return False
    count = frame.select([*dict.fromkeys((*one, *other))]).n_unique()
    return count == frame.select(one).n_unique() == frame.select(other).n_unique()


def _listed(terms: set[str], order: Mapping[str, object]) -> str:
    return ", ".join(name for name in order if name in terms)
