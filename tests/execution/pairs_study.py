"""A random study with pairs whose models are alike, alike but for the order of their heads, and unrelated."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from intervention_study import lines, model_of
from permuted_heads import write_permuted_twin
from ruamel.yaml import YAML
from studies import ATTRIBUTION, write_study

from mechshift_core import load_model
from mechshift_core.models import Model


def write_pairs_study(
    folder: Path, interventions: list[dict[str, object]], *, diffusion: bool = False, **options: Any
) -> Path:
    """The random study with a copy of its first model, a twin with permuted heads, and an unrelated pair.

    Answers and foils are the tokens whose logits the corruption, of the first two tokens, lowers and raises in all.
    """
    path = write_study(folder, interventions=[ATTRIBUTION, *interventions], rule="none", diffusion=diffusion, **options)
    write_permuted_twin(folder / "before", folder / "twin", [2, 3, 0, 1])
    shutil.copytree(folder / "before", folder / "copy")
    yaml = YAML()
    content = yaml.load(path.read_text())
    for name in ("copy", "twin"):
        content["models"][name] = {"source": name, "paradigm": "autoregressive"}
    content["pairs"] += [
        {"name": "copy", "before": "before", "after": "copy", "role": "control"},
        {"name": "permuted", "before": "before", "after": "twin", "role": "control"},
        {"name": "apart", "before": "before", "after": "continued", "role": "unrelated"},
    ]
    with path.open("w") as handle:
        yaml.dump(content, handle)
    rows = lines(folder)
    for row in rows:
        row["corrupt_ids"][2:] = row["clean_ids"][2:]
        changes = np.stack([change_of(folder / name, row, diffusion) for name in ("before", "after", "continued")])
        row["answer_ids"], row["foil_ids"] = (
            [int(changes.min(axis=0).argmax()), *np.flatnonzero((changes > 0).all(axis=0)).tolist()],
            [int(changes.max(axis=0).argmin()), *np.flatnonzero((changes < 0).all(axis=0)).tolist()],
        )
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def change_of(folder: Path, row: dict[str, Any], diffusion: bool) -> np.ndarray:  # type: ignore[type-arg]
    """Each token's logit on the clean prompt minus that on the corrupted one."""
    masked = diffusion and folder.name == "after"
    model = masked_model(folder) if masked else model_of(folder)
    read = [model.logits(torch.tensor([[*row[name], *[39] * masked]])) for name in ("clean_ids", "corrupt_ids")]
    at = len(row["clean_ids"]) - 1
    change: np.ndarray = (read[0] - read[1])[0, at, :38].numpy()  # type: ignore[type-arg]  # 38 and 39 are masks
    return change


@cache
def masked_model(folder: Path) -> Model:
    return load_model(folder, paradigm="masked_diffusion", mask_token=39, device="cpu")
