"""Published diffusion models, each key layout declared in one place, as the Transformers class that computes the same.

Their repositories hold code of their own, which is never run. What a layout declares is all that is needed instead: the
class, what its settings and weights are called there, and how the model is read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mechshift_core.errors import ExecutionError
from mechshift_core.models.checkpoint import StoredTensor, read_json, refuse_settings, stored_tensors

HEAD = "lm_head.weight"
_OF_THE_FILE = ("architectures", "auto_map", "dtype", "model_type", "torch_dtype", "transformers_version")
"""Entries of a `config.json` that say nothing about what the class computes."""
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a family of published checkpoints is laid out.

    Attributes:
        model_type: Of the Transformers class that it is loaded as.
        shifted: Whether the model predicts token i at position i-1.
        mask_tokens: Vocabulary size -> id of the mask token of the published models of that size, for checkpoints whose
            `config.json` does not say.
        keys: Pattern of a whole key -> the class's key; the first that matches counts.
        dropped: Patterns of keys that hold no weights (buffers of attention masks).
        settings: What an entry of `config.json` is called in the class's configuration, where it has names of its own;
            None takes all entries as they are. All but `optional` ones must be there, since defaults differ.
        required: Entries that the class cannot honour -> the one value with which it computes the same.
        embedding: The checkpoint's key of the token embedding, where the size of the vocabulary is taken from it.
    """

    name: str
    model_type: str
    shifted: bool
    mask_tokens: Mapping[int, int]
    keys: Mapping[str, str]
    dropped: tuple[str, ...] = ()
    settings: Mapping[str, str] | None = None
    optional: tuple[str, ...] = ()
    required: Mapping[str, object] = field(default_factory=dict)
    embedding: str | None = None


_BLOCK = r"model\.transformer\.blocks\.(\d+)\."
_AS_IN_CLASS = {r"(model\..+|lm_head\.weight)": r"\1"}

_DIFFUGPT = Layout(
    name="DiffuGPT",
    model_type="gpt2",
    shifted=True,
    mask_tokens={50257: 10541, 50258: 50257},
    keys={
        r"embed_tokens\.weight": "transformer.wte.weight",
        r"denoise_model\.((?:h|wpe|ln_f)\..+)": r"transformer.\1",
        r"lm_head\.weight": HEAD,
    },
    dropped=(r"denoise_model\.h\.\d+\.attn\.(masked_)?bias",),
    embedding="embed_tokens.weight",
)
_DIFFULLAMA = Layout(
    name="DiffuLLaMA",
    model_type="llama",
    shifted=True,
    mask_tokens={32000: 811},
    keys={
        r"embed_tokens\.weight": "model.embed_tokens.weight",
        r"denoise_model\.((?:layers|norm)\..+)": r"model.\1",
        r"lm_head\.weight": HEAD,
    },
    dropped=(r"denoise_model\..*rotary_emb\.inv_freq",),
    embedding="embed_tokens.weight",
)
_DREAM = Layout(
    name="Dream",
    model_type="qwen2",
    shifted=True,
    mask_tokens={152064: 151666},
    keys=_AS_IN_CLASS,
    required={"use_mrope": False, "use_sliding_window": False},
)
_A2D = Layout(name="A2D", model_type="qwen3", shifted=False, mask_tokens={151936: 151669}, keys=_AS_IN_CLASS)
_LLADA = Layout(
    name="LLaDA",
    model_type="llama",
    shifted=False,
    mask_tokens={126464: 126336},
    keys={
        r"model\.transformer\.wte\.weight": "model.embed_tokens.weight",
        r"model\.transformer\.ln_f\.weight": "model.norm.weight",
        r"model\.transformer\.ff_out\.weight": HEAD,
        _BLOCK + r"([qkv]_proj)\.weight": r"model.layers.\1.self_attn.\2.weight",
        _BLOCK + r"attn_out\.weight": r"model.layers.\1.self_attn.o_proj.weight",
        _BLOCK + r"attn_norm\.weight": r"model.layers.\1.input_layernorm.weight",
        _BLOCK + r"ff_norm\.weight": r"model.layers.\1.post_attention_layernorm.weight",
        _BLOCK + r"ff_proj\.weight": r"model.layers.\1.mlp.gate_proj.weight",
        _BLOCK + r"up_proj\.weight": r"model.layers.\1.mlp.up_proj.weight",
        _BLOCK + r"ff_out\.weight": r"model.layers.\1.mlp.down_proj.weight",
    },
    settings={
        "d_model": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "n_kv_heads": "num_key_value_heads",
        "mlp_hidden_size": "intermediate_size",
        "max_sequence_length": "max_position_embeddings",
        "rms_norm_eps": "rms_norm_eps",
        "rope_theta": "rope_theta",
        "weight_tying": "tie_word_embeddings",
        "mask_token_id": "mask_token_id",
    },
    optional=("n_kv_heads", "weight_tying", "mask_token_id"),
    required={
        "block_type": "llama",
        "activation_type": "silu",
        "layer_norm_type": "rms",
        "rope": True,
        "alibi": False,
        "include_bias": False,
        "include_qkv_bias": False,
        "attention_layer_norm": False,
        "multi_query_attention": None,
        "scale_logits": False,
        "input_emb_norm": False,
        "clip_qkv": None,
    },
    embedding="model.transformer.wte.weight",
)
BY_MODEL_TYPE: dict[str, Layout] = {
    "Dream": _DREAM,
    "a2d-qwen3": _A2D,
    "a2d-qwen2": replace(_A2D, model_type="qwen2", mask_tokens={}),
    "a2d-llama": replace(_A2D, model_type="llama", mask_tokens={}),
    "llada": _LLADA,
}
"""Layouts that `model_type` of a `config.json` names."""
WRAPPED: dict[str, Layout] = {"gpt2": _DIFFUGPT, "llama": _DIFFULLAMA}
"""Layouts that only their keys (`denoise_model.`) tell from what Transformers writes, by the `model_type` they give."""
ARCHITECTURES_OF = {"Dream": "DreamModel"}
"""`model_type` -> the class in `architectures`, where others under the same name are read otherwise."""


