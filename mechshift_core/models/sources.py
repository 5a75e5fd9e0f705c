"""Where a checkpoint is and what can be known of it without loading it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mechshift_core.errors import ExecutionError
from mechshift_core.graph import Shape
from mechshift_core.models.adapters import CONFIG as ADAPTER_CONFIG
from mechshift_core.models.adapters import adapters_hash, check_fit, resolve_adapter
from mechshift_core.models.checkpoint import INDEX, WEIGHTS, read_json, refuse_adapter, stored_tensors, weight_files
from mechshift_core.models.gguf_files import GGUF, converted
from mechshift_core.models.hub import HUB, outline, snapshot
from mechshift_core.models.published import layout_of, native_config

BUNDLED = "bundled:"
SOURCE_FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tekken.json", "vocab.txt")
"""Vocabularies that Transformers makes a tokenizer of where there is no tokenizer.json."""
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json",
    "added_tokens.json", *SOURCE_FILES,
)  # fmt: skip
CHECKPOINT_FILES = ("config.json", ADAPTER_CONFIG, INDEX, "*.safetensors", *TOKENIZER_FILES)
"""What is fetched of a repository; an adapter's configuration, so that the adapter is noticed."""

Dtype = Literal["auto", "float64", "float32", "bfloat16", "float16"]
STORED: dict[str, Literal["bfloat16", "float16"]] = {"BF16": "bfloat16", "F16": "float16"}
"""What safetensors calls the half-precision number formats."""
LARGE = 1_000_000_000
"""Parameters above which `auto` keeps half precision on a GPU."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where the weights of a model are.

    Attributes:
        folder: A checkpoint.
        adapters: Folders of the adapters that are merged into it, in this order.
    """

    folder: Path
    adapters: tuple[Path, ...] = ()


