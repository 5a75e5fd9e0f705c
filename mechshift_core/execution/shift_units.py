"""Over which units the effects of a model of the layer-wise shift vary, and whether the model lets them.

Slopes over depth vary over prompts, prompt x pair, pairs and task x pair. A test of an effect holds only if the model
has a random slope for each of these that the effect varies over: roles are compared between pairs, regimes between
tasks, both on the same prompts. Pairs stand for training seeds; over fewer than five of them nothing is generalised.
Where templates are random, what varies over prompts varies over templates, too; over fewer than five nothing is
generalised either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
WITHIN: Mapping[Unit, Unit] = {PROMPT: ("template",), PROMPT_PAIR: ("template", "pair")}
"""What prompts are nested in, where templates are random."""
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


def lacking_units(
    columns: Sequence[Column],
    random: Iterable[tuple[str, str]],
    frame: pl.DataFrame,
    rows: int,
    *,
    by_template: bool = False,
) -> dict[Unit, set[str]]:
    """Units that some effects vary over and that a model has no slopes for, with the names of these effects.

    Args:
        columns: The fixed effects.
        random: Group and column of every random effect.
        frame: The columns prompt, template, pair, task, role and seed of every row.
        by_template: Whether templates are random.
        rows: Number of independent rows: a unit of as many levels is the residual.
    """
    pairs, tasks = frame["pair"].n_unique(), frame["task"].n_unique()
    slopes = [tuple(group.split(":")) for group, name in random if name == "depth"]
    found: dict[Unit, set[str]] = {}
    for column in columns:
        units = _units(column, pairs, tasks)
        for unit in [*units, *(WITHIN[one] for one in units if by_template and one in WITHIN)]:
            found.setdefault(unit, set()).add(column.name)
    return {
        unit: names
        for unit, names in found.items()
        if frame.select(unit).n_unique() != rows and not any(_same(frame, group, unit) for group in slopes)
    }


def without_slopes(lacking: Mapping[Unit, set[str]], columns: Sequence[Column]) -> str:
    """What a model lacks, in words."""
    entries = ", ".join(f"`0 + depth | {':'.join(unit)}`" for unit in lacking)
    return (
        f"no tests of {_listed(set().union(*lacking.values()), columns)}: they vary over "
        f"{', '.join(' x '.join(unit) for unit in lacking)}, for which the model has no random slopes "
        f"({entries}; `random: units` has all that there are)"
    )


def has_templates(frame: pl.DataFrame) -> bool:
    """Whether there are enough templates to be units, and these are other units than prompts."""
    return _fewest_templates(frame) >= MINIMUM_CLUSTERS and not _same(frame, PROMPT, WITHIN[PROMPT])


def untested(fit: MixedModelFit, frame: pl.DataFrame, *, by_template: bool = False) -> Untested:
    """Which effects of a fit vary over units that the model, or the study, does not have enough of.

    Args:
        fit: The model of the rows of `frame`.
        frame: The columns prompt, template, pair, task, role and seed of every row.
        by_template: Whether templates are random.
    """
    columns, seeds = fit.design.columns, _fewest_seeds(frame)
    names = frozenset(column.name for column in columns)
    variances = {(row["group"], row["term"]): row["variance"] or 0.0 for row in fit.variances.iter_rows(named=True)}
    absent = lacking_units(columns, variances, frame, fit.n, by_template=by_template)
    reasons = [without_slopes(absent, columns)] if absent else []
    if frame["pair"].n_unique() > 1 and seeds < MINIMUM_CLUSTERS:
        few = f"{seeds} seed{'s' if seeds > 1 else ''} a role"
        reason = (
            f"no tests of effects: they vary over pairs, which come from {few}, and from fewer than {MINIMUM_CLUSTERS} "
            "nothing can be said about others; the slopes below are for these seeds, over prompts"
        )
        return Untested(names, (reason, *reasons))
    templates = _fewest_templates(frame) if by_template else MINIMUM_CLUSTERS
    if templates < MINIMUM_CLUSTERS:
        reason = (
            f"no tests of effects: templates are random, and a task has {templates} of them: from fewer than "
            f"{MINIMUM_CLUSTERS} nothing can be said about others"
        )
        return Untested(names, (reason,))
    varying = [one for one, variance in variances.items() if variance > 0]
    without = lacking_units(columns, varying, frame, fit.n, by_template=by_template)
    zero = {unit: of for unit, of in without.items() if unit not in absent}
    if zero:
        reasons.append(
            f"no tests of {_listed(set().union(*zero.values()), columns)}: the variance over "
            f"{', '.join(' x '.join(unit) for unit in zero)} is estimated as zero, which it need not be, and tests "
            "would take it to be; those of the slopes below do not rest on it"
        )
    return Untested(frozenset().union(*absent.values(), *zero.values()), tuple(reasons))


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


def _fewest_templates(frame: pl.DataFrame) -> int:
    """Number of templates of the task that has the fewest."""
    counts: list[int] = frame.group_by("task").agg(pl.col("template").n_unique())["template"].to_list()
    return min(counts)


def _same(frame: pl.DataFrame, one: Unit, other: Unit) -> bool:
    """Whether two groupings divide the rows in the same way."""
    if any(name not in frame.columns for name in one):
        return False
    count = frame.select([*dict.fromkeys((*one, *other))]).n_unique()
    return count == frame.select(one).n_unique() == frame.select(other).n_unique()


def _listed(names: set[str], columns: Sequence[Column]) -> str:
    return ", ".join(column.name for column in columns if column.name in names)
