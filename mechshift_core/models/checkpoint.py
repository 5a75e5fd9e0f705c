"""The files of a checkpoint, read without torch: its configuration, and what its safetensors hold."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechshift_core.errors import ExecutionError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTERS = ("adapter_config.json", "adapter_model.*", "adapter_model-*")
"""Names of the files of a PEFT adapter."""
_SHOWN = 3
MAX_HEADER = 100 * 2**20
"""Bytes that the safetensors format allows a header."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a safetensors file.

    Attributes:
        file: The file that holds it.
        dtype: As safetensors names it: `F32`, `BF16`, `F16`.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ExecutionError: if it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"expected an object, got {type(content).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise ExecutionError(f"{path} cannot be read: {error}") from error
    return content


def refuse_adapter(folder: Path, *, source: object = None) -> None:
    """Refuse a folder that holds a PEFT adapter, with base weights or without.

    With `peft` installed Transformers would apply it, unmerged, so that a projection is no longer its weight times its
    input; without `peft` it would leave it out. Both in silence.

    Args:
        folder: The folder.
        source: What it is called in messages; its path unless given.

    Raises:
        ExecutionError: naming the adapter's files and what to do.
    """
    found = sorted(path.name for name in ADAPTERS for path in folder.glob(name))
    if not found:
        return
    base = any((folder / name).is_file() for name in (WEIGHTS, INDEX))
    raise ExecutionError(
        f"{source or folder} holds an adapter ({', '.join(found[:_SHOWN])}) {'beside' if base else 'without'} its base "
        "model's weights; give the base model as the source and the adapter's folder as `adapter`"
        + (" (move its files to a folder of their own, also to read the base model alone)" if base else "")
    )


def refuse_settings(config: Mapping[str, Any], folder: Path) -> None:
    """Refuse a configuration that has Transformers read other weights than :func:`weight_files` names.

    Raises:
        ExecutionError: with the setting and what to do.
    """
    file = folder / "config.json"
    if config.get("transformers_weights") is not None:
        raise ExecutionError(
            f"{file}: transformers_weights names {config['transformers_weights']!r} as the weights; expected "
            f"{WEIGHTS}, or shards with {INDEX}; name the file so and take the entry out"
        )
    quantised = config.get("quantization_config") or config.get("compression_config")
    if quantised:
        method = quantised.get("quant_method", quantised) if isinstance(quantised, Mapping) else quantised
        raise ExecutionError(
            f"{file}: the weights are quantised ({str(method)[:80]}); heads and edges are computed from weights that "
            "are plain numbers: load the model with Transformers, dequantize() and save_pretrained it, and give that "
            "folder"
        )


def weight_files(folder: Path) -> list[Path]:
    """The checkpoint's safetensors files: one, or the shards that its index names.

    Raises:
        ExecutionError: if there are none (pickled weights are never read), if a shard is missing, if the index names
            other files than safetensors files of the folder, or if other files than these decide the weights.
    """
    refuse_adapter(folder)
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        shards = read_json(folder / INDEX).get("weight_map")
        if not isinstance(shards, Mapping) or not shards:
            raise ExecutionError(f"{folder / INDEX} has no weight_map")
        names = sorted(set(map(str, shards.values())))
        strange = [name for name in names if not name.endswith(".safetensors") or Path(name).name != name]
        if strange:  # Transformers reads what the index names: other folders, and pickled files
            raise ExecutionError(
                f"{folder / INDEX} names {strange[0]!r}; expected .safetensors files in the same folder"
            )
        files = [folder / name for name in names]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise ExecutionError(f"the checkpoint in {folder} is incomplete: no {', '.join(missing[:8])}")
        return files
    raise ExecutionError(_instead_of_weights(folder))


def _instead_of_weights(folder: Path) -> str:
    """What a folder holds in the place of weights that can be read, and what to do."""
    wanted = f"expected {WEIGHTS}, or shards with {INDEX}"
    if not folder.is_dir():
        return f"no such folder: {folder}; {wanted} in it"
    tensors = sorted(path.name for path in folder.glob("*.safetensors"))
    shards = [name for name in tensors if re.search(r"-\d{5}-of-\d{5}\.safetensors$", name)]
    if shards:
        return (
            f"{folder} holds shards ({', '.join(shards[:_SHOWN])}) without {INDEX}, which says what belongs to the "
            "checkpoint; copy the index from where the shards come from, or load and save_pretrained the model anew"
        )
    if tensors:
        return (
            f"{folder} holds {', '.join(tensors[:_SHOWN])}, which is not the layout that Transformers writes "
            f"({wanted}); convert it with the script of the model's family, or, where its keys are those of "
            "Transformers, rename it"
        )
    pickled = sorted(path.name for name in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(name))
    if pickled:
        return (
            f"no .safetensors weights in {folder} but {', '.join(pickled[:_SHOWN])} (pickled weights are not read: "
            "reading them runs code); where you trust them, convert them: load them with Transformers and "
            f"save_pretrained them, which writes {WEIGHTS}"
        )
    quantised = sorted(path.name for path in folder.glob("*.gguf"))
    if quantised:
        return f"no .safetensors weights in {folder} but {', '.join(quantised[:_SHOWN])}; give the file as `gguf:FILE`"
    others = sorted(path.name for name in ("*.h5", "*.msgpack", "*.onnx") for path in folder.glob(name))
    found = f" but {', '.join(others[:_SHOWN])}" if others else ", nor any other weights"
    return f"no .safetensors weights in {folder}{found}; {wanted} (pickled weights are not read)"


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a checkpoint by its key, from the headers of its files.

    A header is eight bytes of length (little endian) and as much JSON
    (https://huggingface.co/docs/safetensors, "Format").

    Raises:
        ExecutionError: if a file is no safetensors file, or a key is in two of them.
    """
    found: dict[str, StoredTensor] = {}
    for file in weight_files(folder):
        for key, tensor in read_header(file).items():
            if key in found:
                raise ExecutionError(
                    f"the checkpoint in {folder} cannot be read: {file.name}: {key!r} is also in "
                    f"{found[key].file.name}, and which one counts is not said"
                )
            found[key] = tensor
    return found


def read_header(file: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file by their keys.

    Raises:
        ExecutionError: if it is no safetensors file.
    """
    try:
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if not 0 < length <= MAX_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(handle.read(length))
        return {
            key: StoredTensor(file, str(entry["dtype"]), tuple(map(int, entry["shape"])))
            for key, entry in header.items()
            if key != "__metadata__"
        }
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ExecutionError(f"the checkpoint in {file.parent} cannot be read: {file.name}: {error}") from error
