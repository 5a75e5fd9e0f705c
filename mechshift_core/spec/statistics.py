"""The sections of what a finding is about, and how it is decided."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.spec.base import Location, NonEmpty, Section, Share


class Units(Section):
    """What a finding generalises over: `random` units are resampled, `fixed` ones are taken as they are."""

    prompt: Literal["random", "fixed"] = "random"
    """Prompts."""
    template: Literal["random", "fixed"] = "fixed"
    """Sentence frames, which prompts are nested in: `random` draws templates, each with all of its prompts. Below 5
    templates there are points only. `fixed` ones are strata: the error of per-prompt measures is that within them."""
    seed: Literal["random", "fixed"] = "fixed"
    """Training seeds, which pairs are nested in: `random` tests hypotheses over prompts and seeds, crossed; every pair
    needs its `seed`. Below 5 seeds there are points only."""


class Bootstrap(Section):
    """Intervals by resampling prompts."""

    method: Literal["studentized", "percentile", "bca"] = "studentized"
    """`studentized` holds its level with few prompts; `percentile` and `bca` need more. Hypotheses are decided by
    estimate and standard error of the replicates, with t quantiles; `percentile` takes the replicates' own quantiles,
    moved so that their mean is the estimate (not where seeds are random: replicates are over prompts alone)."""
    replicates: Annotated[int, Field(ge=100, le=1_000_000)] = 5000
    """Resamples: at least 2 / (1 - `confidence`), 40 at .95 and 2000 at .999; for tests by `percentile` at least 100,
    and enough for a p-value that reaches the level after the correction."""


class MixedModel(Section):
    """A mixed-effects model of the layer-wise shift: one row for each prompt and layer on every pair."""

    formula: NonEmpty = "shift ~ depth * regime * role"
    """Response and fixed effects, of the columns depth (-1/2 to 1/2), layer, prompt, template, task, regime, pair, role
    and seed. The first level of a factor in alphabetical order is its reference."""
    random: Annotated[tuple[NonEmpty, ...], Field(min_length=1)] | Literal["units"] = "units"
    """Random effects, `effects | group`; no intercepts, since the shifts of a prompt sum to zero. `units`: slopes over
    depth of all units that there are, `prompt`, and with several pairs `prompt:pair`, `pair` and `task:pair`; where
    templates are random, `template` and `template:pair` too. Effects that vary over a unit that is not among the random
    effects are given without a test, and all where a task has fewer than 5 random templates."""


class Statistics(Section):
    """How estimates become findings."""

    units: Units = Units()
    """What is random."""
    location: Location = "mean"
    """What is estimated of measures that have one value for each prompt (`depth_slope`, `early_share`, `alignment`,
    `decision_time`, `right_context`, `revealed_share`, `targeted`, `overwritten`, `brier`, `residual_shift`,
    `prediction_shift`): the `mean`, or the 20 % trimmed mean (`trimmed`), which a few extreme prompts do not move.
    Where values are skewed that is another quantity than the mean. Of random templates it is the trimmed mean of their
    means. Tables other than `findings` and `indices` keep the mean."""
    bootstrap: Bootstrap = Bootstrap()
    """Intervals."""
    mixed_model: MixedModel | None = None
    """A mixed-effects model of the layer-wise shift, on shares and on their centred log-ratios, and beside it the
    slopes over depth in every role and regime with their differences: over prompts and seeds from 5 seeds on, below
    over prompts, for these seeds."""
    confidence: Share = 0.95
    """Coverage of the intervals; hypotheses are tested at one minus it."""
    correction: Literal["holm", "none", "benjamini-hochberg"] = "holm"
    """Correction for the number of hypotheses."""

    @property
    def by_quantiles(self) -> bool:
        """Whether the quantiles of replicates over prompts decide hypotheses: they can't where seeds are random."""
        return self.bootstrap.method == "percentile" and self.units.seed == "fixed"
