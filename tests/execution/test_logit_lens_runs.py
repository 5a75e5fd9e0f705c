"""The logit lens as a run computes it, against logits of one input at a time on the bundled models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from intervention_study import cells, table
from ruamel.yaml import YAML
from within_templates import sem

from mechshift_core import load_model, load_spec, run
from mechshift_core.execution import plan as planning
from mechshift_core.execution.batches import to_batch
from mechshift_core.execution.plan import Plan, make_plan
from mechshift_core.execution.reading import states_of
from mechshift_core.interventions.logit_lens import lens as lens_module
from mechshift_core.models import Model
from mechshift_core.pipeline import Run
from stats import decision_times, output_alignment

pytestmark = pytest.mark.long

STUDY: dict[str, Any] = {
    "schema": "mechshift/v1",
    "name": "lenses",
    "seed": 3,
    "models": {
        "arm": {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"},
        "mdm": {"source": "bundled:tiny-s0/mdm", "paradigm": "masked_diffusion"},
    },
    "pairs": [{"name": "diffusion", "before": "arm", "after": "mdm", "role": "treatment", "seed": 0}],
    "tasks": [{"name": "countdown", "examples": 10}, {"name": "ioi", "examples": 6}],
    "select": {"correct": "none"},
    "interventions": [
        {"name": "circuit", "kind": "edge_attribution", "method": "eap"},
        {"name": "lens", "kind": "logit_lens"},
    ],
    "denoising": {"steps": [5, "per_token"]},
    "measures": {"alignment": {}},
    "hypotheses": [{"id": "diffuse", "measure": "alignment", "test": {"kind": "difference", "alternative": "greater"}}],
    "statistics": {"bootstrap": {"replicates": 100}},
    "execution": {"device": "cpu"},
}
MODELS = {"before": "arm", "after": "mdm"}


def write(folder: Path, **changes: object) -> Path:
    with (folder / "lenses.yaml").open("w") as handle:
        YAML().dump({**STUDY, **changes}, handle)
    return folder / "lenses.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Plan]:
    folder = tmp_path_factory.mktemp("lenses")
    spec = load_spec(write(folder))
    return run(spec, out=folder / "out"), make_plan(spec)


def stored(finished: tuple[Run, Plan], **wanted: object) -> dict[str, Any]:
    ((_, tensors),) = cells(finished[0].path, intervention="lens", **wanted)
    return tensors


@pytest.mark.parametrize("name", ["arm", "mdm"])
@pytest.mark.parametrize("task", ["countdown", "ioi"])
def test_the_last_stream_is_the_model_s_output_in_every_step(name: str, task: str, finished: tuple[Run, Plan]) -> None:
    paradigm: Any = "masked_diffusion" if name == "mdm" else "autoregressive"
    model: Model = load_model(f"bundled:tiny-s0/{name}", paradigm=paradigm, device="cpu")
    dataset, reading = finished[1].datasets[task], finished[1].reading("5")
    found = stored(finished, model=name, task=task, budget="5")
    for number, example in enumerate(dataset.examples):
        (states,) = states_of(model, [example], reading)
        expected: list[list[float]] = []
        for state, weight in states:
            batch = to_batch(model, dataset, [example], [state])
            assert isinstance(batch.position, torch.Tensor)
            logits = model.logits(batch.clean_ids)[0, batch.position[0]].double()
            answers, p = list(example.answer_ids), logits.softmax(-1)
            read = [p[answers].sum().log(), 1 + (logits > logits[answers].max()).sum(), -(p * p.log()).sum()]
            times = round(weight * int(found["steps"][number]))  # steps that an autoregressive model can't tell apart
            expected += [[float(value) for value in (*read, logits.argmax())]] * times
        assert len(expected) == found["steps"][number]
        for column, field in enumerate(("log_prob", "rank", "entropy", "top")):
            values = found[f"stream_{field}"][:, -1, number]
            np.testing.assert_allclose(values[: len(expected)], [row[column] for row in expected], atol=1e-4)
            assert not values[len(expected) :].any()


@pytest.mark.parametrize("side", MODELS)
def test_direct_attributions_sum_to_the_metric(side: str, finished: tuple[Run, Plan]) -> None:
    for task in ("countdown", "ioi"):
        found = stored(finished, model=MODELS[side], task=task, budget="5")
        wanted = {"intervention": "circuit", "model": MODELS[side], "task": task, "budget": "5"}
        ((_, attributed),) = cells(finished[0].path, **wanted)
        assert finished[1].datasets[task].metric == "logit_difference"
        np.testing.assert_allclose(found["direct"].sum(0), attributed["clean_metric"], atol=1e-4)


def of_side(frame: pl.DataFrame, side: str, *, task: str = "countdown", budget: str = "5") -> pl.DataFrame:
    return frame.filter((pl.col("side") == side) & (pl.col("task") == task) & (pl.col("budget") == budget))


@pytest.mark.parametrize("side", MODELS)
def test_the_table_holds_means_over_examples_and_steps(side: str, finished: tuple[Run, Plan]) -> None:
    found = stored(finished, model=MODELS[side], task="countdown", budget="5")
    rows = of_side(table(finished[0].path, "lens"), side)
    streams, parts = rows.filter(pl.col("kind") == "residual"), rows.filter(pl.col("kind") != "residual")
    assert streams["component"].to_list() == [f"x{layer}" for layer in range(7)]
    mean = found["stream_log_prob"].sum(0) / found["steps"]
    np.testing.assert_allclose(streams["log_prob"], mean.mean(1), rtol=1e-5)
    np.testing.assert_allclose(parts["direct"], found["direct"].mean(1), atol=1e-5)
    np.testing.assert_allclose(parts["entropy"][:-1], found["entropy"].mean(1), rtol=1e-5)
    np.testing.assert_allclose(parts["rank"][:-1], np.median(found["rank"], axis=1), rtol=1e-5)
    assert parts["component"].to_list()[-2:] == ["m5", "bias"] and parts["kind"][0] == "input"
    assert parts.filter(pl.col("kind") == "bias")["log_prob"].to_list() == [None]
    assert streams["direct"].null_count() == 7 and rows["n"].unique().to_list() == [10]
    assert (rows["low"].drop_nulls() <= rows["log_prob"].drop_nulls()).all()
    shares = [part.rpartition(" (")[2] for part in streams["top"][6].split(", ")]
    assert all(share.endswith("%)") for share in shares)


@pytest.mark.parametrize("side", MODELS)
def test_denoising_is_followed_step_by_step(side: str, finished: tuple[Run, Plan]) -> None:
    dataset = finished[1].datasets["countdown"]
    found = stored(finished, model=MODELS[side], task="countdown", budget="5")
    rows = of_side(table(finished[0].path, "denoising"), side)
    assert rows["step"].max() == found["steps"].max() > 1 and found["steps"].min() < found["steps"].max()
    right = np.array(
        [np.isin(found["stream_top"][:, :, n], one.answer_ids) for n, one in enumerate(dataset.examples)]
    )  # [n, steps, streams]
    for row in rows.iter_rows(named=True):
        step, layer, having = row["step"] - 1, row["layer"], found["steps"] >= row["step"]
        assert row["n"] == having.sum()
        assert row["log_prob"] == pytest.approx(found["stream_log_prob"][step, layer, having].mean(), rel=1e-5)
        assert row["correct"] == pytest.approx(right[having, step, layer].mean())
        settled = [right[n, min(step, steps - 1) : steps, layer].all() for n, steps in enumerate(found["steps"])]
        assert row["decided"] == pytest.approx(np.mean(settled))
    times = decision_times(right[:, :, -1], found["steps"])
    (estimate,) = [
        one
        for one in finished[0].findings.estimates
        if (one.measure, one.task, one.side) == ("decision_time", "countdown", side)
    ]
    assert estimate.estimate == pytest.approx(times.time.mean())
    assert estimate.reference == {"null": pytest.approx(times.null.mean())}


def test_answers_read_in_one_step_have_no_decision_time(finished: tuple[Run, Plan]) -> None:
    findings = finished[0].findings
    assert {one.task for one in findings.estimates if one.measure == "decision_time"} == {"countdown"}
    (other,) = findings.alternatives
    assert other.value == "per_token" and not [one for one in other.estimates if one.measure == "decision_time"]
    single = table(finished[0].path, "denoising").filter(pl.col("budget") == "per_token")
    assert single["step"].unique().to_list() == [1]


def test_alignment_is_the_paired_shift_of_the_weighted_entropy(finished: tuple[Run, Plan]) -> None:
    (finding,) = finished[0].findings.hypotheses
    shifts, nulls = {}, {}
    for task in ("countdown", "ioi"):
        found = {}
        for side, model in MODELS.items():
            tensors = stored(finished, model=model, task=task, budget="5")
            kinds = ["head" if number % 5 < 4 else "mlp" for number in range(30)]  # four heads and an MLP a layer
            found[side] = output_alignment(tensors["entropy"][1:].T, tensors["direct"][1:-1].T, kinds)
        shifts[task] = found["after"].per_prompt - found["before"].per_prompt
        nulls[task] = found["after"].null - found["before"].null
        rows = table(finished[0].path, "indices").filter((pl.col("task") == task) & (pl.col("budget") == "5"))
        assert rows["side"].to_list() == ["before", "after", "shift"] and rows["index"].unique().to_list() == [
            "alignment"
        ]
        values = [found["before"].value, found["after"].value, shifts[task].mean()]
        assert rows["value"].to_list() == pytest.approx(values, abs=1e-5)
        expected = [found["before"].null, found["after"].null, nulls[task]]
        assert rows["null"].to_list() == pytest.approx(expected, abs=1e-5)
    assert finding.estimate == pytest.approx(np.mean([one.mean() for one in shifts.values()]), abs=1e-5)
    of = {task: [one.template for one in finished[1].datasets[task].examples] for task in shifts}
    error = np.sqrt(sum((sem(one, of[task]) / 2) ** 2 for task, one in shifts.items()))
    assert finding.se == pytest.approx(error, rel=1e-4)
    assert "nats" in finding.estimand


def test_the_size_of_shards_changes_nothing(
    finished: tuple[Run, Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SHARD", 4)
    apart = run(write(tmp_path), out=tmp_path / "out")
    assert apart.failures == ()
    for name in ("lens", "denoising"):
        one, other = table(finished[0].path, name), table(apart.path, name)
        texts = [column for column in one.columns if one[column].dtype in (pl.String, pl.Int64)]
        assert one.select(texts).equals(other.select(texts))
        np.testing.assert_allclose(one["log_prob"].drop_nulls(), other["log_prob"].drop_nulls(), atol=1e-4)


def test_an_unshifted_model_is_read_at_the_mask_itself(tmp_path: Path) -> None:
    models = {**STUDY["models"], "mdm": {**STUDY["models"]["mdm"], "shifted": False}}
    made = run(write(tmp_path, models=models, denoising={"steps": "per_token"}), out=tmp_path / "out")
    ((_, found),) = cells(made.path, intervention="lens", model="mdm", task="ioi")
    ((_, other),) = cells(made.path, intervention="circuit", model="mdm", task="ioi")
    assert found["stream_top"][0, -1].tolist() == other["predicted"].tolist()
    np.testing.assert_allclose(found["direct"].sum(0), other["clean_metric"], atol=1e-4)


def test_a_model_against_itself_is_read_on_two_halves(tmp_path: Path) -> None:
    pairs = [{"name": "again", "before": "arm", "after": "arm", "role": "control", "prompts": "halves"}]
    tasks = [{"name": "ioi", "examples": 12}]
    made = run(write(tmp_path, pairs=pairs, tasks=tasks, denoising={"steps": "per_token"}), out=tmp_path / "out")
    ((_, found),) = cells(made.path, intervention="lens", model="arm")
    examples = table(made.path, "examples").filter("selected")
    for side in MODELS:
        chosen = examples.filter(pl.col("side") == side)["example"].to_numpy()
        assert len(chosen) == 6
        rows = of_side(table(made.path, "lens"), side, task="ioi", budget="per_token")
        direct = rows.filter(pl.col("kind") != "residual")["direct"]
        np.testing.assert_allclose(direct, found["direct"][:, chosen].mean(1), atol=1e-5)
    assert made.findings.hypotheses[0].status == "ok"


def test_attributions_that_do_not_add_up_are_failed_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens_module, "softcap", lambda _: 0.5)
    made = run(write(tmp_path, denoising={"steps": "per_token"}), out=tmp_path / "out")
    assert len(made.failures) == 4
    assert all("does not give the model's logits" in line for line in made.failures)
    (finding,) = made.findings.hypotheses
    assert finding.verdict == "not estimable" and "does not give the model's logits" in finding.message
    assert table(made.path, "lens").is_empty()
