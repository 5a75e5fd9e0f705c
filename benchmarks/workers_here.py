"""What a second worker process on this machine gains on a real study: time of its cells and of the whole run.

python benchmarks/workers_here.py specs/quickstart.yaml --examples 1000
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

from shapes import machine

from mechshift_core import load_spec, run
from mechshift_core.execution.profiles import Profile


def seconds(path: Path, workers: int, out: Path) -> tuple[float, float]:
    """Seconds of the cells, and of the whole run, from nothing."""
    began = time.monotonic()
    ended: list[float] = []

    def watch(what: str, done: int, total: int) -> None:
        if what == "cells":
            ended.append(time.monotonic())

    run(load_spec(path), out=out, profile=Profile(workers=workers), cells="none", progress=watch)
    return ended[0] - began, time.monotonic() - began


def main() -> None:
    """Run a study with each number of workers, in turns, and print the smallest times as ratios to one worker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--examples", type=int, help="of each task, in place of what the spec says")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # as each of several workers has one core
    print(machine("cpu"))
    found: dict[int, list[tuple[float, float]]] = {workers: [] for workers in options.workers}
    text = options.spec.read_text(encoding="utf-8")
    if options.examples is not None:
        text = re.sub(r"examples: \d+", f"examples: {options.examples}", text)
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / options.spec.name
        spec.write_text(text, encoding="utf-8")
        for turn in range(options.repeats):
            for workers in options.workers:
                found[workers].append(seconds(spec, workers, Path(folder) / f"{workers}-{turn}"))
    first = [min(times) for times in zip(*found[options.workers[0]], strict=True)]
    for workers, taken in found.items():
        cells, whole = (min(times) for times in zip(*taken, strict=True))
        print(
            f"{workers} workers: cells {cells:.1f} s ({cells / first[0]:.2f} of {options.workers[0]}), "
            f"whole run {whole:.1f} s ({whole / first[1]:.2f})"
        )


if __name__ == "__main__":
    main()
