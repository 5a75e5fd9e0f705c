"""The mixed model that a spec declares, held against fitting the rows by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from intervention_study import table, write_effective_study
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from mechshift_core import load_spec, run
from mechshift_core.execution.plan import make_plan
from mechshift_core.graph import Graph
from mechshift_core.pipeline import Run
from mechshift_core.spec import SpecError
from stats import MixedModelFit, fit_mixed_model, holm, layer_shares, shift_frame

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


def by_hand(made: Run, scale: Any) -> MixedModelFit:
    stored = {
        row["model"]: load_file(made.path / row["path"])["scores"]
        for row in table(made.path, "edge_scores").iter_rows(named=True)
    }
    plan = make_plan(load_spec(made.path.parent / "study.yaml"))
    graph = Graph.of(plan.models["before"].shape)
    layer = np.array([node.layer for node in graph.sources])[graph.edge_index[0]]
    shares = {name: layer_shares(scores, layer, 2) for name, scores in stored.items()}
    parts = [
        shift_frame(shares["before"], shares[after], labels={"role": [role] * 16}, scale=scale)
        for after, role in (("after", "treatment"), ("continued", "control"))
    ]
    return fit_mixed_model(pl.concat(parts), formula=FORMULA, random=RANDOM)


@pytest.mark.parametrize("scale", ["share", "log-ratio"])
def test_the_table_holds_the_fit_of_the_rows_of_all_pairs(scale: str, finished: Run) -> None:
    rows = table(finished.path, "mixed_models").filter(pl.col("scale") == scale)
    fixed, expected = rows.filter(pl.col("part") == "fixed"), by_hand(finished, scale).fixed
    assert fixed["term"].to_list() == expected["term"].to_list()
    for column, other in (
        ("estimate",) * 2,
        ("se",) * 2,
        ("df",) * 2,
        ("p",) * 2,
        ("low", "ci_low"),
        ("high", "ci_high"),
    ):
        np.testing.assert_allclose(fixed[column], expected[other], rtol=1e-4, atol=1e-7)
    assert rows.filter(pl.col("part") == "variance")["group"].to_list() == ["prompt", "Residual"]
    layers = table(finished.path, "layers")["layer"].n_unique()
    assert set(rows["n"]) == {2 * 16 * layers}


@pytest.mark.parametrize("scale", ["share", "log-ratio"])
def test_contrasts_are_the_slope_of_each_role_and_their_difference(scale: str, finished: Run) -> None:
    rows = table(finished.path, "marginal_contrasts").filter(pl.col("scale") == scale)
    assert rows.select("kind", "role", "regime").rows() == [
        ("slope", "treatment", None),
        ("slope", "control", None),
        ("difference", "treatment - control", None),
    ]
    fit = by_hand(finished, scale)
    weights = [{"depth": 1.0, "depth:role[T.treatment]": 1.0}, {"depth": 1.0}, {"depth:role[T.treatment]": 1.0}]
    for row, weight in zip(rows.iter_rows(named=True), weights, strict=True):
        test = fit.contrast(weight)
        expected = (test.estimate, test.se, test.df, test.p, test.low, test.high)
        found = [row[name] for name in ("estimate", "se", "df", "p", "low", "high")]
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert rows["p_corrected"].to_list() == pytest.approx(holm(rows["p"].to_list()))


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


def test_roles_compared_over_seeds_that_can_not_vary_come_with_a_warning(tmp_path: Path) -> None:
    made = with_seeds(tmp_path)
    (message,) = table(made.path, "mixed_models").filter(pl.col("scale") == "share")["message"].unique()
    assert message.startswith("role differs only between pairs, which come from 2 seeds, and neither pair nor seed")
    page = (made.path / "report.html").read_text()
    diagnostics = page[page.index('id="diagnostics"') :]
    assert "scale share" in diagnostics and "role differs only between pairs" in diagnostics


@pytest.mark.long
def test_seeds_that_vary_or_are_one_need_no_warning(tmp_path: Path, finished: Run) -> None:
    made = with_seeds(tmp_path, "0 + depth | pair")
    for result in (made, finished):
        messages = table(result.path, "mixed_models")["message"].unique().to_list()
        assert not any("role differs" in message for message in messages)


def test_the_report_draws_slopes_and_differences(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    assert 'id="figure-marginal-contrasts"' in page
    assert "differences, scale share: treatment " in page and "treatment − control " in page


def test_the_report_draws_the_coefficients(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    assert 'id="figure-mixed-model"' in page
    assert "Fixed effects of the mixed model of the shift, scale share: Intercept " in page


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
    "Python": ({"formula": "shift ~ __import__('os')"}, r"functions such as __import__\(\) are not read"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_model_that_can_not_be_told_from_the_study_is_refused_before_it_runs(case: str, tmp_path: Path) -> None:
    changes, message = BAD[case]
    with pytest.raises(SpecError, match=message) as error:
        make_plan(load_spec(write(tmp_path, **changes)))
    assert "statistics.mixed_model: " in str(error.value)
