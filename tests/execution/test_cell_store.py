"""The store of cells that runs share: the same findings without computing, under any names; nothing false is taken."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal
from ruamel.yaml import YAML
from shared_cells import counts, events, findings, interrupted_after, provenance, stored, tables
from studies import EVERY_KIND, write_study

from mechshift_core import run
from mechshift_core.errors import UsageError
from mechshift_core.execution import cell_store, code_version
from mechshift_core.execution import plan as planning
from mechshift_core.execution.store import RunFolder
from mechshift_core.pipeline import analyze, stored_plan


def test_another_run_computes_nothing_and_finds_the_same_to_the_byte(study: Path, out: Path, store: Path) -> None:
    first = run(study, out=out)
    assert counts(first) == (3, 0, 0, 0)
    second = run(study, out=out.parent / "other")
    assert counts(second) == (0, 0, 3, 0)
    assert findings(second.path) == findings(out)
    for name, table in tables(second.path).items():
        assert_frame_equal(table, tables(out)[name])
    own, other = provenance(out), provenance(second.path)
    shared = other.pop("cells_from_the_store")
    assert own == other
    (machine, keys), *_ = shared.items()
    assert sorted(keys) == sorted(cell.key for cell in stored_plan(out).cells)
    description = RunFolder(out).describe(keys[0])
    assert machine == f"{description['machine']['node']} ({description['machine']['processor']})"
    assert description["study"] == "random-study"
    assert [event["keys"] for event in events(second.path, "cells shared")] == [sorted(keys)]
    assert events(second.path, "cell") == []
    third = run(study, out=second.path)
    assert (counts(third), third.analysed) == ((0, 3, 0, 0), False)


@pytest.mark.long
def test_a_run_directory_is_complete_without_the_store_and_costs_no_space(study: Path, out: Path, store: Path) -> None:
    run(study, out=out)
    second = run(study, out=out.parent / "other")
    for cell in stored_plan(out).cells:
        files = [RunFolder(folder).cell_file(cell.key) for folder in (out, second.path)]
        (entry,) = (path for path in stored(store) if path.name == cell.key)
        assert len({path.stat().st_ino for path in (*files, entry / "tensors.safetensors")}) == 1
    shutil.rmtree(store)
    analyze(second.path)
    assert findings(second.path) == findings(out)
    assert counts(run(study, out=second.path)) == (0, 3, 0, 0)


def renamed(study: Path, folder: Path) -> Path:
    """The same study under other names of its study, models, pairs and interventions, in another order."""
    shutil.copytree(study.parent, folder)
    path, yaml = folder / "study.yaml", YAML()
    content = yaml.load(path.read_text())
    names = {one["name"]: f"other-{number}" for number, one in enumerate(content["interventions"])}
    content["name"] = "other-study"
    content["models"] = {f"other-{name}": model for name, model in reversed([*content["models"].items()])}
    for pair in content["pairs"]:
        pair["name"], pair["before"], pair["after"] = (f"other-{pair[key]}" for key in ("name", "before", "after"))
    content["pairs"].reverse()
    content["tasks"].reverse()
    content["interventions"].reverse()
    for one in content["interventions"]:
        one["name"] = names[one["name"]]
        if "of" in one:
            one["of"] = names[one["of"]]
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return path


@pytest.mark.nightly
def test_names_and_order_are_those_of_the_run_that_takes_the_cells(tmp_path: Path, store: Path) -> None:
    """Whatever reads what a cell says of itself reads the same as where the cell was computed under its own names."""
    (tmp_path / "study").mkdir()
    drawn: dict[str, object] = {"name": "drawn", "kind": "ablation", "components": ["heads"], "ablation": "resample"}
    drawn |= {"pairwise": 2, "shapley": {"components": 4, "order": 2, "budget": 14}}
    study = write_study(tmp_path / "study", interventions=[*EVERY_KIND, drawn], tasks=("mine", "other"), hypotheses=[])
    first = run(study, out=tmp_path / "first")
    assert first.failures == ()
    other = renamed(study, tmp_path / "renamed")
    taken = run(other, out=tmp_path / "taken")
    assert counts(taken) == (0, 0, first.computed, 0)
    computed = run(other, out=tmp_path / "computed", cells="none")
    assert counts(computed) == (first.computed, 0, 0, 0)
    assert findings(taken.path) == findings(computed.path)
    assert taken.findings != first.findings
    own, wanted = tables(taken.path), tables(computed.path)
    assert own.keys() == wanted.keys()
    for name, table in own.items():
        assert_frame_equal(table, wanted[name])
    known = provenance(taken.path)
    assert known.pop("cells_from_the_store")
    assert known == provenance(computed.path)


@pytest.mark.nightly
def test_with_another_version_of_the_code_cells_are_computed_anew(
    study: Path, out: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(study, out=out)
    with monkeypatch.context() as patched:
        patched.setattr(cell_store, "code_digest", lambda: "f" * 16)
        assert counts(run(study, out=out.parent / "other")) == (3, 0, 0, 0)
    assert counts(run(study, out=out.parent / "third")) == (0, 0, 3, 0)
    assert len(stored(store)) == 6


def test_the_version_of_the_code_is_of_all_that_decides_numbers(tmp_path: Path) -> None:
    for source in code_version.SOURCES:
        if (code_version.ROOT / source).is_dir():
            shutil.copytree(code_version.ROOT / source, tmp_path / source)
        else:
            (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(code_version.ROOT / source, tmp_path / source)
    packages = dict.fromkeys(code_version.PACKAGES, "1")

    def digest(packages: dict[str, str]) -> str:
        return code_version.digest_of(code_version.hashes_of(tmp_path), packages)

    before = digest(packages)
    assert code_version.digest_of(code_version.hashes_of(code_version.ROOT), packages) == before
    assert digest(packages | {"torch": "2"}) != before
    for source in code_version.SOURCES:
        path = tmp_path / source
        file = next(iter(sorted(path.rglob("*.py")))) if path.is_dir() else path
        text = file.read_text()
        file.write_text(f"{text}#")
        assert digest(packages) != before, source
        file.write_text(text)
    assert digest(packages) == before


def test_code_that_is_edited_while_a_process_runs_is_not_what_it_says_it_ran(tmp_path: Path) -> None:
    for package in code_version.OURS:
        shutil.copytree(code_version.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("checkpoints"))
    script = (
        "from mechshift_core.execution import code_version as v\n"
        "file = v.ROOT / 'mechshift_core' / 'graph.py'\n"
        "file.write_text(file.read_text() + '#')\n"
        "print(v.ROOT, v.code_digest(), *v.code_version(), v.whole_code())"
    )

    def said() -> list[str]:
        command = [sys.executable, "-c", script]
        made = subprocess.run(
            command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
        )
        return made.stdout.split()

    first, second = said(), said()
    expected = [code_version.code_digest(), *code_version.code_version(), code_version.whole_code()]
    assert first == [str(tmp_path), *expected]
    assert [one == other for one, other in zip(first, second, strict=True)] == [True, False, True, False, False]


def test_what_cells_are_computed_with_of_the_statistics_is_in_the_version_of_the_code() -> None:
    package = code_version.ROOT / "mechshift_core"
    # `shift_*` fit a model to the tables, when all cells are there.
    files = [path for path in (package / "execution").glob("*.py") if not path.name.startswith("shift_")]
    files += (package / "interventions").glob("*/*cells.py")
    for name in ("attribution", "components", "models", "tasks"):
        files += (package / name).rglob("*.py")
    used = {name for file in files for name in re.findall(r"from (stats[.\w]*) import", file.read_text())}
    assert {f"{name.replace('.', '/')}.py" for name in used} <= {*code_version.SOURCES}
    assert len(used) > 3


@pytest.mark.long
def test_cells_of_a_gpu_are_not_given_to_a_run_on_processors(
    study: Path, out: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(cell_store, "on_gpu", lambda device: True)
        patched.setattr(planning, "device_name", lambda model: "cuda (made up)")
        run(study, out=out)
    assert {path.parent.name.partition("-")[0] for path in stored(store)} == {"cuda"}
    assert counts(run(study, out=out.parent / "other")) == (3, 0, 0, 0)
    assert counts(run(study, out=out.parent / "third")) == (0, 0, 3, 0)


DAMAGES = ("flipped", "truncated", "no description", "no tensors", "another cell", "a file")


@pytest.mark.long
@pytest.mark.parametrize(
    "damage", [pytest.param(one, marks=() if one in DAMAGES[:2] else pytest.mark.nightly) for one in DAMAGES]
)
def test_a_damaged_entry_is_not_taken_but_computed_and_replaced(
    study: Path, out: Path, store: Path, damage: str
) -> None:
    run(study, out=out)
    entry, another = stored(store)[:2]
    tensors = entry / "tensors.safetensors"
    content = tensors.read_bytes()
    if damage == "a file":
        shutil.rmtree(entry)
        entry.write_bytes(b"")
    elif damage == "no description":
        (entry / "cell.json").unlink()
    else:
        tensors.unlink()  # a file of its own, so that the run directory has a whole one
        if damage == "flipped":
            tensors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        elif damage == "truncated":
            tensors.write_bytes(content[:-50])
        elif damage == "another cell":
            for name in ("cell.json", "tensors.safetensors"):
                shutil.copyfile(another / name, entry / name)
    second = run(study, out=out.parent / "second")
    assert (counts(second), second.notice) == ((1, 0, 2, 0), "")
    assert findings(second.path) == findings(out)
    assert counts(run(study, out=out.parent / "third")) == (0, 0, 3, 0)
    assert len(stored(store)) == 3


@pytest.mark.long
def test_a_damaged_cell_of_a_run_is_taken_from_the_store_and_the_provenance_says_so(
    study: Path, out: Path, store: Path
) -> None:
    run(study, out=out)
    key = stored_plan(out).cells[0].key
    tensors = RunFolder(out).cell_file(key)
    content = tensors.read_bytes()
    tensors.unlink()
    tensors.write_bytes(content[:-1])
    before = findings(out)
    mended = run(study, out=out)
    assert counts(mended) == (0, 2, 1, 0)
    assert [*provenance(out)["cells_from_the_store"].values()] == [[key]]
    assert findings(out) == before
    RunFolder(out).cell_file(key).unlink()
    shutil.rmtree(store)
    assert counts(run(study, out=out)) == (1, 2, 0, 0)
    assert "cells_from_the_store" not in provenance(out)


@pytest.mark.long
def test_what_an_interrupted_run_has_computed_is_in_the_store(study: Path, out: Path, store: Path) -> None:
    with interrupted_after(2):
        run(study, out=out)
    assert counts(run(study, out=out.parent / "other")) == (1, 0, 2, 0)


@pytest.mark.long
def test_a_cell_that_failed_is_not_shared_and_one_that_budgets_share_is_counted_as_often_as_it_is_planned(
    study: Path, out: Path, store: Path
) -> None:
    study.write_text(study.read_text() + "denoising: {steps: [per_token, 1]}\n")
    weights = study.parent / "after" / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-100])
    assert counts(run(study, out=out)) == (4, 0, 0, 2)  # one cell each of two models, at two budgets
    assert len(stored(store)) == 2
    weights.write_bytes(good)
    assert counts(run(study, out=out.parent / "other")) == (2, 0, 4, 0)


@pytest.mark.nightly
def test_workers_share_what_they_compute(study: Path, out: Path, store: Path) -> None:
    study.write_text(study.read_text().replace("device: cpu", "device: cpu\n  workers: 2"))
    assert counts(run(study, out=out)) == (3, 0, 0, 0)
    assert counts(run(study, out=out.parent / "other")) == (0, 0, 3, 0)
    assert findings(out.parent / "other") == findings(out)


@pytest.mark.long
def test_the_store_can_be_elsewhere_or_switched_off(
    study: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MECHSHIFT_CELLS")
    monkeypatch.setenv("MECHSHIFT_CACHE", str(tmp_path / "cache"))
    run(study, out=out, cells="none")
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv("MECHSHIFT_CELLS", str(tmp_path / "named"))
    run(study, out=tmp_path / "second", cells=tmp_path / "given")
    assert len(stored(tmp_path / "given")) == 3
    assert not (tmp_path / "named").exists()
    run(study, out=tmp_path / "third")
    assert len(stored(tmp_path / "named")) == 3
    monkeypatch.setenv("MECHSHIFT_CELLS", "")
    run(study, out=tmp_path / "fourth")
    assert len(stored(tmp_path / "cache" / "cells")) == 3
    with pytest.raises(UsageError, match="cells: expected a folder, or 'none' for no store, got ''"):
        run(study, out=out, cells="")
    with pytest.raises(UsageError, match="cells: expected "):
        run(study, out=out, cells=5)  # type: ignore[arg-type]
