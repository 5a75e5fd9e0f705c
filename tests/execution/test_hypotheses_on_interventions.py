"""Hypotheses on targeted ablations, attention to the right and decision times, against the prompts one by one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from intervention_study import cells, lines
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from scipy import stats as scipy_stats
from studies import ATTRIBUTION, write_study
from within_templates import df, sem

from mechshift_core import load_model, load_spec, run
from mechshift_core.analysis.aa_samples import draw, sources
from mechshift_core.analysis.calibration import calibrate
from mechshift_core.analysis.samples import Samples, collect, read_results
from mechshift_core.errors import ExecutionError
from mechshift_core.execution import hands
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import make_plan
from mechshift_core.execution.reading import Reading, readings
from mechshift_core.execution.scores import Stored
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.attention.right_context import attention_to_the_right, measure_right_context
from mechshift_core.interventions.logit_lens.results import measure_lens_shift
from mechshift_core.pipeline import Run, stored_plan
from stats.findings import Estimate, Finding

pytestmark = pytest.mark.long

Floats = np.ndarray[Any, np.dtype[np.float64]]
EXAMPLES, TEMPLATES = 24, 6
OF = [f"t{number % TEMPLATES}" for number in range(EXAMPLES)]
"""Template of each example."""
LOOKS = {"name": "looks", "kind": "attention"}
AIMED = {"name": "aimed", "kind": "targeted_ablation", "of": "circuit", "size": 2, "random": 3, "ablation": "zero"}
DIFFERS = {"kind": "difference"}
HYPOTHESES: list[dict[str, Any]] = [
    {"id": "rightwards", "measure": "right_context", "where": {"pair": "shift"}, "test": DIFFERS},
    {"id": "relied-on", "measure": "targeted", "where": {"pair": "shift"}, "test": DIFFERS},
    {"id": "beyond", "measure": "targeted", "contrast": {"role": ["treatment", "control"]}, "test": DIFFERS},
]


def write(folder: Path, *, examples: int = EXAMPLES, **changes: Any) -> Path:
    """A study of random models, one of them bidirectional, on prompts of six templates; changes replace sections."""
    path = write_study(
        folder, examples=examples, interventions=[ATTRIBUTION, LOOKS, AIMED], hypotheses=HYPOTHESES, diffusion=True
    )
    rows = [{**row, "template": f"t{number % TEMPLATES}"} for number, row in enumerate(lines(folder))]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    content = YAML().load(path.read_text())
    content |= {"measures": {}, "select": {"correct": "none"}, **changes}
    with path.open("w") as handle:
        YAML().dump(content, handle)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("interventions")
    made = run(write(folder, sensitivity={"ablation": ["mean"]}), out=folder / "out")
    assert made.failures == ()
    return made


def found(made: Run, name: str) -> Finding:
    return next(finding for finding in made.findings.hypotheses if finding.id == name)


def sides(made: Run, measure: str, *, pair: str = "shift", task: str = "mine") -> dict[str, Estimate]:
    keys = (measure, pair, task)
    return {one.side: one for one in made.findings.estimates if (one.measure, one.pair, one.task) == keys}


def rightwards(folder: Path) -> Floats:
    """Attention to the right by a plain pass of the model after, over the prompt's tokens and all heads, [examples]."""
    model = load_model(folder / "after", paradigm="masked_diffusion", device="cpu", attention="eager")
    values = []
    for row in lines(folder):
        with torch.no_grad():
            output = model.module(
                input_ids=torch.tensor([[*row["clean_ids"], 39]]), use_cache=False, output_attentions=True
            )
        attention = torch.stack(output.attentions)[:, 0].double().numpy()  # layers, heads, from, to
        tokens = range(len(row["clean_ids"]))  # all but the mask
        values.append(np.mean([attention[:, :, at, at + 1 :].sum(-1) for at in tokens]))
    return np.array(values)


def beyond_random(made: Run, pair: str, side: str) -> Floats:
    """What the group aimed at costs more than the random ones on average, prompt by prompt, [examples]."""
    own = {cell.key for cell in stored_plan(made.path).cells}  # and none of another ablation
    ((description, tensors),) = [
        cell for cell in cells(made.path, intervention="aimed", pair=pair, side=side) if cell[0]["key"] in own
    ]
    assert tensors["examples"].tolist() == list(range(EXAMPLES))
    cost = {
        (group["layers"], group["draw"]): tensors["clean_metric"].astype(np.float64) - metric
        for group, metric in zip(description["groups"], tensors["metric"], strict=True)
    }
    return cost["early", None] - (cost["random", 0] + cost["random", 1] + cost["random", 2]) / 3


def shifts(made: Run, pair: str) -> Floats:
    return beyond_random(made, pair, "after") - beyond_random(made, pair, "before")


