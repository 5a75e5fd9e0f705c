"""Architectures, each declared in one place: where a block's norms, projections and outputs are.

To support another architecture, declare it, here or in a package or file of your own; loading proves the declaration
(see :mod:`mechshift_core.attribution.proof`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mechshift_core.graph import ROLES, Role
from mechshift_core.registry import Registry

Fusion = Literal["concatenated", "interleaved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Module paths of a pre-norm decoder; block paths are relative to a block.

    Attributes:
        embedding: Token embedding; its output is the source `input`.
        attention_projections: Module that projects to queries, keys and values, by role; one module under several
            roles is fused.
        attention_output: Maps the concatenated head outputs to the residual stream.
        attention_post_norm: RMSNorm between `attention_output` and the residual stream; None where there is none.
        mlp_post_norm: The same behind the MLP.
        head: Maps the final norm's output to logits.
        transposed: Whether projections store their weight as [in, out] (GPT-2's Conv1D).
        fusion: How a fused projection's output is laid out: queries, keys, values one after the other, or head by
            head (GPT-NeoX).
        attention: The attention kernel of Transformers that computes what the architecture says.
    """

    embedding: str
    blocks: str
    attention_norm: str
    attention_projections: Mapping[Role, str]
    attention_output: str
    mlp_norm: str
    mlp: str
    final_norm: str
    head: str = "lm_head"
    attention_post_norm: str | None = None
    mlp_post_norm: str | None = None
    transposed: bool = False
    fusion: Fusion = "concatenated"
    attention: Literal["sdpa", "eager"] = "sdpa"

    @property
    def modules(self) -> tuple[str, ...]:
        """Every attention projection module once, in the order in which they run."""
        return tuple(dict.fromkeys(self.attention_projections[role] for role in ROLES))


_LLAMA = Architecture(
    embedding="model.embed_tokens",
    blocks="model.layers",
    attention_norm="input_layernorm",
    attention_projections={"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj"},
    attention_output="self_attn.o_proj",
    mlp_norm="post_attention_layernorm",
    mlp="mlp",
    final_norm="model.norm",
)
_GEMMA = replace(
    _LLAMA,
    attention_post_norm="post_attention_layernorm",
    mlp_norm="pre_feedforward_layernorm",
    mlp_post_norm="post_feedforward_layernorm",
)


@dataclass(frozen=True, slots=True)
class ArchitectureKind:
    """An architecture under the `model_type` of its checkpoints' `config.json`."""

    name: str
    declaration: Architecture


_DECLARED: dict[str, Architecture] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": replace(_GEMMA, attention="eager"),  # SDPA cannot cap attention logits
    "gemma3_text": _GEMMA,
    "gpt2": Architecture(
        embedding="transformer.wte",
        blocks="transformer.h",
        attention_norm="ln_1",
        attention_projections={"q": "attn.c_attn", "k": "attn.c_attn", "v": "attn.c_attn"},
        attention_output="attn.c_proj",
        mlp_norm="ln_2",
        mlp="mlp",
        final_norm="transformer.ln_f",
        transposed=True,
    ),
    "gpt_neox": Architecture(
        embedding="gpt_neox.embed_in",
        blocks="gpt_neox.layers",
        attention_norm="input_layernorm",
        attention_projections=dict.fromkeys(ROLES, "attention.query_key_value"),
        attention_output="attention.dense",
        mlp_norm="post_attention_layernorm",
        mlp="mlp",
        final_norm="gpt_neox.final_layer_norm",
        fusion="interleaved",
    ),
}
"""By `model_type` of the checkpoint's configuration."""


def _ours() -> Iterable[ArchitectureKind]:
    return (ArchitectureKind(name, declared) for name, declared in _DECLARED.items())


def _faults(kind: ArchitectureKind) -> Iterable[str]:
    if not kind.name:
        yield "its `name` is empty: expected the `model_type` of `config.json`"
    lacking = [role for role in ROLES if role not in kind.declaration.attention_projections]
    if lacking:
        yield f"`attention_projections` has no {', '.join(lacking)}"


ARCHITECTURES: Registry[ArchitectureKind] = Registry(
    "architecture", _ours, lambda kind: kind.name, lambda kind: isinstance(kind, ArchitectureKind), _faults
)
"""By `model_type` of the checkpoint's configuration."""
