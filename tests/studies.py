"""A study of random models on token ids: everything that a run does, in a second."""

from __future__ import annotations

import json
import random
from pathlib import Path

from random_models import write_random_model
from ruamel.yaml import YAML

HYPOTHESES = [
    {
        "id": "kept",
        "claim": "The circuit is kept.",
        "measure": "retention",
        "where": {"role": "treatment"},
        "test": {"kind": "equivalence", "to": {"role": "control"}, "margin": 0.2},
    },
    {
        "id": "earlier",
        "claim": "Attribution moves to earlier layers.",
        "measure": "depth_slope",
        "where": {"role": "treatment"},
        "test": {"kind": "difference", "alternative": "less"},
    },
]


ATTRIBUTION: dict[str, object] = {"name": "circuit", "kind": "edge_attribution", "steps": 2}
EVERY_KIND: list[dict[str, object]] = [
    {**ATTRIBUTION, "by_role": True},
    {"name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [5, 30, 100], "random": 2},
    {"name": "carried", "kind": "circuit_transfer", "of": "circuit", "size": 30, "selection": "greedy"},
    {"name": "patched", "kind": "activation_patching", "components": ["heads", "residual"], "positions": "roles"},
    {"name": "averaged", "kind": "ablation", "components": ["heads", "mlps"]},
    {"name": "shuffled", "kind": "ablation", "components": ["mlps"], "ablation": "resample"},
    {"name": "lens", "kind": "logit_lens"},
    {"name": "path", "kind": "denoising_path"},
    {"name": "neurons", "kind": "neurons", "strongest": 4},
    {"name": "read", "kind": "probe"},
    {"name": "looked", "kind": "attention"},
    {"name": "aimed", "kind": "targeted_ablation", "of": "circuit", "size": 2, "random": 3},
    {"name": "moved", "kind": "movement"},
    {"name": "weights", "kind": "weight_movement"},
    {"name": "crossed", "kind": "cross_patching", "components": ["mlps"]},
    {"name": "between", "kind": "weight_interpolation", "points": 3},
]
"""One or more interventions of every kind."""


def write_study(
    folder: Path,
    *,
    examples: int = 12,
    hypotheses: list[dict[str, object]] | None = None,
    interventions: list[dict[str, object]] | None = None,
    diffusion: bool = False,
    statistics: dict[str, object] | None = None,
    tasks: tuple[str, ...] = ("mine",),
    rule: str = "both",
) -> Path:
    """Three random models, two pairs, a data set of token ids for each task, and the spec over them.

    The model `after` is a masked diffusion model if asked for; `statistics` are added to those of the spec. The answers
    are nearly all tokens, so that the most likely one, by which they are judged, mostly is one. The first task's data
    set is `pairs.jsonl`, the others' are `pairs-TASK.jsonl`.
    """
    after: dict[str, object] = {"source": "after", "paradigm": "autoregressive"}
    if diffusion:
        after = {"source": "after", "paradigm": "masked_diffusion", "mask_token": 39}
    for number, name in enumerate(("before", "after", "continued")):
        if not (folder / name).exists():
            write_random_model("qwen2", folder / name, seed=number)
    files = {name: f"pairs-{name}.jsonl" if number else "pairs.jsonl" for number, name in enumerate(tasks)}
    for number, file in enumerate(files.values()):
        write_pairs(folder / file, examples, seed=number)
    spec = {
        "schema": "mechshift/v1",
        "name": "random-study",
        "models": {
            "before": {"source": "before", "paradigm": "autoregressive"},
            "after": after,
            "continued": {"source": "continued", "paradigm": "autoregressive"},
        },
        "pairs": [
            {"name": "shift", "before": "before", "after": "after", "role": "treatment"},
            {"name": "control", "before": "before", "after": "continued", "role": "control"},
        ],
        "tasks": [{"name": name, "regime": "local", "dataset": file} for name, file in files.items()],
        "select": {"correct": rule, "by": "argmax"},
        "interventions": [ATTRIBUTION] if interventions is None else interventions,
        "measures": {"overlap": {"top_k": [5, 10], "splits": 6, "permutations": 50}, "depth": {}, "specialization": {}},
        "hypotheses": HYPOTHESES if hypotheses is None else hypotheses,
        "statistics": {"bootstrap": {"replicates": 100}, **(statistics or {})},
        "execution": {"device": "cpu"},
    }
    path = folder / "study.yaml"
    with path.open("w") as handle:
        YAML().dump(spec, handle)
    return path


def write_pairs(path: Path, examples: int, *, changed: int | None = None, seed: int = 0) -> None:
    """Pairs whose answers are many tokens, so that random models get some right; 38 and 39, the masks, are none."""
    draw = random.Random(seed)
    lines = []
    for number in range(examples):
        length = 5 + number % 2
        clean = [draw.randrange(38) for _ in range(length)]
        corrupt = [draw.randrange(38) for _ in range(length)]
        if number == changed:
            clean[0] = (clean[0] + 1) % 38
        answers, foils = list(range(37)), [37]
        roles = ["subject", *["other"] * (length - 2), "verb" if length == 5 else "end"]
        row = {"clean_ids": clean, "corrupt_ids": corrupt, "answer_ids": answers, "foil_ids": foils, "roles": roles}
        lines.append(json.dumps(row))
    path.write_text("\n".join(lines) + "\n")
