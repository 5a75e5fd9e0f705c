"""Some of the pairs of a data set, drawn by template."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechshift_core.tasks.counterfactual import Example


def draw_examples(examples: Sequence[Example], count: int, *, seed: int, task: str) -> tuple[int, ...]:
    """Numbers of `count` of the examples, ascending; all of them where there are no more.

    A hash of seed, task and tokens puts the examples of each template in order, and so many are taken from the front as
    is the template's share. Every template is there if `count` allows it. The order of the lines decides nothing, and
    fewer examples are some of more.

    Args:
        examples: Distinct examples.
        count: How many are wanted, at least 1.
        seed: Seed of the task.
        task: Its name.
    """
    by_template: dict[str, list[tuple[str, int]]] = {}
    for number, example in enumerate(examples):
        by_template.setdefault(example.template, []).append((_lot(example, seed, task), number))
    places: list[tuple[bool, float, str, int]] = []
    for lots in by_template.values():
        for rank, (lot, number) in enumerate(sorted(lots)):
            places.append((rank > 0, (rank + 0.5) / len(lots), lot, number))
    return tuple(sorted(number for *_, number in sorted(places)[:count]))


def _lot(example: Example, seed: int, task: str) -> str:
    content = [seed, task, example.clean_ids, example.corrupt_ids, example.answer_ids, example.foil_ids]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()
