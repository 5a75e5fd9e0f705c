"""Slopes over depth with every unit that they vary over: prompts, prompt x pair, pairs, task x pair."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl

FACTORS = {"role": ("treatment", "control"), "regime": ("global", "local")}


def slopes(
    key: list[int],
    *,
    pair_sd: float,
    task_pair_sd: float = 0.02,
    prompt_pair_sd: float = 0.04,
    prompt_sd: float = 0.03,
    prompt_role_sd: float = 0.0,
    prompts: int = 30,
    seeds: int = 5,
    tasks: int = 2,
    shared: bool = True,
) -> pl.DataFrame:
    """No slope differs on average. `shared`: both roles have the same seeds; `tasks` in each of two regimes."""
    rng = np.random.default_rng(key)
    pairs = [(role, str(seed) if shared else f"{role} {seed}") for role in FACTORS["role"] for seed in range(seeds)]
    of_pair = dict(zip(pairs, pair_sd * rng.standard_normal(len(pairs)), strict=True))
    columns: dict[str, list[object]] = {name: [] for name in ("task", "regime", "role", "seed", "pair", "prompt")}
    drawn = []
    for regime, number in itertools.product(FACTORS["regime"], range(tasks)):
        of_prompt = prompt_sd * rng.standard_normal(prompts)
        of_role = {role: prompt_role_sd * rng.standard_normal(prompts) for role in FACTORS["role"]}
        for role, seed in pairs:
            own = of_pair[role, seed] + task_pair_sd * rng.standard_normal()
            drawn.append(of_prompt + of_role[role] + own + prompt_pair_sd * rng.standard_normal(prompts))
            for name, label in zip(columns, (f"{regime} {number}", regime, role, seed, f"{role} {seed}"), strict=False):
                columns[name] += [label] * prompts
            columns["prompt"] += range(prompts)
    return pl.DataFrame({"slope": np.concatenate(drawn), **columns})
