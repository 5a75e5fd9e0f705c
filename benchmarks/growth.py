"""How the cost of EAP-IG grows with layers, heads, tokens and examples, beside that of the bare passes.

    python benchmarks/growth.py

Shape: GPT-2's width halved (384), so that it takes minutes. The growth must be that of the bare passes.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from bare_passes import tight
from shapes import machine, random_batch, random_model
from timing import interleaved, ratio

from mechshift_core import attribute_edges

BASE: dict[str, int] = {"layers": 6, "heads": 6, "tokens": 16, "examples": 4}
GRID: dict[str, tuple[int, ...]] = {
    "layers": (3, 6, 12, 24),
    "heads": (3, 6, 12, 24),
    "tokens": (8, 16, 32, 64, 128),
    "examples": (1, 4, 16, 64),
}
STEPS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine("cpu"))
    print(f"width 384, {BASE}, {STEPS} steps (left); seconds, and the median ratio of {options.repeats} rounds\n")
    for dimension, values in GRID.items():
        print(f"{dimension:>9s}   bare s   EAP-IG s   ratio (smallest-largest)")
        for value in values:
            bare, ours, (over, low, high) = measure(BASE | {dimension: value}, options.repeats)
            print(f"{value:9d} {bare:8.3f} {ours:10.3f}   {over:5.2f} ({low:.2f}-{high:.2f})")
        print()


def measure(sizes: dict[str, int], repeats: int) -> tuple[float, float, Any]:
    model = random_model(
        "gpt2", n_embd=384, n_layer=sizes["layers"], n_head=sizes["heads"], vocab_size=5000, n_positions=256
    )
    batch = random_batch(model, sizes["examples"], sizes["tokens"])
    seconds = interleaved(
        {
            "bare": lambda: tight(model, batch, STEPS),
            "ours": lambda: attribute_edges(model, batch, steps=STEPS, batch_size=sizes["examples"]),
        },
        repeats=repeats,
    )
    return min(seconds["bare"]), min(seconds["ours"]), ratio(seconds, "ours", "bare")


if __name__ == "__main__":
    main()
