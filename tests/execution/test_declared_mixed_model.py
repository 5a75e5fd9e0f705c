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
from stats import fit_mixed_model, layer_shares, shift_frame

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


def by_hand(made: Run, scale: Any) -> pl.DataFrame:
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
    return fit_mixed_model(pl.concat(parts), formula=FORMULA, random=RANDOM).fixed


@pytest.mark.parametrize("scale", ["share", "log-ratio"])
def test_the_table_holds_the_fit_of_the_rows_of_all_pairs(scale: str, finished: Run) -> None:
    rows = table(finished.path, "mixed_models").filter(pl.col("scale") == scale)
    fixed, expected = rows.filter(pl.col("part") == "fixed"), by_hand(finished, scale)
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


def test_the_report_draws_the_coefficients(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    assert 'id="figure-mixed-model"' in page
    assert "Fixed effects of the mixed model of the shift, scale share: Intercept " in page


def test_a_spec_without_one_has_no_rows(tmp_path: Path) -> None:
    made = run(write_effective_study(tmp_path, hypotheses=[]), out=tmp_path / "out")
    assert table(made.path, "mixed_models").is_empty()
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
