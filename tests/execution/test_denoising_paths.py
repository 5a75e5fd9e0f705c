"""Denoising paths as a run computes them, against one input at a time on the bundled models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from intervention_study import cells, table
from ruamel.yaml import YAML

from mechshift_core import load_model, load_spec, run
from mechshift_core.analysis.aa_samples import draw, sources
from mechshift_core.analysis.paired import bounded, paired_shift
from mechshift_core.analysis.samples import collect, read_results
from mechshift_core.execution.plan import Plan, make_plan
from mechshift_core.execution.reading import Reading, completed, readings, states_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.denoising_path.readout import own_path
from mechshift_core.interventions.denoising_path.results import measure_path_shifts
from mechshift_core.models import Model
from mechshift_core.pipeline import Run
from mechshift_core.spec import SpecError
from mechshift_core.tasks.counterfactual import Example
from stats import answer_paths, linear_contrast, reliability

pytestmark = pytest.mark.long

DIFFERS = {"kind": "difference"}
STUDY: dict[str, Any] = {
    "schema": "mechshift/v1",
    "name": "paths",
    "seed": 3,
    "models": {
        "arm": {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"},
        "mdm": {"source": "bundled:tiny-s0/mdm", "paradigm": "masked_diffusion"},
    },
    "pairs": [{"name": "diffusion", "before": "arm", "after": "mdm", "role": "treatment", "seed": 0}],
    "tasks": [{"name": "countdown", "examples": 14}, {"name": "greater_than", "examples": 4}],
    "select": {"correct": "none"},
    "interventions": [
        {"name": "circuit", "kind": "edge_attribution", "method": "eap"},
        {"name": "path", "kind": "denoising_path", "bins": 3},
    ],
    "denoising": {"steps": [5, "per_token"]},
    "measures": {"depth": {}},
    "hypotheses": [
        {"id": name, "measure": name, "where": {"task": "countdown"}, "test": DIFFERS}
        for name in ("overwritten", "brier")
    ],
    "statistics": {"bootstrap": {"replicates": 100}},
    "execution": {"device": "cpu"},
}
MODELS = {"before": "arm", "after": "mdm"}
FIELDS = ("answer", "others", "confidence", "top")


def write(folder: Path, **changes: object) -> Path:
    with (folder / "paths.yaml").open("w") as handle:
        YAML().dump({**STUDY, **changes}, handle)
    return folder / "paths.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Plan]:
    folder = tmp_path_factory.mktemp("paths")
    spec = load_spec(write(folder))
    made = run(spec, out=folder / "out")
    assert made.failures == ()
    return made, make_plan(spec)


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {
        "arm": load_model("bundled:tiny-s0/arm", device="cpu"),
        "mdm": load_model("bundled:tiny-s0/mdm", paradigm="masked_diffusion", device="cpu"),
    }


def said(model: Model, ids: Sequence[int], position: int, answers: Sequence[int]) -> list[float]:
    """What a model says of one input, token by token."""
    p = model.logits(torch.tensor([list(ids)]))[0, position].double().softmax(-1).tolist()
    others = sum(one * one for token, one in enumerate(p) if token not in answers)
    return [sum(p[token] for token in answers), others, max(p), float(np.argmax(p))]


@pytest.mark.parametrize("name", ["arm", "mdm"])
def test_paths_through_the_solution_are_read_in_its_states(
    name: str, finished: tuple[Run, Plan], models: dict[str, Model]
) -> None:
    model, dataset = models[name], finished[1].datasets["countdown"]
    ((_, found),) = cells(finished[0].path, intervention="path", model=name, task="countdown", budget="5")
    for number, example in enumerate(dataset.examples):
        expected: list[list[float]] = []
        (states,) = states_of(model, [example], Reading(steps=5))
        for state, weight in states:
            ids = completed(example, state, model.mask_token_id)
            row = said(model, ids, len(example.clean_ids) - 1, example.answer_ids)
            expected += [row] * round(weight * int(found["steps"][number]))
        assert len(expected) == found["steps"][number]
        for column, field in enumerate(FIELDS):
            np.testing.assert_allclose(found[field][: len(expected), number], np.array(expected)[:, column], atol=1e-5)
            assert not found[field][len(expected) :, number].any()


def walked(model: Model, example: Example, *, steps: int, surest: bool) -> list[list[float]]:
    """A model that denoises a completion by itself, one input at a time, as long as the answer is hidden."""
    length, start = example.revealed + example.masks, len(example.clean_ids) - example.revealed
    diffusion = model.paradigm == "masked_diffusion"
    completion: list[int | None] = [None] * length
    found = []
    for step in range(steps):
        if completion[example.revealed] is not None:
            break
        shown = [model.mask_token_id if token is None else token for token in completion]
        ids = (
            [*example.clean_ids[:start], *shown]
            if diffusion
            else [*example.clean_ids[:start], *shown][: -example.masks]
        )
        found.append(said(model, ids, start + example.revealed - 1, example.answer_ids))
        p = model.logits(torch.tensor([ids]))[0].softmax(-1)
        reach = length if diffusion else example.revealed + 1
        hidden = [place for place in range(reach) if completion[place] is None]
        if surest:
            hidden.sort(key=lambda place: (-round(10_000 * float(p[start + place - 1].max())), place))
        for place in hidden[: (step + 1) * length // steps - step * length // steps]:
            completion[place] = int(p[start + place - 1].argmax())
    return found


@pytest.mark.parametrize(
    ("name", "order", "steps"),
    [("arm", "left_to_right", 5), ("arm", "left_to_right", 2), ("mdm", "left_to_right", 2), ("mdm", "confidence", 5)],
)
def test_a_model_that_chooses_its_own_tokens_is_walked_with_step_by_step(
    name: str, order: Any, steps: int, finished: tuple[Run, Plan], models: dict[str, Model]
) -> None:
    examples = finished[1].datasets["countdown"].examples
    chosen = [
        one
        for one in examples
        if len(one.clean_ids) - one.revealed == len(examples[0].clean_ids) - examples[0].revealed
    ]
    for example in chosen[:6]:
        (found,) = own_path(models[name], [example], Reading(order, steps), rows=None, halvings=[])
        expected = walked(models[name], example, steps=steps, surest=order == "confidence")
        np.testing.assert_allclose(
            np.column_stack([getattr(found, field).double() for field in FIELDS]), np.array(expected), atol=1e-4
        )
    same = [
        one
        for one in examples
        if (one.revealed, len(one.clean_ids)) == (examples[0].revealed, len(examples[0].clean_ids))
    ]
    together = own_path(models[name], same, Reading(order, steps), rows=2, halvings=[])
    for example, path in zip(same, together, strict=True):
        (alone,) = own_path(models[name], [example], Reading(order, steps), rows=None, halvings=[])
        assert path.top.tolist() == alone.top.tolist()


def right_of(finished: tuple[Run, Plan], side: str) -> tuple[np.ndarray, dict[str, Any]]:  # type: ignore[type-arg]
    ((_, found),) = cells(finished[0].path, intervention="path", model=MODELS[side], task="countdown", budget="5")
    examples = finished[1].datasets["countdown"].examples
    right = np.array([np.isin(found["top"][:, n], one.answer_ids) for n, one in enumerate(examples)])
    return right, found


@pytest.mark.parametrize("side", MODELS)
def test_tables_are_of_all_prompts_step_by_step(side: str, finished: tuple[Run, Plan]) -> None:
    right, found = right_of(finished, side)
    where = (pl.col("side") == side) & (pl.col("task") == "countdown") & (pl.col("budget") == "5")
    paths = answer_paths(right, found["steps"])
    rows = table(finished[0].path, "answer_paths").filter(where)
    shares = dict(rows.select("outcome", "share").rows())
    expected = {name: getattr(paths, name).mean() for name in ("kept", "corrected", "overwritten")}
    assert shares == pytest.approx({**expected, "never": 1 - sum(expected.values())})
    for row in table(finished[0].path, "confidence").filter(where).iter_rows(named=True):
        step, having = row["step"] - 1, found["steps"] >= row["step"]
        p, hits = found["confidence"][step, having].astype(float), right[having, step]
        brier = (1 - found["answer"][step, having]) ** 2 + found["others"][step, having]
        assert row["n"] == having.sum()
        assert row["accuracy"] == pytest.approx(hits.mean()) and row["confidence"] == pytest.approx(p.mean())
        assert row["gap"] == pytest.approx((p - hits).mean()) and row["brier"] == pytest.approx(brier.mean(), rel=1e-5)
        assert row["ece"] == pytest.approx(reliability(p, hits, bins=3).ece)
        bins = table(finished[0].path, "reliability").filter(where & (pl.col("step") == row["step"]))
        assert bins["n"].sum() == row["n"] and len(bins) <= 3


def test_hypotheses_are_of_shifts_prompt_by_prompt(finished: tuple[Run, Plan]) -> None:
    values: dict[str, list[np.ndarray]] = {"overwritten": [], "brier": []}  # type: ignore[type-arg]
    for side in MODELS:
        right, found = right_of(finished, side)
        steps = found["steps"]
        values["overwritten"].append(answer_paths(right, steps).overwritten.astype(float))
        brier = (1 - found["answer"]) ** 2 + found["others"]
        values["brier"].append(np.array([brier[:count, n].mean() for n, count in enumerate(steps)]))
    for finding in finished[0].findings.hypotheses:
        before, after = values[finding.id]
        assert finding.estimate == pytest.approx((after - before).mean(), abs=1e-6)


def test_what_is_not_defined_is_said_by_name(finished: tuple[Run, Plan]) -> None:
    rows = table(finished[0].path, "confidence").filter(pl.col("task") == "greater_than")
    assert rows["ece"].null_count() == len(rows) and rows["brier"].null_count() == 0
    assert all("sets of tokens" in status for status in rows["status"])
    (other,) = finished[0].findings.alternatives
    (finding,) = [one for one in other.hypotheses if one.id == "overwritten"]
    assert finding.status == "undefined"
    assert "before and after: every answer is read in one denoising step (per_token)" in finding.message


def test_the_report_draws_the_paths(finished: tuple[Run, Plan]) -> None:
    page = (finished[0].path / "report.html").read_text()
    assert 'id="denoising-paths"' in page and "Accuracy by confidence in the first step, countdown" in page
    assert "answers of this task are sets of tokens" in page


def test_halves_of_one_model_are_read_on_their_own_prompts(finished: tuple[Run, Plan]) -> None:
    made, plan = finished
    folder, reading = RunFolder(made.path), readings(plan.spec.denoising)[0]
    samples = collect(plan, folder, {}, reading)
    drawn = draw(sources(samples), seed=1, repetition=0)["diffusion", "countdown"]
    own = plan.spec.intervention("path")
    results = read_results(plan, folder, {}, drawn, "path")
    measured = measure_path_shifts(drawn, plan.spec, own, results)  # type: ignore[arg-type]
    _, found = right_of(finished, "after")
    brier = (1 - found["answer"]) ** 2 + found["others"]
    each = np.array([brier[:count, n].mean() for n, count in enumerate(found["steps"])])
    expected = (each[drawn.ids("after")] - each[drawn.ids("before")]).mean()
    assert measured.replicated["brier"].estimate == pytest.approx(expected, abs=1e-6)


def test_what_is_the_same_on_all_prompts_has_an_exact_interval_and_no_test(finished: tuple[Run, Plan]) -> None:
    made, plan = finished
    samples = collect(plan, RunFolder(made.path), {}, readings(plan.spec.denoising)[0])
    sample = samples.by_pair_and_task["diffusion", "countdown"]
    assert sample.n == 14
    values = {"before": np.zeros(14), "after": np.ones(14)}
    found = paired_shift(sample, plan.spec, "overwritten", values, limits=(0.0, 1.0))
    ends = {one.side: (one.low, one.high) for one in found.estimates}
    unseen = 1 - 0.025 ** (1 / 14)
    assert ends["before"] == pytest.approx((0, unseen)) and ends["after"] == pytest.approx((1 - unseen, 1))
    assert ends["shift"] == pytest.approx((1 - 2 * unseen, 1))
    assert {one.message for one in found.estimates} == {
        "all 14 prompts have the same value: the interval is of what was seen in none of them"
    }
    few = bounded(found, few=True).replicated["overwritten"]
    assert few.counted and few.bounded and linear_contrast([few], [1.0], ["countdown"]).se is None


def test_prompts_are_not_selected_and_an_own_path_has_several_steps_token_by_token(tmp_path: Path) -> None:
    kinds = [STUDY["interventions"][0], {"name": "alone", "kind": "denoising_path", "tokens": "own"}]
    tasks = [{**STUDY["tasks"][0], "examples": 40}]
    path = write(tmp_path, select={"correct": "both"}, interventions=kinds, denoising={}, hypotheses=[], tasks=tasks)
    made = run(path, out=tmp_path / "out")
    assert made.failures == ()
    assert table(made.path, "answer_paths")["n"].unique().to_list() == [40]
    assert table(made.path, "examples").filter("selected")["example"].n_unique() < 40
    assert table(made.path, "confidence")["step"].max() > 1
    ((_, found),) = cells(made.path, intervention="alone", model="mdm")
    examples = make_plan(load_spec(path)).datasets["countdown"].examples
    assert found["steps"].tolist() == [one.revealed + 1 for one in examples]


BAD = {
    "selected prompts": (
        {"select": {"correct": "both"}},
        "measure 'overwritten' is of right and wrong answers, but `select: {correct: both}` keeps prompts by whether",
    ),
    "one step": (
        {"denoising": {}},
        "measure 'overwritten' needs several denoising steps, but per_token reads every answer in one",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_hypotheses_that_can_have_no_value_are_refused(case: str, tmp_path: Path) -> None:
    changes, message = BAD[case]
    with pytest.raises(SpecError) as error:
        load_spec(write(tmp_path, **changes))
    assert error.value.problems[0].message.startswith(message)


def test_an_own_path_has_several_steps_where_one_token_is_revealed_at_a_time(tmp_path: Path) -> None:
    own = [STUDY["interventions"][0], {"name": "alone", "kind": "denoising_path", "tokens": "own"}]
    load_spec(write(tmp_path, denoising={}, interventions=own))
    with pytest.raises(SpecError, match="needs several denoising steps, but 1 reads every answer in one"):
        load_spec(write(tmp_path, denoising={"steps": 1}, interventions=own))


def test_an_autoregressive_model_without_a_mask_token_is_refused(
    finished: tuple[Run, Plan], models: dict[str, Model]
) -> None:
    from dataclasses import replace

    from mechshift_core.errors import ExecutionError

    hidden = next(one for one in finished[1].datasets["countdown"].examples if one.revealed)
    with pytest.raises(ExecutionError, match="has no mask token to hide with what it has not chosen yet"):
        own_path(replace(models["arm"], mask_token_id=None), [hidden], Reading(), rows=None, halvings=[])
