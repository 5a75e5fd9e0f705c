"""`mechshift verify`: a run is what it says that it is, or what differs is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import write_random_model
from safetensors.numpy import load_file
from studies import ATTRIBUTION, write_study

from mechshift_core.cli.main import main
from mechshift_core.execution.jobs import Outcome
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.verify import INCIDENTAL, NAMES, _compared
from mechshift_core.pipeline import run, stored_plan

INTERVENTIONS: list[dict[str, object]] = [
    ATTRIBUTION,
    {"name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [30, 100], "random": 1},
    {"name": "paired", "kind": "ablation", "components": ["mlps"], "pairwise": 2},
    {"name": "lens", "kind": "logit_lens"},
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("finished")
    (place / "study").mkdir()
    assert run(write_study(place / "study", interventions=INTERVENTIONS), out=place / "out").failures == ()
    return place


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run; its plan names the models of the one study."""
    shutil.copytree(finished / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def after(finished: Path, tmp_path: Path) -> Any:
    """The checkpoint of one model, to be damaged."""
    shutil.copytree(finished / "study" / "after", tmp_path / "whole")
    yield finished / "study" / "after"
    shutil.rmtree(finished / "study" / "after", ignore_errors=True)
    shutil.copytree(tmp_path / "whole", finished / "study" / "after")


def verified(capsys: pytest.CaptureFixture[str], out: Path, *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and subject -> (outcome, detail)."""
    code = main(["verify", str(out), *options, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["exit_code"] == code
    assert len({check["subject"] for check in answer["checks"]}) == len(answer["checks"])
    return code, {check["subject"]: (check["outcome"], check["detail"]) for check in answer["checks"]}


def unlike(checks: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {subject: found for subject, found in checks.items() if found[0] != "same"}


def test_a_run_is_what_it_says_and_stays_untouched(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    code, checks = verified(capsys, out, "--cells", "100")
    assert (code, unlike(checks)) == (0, {})
    assert len(checks) == 3 + 1 + 1 + 1 + len(stored_plan(out).cells)  # models, data, spec, declarations
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_sample_depends_on_the_seed_alone(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mechshift_core.execution.hands.Hands.compute", lambda *_: Outcome("not now"))
    samples = []
    for seed in ("1", "1", "2"):
        code, checks = verified(capsys, out, "--cells", "2", "--seed", seed)
        assert code == 3
        samples.append(set(unlike(checks)))
        assert set(unlike(checks).values()) == {("not checked", "not now")}
    assert len(samples[0]) == 2
    assert samples[0] == samples[1] != samples[2]
    assert verified(capsys, out, "--cells", "0")[0] == 0


@pytest.mark.long
def test_a_cell_that_the_model_does_not_give_is_found(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = next(cell for cell in stored_plan(out).cells if (cell.intervention, cell.model) == ("circuit", "before"))
    folder = RunFolder(out)
    tensors, description = load_file(folder.cell_file(cell.key)), folder.describe(cell.key)
    size = np.abs(tensors["scores"])
    tensors["scores"].flat[size.argmin()] += 0.01 * size.max()
    folder.write_cell(cell.key, {k: v for k, v in description.items() if k != "sha256"}, tensors)
    assert folder.has_cell(cell.key)  # its own hashes are right
    code, checks = verified(capsys, out, "--cells", "100")
    assert code == 1
    outcome, detail = checks[str(cell)]
    assert outcome == "differs"
    assert "differs by 0.01 of its largest value (tolerance 0.0001)" in detail
    assert main(["verify", str(out), "--cells", "100"]) == 1
    assert f"differs: {cell}: " in capsys.readouterr().err


@pytest.mark.long
def test_a_cell_that_was_computed_under_other_names_is_the_same(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "other")
    study, out = tmp_path / "other" / "study" / "study.yaml", tmp_path / "other" / "out"
    text = study.read_text().replace("name: circuit\n", "name: edges\n").replace("of: circuit\n", "of: edges\n")
    text = text.replace("before: before", "before: base").replace("  before:\n", "  base:\n")
    study.write_text(text.replace("name: shift", "name: moved"))
    again = run(study, out=out)
    assert (again.computed, again.failures) == (0, ())
    plan = stored_plan(out)
    assert (next(iter(plan.models)), plan.spec.pairs[0].name, plan.cells[0].intervention) == ("base", "moved", "edges")
    code, checks = verified(capsys, out, "--cells", "100")
    assert (code, unlike(checks)) == (0, {})


def test_damaged_and_missing_cells_are_named(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, *_ = (cell for cell in stored_plan(out).cells if cell.intervention == "lens")
    shutil.rmtree(out / "cells" / first.key)
    code, checks = verified(capsys, out, "--cells", "0")
    assert (code, unlike(checks)[str(first)][0]) == (3, "not checked")
    tensors = out / "cells" / second.key / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    code, checks = verified(capsys, out, "--cells", "0")
    assert (code, unlike(checks)[str(second)][0]) == (1, "differs")


@pytest.mark.long
def test_changed_weights_are_found_by_their_hash(out: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_random_model("qwen2", after, seed=9)
    code, checks = verified(capsys, out, "--cells", "100")
    assert code == 1
    assert checks["weights of after"][0] == "differs"
    others = {subject: found for subject, found in unlike(checks).items() if subject != "weights of after"}
    assert set(others) == {str(cell) for cell in stored_plan(out).cells if cell.model == "after"}
    assert {outcome for outcome, _ in others.values()} == {"not checked"}


def test_without_the_weights_nothing_can_be_said(out: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(after)
    code, checks = verified(capsys, out, "--cells", "0")
    assert (code, list(unlike(checks))) == (3, ["weights of after"])


@pytest.mark.parametrize(
    ("subject", "path"),
    [
        ("weights of before", ["models", "before", "weights_sha256"]),
        ("weights of before", ["models", "before", "tokenizer_sha256"]),
        ("data of mine", ["data", "mine", "sha256"]),
        ("spec", ["spec", "sha256"]),
    ],
)
def test_the_provenance_is_held_against_what_is_there(
    out: Path, subject: str, path: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    provenance = json.loads((out / "provenance.json").read_text())
    place = provenance
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "0" * 64
    (out / "provenance.json").write_text(json.dumps(provenance))
    code, checks = verified(capsys, out, "--cells", "0")
    assert (code, list(unlike(checks))) == (1, [subject])
    (out / "provenance.json").unlink()
    code, checks = verified(capsys, out, "--cells", "0")
    assert (code, {outcome for outcome, _ in unlike(checks).values()}) == (3, {"not checked"})


def test_no_run_is_a_wrong_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_what_is_incidental_is_recorded_by_some_cell(out: Path) -> None:
    said = {name for cell in stored_plan(out).cells for name in RunFolder(out).describe(cell.key)}
    assert said >= INCIDENTAL | NAMES


FLOATS = np.array([4.0, np.nan, -2.0], np.float32)


@pytest.mark.parametrize(
    ("now", "outcome", "detail"),
    [
        (FLOATS, "same", ""),
        (FLOATS + np.float32(0.003), "same", ""),
        (FLOATS + np.float32(0.1), "differs", "x: differs by 0.025 of its largest value (tolerance 0.001)"),
        (np.nan_to_num(FLOATS), "differs", "x: differs by inf of its largest value (tolerance 0.001)"),
        (FLOATS[:2], "differs", "x: another type or shape than stored"),
        (FLOATS.astype(np.float64), "differs", "x: another type or shape than stored"),
    ],
)
def test_tensors_are_compared_by_their_scale(now: np.ndarray, outcome: str, detail: str) -> None:  # type: ignore[type-arg]
    check = _compared("cell", {"x": FLOATS}, {"x": now}, 0.001)
    assert (check.outcome, check.detail) == (outcome, detail)


def test_whole_numbers_are_compared_one_by_one() -> None:
    stored = np.arange(200)
    now = np.where(stored < 2, -1, stored)
    assert _compared("cell", {"x": stored}, {"x": now}, 0.01).outcome == "same"
    check = _compared("cell", {"x": stored}, {"x": now}, 1e-4)
    assert (check.outcome, check.detail) == ("differs", "x: differs by 0.01 of its numbers (tolerance 0.0001)")
    assert _compared("cell", {"x": np.empty(0, np.int64)}, {"x": np.empty(0, np.int64)}, 0.0).outcome == "same"


def test_a_difference_from_zeros_has_no_scale() -> None:
    zeros = np.zeros(3, np.float32)
    assert _compared("cell", {"x": zeros}, {"x": zeros}, 0.0).outcome == "same"
    check = _compared("cell", {"x": zeros}, {"x": zeros + np.float32(1e-9)}, 0.1)
    assert (check.outcome, check.difference) == ("differs", None)
