"""Budgets that are a part of the denoising steps, held against one state at a time; contrasts between budgets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from intervention_study import cells, table
from ruamel.yaml import YAML
from within_templates import sem

from mechshift_core import load_model, load_spec, run
from mechshift_core.analysis.calibration import calibrate
from mechshift_core.analysis.hypotheses import Evidence, test_hypotheses
from mechshift_core.analysis.samples import collect
from mechshift_core.attribution import attribute_edges
from mechshift_core.errors import MechshiftError
from mechshift_core.execution.batches import to_batch
from mechshift_core.execution.plan import Plan, make_plan
from mechshift_core.execution.reading import Reading, left_to_right, states_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.pipeline import Run
from mechshift_core.spec import SpecError
from mechshift_core.spec.tasks import PartOfSteps
from mechshift_core.tasks.counterfactual import Example

pytestmark = pytest.mark.long

ATTRIBUTION = {"name": "circuit", "kind": "edge_attribution", "method": "eap"}
STUDY: dict[str, Any] = {
    "schema": "mechshift/v1",
    "name": "parts",
    "seed": 3,
    "models": {
        "arm": {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"},
        "mdm": {"source": "bundled:tiny-s0/mdm", "paradigm": "masked_diffusion"},
    },
    "pairs": [{"name": "diffusion", "before": "arm", "after": "mdm", "role": "treatment", "seed": 0}],
    "tasks": [{"name": "countdown", "examples": 16}],
    "select": {"correct": "none"},
    "interventions": [ATTRIBUTION],
    "denoising": {"steps": [{"of": 5, "at": 1}, {"of": 5, "at": 2}, {"masked": [0.2, 0.7]}, 1]},
    "measures": {"depth": {}},
    "hypotheses": [
        {"id": "plain", "measure": "early_share", "test": {"kind": "difference"}},
        {
            "id": "over-time",
            "measure": "early_share",
            "contrast": {"budget": ["step 2 of 5", "step 1 of 5"]},
            "test": {"kind": "difference"},
        },
    ],
    "statistics": {"bootstrap": {"replicates": 100}},
    "execution": {"device": "cpu"},
}
BUDGETS = ("step 1 of 5", "step 2 of 5", "masked 0.2-0.7", "1")


def write(folder: Path, **changes: object) -> Path:
    with (folder / "parts.yaml").open("w") as handle:
        YAML().dump({**STUDY, **changes}, handle)
    return folder / "parts.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Plan]:
    folder = tmp_path_factory.mktemp("parts")
    spec = load_spec(write(folder))
    made = run(spec, out=folder / "out")
    assert made.failures == ()
    return made, make_plan(spec)


def example(revealed: int, masks: int) -> Example:
    ids = tuple(range(3 + revealed))
    rest = tuple(range(masks - 1))
    return Example("", ids, ids, (5,), (6,), masks, "", "", "", "", revealed=revealed, clean_rest_ids=rest,
                   corrupt_rest_ids=rest)  # fmt: skip


def test_parts_of_the_steps_are_what_they_say() -> None:
    for revealed, masks in ((0, 1), (0, 5), (2, 3), (4, 1), (3, 5), (1, 6)):
        one, length = example(revealed, masks), revealed + masks
        for of in (1, 2, 4, 1000):
            steps = min(of, length)
            every = [tuple(place < step * length // steps for place in range(length)) for step in range(steps)]
            for at in range(1, 6):
                reading = Reading(steps=of, part=PartOfSteps(of=max(of, at), at=at))
                wanted = [state for state in every[at - 1 : at] if not state[revealed]]
                held = [state for state, _ in left_to_right(one, reading) if reading.holds(state, one)]
                assert held == wanted
                assert reading.may_hold(one) == bool(wanted)
            for low, high in ((0.0, 0.5), (0.5, 1.0), (1.0, 1.0)):
                reading = Reading(steps=of, part=PartOfSteps(of=of, masked=(low, high)))
                wanted = [s for s in every if not s[revealed] and low <= s.count(False) / length <= high]
                states = left_to_right(one, reading)
                assert [state for state, _ in states if reading.holds(state, one)] == wanted
                assert sum(weight for _, weight in states) == pytest.approx(1)


@pytest.mark.parametrize("name", ["arm", "mdm"])
@pytest.mark.parametrize("budget", BUDGETS[:3])
def test_what_is_measured_is_the_mean_over_the_states_of_the_part(
    name: str, budget: str, finished: tuple[Run, Plan]
) -> None:
    paradigm: Any = "masked_diffusion" if name == "mdm" else "autoregressive"
    model = load_model(f"bundled:tiny-s0/{name}", paradigm=paradigm, device="cpu")
    dataset, whole = finished[1].datasets["countdown"], Reading(steps=5)
    ((_, found),) = cells(finished[0].path, intervention="circuit", model=name, budget=budget)
    wanted = {"step 1 of 5": lambda hidden: hidden == 5, "step 2 of 5": lambda hidden: hidden == 4}
    lacking = 0
    for number, one in enumerate(dataset.examples):
        length = one.revealed + one.masks
        assert length == 5
        # All states of five steps, as the model sees them: those of an autoregressive one may end before the answer.
        states = [
            state
            for state, _ in left_to_right(one, whole)
            if wanted.get(budget, lambda hidden: 0.2 <= hidden / 5 <= 0.7)(state.count(False))
        ]
        assert found["states"][number] == len(states)
        lacking += not states
        seen = [state[: one.revealed] if name == "arm" else state for state in states]
        metrics = [float(attribute_edges(model, to_batch(model, dataset, [one], [s]), method="eap").clean_metric[0])
                   for s in seen]  # fmt: skip
        if states:
            assert found["clean_metric"][number] == pytest.approx(np.mean(metrics), abs=1e-3)
    assert lacking == {"step 1 of 5": 0}.get(budget, lacking)
    assert budget == "step 1 of 5" or 0 < lacking < len(dataset.examples)


def test_prompts_without_a_state_are_left_out_and_counted(finished: tuple[Run, Plan]) -> None:
    rows = table(finished[0].path, "examples").filter(pl.col("side") == "after")
    for budget in BUDGETS:
        own = rows.filter(pl.col("budget") == budget)
        assert own["selected"].to_list() == (own["states"] > 0).to_list()
    first, second = (rows.filter(pl.col("budget") == budget) for budget in BUDGETS[:2])
    assert first["selected"].all() and not second["selected"].all()
    (finding,) = [one for one in finished[0].findings.alternatives[0].hypotheses if one.id == "plain"]
    assert finding.n["prompt"] == second["selected"].sum()


def test_budgets_of_the_same_states_share_cells_only_if_all_prompts_have_them(finished: tuple[Run, Plan]) -> None:
    plan = finished[1]
    keys = {budget: [c.key for c in plan.cells_of("circuit", "mdm", "countdown", budget=budget)] for budget in BUDGETS}
    assert keys["step 1 of 5"] == keys["1"]
    assert len({tuple(own) for own in keys.values()}) == 3


def shifts(finished: tuple[Run, Plan], budget: str) -> dict[int, float]:
    """Shift of the early share of every prompt that is selected at a budget."""
    made, plan = finished
    sample = collect(plan, RunFolder(made.path), {}, plan.reading(budget)).by_pair_and_task["diffusion", "countdown"]
    source, _ = sample.graph.edge_index
    layers = np.array([node.layer for node in sample.graph.sources])[source]
    shares = {}
    for side in ("before", "after"):
        scores = np.abs(sample.scores(side).astype(float))[:, layers >= 0]
        by_layer = np.stack([scores[:, layers[layers >= 0] == layer].sum(1) for layer in range(6)], axis=1)
        shares[side] = (by_layer / by_layer.sum(1, keepdims=True))[:, :2].sum(1)  # two of six: a third
    return dict(zip(sample.selected.tolist(), (shares["after"] - shares["before"]).tolist(), strict=True))


def test_budgets_are_compared_on_the_prompts_that_both_have(finished: tuple[Run, Plan]) -> None:
    made, plan = finished
    first, second = shifts(finished, "step 2 of 5"), shifts(finished, "step 1 of 5")
    plain = made.findings.hypotheses[0]
    assert plain.estimate == pytest.approx(np.mean([*second.values()]), abs=1e-5)
    common = sorted(first.keys() & second.keys())
    assert len(common) == len(first) < len(second)
    changes = np.array([first[number] - second[number] for number in common])
    finding = made.findings.hypotheses[1]
    assert finding.status == "ok" and finding.n["prompt"] == len(common)
    assert finding.estimate == pytest.approx(changes.mean(), abs=1e-5)
    templates = [plan.datasets["countdown"].examples[number].template for number in common]
    assert finding.se == pytest.approx(sem(changes, templates), rel=1e-3)
    assert "at the inference budget 'step 2 of 5' minus at 'step 1 of 5'" in finding.estimand
    on_both = [np.mean([of[number] for number in common]) for of in (first, second)]
    assert [group.estimate for group in finding.groups] == pytest.approx(on_both, abs=1e-5)
    assert [(group.sign, group.budget) for group in finding.groups] == [(1, "step 2 of 5"), (-1, "step 1 of 5")]
    every = [one.hypotheses[1] for one in made.findings.alternatives]
    assert {one.estimate for one in every} == {finding.estimate} and {one.p for one in every} == {finding.p}


def test_where_nothing_is_known_of_two_budgets_nothing_is_estimated(finished: tuple[Run, Plan]) -> None:
    made, plan = finished
    samples = collect(plan, RunFolder(made.path), {}, plan.reading("1")).by_pair_and_task
    found = test_hypotheses(plan.spec, Evidence({}, {}, samples))
    assert found[1].verdict == "not estimable" and "compared on the study's own results" in found[1].message


def test_a_calibration_says_that_comparisons_of_budgets_are_not_in_it(finished: tuple[Run, Plan]) -> None:
    made, plan = finished
    found = calibrate(plan, RunFolder(made.path), {}, key="", repetitions=3, seed=0)
    assert [one.id for one in found.hypotheses] == ["plain"]
    assert "Hypotheses that compare inference budgets (over-time): data sets are of the first." in found.unseen


BAD: dict[str, tuple[dict[str, object], str]] = {
    "both": ({"denoising": {"steps": {"at": 1, "masked": [0, 1]}}}, "expected either `at`, a step, or `masked`"),
    "neither": ({"denoising": {"steps": {"of": 4}}}, "expected either `at`, a step, or `masked`"),
    "beyond": ({"denoising": {"steps": {"of": 4, "at": 5}}}, "expected a step of 4, got step 5"),
    "upside down": ({"denoising": {"steps": {"masked": [1, 0.5]}}}, "expected the smaller share first"),
    "twice": ({"denoising": {"steps": [{"at": 1}, {"at": 1}]}}, "duplicate budget step 1"),
    "no budget": (
        {"hypotheses": [{**STUDY["hypotheses"][1], "contrast": {"budget": ["step 2 of 5", 7]}}]},
        "unknown inference budget '7' (of this spec: step 1 of 5, step 2 of 5, masked 0.2-0.7, 1)",
    ),
    "itself": (
        {"hypotheses": [{**STUDY["hypotheses"][1], "contrast": {"budget": ["1", 1]}}]},
        "a contrast of '1' with itself is zero",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_parts_that_are_none_are_refused(case: str, tmp_path: Path) -> None:
    changes, message = BAD[case]
    if "denoising" in changes:
        changes = {**changes, "hypotheses": []}
    with pytest.raises(SpecError) as error:
        load_spec(write(tmp_path, **changes))
    assert [one.message[: len(message)] for one in error.value.problems] == [message]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"denoising": {"steps": {"at": 7}}}, "no prompt of any task has a state at the budget 'step 7', in which"),
        (
            {
                "denoising": {"steps": {"at": 2}},
                "interventions": [ATTRIBUTION, {"name": "k", "kind": "ablation", "ablation": "mean"}],
            },
            "prompts have no state at 'step 2', so the ablation 'mean' of 'k' would take values from other steps",
        ),
    ],
)
def test_budgets_that_prompts_lack_are_refused_where_they_are_needed(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(MechshiftError, match=message):
        make_plan(load_spec(write(tmp_path, hypotheses=[], **changes)))


def test_by_confidence_the_model_decides_which_prompts_have_a_state(finished: tuple[Run, Plan]) -> None:
    model = load_model("bundled:tiny-s0/mdm", paradigm="masked_diffusion", device="cpu")
    examples = finished[1].datasets["countdown"].examples
    part = Reading("confidence", 5, PartOfSteps(of=5, at=3))
    for one, states in zip(examples, states_of(model, examples, part), strict=True):
        ((state, _),) = states
        (whole,) = states_of(model, [one], replace(part, part=None))
        third = [known for known, _ in whole if sum(known) == 2]
        assert part.holds(state, one) == bool(third)
        assert state == (third or [known for known, _ in whole][-1:])[0]
