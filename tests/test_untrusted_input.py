"""Specs, data sets and checkpoints come from strangers: nothing in them is executed, and nothing leads outside."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import shutil
import time
from pathlib import Path
from typing import Any

import fuzz_specs
import polars as pl
import pytest
import torch
from random_models import write_random_model
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

from mechshift_core.errors import ExecutionError
from mechshift_core.models import load_model
from mechshift_core.models.hub import snapshot
from mechshift_core.spec import SpecError, load_spec
from mechshift_core.tasks.custom import read_lines
from mechshift_core.zoo import bundled_models
from stats import fit_mixed_model

STUDY = fuzz_specs.GRAMMAR


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that would be there if something had run a command."""
    return tmp_path / "executed"


def refused(text: str, folder: Path) -> str:
    path = folder / "study.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(path, check_files=False)
    return str(caught.value)


def test_the_spec_that_is_changed_here_is_valid(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    assert load_spec(tmp_path / "study.yaml", check_files=False).hypotheses


TAGS = (
    '!!python/object/apply:os.system ["touch {}"]',
    '!!python/object/new:os.system ["touch {}"]',
    "!!python/object/apply:subprocess.run {{args: [touch, {}]}}",
    "!!python/name:os.system",
    "!!python/module:os",
    "!<tag:yaml.org,2002:python/object/apply:os.system> [touch {}]",
    "!include {}",
    "!!binary dG91Y2g=",
)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("where", ["title: {}\n", "? {}\n: 1\n", "<<: {}\n", "title: {{<<: {{x: {} }} }}\n"])
def test_no_tag_of_yaml_makes_anything_but_plain_data(tag: str, where: str, tmp_path: Path, marker: Path) -> None:
    text = "".join(line for line in STUDY.splitlines(keepends=True) if not line.startswith("title:"))
    assert "is not allowed: only plain data is read" in refused(text + where.format(tag.format(marker)), tmp_path) or (
        where.startswith(("?", "<<"))  # keys, and what is merged, are refused whatever their tag is
    )
    assert not marker.exists()


def test_the_command_of_the_tags_would_run_where_yaml_is_loaded_carelessly(tmp_path: Path, marker: Path) -> None:
    import yaml

    yaml.unsafe_load(TAGS[0].format(marker))
    assert marker.exists()


FORMULAS = (
    "shift ~ __import__('os').system('touch {}')",
    "shift ~ I(__import__('os').system('touch {}'))",
    'shift ~ depth + eval(\'open("{}", "w")\')',
    "`__import__('os').system('touch {}')` ~ depth",
)


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_formula_is_evaluated(formula: str, marker: Path) -> None:
    frame = pl.DataFrame({"shift": [0.1, 0.2, 0.4], "depth": [-0.5, 0.0, 0.5], "prompt": ["a", "b", "c"]})
    with pytest.raises(ValueError, match="formula"):
        fit_mixed_model(frame, formula=formula.format(marker), random=["0 + depth | prompt"])
    assert not marker.exists()


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("shift ~ " + "*".join(f"a{n}" for n in range(900)), "more than 1000 terms"),
        ("shift ~ (" + "+".join(f"a{n}" for n in range(400)) + ") : (a + b + c)", "more than 1000 terms"),
        ("shift ~ " + "(" * 4000, "more than 50 levels of parentheses"),
        ("shift ~ " + "C(" * 2000, "more than 50 levels of parentheses"),
    ],
)
def test_a_formula_that_explodes_is_refused_at_once(formula: str, message: str) -> None:
    frame = pl.DataFrame({"shift": [0.1, 0.2], "depth": [-0.5, 0.5], "prompt": ["a", "b"]})
    start = time.process_time()
    with pytest.raises(ValueError, match=message) as caught:
        fit_mixed_model(frame, formula=formula, random=["0 + depth | prompt"])
    assert time.process_time() - start < 1 and len(str(caught.value)) < 300


