"""Runs at several inference budgets, held against one state at a time on the bundled models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from intervention_study import cells, table
from ruamel.yaml import YAML

from mechshift_core import load_model, load_spec, run
from mechshift_core.attribution import attribute_edges, evaluate_circuits, patch_nodes
from mechshift_core.errors import MechshiftError
from mechshift_core.execution.batches import to_batch
from mechshift_core.execution.plan import Plan, make_plan
from mechshift_core.execution.reading import Reading, reveal_orders, states_of
from mechshift_core.models import Model
from mechshift_core.pipeline import Run
from mechshift_core.spec import SpecError
from mechshift_core.tasks.counterfactual import Dataset
from stats.findings import Findings

pytestmark = pytest.mark.long

STUDY: dict[str, Any] = {
    "schema": "mechshift/v1",
    "name": "budgets",
    "seed": 3,
    "models": {
        "arm": {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"},
        "mdm": {"source": "bundled:tiny-s0/mdm", "paradigm": "masked_diffusion"},
    },
    "pairs": [{"name": "diffusion", "before": "arm", "after": "mdm", "role": "treatment", "seed": 0}],
    "tasks": [{"name": "countdown", "examples": 12}, {"name": "ioi", "examples": 8}],
    "select": {"correct": "none"},
    "interventions": [
        {"name": "circuit", "kind": "edge_attribution", "method": "eap"},
        {"name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [5], "random": 0, "held_out": False},
        {"name": "zeros", "kind": "ablation", "components": ["mlps"], "ablation": "zero"},
    ],
    "denoising": {"steps": ["per_token", 1, 2]},
    "measures": {"overlap": {"top_k": [20], "splits": 4, "permutations": 40}, "depth": {}},
    "hypotheses": [
        {
            "id": "earlier",
            "measure": "depth_slope",
            "where": {"task": "countdown"},
            "test": {"kind": "difference", "alternative": "less"},
        }
    ],
    "statistics": {"bootstrap": {"replicates": 100}},
    "execution": {"device": "cpu"},
}
BUDGETS = ("per_token", "1", "2")


def write(folder: Path, **changes: object) -> Path:
    with (folder / "budgets.yaml").open("w") as handle:
        YAML().dump({**STUDY, **changes}, handle)
    return folder / "budgets.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Plan]:
    folder = tmp_path_factory.mktemp("budgets")
    spec = load_spec(write(folder))
    return run(spec, out=folder / "out"), make_plan(spec)


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {
        "arm": load_model("bundled:tiny-s0/arm", device="cpu"),
        "mdm": load_model("bundled:tiny-s0/mdm", paradigm="masked_diffusion", device="cpu"),
    }


def one_state_at_a_time(model: Model, dataset: Dataset, reading: Reading, measure: Any) -> np.ndarray:  # type: ignore[type-arg]
    """What `measure` gives for a batch of one row, averaged over an example's states; [..., examples]."""
    means = []
    for example in dataset.examples:
        (states,) = states_of(model, [example], reading)
        each = [weight * measure(to_batch(model, dataset, [example], [state]))[..., 0] for state, weight in states]
        means.append(np.sum(each, axis=0))
    return np.stack(means, axis=-1)


def stored(finished: tuple[Run, Plan], **wanted: object) -> tuple[dict[str, Any], dict[str, Any]]:
    (cell,) = cells(finished[0].path, **wanted)
    return cell


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", [pytest.param("arm", marks=pytest.mark.nightly), "mdm"])
def test_everything_measured_is_the_mean_over_the_states(
    name: str, budget: str, finished: tuple[Run, Plan], models: dict[str, Model]
) -> None:
    model, plan = models[name], finished[1]
    dataset, reading = plan.datasets["countdown"], plan.reading(budget)
    wanted = {"model": name, "task": "countdown", "budget": budget}

    def scores(batch: Any) -> np.ndarray:  # type: ignore[type-arg]
        found = attribute_edges(model, batch, method="eap")
        return np.concatenate([found.values.numpy().T, found.clean_metric[None], found.corrupt_metric[None]])

    expected = one_state_at_a_time(model, dataset, reading, scores)
    _, found = stored(finished, intervention="circuit", **wanted)
    got = np.concatenate([found["scores"].T, found["clean_metric"][None], found["corrupt_metric"][None]])
    np.testing.assert_allclose(got, expected, atol=2e-4, rtol=2e-4)

    nodes = [[], *([f"m{layer}"] for layer in range(model.shape.layers))]
    expected = one_state_at_a_time(
        model, dataset, reading, lambda batch: patch_nodes(model, batch, nodes, ablation="zero").numpy()
    )
    _, knocked = stored(finished, intervention="zeros", **wanted)
    np.testing.assert_allclose(knocked["metric"], expected[1:], atol=2e-4, rtol=2e-4)

    description, curve = stored(finished, intervention="curve", **wanted)
    mean = np.abs(found["scores"].astype(np.float64).mean(0))
    size = int(description["circuits"][0]["edges"])
    strongest = np.zeros(len(mean), dtype=bool)
    strongest[np.argsort(-mean, kind="stable")[:size]] = True
    expected = one_state_at_a_time(
        model, dataset, reading, lambda batch: evaluate_circuits(model, batch, [strongest]).numpy()
    )
    np.testing.assert_allclose(curve["metric"], expected, atol=2e-3, rtol=2e-3)


