"""The mixed model that a spec declares, held against fitting the rows by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from intervention_study import table, write_effective_study
from ruamel.yaml import YAML
from safetensors.numpy import load_file
from scipy import stats as scipy_stats

from mechshift_core import load_spec, run
from mechshift_core.analysis.mixed import disagreement
from mechshift_core.execution.plan import make_plan
from mechshift_core.execution.prompts import cautions
from mechshift_core.execution.shift_model import random_effects
from mechshift_core.execution.shift_units import has_templates, untested
from mechshift_core.graph import Graph
from mechshift_core.pipeline import Run
from mechshift_core.spec import SpecError
from stats import (
    MixedModelFit,
    SlopeContrast,
    difference_test,
    fit_mixed_model,
    holm,
    layer_shares,
    shift_frame,
    slope_frame,
)

pytestmark = pytest.mark.long

FORMULA, RANDOM = "shift ~ depth * role", ["0 + depth | prompt"]


def write(folder: Path, **model: Any) -> Path:
    path = write_effective_study(folder, examples=16, hypotheses=[])
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["select"] = {"correct": "none"}
    content["statistics"]["mixed_model"] = {"formula": FORMULA, "random": RANDOM, **model}
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("mixed")
    return run(write(folder), out=folder / "out")


def by_hand(made: Run, scale: Any) -> tuple[MixedModelFit, dict[str, Any]]:
    """The fit to the rows of both pairs, and the slopes of every pair's prompts."""
    stored = {
        row["model"]: load_file(made.path / row["path"])["scores"]
        for row in table(made.path, "edge_scores").iter_rows(named=True)
    }
    plan = make_plan(load_spec(made.path.parent / "study.yaml"))
    graph = Graph.of(plan.models["before"].shape)
    layer = np.array([node.layer for node in graph.sources])[graph.edge_index[0]]
    shares = {name: layer_shares(scores, layer, 2) for name, scores in stored.items()}
    roles = {"after": "treatment", "continued": "control"}
    parts = [
        shift_frame(shares["before"], shares[after], labels={"role": [role] * 16, "pair": [role] * 16}, scale=scale)
        for after, role in roles.items()
    ]
    slopes = {
        role: slope_frame(shares["before"], shares[after], scale=scale)["slope"].to_numpy()
        for after, role in roles.items()
    }
    fit = fit_mixed_model(pl.concat(parts), formula=FORMULA, random=RANDOM, sums_to_zero=["prompt", "pair"])
    return fit, slopes


@pytest.mark.parametrize("scale", ["share", "log-ratio"])
def test_the_table_holds_the_fit_of_the_rows_of_all_pairs(scale: str, finished: Run) -> None:
    rows = table(finished.path, "mixed_models").filter(pl.col("scale") == scale)
    fixed, expected = rows.filter(pl.col("part") == "fixed"), by_hand(finished, scale)[0].fixed
    assert fixed["term"].to_list() == expected["term"].to_list() == ["depth", "depth:role[T.treatment]"]
    np.testing.assert_allclose(fixed["estimate"], expected["estimate"], rtol=1e-4, atol=1e-7)
    assert rows.filter(pl.col("part") == "variance")["group"].to_list() == ["prompt", "Residual"]
    layers = table(finished.path, "layers")["layer"].n_unique()
    assert set(rows["n"]) == {2 * 16 * (layers - 1)}


def test_effects_that_vary_over_pairs_have_no_test_over_a_pair_for_each_role(finished: Run) -> None:
    fixed = table(finished.path, "mixed_models").filter(pl.col("part") == "fixed")
    assert fixed.select("se", "df", "statistic", "p", "low", "high").null_count().row(0) == (4,) * 6
    (message,) = fixed.filter(pl.col("scale") == "share")["message"].unique()
    assert "no tests of effects: they vary over pairs, which come from 1 seed a role" in message


