"""What nnsight itself costs: a run that records every source, traced, hooked by hand, and bare.

python benchmarks/nnsight_overhead.py
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch
from shapes import as_model, machine, random_batch, random_model
from timing import interleaved, ratio

from mechshift_core import CounterfactualBatch
from mechshift_core.attribution.record import record
from mechshift_core.models.load import Model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine("cpu"))
    print(f"clean run with every source recorded, 4 examples x 16 tokens; medians of {options.repeats} rounds\n")
    for name, model in (("bundled size", bundled_size()), ("gpt2", random_model("gpt2"))):
        batch = random_batch(model, 4, 16)
        seconds = interleaved(
            {
                "bare forward": partial(bare, model, batch),
                "hooks by hand": partial(hooked, model, batch),
                "nnsight": partial(record, model, batch, batch.clean_ids),
            },
            repeats=options.repeats,
        )
        print(name)
        for work, taken in seconds.items():
            median = 1000 * sorted(taken)[len(taken) // 2]
            print(f"  {work:14s} {median:8.2f} ms   {ratio(seconds, work, 'bare forward')[0]:5.2f} x bare")


def bundled_size() -> Model:
    """Random weights at the shape of the bundled models."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sizes: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 6, "vocab_size": 2000}
    return as_model(
        Qwen2ForCausalLM(Qwen2Config(**sizes, num_attention_heads=4, num_key_value_heads=2)), "bundled size"
    )


def bare(model: Model, batch: CounterfactualBatch) -> None:
    """A forward pass with logits and metric at the last position."""
    module: Any = model.module
    with torch.no_grad():
        batch.measure(module(input_ids=batch.clean_ids, use_cache=False, logits_to_keep=1).logits[:, 0])


def hooked(model: Model, batch: CounterfactualBatch) -> None:
    """The same recording with PyTorch's own hooks."""
    declared, view = model.view.declaration, model.view
    kept: list[Any] = []
    handles = [view.module(declared.embedding).register_forward_hook(lambda *args: kept.append(args[2]))]
    for layer in range(model.shape.layers):
        output, mlp = view.module(declared.attention_output, layer), view.module(declared.mlp, layer)
        handles.append(output.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0])))
        handles.append(mlp.register_forward_hook(lambda *args: kept.append(args[2])))
    try:
        bare(model, batch)
    finally:
        for handle in handles:
            handle.remove()


if __name__ == "__main__":
    main()
