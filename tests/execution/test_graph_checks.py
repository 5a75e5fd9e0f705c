"""What `config.json` decides is found before any weight is read, with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from random_models import write_random_model
from ruamel.yaml import YAML
from studies import ATTRIBUTION, write_study

from mechshift_core.cli.main import main
from mechshift_core.execution.plan import make_plan
from mechshift_core.graph import Graph, component_names
from mechshift_core.models import sources
from mechshift_core.spec import SpecError, load_spec

EDIT = dict[str, Any]


def edited(path: Path, **changes: Any) -> Path:
    """The study with some of its sections replaced."""
    yaml = YAML()
    data = yaml.load(path.read_text())
    for key, value in changes.items():
        data[key] = {**data.get(key, {}), **value} if isinstance(value, dict) else value
    with path.open("w") as handle:
        yaml.dump(data, handle)
    return path


def problem(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        make_plan(load_spec(path), headers_only=True)
    (found,) = caught.value.problems
    assert found.line > 0
    assert found.source_line in path.read_text().splitlines()
    return f"{found.source_line.strip()} | {found.message}"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path)


def sizes(folder: Path) -> tuple[int, int]:
    shape = sources.graph_shape(sources.read_config(folder), source=folder)
    return len(Graph.of(shape).edges), len(component_names(shape, ("heads", "mlps")))


def test_a_size_k_must_lie_below_the_edges(study: Path) -> None:
    edges, _ = sizes(study.parent / "before")
    make_plan(load_spec(edited(study, measures={"overlap": {"top_k": [5, edges - 1]}})))
    found = problem(edited(study, measures={"overlap": {"top_k": [5, edges]}}))
    assert f"top_k {edges} is not below the {edges} edges of model 'before'" in found
    found = problem(edited(study, measures={"overlap": {"top_k": [5]}}, sensitivity={"top_k": [edges + 7]}))
    assert f"top_k {edges + 7} is not below the {edges} edges" in found


@pytest.mark.parametrize(
    ("intervention", "line"),
    [
        ({"kind": "ablation", "pairwise": "+1"}, "knocks out {more} components together, but model 'before' has {all}"),
        (
            {"kind": "ablation", "shapley": {"components": "+1"}},
            "knocks out {more} components together, but model 'before' has {all}",
        ),
        ({"kind": "ablation", "components": ["mlps"], "pairwise": 3}, "knocks out 3 components together, but model"),
        ({"kind": "targeted_ablation", "of": "circuit", "size": 900}, "knocks out 900 components of the early layers"),
        ({"kind": "targeted_ablation", "of": "circuit", "layers": "middle"}, "components of the middle layers, but"),
        ({"kind": "neurons", "strongest": 1000}, "lists 1000 neurons, but model 'before' has"),
    ],
)
def test_no_more_components_are_named_than_there_are(intervention: EDIT, line: str, study: Path) -> None:
    _, every = sizes(study.parent / "before")
    text = json.dumps({"name": "more", **intervention}).replace('"+1"', str(every + 1))
    found = problem(edited(study, interventions=[ATTRIBUTION, json.loads(text)]))
    assert line.format(more=every + 1, all=every) in found
    assert "'more'" in found


def test_all_components_may_be_knocked_out_together(study: Path) -> None:
    _, every = sizes(study.parent / "before")
    make_plan(
        load_spec(edited(study, interventions=[ATTRIBUTION, {"name": "all", "kind": "ablation", "pairwise": every}]))
    )


def test_a_slope_over_depth_needs_two_layers(tmp_path: Path) -> None:
    for number, name in enumerate(("before", "after", "continued")):
        write_random_model("qwen2", tmp_path / name, seed=number, layers=1)
    path = edited(write_study(tmp_path), hypotheses=[])
    assert "a distribution over depth needs 2 layers, but model 'before' has 1" in problem(path)


def test_everything_is_found_at_once(study: Path) -> None:
    edited(study, interventions=[ATTRIBUTION, {"name": "more", "kind": "neurons", "strongest": 1000}])
    with pytest.raises(SpecError) as caught:
        make_plan(load_spec(edited(study, measures={"overlap": {"top_k": [9000, 9001]}})))
    assert len(caught.value.problems) == 3


def test_validate_reads_no_weights(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Path) -> str:
        raise AssertionError("the weights were hashed")

    monkeypatch.setattr(sources, "weights_hash", refuse)
    for name in ("before", "after", "continued"):  # as if of a checkpoint of gigabytes: nothing behind the header
        file = study.parent / name / "model.safetensors"
        content = file.read_bytes()
        file.write_bytes(content[: 8 + int.from_bytes(content[:8], "little")])
    assert main(["validate", str(study)]) == 0
    assert "ok:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "line", "message"),
    [
        ({"paradigm": "masked_diffusion", "mask_token": 4000}, "mask_token: 4000", "mask_token 4000 is not one of"),
        ({"paradigm": "masked_diffusion"}, "after:", "without a mask token; give `mask_token:`"),
    ],
)
def test_the_error_about_a_mask_token_has_a_line(model: EDIT, line: str, message: str, study: Path) -> None:
    data = YAML(typ="safe").load(study.read_text())["models"]
    found = problem(edited(study, models={**data, "after": {"source": "after", **model}}))
    assert message in found
    where, _, _ = found.partition(" | ")
    assert where in (line, "source: after")


def test_errors_about_data_and_models_have_a_line(study: Path) -> None:
    (study.parent / "pairs.jsonl").write_text('{"clean_ids": [1]}\n')
    assert problem(study).startswith("dataset: pairs.jsonl | ")
    (study.parent / "after" / "model.safetensors").unlink()
    assert problem(study).startswith("source: after | ")
