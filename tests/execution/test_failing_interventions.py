"""What is missing, fails or does not fit into memory is said, costs nothing else, and is mended by the next run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from intervention_study import cells, table, write_effective_study
from studies import ATTRIBUTION, EVERY_KIND

from mechshift_core import run
from mechshift_core.attribution import edges as edge_attribution
from mechshift_core.cli.main import main
from mechshift_core.errors import ExecutionError
from mechshift_core.execution import hands
from mechshift_core.execution.cells import Cell
from mechshift_core.pipeline import analyze
from mechshift_core.spec import SpecError

pytestmark = pytest.mark.long

COUNT = 9 * 3 + 6 * 2 * 2 + 2
"""Cells of EVERY_KIND: nine interventions on three models; six kinds that need a pair on two pairs and sides; and the
weights of two pairs."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `study` and its run, `out`."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "study").mkdir()
    result = run(write_effective_study(folder / "study", interventions=EVERY_KIND), out=folder / "out")
    assert (result.computed, result.failures) == (COUNT, ())
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def failing(monkeypatch: pytest.MonkeyPatch, *, intervention: str, model: str, error: BaseException) -> None:
    """Let the cells of an intervention on a model fail."""
    execute_cell = hands._execute_cell

    def execute(plan: Any, cell: Cell, *rest: Any) -> None:
        if (cell.intervention, cell.model) == (intervention, model):
            raise error
        execute_cell(plan, cell, *rest)

    monkeypatch.setattr(hands, "_execute_cell", execute)


@pytest.mark.nightly
def test_a_lost_circuit_is_evaluated_again_and_nothing_else(copied: Path) -> None:
    out, spec = copied / "out", copied / "study" / "study.yaml"
    before = {name: (out / name).read_bytes() for name in ("findings.json", "report.html", "provenance.json")}
    (lost, _), *_ = cells(out, intervention="curve", pair="shift", side="after")
    shutil.rmtree(out / "cells" / lost["key"])
    resumed = run(spec, out=out)
    assert (resumed.computed, resumed.cached, resumed.failures) == (1, COUNT - 1, ())
    assert {name: (out / name).read_bytes() for name in before} == before


def test_a_changed_hypothesis_recomputes_no_cell_of_any_kind(copied: Path) -> None:
    spec = copied / "study" / "study.yaml"
    spec.write_text(spec.read_text().replace("margin: 0.2", "margin: 0.3"))
    again = run(spec, out=copied / "out")
    assert (again.computed, again.cached, again.analysed) == (0, COUNT, True)


def test_another_rule_for_circuits_recomputes_only_them(copied: Path) -> None:
    spec = copied / "study" / "study.yaml"
    spec.write_text(spec.read_text().replace("random: 2", "random: 1"))
    again = run(spec, out=copied / "out")
    assert (again.computed, again.cached) == (4, COUNT - 4)


def test_the_statistics_are_made_again_without_a_model(copied: Path) -> None:
    before = (copied / "out" / "findings.json").read_bytes()
    shutil.rmtree(copied / "study")
    analyze(copied / "out")
    assert (copied / "out" / "findings.json").read_bytes() == before


@pytest.mark.nightly
def test_circuits_of_a_failed_attribution_fail_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_effective_study(tmp_path, interventions=EVERY_KIND)
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        failing(patched, intervention="circuit", model="after", error=ExecutionError("no luck"))
        partial = run(study, out=out)
    assert sorted(partial.failures) == sorted(
        [
            "circuit of after on mine, examples 0-12: no luck",
            *[
                f"{name} of {model} on mine, pair shift: what it needs failed, "
                "circuit of after on mine, examples 0-12: no luck"
                for name in ("curve", "carried", "aimed", "read", "crossed", "between")
                for model in ("before", "after")
            ],
        ]
    )
    assert partial.computed == COUNT - 13
    assert table(out, "faithfulness")["pair"].unique().to_list() == ["control"]
    assert "no luck" in (out / "report.html").read_text()
    mended = run(study, out=out)
    assert (mended.computed, mended.failures) == (13, ())


def test_a_failed_circuit_is_a_row_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_effective_study(tmp_path, interventions=EVERY_KIND)
    for name in ("curve", "carried"):
        failing(monkeypatch, intervention=name, model="after", error=MemoryError("too large"))
    partial = run(study, out=tmp_path / "out")
    assert len(partial.failures) == 2
    rows = table(tmp_path / "out", "faithfulness").filter((pl.col("pair") == "shift") & (pl.col("side") == "after"))
    assert rows.select("intervention", "circuit", "percent").rows() == [
        ("curve", "own", 5.0), ("curve", "own", 30.0), ("curve", "own", 100.0),
        ("carried", "own", 30.0), ("carried", "partner", 30.0),
    ]  # fmt: skip
    assert rows["status"].unique().to_list() == ["failed: too large"]
    assert rows["faithfulness"].is_null().all()
    failed = [one for one in partial.findings.estimates if "too large" in one.message]
    assert {(one.measure, one.estimate) for one in failed} == {("cmd", None), ("cpr", None), ("transfer_ratio", None)}