def test_attention_to_the_right_is_that_of_a_plain_pass(finished: Run) -> None:
    finding, values = found(finished, "rightwards"), rightwards(finished.path.parent)
    assert finding.status == "ok" and finding.n["prompt"] == EXAMPLES
    assert finding.estimate == pytest.approx(values.mean(), abs=1e-6)
    assert (finding.se, finding.df) == pytest.approx((sem(values, OF), df(values, OF)), rel=1e-3)
    assert "attention of tokens to what stands on their right" in finding.estimand
    estimates = sides(finished, "right_context")
    assert [*estimates] == ["before", "after", "shift"]
    assert estimates["after"].estimate == estimates["shift"].estimate == pytest.approx(values.mean(), abs=1e-6)
    assert estimates["after"].low is not None and estimates["after"].low < values.mean()
    before = estimates["before"]
    assert (before.estimate, before.low, before.status, before.message) == (0.0, None, "ok", "")
    assert before.method == "looks: exact, attention is causal"


def test_attention_that_is_spread_evenly_has_half_of_it_on_the_right(tmp_path: Path) -> None:
    path = write(tmp_path, examples=6)
    weights = tmp_path / "after" / "model.safetensors"
    tensors = load_file(weights)
    for name, tensor in tensors.items():
        if "q_proj" in name:  # no query prefers any key
            tensor.zero_()
    save_file(tensors, weights, metadata={"format": "pt"})
    estimates = sides(run(path, out=tmp_path / "out"), "right_context")
    # Of n tokens and the mask, the token at i sees n - i of n + 1 on its right: the mean over i is one half.
    assert estimates["after"].estimate == pytest.approx(0.5, abs=1e-6)
    assert estimates["after"].reference == {"null": pytest.approx(0.5, abs=1e-6)}
    assert estimates["before"].reference == {"null": 0.0}
    assert estimates["shift"].reference == {"null": pytest.approx(0.5, abs=1e-6)}


def test_visible_tokens_count_alike_and_masks_are_only_looked_at() -> None:
    mass = np.zeros((1, 2, 4, 6, 3))  # layers, heads, from (the position read, then roles), to, examples
    mass[0, :, :, -1, 1] = [[0.9, 0.4, 0.9, 0.1], [0.9, 0.6, 0.9, 0.3]]
    even = np.zeros((4, 6, 3))
    even[:, -1, 1] = [0.9, 0.6, 0.9, 0.2]
    queries = np.ones((4, 3))
    queries[1, 1], queries[3, 1] = 3, 1
    stored = Stored({"roles": ["end", "mask", "other"]}, {"mass": mass, "uniform": even, "queries": queries})
    looked = attention_to_the_right(stored, np.array([0, 1]))
    # Three tokens at a mean over heads of 0.5 and one at 0.2; the mask's 0.9 does not count.
    np.testing.assert_allclose(looked.mass, [0, (3 * 0.5 + 0.2) / 4])
    np.testing.assert_allclose(looked.even, [0, (3 * 0.6 + 0.2) / 4])
    assert not looked.causal and attention_to_the_right(stored, np.array([0, 2])).causal


def test_two_causal_models_have_a_reason_and_no_estimate(finished: Run) -> None:
    plan, folder = stored_plan(finished.path), RunFolder(finished.path)
    sample = collect(plan, folder, {}, Reading()).by_pair_and_task["control", "mine"]
    measured = measure_right_context(sample, plan.spec, "looks", read_results(plan, folder, {}, sample, "looks"))
    assert (measured.estimates, measured.replicated) == ((), {})
    assert measured.problems == {
        "right_context": "neither 'before' nor 'continued' sees anything on the right of a token: both are exactly 0, "
        "and there is no shift"
    }
    assert sides(finished, "right_context", pair="control") == {}


def test_a_targeted_effect_is_compared_with_random_groups_prompt_by_prompt(finished: Run) -> None:
    finding, values = found(finished, "relied-on"), shifts(finished, "shift")
    assert (finding.estimate, finding.se) == pytest.approx((values.mean(), sem(values, OF)))
    assert (finding.df, finding.status) == (pytest.approx(df(values, OF), rel=1e-3), "ok")
    contrast = values - shifts(finished, "control")
    beyond = found(finished, "beyond")
    assert (beyond.estimate, beyond.se) == pytest.approx((contrast.mean(), sem(contrast, OF)))
    estimates = sides(finished, "targeted")
    for side in ("before", "after"):
        assert estimates[side].estimate == pytest.approx(beyond_random(finished, "shift", side).mean())
    assert estimates["shift"].estimate == pytest.approx(values.mean())
    assert estimates["shift"].low < values.mean() < estimates["shift"].high  # type: ignore[operator]
    assert all(one.method.startswith("aimed: ") for one in estimates.values())


