"""Prompts per second of lengths as a real tokenizer gives them: padded to batches, over batches of one length each.

python benchmarks/padded_batches.py
python benchmarks/padded_batches.py --device cuda --width 2048 --layers 24
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from itertools import cycle, islice

import torch
from shapes import machine
from timing import interleaved, ratio
from transformers import Qwen2Config, Qwen2ForCausalLM

from mechshift_core.attribution import CounterfactualBatch, attribute_edges, patch_nodes
from mechshift_core.execution.batches import row_groups, to_batch
from mechshift_core.execution.lengths import common_lengths
from mechshift_core.execution.reading import Reading
from mechshift_core.interventions.logit_lens.lens import read_lens
from mechshift_core.loading import load_model
from mechshift_core.models.load import Model
from mechshift_core.tasks.counterfactual import Dataset, Example

VOCABULARY = 5000
LENGTHS = range(12, 31)
"""Tokens of the prompts, as many prompts of each."""
PARADIGMS = ("autoregressive", "masked_diffusion")


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    print(machine(options.device))
    print(
        f"{options.examples} prompts of {LENGTHS[0]}-{LENGTHS[-1]} tokens; width {options.width}, {options.layers} "
        f"layers; prompts a second, and the median ratio of {options.repeats} rounds\n"
    )
    print("               model   what                 one length    padded   ratio (smallest-largest)   padding")
    for paradigm in PARADIGMS:
        model = random_model(paradigm, options)
        dataset = random_dataset(options.examples)
        apart, padded = batches(model, dataset, pads=False), batches(model, dataset, pads=True)
        for what, work in WORK.items():
            print(f"{paradigm:>20s}   {what:20s} {compared(model, apart, padded, work, options)}", flush=True)


def logits(model: Model, batch: CounterfactualBatch) -> torch.Tensor:
    """The metric alone."""
    return patch_nodes(model, batch, [[]])


WORK: dict[str, Callable[[Model, CounterfactualBatch], object]] = {
    "a forward pass": logits,
    "EAP-IG, 5 steps": lambda model, batch: attribute_edges(model, batch, steps=5),
    "logit lens": read_lens,
    "8 heads knocked out": lambda model, batch: patch_nodes(
        model, batch, [[f"a0.h{head}"] for head in range(8)], ablation="zero"
    ),
}


def compared(
    model: Model,
    apart: list[CounterfactualBatch],
    padded: list[CounterfactualBatch],
    work: Callable[[Model, CounterfactualBatch], object],
    options: argparse.Namespace,
) -> str:
    """Both ways in turn, in a line."""
    seconds = interleaved(
        {
            "apart": lambda: [work(model, batch) for batch in apart],
            "padded": lambda: [work(model, batch) for batch in padded],
        },
        repeats=options.repeats,
        device=options.device,
    )
    middle, low, high = ratio(seconds, "apart", "padded")
    rates = [options.examples / min(seconds[name]) for name in ("apart", "padded")]
    present = torch.cat([batch.present.flatten() for batch in padded])
    wasted = 1 - float(present.double().mean())
    return f"{rates[0]:10.1f} {rates[1]:9.1f}   {middle:5.2f} ({low:.2f}-{high:.2f})          {wasted:7.0%}"


def batches(model: Model, dataset: Dataset, *, pads: bool) -> list[CounterfactualBatch]:
    """The batches of a cell."""
    diffusion = model.paradigm == "masked_diffusion"
    common = common_lengths(dataset.examples, diffusion=diffusion) if pads else None
    groups = row_groups(model, dataset.examples, Reading(), common=common)
    return [to_batch(model, dataset, [dataset.examples[n] for n in group.numbers], group.states) for group in groups]


def random_model(paradigm: str, options: argparse.Namespace) -> Model:
    torch.manual_seed(0)
    config = Qwen2Config(
        hidden_size=options.width, intermediate_size=4 * options.width, num_hidden_layers=options.layers,
        num_attention_heads=8, num_key_value_heads=4, vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        Qwen2ForCausalLM(config).save_pretrained(folder)
        mask = VOCABULARY - 1 if paradigm == "masked_diffusion" else None
        return load_model(folder, paradigm=paradigm, mask_token=mask, device=options.device)


def random_dataset(examples: int) -> Dataset:
    draw = torch.Generator().manual_seed(0)

    def tokens(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, VOCABULARY - 1, (length,), generator=draw).tolist())

    made = [
        Example("", tokens(length), tokens(length), (0,), (1,), 1, "", "", "", "")
        for length in islice(cycle(LENGTHS), examples)
    ]
    return Dataset("random", "logit_difference", examples, tuple(made))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
