"""How often contrasts of roles and regimes reject where nothing differs, with all units that slopes vary over."""

from __future__ import annotations

from collections import Counter

import pytest
from repeated import as_often
from simulated_slopes import FACTORS, slopes

from stats import slope_contrasts

pytestmark = pytest.mark.nightly
REPETITIONS = 400
"""Rates of .05 are within .02 to .0825 in 99.6%."""

SCENARIOS = {
    "pairs that differ little": {"pair_sd": 0.006},
    "pairs that differ": {"pair_sd": 0.015},
    "one task a regime": {"pair_sd": 0.006, "tasks": 1},
    "eight seeds": {"pair_sd": 0.015, "seeds": 8},
    "seeds of their own for each role": {"pair_sd": 0.015, "shared": False},
    "prompts that roles take differently": {"pair_sd": 0.006, "prompt_role_sd": 0.04},
}


def rejections(scenario: dict[str, float]) -> Counter[str]:
    """Data sets in which each contrast of roles, and the difference in differences, has p below .05."""
    rejected: Counter[str] = Counter()
    for repetition in range(REPETITIONS):
        frame = slopes([17, repetition], **scenario)  # type: ignore[arg-type]
        for one in slope_contrasts(frame, factors=FACTORS, each_seed=False):
            if one.levels["role"] == "treatment - control":
                assert one.test.p is not None
                rejected[one.levels["regime"]] += one.test.p < 0.05
    return rejected


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_roles_and_the_difference_in_differences_reject_as_often_as_they_say(scenario: str) -> None:
    counts = rejections(SCENARIOS[scenario])  # type: ignore[arg-type]
    assert counts.keys() == {"global", "local", "global - local"}
    assert all(as_often(count, REPETITIONS, 0.05) for count in counts.values()), counts


def test_for_three_seeds_the_intervals_hold_what_is_true_of_these_seeds() -> None:
    covered: Counter[str] = Counter()
    for repetition in range(REPETITIONS):
        # With prompt x pair alone no seed differs from another, so that zero is true of these three.
        frame = slopes([18, repetition], pair_sd=0.0, task_pair_sd=0.0, seeds=3)
        for one in slope_contrasts(frame, factors=FACTORS):
            if one.levels["role"] == "treatment - control":
                assert one.over == "prompts" and one.test.low is not None and one.test.high is not None
                covered["mean" if one.seed is None else "seed"] += one.test.low <= 0 <= one.test.high
    assert 0.93 <= covered["mean"] / REPETITIONS / 3 <= 0.97
    assert 0.93 <= covered["seed"] / REPETITIONS / 9 <= 0.97
