"""Which pairs of a data set are prompts of their own.

The independent unit of a task is the distinct clean prompt, by its tokens: halves, folds, bootstrap and mixed models
treat every example as one. So a clean prompt counts once, whatever templates and corruptions it has: the first line is
kept, those after it are dropped and counted. A pair of a data set that is there already the other way round, with
answer and foil exchanged, is dropped too: gradients and differences both change sign, so that by a symmetric
quadrature its edge scores are those of the first pair, and by any other nearly so. Generated tasks, whose data do not
change from version to version, keep such pairs: about one in twenty of Countdown, one in two hundred of infilling, none
elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechshift_core.tasks.counterfactual import Example

SAME_PAIR = "the same pair is there already"
SAME_CLEAN = "the clean prompt is there already"
REVERSED = "the same pair is there already, the other way round"

_Ids = tuple[int, ...]
_Pair = tuple[_Ids, _Ids, frozenset[int], frozenset[int]]


class DistinctPrompts:
    """The prompts of a task so far.

    Args:
        either_way: Whether a pair is the same the other way round.
    """

    def __init__(self, *, either_way: bool) -> None:
        self._either_way = either_way
        self._clean: set[_Ids] = set()
        self._pairs: set[_Pair] = set()

    def why_not(self, example: Example) -> str | None:
        """Why an example is no prompt of its own beside those before it; None where it is, which takes it in."""
        answers, foils = frozenset(example.answer_ids), frozenset(example.foil_ids)
        clean, corrupt = example.prompt_ids, (*example.corrupt_ids, *example.corrupt_behind_ids)
        pair = (clean, corrupt, answers, foils)
        if pair in self._pairs:
            return SAME_PAIR
        if clean in self._clean:
            return SAME_CLEAN
        if self._either_way and (corrupt, clean, foils, answers) in self._pairs:
            return REVERSED
        self._clean.add(clean)
        self._pairs.add(pair)
        return None


def shared_prompts(first: Sequence[Example], second: Sequence[Example]) -> tuple[tuple[int, int], ...]:
    """The clean prompts that two tasks share, as (number in the first, number in the second), in the second's order."""
    places = {example.prompt_ids: number for number, example in enumerate(first)}
    return tuple(
        (places[example.prompt_ids], number) for number, example in enumerate(second) if example.prompt_ids in places
    )
