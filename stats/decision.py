"""When an answer is decided: the denoising step from which it stays the most likely one.

Over the S steps of a prompt in which the answer is hidden, it is right (the most likely token is an answer) in some. It
is decided at the first step of the last unbroken run of right ones that reaches the last step; the decision time is the
share of the steps that lie before it: 0 where the answer is decided from the start, 1 where the last step is wrong.

The null keeps the last step, and in how many of the others the prompt is right, and permutes these others: the decision
time if being right had nothing to do with how much has been revealed. With k right steps, the last among them, the run
is then 1 + (k - 1) / (S - k + 1) steps long on average.

An answer is overwritten where it is right at some step and wrong at the last one (what Wang et al. 2025, arXiv
2508.09138, call temporal oscillation), and corrected where it is wrong at some step and right at the last one. If the
order of all S steps had nothing to do with it, an answer that is right in k > 0 of them would be overwritten with
probability 1 - k / S.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Booleans, Floats, Integers, known_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionTimes:
    """When each prompt's answer is decided.

    Attributes:
        first: Number of steps before the deciding one [n]; all steps where the answer is not decided.
        decided: Whether the last step is right [n].
        time: `first` as a share of the prompt's steps [n], in [0, 1].
        null: Its mean over permutations of all steps but the last [n].
    """

    first: Integers
    decided: Booleans
    time: Floats
    null: Floats


def decision_times(right: ArrayLike, steps: ArrayLike) -> DecisionTimes:
    """When answers are decided.

    Args:
        right: Whether the most likely token is an answer, per prompt and step [n, S]; what lies beyond a prompt's last
            step is ignored.
        steps: Number of steps of each prompt [n], 1 to S.

    Raises:
        ValueError: if shapes do not match, or a prompt has no step or more than there are.
    """
    correct, count = _checked(right, steps)
    place = np.arange(correct.shape[1])
    within = place < count[:, None]
    wrong = ~correct & within
    first = np.where(wrong, place + 1, 0).max(axis=1)  # the step after the last wrong one
    decided = first < count
    hits = (correct & within).sum(axis=1)
    run = np.where(decided, 1 + (hits - 1) / (count - hits + 1), 0)
    return DecisionTimes(first=first, decided=decided, time=first / count, null=1 - run / count)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPaths:
    """What becomes of each prompt's answer over its steps; each field is [n].

    Attributes:
        overwritten: Whether it is right at some step and wrong at the last.
        corrected: Whether it is wrong at some step and right at the last.
        kept: Whether it is right at every step; what is none of the three is never right.
        null: Probability of `overwritten` if the prompt's steps came in a random order.
    """

    overwritten: Booleans
    corrected: Booleans
    kept: Booleans
    null: Floats


def answer_paths(right: ArrayLike, steps: ArrayLike) -> AnswerPaths:
    """Which answers are right at first and overwritten later, and which are corrected.

    Args:
        right: Whether the most likely token is an answer, per prompt and step [n, S]; what lies beyond a prompt's last
            step is ignored.
        steps: Number of steps of each prompt [n], 1 to S.

    Raises:
        ValueError: if shapes do not match, or a prompt has no step or more than there are.
    """
    correct, count = _checked(right, steps)
    hits = (correct & (np.arange(correct.shape[1]) < count[:, None])).sum(axis=1)
    last = correct[np.arange(len(count)), count - 1]
    return AnswerPaths(
        overwritten=(hits > 0) & ~last,
        corrected=(hits < count) & last,
        kept=hits == count,
        null=np.where(hits > 0, 1 - hits / count, 0.0),
    )


def _checked(right: ArrayLike, steps: ArrayLike) -> tuple[Booleans, Integers]:
    """Both as arrays that belong together."""
    correct, count = known_labels(right, "right"), known_labels(steps, "steps")
    if correct.ndim != 2 or correct.dtype != np.bool_ or count.shape != correct.shape[:1]:
        raise ValueError(
            f"expected right [n, S] as booleans and steps [n], got {correct.dtype} {list(correct.shape)} and "
            f"{list(count.shape)}"
        )
    if len(count) and (count.min() < 1 or count.max() > correct.shape[1]):
        raise ValueError(f"steps: expected 1 to {correct.shape[1]}, got {count.min()} to {count.max()}")
    return correct, count
