"""Countdown: combine three numbers, each once, with + - * to reach a target.

Expressions follow the usual precedence. The canonical solution is the first in a fixed order of operand permutations
and operators; any expression that evaluates to the target counts as solved. A counterfactual pair shares the numbers
and differs in the target, so the answer depends on the target everywhere; the token where the two solutions part is
kept only if it is decisive: the foil begins no solution of the clean prompt, the answer none of the corrupted one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from mechshift_core.tasks.banks import BUNDLED, Bank
from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime, choose
from mechshift_core.tasks.natural import formats as natural
from mechshift_core.tasks.roles import Marked, filled, joined

LARGEST_OPERAND, LARGEST_TARGET = 25, 99
OPERATORS = ("+", "-", "*")
Expression = tuple[str, str, str, str, str]
BANK = Bank(BUNDLED, {"three": "{a} {b} {c} target {target} {colon}"}, fine=True)
ROLES = {
    "a": "operand",
    "b": "operand",
    "c": "operand",
    "target": "target",
    "colon": "separator",
    "equals": "separator",
}


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

    def __init__(self, bank: Bank = BANK) -> None:
        self.bank = bank

    @property
    def banks(self) -> Mapping[str, Countdown]:
        return {bank.name: Countdown(bank) for bank in (BANK, natural.COUNTDOWN)}

    def _draw(self, rng: np.random.Generator) -> tuple[str, tuple[int, ...], list[int], str]:
        numbers = tuple(sorted(int(n) + 1 for n in rng.permutation(LARGEST_OPERAND)[:3]))
        frames = tuple(self.bank.frames)
        # The single wording of the bundled models was never drawn.
        frame = choose(rng, frames) if len(frames) > 1 else frames[0]
        return frame, numbers, sorted(solutions(numbers)), "countdown:" + "+".join(map(str, numbers))

    def exercise(self, rng: np.random.Generator) -> Exercise:
        frame, numbers, targets, key = self._draw(rng)
        target = targets[int(rng.integers(len(targets)))]
        return Exercise(frame, self._prompt(frame, numbers, target)[0], " ".join(solutions(numbers)[target][0]), key)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        frame, numbers, targets, key = self._draw(rng)
        clean, corrupt = (targets[int(i)] for i in rng.permutation(len(targets))[:2])
        table = solutions(numbers)
        first, second = table[clean][0], table[corrupt][0]
        at = next(i for i in range(5) if first[i] != second[i])
        right, right_for_corrupt = (_next(table[target], first[:at]) for target in (clean, corrupt))
        if second[at] in right or first[at] in right_for_corrupt:
            return None
        revealed = [("operator" if token in OPERATORS else "revealed", token) for token in first[:at]]
        asked = self._prompt(frame, numbers, clean)
        prompt, spans = joined(revealed, asked)
        return CounterfactualText(
            self.bank.template(frame, f"at{at}"),
            prompt,
            joined(revealed, self._prompt(frame, numbers, corrupt))[0],
            (first[at],),
            (second[at],),
            key,
            remainder=" ".join(first[at + 1 :]),
            corrupt_remainder=" ".join(second[at + 1 :]),
            completion_start=len(asked[0]),
            roles=spans,
            right=right,
            right_for_corrupt=right_for_corrupt,
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        tokens = tuple(completion.split())
        read = (_asked(frame, prompt) for frame in self.bank.frames.values())
        operands, target = next((found for found in read if found is not None), ([], None))
        value = evaluate(tokens)
        return value is not None and value == target and sorted(map(int, tokens[::2])) == sorted(operands)

    def _prompt(self, frame: str, numbers: tuple[int, ...], target: int) -> Marked:
        """E.g. "3 5 7 target 22 :"."""
        words = {
            **dict(zip("abc", map(str, numbers), strict=True)),
            "target": str(target),
            "colon": ":",
            "equals": " =",
        }
        return filled(self.bank.frames[frame], words, ROLES)


def _asked(frame: str, prompt: str) -> tuple[list[int], int] | None:
    """The numbers and the target of a prompt; None if it is not of this wording."""

    def shape(slot: re.Match[str]) -> str:
        return ".+" if ROLES[slot[1]] == "separator" else rf"(?P<{slot[1]}>\d+)"

    found = re.fullmatch(re.sub(r"\\\{(\w+)\\\}", shape, re.escape(frame)), prompt)
    return None if found is None else ([int(found[slot]) for slot in "abc"], int(found["target"]))


def _next(expressions: tuple[Expression, ...], begun: tuple[str, ...]) -> tuple[str, ...]:
    """Each token by which some expression goes on from its first ones."""
    at = len(begun)
    return tuple(dict.fromkeys(one[at] for one in expressions if one[:at] == begun))
