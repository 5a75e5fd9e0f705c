"""Hypotheses under the other choices that a spec names: what is run again, decided again, and the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML
from studies import ATTRIBUTION, HYPOTHESES, write_study

from mechshift_core import load_spec, run
from mechshift_core.execution.plan import Plan, make_plan
from mechshift_core.pipeline import Run, analyze, stored_plan
from mechshift_core.spec.problems import SpecError
from stats.findings import Alternative

INTEGRATED: dict[str, Any] = {
    "id": "integrated",
    "measure": "integration",
    "contrast": {"role": ["treatment", "control"]},
    "test": {"kind": "difference"},
}
OVERLAP: dict[str, Any] = {"top_k": [10, 20], "splits": 6, "permutations": 50}
CHOICES: dict[str, Any] = {"top_k": [10], "interval": ["percentile"], "ablation": ["counterfactual"], "steps": [3]}


def alike(file: Path) -> None:
    """Make prompts differ in their first token alone: what a model does is then much the same on each."""
    pairs = [json.loads(line) for line in file.read_text().splitlines()]
    for first, pair in enumerate(pairs):
        rest = range(20, 20 + len(pair["clean_ids"]) - 2)
        pair["clean_ids"], pair["corrupt_ids"] = [first, 18, *rest], [first, 19, *rest]
    file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))


def write(folder: Path, **changes: Any) -> Path:
    """A study with knock-outs in pairs and the alternatives; `changes` replace whole sections."""
    knocked = {"name": "knocked", "kind": "ablation", "components": ["heads"], "ablation": "zero", "pairwise": 3}
    path = write_study(folder, examples=16, interventions=[ATTRIBUTION, knocked])
    alike(folder / "pairs.jsonl")
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["measures"] |= {"overlap": OVERLAP, "integration": {}}
    content["statistics"] = {"bootstrap": {"replicates": 120}}
    content["hypotheses"] = [*HYPOTHESES, INTEGRATED]
    content |= {"sensitivity": CHOICES, **changes}
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("sensitivity")
    return run(load_spec(write(folder)), out=folder / "out")


@pytest.fixture(scope="module")
def plan(finished: Run) -> Plan:
    return make_plan(load_spec(finished.path.parent / "study.yaml"))


def under(finished: Run, choice: str) -> Alternative:
    (found,) = (other for other in finished.findings.alternatives if other.choice == choice)
    return found


def changed(finished: Run, choice: str) -> set[str]:
    """The hypotheses whose numbers, or what they lack, are not the study's own."""
    pairs = zip(finished.findings.hypotheses, under(finished, choice).hypotheses, strict=True)
    return {
        own.id
        for own, other in pairs
        if (own.estimate, own.low, own.message) != (other.estimate, other.low, other.message)
    }


def test_every_choice_decides_every_hypothesis_again(finished: Run) -> None:
    assert [(other.choice, other.value) for other in finished.findings.alternatives] == [
        ("top_k", "K = 10"), ("interval", "percentile"), ("ablation", "counterfactual"), ("steps", "3 steps")
    ]  # fmt: skip
    assert all(len(other.hypotheses) == 3 for other in finished.findings.alternatives)


@pytest.mark.parametrize(
    ("choice", "may_change"),
    [("top_k", {"kept"}), ("ablation", {"integrated"}), ("interval", {"kept", "earlier"})],
)
def test_a_choice_changes_the_hypotheses_that_depend_on_it_and_no_other(
    choice: str, may_change: set[str], finished: Run
) -> None:
    assert changed(finished, choice) == may_change


@pytest.mark.long
@pytest.mark.parametrize(
    ("choice", "study", "hypothesis"),
    [
        ("top_k", {"measures": {"overlap": {**OVERLAP, "top_k": [10]}}}, "kept"),
        ("steps", {"interventions": [{**ATTRIBUTION, "steps": 3}]}, "earlier"),
        ("interval", {"statistics": {"bootstrap": {"replicates": 120, "method": "percentile"}}}, "earlier"),
    ],
)
def test_an_alternative_gives_what_a_study_that_chose_so_gives(
    choice: str, study: dict[str, Any], hypothesis: str, finished: Run, tmp_path: Path
) -> None:
    own = {"measures": {"overlap": OVERLAP, "depth": {}}}
    tested = [one for one in HYPOTHESES if one["id"] == hypothesis]
    chosen = run(
        load_spec(write(tmp_path, **{**own, "sensitivity": {}, "hypotheses": tested, **study})), out=tmp_path / "out"
    )
    (expected,) = chosen.findings.hypotheses
    (found,) = (one for one in under(finished, choice).hypotheses if one.id == hypothesis)
    assert (found.estimate, found.low, found.high, found.p) == (
        expected.estimate,
        expected.low,
        expected.high,
        expected.p,
    )
    assert found.estimate is not None


def test_only_the_runs_that_a_hypothesis_depends_on_are_made_again(plan: Plan) -> None:
    own = {cell.key for cell in plan.cells}
    more = [(cell.intervention, cell.part) for _, cell in plan.every_cell if cell.key not in own]
    # Three models: their attribution with more steps, and knock-outs alone and in pairs by another ablation.
    assert sorted(more) == [("circuit", "")] * 3 + [("knocked", "")] * 3 + [("knocked", "pairs")] * 3


@pytest.mark.long
def test_a_second_call_and_an_analysis_find_every_cell(finished: Run, plan: Plan) -> None:
    before = (finished.path / "findings.json").read_bytes()
    again = run(load_spec(finished.path.parent / "study.yaml"), out=finished.path)
    assert (again.computed, again.cached, again.analysed) == (0, len(plan.every_cell), False)
    assert analyze(finished.path).failures == ()
    assert (finished.path / "findings.json").read_bytes() == before
    stored = [cell for _, cell in stored_plan(finished.path).every_cell]
    assert stored == [cell for _, cell in plan.every_cell]


def test_tables_hold_the_study_s_own_numbers(finished: Run) -> None:
    assert pl.read_parquet(finished.path / "tables" / "findings.parquet").height == 3


def test_the_report_shows_what_changes(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    assert 'id="figure-robustness"' in page and "attribution steps: 3 steps" in page
    assert "An inference budget" not in page


@pytest.mark.parametrize(
    ("sensitivity", "complaint"),
    [
        ({"interval": ["studentized"]}, "'studentized' is the study's own choice"),
        ({"steps": [2]}, "2 is the study's own choice"),
        ({"ablation": ["zero"]}, "'zero' is the study's own choice"),
        ({"top_k": [7, 7]}, "duplicate value 7"),
        ({"specialization": ["hoyer"]}, "no hypothesis depends on it (those on 'specialization' do)"),
        ({"top_k": [0]}, "expected a number not below 1, got 0"),
        ({"intervals": ["percentile"]}, "did you mean 'interval'?"),
    ],
)
def test_an_alternative_that_could_not_matter_is_refused(
    sensitivity: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(write(tmp_path, sensitivity=sensitivity))
    assert complaint in str(caught.value)


def test_an_ablation_needs_a_hypothesis_on_what_is_ablated(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="those on 'integration', 'faithfulness', 'transfer' or 'targeted' do"):
        load_spec(write(tmp_path, sensitivity={"ablation": ["mean"]}, hypotheses=HYPOTHESES))
