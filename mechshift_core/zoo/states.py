"""Interrupted training: the state of a phase between two steps, from which it goes on bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from mechshift_core.files import replace_file, save_tensors


def store(
    path: Path,
    weights: Mapping[str, torch.Tensor],
    optimizer: torch.optim.AdamW,
    step: int,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write the weights that are trained, moments of the optimizer, the number of steps seen and notes, or nothing."""
    tensors = {f"model.{name}": value for name, value in weights.items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in entry.items()}
    with replace_file(path) as temporary:
        save_tensors(tensors, temporary, metadata={**(notes or {}), "step": str(step)})


def stored_step(path: Path) -> int:
    """The number of steps that a stored state has seen; 0 if there is none, or it can't be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            return int(stored.metadata()["step"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return 0


def restore(path: Path, model: torch.nn.Module, optimizer: torch.optim.AdamW) -> tuple[int, dict[str, str]]:
    """Load a stored state; returns the number of steps it has seen, 0 if there is none, and its notes.

    Raises:
        ValueError: if it is of another model.
    """
    from safetensors import safe_open

    if not path.exists():
        return 0, {}
    entries: dict[int, dict[str, torch.Tensor]] = {}
    weights = {}
    with safe_open(path, framework="pt") as stored:
        for key in stored.keys():  # noqa: SIM118 (not a mapping)
            part, rest = key.split(".", 1)
            if part == "model":
                weights[rest] = stored.get_tensor(key)
            else:
                index, name = rest.split(".", 1)
                entries.setdefault(int(index), {})[name] = stored.get_tensor(key)
        notes = dict(stored.metadata())
    strange = model.load_state_dict(weights, strict=False).unexpected_keys
    if strange:
        raise ValueError(f"it holds weights that the model does not have: {strange[0]}")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})
    return int(notes.pop("step")), notes
