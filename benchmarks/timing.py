"""Timing side by side: these machines are noisy, so only ratios within one process mean anything."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Work = Callable[[], object]


def interleaved(work: Mapping[str, Work], *, repeats: int, device: str = "cpu") -> dict[str, list[float]]:
    """Seconds of each piece of work, in turn, `repeats` times after one warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(repeats + 1):
        for name, run in work.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            if round_ > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], name: str, over: str) -> tuple[float, float, float]:
    """Median of the ratios of rounds, and their smallest and largest."""
    rounds = [ours / theirs for ours, theirs in zip(seconds[name], seconds[over], strict=True)]
    return statistics.median(rounds), min(rounds), max(rounds)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