def test_budgets_that_come_to_the_same_states_share_their_cells(finished: tuple[Run, Plan]) -> None:
    path, plan = finished[0].path, finished[1]
    keys = {budget: [c.key for c in plan.cells_of("circuit", "mdm", "ioi", budget=budget)] for budget in BUDGETS}
    assert keys["per_token"] == keys["1"] == keys["2"]
    assert len(list((path / "cells").iterdir())) == len({cell.key for cell in plan.cells}) < len(plan.cells)


def test_the_examples_table_says_how_much_was_hidden_and_how_often_it_was_read(finished: tuple[Run, Plan]) -> None:
    rows = table(finished[0].path, "examples").filter(pl.col("task") == "countdown").sort("example")
    examples = finished[1].datasets["countdown"].examples

    def column(name: str, budget: str, model: str) -> list[int]:
        return rows.filter((pl.col("budget") == budget) & (pl.col("model") == model))[name].to_list()

    assert column("masks", "per_token", "mdm") == [example.masks for example in examples]
    assert column("masks", "per_token", "arm") == [0] * len(examples)
    assert column("masks", "1", "mdm") == [5] * len(examples)
    assert column("masks", "1", "arm") == [example.revealed for example in examples]
    assert column("states", "2", "mdm") == [1 if example.revealed < 2 else 2 for example in examples]


def test_hypotheses_are_decided_at_the_first_budget_and_reported_at_the_others(finished: tuple[Run, Plan]) -> None:
    made = finished[0]
    assert [(other.choice, other.value) for other in made.findings.alternatives] == [
        ("denoising", "1"),
        ("denoising", "2"),
    ]
    rows = table(made.path, "findings")
    assert rows["budget"].to_list() == list(BUDGETS)
    primary, *others = [finding.estimate for finding in made.findings.hypotheses] + [
        other.hypotheses[0].estimate for other in made.findings.alternatives
    ]
    assert rows["estimate"].to_list() == [primary, *others]
    assert len({primary, *others}) == 3
    assert Findings.from_json(made.findings.to_json()) == made.findings


def test_the_report_shows_the_verdicts_at_every_budget(finished: tuple[Run, Plan]) -> None:
    page = (finished[0].path / "report.html").read_text()
    assert 'id="robustness"' in page
    assert "Verdict and estimate under each choice" in page
    assert "How well the models answer at each budget" in page


def test_a_spec_with_one_budget_has_no_section_on_robustness(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        denoising={"reveal": "all_masked"},
        interventions=STUDY["interventions"][:1],
        tasks=STUDY["tasks"][1:],
        hypotheses=[],
    )
    made = run(path, out=tmp_path / "out")
    assert made.findings.alternatives == ()
    assert 'id="robustness"' not in (made.path / "report.html").read_text()
    assert set(table(made.path, "examples")["budget"]) == {"all_masked"}