@pytest.mark.parametrize("scale", ["share", "log-ratio"])
def test_contrasts_are_the_slope_of_each_role_and_their_difference(scale: str, finished: Run) -> None:
    rows = table(finished.path, "marginal_contrasts").filter(pl.col("scale") == scale)
    means = rows.filter(pl.col("seed").is_null())
    assert means.select("kind", "role", "regime", "over").rows() == [
        ("slope", "treatment", None, "prompts"),
        ("slope", "control", None, "prompts"),
        ("difference", "treatment - control", None, "prompts"),
    ]
    slopes = by_hand(finished, scale)[1]
    values = [slopes["treatment"], slopes["control"], slopes["treatment"] - slopes["control"]]
    for row, value in zip(means.iter_rows(named=True), values, strict=True):
        assert row["estimate"] == pytest.approx(value.mean(), rel=1e-4, abs=1e-7)
        assert row["se"] == pytest.approx(value.std(ddof=1) / 4, rel=1e-4, abs=1e-7)
        assert row["df"] == 15
    assert means["p_corrected"].to_list() == pytest.approx(holm(means["p"].to_list()))
    assert means["message"][2].startswith("for this seed, over prompts: fewer than 5 seeds allow no test over seeds")


def with_seeds(folder: Path, *random: str) -> Run:
    """A run whose pairs have a seed each: another treatment pair beside the two of the study."""
    path = write(folder, random=[*RANDOM, *random])
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["pairs"][0]["seed"], content["pairs"][1]["seed"] = 0, 0
    content["pairs"].append({"name": "other", "before": "continued", "after": "after", "role": "treatment", "seed": 1})
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return run(path, out=folder / "out")


def test_a_role_over_few_seeds_has_no_test_over_seeds_and_each_seed_is_listed(tmp_path: Path) -> None:
    made = with_seeds(tmp_path, "0 + depth | pair")
    fixed = table(made.path, "mixed_models").filter(pl.col("part") == "fixed")
    assert fixed["p"].null_count() == len(fixed)
    rows = table(made.path, "marginal_contrasts").filter(pl.col("scale") == "share")
    treatment = rows.filter((pl.col("kind") == "slope") & (pl.col("role") == "treatment"))
    assert treatment["seed"].to_list() == [None, "0", "1"] and treatment["seeds"].to_list() == [2, 1, 1]
    mean, *seeds = treatment["estimate"].to_list()
    assert mean == pytest.approx(np.mean(seeds)) and treatment["p"].null_count() == 0
    assert set(rows["over"]) == {"prompts"}
    # The control has one seed, and so has the difference by seed.
    difference = rows.filter(pl.col("kind") == "difference")
    assert difference["seed"].to_list() == [None, "0"]
    page = (made.path / "report.html").read_text()
    diagnostics = page[page.index('id="diagnostics"') :]
    assert "scale share" in diagnostics and "no tests of effects: they vary over pairs" in diagnostics
    assert "For this seed, over prompts: fewer than 5 seeds allow no test over seeds" in page


@pytest.fixture(scope="module")
def five_seeds() -> pl.DataFrame:
    """Shifts over 4 layers of 10 prompts on 10 pairs and 2 tasks, with all units."""
    rng = np.random.default_rng(4)
    depth = np.linspace(-0.5, 0.5, 4)
    rows = []
    for task, role, seed in itertools.product(("a", "b"), ("control", "treatment"), range(5)):
        slope = 0.2 * rng.standard_normal() + 0.2 * rng.standard_normal(10)
        shift = slope[:, None] * depth + 0.05 * rng.standard_normal((10, 4))
        shift -= shift.mean(axis=1, keepdims=True)
        same = {"task": task, "role": role, "seed": str(seed), "pair": f"{role}{seed}"}
        labels = {name: [value] * 10 for name, value in same.items()}
        even = np.full((10, 4), 0.25)
        rows.append(shift_frame(even, even + shift / 10, prompt=[f"{task}:{i}" for i in range(10)], labels=labels))
    return pl.concat(rows)


UNITS = ["0 + depth | prompt", "0 + depth | prompt:pair", "0 + depth | pair", "0 + depth | task:pair"]


def without_test(frame: pl.DataFrame, random: list[str]) -> tuple[set[str], str]:
    fit = fit_mixed_model(frame, formula=FORMULA, random=random, sums_to_zero=["prompt", "pair"])
    found = untested(fit, frame)
    return set(found.terms), "; ".join(found.reasons)


