"""`mechshift pairs train`, `pairs list`, `pairs evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.progress import progress_on
from mechshift_core.errors import UsageError

if TYPE_CHECKING:
    from mechshift_core.zoo.storage import Evaluation, MetricEvaluation

pairs = typer.Typer(no_args_is_help=True, help="Model pairs: list and evaluate the bundled ones, train others.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(pairs, name="pairs")


@pairs.command("train")
def train(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Recipe (YAML).", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder for the models; pairs/NAME unless given.")] = None,
) -> None:
    """Train a pair: the ARM, from it the MDM, and the ARM trained on. Running it again resumes.

    With a section `scratch`, an MDM is trained from random weights too. With `base`, a pretrained model is the ARM, and
    what is trained from it are adapters (`lora`) or all weights.
    """
    from mechshift_core.zoo.post_training.recipe import load_any_recipe
    from mechshift_core.zoo.work import work_of

    console: Console = context.obj
    recipe = load_any_recipe(config)
    folder = Path("pairs") / recipe.name if out is None else out

    with progress_on(console) as progress:

        def show(phase: str, step: int, steps: int, loss: float) -> None:
            if progress is not None:
                progress(phase, step, steps)

        results = work_of(recipe).train(folder, show)
    if console.json:
        console.result_json(results)
        return
    for model, accuracies in results.items():
        shown = ", ".join(f"{task} {accuracy:.1%}" for task, accuracy in accuracies.items())
        console.say(f"{folder / model}: {shown}")


@pairs.command("list")
def list_pairs(context: typer.Context) -> None:
    """List the bundled models: seed, steps since random weights, accuracy on held-out prompts and on seen ones."""
    from mechshift_core.zoo import bundled_models
    from mechshift_core.zoo.storage import read_record

    console: Console = context.obj
    records = {name: read_record(folder) for name, folder in bundled_models().items()}
    if console.json:
        rows = {}
        for name, record in records.items():
            stored = record.evaluation
            rows[name] = {
                "seed": record.recipe.seed if record.recipe else None,
                "steps": record.steps,
                "held_out": stored.held_out if stored else {},
                "seen": stored.seen if stored else {},
            }
        console.result_json(rows)
        return
    for name, record in records.items():
        console.result(name)
        if record.recipe is not None:
            steps = "" if record.steps is None else f", {record.steps} steps"
            console.result(f"  seed {record.recipe.seed}{steps}")
        if record.evaluation is not None:
            _show(console, record.evaluation)


@pairs.command("evaluate")
def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="NAME/MODEL", help="A bundled model.", show_default=False)],
    prompts: Annotated[int, typer.Option(min=1, max=100_000, help="Prompts per task, held out and seen.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the prompts; 1 is that of the stored evaluation.")] = 1,
) -> None:
    """Evaluate a bundled model anew: the share of prompts that it solves, per task."""
    from mechshift_core.spec.problems import listing, suggestion
    from mechshift_core.zoo import bundled_models
    from mechshift_core.zoo.storage import read_record
    from mechshift_core.zoo.work import work_of

    console: Console = context.obj
    known = bundled_models()
    if model not in known:
        raise UsageError(f"unknown model {model!r}{suggestion(model, known)}; expected {listing(known)}")
    recipe = read_record(known[model]).recipe
    if recipe is None:
        raise UsageError(f"{model} was not trained on tasks, so there is nothing to evaluate")
    evaluation = work_of(recipe).evaluate(known[model], prompts, seed)
    if console.json:
        console.result_json({**evaluation.model_dump(), "seed": seed})
        return
    console.result(f"{model}, {prompts} prompts per task")
    _show(console, evaluation)


def _show(console: Console, evaluation: Evaluation | MetricEvaluation) -> None:
    for task, held_out in evaluation.held_out.items():
        seen = f"  seen {evaluation.seen[task]:6.1%}" if task in evaluation.seen else ""
        console.result(f"  {task:<20} held out {held_out:6.1%}{seen}")
