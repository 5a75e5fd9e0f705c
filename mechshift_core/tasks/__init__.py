"""Tasks: counterfactual prompt pairs as text, for any tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from mechshift_core.metrics import METRICS
from mechshift_core.registry import Registry
from mechshift_core.tasks.base import (
    CounterfactualText,
    Exercise,
    Judgement,
    Regime,
    Task,
    is_held_out,
)
from mechshift_core.tasks.countdown import Countdown
from mechshift_core.tasks.greater_than import GreaterThan
from mechshift_core.tasks.infilling import Infilling
from mechshift_core.tasks.ioi import IndirectObject
from mechshift_core.tasks.path_star import PathStar
from mechshift_core.tasks.roles import RoleSpan
from mechshift_core.tasks.sudoku import Sudoku
from mechshift_core.tasks.sva import SubjectVerbAgreement

_BUNDLED = (IndirectObject(), GreaterThan(), Countdown(), Infilling(), Sudoku())


def _faults(task: Task) -> Iterable[str]:
    words = {
        "regime": get_args(Regime),
        "metric": tuple(METRICS),
        "judged_by": get_args(Judgement),
    }
    for name, allowed in words.items():
        if getattr(task, name, None) not in allowed:
            yield f"its `{name}` is to be {' or '.join(allowed)}"
    metric = METRICS.get(getattr(task, "metric", ""))
    if metric is not None and getattr(task, "judged_by", "") == "metric" and not metric.indifferent_at_zero:
        yield f"it is judged by its metric, but {metric.name} is not 0 where answers and foils are alike"
    if not getattr(task, "summary", ""):
        yield "it has no `summary`: what it asks, in a clause"
    if not isinstance(getattr(task, "roles", None), tuple):
        yield "its `roles` are to be a tuple of the token roles that its prompts mark, which may be empty"


TASKS: Registry[Task] = Registry(
    "task",
    lambda: (*_BUNDLED, SubjectVerbAgreement(), PathStar()),
    lambda task: task.name,
    lambda kind: callable(getattr(kind, "counterfactual", None)) and bool(getattr(kind, "name", "")),
    _faults,
)
"""Every generated task by its name."""

BUNDLED_TASKS: tuple[str, ...] = tuple(task.name for task in _BUNDLED)
"""Those that the bundled models were trained on: their tokenizer has no words for the others."""

__all__ = ["BUNDLED_TASKS", "TASKS", "CounterfactualText", "Exercise", "RoleSpan", "Task", "is_held_out"]
