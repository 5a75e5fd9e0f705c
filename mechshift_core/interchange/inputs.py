"""A model and prompts for it, from what a command line says of them, with all the checks of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechshift_core.errors import UsageError

if TYPE_CHECKING:
    from mechshift_core.models import Model
    from mechshift_core.spec import Spec
    from mechshift_core.tasks.counterfactual import Dataset


def read_for(
    source: str,
    *,
    paradigm: str = "autoregressive",
    task: str | None = None,
    data: str | None = None,
    examples: int | None = None,
    seed: int = 0,
    settings: dict[str, object] | None = None,
    execution: dict[str, object] | None = None,
) -> tuple[Model, Dataset]:
    """A model and prompts as it reads them, with all checks of a study.

    Args:
        source: Source of the model, as in a spec.
        paradigm: `autoregressive` or `masked_diffusion`.
        task: Name of a generated task. Give this or `data`.
        data: File of a data set.
        examples: Prompts; of a data set all unless given, of a task 200.
        seed: Seed of the prompts.
        settings: Further keys of the model in a spec, e.g. `mask_token`.
        execution: Keys of `execution` in a spec, e.g. `device`.

    Raises:
        UsageError: for a source, a task or a data set that can't be used.
        ExecutionError: if the model can't be loaded.
    """
    from mechshift_core.execution.hands import load_planned
    from mechshift_core.execution.plan import make_plan

    if (task is None) == (data is None):
        raise UsageError("expected a task or a data set, got " + ("neither" if task is None else "both"))
    prompts: dict[str, object] = {"name": task} if data is None else {"name": "data", "dataset": data}
    prompts |= {} if data is None else {"regime": "local"}
    prompts |= {} if examples is None else {"examples": examples}
    spec = _spec(prompts, {"source": source, "paradigm": paradigm, **(settings or {})}, seed, execution or {})
    plan = make_plan(spec)
    return load_planned(plan, "model"), plan.dataset("model", spec.tasks[0].name)


def _spec(prompts: dict[str, object], model: dict[str, object], seed: int, execution: dict[str, object]) -> Spec:
    """A study of one model on one task, which nothing is computed of but prompts."""
    from pydantic import ValidationError

    from mechshift_core.kinds import INTERVENTIONS
    from mechshift_core.options import suggestion
    from mechshift_core.spec.schema import current
    from mechshift_core.tasks import TASKS
    from mechshift_core.wording import line_fault

    name = prompts["name"]
    if "dataset" not in prompts and name not in TASKS:
        hint = suggestion(name, TASKS) or f" (known: {', '.join(TASKS)}; or give a data set with --data)"
        raise UsageError(f"unknown task {name!r}{hint}")
    content = {
        "schema": "mechshift/v1",
        "name": "score",
        "seed": seed,
        "models": {"model": model},
        "pairs": [{"name": "alone", "before": "model", "after": "model", "role": "control", "prompts": "halves"}],
        "tasks": [prompts],
        "select": {"correct": "none"},
        "interventions": [
            {"name": "edges", "kind": next(one for one in INTERVENTIONS if INTERVENTIONS[one].attributes)}
        ],
        "measures": {},
        "execution": execution,
    }
    try:
        return current().model_validate(content)
    except ValidationError as error:
        raise UsageError(f"score: {line_fault(error.errors(), content)}") from error
