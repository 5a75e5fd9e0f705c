from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from published_checkpoints import store_as_hub, write_published
from random_models import write_random_model
from studies import write_study

from mechshift_core.cli.main import main
from mechshift_core.errors import ExecutionError
from mechshift_core.models import hub, load_model, sources
from mechshift_core.spec import SpecError, load_spec

COMMIT, OLDER = "a" * 40, "b" * 40
IDS = torch.arange(7)[None]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_model_in_the_cache_is_loaded_without_a_network(cache: Path, tmp_path: Path) -> None:
    folder = write_published("llada", tmp_path / "llada")
    snapshot = store_as_hub(cache, "org/llada", folder, commit=COMMIT)
    model = load_model("hf:org/llada", paradigm="masked_diffusion", device="cpu")
    assert torch.equal(model.logits(IDS), load_model(folder, paradigm="masked_diffusion", device="cpu").logits(IDS))
    assert model.source == "hf:org/llada"
    assert sources.resolve_source("hf:org/llada") == snapshot
    assert hub.commit_of(snapshot) == COMMIT
    assert hub.commit_of(folder) is None


def test_a_revision_is_a_commit_or_a_branch(cache: Path, tmp_path: Path) -> None:
    newer = store_as_hub(cache, "org/m", write_random_model("qwen2", tmp_path / "new", seed=1), commit=COMMIT)
    older = store_as_hub(cache, "org/m", write_random_model("qwen2", tmp_path / "old", seed=2), commit=OLDER, ref="v1")
    assert sources.resolve_source("hf:org/m") == newer
    assert sources.resolve_source("hf:org/m", revision=COMMIT) == newer
    assert sources.resolve_source("hf:org/m", revision=OLDER) == older
    assert sources.resolve_source("hf:org/m", revision="v1") == older
    with pytest.raises(ExecutionError, match=r"hf:org/m \(revision v2\) is not in the local cache"):
        sources.resolve_source("hf:org/m", revision="v2")


def test_what_is_not_in_the_cache_is_an_error_that_says_what_to_do(cache: Path) -> None:
    with pytest.raises(ExecutionError) as caught:
        load_model("hf:org/gone", revision="v1")
    message = str(caught.value)
    assert message.startswith(f"hf:org/gone (revision v1) is not in the local cache ({cache})")
    assert "HF_HUB_OFFLINE is set" in message
    assert "`hf download org/gone --revision v1`" in message and "HF_HOME" in message


def test_a_hub_that_does_not_answer_is_an_error_with_the_reason(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise ConnectionError("Name or service not known.\nand much more")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ExecutionError, match=r"cannot be fetched from the Hub: Name or service not known; download it"):
        load_model("hf:org/gone")


def test_only_configuration_safetensors_and_tokenizer_are_fetched(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[str] = []
    there = ["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json",
             "merges.txt", "pytorch_model.bin", "modeling_x.py", "onnx/config.json", "x/model.safetensors"]  # fmt: skip

    def download(repository: str, **options: list[str]) -> str:
        from huggingface_hub.utils import filter_repo_objects

        patterns = {name: options[name] for name in ("allow_patterns", "ignore_patterns")}
        wanted.extend(filter_repo_objects(there, **patterns))
        return str(write_random_model("qwen2", tmp_path / repository))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    sources.resolve_source("hf:org/m")
    assert wanted == there[:5]


@pytest.mark.parametrize("source", ["hf:", "hf:name", "hf:a/b/c", "hf:../x y/z"])
def test_a_name_that_is_no_repository_is_an_error(cache: Path, source: str) -> None:
    with pytest.raises(ExecutionError, match="names no repository of the Hub; expected hf:ORG/NAME"):
        load_model(source)


def test_a_revision_of_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="only a model of the Hub"):
        load_model(write_random_model("qwen2", tmp_path / "m"), revision="main")


def test_a_repository_without_safetensors_is_an_error(cache: Path, tmp_path: Path) -> None:
    folder = write_random_model("qwen2", tmp_path / "m")
    (folder / "model.safetensors").unlink()
    store_as_hub(cache, "org/pickled", folder, commit=COMMIT)
    with pytest.raises(ExecutionError, match="pickled weights are not read"):
        load_model("hf:org/pickled")


def hub_study(tmp_path: Path, cache: Path) -> Path:
    path = write_study(tmp_path)
    store_as_hub(cache, "org/before", tmp_path / "before", commit=COMMIT)
    text = path.read_text().replace("source: before", f"source: hf:org/before\n    revision: {COMMIT}")
    path.write_text(text)
    return path


def test_the_commit_of_a_model_of_the_hub_is_part_of_the_plan(cache: Path, tmp_path: Path) -> None:
    from mechshift_core.execution.plan import load_plan, make_plan, save_plan

    path = write_study(tmp_path)
    local = make_plan(load_spec(path))
    spec = load_spec(hub_study(tmp_path, cache))
    (tmp_path / "run" / "data").mkdir(parents=True)
    plan = make_plan(spec, store=tmp_path / "run" / "data")
    assert plan.models["before"].revision == COMMIT
    assert plan.models["after"].revision is None
    assert [cell.key for cell in plan.cells] == [cell.key for cell in local.cells]  # the content counts, not the place
    assert load_plan(spec, save_plan(plan), store=tmp_path / "run" / "data").models == plan.models


