"""Pairs read on two halves of the prompts: A/A data, in which even a model and itself differ by sampling."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from intervention_study import table, write_effective_study
from ruamel.yaml import YAML
from safetensors.numpy import load_file
from studies import EVERY_KIND

from mechshift_core import run
from mechshift_core.execution.scores import halves
from mechshift_core.execution.store import RunFolder
from mechshift_core.pipeline import Run, stored_plan
from mechshift_core.tasks.counterfactual import Dataset, Example

pytestmark = pytest.mark.long

EXAMPLE = Example("one", (1,), (2,), (3,), (4,), 1, "", "", "", "")
OTHER = Example("two", (1,), (2,), (3,), (4,), 1, "", "", "", "")
DATASET = Dataset("mine", "logit_difference", 30, (*[EXAMPLE] * 20, *[OTHER] * 10))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 30])
def test_halves_are_disjoint_equal_and_drawn_from_the_selected(count: int) -> None:
    selected = np.sort(np.random.default_rng(0).permutation(30)[:count])
    first, second = halves(selected, DATASET, 5)
    assert len(first) == len(second) == count // 2
    assert not {*first} & {*second} and {*first, *second} <= {*selected}
    assert [*first] == sorted(first) and [*second] == sorted(second)


def test_halves_are_balanced_over_templates_and_follow_from_the_seed() -> None:
    everything = np.arange(30)
    first, second = halves(everything, DATASET, 5)
    assert (first < 20).sum() == (second < 20).sum() == 10
    assert [*halves(everything, DATASET, 5)[0]] == [*first] != [*halves(everything, DATASET, 6)[0]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("halves")
    path = write_effective_study(folder, examples=24, interventions=EVERY_KIND[:3], hypotheses=[])
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["pairs"] = [
        {"name": "same", "before": "before", "after": "continued", "role": "control"},
        {"name": "itself", "before": "before", "after": "before", "role": "control", "prompts": "halves"},
    ]
    content["select"] = {"correct": "none"}
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return run(path, out=folder / "out")


def test_each_side_is_read_on_its_own_half(finished: Run) -> None:
    rows = table(finished.path, "examples").filter(pl.col("pair") == "itself").sort("example")
    read = {
        side: rows.filter((pl.col("side") == side) & pl.col("selected"))["example"].to_list()
        for side in ("before", "after")
    }
    assert len(read["before"]) == len(read["after"]) == 12
    assert not {*read["before"]} & {*read["after"]}


def test_what_is_measured_of_a_side_is_measured_on_its_half(finished: Run) -> None:
    examples = table(finished.path, "examples").filter((pl.col("pair") == "itself") & pl.col("selected"))
    scores = table(finished.path, "edge_scores").filter(pl.col("model") == "before").sort("path")
    (cell,) = scores["path"].to_list()
    stored = load_file(finished.path / cell)["scores"].astype(np.float64)
    edges = table(finished.path, "edges").filter(pl.col("pair") == "itself")
    for side in ("before", "after"):
        half = examples.filter(pl.col("side") == side)["example"].to_numpy()
        np.testing.assert_allclose(edges.filter(pl.col("side") == side)["score"], stored[half].mean(0), rtol=1e-6)
    curve = table(finished.path, "faithfulness").filter(pl.col("pair") == "itself")
    assert set(curve["n"]) == {12}
    assert set(curve["status"]) == {"ok"}


def test_the_circuits_of_each_side_are_run_on_its_own_half(finished: Run) -> None:
    read: dict[str, set[int]] = {}
    for cell in stored_plan(finished.path).cells:
        if (cell.intervention, cell.pair) == ("curve", "itself"):
            read[str(cell.side)] = {*load_file(RunFolder(finished.path).cell_file(cell.key))["examples"].tolist()}
    examples = table(finished.path, "examples").filter((pl.col("pair") == "itself") & pl.col("selected"))
    assert read == {
        side: {*examples.filter(pl.col("side") == side)["example"].to_list()} for side in ("before", "after")
    }


def test_a_model_and_itself_differ_by_sampling(finished: Run) -> None:
    shift = table(finished.path, "layers").filter((pl.col("pair") == "itself") & (pl.col("side") == "shift"))
    assert shift["share"].abs().max() > 0
    assert set(shift["n"]) == {12}
