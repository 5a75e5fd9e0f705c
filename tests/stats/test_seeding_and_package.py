from __future__ import annotations

import subprocess
import sys

import pytest

import stats
from stats.seeding import derived_seed, generator


def test_every_public_name_is_importable() -> None:
    for name in stats.__all__:
        assert callable(getattr(stats, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = stats.nonsense


def test_findings_are_readable_without_scipy_and_statsmodels() -> None:
    code = "import sys, stats.findings; assert not {'scipy', 'statsmodels', 'polars'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_stream_depends_on_seed_and_key_only() -> None:
    draws = [
        generator(seed, *key).random()
        for seed, key in [(0, ("a",)), (1, ("a",)), (0, ("b",)), (0, ("a", "b")), (0, ("ab",)), (0, (1,)), (0, ("1",))]
    ]
    assert len(set(draws)) == len(draws)
    generator(0, "something else").random(100)
    assert generator(0, "a").random() == draws[0]


def test_a_stream_is_the_same_on_every_machine() -> None:
    assert generator(20260121, "split halves", 3).integers(0, 1000, 4).tolist() == [39, 791, 320, 179]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed: expected an integer >= 0, got -1"):
        generator(-1)


def test_derived_seeds_differ_by_key_and_are_stable() -> None:
    seeds = [derived_seed(0, "task", "ioi"), derived_seed(0, "task", "countdown"), derived_seed(1, "task", "ioi")]
    assert len(set(seeds)) == 3 and min(seeds) >= 0
    assert derived_seed(0, "task", "ioi") == seeds[0]
    generator(seeds[0])