def test_validate_says_that_a_model_is_not_to_be_had_or_looks_up_nothing(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hub_study(tmp_path, cache)
    assert main(["validate", str(path)]) == 0
    shutil.rmtree(cache)
    capsys.readouterr()
    assert main(["validate", str(path)]) == 2
    complaint = capsys.readouterr().err
    assert "hf:org/before" in complaint and "cannot be fetched from the Hub" in complaint
    assert main(["validate", "--no-files", str(path)]) == 0
    path.write_text(path.read_text().replace("org/before", "before"))
    assert main(["validate", "--no-files", str(path)]) == 2
    assert "expected hf:ORG/NAME, got 'hf:before'" in capsys.readouterr().err


def test_the_format_of_the_weights_is_part_of_a_cell(tmp_path: Path) -> None:
    from mechshift_core.execution.plan import make_plan

    path = write_study(tmp_path)
    before = make_plan(load_spec(path))
    path.write_text(path.read_text().replace("source: after", "source: after\n    dtype: bfloat16"))
    after = make_plan(load_spec(path))
    assert [facts.dtype for facts in after.models.values()] == ["float32", "bfloat16", "float32"]
    changed = {cell.model for cell, other in zip(after.cells, before.cells, strict=True) if cell.key != other.key}
    assert changed == {"after"}


def test_a_spec_that_contradicts_the_checkpoint_is_found_before_anything_runs(tmp_path: Path) -> None:
    from mechshift_core.execution.plan import make_plan

    path = write_study(tmp_path)
    shutil.rmtree(tmp_path / "after")
    write_published("a2d", tmp_path / "after")
    for options, message in (
        ("masked_diffusion", "shifted: true, but it holds A2D weights"),
        ("masked_diffusion\n    shifted: false\n    mask_token: 40", "mask_token 40 is not one of the model's tokens"),
        ("autoregressive", "holds A2D weights, so masked_diffusion"),
    ):
        changed = path.read_text().replace(
            "source: after\n    paradigm: autoregressive", f"source: after\n    paradigm: {options}"
        )
        (tmp_path / "changed.yaml").write_text(changed)
        with pytest.raises(SpecError) as caught:
            make_plan(load_spec(tmp_path / "changed.yaml"))
        assert message in str(caught.value), json.dumps(str(caught.value))


def hub_of_headers(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[list[str]]:
    """A Hub that answers, with one repository in `folder`; returns what is downloaded of it, to be filled."""
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils import (
        SafetensorsFileMetadata,
        SafetensorsRepoMetadata,
        TensorInfo,
        filter_repo_objects,
    )

    fetched: list[list[str]] = []

    def download(repository: str, *, local_files_only: bool = False, **options: object) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not there")
        target = options["local_dir"]
        assert isinstance(target, Path)
        patterns = {name: options[name] for name in ("allow_patterns", "ignore_patterns")}
        names = list(filter_repo_objects([file.name for file in folder.iterdir()], **patterns))  # type: ignore[arg-type]
        for name in names:
            shutil.copy(folder / name, target / name)
        fetched.append(sorted(names))
        return str(target)

    def metadata(repository: str, **_: object) -> SafetensorsRepoMetadata:
        found = {}
        for file in folder.glob("*.safetensors"):
            content = file.read_bytes()
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            more = header.pop("__metadata__", {})
            tensors = {key: TensorInfo(**one) for key, one in header.items()}
            found[file.name] = SafetensorsFileMetadata(metadata=more, tensors=tensors)
        return SafetensorsRepoMetadata(metadata=None, sharded=False, weight_map={}, files_metadata=found)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub, "get_safetensors_metadata", metadata)
    return fetched


def test_validate_fetches_headers_instead_of_weights(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("source: before", "source: hf:org/remote"))
    fetched = hub_of_headers(monkeypatch, tmp_path / "before")
    hub._headers.cache_clear()
    assert main(["validate", str(path)]) == 0, capsys.readouterr().err
    assert fetched == [["config.json"]]
    assert not cache.exists()  # nothing half there, for a later run to take for the model
    # What the headers say counts: another graph than that of the model after is found without a weight.
    shutil.rmtree(tmp_path / "before")
    write_random_model("qwen2", tmp_path / "before", layers=3)
    hub._headers.cache_clear()
    assert main(["validate", str(path)]) == 2
    assert "have different graphs" in capsys.readouterr().err


def test_the_outline_of_a_published_layout_is_read_like_a_checkpoint(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_published("llada", tmp_path / "llada")
    hub_of_headers(monkeypatch, folder)
    hub._headers.cache_clear()
    outline = sources.resolve_source("hf:org/llada", headers_only=True)
    assert outline != folder
    assert sources.read_config(outline) == sources.read_config(folder)
    assert (
        sources.graph_shape(sources.read_config(outline), source="it")
        == load_model(folder, paradigm="masked_diffusion", device="cpu").shape
    )


def test_what_could_not_be_checked_without_the_hub_is_said_at_its_line(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mechshift_core.spec.placed import UnavailableError

    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("source: before", "source: hf:org/gone"))
    assert main(["validate", str(path)]) == 2
    complaint = capsys.readouterr().err
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "hf:org/gone" in text)
    assert complaint.startswith(f"{path}:{line}:")
    assert "HF_HUB_OFFLINE is set" in complaint and "not checked: its graph and tokenizer, and the prompts" in complaint
    from mechshift_core.execution.plan import make_plan

    with pytest.raises(UnavailableError):
        make_plan(load_spec(path), headers_only=True)
    (tmp_path / "after" / "config.json").write_text("{")  # what can be checked is
    with pytest.raises(SpecError) as caught:
        make_plan(load_spec(path), headers_only=True)
    assert not isinstance(caught.value, UnavailableError) and len(caught.value.problems) == 2
