"""How commands say how many prompts of each task can be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mechshift_core.execution.plan import Plan
from mechshift_core.execution.prompts import accounts, cautions


def prompt_lines(plan: Plan) -> list[str]:
    """One line a task, and one for each caution; before them what a matrix was written out to."""
    found = expanded_lines(plan.spec.expanded)
    told = accounts(plan)
    found += [f"  {one.task}: {one}" for one in told]
    if any(one.unknown for one in told):
        found.append(f"  mechshift models show {next(iter(plan.spec.models.values())).source} --words  # what is known")
    return [*found, *warning_lines(cautions(plan))]


def warning_lines(warnings: Iterable[str]) -> list[str]:
    """A line for each warning."""
    return [f"  warning: {text}" for text in warnings]


def expanded_lines(expanded: Mapping[str, Sequence[str]]) -> list[str]:
    """One line for each section of which a matrix was written out, with the names that it came to."""
    return [f"  matrix: {section} {', '.join(names)}" for section, names in expanded.items()]


def tasks_as_json(plan: Plan) -> list[dict[str, object]]:
    """The same of the tasks, as plain values."""
    return [one.to_json() for one in accounts(plan)]
