"""What is said of a plan's prompts before anything runs: accounts, what is too few, and what tasks share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.shift_model import cautions_of_model
from mechshift_core.kinds import declared_testables
from mechshift_core.spec.doubts import doubts
from mechshift_core.spec.hypotheses import Hypothesis
from mechshift_core.spec.schema import Spec
from mechshift_core.spec.tasks import TaskSpec
from mechshift_core.tasks.account import PromptAccount
from mechshift_core.tasks.counterfactual import Dataset
from mechshift_core.tasks.distinct import shared_prompts

if TYPE_CHECKING:
    from mechshift_core.execution.plan import Plan


def accounts(plan: Plan) -> tuple[PromptAccount, ...]:
    """The account of every task's prompts, in the order of the spec."""
    return tuple(plan.datasets[task.name].account for task in plan.spec.tasks)


def cautions(plan: Plan) -> tuple[str, ...]:
    """What a spec is to be warned of.

    Groups that are compared but not alike, tasks of which no interval can come, tasks that share prompts, and a mixed
    model without units that it needs.
    """
    shared = (_shared(*one) for one in _overlaps(plan.spec, plan.datasets))
    return (*doubts(plan.spec), *_too_few(plan), *shared, *cautions_of_model(plan.spec))


def check_pooled(spec: Spec, datasets: Mapping[str, Dataset]) -> None:
    """Check that no hypothesis or mixed model counts the prompts of one task as independent of themselves in another.

    Estimates of different tasks are combined as independent; tasks that share clean prompts are not.

    Raises:
        ExecutionError: naming the tasks, how many prompts they share, and what pools them.
    """
    for first, second, shared in _overlaps(spec, datasets):
        pooled = [
            f"hypothesis {hypothesis.id!r}"
            for hypothesis in spec.hypotheses
            if {first, second}
            <= {task.name for _, group in hypothesis.groups() for _, task in spec.members(hypothesis, group)}
        ]
        pooled += ["statistics.mixed_model"] if spec.statistics.mixed_model is not None else []
        if pooled:
            raise ExecutionError(
                f"{_shared(first, second, shared)}; {' and '.join(pooled)} would count them as independent: leave them "
                "out of one of the tasks, or claim something of each task by itself (`where: {task: ...}`)"
            )


def _overlaps(spec: Spec, datasets: Mapping[str, Dataset]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Two tasks and the clean prompts that both have."""
    for first, second in combinations([task.name for task in spec.tasks], 2):
        numbers = shared_prompts(datasets[first].examples, datasets[second].examples)
        if numbers:
            yield first, second, tuple(datasets[second].examples[number].clean for _, number in numbers)


def _shared(first: str, second: str, shared: tuple[str, ...]) -> str:
    count = f"{len(shared)} clean one{'s' if len(shared) > 1 else ''}"
    text = shared[0] if len(shared[0]) <= 80 else f"{shared[0][:77]}..."
    more = ", ..." if len(shared) > 1 else ""
    return f"the tasks {first!r} and {second!r} have the same prompts: {count} ({text!r}{more})"


def _too_few(plan: Plan) -> Iterator[str]:
    from stats.minimums import MINIMUM_CLUSTERS

    by_template = plan.spec.statistics.units.template == "random"
    for task in plan.spec.tasks:
        examples = plan.datasets[task.name].examples
        found, unit = len(examples), "prompts"
        if by_template:
            found, unit = len({example.template for example in examples}), "templates"
        if found < MINIMUM_CLUSTERS:
            yield f"task {task.name!r} has {found} {unit}: below {MINIMUM_CLUSTERS} there are points without intervals"
        else:
            yield from _too_few_for(plan, task)


def _too_few_for(plan: Plan, task: TaskSpec) -> Iterator[str]:
    """The measures that need more prompts than a task has, and the hypotheses that can't be tested for that."""
    spec, read = plan.spec, len(plan.datasets[task.name].examples)
    halved = [pair.name for pair in spec.pairs if pair.prompts == "halves"]
    for found, of, names in ((read, "", None), (read // 2, " in each half of them", halved)):
        if names is not None and not names:
            continue
        lacking: dict[int, list[str]] = {}
        for one, kind in declared_testables(spec):
            needed = max(one.fewest, kind.least.prompts)
            if found < needed:
                lacking.setdefault(needed, []).append(one.name)
        for needed, measures in lacking.items():
            untested = [
                repr(hypothesis.id)
                for hypothesis in spec.hypotheses
                if hypothesis.measure in measures and _is_of(spec, hypothesis, task.name, names)
            ]
            said = f"; {' and '.join(untested)} can't be tested" if untested else ""
            yield (
                f"task {task.name!r} has {found} prompts{of}: {', '.join(measures)} need{'s' * (len(measures) == 1)} "
                f"{needed} for intervals and tests, even if all are selected{said}"
            )


def _is_of(spec: Spec, hypothesis: Hypothesis, task: str, pairs: Sequence[str] | None) -> bool:
    """Whether a hypothesis is of a task, and of one of some pairs if these are given."""
    members = [member for _, group in hypothesis.groups() for member in spec.members(hypothesis, group)]
    return any(own.name == task and (pairs is None or one.name in pairs) for one, own in members)