def test_too_few_selected_examples_are_a_status(tmp_path: Path) -> None:
    study = write_effective_study(tmp_path, examples=3, interventions=EVERY_KIND[:4])
    result = run(study, out=tmp_path / "out")
    assert result.failures == ()
    rows = table(tmp_path / "out", "faithfulness")
    assert rows["metric"].is_null().all()
    assert all("of 3 examples selected (correct: both, by: argmax)" in status for status in rows["status"])
    assert all(
        status.endswith("correctly; at least 4 are needed for two of them in each half") for status in rows["status"]
    )


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_a_prompt_without_another_of_its_length_can_t_be_replaced_by_others(tmp_path: Path, ablation: str) -> None:
    knockouts = {"name": "knockouts", "kind": "ablation", "ablation": ablation}
    study = write_effective_study(tmp_path, examples=3, interventions=[ATTRIBUTION, knockouts])
    with pytest.raises(
        SpecError, match=f"1 of 3 prompts have a length that no other has, so the ablation '{ablation}'"
    ):
        run(study, out=tmp_path / "out")


def small_memory(monkeypatch: pytest.MonkeyPatch, *, fits: int) -> None:
    """Memory that only some examples at once fit into."""
    score = edge_attribution.score

    def limited(passes: Any, *rest: Any) -> Any:
        if len(passes.batch) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return score(passes, *rest)

    monkeypatch.setattr(edge_attribution, "score", limited)


def test_a_batch_that_does_not_fit_is_halved_and_the_provenance_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_effective_study(tmp_path)
    run(study, out=tmp_path / "whole")
    small_memory(monkeypatch, fits=2)
    assert run(study, out=tmp_path / "out").failures == ()
    batching = json.loads((tmp_path / "out" / "provenance.json").read_text())["batching"]
    assert batching["sizes"] == [1]  # six examples of a length: 6 -> 3 -> 1
    assert [row["model"] for row in batching["out_of_memory"]] == ["before", "after", "continued"]
    assert all(row["task"] == "mine" and row["sizes"][-1] == 3 for row in batching["out_of_memory"])
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert [event["model"] for event in events if event["event"] == "out of memory"] == ["before", "after", "continued"]
    for name in ("before", "after"):
        (_, whole), *_ = cells(tmp_path / "whole", model=name)
        (_, halved), *_ = cells(tmp_path / "out", model=name)
        np.testing.assert_allclose(halved["scores"], whole["scores"], atol=1e-5)
    assert json.loads((tmp_path / "whole" / "provenance.json").read_text())["batching"]["out_of_memory"] == []


@pytest.mark.nightly
def test_an_example_that_does_not_fit_alone_is_a_failed_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_effective_study(tmp_path, interventions=[ATTRIBUTION])
    small_memory(monkeypatch, fits=0)
    result = run(study, out=tmp_path / "out")
    assert len(result.failures) == 3
    assert all("one example alone does not fit into memory" in line for line in result.failures)
    assert list((tmp_path / "out" / "cells").iterdir()) == []


def test_scores_that_are_not_finite_are_a_failed_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_effective_study(tmp_path)
    score = edge_attribution.score

    def broken(*arguments: Any) -> Any:
        found = score(*arguments)
        found.by_role[-1, 0, 3] = float("nan")
        return found

    monkeypatch.setattr(edge_attribution, "score", broken)
    result = run(study, out=tmp_path / "out")
    assert [line.partition(": ")[2] for line in result.failures] == [
        f"{(tmp_path / name).absolute()}: an edge score or metric is not finite"
        for name in ("before", "after", "continued")
    ]


def test_a_plan_lists_cells_of_every_kind_and_what_they_cost(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    assert main(["plan", "study/study.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "to do   curve of before on mine, pair shift, at most 12 examples" in printed
    assert "to do   averaged of continued on mine, 12 examples" in printed
    # Circuits: 3 sizes x 3 + 2, 2 + 2 and 2 + 3 + 1, of 4 sides; components: 4 roles x 12, 11 and 3, of 3 models; moved
    # into another model: 4 kinds of runs of none and of 2 MLPs, of 4 sides; 3 points between the models of 2 pairs.
    forward, patched = (
        12 * (3 * (4 + 4 + 1 + 1 + 1 + 1 + 2 + 1 + 1) + 4 * 4 + 4 * 4 + 2 * 3),
        12 * (4 * (11 + 4 + 6) + 3 * (4 * 12 + 11 + 3) + 4 * 4 * (1 + 2)),
    )
    cost = f"{forward} forward and {72 + 36} backward passes of one prompt, {patched} patched passes"
    assert f"{COUNT} cells, {COUNT} to do: {cost}" in printed
    assert main(["plan", "study/study.yaml", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["cells"]
    assert {(cell["intervention"], cell["pair"]) for cell in listed} >= {("curve", "control"), ("patched", None)}
