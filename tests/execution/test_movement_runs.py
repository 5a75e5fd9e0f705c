"""How far the models moved, in runs: planted models, one cell for the weights of a pair, and what can't be compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from intervention_study import batch_of, cells, lines, model_of, table
from random_models import write_random_model
from ruamel.yaml import YAML
from studies import ATTRIBUTION, write_study
from torch import nn

from mechshift_core import run
from mechshift_core.analysis.calibration import calibrate
from mechshift_core.cli.main import main
from mechshift_core.execution.batches import Rows
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.movement.cells import _first_states
from mechshift_core.pipeline import Run, stored_plan
from mechshift_core.spec import SpecError, load_spec
from stats.cka import linear_cka
from stats.distances import kl_divergence
from stats.findings import Estimate

pytestmark = pytest.mark.long

MOVED: dict[str, object] = {"name": "moved", "kind": "movement"}
WEIGHTS: dict[str, object] = {"name": "weights", "kind": "weight_movement"}
EXAMPLES = 16
MEASURES = ("residual_shift", "representation_similarity", "prediction_shift", "weight_shift")


def hypothesis(measure: str, **test: object) -> dict[str, object]:
    contrast = {"contrast": {"role": ["treatment", "control"]}}
    return {"id": measure, "claim": "x", "measure": measure, **contrast, "test": {"kind": "difference", **test}}


HYPOTHESES = [hypothesis(measure) for measure in MEASURES[:3]]


def saved(folder: Path, change: Callable[[Any], None], *, of: Path | None = None) -> None:
    """The model of a folder with other weights, saved in `folder`."""
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(of or folder)
    with torch.no_grad():
        change(module)
    module.save_pretrained(folder)


def without_gains(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if "norm" in name:
            parameter.fill_(1.0)


def turned(module: Any) -> None:
    """The same function in another basis of the residual stream; norms must have no gains."""
    turn, _ = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))
    for name, parameter in module.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter.copy_(turn.T @ parameter)
        elif parameter.ndim == 2:
            parameter.copy_(parameter @ turn)


def write(folder: Path, *, interventions: list[dict[str, object]], **options: Any) -> Path:
    path = write_study(folder, examples=EXAMPLES, interventions=interventions, **options)
    content = YAML().load(path.read_text())
    content["select"] = {"correct": "none"}
    with path.open("w") as handle:
        YAML().dump(content, handle)
    return path


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """In the treatment the model after is the model before in another basis, in the control it is the same."""
    folder = tmp_path_factory.mktemp("planted")
    write_random_model("qwen2", folder / "before")
    saved(folder / "before", without_gains)
    shutil.copytree(folder / "before", folder / "continued")
    shutil.copytree(folder / "before", folder / "after")
    saved(folder / "after", turned)
    hypotheses = [*HYPOTHESES]
    path = write(folder, interventions=[ATTRIBUTION, MOVED, WEIGHTS], tasks=("mine", "other"), hypotheses=hypotheses)
    return run(path, out=folder / "out")


def estimates(finished: Run, measure: str, pair: str) -> list[Estimate]:
    return [one for one in finished.findings.estimates if (one.measure, one.pair) == (measure, pair)]


def test_identical_models_have_not_moved_at_all(planted: Run) -> None:
    assert planted.failures == ()
    values = {measure: {one.estimate for one in estimates(planted, measure, "control")} for measure in MEASURES}
    assert values == {
        "residual_shift": {0},
        "representation_similarity": {1},
        "prediction_shift": {0},
        "weight_shift": {0},
    }
    tables = {name: table(planted.path, name).filter(pl.col("pair") == "control") for name in MEASURES}
    assert set(tables["residual_shift"]["distance"]) == {0.0}
    assert set(tables["residual_shift"]["length_ratio"]) == {1.0}
    assert set(tables["representation_similarity"]["cka"].drop_nulls()) == {1.0}
    assert set(tables["prediction_shift"]["kl"]) | set(tables["prediction_shift"]["kl_reverse"]) == {0.0}
    assert set(tables["prediction_shift"]["same_token"]) == {1.0}
    assert set(tables["weight_shift"]["difference"]) == {0.0}


def test_another_basis_turns_streams_and_changes_neither_representations_nor_predictions(planted: Run) -> None:
    (distance, _), (similarity, _), (divergence, _) = (estimates(planted, m, "shift") for m in MEASURES[:3])
    assert distance.estimate is not None and distance.low is not None and distance.low > 0.3
    assert similarity.estimate == pytest.approx(1.0, abs=1e-5)
    assert divergence.estimate == pytest.approx(0.0, abs=1e-9)
    rows = table(planted.path, "residual_shift").filter(pl.col("pair") == "shift")
    np.testing.assert_allclose(rows["length_ratio"].to_numpy(), 1.0, rtol=1e-5)
    moved = {one.measure: one for one in planted.findings.hypotheses}["residual_shift"]
    assert moved.verdict == "supported" and moved.estimate is not None and moved.estimate > 0.3


def test_rows_are_what_the_models_themselves_give(planted: Run) -> None:
    folder = planted.path.parent
    rows = lines(folder)
    read = []
    for name in ("before", "after"):
        states = []
        for row in rows:
            ids = torch.tensor([row["clean_ids"]])
            with torch.no_grad():
                output = model_of(folder / name).module(input_ids=ids, output_hidden_states=True, use_cache=False)
            states.append((torch.stack(output.hidden_states)[:2, 0].numpy(), output.logits[0, -1].numpy()))
        read.append(states)
    subject = [[hidden[1, 0] for hidden, _ in states] for states in read]  # the first token, after one layer
    other = [[hidden[1, 1:-1].mean(axis=0) for hidden, _ in states] for states in read]
    found = table(planted.path, "residual_shift").filter(
        (pl.col("pair") == "shift") & (pl.col("task") == "mine") & (pl.col("layer") == 1)
    )
    for role, vectors in (("subject", subject), ("other", other)):
        a, b = (np.array(side, dtype=np.float64) for side in vectors)
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        (row,) = found.filter(pl.col("token_role") == role).to_dicts()
        assert row["distance"] == pytest.approx(1 - cosine.mean(), abs=1e-5) and row["n"] == EXAMPLES
        (row,) = (
            table(planted.path, "representation_similarity")
            .filter(
                (pl.col("pair") == "shift")
                & (pl.col("task") == "mine")
                & (pl.col("layer") == 1)
                & (pl.col("token_role") == role)
            )
            .to_dicts()
        )
        assert row["cka"] == pytest.approx(linear_cka(a, b).debiased.estimate, abs=1e-5)
    ends = found.filter(pl.col("token_role").is_in(["end", "verb"]))
    assert ends["n"].sum() == EXAMPLES  # each prompt has one of the two


def test_the_weights_of_a_pair_are_one_cell_and_are_tabled_once(
    planted: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = stored_plan(planted.path)
    own = [cell for cell in plan.cells if cell.intervention == "weights"]
    assert [str(cell) for cell in own] == ["weights of pair shift", "weights of pair control"]
    assert len(cells(planted.path, intervention="weights")) == 2
    rows = table(planted.path, "weight_shift")
    assert len(rows) == len(rows.unique(["pair", "component", "kind"]))
    (whole,) = rows.filter((pl.col("pair") == "shift") & (pl.col("kind") == "all")).to_dicts()
    parts = rows.filter((pl.col("pair") == "shift") & (pl.col("kind") != "all"))
    assert whole["difference"] ** 2 == pytest.approx((parts["difference"] ** 2).sum(), rel=1e-5)
    assert {one.estimate for one in estimates(planted, "weight_shift", "shift")} == {whole["relative"]}
    assert [one.method for one in estimates(planted, "weight_shift", "shift")] == ["weights: exact, of all weights"] * 2
    norms = parts.filter(pl.col("kind") == "norm")
    assert set(norms["difference"]) == {0.0} and set(norms["relative"]) == {0.0}
    monkeypatch.chdir(planted.path.parent)
    assert main(["plan", str(planted.path.parent / "study.yaml")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("weights of pair shift\n") == 1
    count = len(plan.cells)
    assert f"{count} cells, {count} to do" in shown


def test_the_page_draws_treatment_beside_control(planted: Run) -> None:
    page = (planted.path / "report.html").read_text()
    assert "How far the models moved" in page


def test_measures_of_the_same_prompts_are_calibrated_on_prompts_drawn_anew(diffusion: Run) -> None:
    plan, folder = stored_plan(diffusion.path), RunFolder(diffusion.path)
    found = calibrate(plan, folder, {}, key="", repetitions=5, seed=1)
    assert all("halves of one model's prompts are different ones" in one.message for one in found.hypotheses)
    (anew,) = found.scenarios
    assert {one.measure for one in anew.hypotheses} == set(MEASURES[:3])
    assert all(one.tested == 5 for one in anew.hypotheses)


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("diffusion")
    path = write(folder, interventions=[ATTRIBUTION, MOVED], diffusion=True, hypotheses=HYPOTHESES)
    return run(path, out=folder / "out")


def test_a_diffusion_model_is_compared_at_the_roles_that_both_models_have(diffusion: Run) -> None:
    assert diffusion.failures == ()
    roles = table(diffusion.path, "residual_shift").group_by("pair").agg(pl.col("token_role").unique().sort())
    assert dict(roles.rows()) == {name: ["(read)", "end", "other", "subject", "verb"] for name in ("shift", "control")}
    stored = {cell["model"]: cell["roles"] for cell, _ in cells(diffusion.path, intervention="moved")}
    assert "mask" in stored["after"] and "mask" not in stored["before"]
    (row,) = table(diffusion.path, "prediction_shift").filter(pl.col("pair") == "shift").to_dicts()
    folder, logits = diffusion.path.parent, []
    for name in ("before", "after"):
        (_, tensors), *_ = cells(diffusion.path, intervention="moved", model=name)
        logits.append(tensors["log_probs"].T)
    assert row["kl"] == pytest.approx(kl_divergence(*logits).mean()) and row["n"] == EXAMPLES
    batch = batch_of([lines(folder)[0]])
    expected = model_of(folder / "before").logits(batch.clean_ids)[0, -1].log_softmax(-1)
    np.testing.assert_allclose(logits[0][0], expected.numpy(), atol=1e-5)


def test_a_prompt_is_read_in_its_first_state() -> None:
    rows = Rows([0, 0, 1, 2, 2], [(False, False), (True, False), (True,), (False,), (True,)], [0.5, 0.5, 1, 0.3, 0.7])
    rows.last.extend([False, True, True, False, True])
    found = _first_states(rows)
    assert (found.numbers, found.states) == ([0, 1, 2], [(False, False), (True,), (False,)])


def test_two_halves_of_the_prompts_are_not_compared(tmp_path: Path) -> None:
    path = write(tmp_path, interventions=[ATTRIBUTION, MOVED], hypotheses=[])
    content = YAML().load(path.read_text())
    content["pairs"] = [
        {"name": "alike", "before": "before", "after": "before", "role": "control", "prompts": "halves"}
    ]
    content["models"] = {"before": content["models"]["before"]}
    with path.open("w") as handle:
        YAML().dump(content, handle)
    finished = run(path, out=tmp_path / "out")
    assert finished.failures == ()
    for name in MEASURES[:3]:
        (row,) = table(tmp_path / "out", name).to_dicts()
        assert row["status"].startswith("the models are read on different prompts") and row["n"] == 0


def test_models_of_other_vocabularies_have_no_divergence(tmp_path: Path) -> None:
    for number, name in enumerate(("before", "after", "continued")):
        write_random_model("qwen2", tmp_path / name, seed=number)
    saved(tmp_path / "after", lambda module: module.resize_token_embeddings(41))
    finished = run(write(tmp_path, interventions=[ATTRIBUTION, MOVED], hypotheses=HYPOTHESES), out=tmp_path / "out")
    (row,) = table(tmp_path / "out", "prediction_shift").filter(pl.col("pair") == "shift").to_dicts()
    assert row["status"] == "vocabularies differ: 'before' has 40 and 'after' has 41" and row["kl"] is None
    findings = {one.measure: one for one in finished.findings.hypotheses}
    assert findings["prediction_shift"].status == "undefined"
    assert "vocabularies differ" in findings["prediction_shift"].message
    assert findings["residual_shift"].status == "ok"


REFUSED = {
    "is a distance: it is never below 0": {"measure": "residual_shift", "test": {"kind": "difference"}},
    "claim a `bound` above 0": {
        "measure": "prediction_shift",
        "test": {"kind": "bound", "bound": 0, "alternative": "greater"},
    },
    "has no error over them": {
        "measure": "weight_shift",
        "contrast": {"role": ["treatment", "control"]},
        "test": {"kind": "difference"},
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_claim_without_a_meaning_is_refused(message: str, tmp_path: Path) -> None:
    hypotheses = [{"id": "x", "claim": "x", **REFUSED[message]}]
    path = write(tmp_path, interventions=[ATTRIBUTION, MOVED, WEIGHTS], hypotheses=hypotheses)
    with pytest.raises(SpecError, match=message):
        load_spec(path)


@pytest.mark.nightly
def test_weights_are_compared_over_training_seeds(tmp_path: Path) -> None:
    names = [f"{role}-{seed}" for role in ("treatment", "control") for seed in range(5)]
    path = write(tmp_path, interventions=[ATTRIBUTION, WEIGHTS], hypotheses=[hypothesis("weight_shift")])
    content = YAML().load(path.read_text())
    content["statistics"]["units"] = {"seed": "random"}
    content["pairs"], content["models"] = [], {"before": content["models"]["before"]}
    for number, name in enumerate(names):
        role, seed = name.split("-")
        factor = 1 + (0.2 if role == "treatment" else 0.1) + 0.01 * int(seed)
        saved(
            tmp_path / name,
            lambda module, by=factor: [one.mul_(by) for one in module.parameters()],
            of=tmp_path / "before",
        )
        content["models"][name] = {"source": name, "paradigm": "autoregressive"}
        content["pairs"].append({"name": name, "before": "before", "after": name, "role": role, "seed": number % 5})
    with path.open("w") as handle:
        YAML().dump(content, handle)
    finished = run(path, out=tmp_path / "out")
    assert finished.failures == ()
    (one,) = finished.findings.hypotheses
    assert one.estimate == pytest.approx(0.1, abs=1e-6) and one.status == "ok"
    shifts = {cell["pair"]: tensors for cell, tensors in cells(tmp_path / "out", intervention="weights")}
    assert len(shifts) == 10
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["failures"] == []
