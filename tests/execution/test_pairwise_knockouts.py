"""Knock-outs in pairs, held against patching two components by hand, and what the analysis makes of them."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from intervention_study import batch_of, by_length, cells, lines, model_of, table, write_effective_study
from ruamel.yaml import YAML
from studies import ATTRIBUTION

from mechshift_core import load_spec, run
from mechshift_core.attribution import patch_nodes
from mechshift_core.execution.cost import cost
from mechshift_core.execution.plan import make_plan
from mechshift_core.pipeline import Run
from mechshift_core.spec import SpecError
from stats import interaction_ratio, interactions
from stats.debiased import CHANCE

pytestmark = pytest.mark.long

KNOCKOUTS: dict[str, object] = {"name": "knockouts", "kind": "ablation", "ablation": "zero", "pairwise": 4}
TOGETHER: dict[str, object] = {
    "id": "together",
    "claim": "Components act together more.",
    "measure": "integration",
    "contrast": {"role": ["treatment", "control"]},
    "test": {"kind": "difference", "alternative": "greater"},
}


def write(folder: Path, *interventions: dict[str, object], measures: object = None) -> Path:
    path = write_effective_study(
        folder, examples=16, interventions=[ATTRIBUTION, *interventions], hypotheses=[TOGETHER]
    )
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["measures"] = {"integration": {}} if measures is None else measures
    content["select"] = {"correct": "none"}
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    folder = tmp_path_factory.mktemp("pairs")
    return folder, run(write(folder, KNOCKOUTS), out=folder / "out")


def by_hand(folder: Path, name: str, nodes: list[list[str]]) -> np.ndarray:  # type: ignore[type-arg]
    rows = lines(folder)
    found = np.zeros((len(nodes), len(rows)), dtype=np.float32)
    for group in by_length(rows):
        batch = batch_of([rows[number] for number in group])
        found[:, group] = patch_nodes(model_of(folder / name), batch, nodes, ablation="zero").numpy()
    return found


@pytest.mark.parametrize("name", ["before", "after"])
def test_the_strongest_components_are_knocked_out_in_pairs(name: str, finished: tuple[Path, Run]) -> None:
    folder, made = finished
    ((single, alone),) = cells(made.path, model=name, intervention="knockouts", part="")
    ((paired, both),) = cells(made.path, model=name, intervention="knockouts", part="pairs")
    effects = np.abs((alone["clean_metric"] - alone["metric"]).astype(np.float64).mean(1))
    strongest = {single["components"][number] for number in np.argsort(-effects)[:4]}
    assert set(paired["strongest"]) == strongest
    assert paired["strongest"] == [name_ for name_ in single["components"] if name_ in strongest]
    nodes = [list(pair) for pair in combinations(paired["strongest"], 2)]
    assert [[single["components"][n] for n in pair] for pair in paired["members"]] == nodes
    np.testing.assert_allclose(both["metric"], by_hand(folder, name, nodes), atol=2e-5)


def test_the_tables_and_the_estimates_are_those_of_the_interactions(finished: tuple[Path, Run]) -> None:
    folder, made = finished
    rows = table(made.path, "interactions").filter((pl.col("pair") == "shift") & (pl.col("side") == "after"))
    nodes = list(rows.select("first", "second").iter_rows())
    names = list(dict.fromkeys(name for pair in nodes for name in pair))
    none, *metric = by_hand(folder, "after", [[], *([name] for name in names), *(list(pair) for pair in nodes)]).astype(
        np.float64
    )
    single, both = np.stack(metric[: len(names)], axis=1), np.stack(metric[len(names) :], axis=1)
    members = np.array([[names.index(name) for name in pair] for pair in nodes])
    found = interactions(none, single, both, members)
    np.testing.assert_allclose(rows["interaction"], found.mean(0), atol=1e-5)
    indices = table(made.path, "indices").filter((pl.col("index") == "interaction") & (pl.col("pair") == "shift"))
    ratio = interaction_ratio(none[:, None] - single, found)
    value = indices.filter(pl.col("side") == "after")["value"].item()
    assert value == pytest.approx(ratio.value, rel=1e-4)
    assert (rows["low"] <= rows["interaction"]).all() and (rows["interaction"] <= rows["high"]).all()


def test_a_hypothesis_on_integration_is_the_contrast_of_the_shifts(finished: tuple[Path, Run]) -> None:
    (finding,) = finished[1].findings.hypotheses
    rows = table(finished[1].path, "indices").filter(
        (pl.col("side") == "shift") & (pl.col("index") == "interaction_share")
    )
    shift = dict(rows.select("pair", "value").iter_rows())
    # Random prompts: where effects agree no more than by chance there is a status, and no number.
    assert shift["control"] is None and finding.status == "undefined" and finding.p is None
    assert "control on mine: " in finding.message and CHANCE in finding.message
    assert "share of interactions" in finding.estimand


def test_the_report_draws_the_interactions(finished: tuple[Path, Run]) -> None:
    page = (finished[1].path / "report.html").read_text()
    assert 'id="integration"' in page and "Interactions before, mine, shift; largest: " in page
    assert page.count("Interactions after, mine, ") == 2
    assert "Knock-outs in pairs" in page and 'id="figure-component-graph"' in page


def test_more_pairs_repeat_no_single_knock_out(finished: tuple[Path, Run], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    again = run(write(folder, {**KNOCKOUTS, "pairwise": 5}), out=folder / "out")
    assert (again.computed, again.failures) == (3, ())
    assert {len(description["strongest"]) for description, _ in cells(again.path, part="pairs")} == {4, 5}


def test_more_components_than_a_model_has_are_refused(tmp_path: Path) -> None:
    spec = write(tmp_path, {**KNOCKOUTS, "components": ["mlps"], "pairwise": 24})
    with pytest.raises(SpecError, match="24 components together, but model 'before' has 2 of the kinds mlps"):
        make_plan(load_spec(spec))


def test_a_plan_counts_the_pairs(tmp_path: Path) -> None:
    plan = make_plan(load_spec(write(tmp_path, KNOCKOUTS)))
    paired = [cell for cell in plan.cells if cell.part == "pairs"]
    assert len(paired) == 3 and all(cell.needs for cell in paired)
    assert cost([(plan, cell) for cell in paired]).patched == 3 * 16 * 6
    assert str(paired[0]).startswith("knockouts pairs of before on mine")


def test_a_failed_single_knock_out_fails_its_pairs_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mechshift_core.execution import node_cells

    execute = node_cells.execute_nodes

    def broken(plan: object, cell: object, *rest: object) -> None:
        if cell.model == "after":  # type: ignore[attr-defined]
            raise RuntimeError("no such luck")
        execute(plan, cell, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(node_cells, "execute_nodes", broken)
    made = run(write(tmp_path, KNOCKOUTS), out=tmp_path / "out")
    assert len(made.failures) == 2 and "what it needs failed" in made.failures[1]
    assert made.findings.hypotheses[0].status == "undefined"
    assert "no such luck" in made.findings.hypotheses[0].message
    events = [json.loads(line) for line in (made.path / "events.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "cell failed" for event in events) == 2


BAD = {
    "no pairs": ({**KNOCKOUTS, "pairwise": 0}, "measure 'integration' needs an intervention of kind ablation with"),
    "one component": ({**KNOCKOUTS, "pairwise": 1}, "expected 0, or at least 2 components to make a pair of"),
}


@pytest.mark.parametrize("case", BAD)
def test_integration_needs_pairs(case: str, tmp_path: Path) -> None:
    intervention, message = BAD[case]
    with pytest.raises(SpecError) as error:
        load_spec(write(tmp_path, intervention))
    assert message in error.value.problems[0].message


def test_integration_is_of_one_intervention(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'knockouts' and 'others' knock out components in pairs"):
        load_spec(write(tmp_path, KNOCKOUTS, {**KNOCKOUTS, "name": "others"}))
