"""Contrasts of slopes over depth, by their own units: against t-tests that are made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats as scipy_stats
from simulated_slopes import FACTORS, slopes

from stats import SlopeContrast, difference_test, holm, slope_contrasts, slope_frame
from stats.skewness import skewness_of_estimate

DIFFERENCE = {"role": "treatment - control", "regime": "global"}
BOTH = {"role": "treatment - control", "regime": "global - local"}


def picked(frame: pl.DataFrame, levels: dict[str, str], seed: str | None = None, **options: Any) -> SlopeContrast:
    found = slope_contrasts(frame, factors=FACTORS, **options)
    [one] = [one for one in found if one.levels == levels and one.seed == seed]
    return one


def by_seed(frame: pl.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
    """Mean slope of every seed [seeds], in each role and regime."""
    means = frame.group_by("role", "regime", "seed", "task").agg(pl.col("slope").mean())
    means = means.group_by("role", "regime", "seed").agg(pl.col("slope").mean()).sort("seed")
    return {
        f"{role} {regime}": means.filter((pl.col("role") == role) & (pl.col("regime") == regime))["slope"].to_numpy()
        for role in FACTORS["role"]
        for regime in FACTORS["regime"]
    }


def test_over_seeds_it_is_the_t_test_of_the_seeds_own_contrasts() -> None:
    frame = slopes([1], pair_sd=0.2, prompt_pair_sd=1e-9)
    cell = by_seed(frame)
    local = cell["treatment local"] - cell["control local"]
    expected = cell["treatment global"] - cell["control global"]
    for levels, values in ((DIFFERENCE, expected), (BOTH, expected - local)):
        one = picked(frame, levels)
        t = scipy_stats.ttest_1samp(values, 0)
        assert (one.over, one.seeds, one.test.df) == ("prompts and seeds", 5, pytest.approx(4))
        assert one.test.estimate == pytest.approx(values.mean())
        assert one.test.statistic == pytest.approx(t.statistic, rel=1e-6)
        assert one.test.p == pytest.approx(t.pvalue, rel=1e-6) and one.message == ""


def test_roles_with_seeds_of_their_own_are_compared_by_welchs_test() -> None:
    frame = slopes([2], pair_sd=0.2, prompt_pair_sd=1e-9, seeds=7, shared=False)
    kept = frame.filter(~pl.col("seed").is_in(["control 5", "control 6"]))
    kept = kept.with_columns(slope=pl.when(pl.col("role") == "control").then(3 * pl.col("slope")).otherwise("slope"))
    # A prompt's slope is three times as large on every control too: it is the same for all seeds and no part of Welch.
    kept = kept.with_columns(
        slope=pl.col("slope")
        - pl.col("slope").mean().over("role", "prompt", "task")
        + pl.col("slope").mean().over("role", "task")
    )
    cell = by_seed(kept)
    one = picked(kept, DIFFERENCE)
    welch = scipy_stats.ttest_ind(cell["treatment global"], cell["control global"], equal_var=False)
    assert one.seeds == 5
    assert one.test.statistic == pytest.approx(welch.statistic, rel=1e-6)
    assert one.test.df == pytest.approx(welch.df, rel=1e-5)


def test_below_five_seeds_it_is_over_prompts_paired_for_these_seeds() -> None:
    frame = slopes([3], pair_sd=0.02, seeds=3, tasks=1)
    one = picked(frame, DIFFERENCE)
    assert (one.over, one.seeds) == ("prompts", 3)
    assert one.message == "for these 3 seeds, over prompts: fewer than 5 seeds allow no test over seeds"
    table = frame.filter(pl.col("regime") == "global").group_by("prompt", "role").agg(pl.col("slope").mean())
    table = table.pivot("role", index="prompt", values="slope").sort("prompt")
    values = (table["treatment"] - table["control"]).to_numpy()
    assert one.test.estimate == pytest.approx(values.mean())
    assert one.test.se == pytest.approx(values.std(ddof=1) / np.sqrt(30))
    skewness = skewness_of_estimate((values - values.mean()) * np.sqrt(30 / 29) / 30)
    expected = difference_test(values.mean(), one.test.se, 29, skewness=skewness)
    assert one.test.p == pytest.approx(expected.p)


def test_every_seed_is_listed_after_the_mean() -> None:
    frame = slopes([4], pair_sd=0.02, seeds=3)
    found = slope_contrasts(frame, factors=FACTORS)
    assert [one.seed for one in found] == [None, "0", "1", "2"] * 9
    for i in range(0, len(found), 4):
        assert found[i].test.estimate == pytest.approx(np.mean([one.test.estimate for one in found[i + 1 : i + 4]]))
        assert all(one.over == "prompts" and one.p_corrected is None for one in found[i + 1 : i + 4])
    means = [one for one in found if one.seed is None]
    assert [one.p_corrected for one in means] == holm([one.test.p for one in means])
    assert [one.kind for one in means] == ["slope"] * 4 + ["difference"] * 4 + ["difference in differences"]


def test_without_each_seed_the_means_are_the_same() -> None:
    frame = slopes([4], pair_sd=0.02, seeds=3)
    means = [one for one in slope_contrasts(frame, factors=FACTORS) if one.seed is None]
    assert list(slope_contrasts(frame, factors=FACTORS, each_seed=False)) == means


def test_what_fixed_templates_differ_by_is_no_error() -> None:
    frame = slopes([9], pair_sd=0.02, seeds=2, tasks=1)
    template = pl.col("prompt") % 3
    apart = frame.with_columns(template=template, slope=pl.col("slope") + 5 * template)
    options = {"factors": {"role": FACTORS["role"]}, "each_seed": False, "strata": "template"}
    plain = slope_contrasts(frame.with_columns(template=template), **options)[0]
    moved = slope_contrasts(apart, **options)[0]
    assert moved.test.estimate == pytest.approx(plain.test.estimate + 5) and moved.test.se == pytest.approx(
        plain.test.se
    )
    treatment = frame.filter(pl.col("role") == "treatment")
    variance = 0.0
    for task in treatment["task"].unique():
        means = treatment.filter(pl.col("task") == task).group_by("prompt").agg(pl.col("slope").mean()).sort("prompt")
        for number in range(3):
            own = means["slope"].to_numpy()[number::3]
            variance += (10 / 30) ** 2 * own.var(ddof=1) / 10 / 4
    assert plain.test.se == pytest.approx(np.sqrt(variance))
    assert slope_contrasts(apart, **{**options, "strata": None})[0].test.se > 10 * plain.test.se
    with pytest.raises(ValueError, match="strata or clusters, got both"):
        slope_contrasts(apart, **options, cluster="template")


def test_prompts_that_all_seeds_share_are_random_too() -> None:
    alike = slopes([5], pair_sd=0.02, prompt_role_sd=0.0)
    apart = slopes([5], pair_sd=0.02, prompt_role_sd=0.5)
    assert picked(apart, DIFFERENCE).test.se > 3 * picked(alike, DIFFERENCE).test.se


def test_a_seed_that_lacks_a_role_is_in_the_mean_but_has_no_difference_of_its_own() -> None:
    frame = slopes([6], pair_sd=0.02, seeds=6).filter((pl.col("seed") != "5") | (pl.col("role") == "treatment"))
    found = [one for one in slope_contrasts(frame, factors=FACTORS) if one.levels == DIFFERENCE]
    assert found[0].seeds == 5 and [one.seed for one in found[1:]] == ["0", "1", "2", "3", "4"]


def test_a_factor_of_which_a_level_is_missing_is_left_out() -> None:
    frame = slopes([7], pair_sd=0.02).filter(pl.col("role") == "treatment")
    found = [one for one in slope_contrasts(frame, factors=FACTORS) if one.seed is None]
    assert [dict(one.levels) for one in found] == [
        {"regime": "global"},
        {"regime": "local"},
        {"regime": "global - local"},
    ]


def test_few_prompts_have_points_only() -> None:
    frame = slopes([8], pair_sd=0.02, seeds=1, prompts=4)
    one = picked(frame, DIFFERENCE)
    assert one.test.p is None and one.test.status == "points only" and "fewer than 5" in one.message
    [mean] = slope_contrasts(frame.filter((pl.col("pair") == "control 0") & (pl.col("prompt") == 0)), factors={})
    assert mean.test.p is None and mean.test.estimate == pytest.approx(
        frame.filter((pl.col("pair") == "control 0") & (pl.col("prompt") == 0))["slope"].mean()
    )


def test_templates_are_drawn_with_their_prompts() -> None:
    frame = slopes([9], pair_sd=0.02, seeds=1).with_columns(template=pl.col("prompt") % 6)
    one = picked(frame, DIFFERENCE, cluster="template")
    assert one.over == "templates" and one.message.startswith("for this seed, over templates: ")
    assert one.test.df is not None and one.test.df < picked(frame, DIFFERENCE).test.df / 4  # type: ignore[operator]


BAD = {
    "a missing column": (lambda frame: frame.drop("seed"), "no column 'seed'"),
    "a prompt twice": (lambda frame: pl.concat([frame, frame[:1]]), "expected one row for each prompt"),
    "a pair of two roles": (
        lambda frame: frame.with_columns(role=pl.when(pl.col("prompt") == 0).then(pl.lit("x")).otherwise("role")),
        "expected one role of pair",
    ),
    "a gap": (
        lambda frame: frame.with_columns(slope=pl.when(pl.col("prompt") == 0).then(None).otherwise("slope")),
        "no gaps in column 'slope'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_tables_that_can_not_be_read_are_refused(case: str) -> None:
    change, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        slope_contrasts(change(slopes([1], pair_sd=0)), factors=FACTORS)


def test_more_than_two_factors_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 2"):
        slope_contrasts(slopes([1], pair_sd=0), factors=FACTORS | {"task": ("a", "b")})


def test_slopes_of_shares_have_the_labels_of_their_rows() -> None:
    before, after = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]), np.array([[0.2, 0.3, 0.5], [0.2, 0.2, 0.6]])
    frame = slope_frame(before, after, prompt=["x", "y"], labels={"pair": ["p", "p"]})
    assert frame.columns == ["prompt", "pair", "slope"]
    assert frame["slope"].to_list() == pytest.approx([0.6, 0])
    with pytest.raises(ValueError, match="other names than prompt and slope, got slope"):
        slope_frame(before, after, labels={"slope": [1, 2]})
