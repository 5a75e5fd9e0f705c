"""How much goes through a model at once: from free memory, and less after an out-of-memory error."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from mechshift_core.models.load import Model

Part = TypeVar("Part")
SAVED_PER_TOKEN = 48
"""Activations that a block keeps for its backward pass, in units of `hidden` elements a token (an upper estimate)."""
MOST_TOKENS = {"cpu": 8192, "cuda": 131_072}
"""Tokens beyond which a pass gains nothing from being larger."""
MOST_BYTES = 2 * 2**30
"""Bytes beyond which one on a processor gains nothing: several processes may share the machine's memory."""
SHARE = 0.5
"""Share of the free memory that a pass may take."""


@dataclass
class Batching:
    """How a computation was cut into batches.

    Attributes:
        size: Examples in a batch.
        halvings: Batch sizes that did not fit into memory.
    """

    size: int
    halvings: list[int] = field(default_factory=list)


def in_batches(count: int, batching: Batching, compute: Callable[[slice], Part]) -> Iterator[Part]:
    """Compute `count` rows in batches; a batch that does not fit into memory is halved, and so are those after it.

    Args:
        count: Number of rows.
        batching: Size to begin with; it is updated.
        compute: The computation on some rows.

    Raises:
        MemoryError: if a single row does not fit.
    """
    start = 0
    while start < count:
        part = slice(start, min(start + batching.size, count))
        try:
            found = compute(part)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if batching.size == 1:
                raise MemoryError(
                    "one example alone does not fit into memory; use shorter prompts, fewer steps, a smaller number "
                    f"format or a larger device ({error})"
                ) from error
            batching.halvings.append(batching.size)
            batching.size //= 2
        else:
            yield found
            start = part.stop
            continue
        _release()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_memory(device: torch.device) -> int:
    """Bytes that a process can still take on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    try:  # a container's own limit
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
        found += [] if limit == "max" else [max(0, int(limit) - int(used))]
    except (OSError, ValueError):
        pass
    return min(found, default=4 * 2**30)


def sequences_for_gradients(model: Model, positions: int, roles: int = 1) -> int:
    """Sequences whose backward pass fits into memory beside what the contraction needs; at least 1."""
    shape, config = model.shape, _config(model)
    parameter = next(model.module.parameters())
    receivers = 1 + shape.layers * shape.layer_receivers
    kept = shape.layers * SAVED_PER_TOKEN * shape.hidden_size * parameter.element_size()
    contracted = shape.sources * shape.hidden_size * 4
    bytes_each = (
        positions * (kept + contracted) + 4 * shape.sources * receivers * (1 + roles) + 12 * int(config.vocab_size)
    )
    return _sequences(model, positions, bytes_each)


def sequences_for_patching(model: Model, positions: int) -> int:
    """Sequences that fit into memory where each keeps what all its sources would have to change; at least 1."""
    shape = model.shape
    bytes_each = 4 * positions * shape.hidden_size * (shape.sources + 4 * shape.heads + SAVED_PER_TOKEN)
    return _sequences(model, positions, bytes_each + 12 * int(_config(model).vocab_size))


def _sequences(model: Model, positions: int, bytes_each: int) -> int:
    room = int(SHARE * free_memory(model.device))
    if model.device.type == "cpu":
        room = min(room, MOST_BYTES)
    return max(1, min(room // bytes_each, MOST_TOKENS.get(model.device.type, MOST_TOKENS["cpu"]) // positions))


def _config(model: Model) -> Any:
    return model.module.config
