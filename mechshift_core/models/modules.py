"""The Transformers module of a checkpoint, with every weight from it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mechshift_core.errors import ExecutionError
from mechshift_core.models.architectures import declaration_of
from mechshift_core.models.checkpoint import weight_files
from mechshift_core.models.precision import Doubled, keep_double
from mechshift_core.models.published import Layout, native_keys
from mechshift_core.models.sources import read_config

_RETURNED = {"return_dict": True, "output_hidden_states": False, "output_attentions": False, "use_cache": False}
"""What the model's outputs are read by, whatever its `config.json` says."""
_OF_ADAPTERS = ("lora_", "base_layer", "base_model.")
"""What keys contain where an adapter is in them."""


def load_module(
    folder: Path, layout: Layout | None, *, paradigm: str, dtype: torch.dtype, attention: str | None
) -> nn.Module:
    """The Transformers model of a checkpoint, whole or not at all.

    Args:
        folder: The checkpoint.
        layout: Its layout, if it is a published diffusion model.
        paradigm: `masked_diffusion` makes attention bidirectional.
        dtype: Number format of the weights.
        attention: Attention kernel of Transformers; None takes the one that the architecture needs.

    Raises:
        ExecutionError: if the checkpoint can't be read, or any weight is missing, left over or of another shape.
    """
    from transformers.utils import logging

    try:
        declared = read_config(folder)
        needed = declaration_of(declared.get("model_type")).attention
        if paradigm == "autoregressive" and declared.get("is_causal") is False:
            raise ExecutionError(
                f"{folder} is bidirectional (is_causal is false in its config.json) but is declared autoregressive"
            )
        logging.disable_progress_bar()
        with Doubled() if dtype == torch.float64 else nullcontext():  # for the tables that it makes, too
            module, info = _from_pretrained(
                folder,
                layout,
                declared,
                is_causal=paradigm == "autoregressive",
                dtype=dtype,
                attn_implementation=needed if attention is None else attention,
            )
    except ExecutionError:
        raise
    except Exception as error:  # every way in which a file can be broken, from JSON to safetensors
        raise ExecutionError(f"the checkpoint in {folder} cannot be read: {first_line(error)}") from error
    wrong = {
        kind: sorted(map(_key_and_shapes, info[kind]))
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info.get(kind)
    }
    if wrong:
        kind, names = next(iter(wrong.items()))
        adapted = any(mark in name for every in wrong.values() for name in every for mark in _OF_ADAPTERS)
        advice = "; it has keys of an adapter that was not merged: merge_and_unload() before save_pretrained()"
        raise ExecutionError(
            f"the checkpoint in {folder} does not fit its config.json: {kind}: {', '.join(names[:8])}"
            + (advice if adapted else "")
        )
    if dtype == torch.float64:
        keep_double(module)
    return module


def _from_pretrained(
    folder: Path, layout: Layout | None, declared: dict[str, Any], *, is_causal: bool, **options: Any
) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a checkpoint, and what Transformers says about its keys."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    own = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # they are reported, then refused by name
    loader: Any
    if layout is None:
        config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
        where: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    else:
        config = AutoConfig.for_model(**declared)
        where = {"state_dict": _renamed_weights(folder, layout)}
    config.is_causal = is_causal
    for name, value in _RETURNED.items():
        setattr(config, name, value)
    loader = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    module, info = loader.from_pretrained(folder if layout is None else None, config=config, **where, **options, **own)
    return module, info


def _renamed_weights(folder: Path, layout: Layout) -> dict[str, Tensor]:
    """The weights of a published checkpoint under the keys of their Transformers class."""
    from safetensors import safe_open

    found: dict[str, Tensor] = {}
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            for key, native in native_keys(layout, tensors.keys(), source=folder).items():
                found[native] = tensors.get_tensor(key)
    return found


def _key_and_shapes(entry: Any) -> str:
    """A key; of a mismatched one also the shape in the checkpoint and the expected one."""
    return str(entry) if isinstance(entry, str) else f"{entry[0]} {tuple(entry[1])} instead of {tuple(entry[2])}"


def first_line(error: Exception) -> str:
    """What an error says, in one line: its first, with the next where that only announces it."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    if not lines:
        return type(error).__name__
    if isinstance(error, KeyError):  # whose message is nothing but the key
        return f"KeyError: {lines[0]}"
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
