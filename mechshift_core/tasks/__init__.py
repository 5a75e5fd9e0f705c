"""Tasks: counterfactual prompt pairs as text, for any tokenizer."""

from __future__ import annotations

from mechshift_core.tasks.base import CounterfactualText, Exercise, Task, is_held_out
from mechshift_core.tasks.countdown import Countdown
from mechshift_core.tasks.greater_than import GreaterThan
from mechshift_core.tasks.infilling import Infilling
from mechshift_core.tasks.ioi import IndirectObject
from mechshift_core.tasks.path_star import PathStar
from mechshift_core.tasks.roles import RoleSpan
from mechshift_core.tasks.sudoku import Sudoku
from mechshift_core.tasks.sva import SubjectVerbAgreement

_BUNDLED = (IndirectObject(), GreaterThan(), Countdown(), Infilling(), Sudoku())

TASKS: dict[str, Task] = {task.name: task for task in (*_BUNDLED, SubjectVerbAgreement(), PathStar())}
"""Every generated task by its name."""

BUNDLED_TASKS: tuple[str, ...] = tuple(task.name for task in _BUNDLED)
"""Those that the bundled models were trained on: their tokenizer has no words for the others."""

__all__ = ["BUNDLED_TASKS", "TASKS", "CounterfactualText", "Exercise", "RoleSpan", "Task", "is_held_out"]