def locate(source: str, *, revision: str | None = None, headers_only: bool = False) -> Located:
    """Find what a source names; a model of the Hub is downloaded unless the local cache has it.

    Args:
        source: `bundled:NAME/MODEL`, `hf:ORG/NAME`, `gguf:FILE` or a folder.
        revision: Commit, branch or tag of a model of the Hub.
        headers_only: Fetch of the Hub's weights, unless the cache has them, only what they are, not their values.

    Raises:
        ExecutionError: if there is no such model.
    """
    if not source.startswith(BUNDLED):
        return Located(resolve_source(source, revision=revision, headers_only=headers_only))
    folder = _bundled(source.removeprefix(BUNDLED))
    if (folder / "config.json").is_file():
        return Located(folder)
    base = locate(str(read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")))
    return with_adapter(base, str(folder))


def with_adapter(located: Located, adapter: str) -> Located:
    """A model with one adapter more.

    Args:
        located: The model.
        adapter: `hf:ORG/NAME`, or the folder of an adapter.

    Raises:
        ExecutionError: if the adapter can't be had, or belongs to a model of another shape.
    """
    found = resolve_adapter(adapter)
    check_fit(found, located.folder, source=adapter)
    return Located(located.folder, (*located.adapters, found))


def _bundled(name: str) -> Path:
    from mechshift_core.zoo import bundled_models
    from mechshift_core.zoo.fetching import why_missing

    known = bundled_models()
    if name in known:
        return known[name]
    raise ExecutionError(
        why_missing(name) or f"no bundled model {name!r} (bundled: {', '.join(sorted(known)) or 'none'})"
    )


def resolve_source(source: str, *, revision: str | None = None, headers_only: bool = False) -> Path:
    """The folder of a checkpoint: `hf:ORG/NAME`, `gguf:FILE` or a folder; see :func:`locate`.

    Raises:
        ExecutionError: if there is no such file or folder, the Hub's can't be had, or it holds an adapter.
    """
    if source.startswith(GGUF):
        return converted(Path(source.removeprefix(GGUF)))
    if source.startswith(HUB):
        fetch = outline if headers_only else snapshot
        folder = fetch(source.removeprefix(HUB), revision=revision, files=CHECKPOINT_FILES)
    else:
        folder = Path(source)
    refuse_adapter(folder, source=source)
    if not (folder / "config.json").is_file():
        state = "has no config.json" if folder.is_dir() else "does not exist"
        raise ExecutionError(
            f"model folder {folder} {state}; expected a Transformers checkpoint (config.json, model.safetensors)"
        )
    return folder


def resolve_tokenizer(source: str) -> Path:
    """The folder of a tokenizer: `hf:ORG/NAME`, of which only the tokenizer is downloaded, or a folder.

    Raises:
        ExecutionError: if the Hub's can't be had, or the folder holds none.
    """
    if source.startswith(HUB):
        folder = snapshot(source.removeprefix(HUB), revision=None, files=TOKENIZER_FILES)
    else:
        folder = Path(source)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ExecutionError(f"no tokenizer in {folder}; expected tokenizer.json, or vocab.json and merges.txt")
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's configuration, in the terms of the Transformers class that it is loaded as.

    Raises:
        ExecutionError: if it is no JSON object, or of a kind that can't be loaded.
    """
    layout = layout_of(folder)
    return read_json(folder / "config.json") if layout is None else native_config(layout, folder)


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


def check_mask_token(mask_token: object, config: Mapping[str, Any], *, source: object) -> None:
    """Whether a declared mask token, if it is an id, and that of the configuration are tokens of the model.

    Raises:
        ExecutionError: if one is not.
    """
    size = config.get("vocab_size")
    last = size - 1 if isinstance(size, int) else None

    def is_token(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0 and (last is None or value <= last)

    ids = "" if last is None else f" (0 to {last})"
    recorded = config.get("mask_token_id")
    if recorded is not None and not is_token(recorded):
        raise ExecutionError(
            f"{source}: mask_token_id is {recorded!r} in its config.json; expected the id of a token{ids}"
        )
    if mask_token is not None and not isinstance(mask_token, str) and not is_token(mask_token):
        raise ExecutionError(f"{source}: mask_token {mask_token} is not one of the model's tokens{ids}")


UNWRITTEN: dict[str, dict[str, Any]] = {
    "gemma2": {"num_key_value_heads": 4, "head_dim": 256},
    "gemma3_text": {"num_key_value_heads": 4, "head_dim": 256},
    "gpt_neox": {"use_parallel_residual": True},
    "mistral": {"num_key_value_heads": 8},
    "qwen2": {"num_key_value_heads": 32},
    "qwen3": {"num_key_value_heads": 32, "head_dim": 128},
}
"""`model_type` -> what its Transformers class assumes where `config.json` does not say (and not what others assume)."""


def graph_shape(config: Mapping[str, Any], *, source: object) -> Shape:
    """Layers, heads and sizes of a configuration, as `config.json` holds it.

    Raises:
        ExecutionError: if the configuration, that of `source`, does not say.
    """

    config = {**UNWRITTEN.get(str(config.get("model_type")), {}), **config}

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
    return Shape(
        layers,
        heads,
        size("num_key_value_heads") or heads,
        size("head_dim") or hidden // heads,
        hidden,
        parallel=config.get("use_parallel_residual") is True,
    )


def neurons_per_layer(config: Mapping[str, Any]) -> int | None:
    """Neurons of each MLP; None where the configuration does not say."""
    named = config.get("intermediate_size", config.get("n_inner"))
    if named is None and isinstance(config.get("n_embd"), int):  # GPT-2 writes nothing for four times its width
        named = 4 * config["n_embd"]
    return named if isinstance(named, int) and not isinstance(named, bool) else None


def resolve_dtype(folder: Path, dtype: Dtype, *, device: str) -> Literal["float64", "float32", "bfloat16", "float16"]:
    """The number format that a checkpoint is loaded in.

    `auto` is float32, but for a checkpoint of more than 10^9 parameters that is stored in bfloat16 or float16 and goes
    on a GPU: that one stays as it is stored.

    Args:
        folder: The checkpoint.
        dtype: What is asked for.
        device: `auto` (a GPU where there is one), `cpu` or `cuda`.
    """
    if dtype != "auto":
        return dtype
    sizes: Counter[str] = Counter()
    for tensor in stored_tensors(folder).values():
        sizes[tensor.dtype] += tensor.size
    stored = STORED.get(max(sizes, key=lambda name: sizes[name], default=""))
    if stored is None or sizes.total() <= LARGE or not on_gpu(device):
        return "float32"
    return stored


def on_gpu(device: str) -> bool:
    """Whether models go on a GPU: `auto` where there is one, `cpu` or `cuda`."""
    if device != "auto":
        return device == "cuda"
    import torch

    return torch.cuda.is_available()


def weights_hash(folder: Path, adapters: Sequence[Path] = ()) -> str:
    """SHA-256 over all that decides what a model computes, so that a changed checkpoint is another model.

    That is its configuration, its weights, of shards the index that names them, and the adapters that are merged into
    it. Nothing else can: settings that have Transformers read other files are refused (:mod:`.checkpoint`).
    """
    files = weight_files(folder)
    index = [] if files == [folder / WEIGHTS] else [folder / INDEX]
    of_base = _digest([folder / "config.json", *index, *files])
    return hashlib.sha256(f"{of_base} {adapters_hash(adapters)}".encode()).hexdigest() if adapters else of_base


def tokenizer_hash(folder: Path) -> str:
    """SHA-256 over the files that decide a tokenizer; empty where there is none."""
    unread = SOURCE_FILES if (folder / "tokenizer.json").is_file() else ()
    files = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file() and name not in unread]
    return _digest(files) if files else ""


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
