"""Models in GGUF files (llama.cpp), converted once into ordinary checkpoints in the cache.

Weights are dequantised: the numbers that the file stands for, which are not those of the model that was quantised.
Transformers reads the file; what it would pass over in silence is refused here: settings that it does not honour, and
tensors that have no place in the model. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from mechshift_core.cache import made_once
from mechshift_core.errors import ExecutionError
from mechshift_core.files import sha256_of

GGUF = "gguf:"
ORIGIN = "origin.json"
"""What a converted checkpoint was made from, in its folder."""
NEEDED = "pip install gguf accelerate"
VERSION = 2
"""Of the conversion: another one is another folder of the cache."""
LARGE = 1_000_000_000
"""Parameters above which quantised numbers are rounded to bfloat16, and those of half precision stay in it."""
PLAIN = {"F16": "float16", "F32": "float32", "BF16": "bfloat16", "F64": "float64"}
"""Number formats that are not quantised -> what torch calls them."""
ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text", "gpt2": "gpt2"}
"""`general.architecture` -> `model_type` of the Transformers class."""

_SETTINGS = {
    "block_count": ("num_hidden_layers",),
    "context_length": ("max_position_embeddings", "n_ctx"),
    "embedding_length": ("hidden_size",),
    "feed_forward_length": ("intermediate_size", "n_inner"),
    "attention.head_count": ("num_attention_heads",),
    "attention.head_count_kv": ("num_key_value_heads",),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps",),
    "attention.layer_norm_epsilon": ("layer_norm_epsilon",),
    "attention.key_length": ("head_dim",),
    "attention.value_length": ("head_dim",),
    "attention.sliding_window": ("sliding_window",),
    "rope.dimension_count": ("head_dim",),
    "vocab_size": ("vocab_size",),
}
"""Key of the file without its architecture -> what it is called in the configuration of the Transformers class."""
_NEEDED = ("block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count")
_DEFAULT_BASE = 10_000.0
"""Of rotary embeddings, where a file does not say (llama.cpp, `src/llama-model.cpp`)."""
_WITHOUT_EFFECT = {
    "rope.scaling.type": ("none",),
    "rope.scaling.factor": (0.0, 1.0),
    "attention.causal": (True, False),  # how a model attends is what the spec declares, and is proven
}
"""Keys with values that change nothing."""
_LAYERS_OF_27B = 62
_OF_THE_READER = ("transformers_version", "_name_or_path", "_model_name_or_path")
_MOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """What a checkpoint was converted from.

    Attributes:
        file: Name of the GGUF file.
        sha256: Of that file.
        quantisation: Number format of the tensors -> how many weights are stored in it.
        tokenizer: Why there is no tokenizer; empty where there is one.
        rounded: The number format that the numbers were rounded to; empty where none was rounded.
    """

    file: str
    sha256: str
    quantisation: Mapping[str, int]
    tokenizer: str = ""
    rounded: str = ""

    @property
    def description(self) -> str:
        """In a clause, e.g. `weights dequantised from Q4_1 (model.gguf)`."""
        formats = [name for name in self.quantisation if name not in PLAIN]
        verb = f"dequantised from {' and '.join(formats)}" if formats else "converted"
        rounded = f" and rounded to {self.rounded}" if self.rounded else ""
        return f"weights {verb}{rounded} ({self.file})"


def origin_of(folder: Path) -> Origin | None:
    """What the checkpoint in a folder was converted from; None for any other checkpoint.

    Raises:
        ExecutionError: if the record can't be read.
    """
    file = folder / ORIGIN
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return Origin(**content)
    except TypeError:  # a file of somebody else's of the same name
        return None
    except (OSError, ValueError) as error:
        raise ExecutionError(f"{file} cannot be read: {error}") from error


def converted(file: Path) -> Path:
    """The folder of an ordinary checkpoint with the weights of a GGUF file, in the cache.

    Raises:
        ExecutionError: if the packages that read it are not installed, if it is no whole GGUF file, if its
            architecture, number format or a setting is not supported, or if the cache can't be written.
    """
    try:
        digest = sha256_of(file)
    except OSError as error:
        raise ExecutionError(f"{file} cannot be read: {error.strerror or error}; expected a GGUF file") from error
    return made_once(f"gguf/{digest}-{VERSION}", lambda folder: convert_into(file, digest, folder))


def convert_into(file: Path, digest: str, folder: Path) -> None:
    """Write the checkpoint of a GGUF file, of which `digest` is the SHA-256, into a folder; errors as above."""
    reader = _opened(file)
    found = Counter[str]()
    for tensor in reader.tensors:
        found[tensor.tensor_type.name] += int(tensor.n_elements)
    metadata = _metadata(reader, file)
    dtype, rounded = _stored(found)
    try:
        _save_model(file.absolute(), metadata, len(reader.tensors), dtype, folder)
    except SafetensorError as error:  # where the disk is full
        raise OSError(str(error)) from error
    from mechshift_core.models.gguf_tokenizers import save_tokenizer

    missing = save_tokenizer(file.absolute(), metadata, folder)
    origin = {"file": file.name, "sha256": digest, "quantisation": dict(found.most_common())}
    origin |= {"tokenizer": missing, "rounded": rounded}
    (folder / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")


def _stored(sizes: Counter[str]) -> tuple[str, str]:
    """The number format that weights of some formats are stored in, and that which they are rounded to, if any are."""
    if sizes.total() <= LARGE:
        return "float32", ""
    most = sizes.most_common(1)[0][0]
    if most in PLAIN:
        return PLAIN[most], ""
    return "bfloat16", "bfloat16"


def _opened(file: Path) -> Any:
    try:
        import_module("accelerate")  # Transformers needs it to read GGUF
        from gguf import GGUFReader
    except ImportError as error:
        raise ExecutionError(f"{file}: GGUF files need the packages gguf and accelerate: {NEEDED}") from error
    try:
        return GGUFReader(file)
    except Exception as error:  # of numpy, of struct, of its own: whatever a file that ends early leads to
        raise ExecutionError(
            f"{file} is no whole GGUF file of a version that is known ({str(error)[:200]}); download it again"
        ) from error


def _metadata(reader: Any, file: Path) -> dict[str, Any]:
    """The settings of a file by their keys.

    Raises:
        ExecutionError: if its architecture is not supported.
    """
    settings = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("tokenizer.")}
    settings |= {
        name: reader.fields[name].contents()
        for name in reader.fields
        if name.startswith("tokenizer.") and name.rpartition(".")[2] not in ("tokens", "merges", "scores", "token_type")
    }
    settings["tokens"] = len(reader.fields["tokenizer.ggml.tokens"].data) if _has_tokens(reader) else None
    if settings.get("general.architecture") not in ARCHITECTURES:
        raise ExecutionError(
            f"{file}: architecture {settings.get('general.architecture')!r} is not supported; expected "
            f"{', '.join(ARCHITECTURES)}"
        )
    return settings


def _has_tokens(reader: Any) -> bool:
    return "tokenizer.ggml.tokens" in reader.fields


def _save_model(file: Path, metadata: Mapping[str, Any], tensors: int, dtype: str, folder: Path) -> None:
    import torch
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    # The whole path: of a name alone Transformers would read a file of the working directory.
    where: dict[str, Any] = {"gguf_file": str(file), "local_files_only": True}
    loader: Any
    try:
        with redirect_stderr(StringIO()):  # a progress bar that can't be switched off
            config = AutoConfig.from_pretrained(file.parent, **where)
            _settle(config, metadata, file)
            loader = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
            model, info = loader.from_pretrained(
                file.parent,
                config=config,
                dtype=getattr(torch, dtype),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **where,
            )
    except ExecutionError:
        raise
    except Exception as error:  # every way in which a file can be broken, from numpy to the library
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ExecutionError(f"{file} cannot be converted: {reason[:300]}") from error
    wrong = {kind: sorted(map(str, info[kind])) for kind in ("missing_keys", "mismatched_keys") if info.get(kind)}
    for kind, names in wrong.items():
        raise ExecutionError(f"{file} does not fit its own settings: {kind}: {', '.join(names[:_MOST_SHOWN])}")
    own = len({id(weight) for weight in model.parameters()})
    if own != tensors:  # Transformers passes over tensors that it has no place for
        raise ExecutionError(
            f"{file} holds {tensors} tensors, but {type(model).__name__} has {own}, so that some would be left out; "
            "expected a model of that class without additions (biases, scaled rotary embeddings, experts)"
        )
    model.hf_quantizer = None
    del model.config.quantization_config
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    _only_settings(folder / "config.json")


def _only_settings(path: Path) -> None:
    """Leave out what is not of the model but of the version that wrote it, so that the same file is the same model."""
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in content.items() if name not in _OF_THE_READER}
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _settle(config: Any, metadata: Mapping[str, Any], file: Path) -> None:
    """Give a configuration every setting of a file.

    Raises:
        ExecutionError: if there is one that the Transformers class does not honour.
    """
    architecture = str(metadata["general.architecture"])
    refused = []
    for key, value in _own(metadata, architecture):
        if key in _SETTINGS:
            refused += [] if _set(config, key, value) else [(key, value)]
        elif key.startswith("rope.freq_base"):
            refused += [] if _rotary_base(config, key) == value else [(key, value)]
        elif value not in _WITHOUT_EFFECT.get(key, ()):
            refused.append((key, value))
    if refused:
        shown = ", ".join(f"{architecture}.{key} = {value}" for key, value in refused[:_MOST_SHOWN])
        raise ExecutionError(f"{file}: settings that are not supported: {shown}")
    missing = _missing(config, metadata, architecture)
    if missing:
        raise ExecutionError(f"{file}: settings that are missing: {', '.join(missing)}")
    if architecture == "gemma3":  # the file does not say by what attention is scaled: llama.cpp, src/models/gemma3.cpp
        largest = config.num_hidden_layers == _LAYERS_OF_27B
        config.query_pre_attn_scalar = config.hidden_size // config.num_attention_heads if largest else config.head_dim
    tokens = metadata["tokens"]
    if tokens is not None and tokens != config.vocab_size:
        raise ExecutionError(f"{file}: {tokens} tokens in its tokenizer, but a vocabulary of {config.vocab_size}")


def _missing(config: Any, metadata: Mapping[str, Any], architecture: str) -> list[str]:
    """Settings that a file does not have, and for which the Transformers class would take a value of its own."""
    epsilon = "attention.layer_norm_epsilon" if architecture == "gpt2" else "attention.layer_norm_rms_epsilon"
    window = ("attention.sliding_window",) if architecture == "gemma3" else ()
    wanted = [*_NEEDED, epsilon, *window]
    base = "rope.freq_base"
    if architecture != "gpt2" and _rotary_base(config, base) != _DEFAULT_BASE:
        wanted.append(base)
    return [f"{architecture}.{key}" for key in wanted if f"{architecture}.{key}" not in metadata]


def _own(metadata: Mapping[str, Any], architecture: str) -> Iterator[tuple[str, Any]]:
    for key, value in metadata.items():
        if key.startswith(f"{architecture}."):
            yield key.removeprefix(f"{architecture}."), value


def _set(config: Any, key: str, value: Any) -> bool:
    """Set what a key stands for; whether the class has it, and the rotary part of a head is the whole head."""
    if key in ("rope.dimension_count", "attention.value_length"):
        return bool(value == (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads))
    names = [name for name in _SETTINGS[key] if hasattr(config, name) or name in config.attribute_map]
    for name in names:
        if name != "n_inner" or value != 4 * config.hidden_size:
            setattr(config, name, value)
    return bool(names)


def _rotary_base(config: Any, key: str) -> float | None:
    """The base of the rotary embedding: of all layers, or of those that see all and of those with a window."""
    parameters = config.rope_parameters
    part = "sliding_attention" if key.endswith("_swa") else "full_attention"
    found = parameters.get(part, parameters).get("rope_theta")
    return None if found is None else float(found)
