"""An architecture: SmolLM3, whose modules are called as Llama's are; some of its layers have no position encoding."""

from __future__ import annotations

from mechshift_core.extending import Architecture, ArchitectureKind

KINDS = [
    ArchitectureKind(
        "smollm3",  # `model_type` of config.json
        Architecture(
            embedding="model.embed_tokens",
            blocks="model.layers",
            attention_norm="input_layernorm",
            attention_projections={"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj"},
            attention_output="self_attn.o_proj",
            mlp_norm="post_attention_layernorm",
            mlp="mlp",
            final_norm="model.norm",
        ),
    )
]