def test_any_text_is_a_formula_or_a_value_error() -> None:
    frame = pl.DataFrame({"shift": [0.1, 0.2, 0.4], "depth": [-0.5, 0.0, 0.5], "prompt": ["a", "b", "c"]})
    pieces = [*"shift depth prompt ~ + - * : ( ) C( ` 1 0 | || / x.y ** 99999999999999999999 __import__('os')".split()]
    pieces += [" ", "\x00", "\ud800", "\u0662"]
    for case in range(400):
        draw = random.Random(case)
        formula, group = ("".join(draw.choices(pieces, k=draw.randrange(9))) for _ in range(2))
        with contextlib.suppress(ValueError):
            fit_mixed_model(
                frame,
                formula=formula if case % 2 else f"shift ~ {formula}",
                random="0 + depth | prompt" if case % 3 else group,
            )


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "..", ".", "/etc/x", "a\\b", "a\nb", "A", "", "-x", "x" * 81, "\u0430"]
)
@pytest.mark.parametrize("section", ["name", "models", "pairs", "tasks", "interventions", "hypotheses"])
def test_no_name_of_a_spec_leads_out_of_the_run_directory(name: str, section: str, tmp_path: Path) -> None:
    data: dict[str, Any] = json.loads(json.dumps(YAML(typ="safe", pure=True).load(STUDY)))
    if section == "name":
        data["name"] = name
    elif section == "models":
        data["models"] = {name: data["models"].pop("arm-s0"), **data["models"]}
    else:
        data[section][0]["id" if section == "hypotheses" else "name"] = name
    assert "a name of lower-case letters, digits" in refused(json.dumps(data), tmp_path) or len(name) in (0, 81)


class _Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_random_model("qwen2", tmp_path / "model")


def sharded(folder: Path, shard: str) -> None:
    """Make a checkpoint one whose index names one shard."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if shard.endswith(".safetensors"):
        save_file(weights, folder / shard, {"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "shard", ["pytorch_model.bin", "evil.pkl", "../outside.safetensors", "sub/../../x.safetensors"]
)
def test_an_index_that_names_pickled_or_outside_files_is_refused(shard: str, checkpoint: Path, marker: Path) -> None:
    (checkpoint / "sub").mkdir()
    sharded(checkpoint, shard)
    for name in ("pytorch_model.bin", "evil.pkl"):
        (checkpoint / name).write_bytes(pickle.dumps(_Runs(marker)))
    with pytest.raises(ExecutionError, match=r"expected \.safetensors files in the same folder"):
        load_model(checkpoint)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_is_not_loaded_under_any_name(name: str, checkpoint: Path, marker: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save(_Runs(marker), checkpoint / name)
    with pytest.raises(ExecutionError):
        load_model(checkpoint)
    assert not marker.exists()


@pytest.mark.parametrize(
    "files", [["config.json"], ["tokenizer_config.json"], ["config.json", "tokenizer_config.json"]]
)
def test_the_code_of_a_checkpoint_is_not_imported(files: list[str], tmp_path: Path, marker: Path) -> None:
    checkpoint = tmp_path / "model"
    shutil.copytree(bundled_models()["tiny-s0/arm"], checkpoint)
    (checkpoint / "modeling_evil.py").write_text(f"import os\nos.system('touch {marker}')\n")
    for file in files:
        content = json.loads((checkpoint / file).read_text())
        content["auto_map"] = {
            "AutoConfig": "modeling_evil.EvilConfig",
            "AutoModelForCausalLM": "modeling_evil.Evil",
            "AutoTokenizer": ["modeling_evil.EvilTokenizer", "modeling_evil.EvilTokenizer"],
        }
        content |= {"tokenizer_class": "EvilTokenizer"} if file.startswith("tokenizer") else {}
        (checkpoint / file).write_text(json.dumps(content))
    with contextlib.suppress(ExecutionError):  # refused is as good as loaded natively
        load_model(checkpoint)
    assert not marker.exists()


@pytest.mark.parametrize("repository", ["../..", "a/../b", "/etc", "org/..", "org/name?x=1", "org"])
def test_a_repository_is_a_name_and_no_path(repository: str) -> None:
    with pytest.raises(ExecutionError):
        snapshot(repository, revision=None, files=("config.json",))


def test_a_data_set_that_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    for path in (tmp_path / "pipe.jsonl", Path("/dev/zero")):
        with pytest.raises(ExecutionError, match="it is no regular file"):
            read_lines(path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("what", "cases"),
    [("specs", 60), ("data", 500), pytest.param("specs", 1000, marks=pytest.mark.nightly),
     pytest.param("data", 3000, marks=pytest.mark.nightly)],
)  # fmt: skip
def test_mutated_files_are_read_or_refused_and_nothing_else(what: str, cases: int, tmp_path: Path) -> None:
    cases = int(os.environ.get("MECHSHIFT_FUZZ_CASES", cases))
    broken, kinds = [], set()
    for case, _, outcome in fuzz_specs.outcomes(what, cases, folder=tmp_path, seed=1):
        kinds.add(outcome.kind)
        if outcome.kind == "broken":
            broken.append(f"case {case}: {outcome.detail}")
    assert broken == []
    assert kinds == {"ok", "refused"} or cases < 500