def layout_of(folder: Path) -> Layout | None:
    """The layout of a published diffusion model; None for a checkpoint as Transformers writes it.

    Raises:
        ExecutionError: if it can't be read, or is loaded by code of its own and is none of the known layouts.
    """
    config = read_json(folder / "config.json")
    refuse_settings(config, folder)
    model_type, classes = str(config.get("model_type")), config.get("architectures") or ()
    wanted = ARCHITECTURES_OF.get(model_type)
    if model_type in BY_MODEL_TYPE and (wanted is None or not classes or wanted in classes):
        return BY_MODEL_TYPE[model_type]
    if model_type in WRAPPED and any(key.startswith("denoise_model.") for key in stored_tensors(folder)):
        return WRAPPED[model_type]
    if config.get("auto_map"):
        known = sorted({layout.name for layout in (*BY_MODEL_TYPE.values(), *WRAPPED.values())})
        raise ExecutionError(
            f"{folder / 'config.json'} asks for code from its repository (auto_map), which is never run; what can be "
            f"loaded without it are models of Transformers and {', '.join(known)}"
        )
    return None


def native_config(layout: Layout, folder: Path) -> dict[str, Any]:
    """The configuration of a published checkpoint in the terms of its Transformers class, `model_type` included.

    Raises:
        ExecutionError: if it asks for something that the class doesn't compute.
    """
    config = read_json(folder / "config.json")
    for name, value in layout.required.items():
        if config.get(name, value) != value:
            raise ExecutionError(
                f"{folder / 'config.json'}: {name} is {config[name]!r}; {layout.name} weights can be loaded as "
                f"{layout.model_type} only where it is {value!r}"
            )
    if layout.settings is None:
        native = {name: value for name, value in config.items() if name not in _OF_THE_FILE}
    else:
        native = {new: config[old] for old, new in layout.settings.items() if config.get(old) is not None}
        absent = [old for old, new in layout.settings.items() if new not in native and old not in layout.optional]
        if absent:
            raise ExecutionError(f"{folder / 'config.json'} of {layout.name} weights has no {', '.join(absent)}")
    tensors = stored_tensors(folder)
    if layout.embedding is not None:
        native["vocab_size"] = _rows(tensors, layout, folder)
    if HEAD in native_keys(layout, tensors, source=folder).values():
        native["tie_word_embeddings"] = False  # whatever its configuration says, it has an output matrix of its own
    return {**native, "model_type": layout.model_type}


def native_keys(layout: Layout, keys: Collection[str], *, source: object) -> dict[str, str]:
    """Every key of a published checkpoint -> the Transformers class's; keys without weights are left out.

    Raises:
        ExecutionError: with the names of keys that the layout doesn't have.
    """
    found, unknown = {}, []
    for key in keys:
        if any(re.fullmatch(pattern, key) for pattern in layout.dropped):
            continue
        matches = ((re.fullmatch(pattern, key), new) for pattern, new in layout.keys.items())
        native = next((match.expand(new) for match, new in matches if match), None)
        if native is None:
            unknown.append(key)
        else:
            found[key] = native
    if unknown:
        raise ExecutionError(
            f"the checkpoint of {source} is no {layout.name} checkpoint: unexpected keys: "
            f"{', '.join(sorted(unknown)[:_SHOWN])}"
        )
    return found


def check_reading(layout: Layout | None, *, paradigm: str, shifted: bool | None, source: object) -> None:
    """Whether a model is declared as what it is known to be.

    Raises:
        ExecutionError: with what is declared and what is known.
    """
    if layout is None:
        return
    if paradigm != "masked_diffusion":
        raise ExecutionError(f"{source} holds {layout.name} weights, so masked_diffusion, but is declared {paradigm}")
    if shifted is not None and shifted != layout.shifted:
        where = "position i-1 (shifted: true)" if layout.shifted else "position i (shifted: false)"
        raise ExecutionError(
            f"{source} is declared with shifted: {str(shifted).lower()}, but it holds {layout.name} weights, which "
            f"predict token i at {where}"
        )


def _rows(tensors: Mapping[str, StoredTensor], layout: Layout, folder: Path) -> int:
    stored = tensors.get(str(layout.embedding))
    if stored is None or len(stored.shape) != 2:
        raise ExecutionError(f"the checkpoint in {folder} is no {layout.name} checkpoint: no {layout.embedding}")
    return stored.shape[0]
