"""Random generators keyed by what they are for, so that no draw depends on what ran before it."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """A generator for one purpose, e.g. ``generator(seed, "retention", "splits")``.

    The key is hashed (SHA-256), so the stream is the same on every machine and in every process, and two keys that
    differ in any part, its type or its order give independent streams.

    Args:
        seed: The seed of the analysis, >= 0.
        key: What the draws are for.

    Raises:
        ValueError: if the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed: expected an integer >= 0, got {seed}")
    words: list[int] = []
    for part in key:
        digest = hashlib.sha256(f"{'i' if isinstance(part, int) else 's'}:{part}".encode()).digest()
        words.extend(np.frombuffer(digest, dtype="<u4").tolist())
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(words)))


def derived_seed(seed: int, *key: str | int) -> int:
    """A seed for everything that belongs to one purpose, e.g. one task: ``derived_seed(seed, "task", "ioi")``.

    Raises:
        ValueError: if the seed is negative.
    """
    return int(generator(seed, "derived seed", *key).integers(2**63))
