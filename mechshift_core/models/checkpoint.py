"""The files of a checkpoint, read without torch: its configuration, and what its safetensors hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechshift_core.errors import ExecutionError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
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


def weight_files(folder: Path) -> list[Path]:
    """The checkpoint's safetensors files: one, or the shards that its index names.

    Raises:
        ExecutionError: if there are none (pickled weights are never read), if a shard is missing, or if the
            index names other files than safetensors files of the folder.
    """
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
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    found = f" but {', '.join(pickled[:3])}" if pickled else ""
    raise ExecutionError(
        f"no .safetensors weights in {folder}{found} (pickled weights are not read: reading them runs code); where you "
        f"trust them, convert them: load them with Transformers and save_pretrained them, which writes {WEIGHTS}"
    )


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a checkpoint by its key, from the headers of its files.

    A header is eight bytes of length (little endian) and as much JSON
    (https://huggingface.co/docs/safetensors, "Format").

    Raises:
        ExecutionError: if a file is no safetensors file.
    """
    found: dict[str, StoredTensor] = {}
    for file in weight_files(folder):
        try:
            with file.open("rb") as handle:
                length = int.from_bytes(handle.read(8), "little")
                if not 0 < length <= MAX_HEADER:
                    raise ValueError(f"a header of {length} bytes")
                header = json.loads(handle.read(length))
            for key, entry in header.items():
                if key != "__metadata__":
                    found[key] = StoredTensor(file, str(entry["dtype"]), tuple(map(int, entry["shape"])))
        except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise ExecutionError(f"the checkpoint in {folder} cannot be read: {file.name}: {error}") from error
    return found
