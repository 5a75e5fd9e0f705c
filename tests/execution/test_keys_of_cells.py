"""What a cell is known by: what its numbers depend on, and nothing else; names are no part of it unless draws are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from studies import ATTRIBUTION, EVERY_KIND, write_study

from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import make_plan
from mechshift_core.spec import load_spec

DRAWN: dict[str, object] = {"name": "drawn", "kind": "ablation", "components": ["heads"], "ablation": "zero"}
DRAWN["shapley"] = {"components": 5, "order": 2, "budget": 20}
CURVE = EVERY_KIND[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, hypotheses=[])
    return folder


def cells(folder: Path, change: Callable[[dict[str, Any]], None] | None = None, *interventions: Any) -> list[Cell]:
    """The cells of the study with some interventions, changed."""
    path, yaml = write_study(folder, hypotheses=[], interventions=[ATTRIBUTION, *interventions]), YAML()
    content = yaml.load(path.read_text())
    if change is not None:
        change(content)
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return [cell for _, cell in make_plan(load_spec(path)).every_cell]


def keys(found: list[Cell], intervention: str, part: str = "") -> set[str]:
    return {cell.key for cell in found if (cell.intervention, cell.part) == (intervention, part)}


def other_names(content: dict[str, Any]) -> None:
    content["name"] = "other-study"
    content["models"] = {f"other-{name}": model for name, model in reversed([*content["models"].items()])}
    for pair in content["pairs"]:
        pair["name"], pair["before"], pair["after"] = (f"other-{pair[key]}" for key in ("name", "before", "after"))
    content["interventions"][0]["name"] = "other"
    content["interventions"][1]["of"] = "other"


def test_names_of_models_pairs_interventions_and_studies_are_no_part_of_a_key(folder: Path) -> None:
    own, other = cells(folder, None, CURVE), cells(folder, other_names, CURVE)
    assert {cell.key for cell in own} == {cell.key for cell in other}
    assert {cell.model for cell in own}.isdisjoint({cell.model for cell in other})


def other_task(content: dict[str, Any]) -> None:
    content["tasks"][0]["name"] = "other"


def other_seed(content: dict[str, Any]) -> None:
    content["seed"] = 5


@pytest.mark.parametrize("change", [other_task, other_seed])
def test_what_is_drawn_by_the_seed_and_the_name_of_the_task_depends_on_both(
    folder: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    shuffled: dict[str, Any] = {**DRAWN, "name": "shuffled", "ablation": "resample", "shapley": None, "pairwise": 2}
    own, other = (cells(folder, one, DRAWN, shuffled) for one in (None, change))
    for name, part in (("drawn", "shapley"), ("shuffled", ""), ("shuffled", "pairs")):
        assert keys(own, name, part) and keys(own, name, part).isdisjoint(keys(other, name, part))
    for name in ("circuit", "drawn"):  # nothing is drawn for these
        assert keys(own, name) == keys(other, name)


@pytest.mark.parametrize("rule", ["both", "before"])
def test_a_pair_the_other_way_round_shares_its_circuits_where_its_examples_are_the_same(
    folder: Path, rule: str
) -> None:
    def both_ways(content: dict[str, Any]) -> None:
        content["select"]["correct"] = rule
        first = content["pairs"][0]
        content["pairs"][1] = {"name": "back", "before": first["after"], "after": first["before"], "role": "control"}

    assert len(keys(cells(folder, both_ways, CURVE), "curve")) == (2 if rule == "both" else 4)
