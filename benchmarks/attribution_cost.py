"""Time and peak memory of EAP-IG, over the passes that it cannot avoid.

python benchmarks/attribution_cost.py gpt2 qwen2-0.5b
python benchmarks/attribution_cost.py qwen2.5-7b llama2-7b --device cuda --dtype bfloat16 --examples 16
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from bare_passes import plain, tight
from shapes import SHAPES, machine, random_batch, random_model
from timing import interleaved, ratio

from mechshift_core import CounterfactualBatch, attribute_edges
from mechshift_core.models.load import Model


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    if options.memory_of is not None:
        print(peak_memory(options, options.shapes[0], options.memory_of))
        return
    print(machine(options.device))
    print(
        f"{options.examples} examples x {options.tokens} tokens, {options.steps} steps, {options.dtype}; "
        f"median of {options.repeats} rounds (smallest-largest)"
    )
    for shape in options.shapes:
        model = random_model(shape, device=options.device, dtype=getattr(torch, options.dtype))
        seconds = timed(model, random_batch(model, options.examples, options.tokens), options)
        print(f"\n{shape}")
        for name in WORK:
            over, low, high = ratio(seconds, name, "tight")
            median = sorted(seconds[name])[len(seconds[name]) // 2]
            print(
                f"  {name:28s} {median:7.3f} s  {options.examples / median:8.2f} examples/s  "
                f"{over:5.2f} x tight ({low:.2f}-{high:.2f})  {ratio(seconds, name, 'plain')[0]:5.2f} x plain"
            )
        del model
        for name in ("tight", "plain", "EAP-IG left"):
            print(f"  peak memory of {name:13s} {memory_in_own_process(options, shape, name) / 2**20:9.0f} MiB")


WORK = ("tight", "plain", "EAP-IG left", "EAP-IG gauss-legendre", "EAP")


def timed(model: Model, batch: CounterfactualBatch, options: argparse.Namespace) -> dict[str, list[float]]:
    work = {name: partial(run, name, model, batch, options) for name in WORK}
    return interleaved(work, repeats=options.repeats, device=options.device)


def run(name: str, model: Model, batch: CounterfactualBatch, options: argparse.Namespace) -> None:
    size = options.examples
    if name == "tight":
        tight(model, batch, options.steps)
    elif name == "plain":
        plain(model, batch, options.steps)
    elif name == "EAP":
        attribute_edges(model, batch, method="eap", batch_size=size)
    else:
        attribute_edges(model, batch, steps=options.steps, quadrature=name.split()[1], batch_size=size)


def memory_in_own_process(options: argparse.Namespace, shape: str, name: str) -> int:
    """Bytes taken at the peak beyond the loaded model, measured where nothing else has run."""
    command = [
        sys.executable, __file__, shape, "--memory-of", name, "--device", options.device, "--dtype", options.dtype,
        "--examples", str(options.examples), "--tokens", str(options.tokens), "--steps", str(options.steps),
        "--threads", str(options.threads),
    ]  # fmt: skip
    # Every tensor gets pages of its own, so that memory is given back when it is freed and the peak is that of tensors.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(found.stdout.split()[-1])


def peak_memory(options: argparse.Namespace, shape: str, name: str) -> int:
    model = random_model(shape, device=options.device, dtype=getattr(torch, options.dtype))
    run(name, model, random_batch(model, 1, options.tokens), argparse.Namespace(**{**vars(options), "examples": 1}))
    batch = random_batch(model, options.examples, options.tokens)
    if options.device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(name, model, batch, options)
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    run(name, model, batch, options)
    return _status("VmHWM") - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="+", choices=list(SHAPES))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--examples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