def slow_order(model: Model, ids: Sequence[int], start: int, clean: Sequence[int], steps: int) -> list[int]:
    """Reveal the surest tokens of one completion, step by step."""
    current, order = list(ids), list[int]()
    length = len(clean)
    for step in range(steps):
        probabilities = model.logits(torch.tensor([current]))[0].softmax(-1).max(-1).values
        hidden = sorted(
            (place for place in range(length) if place not in order),
            key=lambda place: -round(10_000 * float(probabilities[start + place - 1])),
        )
        for place in hidden[: (step + 1) * length // steps - len(order)]:
            order.append(place)
            current[start + place] = clean[place]
    return order


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_surest_token_of_the_clean_prompt_is_revealed_first(
    steps: int, finished: tuple[Run, Plan], models: dict[str, Model]
) -> None:
    model, examples = models["mdm"], finished[1].datasets["countdown"].examples
    orders = reveal_orders(model, examples, Reading("confidence", steps))
    for example, order in zip(examples, orders, strict=True):
        start = len(example.clean_ids) - example.revealed
        # The order counts only up to the answer, which is never shown: the slow one shows a mask there, too.
        solution = [*example.clean_ids[start:], model.mask_token_id, *example.clean_rest_ids]
        ids = [*example.clean_ids[:start], *[model.mask_token_id] * 5]
        expected = slow_order(model, ids, start, solution, steps)  # type: ignore[arg-type]
        until = expected.index(example.revealed)
        assert order[: until + 1] == expected[: until + 1]
        assert sorted(order) == list(range(5))


def test_tokens_whose_value_is_not_known_are_revealed_last(
    finished: tuple[Run, Plan], models: dict[str, Model]
) -> None:
    examples = [replace(e, clean_rest_ids=()) for e in finished[1].datasets["countdown"].examples]
    for example, order in zip(examples, reveal_orders(models["mdm"], examples, Reading("confidence")), strict=True):
        assert set(order[: example.revealed + 1]) == set(range(example.revealed + 1))


def test_an_autoregressive_model_reveals_from_left_to_right(
    finished: tuple[Run, Plan], models: dict[str, Model]
) -> None:
    examples = finished[1].datasets["countdown"].examples
    for steps in (1, 2, "per_token"):
        confident, ordered = (Reading(order, steps) for order in ("confidence", "left_to_right"))  # type: ignore[arg-type]
        assert states_of(models["arm"], examples, confident) == states_of(models["arm"], examples, ordered)


def test_a_run_by_confidence_averages_over_the_model_s_own_states(tmp_path: Path, models: dict[str, Model]) -> None:
    spec = load_spec(
        write(
            tmp_path, denoising={"reveal": "confidence", "steps": 2}, interventions=STUDY["interventions"][:1],
            tasks=STUDY["tasks"][:1], hypotheses=[],
        )
    )  # fmt: skip
    made = run(spec, out=tmp_path / "out")
    dataset = make_plan(spec).datasets["countdown"]
    (cell,) = cells(made.path, model="mdm", task="countdown")

    def metric(batch: Any) -> np.ndarray:  # type: ignore[type-arg]
        return attribute_edges(models["mdm"], batch, method="eap").clean_metric[None].numpy()

    expected = one_state_at_a_time(models["mdm"], dataset, Reading("confidence", 2), metric)
    np.testing.assert_allclose(cell[1]["clean_metric"], expected[0], atol=1e-4, rtol=1e-4)


BAD: dict[str, tuple[dict[str, object], str]] = {
    "steps without an order": (
        {"denoising": {"reveal": "all_masked", "steps": 2}},
        "with reveal: all_masked the answer is read in one step; leave 'steps' out",
    ),
    "a budget twice": ({"denoising": {"steps": [1, 1]}}, "duplicate number of steps 1"),
    "values of other prompts": (
        {
            "denoising": {"reveal": "confidence"},
            "interventions": [STUDY["interventions"][0], {"name": "k", "kind": "ablation", "ablation": "mean"}],
        },
        "'mean' takes values from other prompts in the same state, but with reveal: confidence each has ",
    ),
    "token roles": (
        {
            "denoising": {"reveal": "confidence"},
            "interventions": [{**STUDY["interventions"][0], "by_role": True}],
        },
        "token roles need reveal: left_to_right or all_masked",
    ),
    "a model and itself": (
        {"pairs": [{"name": "diffusion", "before": "arm", "after": "arm", "role": "treatment"}]},
        "'arm' is compared with itself on the same prompts; `prompts: halves` compares halves",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_options_that_contradict_each_other_are_refused(case: str, tmp_path: Path) -> None:
    changes, message = BAD[case]
    with pytest.raises(SpecError) as error:
        load_spec(write(tmp_path, **changes))
    assert [problem.message.startswith(message) for problem in error.value.problems] == [True]


def _without_mask(folder: Path, name: str) -> dict[str, object]:
    """A copy of a bundled model whose tokenizer names no mask token."""
    import json
    import shutil

    from mechshift_core.zoo import bundled_models

    shutil.copytree(bundled_models()[f"tiny-s0/{name}"], folder / name)
    settings = folder / name / "tokenizer_config.json"
    content = json.loads(settings.read_text())
    del content["mask_token"]
    settings.write_text(json.dumps(content))
    paradigm = "autoregressive" if name == "arm" else "masked_diffusion"
    return {"source": name, "paradigm": paradigm}


def test_a_diffusion_model_without_a_mask_token_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    models = {name: _without_mask(tmp_path, name) for name in ("arm", "mdm")}
    spec = load_spec(write(tmp_path, models=models, denoising={}))
    with pytest.raises(MechshiftError, match="model 'mdm' is a masked diffusion model without a mask token; give"):
        make_plan(spec)


def test_an_autoregressive_model_needs_a_mask_token_only_where_tokens_are_hidden_from_it(tmp_path: Path) -> None:
    models = {name: _without_mask(tmp_path, name) for name in ("arm", "mdm")}
    models["mdm"]["mask_token"] = 1
    make_plan(load_spec(write(tmp_path, models=models, denoising={})))
    with pytest.raises(
        MechshiftError, match="model 'arm' has no mask token, but with denoising steps '1' tokens of an answer"
    ):
        make_plan(load_spec(write(tmp_path, models=models, denoising={"steps": 1})))
