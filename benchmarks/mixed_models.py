"""What does a mixed model with crossed random slopes cost, and how far are statsmodels and lmerTest from it?

    OMP_NUM_THREADS=1 python benchmarks/mixed_models.py

`shift ~ depth * regime`, random slopes over depth of prompts and of seeds. statsmodels (Powell, as one group with
variance components) gives no degrees of freedom and is run once, up to `--statsmodels` rows, right after ours. Larger
designs, nested and crossed, are held against R's lmerTest (Debian: r-cran-lmertest), where there is one: fit and
Satterthwaite's degrees of freedom. Times are of the processor, not of the clock, so that what else the machine does
counts for neither.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from shapes import machine

from stats import MixedModelFit, fit_mixed_model

T = TypeVar("T")

DESIGNS = {
    "18 x 3 x 8": (18, 3, 8),
    "100 x 5 x 12": (100, 5, 12),
    "150 x 5 x 8": (150, 5, 8),
    "1000 x 1 x 6, 20 seeds": (1000, 0, 6),
    "750 x 8 x 24": (750, 8, 24),
}

LARGE = {
    "1000 prompts x 2 roles x 6": ((1000, 2, 1, 6), "shift ~ depth * role", ("prompt", "prompt:role")),
    "4000 prompts x 1 x 6, 20 seeds": ((4000, 1, 1, 6), "shift ~ depth", ("prompt", "seed")),
    "150 x 10 pairs x 4 tasks x 6": (
        (150, 10, 4, 6), "shift ~ depth * role * regime", ("prompt", "prompt:pair", "pair", "task:pair"),
    ),
    "the same of 100 x 12, 6 templates": (
        (100, 12, 4, 6), "shift ~ depth * role * regime",
        ("prompt", "prompt:pair", "template", "template:pair", "pair", "task:pair"),
    ),
}  # fmt: skip
"""Prompts a task, pairs, tasks and layers; fixed effects; groups whose slopes over depth vary."""

R_PROGRAM = """
suppressMessages(library(lmerTest))
arguments <- commandArgs(trailingOnly = TRUE)
data <- read.csv(arguments[1], stringsAsFactors = TRUE)
for (name in c("prompt", "pair", "task", "seed", "template")) data[[name]] <- factor(data[[name]])
took <- system.time(found <- coef(summary(lmer(as.formula(arguments[2]), data))))
cat(took[["user.self"]] + took[["sys.self"]], found[, "Estimate"], found[, "Std. Error"], found[, "df"], "\\n")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--statsmodels", type=int, default=6000, help="rows up to which statsmodels is run")
    options = parser.parse_args()
    print(machine("cpu"))
    print(f"{os.cpu_count()} cores; other work beside this: load average {os.getloadavg()[1]:.1f} before this started")
    print(f"CPU seconds: ours the smallest of {options.repeats} runs; statsmodels one run, and its time over ours;")
    print("largest distance of its estimates from ours in standard errors, and of its standard errors as a share\n")
    print(
        f"{'prompts x seeds x layers':>24s}   rows   ours s   evaluations   statsmodels s   over ours   estimate   "
        "se ratio - 1"
    )
    for name, (prompts, seeds, layers) in DESIGNS.items():
        frame = simulated(prompts, seeds, layers)
        runs = [timed(lambda data=frame: ours(data)) for _ in range(options.repeats + 1)][1:]
        seconds, fit = min(run[0] for run in runs), runs[0][1]
        line = f"{name:>24s} {frame.height:6d} {seconds:8.2f} {fit.diagnostics.evaluations:13d}"
        print(line, theirs(frame, fit, seconds) if frame.height <= options.statsmodels else "", flush=True)
    print("\nlargest distance of lmerTest's estimates from ours in standard errors, and of its df as a share\n")
    print(f"{'design':>32s}   rows   ours s   lmerTest s   ours over it   estimate   df ratio - 1")
    for name, (sizes, formula, groups) in LARGE.items():
        frame = units(*sizes)
        random = [f"0 + depth | {group}" for group in groups]
        runs = [
            timed(lambda data=frame, f=formula, r=random: fit_mixed_model(data, formula=f, random=r))
            for _ in range(options.repeats)
        ]
        seconds, fit = min(run[0] for run in runs), runs[0][1]
        print(
            f"{name:>32s} {frame.height:6d} {seconds:8.2f}", lmer_test(frame, formula, random, fit, seconds), flush=True
        )


