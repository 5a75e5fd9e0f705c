"""Where a checkpoint is and what can be known of it without loading it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mechshift_core.errors import ExecutionError
from mechshift_core.graph import Shape

BUNDLED = "bundled:"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json")


def resolve_source(source: str) -> Path:
    """The folder that a source names.

    Args:
        source: `bundled:NAME/MODEL` or a folder.

    Raises:
        ExecutionError: if there is no such bundled model or folder.
    """
    if source.startswith(BUNDLED):
        from mechshift_core.zoo import bundled_models

        known = bundled_models()
        name = source.removeprefix(BUNDLED)
        if name not in known:
            raise ExecutionError(f"no bundled model {name!r} (bundled: {', '.join(sorted(known)) or 'none'})")
        return known[name]
    folder = Path(source)
    if not (folder / "config.json").is_file():
        state = "has no config.json" if folder.is_dir() else "does not exist"
        raise ExecutionError(
            f"model folder {folder} {state}; expected a Transformers checkpoint (config.json, model.safetensors)"
        )
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's `config.json`.

    Raises:
        ExecutionError: if it is no JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"expected an object, got {type(config).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise ExecutionError(f"{path} cannot be read: {error}") from error
    return config


def context_length(folder: Path) -> int | None:
    """The longest sequence that the model's positions allow, in tokens; None where the configuration says nothing."""
    config = read_config(folder)
    length = config.get("max_position_embeddings", config.get("n_positions"))
    return length if isinstance(length, int) else None


def vocabulary(folder: Path) -> int:
    """Number of token ids.

    Raises:
        ExecutionError: if the configuration does not say.
    """
    size = read_config(folder).get("vocab_size")
    if not isinstance(size, int):
        raise ExecutionError(f"{folder / 'config.json'} has no vocab_size")
    return size


def graph_shape(config: Mapping[str, Any], *, source: object) -> Shape:
    """Layers, heads and sizes of a configuration, as `config.json` holds it.

    Raises:
        ExecutionError: if the configuration, that of `source`, does not say.
    """

    def size(*names: str) -> int | None:
        return next((config[name] for name in names if isinstance(config.get(name), int)), None)

    layers, heads, hidden = (
        size("num_hidden_layers", "n_layer"),
        size("num_attention_heads", "n_head"),
        size("hidden_size", "n_embd"),
    )
    if not layers or not heads or not hidden:
        raise ExecutionError(
            f"the configuration of {source} does not say how many layers and heads and which hidden size"
        )
    return Shape(layers, heads, size("num_key_value_heads") or heads, size("head_dim") or hidden // heads, hidden)


def weight_files(folder: Path) -> list[Path]:
    """The checkpoint's safetensors files.

    Raises:
        ExecutionError: if there are none (pickled weights are never read).
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ExecutionError(f"no .safetensors weights in {folder} (pickled weights are not read)")
    return files


def weights_hash(folder: Path) -> str:
    """SHA-256 over the configuration and weights of a checkpoint, so that a changed checkpoint is another model."""
    return _digest([folder / "config.json", *weight_files(folder)])


def tokenizer_hash(folder: Path) -> str:
    """SHA-256 over the files of a tokenizer; empty where there is none."""
    files = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    return _digest(files) if files else ""


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
