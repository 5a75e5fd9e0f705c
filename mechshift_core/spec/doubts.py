"""What a spec may say and hardly means: groups that are compared but not alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mechshift_core.spec.hypotheses import Filter, Hypothesis

if TYPE_CHECKING:
    from mechshift_core.spec.schema import Spec

_TASKS, _PAIRS = ("task", "regime"), ("pair", "trajectory", "role")
"""Keys of a group that narrow tasks, and those that narrow pairs or trajectories."""


def doubts(spec: Spec) -> Iterator[str]:
    """Hypotheses whose `to:` pools what their `where:` names one of, with what to write instead."""
    for hypothesis in spec.hypotheses:
        if isinstance(hypothesis.test.to, Filter):
            yield from _pooled(spec, hypothesis, hypothesis.test.to)


def _pooled(spec: Spec, hypothesis: Hypothesis, to: Filter) -> Iterator[str]:
    """Nothing is taken over from `where`, so that a key that is not in `to` pools all that has it."""
    where = hypothesis.where
    sides = [spec.members(hypothesis, group) for group in (where, to)]
    tasks = [list(dict.fromkeys(task.name for _, task in side)) for side in sides]
    pairs = [list(dict.fromkeys(one.name for one, _ in side)) for side in sides]
    member = ("pair", "pairs") if hypothesis.along is None else ("trajectory", "trajectories")
    for keys, (own, other), (one, several) in ((_TASKS, tasks, ("task", "tasks")), (_PAIRS, pairs, member)):
        named = {key: level for key in keys if (level := getattr(where, key)) is not None}
        if not named or any(getattr(to, key) is not None for key in keys) or set(other) <= set(own):
            continue
        meant = {**to.model_dump(exclude_none=True), **named}
        written = ", ".join(f"{key}: {level}" for key, level in meant.items())
        narrow = " and ".join(f"{key} {level!r}" for key, level in named.items())
        yield (
            f"hypothesis {hypothesis.id!r}: `where` names {narrow}, but `to` names no {one} and is averaged over "
            f"{len(other)} {several} ({', '.join(other)}): nothing is taken over from `where`. If the same {one} is "
            f"meant, write `to: {{{written}}}`"
        )
