from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mechshift_core
from mechshift_core.spec import Filter, Hypothesis, HypothesisTest, Spec, SpecError, json_schema, load_spec
from mechshift_core.spec.checks import check
from mechshift_core.spec.draft import LISTS, Draft
from mechshift_core.spec.hypotheses import Contrast
from mechshift_core.spec.starters import NEEDS_MODELS, starter, starters
from mechshift_core.tasks import TASKS

ROOT = Path(__file__).parents[2]


def test_nothing_of_the_full_grammar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.jsonl").write_text("")
    path = tmp_path / "full-grammar.yaml"
    path.write_text((ROOT / "tests" / "data" / "full-grammar.yaml").read_text())
    assert load_spec(path).name == "tiny-mechanism-shift"


def _objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Spec", schema
    yield from schema["$defs"].items()


def test_every_field_is_documented_in_the_json_schema() -> None:
    undocumented = [
        f"{name}.{field}"
        for name, entry in _objects(json_schema())
        for field, content in entry["properties"].items()
        if not content.get("description")
    ]
    assert undocumented == []


def test_only_what_a_study_cannot_do_without_is_required() -> None:
    assert set(json_schema()["required"]) == {"schema", "name", "models", "pairs", "tasks", "interventions"}


@pytest.mark.usefixtures("own_kinds")
@pytest.mark.parametrize("name", starters())
def test_a_template_is_a_valid_spec_once_written_with_its_files(name: str, tmp_path: Path) -> None:
    chosen = starter(name)
    (tmp_path / f"{name}.yaml").write_text(chosen.spec)
    for file, text in chosen.companions.items():
        (tmp_path / file).write_text(text)
    loaded = load_spec(tmp_path / f"{name}.yaml", check_files=name not in NEEDS_MODELS, allow_code=True)
    assert loaded.name == name
    assert chosen.spec.startswith("# ") and f"mechshift run {name}.yaml" in chosen.spec


@pytest.mark.parametrize("name", NEEDS_MODELS)
def test_only_the_folders_of_the_models_are_left_to_fill_in(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.yaml").write_text(starter(name).spec)
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / f"{name}.yaml")
    assert [p.message for p in caught.value.problems if not p.message.startswith("no such folder")] == []


@pytest.mark.parametrize(
    "name", ["quickstart", "calibration", "inference-budgets", "gpt2-diffugpt", "base-instruct", "checkpoints"]
)
def test_studies_in_the_repository_are_the_templates(name: str) -> None:
    assert (ROOT / "specs" / f"{name}.yaml").read_text() == starter(name).spec


def test_the_defaults_of_a_spec_are_implemented() -> None:
    spec = Spec.model_validate(
        {
            "schema": "mechshift/v1",
            "name": "defaults",
            "models": {"a": {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"}},
            "pairs": [{"name": "p", "before": "a", "after": "a", "role": "control", "prompts": "halves"}],
            "tasks": [{"name": name} for name in TASKS],
            "interventions": [{"name": "c", "kind": "edge_attribution"}],
        }
    )
    indices = {section: tuple(range(len(getattr(spec, section)))) for section in LISTS}
    declared = {"models": ("a",), "interventions": ("c",)}
    assert check(Draft(spec, indices, declared, frozenset(), Path(), check_files=True)) == []
    assert {task.name: task.regime for task in spec.tasks} == {name: task.regime for name, task in TASKS.items()}


def _hypothesis(**fields: Any) -> Hypothesis:
    return Hypothesis(id="h", measure="retention", **fields)


def test_a_hypothesis_without_a_contrast_is_one_group() -> None:
    where = Filter(role="treatment")
    assert _hypothesis(where=where, test=HypothesisTest(kind="difference")).groups() == ((1.0, where),)


def test_two_contrasts_are_a_difference_in_differences() -> None:
    contrast = Contrast(regime=("global", "local"), role=("treatment", "control"))
    groups = _hypothesis(contrast=contrast, test=HypothesisTest(kind="difference")).groups()
    assert {(sign, group.regime, group.role) for sign, group in groups} == {
        (1.0, "global", "treatment"),
        (-1.0, "global", "control"),
        (-1.0, "local", "treatment"),
        (1.0, "local", "control"),
    }


def test_the_group_of_to_is_subtracted() -> None:
    where, to = Filter(role="treatment", regime="local"), Filter(role="control")
    assert _hypothesis(where=where, test=HypothesisTest(kind="equivalence", to=to, margin=0.1)).groups() == (
        (1.0, where),
        (-1.0, to),
    )


def test_a_filter_selects_the_pairs_and_tasks_that_agree_with_all_of_it() -> None:
    spec = load_spec(ROOT / "specs" / "quickstart.yaml")
    assert [(p.name, t.name) for p, t in spec.matching(Filter(role="control", regime="global"))] == [
        ("control", "countdown")
    ]
    assert len(spec.matching(Filter())) == 4


def test_the_public_names_are_found_lazily() -> None:
    assert mechshift_core.load_spec is load_spec
    assert "load_spec" in dir(mechshift_core)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mechshift_core.nothing  # noqa: B018