def test_its_value_for_each_model_stands_in_the_table(finished: Run) -> None:
    import polars as pl

    rows = pl.read_parquet(finished.path / "tables" / "targeted.parquet").filter(
        (pl.col("pair") == "shift") & (pl.col("layers") == "random") & pl.col("beyond").is_not_null()
    )
    estimates = sides(finished, "targeted")
    assert {row["side"]: (row["beyond"], row["beyond_low"]) for row in rows.iter_rows(named=True)} == {
        side: (estimates[side].estimate, estimates[side].low) for side in ("before", "after")
    }


def test_only_the_targeted_effect_depends_on_the_ablation(finished: Run) -> None:
    (other,) = finished.findings.alternatives
    assert (other.choice, other.value) == ("ablation", "mean")
    changed = {
        own.id
        for own, under in zip(finished.findings.hypotheses, other.hypotheses, strict=True)
        if own.estimate != under.estimate
    }
    assert changed == {"relied-on", "beyond"}
    assert {(one.measure, one.side) for one in other.estimates} == {
        ("targeted", side) for side in ("before", "after", "shift")
    }
    plan = make_plan(load_spec(finished.path.parent / "study.yaml"))
    own = {cell.key for cell in plan.cells}
    assert [cell.intervention for _, cell in plan.every_cell if cell.key not in own] == ["aimed"] * 4


def test_random_templates_are_drawn_with_all_of_their_prompts(finished: Run, tmp_path: Path) -> None:
    folder = finished.path.parent
    content = YAML().load((folder / "study.yaml").read_text())
    content["statistics"]["units"] = {"template": "random"}
    content["sensitivity"] = {}
    with (folder / "templates.yaml").open("w") as handle:
        YAML().dump(content, handle)
    made = run(folder / "templates.yaml", out=tmp_path / "out")
    values = {"rightwards": rightwards(folder), "relied-on": shifts(finished, "shift")}
    for name, each in values.items():
        means = each.reshape(-1, TEMPLATES).mean(axis=0)
        finding = found(made, name)
        assert finding.estimate == pytest.approx(means.mean(), abs=1e-6)
        assert (finding.se, finding.df) == (pytest.approx(scipy_stats.sem(means), rel=1e-3), TEMPLATES - 1)
        assert finding.n["template"] == TEMPLATES


