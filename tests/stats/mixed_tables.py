"""Simulated tables for mixed models, and how their fits are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stats import MixedModelFit

REFERENCES = Path(__file__).parents[1] / "data" / "mixed-models"
NUMBERS = ["estimate", "se", "df", "statistic", "p", "ci_low", "ci_high"]
SLOPES = ["0 + depth | prompt", "0 + depth | seed"]


def reference(name: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    frame = pl.read_csv(REFERENCES / f"{name}.csv")
    return frame, json.loads((REFERENCES / f"{name}.json").read_text(encoding="utf-8"))


def crossed(
    seed: int, *, prompts: int = 10, seeds: int = 4, layers: int = 5, prompt_sd: float = 0.2, seed_sd: float = 0.1
) -> pl.DataFrame:
    """Slopes over depth that vary over prompts and over seeds; residual standard deviation .1."""
    rng = np.random.default_rng(seed)
    prompt, run, layer = (
        x.ravel() for x in np.meshgrid(np.arange(prompts), np.arange(seeds), np.arange(layers), indexing="ij")
    )
    depth = layer / (layers - 1) - 0.5
    slope = prompt_sd * rng.standard_normal(prompts)[prompt] + seed_sd * rng.standard_normal(seeds)[run]
    shift = slope * depth + 0.1 * rng.standard_normal(len(depth))
    return pl.DataFrame(
        {
            "shift": shift,
            "depth": depth,
            "regime": np.where(prompt % 2 == 0, "local", "global"),
            "role": np.where(run % 2 == 0, "control", "diffusion"),
            "prompt": [f"p{p}" for p in prompt],
            "seed": run,
        }
    )


def variances(fit: MixedModelFit) -> list[float]:
    return fit.variances["variance"].to_list()


def row(fit: MixedModelFit, term: str) -> dict[str, Any]:
    return fit.fixed.row(by_predicate=pl.col("term") == term, named=True)


def same_tests(one: pl.DataFrame, other: pl.DataFrame, rtol: float = 1e-5) -> None:
    for number in NUMBERS:
        np.testing.assert_allclose(one[number], other[number], rtol=rtol, atol=1e-9, err_msg=number)
