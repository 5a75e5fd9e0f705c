"""Countdown: combine three numbers, each once, with + - * to reach a target.

Expressions follow the usual precedence. The canonical solution is the first in a fixed order of operand permutations
and operators; any expression that evaluates to the target counts as solved. A counterfactual pair shares the numbers
and differs in the target, so the answer depends on the target everywhere; the token where the two solutions part is
kept only if it is decisive: the foil begins no solution of the clean prompt, the answer none of the corrupted one.
"""

from __future__ import annotations

import itertools
import re
from functools import cache

import numpy as np

from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime
from mechshift_core.tasks.roles import OTHER, joined

LARGEST_OPERAND, LARGEST_TARGET = 25, 99
OPERATORS = ("+", "-", "*")
Expression = tuple[str, str, str, str, str]


def evaluate(tokens: tuple[str, ...]) -> int | None:
    """The value of `a op b op c` with the usual precedence; None if it is no such expression."""
    if len(tokens) != 5 or not all(re.fullmatch(r"\d+", t) for t in tokens[::2]):
        return None
    if not all(t in OPERATORS for t in tokens[1::2]):
        return None
    a, b, c = (int(t) for t in tokens[::2])
    first, second = tokens[1], tokens[3]
    if second == "*" and first != "*":
        return a + b * c if first == "+" else a - b * c
    left = a + b if first == "+" else a - b if first == "-" else a * b
    return left + c if second == "+" else left - c if second == "-" else left * c


@cache
def solutions(numbers: tuple[int, ...]) -> dict[int, tuple[Expression, ...]]:
    """Target -> every expression over a permutation of `numbers` that reaches it, in canonical order."""
    found: dict[int, list[Expression]] = {}
    for operators in itertools.product(OPERATORS, repeat=2):
        for a, b, c in itertools.permutations(numbers):
            expression: Expression = (str(a), operators[0], str(b), operators[1], str(c))
            value = evaluate(expression)
            if value is not None and 0 <= value <= LARGEST_TARGET:
                found.setdefault(value, []).append(expression)
    return {target: tuple(expressions) for target, expressions in found.items()}


class Countdown:
    """ "3 5 7 target 22 :" -> "3 * 5 + 7"; corrupted: another target that the same numbers reach."""

    name = "countdown"
    regime: Regime = "global"
    metric: Metric = "logit_difference"
    judged_by: Judgement = "argmax"
    summary = "the first decisive token of a solution; corrupted by another solvable target"
    roles: tuple[str, ...] = ("operand", "target", "separator", "revealed", "operator")

    def _draw(self, rng: np.random.Generator) -> tuple[tuple[int, ...], list[int], str]:
        numbers = tuple(sorted(int(n) + 1 for n in rng.permutation(LARGEST_OPERAND)[:3]))
        return numbers, sorted(solutions(numbers)), "countdown:" + "+".join(map(str, numbers))

    def exercise(self, rng: np.random.Generator) -> Exercise:
        numbers, targets, key = self._draw(rng)
        target = targets[int(rng.integers(len(targets)))]
        return Exercise("three", joined(_prompt(numbers, target))[0], " ".join(solutions(numbers)[target][0]), key)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        numbers, targets, key = self._draw(rng)
        clean, corrupt = (targets[int(i)] for i in rng.permutation(len(targets))[:2])
        table = solutions(numbers)
        first, second = table[clean][0], table[corrupt][0]
        at = next(i for i in range(5) if first[i] != second[i])
        if any(e[: at + 1] == (*first[:at], second[at]) for e in table[clean]):
            return None
        if any(e[: at + 1] == (*second[:at], first[at]) for e in table[corrupt]):
            return None
        revealed = [("operator" if token in OPERATORS else "revealed", token) for token in first[:at]]
        prompt, spans = joined([*_prompt(numbers, clean), *revealed])
        return CounterfactualText(
            f"three-at{at}",
            prompt,
            joined([*_prompt(numbers, corrupt), *revealed])[0],
            (first[at],),
            (second[at],),
            key,
            remainder=" ".join(first[at + 1 :]),
            corrupt_remainder=" ".join(second[at + 1 :]),
            completion_start=len(joined(_prompt(numbers, clean))[0]),
            roles=spans,
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        *operands, target = (int(n) for n in re.findall(r"\d+", prompt))
        tokens = tuple(completion.split())
        return evaluate(tokens) == target and sorted(int(t) for t in tokens[::2]) == sorted(operands)


def _prompt(numbers: tuple[int, ...], target: int) -> list[tuple[str, str]]:
    """(role, word) of "3 5 7 target 22 :"."""
    operands = [("operand", str(number)) for number in numbers]
    return [*operands, (OTHER, "target"), ("target", str(target)), ("separator", ":")]