def test_the_report_shows_what_was_tested(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    for text in (
        "a causal model has 0",
        "Shift of the effect of the components aimed at beyond random groups on ",
        "Attention to the right of every token that is no mask",
        "Effect of the components aimed at minus the mean effect of the random groups",
    ):
        assert text in page, text
    assert "every cluster has the same mean" not in page


def test_they_are_calibrated_on_halves_and_on_prompts_drawn_anew(finished: Run) -> None:
    made = calibrate(
        stored_plan(finished.path), RunFolder(finished.path), {}, key="", repetitions=2, seed=1, distances=(0.1,)
    )
    assert {one.id: (one.status, one.message, one.truth) for one in made.hypotheses} == dict.fromkeys(
        ("rightwards", "relied-on", "beyond"), ("ok", "", 0.0)
    )
    (anew,) = made.scenarios
    assert [(one.id, one.tested) for one in anew.hypotheses] == [("rightwards", 2), ("relied-on", 2), ("beyond", 2)]


@pytest.mark.parametrize("intervention", ["looks", "aimed"])
def test_what_failed_is_a_reason(intervention: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute_cell = hands._execute_cell

    def execute(plan: Any, cell: Cell, *rest: Any) -> None:
        if (cell.intervention, cell.model) == (intervention, "after"):
            raise ExecutionError("no luck")
        execute_cell(plan, cell, *rest)

    monkeypatch.setattr(hands, "_execute_cell", execute)
    made = run(write(tmp_path, examples=6), out=tmp_path / "out")
    without = found(made, "rightwards" if intervention == "looks" else "relied-on")
    assert (without.status, without.verdict, without.estimate) == ("undefined", "not estimable", None)
    assert without.message == "shift on mine: after: failed: no luck"
    other = found(made, "relied-on" if intervention == "looks" else "rightwards")
    assert other.status == "ok"


def test_too_few_examples_are_a_reason(tmp_path: Path) -> None:
    made = run(write(tmp_path, examples=3), out=tmp_path / "out")
    few = found(made, "rightwards")
    assert few.status == "points only" and "3 prompt(s): fewer than 5, no interval" in few.message
    for name in ("relied-on", "beyond"):
        assert "at least 4 are needed for two of them in each half" in found(made, name).message
        assert found(made, name).status == "undefined"


MODELS = {"before": "arm", "after": "mdm"}
STEPWISE: dict[str, Any] = {
    "schema": "mechshift/v1",
    "name": "stepwise",
    "seed": 3,
    "models": {
        "arm": {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"},
        "mdm": {"source": "bundled:tiny-s0/mdm", "paradigm": "masked_diffusion"},
    },
    "pairs": [{"name": "diffusion", **MODELS, "role": "treatment"}],
    "tasks": [{"name": "countdown", "examples": 16}, {"name": "ioi", "examples": 6}],
    "select": {"correct": "none"},
    "interventions": [
        {"name": "circuit", "kind": "edge_attribution", "method": "eap"},
        {"name": "lens", "kind": "logit_lens"},
    ],
    "denoising": {"steps": [5, "per_token"]},
    "measures": {},
    "hypotheses": [
        {"id": "settled", "measure": "decision_time", "where": {"task": "countdown"}, "test": DIFFERS},
        {"id": "everywhere", "measure": "decision_time", "test": DIFFERS},
    ],
    "statistics": {"bootstrap": {"replicates": 100}},
    "execution": {"device": "cpu"},
}


@pytest.fixture(scope="module")
def stepwise(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("stepwise")
    with (folder / "study.yaml").open("w") as handle:
        YAML().dump(STEPWISE, handle)
    return run(folder / "study.yaml", out=folder / "out")


def decided_at(made: Run, side: str) -> Floats:
    """The share of the steps before the first from which the output is right to the end, [examples]."""
    dataset = make_plan(load_spec(made.path.parent / "study.yaml")).datasets["countdown"]
    ((_, tensors),) = cells(made.path, intervention="lens", model=MODELS[side], task="countdown", budget="5")
    times = []
    for number, example in enumerate(dataset.examples):
        steps = int(tensors["steps"][number])
        right = [token in example.answer_ids for token in tensors["stream_top"][:steps, -1, number]]
        first = next((step for step in range(steps) if all(right[step:])), steps)
        times.append(first / steps)
    return np.array(times)


def test_decision_times_are_taken_of_a_a_data(stepwise: Run) -> None:
    plan, folder = stored_plan(stepwise.path), RunFolder(stepwise.path)
    made = calibrate(plan, folder, {}, key="", repetitions=3, seed=1, distances=(0.1,))
    (settled, everywhere) = made.hypotheses
    # The model after decides every prompt at once, so its halves do not vary.
    assert not decided_at(stepwise, "after").any() and "prompts (or templates) have the same value" in settled.message
    assert everywhere.status == "undefined" and "every answer is read in one denoising step" in everywhere.message
    key, times = ("diffusion", "countdown"), decided_at(stepwise, "before")
    whole = collect(plan, folder, {}, readings(plan.spec.denoising)[0]).by_pair_and_task[key]
    sample = draw(sources(Samples({key: replace(whole, after=whole.before)}, {})), seed=2, repetition=0)[key]
    results = read_results(plan, folder, {}, sample, "lens")
    measured = measure_lens_shift(sample, plan.spec, results)
    expected = {side: times[sample.ids(side)].mean() for side in ("before", "after")}
    expected["shift"] = expected["after"] - expected["before"]
    assert min(expected["before"], expected["after"]) > 0
    assert {one.side: one.estimate for one in measured.estimates} == pytest.approx(expected)
    assert measured.replicated["decision_time"].estimate == pytest.approx(expected["shift"])


def test_decision_times_shift_prompt_by_prompt(stepwise: Run) -> None:
    times = {side: decided_at(stepwise, side) for side in MODELS}
    shift = times["after"] - times["before"]
    assert np.ptp(shift) > 0
    finding = found(stepwise, "settled")
    of = [
        one.template for one in make_plan(load_spec(stepwise.path.parent / "study.yaml")).datasets["countdown"].examples
    ]
    assert (finding.estimate, finding.se) == pytest.approx((shift.mean(), sem(shift, of)))
    assert finding.df == pytest.approx(df(shift, of), rel=1e-3) and finding.status == "ok"
    assert finding.p is not None and finding.verdict != "not estimable"
    estimates = sides(stepwise, "decision_time", pair="diffusion", task="countdown")
    values = {side: one.estimate for side, one in estimates.items()}
    assert values == pytest.approx({**{side: each.mean() for side, each in times.items()}, "shift": shift.mean()})
    assert "negative: answers settle earlier" in (stepwise.path / "report.html").read_text()


def test_a_single_denoising_step_is_a_reason(stepwise: Run) -> None:
    reason = "every answer is read in one denoising step ({}), over which nothing varies"
    finding = found(stepwise, "everywhere")
    assert (finding.status, finding.verdict, finding.p) == ("undefined", "not estimable", None)
    assert finding.message == f"diffusion on ioi: before: {reason}; after: {reason}".format("5", "5")
    (other,) = stepwise.findings.alternatives
    settled = next(one for one in other.hypotheses if one.id == "settled")
    assert (settled.status, settled.estimate) == ("undefined", None)
    assert settled.message == f"diffusion on countdown: before: {reason}; after: {reason}".format(*["per_token"] * 2)