def units(prompts: int, pairs: int, tasks: int, layers: int) -> pl.DataFrame:
    """Every prompt of every task on every pair, with all units that slopes vary over; a seed for every prompt."""
    rng = np.random.default_rng(1)
    sizes = (tasks, prompts, pairs, layers)
    task, own, pair, layer = (x.ravel() for x in np.meshgrid(*map(np.arange, sizes), indexing="ij"))
    prompt = task * prompts + own
    seed, template = prompt % 20, task * 6 + own % 6
    depth = layer / (layers - 1) - 0.5
    slope = -0.05 + 0.05 * rng.standard_normal(tasks * prompts)[prompt] + 0.02 * rng.standard_normal(20)[seed]
    slope += 0.04 * rng.standard_normal((tasks * prompts, pairs))[prompt, pair]
    slope += 0.01 * rng.standard_normal(pairs)[pair] + 0.02 * rng.standard_normal((tasks, pairs))[task, pair]
    slope += 0.03 * rng.standard_normal(6 * tasks)[template]
    columns = {"depth": depth, "prompt": prompt, "pair": pair, "task": task, "seed": seed, "template": template}
    shift = slope * depth + 0.05 * rng.standard_normal(len(depth))
    names = {"role": np.where(pair % 2, "treatment", "control"), "regime": np.where(task % 2, "local", "global")}
    return pl.DataFrame({"shift": shift, **columns, **names})


def lmer_test(frame: pl.DataFrame, formula: str, random: Sequence[str], fit: MixedModelFit, ours_took: float) -> str:
    if shutil.which("Rscript") is None:
        return "   (no R)"
    with tempfile.TemporaryDirectory() as folder:
        table, program = Path(folder, "rows.csv"), Path(folder, "fit.R")
        frame.write_csv(table)
        program.write_text(R_PROGRAM)
        asked = " + ".join([formula, *(f"({entry})" for entry in random)])
        done = subprocess.run(["Rscript", program, table, asked], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"   (R: {done.stderr.strip().splitlines()[-1]})"
    seconds, *numbers = map(float, done.stdout.split())
    estimates, _, df = np.reshape(numbers, (3, -1))
    # R has terms of one order in the order of the formula, and so have we.
    distance = np.abs(estimates - fit.fixed["estimate"].to_numpy()) / fit.fixed["se"].to_numpy()
    ratio = np.abs(df / fit.fixed["df"].to_numpy() - 1)
    return f"{seconds:12.2f} {ours_took / seconds:14.2f} {distance.max():10.1e} {ratio.max():14.1e}"


def simulated(prompts: int, seeds: int, layers: int) -> pl.DataFrame:
    """Every prompt with every seed, or, without a number of seeds, with one of twenty."""
    rng = np.random.default_rng(0)
    prompt, layer = (x.ravel() for x in np.meshgrid(np.arange(prompts), np.arange(layers), indexing="ij"))
    seed = prompt % 20
    if seeds:
        prompt, layer = np.tile(prompt, seeds), np.tile(layer, seeds)
        seed = np.repeat(np.arange(seeds), prompts * layers)
    depth = layer / (layers - 1) - 0.5
    slope = -0.05 + 0.03 * rng.standard_normal(prompts)[prompt] + 0.01 * rng.standard_normal(seed.max() + 1)[seed]
    shift = slope * depth + 0.02 * rng.standard_normal(len(depth))
    regime = np.where(prompt % 2 == 0, "local", "global")
    return pl.DataFrame({"shift": shift, "depth": depth, "regime": regime, "prompt": prompt, "seed": seed})


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds that a piece of work takes, and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def ours(frame: pl.DataFrame) -> MixedModelFit:
    return fit_mixed_model(frame, formula="shift ~ depth * regime", random=["0 + depth | prompt", "0 + depth | seed"])


def theirs(frame: pl.DataFrame, fit: MixedModelFit, ours_took: float) -> str:
    import pandas as pd
    from statsmodels.formula.api import mixedlm

    data = pd.DataFrame(frame.to_dict(as_series=False)).assign(all=1)
    slopes = {"prompt": "0 + depth:C(prompt)", "seed": "0 + depth:C(seed)"}

    def fitted() -> Any:
        model = mixedlm("shift ~ depth * regime", data, groups="all", vc_formula=slopes, re_formula="0")
        return model.fit(reml=True, method="powell")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, found = timed(fitted)
    distances, ratios = [], []
    for row in fit.fixed.iter_rows(named=True):
        name = "regime[T.local]:depth" if row["term"].startswith("depth:") else row["term"]
        name = name if name in found.fe_params.index else row["term"]
        distances.append(abs(found.fe_params[name] - row["estimate"]) / row["se"])
        ratios.append(abs(found.bse_fe[name] / row["se"] - 1))
    return f"{seconds:15.1f} {seconds / ours_took:11.0f} {max(distances):10.1e} {max(ratios):14.1e}"


if __name__ == "__main__":
    main()
