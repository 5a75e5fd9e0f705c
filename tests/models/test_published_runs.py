from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from published_checkpoints import LAYOUTS, SHIFTED, random_model, write_published
from ruamel.yaml import YAML
from studies import write_study

import mechshift_core
from mechshift_core.spec import SpecError

BELOW = {"kind": "bound", "bound": 1, "alternative": "less"}


def write_pair_study(folder: Path, layout: str, **after: Any) -> Path:
    """A study of one pair: the autoregressive model of a layout's class, and a published diffusion model."""
    random_model(layout, seed=1).save_pretrained(folder / "before")
    write_published(layout, folder / "after", seed=2)
    hypotheses = [{"id": "kept", "measure": "retention", "test": BELOW}]
    path = write_study(folder, examples=8, hypotheses=hypotheses)
    spec = YAML().load(path)
    del spec["models"]["continued"], spec["pairs"][1]
    spec["models"]["after"] = {"source": "after", "paradigm": "masked_diffusion", "shifted": SHIFTED[layout], **after}
    with path.open("w") as handle:
        YAML().dump(spec, handle)
    return path


@pytest.mark.long
@pytest.mark.parametrize(
    "layout", [one if one in ("dream", "llada") else pytest.param(one, marks=pytest.mark.long) for one in LAYOUTS]
)
def test_a_study_of_a_published_pair_runs_to_its_findings(layout: str, tmp_path: Path) -> None:
    mask = {} if layout in ("dream", "llada") else {"mask_token": 38}  # the others say it in their configuration
    path = write_pair_study(tmp_path, layout, **mask)
    run = mechshift_core.run(path, out=tmp_path / "run")
    assert run.failures == ()
    assert [hypothesis.id for hypothesis in run.findings.hypotheses] == ["kept"]
    models = json.loads((tmp_path / "run" / "provenance.json").read_text())["models"]
    assert {name: model["weights_dtype"] for name, model in models.items()} == dict.fromkeys(models, "float32")


@pytest.mark.long
def test_a_published_pair_runs_in_bfloat16(tmp_path: Path) -> None:
    path = write_pair_study(tmp_path, "llada")
    path.write_text(path.read_text().replace("device: cpu", "device: cpu\n  dtype: bfloat16"))
    run = mechshift_core.run(path, out=tmp_path / "run")
    assert run.failures == ()
    models = json.loads((tmp_path / "run" / "provenance.json").read_text())["models"]
    assert {model["weights_dtype"] for model in models.values()} == {"bfloat16"}


def test_a_diffusion_model_without_a_mask_token_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="without a mask token; give `mask_token:`"):
        mechshift_core.run(write_pair_study(tmp_path, "a2d"), out=tmp_path / "run")
    assert not (tmp_path / "run" / "cells").exists() or not [*(tmp_path / "run" / "cells").iterdir()]
