"""The path between two models' weights in a run: planted answers, cells against plain models, hypotheses, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from intervention_study import cells, lines, table
from pairs_study import write_pairs_study
from random_models import DECODER, SIZES
from ruamel.yaml import YAML

from mechshift_core import load_spec, run
from mechshift_core.errors import MechshiftError
from mechshift_core.execution.plan import make_plan
from mechshift_core.pipeline import Run
from stats import path_barrier

pytestmark = pytest.mark.long

PATH: dict[str, object] = {"name": "path", "kind": "weight_interpolation", "points": 5}
HYPOTHESES: list[dict[str, object]] = [
    {
        "id": "connected",
        "measure": "interpolation_barrier",
        "where": {"pair": "copy"},
        "test": {"kind": "equivalence", "to": "ceiling", "margin": 0.1},
    },
    {
        "id": "apart",
        "measure": "interpolation_barrier",
        "where": {"pair": "permuted"},
        "test": {"kind": "bound", "bound": 0.0, "alternative": "greater"},
    },
    {
        "id": "higher",
        "measure": "interpolation_barrier",
        "contrast": {"role": ["treatment", "control"]},
        "test": {"kind": "difference"},
    },
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("path")
    path = write_pairs_study(folder, [PATH], examples=24, diffusion=True, hypotheses=HYPOTHESES)
    made = run(path, out=folder / "out")
    assert made.failures == ()
    return made


@pytest.fixture(scope="module")
def rows(finished: Run) -> pl.DataFrame:
    return table(finished.path, "weight_path")


def of(rows: pl.DataFrame, pair: str, side: str) -> pl.DataFrame:
    return rows.filter((pl.col("pair") == pair) & (pl.col("side") == side)).sort("point")


def estimates(finished: Run) -> dict[tuple[str, str], Any]:
    return {(one.pair, one.side): one for one in finished.findings.estimates if one.measure == "interpolation_barrier"}


def test_between_equal_weights_there_is_no_barrier_at_all(finished: Run, rows: pl.DataFrame) -> None:
    copy = of(rows, "copy", "after")
    assert copy["point"].to_list() == [0, 0.25, 0.5, 0.75, 1]
    assert copy["excess"].to_list() == [0] * 5
    assert copy["loss"].n_unique() == 1
    found = estimates(finished)["copy", "between"]
    assert (found.estimate, found.reference["highest"]) == (0, 0)


def test_between_a_model_and_its_permuted_twin_there_is_one_although_both_ends_are_the_same(
    finished: Run, rows: pl.DataFrame
) -> None:
    twin = of(rows, "permuted", "after")
    assert twin["loss"][0] == pytest.approx(twin["loss"][4], rel=1e-5)
    assert twin["excess"][2] > 0.05
    assert twin["excess"][1] == pytest.approx(twin["excess"][3], rel=0.9)
    found = estimates(finished)["permuted", "between"]
    assert found.reference["highest"] == pytest.approx(twin["excess"].max())
    assert found.estimate > 0.05


def test_pairs_that_are_read_alike_share_one_cell_and_others_have_one_for_each_reading(
    finished: Run, rows: pl.DataFrame
) -> None:
    assert {(d["pair"], d["paradigm"]) for d, _ in cells(finished.path, intervention="path", pair="shift")} == {
        ("shift", "autoregressive"),
        ("shift", "masked_diffusion"),
    }
    assert len(cells(finished.path, intervention="path")) == 2 + 3  # `control` and `apart` are of the same models
    both = [of(rows, "permuted", side).drop("side", "model") for side in ("before", "after")]
    assert both[0].equals(both[1])
    assert of(rows, "shift", "before")["paradigm"].unique().to_list() == ["autoregressive"]
    assert of(rows, "shift", "after")["paradigm"].unique().to_list() == ["masked_diffusion"]


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_point_is_what_a_plain_model_with_averaged_weights_gives(finished: Run, side: str) -> None:
    """Prompt by prompt; read as the masked diffusion model there is a mask behind, and attention sees it."""
    from transformers import AutoModelForCausalLM

    from mechshift_core.loading import load_model

    folder, point = finished.path.parent, 0.25
    first, second = (AutoModelForCausalLM.from_pretrained(folder / name) for name in ("before", "after"))
    other = second.state_dict()
    first.load_state_dict({name: (1 - point) * own + point * other[name] for name, own in first.state_dict().items()})
    first.save_pretrained(folder / f"between-{side}")
    masked = side == "after"
    options: dict[str, Any] = {"paradigm": "masked_diffusion", "mask_token": 39} if masked else {}
    model = load_model(folder / f"between-{side}", device="cpu", **options)
    ((description, stored),) = cells(finished.path, intervention="path", pair="shift", paradigm=model.paradigm)
    assert description["points"][1] == point
    for place, number in list(enumerate(stored["examples"].tolist()))[:6]:
        row = lines(folder)[number]
        logits = model.logits(torch.tensor([[*row["clean_ids"], *[39] * masked]]))[0, len(row["clean_ids"]) - 1]
        answers = sorted(set(row["answer_ids"]))
        loss = -float(logits.softmax(-1)[answers].sum().log())
        assert stored["loss"][1, place] == pytest.approx(loss, abs=1e-4)
        assert stored["correct"][1, place] == (int(logits.argmax()) in answers)
        foils = sorted(set(row["foil_ids"]))
        assert stored["metric"][1, place] == pytest.approx(
            float(logits[answers].mean() - logits[foils].mean()), abs=1e-4
        )


def test_rows_and_hypotheses_are_the_statistics_of_the_cells(finished: Run, rows: pl.DataFrame) -> None:
    ((_, stored),) = cells(finished.path, intervention="path", pair="shift", paradigm="masked_diffusion")
    loss = stored["loss"].astype(float)
    shift = of(rows, "shift", "after")
    assert shift["loss"].to_numpy() == pytest.approx(loss.mean(axis=1))
    points = np.linspace(0, 1, 5)
    excess = loss - (1 - points)[:, None] * loss[0] - points[:, None] * loss[-1]
    assert shift["excess"].to_numpy() == pytest.approx(excess.mean(axis=1))
    assert shift["accuracy"].to_numpy() == pytest.approx(stored["correct"].mean(axis=1))
    height = path_barrier(loss, points=points, half=np.arange(24) % 2 == 0).height
    found = estimates(finished)
    assert found["shift", "between"].reference["highest"] == pytest.approx(height)
    assert found["shift", "between"].estimate == found["shift", "after"].estimate != found["shift", "before"].estimate
    findings = {finding.id: finding for finding in finished.findings.hypotheses}
    assert findings["connected"].verdict == "supported"
    assert findings["apart"].verdict == "supported"
    controls = np.mean([found[pair, "between"].estimate for pair in ("control", "copy", "permuted")])
    assert findings["higher"].estimate == pytest.approx(found["shift", "between"].estimate - controls)


def test_models_without_a_line_between_them_are_refused_before_anything_runs(tmp_path: Path) -> None:
    import transformers as hf

    path = write_pairs_study(tmp_path, [PATH], examples=6)
    torch.manual_seed(0)
    config = hf.LlamaConfig(**(DECODER | SIZES | {"num_hidden_layers": 2}))
    hf.LlamaForCausalLM(config).save_pretrained(tmp_path / "continued")
    with pytest.raises(MechshiftError) as raised:
        make_plan(load_spec(path))
    assert (
        "'path' of pair 'control': no straight line leads from the weights of a qwen2 model to those of a llama"
        in str(raised.value)
    )
    config = hf.Qwen2Config(**(DECODER | SIZES | {"num_hidden_layers": 2, "vocab_size": 48}))
    hf.Qwen2ForCausalLM(config).save_pretrained(tmp_path / "continued")
    with pytest.raises(MechshiftError, match=r"from 40 token embeddings .'before'. to 48 .'continued'."):
        make_plan(load_spec(path))


def test_the_plan_says_what_it_costs(finished: Run) -> None:
    from mechshift_core.execution.cost import cost

    plan = make_plan(load_spec(finished.path.parent / "study.yaml"))
    own = [(plan, cell) for cell in plan.cells if cell.intervention == "path" and cell.pair == "shift"]
    assert [cell.side for _, cell in own] == ["before", "after"]
    assert cost(own).forward == 2 * 5 * 24
    alike = [(plan, cell) for cell in plan.cells if cell.intervention == "path" and cell.pair == "permuted"]
    assert len(alike) == 2 and cost(alike).forward == 5 * 24  # one cell serves both sides


def test_as_which_model_it_is_read_touches_no_cell(finished: Run) -> None:
    folder = finished.path.parent
    yaml = YAML()
    content = yaml.load((folder / "study.yaml").read_text())
    content["interventions"][1]["read_as"] = "before"
    with (folder / "other.yaml").open("w") as handle:
        yaml.dump(content, handle)
    plans = [make_plan(load_spec(folder / name)) for name in ("study.yaml", "other.yaml")]
    assert [cell.key for cell in plans[0].cells] == [cell.key for cell in plans[1].cells]