def test_an_effect_without_one_of_its_units_has_no_test(five_seeds: pl.DataFrame) -> None:
    role, both = "depth:role[T.treatment]", {"depth", "depth:role[T.treatment]"}
    fit = fit_mixed_model(five_seeds, formula=FORMULA, random=UNITS, sums_to_zero=["prompt", "pair"])
    zero = {row["group"] for row in fit.variances.iter_rows(named=True) if row["variance"] == 0}
    terms, reason = without_test(five_seeds, UNITS)
    assert "prompt:pair" not in zero and (role in terms) == bool(zero & {"pair", "task:pair"})
    assert ("estimated as zero" in reason) == bool(zero)
    for lacking in ("prompt:pair", "pair", "task:pair"):
        terms, reason = without_test(five_seeds, [entry for entry in UNITS if not entry.endswith(f" {lacking}")])
        assert terms == both and f"`0 + depth | {lacking}`" in reason
    terms, reason = without_test(five_seeds, ["0 + depth | prompt", "0 + depth | seed"])
    assert terms == both
    assert "`0 + depth | prompt:pair`" in reason and "`0 + depth | pair`" in reason


def test_columns_that_divide_the_rows_alike_are_the_same_unit(five_seeds: pl.DataFrame) -> None:
    other = [
        "0 + depth | prompt",
        "0 + depth | prompt:role:seed",
        "0 + depth | seed:role",
        "0 + depth | task:role:seed",
    ]
    assert without_test(five_seeds, other)[0] == without_test(five_seeds, UNITS)[0]


def test_one_pair_varies_over_prompts_alone(five_seeds: pl.DataFrame) -> None:
    frame = five_seeds.filter(pl.col("pair") == "control0")
    fit = fit_mixed_model(
        frame, formula="shift ~ depth * task", random="0 + depth | prompt", sums_to_zero=["prompt", "pair"]
    )
    assert untested(fit, frame).terms == frozenset()


def test_effects_vary_over_random_templates_too(five_seeds: pl.DataFrame) -> None:
    def of_templates(count: int) -> pl.DataFrame:
        number = pl.col("prompt").str.split(":").list.last().cast(pl.Int64) % count
        return five_seeds.with_columns((pl.col("task") + ":" + number.cast(pl.String)).alias("template"))

    def found(frame: pl.DataFrame, random: list[str]) -> tuple[set[str], str]:
        fit = fit_mixed_model(frame, formula=FORMULA, random=random, sums_to_zero=["prompt", "pair"])
        untestable = untested(fit, frame, by_template=True)
        return set(untestable.terms), "; ".join(untestable.reasons)

    both, frame = {"depth", "depth:role[T.treatment]"}, of_templates(5)
    terms, reason = found(frame, UNITS)
    assert terms == both
    assert "`0 + depth | template`" in reason and "`0 + depth | template:pair`" in reason
    _, reason = found(frame, [*UNITS, "0 + depth | template", "0 + depth | template:pair"])
    assert "no random slopes" not in reason
    terms, reason = found(of_templates(4), UNITS)
    assert terms == both and reason.startswith("no tests of effects: templates are random, and a task has 4 of them")
    assert has_templates(frame) and not has_templates(of_templates(4))
    assert not has_templates(of_templates(10)), "a template for each prompt"


def test_units_of_random_templates_give_the_t_test_over_templates() -> None:
    rng = np.random.default_rng(3)
    template = np.arange(40) % 8
    slope = 0.3 + (rng.standard_normal(8)[template] + 0.5 * rng.standard_normal(40)) * 0.1
    depth = np.linspace(-0.5, 0.5, 4)
    shift = slope[:, None] * depth + 0.02 * rng.standard_normal((40, 4))
    even = np.full((40, 4), 0.25)
    same = {"pair": "p", "role": "treatment", "seed": "0", "task": "a"}
    labels = {name: [value] * 40 for name, value in same.items()} | {"template": [f"a:{one}" for one in template]}
    after = even + (shift - shift.mean(axis=1, keepdims=True)) / 10
    frame = shift_frame(even, after, prompt=[f"a:{i}" for i in range(40)], labels=labels)
    random = ["0 + depth | prompt", "0 + depth | template"]
    fit = fit_mixed_model(frame, formula="shift ~ depth", random=random, sums_to_zero=["prompt", "pair"])
    row = fit.fixed.filter(pl.col("term") == "depth").row(0, named=True)
    fitted = (after - even) @ depth / (depth @ depth)
    expected = scipy_stats.ttest_1samp([fitted[template == one].mean() for one in range(8)], 0)
    assert (row["statistic"], row["df"]) == pytest.approx((expected.statistic, 7), rel=1e-3)
    assert untested(fit, frame, by_template=True).terms == frozenset()


def test_random_templates_are_among_the_units_of_the_declared_model(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, random="units"))
    assert "0 + depth | template" not in random_effects(spec, layers=4)
    found = random_effects(spec, layers=4, templates=True)
    assert {"0 + depth | template", "0 + depth | template:pair"} <= {*found}
    assert {*random_effects(spec, layers=4)} < {*found}


def test_a_model_without_a_unit_that_roles_vary_over_is_warned_of_before_it_runs(tmp_path: Path) -> None:
    [caution] = cautions(make_plan(load_spec(write(tmp_path))))
    assert caution.startswith("statistics.mixed_model: no tests of depth, depth:role[T.treatment]: they vary over ")
    assert "prompt x pair, pair, for which the model has no random slopes" in caution
    (tmp_path / "units").mkdir()
    assert cautions(make_plan(load_spec(write(tmp_path / "units", random="units")))) == ()


def test_scales_that_disagree_in_sign_are_named() -> None:
    def one(estimate: float, seed: str | None = None) -> SlopeContrast:
        test = difference_test(estimate, 1.0, 10)
        levels = {"role": "treatment - control"}
        return SlopeContrast(
            kind="difference",
            levels=levels,
            over="prompts",
            seed=seed,
            seeds=1,
            test=test,
            p_corrected=None,
            message="",
        )

    assert disagreement((one(0.1), one(-1, "0")), (one(0.2), one(1, "0"))) == ""
    expected = "shares and log-ratios disagree in sign about: difference (treatment - control)"
    assert disagreement((one(0.1),), (one(-0.2),)) == expected


def test_the_report_draws_slopes_and_differences(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    assert 'id="figure-marginal-contrasts"' in page
    assert "differences, scale share: treatment " in page and "treatment − control " in page


def test_the_report_draws_the_coefficients(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    assert 'id="figure-mixed-model"' in page
    assert "Fixed effects of the mixed model of the shift, scale share: depth " in page


def test_a_spec_without_one_has_no_rows(tmp_path: Path) -> None:
    made = run(write_effective_study(tmp_path, hypotheses=[]), out=tmp_path / "out")
    assert table(made.path, "mixed_models").is_empty() and table(made.path, "marginal_contrasts").is_empty()
    assert "figure-mixed-model" not in (made.path / "report.html").read_text()


BAD = {
    "a column that is not there": ({"formula": "shift ~ depth * rol"}, r"rol"),
    "a factor of one level": ({"formula": "shift ~ depth * regime"}, r"regime"),
    "a group of one level": ({"random": ["0 + depth | seed", "0 + depth | task"]}, r"task"),
    "another response": ({"formula": "depth ~ role"}, r"expected `shift ~ \.\.\.`, got a formula for 'depth'"),
    "no formula": ({"formula": "shift"}, r"shift"),
    "groups that divide a prompt's layers": ({"random": ["1 | layer"]}, r"divide rows that sum to zero together"),
    "an effect of no layer": ({"formula": "shift ~ role"}, r"expected an effect that varies within the groups"),
    "Python": ({"formula": "shift ~ __import__('os')"}, r"functions such as __import__\(\) are not read"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_model_that_can_not_be_told_from_the_study_is_refused_before_it_runs(case: str, tmp_path: Path) -> None:
    changes, message = BAD[case]
    with pytest.raises(SpecError, match=message) as error:
        make_plan(load_spec(write(tmp_path, **changes)))
    assert "statistics.mixed_model: " in str(error.value)
